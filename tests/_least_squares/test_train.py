"""Closed-form training on the handwritten digits that ship with scikit-learn."""

import faiss
import numpy as np
import pytest
from sklearn.datasets import load_digits

from drqfaiss._least_squares import solving
from drqfaiss._least_squares import train as least_squares
from drqfaiss._least_squares.options import QUALITIES, SCALES
from drqfaiss.quantizer import Quantizer

LEVELS, BITS = 4, 5


@pytest.fixture(scope="module")
def digits():
    """Training and held-out vectors, (1400, 64) and (397, 64)."""
    x = load_digits().data.astype(np.float32)
    x = x[np.random.default_rng(0).permutation(len(x))]
    return x[:1400], x[1400:]


@pytest.fixture(scope="module")
def trained(digits):
    return {mode: train(digits[0], scale=mode) for mode in SCALES}


def train(x, **options):
    return Quantizer.train(
        x, **{"levels": LEVELS, "bits": BITS, "layout": "shared", "progress": False, **options}
    )


def error(quantizer, x, levels=None):
    return float(((x - quantizer.decode(quantizer.encode(x), levels)) ** 2).sum(1).mean())


@pytest.fixture(scope="module")
def stock_errors(digits):
    """Held-out errors of FAISS's own quantizers at the same bytes."""
    learn, held_out = digits
    pq = faiss.IndexPQ(64, LEVELS, BITS)
    rotation = faiss.OPQMatrix(64, LEVELS)
    rotation.niter, rotation.pq = 20, faiss.ProductQuantizer(64, LEVELS, BITS)
    opq = faiss.IndexPreTransform(rotation, faiss.IndexPQ(64, LEVELS, BITS))
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # OPQ on small data mostly waits for its threads
    errors = {}
    for name, index in {"PQ": pq, "OPQ": opq}.items():
        index.train(learn)
        errors[name] = ((held_out - index.sa_decode(index.sa_encode(held_out))) ** 2).sum(1).mean()
    faiss.omp_set_num_threads(threads)
    return errors


@pytest.mark.parametrize("mode", SCALES)
def test_held_out_error_is_below_pq_and_opq_at_the_same_bytes(digits, trained, stock_errors, mode):
    assert error(trained[mode], digits[1]) < min(stock_errors.values())


