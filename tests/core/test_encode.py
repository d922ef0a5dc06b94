"""Beam-search encoding: the same codes on every SIMD level, as a plain beam search and as FAISS."""

import faiss
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.conftest import AVAILABLE_LEVELS


def encode_at(simd, x, codebooks, beam):
    _core.set_simd_level(simd)
    return _core.encode(x, codebooks, beam)


def shared_codebooks(rng, levels, bits, d, ratio=0.75):
    codebook = rng.standard_normal((2**bits, d)).astype(np.float32)
    return np.stack([np.float32(ratio**m) * codebook for m in range(levels)])


def own_codebooks(rng, levels, bits, d, ratio=0.75):
    return np.stack([shared_codebooks(rng, 1, bits, d)[0] * np.float32(ratio**m) for m in range(levels)])


def squared_errors(x, codes, codebooks):
    reconstruction = sum(codebooks[m, codes[:, m]].astype(np.float64) for m in range(len(codebooks)))
    return ((x - reconstruction) ** 2).sum(1)


def plain_beam_search(x, codebooks, beam):
    """Beam search for one vector, ties to the earlier partial code, then the lower codeword."""
    kept, residuals = [()], x[None].astype(np.float64)
    for codebook in codebooks:
        errors = ((residuals[:, None] - codebook) ** 2).sum(-1)
        best = np.argsort(errors, axis=None, kind="stable")[:beam]
        parents, codewords = np.unravel_index(best, errors.shape)
        kept = [(*kept[p], k) for p, k in zip(parents, codewords, strict=True)]
        residuals = residuals[parents] - codebook[codewords]
    return kept[0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 20),
    levels=st.integers(1, 5),
    bits=st.integers(1, 6),
    beam=st.sampled_from([1, 2, 3, 7, 16, 40, 100]),
    shared=st.booleans(),
)
def test_equals_a_plain_beam_search_ties_included(seed, d, levels, bits, beam, shared):
    # Whole numbers and powers of two: every sum is exact in float32, and ties are frequent.
    rng = np.random.default_rng(seed)
    codebooks = rng.integers(-8, 9, (levels, 2**bits, d)).astype(np.float32)
    if shared:
        codebooks = np.stack([codebooks[0] * 2.0 ** (3 - m) for m in range(levels)]).astype(np.float32)
    else:  # two or three codewords may happen to be multiples, by factors that are no powers of two
        assume(len(set(_core.factor(codebooks)[0])) == levels)
    x = rng.integers(-20, 21, (5, d)).astype(np.float32)
    expected = [plain_beam_search(row, codebooks, beam) for row in x]
    for simd in AVAILABLE_LEVELS:
        np.testing.assert_array_equal(encode_at(simd, x, codebooks, beam), expected, err_msg=simd)


@pytest.mark.parametrize("make", [shared_codebooks, own_codebooks])
@pytest.mark.parametrize(("levels", "bits"), [(8, 8), (3, 10), (5, 4), (40, 3), (6, 1)])
@pytest.mark.parametrize("beam", [1, 5, 33])
def test_every_simd_level_gives_the_same_codes(make, levels, bits, beam):
    rng = np.random.default_rng(levels)
    codebooks = make(rng, levels, bits, d=37, ratio=0.9)
    x = rng.standard_normal((101, 37)).astype(np.float32)
    expected = encode_at("scalar", x, codebooks, beam)
    for simd in AVAILABLE_LEVELS[1:]:
        np.testing.assert_array_equal(encode_at(simd, x, codebooks, beam), expected)


def test_gain_weights_minimise_the_weighted_errors_of_all_prefixes():
    rng = np.random.default_rng(0)
    codebooks = own_codebooks(rng, levels=3, bits=3, d=4)
    x = rng.standard_normal((50, 4)).astype(np.float32)
    alpha = np.array([0.5, 0.2, 0.3])  # of the errors after 1, 2 and 3 levels
    gain_weights = np.cumsum(alpha[::-1])[::-1].tolist()
    every = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    weighted = sum(
        a * ((x[:, None] - reference.decode(codebooks, every, L)) ** 2).sum(-1)
        for L, a in enumerate(alpha, start=1)
    )
    for simd in AVAILABLE_LEVELS:
        _core.set_simd_level(simd)
        codes = _core.encode(x, codebooks, 512, gain_weights)  # a beam that loses nothing
        np.testing.assert_array_equal(codes, every[weighted.argmin(1)])
    assert (codes != _core.encode(x, codebooks, 512)).any()


