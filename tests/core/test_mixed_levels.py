"""Levels of different bits in one code: a search is that of its prefix, whatever comes behind."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import _core
from tests import reference
from tests.core.test_search import METRICS
from tests.simd_levels import search_on_all_levels


def pack(codes, bits):
    """Packed rows of codes (n, M) whose levels have these bits."""
    digits = [codes[:, m, None] >> np.arange(own) & 1 for m, own in enumerate(bits)]
    return np.packbits(np.concatenate(digits, axis=1).astype(np.uint8), axis=1, bitorder="little")


@settings(max_examples=60, deadline=None)
@given(
    N=st.sampled_from([0, 1, 200, 3000]),
    bits=st.one_of(
        st.lists(st.sampled_from([1, 4, 4, 5, 8, 8, 9]), min_size=2, max_size=9),
        st.builds(lambda hot, tail: [4] * hot + [8] * tail, st.integers(1, 12), st.integers(1, 10)),
        st.builds(lambda hot, tail: [8] * hot + [4] * tail, st.integers(1, 6), st.integers(1, 12)),
    ),
    metric=st.sampled_from(METRICS),
    k=st.sampled_from([1, 10, 100]),
    factor=st.sampled_from([0, 1, 20]),
    masked=st.booleans(),
    packed=st.booleans(),
    data=st.data(),
    seed=st.integers(0, 2**31),
)
def test_knn_is_exact(N, bits, metric, k, factor, masked, packed, data, seed):
    rng = np.random.default_rng(seed)
    d, M, levels = 8, len(bits), data.draw(st.integers(1, len(bits)))
    codebooks = [0.8**m * rng.standard_normal((1 << own, d)).astype(np.float32) for m, own in enumerate(bits)]
    codes = np.stack([rng.integers(0, 1 << own, N) for own in bits], axis=1)
    rows, x = pack(codes, bits), rng.standard_normal((7, d)).astype(np.float32)
    mask = rng.random(N) < 0.5 if masked else None
    flat = np.concatenate(codebooks).ravel()
    ids = np.arange(N) if mask is None else np.flatnonzero(mask)

    def decode(levels):
        return sum(np.float64(codebooks[m][codes[:, m]]) for m in range(levels))

    def search(k, levels, mask, factor=0):
        index = _core.ArrayIndex()
        if packed and max(bits) <= 8:
            index.pack(flat, bits, rows, d, metric == "l2")
        return index.search(flat, bits, rows, x, k, levels, metric == "l2", mask, 0, factor)

    found = search_on_all_levels(lambda: search(k, levels, mask, factor))
    if factor == 0 or levels == M:
        D, nearest = reference.nearest(x, decode(levels)[ids], k, metric)
        scale = reference.distance_scale(x, decode(levels), codebooks)
        got = tuple(part[:, : len(ids)] for part in found)
        reference.assert_neighbours(got, (D, ids[nearest]), scale)
        return
    _, shortlists = search(max(1, min(k * factor, N)), levels, mask)
    for i, short in enumerate(shortlists):
        chosen = np.isin(np.arange(N), short)
        expected = search(k, M, chosen)
        np.testing.assert_array_equal(found[0][i], expected[0][i])
        np.testing.assert_array_equal(found[1][i], expected[1][i])