@pytest.mark.parametrize("mode", SCALES)
def test_every_level_lowers_the_held_out_error(digits, trained, mode):
    errors = [error(trained[mode], digits[1], levels) for levels in range(1, LEVELS + 1)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("mode", SCALES)
def test_scales(trained, mode):
    scales = trained[mode].scales
    assert scales.shape == ((LEVELS, 64) if mode == "vector" else (LEVELS,))
    assert (scales > 0).all()
    assert (scales[0] == 1).all()
    if mode != "vector":
        assert (np.diff(scales) < 0).all()
        assert scales[-1] > 0.1  # no level is dead
    if mode == "geometric":
        np.testing.assert_allclose(scales, scales[1] ** np.arange(LEVELS), rtol=1e-5)


def test_only_vector_scales_are_rotated(trained):
    assert [mode for mode in SCALES if trained[mode].rotation is not None] == ["vector"]


@pytest.mark.parametrize("mode", SCALES)
def test_the_same_seed_gives_the_same_bits(digits, mode):
    options = {"scale": mode, "iterations": 4, "seed": 7, "max_vectors": 1000}
    first, second = (train(digits[0], **options) for _ in range(2))
    np.testing.assert_array_equal(first.codebooks(), second.codebooks())
    other = train(digits[0], **{**options, "seed": 8})
    assert (first.codebooks() != other.codebooks()).any()


def test_prefix_weights_lower_the_error_of_prefixes(digits, trained):
    full_only = train(digits[0], prefix_weights={LEVELS: 1})
    short = train(digits[0], prefix_weights={2: 1, LEVELS: 0.1})
    learn = digits[0]
    assert error(short, learn, 2) < error(trained["level"], learn, 2) < error(full_only, learn, 2)
    assert error(full_only, learn) < error(short, learn)


@pytest.mark.parametrize("mode", SCALES)
def test_an_own_first_codebook_lowers_the_error(digits, trained, mode):
    own = train(digits[0], scale=mode, own_first=True)
    assert own.first_codebook.shape == (2**BITS, 64)
    assert (own.scales[:2] == 1).all()
    if mode == "geometric":
        np.testing.assert_allclose(own.scales[1:], own.scales[2] ** np.arange(LEVELS - 1), rtol=1e-5)
    assert error(own, digits[0]) < error(trained[mode], digits[0])


def test_an_own_first_codebook_of_one_level_is_the_codebook(digits):
    own, shared = (train(digits[0], levels=1, own_first=own, iterations=2) for own in (True, False))
    assert own.first_codebook is None
    np.testing.assert_array_equal(own.codebooks(), shared.codebooks())


def test_more_own_codebooks_lower_the_error(digits):
    errors = [error(train(digits[0], own_levels=own), digits[0]) for own in (0, 1, 2, LEVELS)]
    assert errors == sorted(errors, reverse=True)
    own = train(digits[0], own_levels=2)
    assert own.level_groups.tolist() == [0, 1, 2, 2]
    np.testing.assert_array_equal(own.scales[:3], 1)


def test_better_quality_lowers_the_error(digits):
    errors = [error(train(digits[0], quality=quality), digits[0]) for quality in QUALITIES]
    assert errors == sorted(errors, reverse=True)


def test_options_replace_parts_of_a_quality(digits):
    both = train(digits[0], quality="fast", iterations=3, max_vectors=500)
    beam = QUALITIES["fast"].beam
    np.testing.assert_array_equal(
        both.codebooks(), train(digits[0], iterations=3, max_vectors=500, beam=beam).codebooks()
    )


def test_iterations_lower_the_error(digits):
    errors = [error(train(digits[0], iterations=n), digits[0]) for n in (1, 5, 20)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("mode", SCALES)
def test_scale_and_place_of_the_data_do_not_matter(digits, mode):
    learn, held_out = digits
    plain = error(train(learn, scale=mode, iterations=6), held_out)
    for factor, shift in ((1e-6, 0), (1e6, 0), (1, 100)):
        moved = train(learn * np.float32(factor) + shift, scale=mode, iterations=6)
        ratio = error(moved, held_out * np.float32(factor) + shift) / factor**2 / plain
        assert ratio == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("mode", SCALES)
def test_vectors_that_are_all_the_same(mode):
    x = np.full((40, 8), 3, np.float32)
    q = train(x, scale=mode, iterations=3)
    np.testing.assert_allclose(q.decode(q.encode(x)), x, atol=1e-4)


@pytest.mark.parametrize("mode", SCALES)
def test_few_distinct_vectors_and_constant_dimensions(mode):
    x = np.repeat(np.eye(10, 12, dtype=np.float32), 5, axis=0)
    q = train(x, scale=mode, iterations=8)
    assert error(q, x) < 0.05


@pytest.mark.parametrize(("levels", "bits"), [(1, 1), (1, 6), (12, 3)])
@pytest.mark.parametrize("mode", SCALES)
def test_other_shapes_of_code(digits, levels, bits, mode):
    learn, held_out = digits
    q = train(learn, levels=levels, bits=bits, scale=mode, iterations=5, layout="auto")
    assert (q.levels, q.bits) == (levels, bits)
    assert error(q, held_out) < ((held_out - learn.mean(0)) ** 2).sum(1).mean()


def test_unused_codewords_are_replaced():
    x = np.arange(20, dtype=np.float32).reshape(10, 2) + 1
    codes = np.array([[0, 2]] * 10, np.int32)
    shared = solving.Levels(np.zeros((1, 4, 2)), np.array([0, 0]), np.ones((2, 1)))
    least_squares.reseed_unused(shared, codes, x, np.random.default_rng(0))
    assert not shared.bases[0, [0, 2]].any()
    assert all((x == row).all(1).any() for row in shared.bases[0, [1, 3]])
    bases = np.zeros((2, 4, 2))
    bases[0, 0] = 100  # what the first level explains
    own = solving.Levels(bases, np.array([0, 1]), np.ones((2, 1)))
    least_squares.reseed_unused(own, codes, x, np.random.default_rng(0))
    assert all((x == row).all(1).any() for row in own.bases[0, 1:])
    assert all((x - 100 == row).all(1).any() for row in own.bases[1, [0, 1, 3]])


def test_progress_is_silent_without_a_terminal(digits, capsys):
    train(digits[0], iterations=1, progress=True)
    assert capsys.readouterr().err == ""


X = np.zeros((50, 4), np.float32)
WITH_NAN = X.copy()
WITH_NAN[7, 2] = np.nan
WITH_INF = X.copy()
WITH_INF[9, 0] = np.inf


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (WITH_NAN, {}, ValueError, r"x: .*\(7, 2\)"),
        (WITH_INF, {}, ValueError, r"x: .*\(9, 0\)"),
        (X[:31], {}, ValueError, "x: got 31 training vectors, expected at least the 32 codewords"),
        (X, {"max_vectors": 31}, ValueError, "max_vectors: got 31, expected at least 32"),
        (X, {"seed": 2**31}, ValueError, "seed: got 2147483648"),
        (X[0], {}, ValueError, "x: got shape"),
        (X[:, :0], {}, ValueError, "x: got shape"),
        (X.astype(complex), {}, TypeError, "x: got complex"),
        (X, {"levels": 0}, ValueError, "levels: got 0"),
        (X, {"levels": 2.0}, TypeError, "levels: got 2.0"),
        (X, {"bits": 0}, ValueError, "bits: got 0, expected 1 to 16"),
        (X, {"bits": 17}, ValueError, "bits: got 17"),
        (X, {"levels": 8, "bits": 12}, ValueError, "= 32768, expected at most 23170"),
        (X, {"iterations": 0}, ValueError, "iterations: got 0"),
        (X, {"beam": 0}, ValueError, "beam: got 0"),
        (X, {"seed": -1}, ValueError, "seed: got -1"),
        (X, {"scale": "cubic"}, ValueError, "'cubic', expected one of 'geometric', 'level', 'vector'"),
        (X, {"quality": "good"}, ValueError, "'good', expected one of 'fast', 'default', 'best'"),
        (X, {"own_first": 1}, TypeError, "own_first: got 1, expected True or False"),
        (X, {"prefix_weights": {5: 1}}, ValueError, "prefix_weights: got 5, expected 1 to 4"),
        (X, {"prefix_weights": {0: 1}}, ValueError, "prefix_weights: got 0"),
        (X, {"prefix_weights": {4: -1}}, ValueError, "prefix_weights: got -1.0 for length 4"),
        (X, {"prefix_weights": {4: np.inf}}, ValueError, "prefix_weights: got inf"),
        (X, {"prefix_weights": {2: 1}}, ValueError, "no weight for all 4 levels"),
        (X, {"prefix_weights": [1]}, TypeError, r"prefix_weights: got \[1\], expected a dict"),
        (X, {"prefix_weights": {}}, ValueError, "no weight for all 4 levels"),
    ],
)
def test_rejects(x, options, error, message):
    with pytest.raises(error, match=message):
        train(x, **options)


