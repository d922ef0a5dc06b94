"""Layouts: levels on blocks after levels in all dimensions, and which one is chosen."""

import faiss
import numpy as np
import pytest

from drqfaiss._least_squares import blocks, layouts, residual
from drqfaiss._least_squares.options import TrainingOptions
from drqfaiss.quantizer import Quantizer

QUICK = {"iterations": 4, "beam": 2, "progress": False}
D, BITS = 48, 5


@pytest.fixture(scope="module")
def vectors():
    """Clusters whose spread is large along few axes and small along many, (2500, 48)."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((D, D)))[0]
    spread = 0.9 ** np.arange(D)
    centres = rng.standard_normal((20, D)) * spread * 2
    x = centres[rng.integers(0, 20, 2500)] + rng.standard_normal((2500, D)) * spread
    return (x @ axes + 3).astype(np.float32)


def error(quantizer, x, levels=None):
    return float(((x - quantizer.decode(quantizer.encode(x), levels)) ** 2).sum(1).mean())


@pytest.fixture(scope="module")
def trained(vectors):
    options = {"layout": "blocks", "global_levels": 4, "block_size": 8, **QUICK}
    return Quantizer.train(vectors[:2000], levels=20, bits=BITS, **options)


def test_blocks_follow_the_levels_in_all_dimensions(trained):
    assert trained.layout.startswith("4 levels in all 48 dimensions, 16 on ")
    widths = [trained.groups[g].codebook.shape[1] for g in trained.level_groups]
    assert widths == [D] * 4 + [8] * 16
    starts = [trained.groups[g].start for g in trained.level_groups]
    assert starts[4] == 0  # most is to be gained along the first axes
    assert len(set(starts)) > 2


def test_every_level_lowers_the_error_on_other_vectors(trained, vectors):
    errors = [error(trained, vectors[2000:], levels) for levels in range(1, 21)]
    assert (np.diff(errors) < 0).all()


def test_long_codes_are_better_than_with_one_codebook(trained, vectors):
    shared = Quantizer.train(vectors[:2000], levels=20, bits=BITS, layout="shared", **QUICK)
    assert error(trained, vectors[2000:]) < 0.7 * error(shared, vectors[2000:])


def test_no_level_in_all_dimensions(vectors):
    options = {"layout": "blocks", "global_levels": 0, **QUICK}
    quantizer = Quantizer.train(vectors[:2000], levels=12, bits=BITS, **options)
    assert {quantizer.groups[g].codebook.shape[1] for g in quantizer.level_groups} <= {8, 10}
    stock = faiss.IndexPQ(D, 12, BITS)
    stock.train(vectors[:2000])
    of_pq = ((vectors[2000:] - stock.sa_decode(stock.sa_encode(vectors[2000:]))) ** 2).sum(1).mean()
    assert error(quantizer, vectors[2000:]) < of_pq


def test_the_same_seed_gives_the_same_codebooks(trained, vectors):
    options = {"layout": "blocks", "global_levels": 4, "block_size": 8, **QUICK}
    again = Quantizer.train(vectors[:2000], levels=20, bits=BITS, **options)
    np.testing.assert_array_equal(again.codebooks(), trained.codebooks())


def test_expected_errors_are_near_the_measured_ones():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12000, 16)).astype(np.float32) * np.linspace(1, 0.5, 16, dtype=np.float32)
    options = TrainingOptions(quality="fast", progress=False, prefix_weights={1: 1, 2: 1, 3: 1})
    measured = blocks.fitted(x[:10000], x[10000:], 3, 8, options).errors
    expected = blocks.expected_errors(x.var(0), [slice(0, 16)], 3, 8)[0]
    np.testing.assert_allclose(expected[1:], measured[1:], rtol=0.12)


def test_levels_are_dealt_where_they_remove_most():
    errors = [[10.0, 4.0, 2.0, 1.0], [8.0, 5.0, 3.5], [0.5, 0.1]]
    assert blocks.order(errors, 6) == [0, 1, 0, 1, 0, 2]
    assert blocks.order(errors, 0) == []


@pytest.mark.parametrize(
    ("levels", "options", "expected"),
    [
        (8, {"own_first": True}, (8, 0, 1)),
        (8, {"own_levels": 3}, (8, 0, 3)),
        (8, {"scale": "geometric"}, (8, 0, 0)),
        (20, {"layout": "shared"}, (20, 0, 0)),
        (20, {"scale": "vector"}, (20, 0, 0)),
        (20, {"layout": "blocks", "global_levels": 2}, (2, 10, 1)),
        (20, {"layout": "blocks", "global_levels": 2, "block_size": 6, "own_levels": 2}, (2, 6, 2)),
    ],
)
def test_layouts_that_need_no_drafts(vectors, levels, options, expected):
    assert layouts.choose(vectors, levels, BITS, TrainingOptions(**options)) == (*expected, True)


def test_short_codes_on_blocks(vectors):
    layout = layouts.choose(vectors, 3, BITS, TrainingOptions(layout="blocks"))
    assert (layout.global_levels, layout.block_size) == (0, 10)


def test_long_codes_get_blocks_by_themselves(vectors):
    layout = layouts.choose(vectors, 40, BITS, TrainingOptions())
    assert layout.block_size == 10
    assert layout.global_levels in layouts.GLOBAL_LEVELS
    quantizer = Quantizer.train(vectors, levels=40, bits=BITS, **QUICK)
    assert f"{layout.global_levels} levels in all" in quantizer.layout


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layout": "rows"}, ValueError, "layout: got 'rows', expected one of 'auto', 'shared', 'blocks'"),
        ({"layout": "blocks", "block_size": 49}, ValueError, "block_size: got 49, expected at most the 48"),
        ({"layout": "blocks", "block_size": 0}, ValueError, "block_size: got 0"),
        ({"layout": "blocks", "global_levels": 20}, ValueError, "global_levels: got 20, expected 0 to 19"),
        ({"layout": "blocks", "global_levels": -1}, ValueError, "global_levels: got -1"),
        ({"layout": "blocks", "scale": "vector"}, ValueError, 'scale: got "vector" for blocks'),
    ],
)
def test_layouts_that_cannot_be(vectors, options, error, message):
    with pytest.raises(error, match=message):
        Quantizer.train(vectors, levels=20, bits=BITS, **options, **QUICK)


@pytest.mark.parametrize("kind", ["constant", "few", "constant dimensions", "outlier", "duplicates"])
def test_odd_vectors_are_trained_on(vectors, kind):
    x = vectors[:600].copy()
    if kind == "constant":
        x[:] = x[0]
    if kind == "few":
        x = x[np.arange(600) % 3]
    if kind == "constant dimensions":
        x[:, 10:] = 2
    if kind == "outlier":
        x[7] *= 1e4
    if kind == "duplicates":
        x[100:] = x[0]
    quantizer = Quantizer.train(x, levels=20, bits=BITS, layout="blocks", global_levels=2, **QUICK)
    usual = np.delete(x, 7, axis=0) if kind == "outlier" else x
    variance = float(((usual - usual.mean(0)) ** 2).sum(1).mean())
    assert error(quantizer, usual) < 0.2 * variance + 1e-6 * float((usual**2).sum(1).mean())


def test_codewords_that_reach_too_few_dimensions_are_named(vectors):
    x = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    with pytest.warns(
        UserWarning, match=r"1 codebook\(s\) of 8 codewords reach 7 of 32 dimensions: .* hold \d+%"
    ):
        Quantizer.train(x, levels=8, bits=3, layout="shared", **QUICK)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "options", [{"bits": 6}, {"bits": 3, "scale": "vector"}, {"bits": 3, "layout": "blocks", "block_size": 8}]
)
def test_nothing_is_said_where_all_dimensions_are_reached(options):
    x = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    Quantizer.train(x, levels=8, **options, **QUICK)


def test_drafts_for_many_vectors_take_no_care(vectors, monkeypatch):
    careful = []
    monkeypatch.setattr(
        layouts, "train_residual", lambda *given: careful.append(0) or residual.train_residual(*given)
    )
    options = TrainingOptions(**QUICK)
    with layouts.draft_for_many():
        layouts.choose(vectors[:1000], 4, BITS, options)
    assert not careful
    layouts.choose(vectors[:1000], 4, BITS, options)
    assert careful
