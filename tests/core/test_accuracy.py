"""Distances where the numbers they are made of are large: order and values are those of float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.core.arrays import knn_search, range_search
from tests.simd_levels import search_on_all_levels

ROUNDING = 2.0**-24
EXPANDED = 3e-5  # of a distance: what its expansion may lose before differences are taken


def far_apart(rng, K, M, d, nbits, spread, offset, kind):
    """Codebooks (M, K, d) whose first level holds groups that lie `spread` apart, all of them at `offset`."""
    base = rng.standard_normal((K, d))
    levels = [0.7**m * (base if kind == "shared" else rng.standard_normal((K, d))) for m in range(M)]
    levels[0] = spread * rng.choice([-1.0, 1.0], (K, d)) + offset
    if kind == "blocks":  # of few axes each, after the first two levels
        axes, size = np.linalg.qr(rng.standard_normal((d, d)))[0], max(1, min(d // 4, K // 2 - 1))
        for m in range(2, M):
            block = axes[m % 3 * size : (m % 3 + 1) * size]
            levels[m] = levels[m][:, : len(block)] @ block
    if kind == "recurrent":
        levels = [spread * 0.5**m * base for m in range(M)]
        levels[0] = levels[0] + offset
    return np.ascontiguousarray(levels, np.float32)


def lengths_of(codebooks, codes, levels):
    """How long the numbers are that a reconstruction is summed up from, (N,)."""
    return sum(np.linalg.norm(codebooks[m, codes[:, m]].astype(np.float64), axis=1) for m in range(levels))


def assert_accurate(x, found, codebooks, codes, levels):
    """Every distance is float64's, and the j-th result is no farther than float64's j-th, but for rounding.

    Rounding moves coordinates by a few units in the last place of what they are summed up from.
    """
    D, ids = found
    exact = reference.distances(x, reference.decode(codebooks, codes, levels), "l2")
    best = np.sort(exact, 1)[:, : ids.shape[1]]
    longest = np.linalg.norm(x.astype(np.float64), axis=1).max() + lengths_of(codebooks, codes, levels).max()
    moved = (levels + 8) * ROUNDING * longest
    largest = ((1 + EXPANDED) * np.sqrt(best) + moved) ** 2
    smallest = np.maximum((1 - EXPANDED) * np.sqrt(best) - moved, 0) ** 2
    own = np.take_along_axis(exact, ids, 1)
    assert (own <= largest).all()
    assert (((1 + EXPANDED) * np.sqrt(own) + moved) ** 2 >= D).all()
    assert (smallest <= D).all()
    assert (D >= 0).all()
    assert (np.diff(D, axis=1) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(
    N=st.sampled_from([60, 700, 9000]),
    M=st.integers(1, 9),
    nbits=st.sampled_from([1, 3, 4, 6, 8, 9]),
    d=st.sampled_from([1, 3, 16, 40]),
    kind=st.sampled_from(["shared", "independent", "recurrent", "blocks"]),
    spread=st.sampled_from([0.0, 1.0, 1e2, 1e4, 1e6, 1e18]),
    offset=st.sampled_from([0.0, 1e3, -1e5]),
    near=st.sampled_from([0.0, 1e-3, 1.0]),
    k=st.sampled_from([1, 10, 50]),
    n=st.sampled_from([1, 17]),
    seed=st.integers(0, 2**31),
)
def test_nearest_of_groups_that_lie_far_apart(N, M, nbits, d, kind, spread, offset, near, k, n, seed):
    rng = np.random.default_rng(seed)
    codebooks = far_apart(rng, 1 << nbits, M, d, nbits, spread, offset, kind)
    codes = rng.integers(0, 1 << nbits, (N, M))
    codes[rng.random(N) < 0.2] = codes[0]
    vectors = reference.decode(codebooks, codes, M)[rng.integers(0, N, n)]
    x = (vectors + near * rng.standard_normal((n, d))).astype(np.float32)
    packed = reference.pack_codes(codes, nbits)
    levels = int(rng.integers(1, M + 1))

    found = search_on_all_levels(lambda: knn_search(codebooks, packed, x, k, levels, "l2"))
    assert_accurate(x, found, codebooks, codes, levels)

    radius = float(found[0][0, -1])
    ranges = search_on_all_levels(lambda: range_search(codebooks, packed, x, radius, levels, "l2")[0])
    assert (ranges[0] < radius).all()
    nearer = found[0][0] < radius
    np.testing.assert_array_equal(np.sort(ranges[1])[: nearer.sum()].size, nearer.sum())
    assert set(found[1][0][nearer]) <= set(ranges[1])


@pytest.mark.parametrize("metric", ["l2", "ip"])
@pytest.mark.parametrize("magnitude", [1e15, 1e18, 4e18, 1e19, 3e19, 2e37])
@pytest.mark.parametrize("nbits", [4, 8, 10])
def test_magnitudes_near_the_largest_float(magnitude, metric, nbits):
    """Wherever float64's distance is a float it counts; what overflows is no result."""
    rng = np.random.default_rng(3)
    d, M, N, k = 16, 4, 3000, 10
    base = rng.standard_normal((1 << nbits, d))
    codebooks = (np.array([0.6**m * base for m in range(M)]) * magnitude).astype(np.float32)
    codes = rng.integers(0, 1 << nbits, (N, M))
    rebuilt = reference.decode(codebooks, codes, M)
    x = (rebuilt[:12] + 0.1 * magnitude * rng.standard_normal((12, d))).astype(np.float32)
    packed = reference.pack_codes(codes, nbits)
    D, ids = search_on_all_levels(lambda: knn_search(codebooks, packed, x, k, M, metric))
    exact = reference.distances(x, rebuilt, metric)
    largest = float(np.finfo(np.float32).max)
    for row in range(len(x)):
        keys = exact[row] if metric == "l2" else -exact[row]
        finite = np.flatnonzero(np.abs(keys) < largest)
        expected = finite[np.argsort(keys[finite], kind="stable")][:k]
        count = (ids[row] >= 0).sum()
        assert count == len(expected)
        np.testing.assert_allclose(exact[row, ids[row, :count]], exact[row, expected], rtol=1e-5)
        np.testing.assert_allclose(D[row, :count], exact[row, ids[row, :count]], rtol=1e-5)


@pytest.mark.parametrize("size", [1e20, 1e30, 3e38])
def test_products_of_a_query_whose_square_overflows(size):
    rng = np.random.default_rng(4)
    codebooks = (0.01 * rng.standard_normal((3, 16, 8))).astype(np.float32)
    codes = rng.integers(0, 16, (500, 3))
    x = rng.standard_normal((5, 8))
    x = (x / np.abs(x).max() * size).astype(np.float32)
    packed = reference.pack_codes(codes, 4)
    D, ids = search_on_all_levels(lambda: knn_search(codebooks, packed, x, 5, 3, "ip"))
    exact = reference.distances(x, reference.decode(codebooks, codes, 3), "ip")
    np.testing.assert_allclose(D, -np.sort(-exact, 1)[:, :5], rtol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(exact, ids, 1), D, rtol=1e-5)


def test_encoding_vectors_whose_squares_overflow():
    rng = np.random.default_rng(5)
    codebooks = np.array([0.5**m * rng.standard_normal((16, 8)) for m in range(3)], np.float32)
    x = rng.standard_normal((200, 8)).astype(np.float32)
    power = np.float32(2.0**100)
    np.testing.assert_array_equal(
        _core.encode(x * power, codebooks * power, 4), _core.encode(x, codebooks, 4)
    )
