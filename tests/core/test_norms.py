"""Norms of reconstructions: distances to a query that is the shift itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.core.arrays import knn_search
from tests.simd_levels import search_on_all_levels

ROUNDING = 2.0**-24


def with_blocks(rng, d, size, blocks, levels, dense):
    """Codebooks (M, 64, d): `dense` levels in all dimensions among others on blocks of `size` axes."""
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    codebooks = 0.9 ** np.arange(levels)[:, None, None] * rng.standard_normal((levels, 64, d))
    for m in np.sort(rng.permutation(levels)[dense:]):
        block = axes[m % blocks * size : (m % blocks + 1) * size]
        codebooks[m] = codebooks[m, :, : len(block)] @ block
    return codebooks.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(32, 8, 4), (32, 8, 2), (33, 5, 3), (70, 16, 4), (70, 17, 3), (16, 1, 9)]),
    levels=st.integers(1, 12),
    dense=st.integers(0, 12),
    seed=st.integers(0, 2**31),
)
def test_norms_of_levels_in_blocks_are_float64s(shape, levels, dense, seed):
    rng = np.random.default_rng(seed)
    d, size, blocks = shape
    codebooks = with_blocks(rng, d, size, blocks, levels, min(dense, levels))
    codes = rng.integers(0, 64, (200, levels))
    shift = np.array(_core.factor(codebooks)[2], np.float32)
    packed = reference.pack_codes(codes, 6)
    for prefix in sorted({1, (levels + 1) // 2, levels}):

        def norms(levels=prefix):
            return knn_search(codebooks, packed, shift[None], 200, levels, "l2")

        found = search_on_all_levels(norms)
        sums = reference.decode(codebooks, codes, prefix) - shift.astype(np.float64)
        longest = sum(np.linalg.norm(codebooks[m].astype(np.float64), axis=1).max() for m in range(prefix))
        longest += np.linalg.norm(shift)
        lost = ROUNDING * (2 * prefix + d / 16 + 20 + 34 + blocks) * longest**2
        np.testing.assert_allclose(found[0][0], (sums**2).sum(1)[found[1][0]], rtol=0, atol=lost)


@pytest.mark.parametrize("common", [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7])
def test_what_blocks_have_in_common_counts(common):
    """Both reach a little way along an axis, along which the dense level reaches far."""
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((32, 32)))[0]
    own = rng.standard_normal((2, 64, 4)) * (1, 1, 1, common)
    spans = axes[[[0, 1, 2, 6], [3, 4, 5, 6]]]
    dense = rng.standard_normal((1, 64, 32)) + 100 * rng.choice([-1, 1], (64, 1)) * axes[6]
    codebooks = np.concatenate([dense, own @ spans]).astype(np.float32)
    codes = rng.integers(0, 64, (500, 3))
    shift = np.array(_core.factor(codebooks)[2], np.float32)
    packed = reference.pack_codes(codes, 6)
    found = search_on_all_levels(lambda: knn_search(codebooks, packed, shift[None], 500, 3, "l2"))
    exact = ((reference.decode(codebooks, codes, 3) - shift.astype(np.float64)) ** 2).sum(1)
    np.testing.assert_allclose(found[0][0], exact[found[1][0]], rtol=80 * ROUNDING)
