"""Indexes whose levels differ in bits: narrow ones to scan by, wide ones to rank by."""

import pickle

import faiss
import numpy as np
import pytest

from drqfaiss import (
    IndexDRQ,
    IndexIVFDRQ,
    Quantizer,
    SearchParametersDRQ,
    index_factory,
    read_index,
    write_index,
)
from tests.indexes import make_vectors

D = 16
BITS = (4, 4, 4, 4, 6, 6)
QUICK = {"iterations": 3, "progress": False}
X = make_vectors(600, seed=3)
QUERIES = make_vectors(30, seed=4)
TWO_STAGE = SearchParametersDRQ(levels=4, refine_factor=5)


@pytest.fixture(scope="module")
def index():
    index = IndexDRQ(D, len(BITS), BITS, **QUICK)
    index.train(X)
    index.add(X)
    return index


def test_shape_and_codes(index):
    assert index.code_size == 4  # 28 bits
    assert faiss.vector_to_array(index.rq.nbits).tolist() == list(BITS)
    assert repr(Quantizer.from_index(index)).startswith(f"<Quantizer of {D} dimensions, 4/6 bits a level")


def test_two_stages_rank_what_the_narrow_levels_find(index):
    D_found, ids = index.search(QUERIES, 3, params=TWO_STAGE)
    _, shortlists = index.search(QUERIES, 15, params=SearchParametersDRQ(levels=4))
    for query, D_own, found, short in zip(QUERIES, D_found, ids, shortlists, strict=True):
        whole = SearchParametersDRQ(sel=faiss.IDSelectorBatch(short))
        expected = index.search(query[None], 3, params=whole)
        np.testing.assert_array_equal(D_own, expected[0][0])
        np.testing.assert_array_equal(found, expected[1][0])


def test_quantizer_and_index_turn_into_each_other(index, tmp_path):
    quantizer = Quantizer.from_index(index)
    assert quantizer.level_bits == BITS
    quantizer.save(tmp_path / "q.npz")
    loaded = Quantizer.load(tmp_path / "q.npz")
    again = loaded.to_index()
    again.add(X)
    np.testing.assert_array_equal(again.search(QUERIES, 5)[1], index.search(QUERIES, 5)[1])
    codes = loaded.encode(X[:50])
    assert codes.max(0).tolist() < [1 << bits for bits in BITS]
    np.testing.assert_allclose(loaded.decode(codes), index.reconstruct_n(0, 50), atol=1e-4)


@pytest.mark.parametrize("copy", ["pickle", "file", "stock file", "packed"])
def test_copies_find_the_same(index, tmp_path, copy):
    if copy == "pickle":
        other = pickle.loads(pickle.dumps(index))
    else:
        write_index(index, tmp_path / "x.faiss")
        read = faiss.read_index(str(tmp_path / "x.faiss"))
        other = read if copy == "stock file" else read_index(tmp_path / "x.faiss")
    if copy == "packed":
        other.pack()
    expected = index.search(QUERIES, 5)
    found = other.search(QUERIES, 5)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4)
    assert np.mean(found[1] == expected[1]) > 0.99
    if copy != "stock file":
        ranked = [own.search(QUERIES, 5, params=TWO_STAGE) for own in (other, index)]
        np.testing.assert_array_equal(*ranked)


def test_inverted_lists(index):
    lists = IndexIVFDRQ(faiss.IndexFlatL2(D), D, 4, len(BITS), BITS, **QUICK)
    lists.train(X)
    lists.add(X)
    lists.nprobe = 4
    assert lists.code_size == 4
    distances, ids = lists.search(X, 5)
    assert np.mean((ids == np.arange(len(X))[:, None]).any(1)) > 0.7
    expected = np.square(X - lists.reconstruct_n(0, len(X))[ids[:, 0]]).sum(1)
    np.testing.assert_allclose(distances[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_codebooks_of_different_sizes():
    rng = np.random.default_rng(0)
    codebooks = [rng.standard_normal((1 << bits, D)).astype(np.float32) for bits in BITS]
    index = IndexDRQ.from_codebooks(codebooks)
    index.add(X)
    assert index.ntotal == len(X)
    with pytest.raises(ValueError, match=r"codebooks: got shapes .*expected \(K, d\) of every level"):
        IndexDRQ.from_codebooks([codebooks[0], codebooks[1][:, :3]])
    with pytest.raises(ValueError, match="codebooks: got 5 codewords per level, expected a power of two"):
        IndexDRQ.from_codebooks([codebooks[0], codebooks[1][:5]])
    with pytest.raises(ValueError, match="expected a power of two"):
        IndexDRQ.from_codebooks([codebooks[0], codebooks[1][:1]])


@pytest.mark.parametrize(
    ("description", "bits"),
    [("DRQ2x4_1x6", (4, 4, 6)), ("IVF4,DRQ1x3_1x5s", (3, 5)), ("IDMap,DRQ1x4_1x4", (4, 4))],
)
def test_factory(description, bits):
    index = index_factory(D, description, **QUICK)
    inner = faiss.downcast_index(index.index) if "IDMap" in description else index
    assert tuple(faiss.vector_to_array(inner.rq.nbits).tolist()) == bits
    index.train(X)
    assert index.is_trained


@pytest.mark.parametrize("nbits", [(4, 4), (4, 0, 4), "444"])
def test_bits_that_cannot_be(nbits):
    with pytest.raises((TypeError, ValueError), match="nbits"):
        IndexDRQ(D, 3, nbits)