@pytest.mark.parametrize("mode", SCALES)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e6, 1e25])
@pytest.mark.parametrize("outliers", [1, 30])
def test_vectors_far_out_do_not_cost_the_others(mode, size, outliers):
    x = np.random.default_rng(0).normal(size=(1500, 12)).astype(np.float32)
    options = {"scale": mode, "levels": 6, "bits": 4, "quality": "fast"}
    without = error(train(x[outliers:], **options), x[outliers:])
    y = x.copy()
    y[:outliers] *= np.float32(size)
    assert error(train(y, **options), x[outliers:]) < 1.15 * without


def test_vectors_of_ordinary_spread_are_all_used():
    x = np.random.default_rng(0).standard_t(3, size=(2000, 16)).astype(np.float32)
    assert least_squares.inlying(x - x.mean(0)).all()


@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("mode", SCALES)
@pytest.mark.parametrize("distinct", [1, 2, 4])
@pytest.mark.parametrize("levels", [1, 8, 64])
def test_few_distinct_vectors_are_learned(mode, own_first, distinct, levels):
    values = np.random.default_rng(1).normal(size=(distinct, 8)).astype(np.float32)
    x = values[np.random.default_rng(2).integers(0, distinct, 200)]
    learned = train(x, scale=mode, own_first=own_first, levels=levels, bits=2, quality="fast")
    np.testing.assert_allclose(learned.decode(learned.encode(x)), x, atol=0.02)


@pytest.mark.parametrize("mode", SCALES)
@pytest.mark.parametrize("magnitude", [1e-42, 1e-30, 1e-10, 1e15, 3e19, 5e37])
def test_any_magnitude_is_learned(mode, magnitude):
    x = np.random.default_rng(3).normal(size=(300, 6))
    options = {"scale": mode, "levels": 4, "bits": 3, "quality": "fast"}
    expected = train(x, **options)
    learned = train((x * magnitude).astype(np.float32), **options)
    assert learned.codebook.shape == expected.codebook.shape
    relative = np.abs(learned.codebook / magnitude - expected.codebook).max()
    assert relative < (0.3 if magnitude < 1e-38 else 1e-3)


@pytest.mark.parametrize("mode", SCALES)
@pytest.mark.parametrize(("n", "d"), [(16, 1), (16, 5), (300, 1)])
def test_smallest_sizes(mode, n, d):
    x = np.random.default_rng(4).normal(size=(n, d)).astype(np.float32)
    learned = train(x, scale=mode, levels=3, bits=4, quality="fast")
    assert error(learned, x) < 0.3 * x.var(0).sum()
