"""Levels of 9 to 11 bits are scanned by bounds, one byte per code, and give what exact distances give."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drqfaiss import IndexDRQ, SearchParametersDRQ, SearchParametersIVFDRQ, _core
from tests import reference
from tests.conftest import AVAILABLE_LEVELS
from tests.indexes import make_index, make_vectors, reconstructions
from tests.ivf_indexes import NLIST, make_ivf
from tests.simd_levels import search_on_all_levels

ROWS = 3000  # with 400 queries they pay for grouping codewords, and distances are not computed one by one
QUERIES = 400


def assert_nearest(index, x, D, ids, levels, metric, checked=20):
    """The results of the first queries are those of NumPy."""
    x, decoded = x[:checked], reconstructions(index, levels)
    expected = reference.nearest(x, decoded, D.shape[1], metric)
    scale = reference.distance_scale(x, decoded, decoded[None])
    reference.assert_neighbours((D[:checked], ids[:checked]), expected, scale)


@settings(max_examples=12, deadline=None)
@given(
    nbits=st.sampled_from([9, 10]),
    levels=st.integers(1, 7),
    metric=st.sampled_from(["l2", "ip"]),
    k=st.sampled_from([1, 10, 60]),
    kind=st.sampled_from(["random", "duplicates", "one code"]),
    packed=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_search_is_exact(nbits, levels, metric, k, kind, packed, seed):
    rng = np.random.default_rng(seed)
    index = make_index(0, metric, levels=levels, nbits=nbits)
    codes = rng.integers(0, 256, (ROWS, index.code_size), np.uint8)
    if kind != "random":
        codes[:: 3 if kind == "duplicates" else 1] = codes[0]
    index.add_sa_codes(codes)
    if packed:
        index.pack()
    x = make_vectors(QUERIES, seed=1)
    used = (levels + 1) // 2
    D, ids = search_on_all_levels(lambda: index.search(x, k, params=SearchParametersDRQ(levels=used)))
    assert_nearest(index, x, D, ids, used, metric)
    half = SearchParametersDRQ(sel=faiss.IDSelectorRange(ROWS // 2, ROWS))
    _, selected = search_on_all_levels(lambda: index.search(x, k, params=half))
    assert (selected[selected >= 0] >= ROWS // 2).all()
    radius = float(np.median(D))
    search_on_all_levels(lambda: index.range_search(x[:50], radius)[1:])


@pytest.mark.parametrize("nbits", [9, 11])
def test_rows_that_come_and_go_later_are_found(nbits):
    index = make_index(ROWS, nbits=nbits, levels=3)
    x = make_vectors(QUERIES, seed=1)
    index.pack()
    index.search(x, 5)
    index.add(make_vectors(700, seed=3))
    index.remove_ids(faiss.IDSelectorRange(100, 300))
    D, ids = search_on_all_levels(lambda: index.search(x, 5))
    assert_nearest(index, x, D, ids, 3, "l2")


@pytest.mark.parametrize(("levels", "bits"), [(12, 8), (6, 10), (3, 13), (2, 15), (3, 16)])
def test_large_tables_are_not_computed(levels, bits):
    """Nor does plain FAISS need them to search the file with the same result."""
    rng = np.random.default_rng(0)
    codebooks = rng.normal(size=(levels, 1 << bits, 3)).astype(np.float32)
    index = IndexDRQ.from_codebooks(codebooks)
    index.add_sa_codes(
        rng.integers(0, 256, (200, index.code_size), np.uint8) & (0xFF if bits in (8, 16) else 0x1F)
    )
    assert index.rq.codebook_cross_products.size() == 0
    stock = faiss.deserialize_index(faiss.serialize_index(index))
    assert type(stock) is faiss.IndexResidualQuantizer
    assert stock.rq.codebook_cross_products.size() == 0
    x = rng.normal(size=(5, 3)).astype(np.float32)
    found, expected = index.search(x, 4), stock.search(x, 4)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)


def test_tables_of_ordinary_size_are_computed():
    for levels, bits in ((8, 8), (11, 8), (2, 10)):
        index = IndexDRQ.from_codebooks(np.random.default_rng(0).normal(size=(levels, 1 << bits, 2)))
        assert index.rq.codebook_cross_products.size() == levels * (levels - 1) // 2 << 2 * bits
        assert index.rq.search_type == faiss.AdditiveQuantizer.ST_norm_from_LUT


@pytest.mark.parametrize(("metric", "by_residual"), [("l2", True), ("l2", False), ("ip", True)])
def test_lists_give_the_same_once_codewords_are_grouped(metric, by_residual):
    index = make_ivf(4_000, metric, by_residual, levels=3, nbits=9)
    x = make_vectors(20, seed=1) * 2
    selector = faiss.IDSelectorRange(500, 2_000)
    asked = [
        SearchParametersIVFDRQ(nprobe=3),
        SearchParametersIVFDRQ(levels=2, nprobe=NLIST),
        SearchParametersIVFDRQ(nprobe=5, sel=selector),
        SearchParametersIVFDRQ(levels=1, nprobe=5, refine_factor=4, sel=selector),
        SearchParametersIVFDRQ(nprobe=5, max_codes=900),
    ]

    def search():
        found = [index.search(x, 7, params=parameters) for parameters in asked]
        radius = float(np.median(found[0][0]))
        return [*sum(found, ()), *index.range_search(x, radius, params=asked[0])]

    before = search()
    everything = SearchParametersIVFDRQ(nprobe=NLIST)
    for _ in range(512**2 // index.ntotal + 1):  # as many codes as there are pairs of codewords
        index.search(x[:1], 1, params=everything)
    for level in AVAILABLE_LEVELS[::-1]:
        _core.set_simd_level(level)
        for found, expected in zip(search(), before, strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=level)
    _core.set_simd_level(AVAILABLE_LEVELS[-1])
    index.add(make_vectors(50, seed=3))
    one_by_one = [index.search(row[None], 7, params=asked[0])[1][0] for row in x]
    np.testing.assert_array_equal(
        one_by_one, search_on_all_levels(lambda: index.search(x, 7, params=asked[0]))[1]
    )