@pytest.mark.parametrize(
    ("gain_weights", "message"),
    [([1.0], "1 weights, expected one for each of 2"), ([1.0, 0.0], "positive"), ([1.0, np.nan], "positive")],
)
def test_bad_gain_weights_are_refused(gain_weights, message):
    with pytest.raises(ValueError, match=message):
        _core.encode(np.zeros((1, 2), np.float32), np.ones((2, 2, 2), np.float32), 1, gain_weights)


@pytest.mark.parametrize("make", [shared_codebooks, own_codebooks])
def test_beam_1_takes_the_nearest_codeword_of_each_residual(make):
    rng = np.random.default_rng(1)
    codebooks = make(rng, levels=6, bits=5, d=24)
    x = rng.standard_normal((500, 24)).astype(np.float32)
    residuals, expected = x.astype(np.float64), []
    for codebook in codebooks:
        expected.append(((residuals[:, None] - codebook) ** 2).sum(-1).argmin(1))
        residuals = residuals - codebook[expected[-1]]
    agree = (_core.encode(x, codebooks, 1) == np.stack(expected, 1)).all(1)
    assert agree.mean() > 0.99  # a rounding error may decide between two codewords equally near


@pytest.mark.parametrize("make", [shared_codebooks, own_codebooks])
@pytest.mark.parametrize("beam", [1, 5, 16])
def test_agrees_with_faiss_at_equal_beam(make, beam):
    rng = np.random.default_rng(2)
    d, levels, bits = 32, 6, 8
    codebooks = make(rng, levels, bits, d) + 3  # a constant that the encoder has to cope with
    x = rng.standard_normal((400, d)).astype(np.float32)
    index = faiss.IndexResidualQuantizer(d, levels, bits)
    faiss.copy_array_to_vector(codebooks.ravel(), index.rq.codebooks)
    index.rq.is_trained = index.is_trained = True
    index.rq.max_beam_size = beam
    theirs = index.rq.compute_codes(x)
    ours = _core.encode(x, codebooks, beam)
    assert (ours == theirs).all(1).mean() > 0.98
    np.testing.assert_allclose(
        squared_errors(x, ours, codebooks).mean(), squared_errors(x, theirs, codebooks).mean(), rtol=1e-3
    )


def test_codebooks_too_large_for_a_gram_matrix():
    rng = np.random.default_rng(3)
    codebooks = shared_codebooks(rng, levels=2, bits=14, d=3, ratio=0.1)
    x = rng.standard_normal((20, 3)).astype(np.float32)
    expected = encode_at("scalar", x, codebooks, 4)
    errors = squared_errors(x, expected, codebooks)
    plain = np.array([plain_beam_search(row, codebooks, 4) for row in x])
    np.testing.assert_allclose(errors, squared_errors(x, plain, codebooks), atol=1e-6)
    for simd in AVAILABLE_LEVELS[1:]:
        np.testing.assert_array_equal(encode_at(simd, x, codebooks, 4), expected)


def test_a_wider_beam_lowers_the_error():
    rng = np.random.default_rng(4)
    codebooks = shared_codebooks(rng, levels=8, bits=6, d=32)
    x = rng.standard_normal((500, 32)).astype(np.float32)
    errors = [squared_errors(x, _core.encode(x, codebooks, beam), codebooks).mean() for beam in (1, 4, 32)]
    assert errors[0] > errors[1] > errors[2]


def test_rows_are_encoded_independently():
    rng = np.random.default_rng(5)
    codebooks = own_codebooks(rng, levels=4, bits=6, d=16)
    x = rng.standard_normal((1000, 16)).astype(np.float32)
    together = _core.encode(x, codebooks, 5)
    np.testing.assert_array_equal(
        np.concatenate([_core.encode(row, codebooks, 5) for row in np.split(x, 200)]), together
    )


