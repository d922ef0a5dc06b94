"""Two-stage search: the nearest by few levels, ranked by more."""

from tempfile import NamedTemporaryFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.core.arrays import given as arrays
from tests.core.arrays import knn_search
from tests.core.test_search import METRICS, make_codebooks, make_codes
from tests.simd_levels import search_on_all_levels


def two_stage(codebooks, rows, x, k, depth, metric, mask=None):
    levels, refine_levels, factor = depth
    index = _core.ArrayIndex()
    return index.search(*arrays(codebooks, rows), x, k, levels, metric == "l2", mask, refine_levels, factor)


@settings(max_examples=100, deadline=None)
@given(
    N=st.sampled_from([0, 1, 40, 700, 3000]),
    M=st.integers(2, 12),
    nbits=st.sampled_from([2, 4, 7, 8, 8, 9, 11]),
    d=st.sampled_from([3, 16, 33]),
    kind=st.sampled_from(["shared", "own-first", "independent", "blocks"]),
    codes_kind=st.sampled_from(["random", "duplicates"]),
    metric=st.sampled_from(METRICS),
    k=st.sampled_from([1, 5, 40]),
    factor=st.sampled_from([1, 3, 20, 10**6]),
    selected=st.sampled_from([None, 0.0, 0.3]),
    data=st.data(),
    seed=st.integers(0, 2**31),
)
def test_ranks_the_nearest_of_the_first_levels(
    N, M, nbits, d, kind, codes_kind, metric, k, factor, selected, data, seed
):
    rng = np.random.default_rng(seed)
    levels = data.draw(st.integers(1, M))
    refine_levels = data.draw(st.integers(levels, M))
    codebooks = make_codebooks(rng, M, nbits, d, kind)
    rows = reference.pack_codes(make_codes(rng, N, M, nbits, codes_kind), nbits)
    x = rng.standard_normal((5, d)).astype(np.float32) * 2
    mask = None if selected is None else rng.random(N) < selected

    depth = levels, refine_levels, factor
    D, ids = search_on_all_levels(lambda: two_stage(codebooks, rows, x, k, depth, metric, mask))

    _, shortlists = knn_search(codebooks, rows, x, max(1, min(k * factor, N)), levels, metric, mask)
    for i in range(len(x)):
        short = np.zeros(N, bool)
        short[shortlists[i][shortlists[i] >= 0]] = True
        expected = knn_search(codebooks, rows, x[i : i + 1], k, refine_levels, metric, short)
        np.testing.assert_array_equal(D[i], expected[0][0])
        np.testing.assert_array_equal(ids[i], expected[1][0])


@settings(max_examples=60, deadline=None)
@given(
    N=st.sampled_from([0, 1, 700, 3000]),
    M=st.integers(2, 12),
    nbits=st.sampled_from([2, 4, 7, 8, 8, 9, 11]),
    kind=st.sampled_from(["shared", "own-first", "independent", "blocks"]),
    metric=st.sampled_from(METRICS),
    factor=st.sampled_from([1, 3, 40]),
    packed=st.booleans(),
    appended=st.sampled_from([0, 1, 300]),
    data=st.data(),
    seed=st.integers(0, 2**31),
)
def test_levels_in_a_file_rank_as_those_in_the_rows(
    N, M, nbits, kind, metric, factor, packed, appended, data, seed
):
    rng = np.random.default_rng(seed)
    hot = data.draw(st.integers(1, M - 1))
    levels = data.draw(st.integers(1, hot))
    depth = levels, data.draw(st.integers(levels, M)), factor
    codebooks, codes = make_codebooks(rng, M, nbits, 16, kind), make_codes(rng, N, M, nbits, "random")
    x = rng.standard_normal((5, 16)).astype(np.float32) * 2
    stored = N - min(N, appended)
    with NamedTemporaryFile() as file:
        rows = reference.pack_codes(codes[:, hot:], nbits)
        file.write(codebooks[hot:].tobytes() + rows[:stored].tobytes())
        file.flush()
        tail = _core.StoredTail(
            file.fileno(), file.name, 16, [nbits] * (M - hot), stored, 0, codebooks[hot:].nbytes
        )
    tail.append(rows[stored:])
    index = _core.ArrayIndex()
    index.set_tail(tail)
    held = arrays(codebooks[:hot], reference.pack_codes(codes[:, :hot], nbits))
    if packed:
        index.pack(*held, 16, metric == "l2", levels)

    def search():
        return index.search(*held, x, 7, levels, metric == "l2", None, *depth[1:])

    D, ids = search_on_all_levels(search)
    expected = two_stage(codebooks, reference.pack_codes(codes, nbits), x, 7, depth, metric)
    np.testing.assert_array_equal(D, expected[0])
    np.testing.assert_array_equal(ids, expected[1])


def test_a_file_that_does_not_fit_is_refused():
    codebooks = np.zeros((3, 16, 5), np.float32)
    index = _core.ArrayIndex()
    with NamedTemporaryFile() as file:
        file.write(bytes(2 * 16 * 5 * 4 + 9))
        file.flush()
        with pytest.raises(ValueError, match="649 bytes are fewer than its header says"):
            _core.StoredTail(file.fileno(), file.name, 5, [4, 4], 10, 0, 640)
        with pytest.raises(ValueError, match="bytes are fewer than its header says"):
            _core.StoredTail(file.fileno(), file.name, 5, [4, 4, 4], 0, 0, 0)
        index.set_tail(_core.StoredTail(file.fileno(), file.name, 5, [4, 4], 9, 0, 640))
    x = np.zeros((1, 5), np.float32)
    with pytest.raises(RuntimeError, match="its number of vectors is 9, expected 10"):
        index.search(*arrays(codebooks[:1], np.zeros((10, 1), np.uint8)), x, 1, 1, True)
    with pytest.raises(RuntimeError, match="d is 5, expected 7"):
        index.search(
            *arrays(np.zeros((1, 16, 7), np.float32), np.zeros((9, 1), np.uint8)),
            np.zeros((1, 7), np.float32),
            1,
            1,
            True,
        )


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ((3, 2, 5), "refine_levels is 2, expected at least the 3 levels that are scanned"),
        ((3, 5, 5), r"refine_levels is 5, expected 0 \(all\) to 4"),
    ],
)
def test_levels_to_rank_by_that_cannot_be(depth, message):
    codebooks = np.zeros((4, 16, 5), np.float32)
    with pytest.raises(ValueError, match=message):
        two_stage(codebooks, np.zeros((10, 2), np.uint8), np.zeros((1, 5), np.float32), 1, depth, "l2")


def test_no_factor_is_no_second_stage():
    rng = np.random.default_rng(0)
    codebooks = make_codebooks(rng, 4, 4, 5, "shared")
    rows = rng.integers(0, 256, (100, 2)).astype(np.uint8)
    x = rng.standard_normal((3, 5)).astype(np.float32)
    found = two_stage(codebooks, rows, x, 7, (2, 3, 0), "l2")
    np.testing.assert_array_equal(found[1], knn_search(codebooks, rows, x, 7, 2, "l2")[1])
