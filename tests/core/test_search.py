"""Every SIMD level against the scalar one and against NumPy."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.conftest import AVAILABLE_LEVELS
from tests.core.arrays import knn_search, range_search
from tests.simd_levels import search_on_all_levels

METRICS = ["l2", "ip"]


def make_codebooks(rng, M, nbits, d, kind):
    """Codebooks (M, K, d): one shared, an own first, all independent, or blocks after two."""
    K = 1 << nbits
    base = rng.standard_normal((K, d)).astype(np.float32)
    scales = 0.8 ** np.arange(M, dtype=np.float32)
    codebooks = scales[:, None, None] * base
    if kind == "independent":
        codebooks = scales[:, None, None] * rng.standard_normal((M, K, d)).astype(np.float32)
    if kind == "blocks" and M > 2:
        axes, size = np.linalg.qr(rng.standard_normal((d, d)))[0], max(1, min(d // 4, K // 2 - 1))
        for m in range(2, M):
            block = axes[m % 3 * size : (m % 3 + 1) * size]
            codebooks[m] = codebooks[m, :, : len(block)] @ block
    if kind == "own-first":
        codebooks[0] = rng.standard_normal((K, d))
    codebooks[0] += rng.standard_normal(d).astype(np.float32) * 2
    return np.ascontiguousarray(codebooks)


def make_codes(rng, N, M, nbits, kind):
    codes = rng.integers(0, 1 << nbits, (N, M))
    if kind == "duplicates" and N:
        codes[rng.random(N) < 0.5] = codes[0]
    if kind == "constant" and N:
        codes[:] = codes[0]
    return codes


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("lean", [0.0, 1e-6, 1e-4, 0.04, 0.3])
def test_blocks_that_lean_towards_each_other_are_searched_exactly(lean, metric):
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.standard_normal((32, 32)))[0]
    spans = [axes[:4], axes[:4] + lean * axes[4:8], axes[8:12], axes[12:16] + lean * axes[8:12]]
    codebooks = np.stack([rng.standard_normal((64, 4)) @ span for span in spans]).astype(np.float32)
    codes = rng.integers(0, 64, (300, 4))
    x = rng.standard_normal((5, 32)).astype(np.float32)
    found = search_on_all_levels(
        lambda: knn_search(codebooks, reference.pack_codes(codes, 6), x, 10, 4, metric, None)
    )
    vectors = reference.decode(codebooks, codes, 4)
    expected = reference.nearest(x, vectors, 10, metric)
    reference.assert_neighbours(found, expected, reference.distance_scale(x, vectors, codebooks))


@settings(max_examples=150, deadline=None)
@given(
    N=st.sampled_from([0, 1, 15, 64, 127, 129, 700, 5000]),
    M=st.integers(1, 18),
    nbits=st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 9, 11]),
    d=st.sampled_from([1, 3, 16, 33]),
    codebooks_kind=st.sampled_from(["shared", "own-first", "independent", "blocks"]),
    codes_kind=st.sampled_from(["random", "duplicates", "constant"]),
    metric=st.sampled_from(METRICS),
    k=st.sampled_from([1, 2, 10, 100]),
    selected=st.sampled_from([None, 0.0, 0.01, 0.5]),
    spare_bytes=st.sampled_from([0, 1, 4]),
    data=st.data(),
    seed=st.integers(0, 2**31),
)
def test_knn_is_exact(
    N, M, nbits, d, codebooks_kind, codes_kind, metric, k, selected, spare_bytes, data, seed
):
    rng = np.random.default_rng(seed)
    levels = data.draw(st.integers(1, M))
    codebooks = make_codebooks(rng, M, nbits, d, codebooks_kind)
    codes = make_codes(rng, N, M, nbits, codes_kind)
    rows = np.hstack(
        [reference.pack_codes(codes, nbits), rng.integers(0, 256, (N, spare_bytes)).astype(np.uint8)]
    )
    x = rng.standard_normal((7, d)).astype(np.float32) * 2
    mask = None if selected is None else rng.random(N) < selected

    D, ids = search_on_all_levels(lambda: knn_search(codebooks, rows, x, k, levels, metric, mask))

    candidates = np.arange(N) if mask is None else np.flatnonzero(mask)
    reconstructions = reference.decode(codebooks, codes[candidates], levels)
    D_expected, order = reference.nearest(x, reconstructions.reshape(-1, d), k, metric)
    found = min(k, len(candidates))
    assert (ids[:, found:] == -1).all()
    worst = np.finfo(np.float32).max if metric == "l2" else np.finfo(np.float32).min
    assert (D[:, found:] == worst).all()
    scale = reference.distance_scale(x, reconstructions.reshape(-1, d), codebooks)
    reference.assert_neighbours((D[:, :found], ids[:, :found]), (D_expected, candidates[order]), scale)
    ties_by_id = (D[:, 1:] != D[:, :-1]) | (ids[:, 1:] > ids[:, :-1]) | (ids[:, 1:] < 0)
    assert ties_by_id.all()


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("kind", "tested"),
    [("shared", (128, 129, 200)), ("independent", (128, 129, 200)), ("independent", (1024, 1030))],
)
def test_many_levels(metric, kind, tested):
    """Scores of more than 128 whole byte tables do not fit in 16 bits, those of 1,025 not at all."""
    rng = np.random.default_rng(0)
    codebooks = make_codebooks(rng, tested[-1], 8, 4, kind) + np.float32(0.01)
    codes = rng.integers(0, 256, (2000, tested[-1]))
    x = rng.standard_normal((3, 4)).astype(np.float32)
    for levels in tested:
        rows = codes.astype(np.uint8)
        D, ids = search_on_all_levels(lambda: knn_search(codebooks, rows, x, 5, levels, metric))  # noqa: B023
        expected = reference.nearest(x, reference.decode(codebooks, codes, levels), 5, metric)
        reference.assert_neighbours((D, ids), expected, 1e4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("order", ["farthest first", "nearest first"])
def test_storage_order_does_not_matter(metric, order):
    rng = np.random.default_rng(1)
    codebooks = make_codebooks(rng, 8, 8, 16, "shared")
    codes = rng.integers(0, 256, (20000, 8))
    x = rng.standard_normal((1, 16)).astype(np.float32)
    D = reference.distances(x, reference.decode(codebooks, codes, 8), metric)[0]
    ranks = np.argsort(D if (metric == "l2") == (order == "nearest first") else -D)
    codes = codes[ranks]
    found = search_on_all_levels(lambda: knn_search(codebooks, codes.astype(np.uint8), x, 50, 8, metric))
    expected = reference.nearest(x, reference.decode(codebooks, codes, 8), 50, metric)
    reference.assert_neighbours(found, expected, 1e3)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("k", "near"), [(10, 5), (200, 78)])
def test_a_sample_that_misleads(metric, k, near):
    """Every 256th vector is looked at first: it is one of the `near` nearest, the other results are not."""
    rng = np.random.default_rng(1)
    codebooks = make_codebooks(rng, 8, 8, 16, "shared")
    codes = rng.integers(0, 256, (20000, 8))
    x = rng.standard_normal((3, 16)).astype(np.float32)
    D = reference.distances(x[:1], reference.decode(codebooks, codes, 8), metric)[0]
    ranks = np.argsort(D if metric == "l2" else -D)
    sampled, others = codes[ranks[:near]], codes[ranks[near:]]
    codes = np.insert(others, 255 * np.arange(near), sampled, axis=0)
    assert (codes[::256][:near] == sampled).all()
    found = search_on_all_levels(lambda: knn_search(codebooks, codes.astype(np.uint8), x, k, 8, metric))
    expected = reference.nearest(x, reference.decode(codebooks, codes, 8), k, metric)
    reference.assert_neighbours(found, expected, 1e3)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_of_very_different_size(metric):
    """A huge query next to tiny ones, one at the mean and one far from it must not disturb each other."""
    rng = np.random.default_rng(2)
    codebooks = make_codebooks(rng, 8, 8, 16, "shared")
    codes = rng.integers(0, 256, (3000, 8))
    reconstructions = reference.decode(codebooks, codes, 8)
    x = rng.standard_normal((6, 16)).astype(np.float32)
    x *= np.float32([1e-6, 1e-2, 1, 1e2, 1e4, 0])[:, None]
    x[5] = reconstructions.mean(0)
    found = search_on_all_levels(lambda: knn_search(codebooks, codes.astype(np.uint8), x, 10, 8, metric))
    expected = reference.nearest(x, reconstructions, 10, metric)
    for i, size in enumerate(np.abs(x).max(1)):
        reference.assert_neighbours(
            (found[0][i : i + 1], found[1][i : i + 1]),
            (expected[0][i : i + 1], expected[1][i : i + 1]),
            16 * (size + 10) ** 2,
        )


def test_data_far_from_the_origin():
    """L2 keeps its precision: the mean is taken off queries and codewords alike."""
    rng = np.random.default_rng(3)
    codebooks = make_codebooks(rng, 4, 8, 8, "shared")
    codebooks[0] += 1000
    codes = rng.integers(0, 256, (2000, 4))
    reconstructions = reference.decode(codebooks, codes, 4)
    x = (reconstructions[:5] + 0.1).astype(np.float32)
    found = search_on_all_levels(lambda: knn_search(codebooks, codes.astype(np.uint8), x, 10, 4, "l2"))
    reference.assert_neighbours(found, reference.nearest(x, reconstructions, 10, "l2"), 500)


def test_codewords_all_equal():
    codebooks = np.ones((3, 16, 5), np.float32)
    rows = np.zeros((40, 2), np.uint8)
    x = np.ones((2, 5), np.float32)
    for metric in METRICS:
        D, ids = search_on_all_levels(lambda: knn_search(codebooks, rows, x, 3, 2, metric))  # noqa: B023
        np.testing.assert_array_equal(ids, [[0, 1, 2]] * 2)
        np.testing.assert_allclose(D, 5 if metric == "l2" else 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("metric", METRICS)
def test_queries_that_have_no_distance(bad, metric):
    """NaN, infinite and overflowing queries find nothing and leave the others alone."""
    rng = np.random.default_rng(4)
    codebooks = make_codebooks(rng, 4, 8, 8, "shared")
    rows = rng.integers(0, 256, (500, 4)).astype(np.uint8)
    x = rng.standard_normal((3, 8)).astype(np.float32)
    alone = knn_search(codebooks, rows, x[::2].copy(), 5, 4, metric)
    x[1, 3] = bad
    D, ids = search_on_all_levels(lambda: knn_search(codebooks, rows, x, 5, 4, metric))
    np.testing.assert_array_equal(ids[::2], alone[1])
    np.testing.assert_array_equal(D[::2], alone[0])
    if not np.isfinite(bad) or metric == "l2":
        assert (ids[1] == -1).all()


@settings(max_examples=60, deadline=None)
@given(
    N=st.sampled_from([0, 1, 130, 3000]),
    M=st.integers(1, 9),
    nbits=st.sampled_from([2, 4, 6, 8, 10]),
    kind=st.sampled_from(["shared", "independent"]),
    metric=st.sampled_from(METRICS),
    share=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    masked=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_range_search_is_exact(N, M, nbits, kind, metric, share, masked, seed):
    rng = np.random.default_rng(seed)
    codebooks = make_codebooks(rng, M, nbits, 8, kind)
    codes = rng.integers(0, 1 << nbits, (N, M))
    rows = reference.pack_codes(codes, nbits)
    x = rng.standard_normal((4, 8)).astype(np.float32)
    mask = rng.random(N) < 0.3 if masked else None
    reconstructions = reference.decode(codebooks, codes, M).reshape(-1, 8)
    expected = reference.distances(x, reconstructions, metric)
    radius = np.float32(np.quantile(expected, share if metric == "l2" else 1 - share)) if N else np.float32(1)

    results = {}
    for level in AVAILABLE_LEVELS:
        _core.set_simd_level(level)
        results[level] = range_search(codebooks, rows, x, radius, M, metric, mask)
    for query in range(len(x)):
        D, ids = results["scalar"][query]
        for level in AVAILABLE_LEVELS:
            np.testing.assert_array_equal(results[level][query][0], D)
            np.testing.assert_array_equal(results[level][query][1], ids)
        sign = 1 if metric == "l2" else -1
        assert (sign * (radius - D) > 0).all()
        margin = 4e-6 * reference.distance_scale(x, reconstructions, codebooks)
        inside = expected[query] < radius - margin if metric == "l2" else expected[query] > radius + margin
        outside = expected[query] > radius + margin if metric == "l2" else expected[query] < radius - margin
        selected = np.ones(N, bool) if mask is None else mask
        assert set(np.flatnonzero(inside & selected)) <= set(ids)
        assert not set(np.flatnonzero(outside | ~selected)) & set(ids)
        assert (np.diff(ids) > 0).all()
        np.testing.assert_allclose(D, expected[query][ids], atol=margin)


@pytest.mark.parametrize("metric", METRICS)
def test_no_queries(metric):
    codebooks = make_codebooks(np.random.default_rng(0), 3, 4, 5, "shared")
    rows, x = np.zeros((10, 2), np.uint8), np.zeros((0, 5), np.float32)
    D, ids = knn_search(codebooks, rows, x, 3, 3, metric)
    assert D.shape == ids.shape == (0, 3)
    assert range_search(codebooks, rows, x, 1.0, 3, metric) == []


def test_many_results_of_many_queries():
    """More results than are collected at a time."""
    rng = np.random.default_rng(6)
    codebooks = make_codebooks(rng, 2, 8, 4, "shared")
    codes = rng.integers(0, 256, (3000, 2))
    x = rng.standard_normal((1500, 4)).astype(np.float32)
    D, ids = knn_search(codebooks, codes.astype(np.uint8), x, 3000, 2, "l2")
    assert (np.sort(ids, axis=1) == np.arange(3000)).all()
    assert (np.diff(D, axis=1) >= 0).all()


def test_simd_level_set_during_searches():
    """A search keeps the kernels it began with."""
    rng = np.random.default_rng(7)
    codebooks = make_codebooks(rng, 8, 8, 8, "shared")
    rows = rng.integers(0, 256, (200_000, 8)).astype(np.uint8)
    x = rng.standard_normal((20, 8)).astype(np.float32)
    expected = knn_search(codebooks, rows, x, 10, 8, "l2")
    done = threading.Event()

    def switch():
        while not done.is_set():
            for level in AVAILABLE_LEVELS:
                _core.set_simd_level(level)

    switcher = threading.Thread(target=switch)
    switcher.start()
    try:
        for _ in range(5):
            found = knn_search(codebooks, rows, x, 10, 8, "l2")
            np.testing.assert_array_equal(found[0], expected[0])
            np.testing.assert_array_equal(found[1], expected[1])
    finally:
        done.set()
        switcher.join()


def test_bad_input():
    codebooks = np.zeros(3 * 16 * 5, np.float32)
    rows = np.zeros((10, 2), np.uint8)
    x = np.zeros((2, 5), np.float32)

    def search(codebooks=codebooks, nbits=(4, 4, 4), rows=rows, x=x, k=1, levels=3, mask=None):
        return _core.ArrayIndex().search(codebooks, list(nbits), rows, x, k, levels, True, mask)

    search()
    with pytest.raises(TypeError, match=r"x: expected a C-contiguous float32 array, got float64"):
        search(x=x.astype(np.float64))
    with pytest.raises(TypeError, match="not contiguous"):
        search(x=np.zeros((2, 10), np.float32)[:, ::2])
    with pytest.raises(ValueError, match="codebooks: got 240 floats, expected 192"):
        search(x=np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="codebooks: got 225 floats, expected 240"):
        search(codebooks=np.zeros(225, np.float32))
    with pytest.raises(ValueError, match="nbits: got 17, expected 1 to 16"):
        search(nbits=(4, 4, 17))
    with pytest.raises(ValueError, match="at least 12 bits"):
        search(rows=np.zeros((10, 1), np.uint8))
    with pytest.raises(ValueError, match=r"levels is 4, expected 0 \(all\) to 3"):
        search(levels=4)
    with pytest.raises(ValueError, match="one entry for each code"):
        search(mask=np.zeros(9, bool))
    with pytest.raises(ValueError, match="k: 0, expected at least 1"):
        search(k=0)