def test_no_vectors_give_no_codes():
    codes = _core.encode(np.empty((0, 8), np.float32), np.ones((3, 4, 8), np.float32), 5)
    assert codes.shape == (0, 3)
    assert codes.dtype == np.int32


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_values_without_a_nearest_codeword_still_give_valid_codes(value):
    rng = np.random.default_rng(6)
    codebooks = shared_codebooks(rng, levels=4, bits=3, d=8)
    codes = _core.encode(np.full((2, 8), value, np.float32), codebooks, 5)
    assert codes.min() >= 0
    assert codes.max() < 8


def test_code_sums():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((300, 5)).astype(np.float32)
    codes = rng.integers(0, 6, (300, 3)).astype(np.int32)
    expected = np.zeros((3, 6, 5))
    for m in range(3):
        np.add.at(expected[m], codes[:, m], x)
    np.testing.assert_allclose(_core.code_sums(x, codes, 6), expected, rtol=1e-12, atol=1e-12)


X, BOOKS, CODES = np.zeros((4, 3), np.float32), np.ones((2, 4, 3), np.float32), np.zeros((4, 2), np.int32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.astype(np.float64), BOOKS, 5), TypeError, "x: .*float32.*float64"),
        ((np.asfortranarray(X), BOOKS, 5), TypeError, "x: .*contiguous"),
        ((X[0], BOOKS, 5), ValueError, "x: expected 2 dimensions"),
        ((X[:, :2].copy(), BOOKS, 5), ValueError, r"x: expected 3 columns, got shape \(4, 2\)"),
        ((X, BOOKS[0], 5), ValueError, "codebook of a level: expected 2 dimensions"),
        ((X, BOOKS[:, :3].copy(), 5), ValueError, "codebooks: 3 codewords"),
        ((X, BOOKS[:0], 5), ValueError, "codebooks: 0 levels"),
        ((X, BOOKS, 0), ValueError, "beam: 0"),
        ((X, BOOKS, -3), ValueError, "beam: -3"),
    ],
)
def test_encode_rejects(arguments, error, message):
    with pytest.raises(error, match=message):
        _core.encode(*arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X.astype(np.float64), CODES, 4), TypeError, "x: .*float64"),
        ((X, CODES.astype(np.int64), 4), TypeError, "codes: .*int64"),
        ((X, CODES[:3], 4), ValueError, "codes: expected 4 rows"),
        ((X, CODES + 4, 4), ValueError, "codes: 4 in row 0, expected 0 to 3"),
        ((X, CODES - 1, 4), ValueError, "codes: -1 in row 0"),
        ((X, CODES, 0), ValueError, "K: 0"),
    ],
)
def test_code_sums_rejects(arguments, error, message):
    with pytest.raises(error, match=message):
        _core.code_sums(*arguments)


def block_codebooks(rng, groups, bits, d, size):
    """Codebooks (M, K, d) of levels in all dimensions (-1) or on a block of `size` axes, and the axes."""
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0].astype(np.float32)
    codebooks = []
    for m, group in enumerate(groups):
        own = rng.standard_normal((2**bits, d)).astype(np.float32) * np.float32(0.7**m)
        block = axes[group * size : (group + 1) * size]
        codebooks.append(own if group < 0 else own[:, :size] @ block)
    return np.stack(codebooks), axes


@pytest.mark.parametrize("beam", [1, 4, 9])
@pytest.mark.parametrize("groups", [[-1, -1, 0, 1, 0, 1, 2], [1, 0, 1, 0], [0, -1, 1, 0, -1]])
def test_blocks_are_searched_one_by_one_after_the_dense_levels(groups, beam):
    rng = np.random.default_rng(beam)
    groups, size = np.array(groups), 4
    codebooks, axes = block_codebooks(rng, groups, 6, 20, size)
    x = rng.standard_normal((40, 20)).astype(np.float32)
    found = [encode_at(simd, x, codebooks, beam) for simd in AVAILABLE_LEVELS]
    for codes in found[1:]:
        np.testing.assert_array_equal(codes, found[0])
    shift = np.array(_core.factor(codebooks)[2])  # of level 0's codewords, which dense levels leave to it
    centred = codebooks.astype(np.float64)
    centred[0] -= shift
    expected, left = np.empty_like(found[0]), x - shift
    for group in np.unique(groups):
        levels = np.flatnonzero(groups == group)
        block = np.eye(20) if group < 0 else axes[group * size : (group + 1) * size]
        own = centred[levels]
        for i in range(len(x)):
            expected[i, levels] = plain_beam_search(left[i] @ block.T, own @ block.T, beam)
        if group < 0:
            left -= sum(own[m, expected[:, level]] for m, level in enumerate(levels))
    assert (found[0] == expected).mean() > 0.999  # rounding may decide between two that are equally good


def test_more_axes_than_pay_are_no_block():
    rng = np.random.default_rng(0)
    codebooks, _ = block_codebooks(rng, np.array([-1, 0, 1]), 6, 20, 5)
    assert [begin for begin, _ in _core.blocks(codebooks)[0]] == [-1, 0, 5]
    codebooks, _ = block_codebooks(rng, np.array([-1, 0, 1]), 6, 20, 6)  # more than a quarter
    assert _core.blocks(codebooks)[0] == [(-1, 20)] * 3
    codebooks, _ = block_codebooks(
        rng, np.array([-1, 0, 1]), 2, 20, 2
    )  # four codewords span three dimensions
    assert _core.blocks(codebooks)[0] == [(-1, 20)] * 3


def test_levels_with_common_axes_share_a_block():
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.standard_normal((32, 32)))[0].astype(np.float32)
    spans = [axes[0:4], axes[4:8], axes[2:6], axes[8:12]]
    codebooks = np.stack([rng.standard_normal((64, 4)).astype(np.float32) @ span for span in spans])
    ranges, found = _core.blocks(codebooks)
    assert ranges == [(0, 8), (0, 8), (0, 8), (8, 4)]
    np.testing.assert_allclose(found @ found.T, np.eye(12), atol=1e-6)
    np.testing.assert_allclose(codebooks[2] @ found.T @ found, codebooks[2], atol=1e-5)


@pytest.mark.parametrize("lean", [0.0, 1e-7, 1e-5, 1e-3, 0.04, 0.3])
@pytest.mark.parametrize("first", [0, 4])
def test_blocks_that_lean_towards_each_other_are_one(first, lean):
    """The second block's axes are the first's, or orthogonal to them, but for a little."""
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((32, 32)))[0]
    spans = [axes[0:4], axes[first : first + 4] + lean * axes[4 - first : 8 - first]]
    codebooks = np.stack([rng.standard_normal((64, 4)) @ span for span in spans]).astype(np.float32)
    ranges, found = _core.blocks(codebooks)
    if lean > 1e-6:
        assert ranges == [(0, 8), (0, 8)]
    else:
        assert ranges == [(0, 4), (first, 4)]
    np.testing.assert_allclose(codebooks[1] @ found.T @ found, codebooks[1], atol=5e-6)


def test_blocks_with_little_in_common_are_one():
    """Both reach a thousandth of their length along an axis, along which the dense level reaches far."""
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((32, 32)))[0]
    own = rng.standard_normal((2, 64, 4)) * (1, 1, 1, 1e-3)
    spans = axes[[[0, 1, 2, 6], [3, 4, 5, 6]]]
    codebooks = np.concatenate([rng.standard_normal((1, 64, 32)), own @ spans]).astype(np.float32)
    assert _core.blocks(codebooks)[0] == [(-1, 32), (0, 7), (0, 7)]


def test_codewords_that_the_axes_of_their_block_do_not_span_stay_out():
    """Each of the second codebook's axes is near enough to the first's, but their sum is not."""
    flat = np.array([(1, 0), (0, 0.99), (0.7, 0.7), (-0.7, 0.7), (-0.5, 0), (0, -0.5), (0.2, -0.3), (0, 0)])
    codebooks = np.zeros((3, 8, 16), np.float32)
    codebooks[0] = np.random.default_rng(4).standard_normal((8, 16))
    codebooks[1:, :, :2] = flat
    codebooks[2, :, 2] = 0.9 / 2**20 * flat.sum(1)
    assert _core.blocks(codebooks)[0] == [(-1, 16), (0, 2), (-1, 16)]
