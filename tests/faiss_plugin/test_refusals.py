"""Calls that FAISS itself would let through, and that would ruin an index or its results."""

import faiss
import numpy as np
import pytest

import drqfaiss
from tests.indexes import NBITS, D, M, assert_searches_right, make_codebooks, make_index, make_vectors

X = make_vectors(5, seed=1)


def other_codebooks(metric=faiss.METRIC_L2, **shape):
    index = drqfaiss.IndexDRQ.from_codebooks(make_codebooks(seed=9, **shape), metric)
    index.add(make_vectors(50, d=index.d))
    return index


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (other_codebooks, "other codebooks"),
        (lambda: other_codebooks(levels=M + 1), "other levels"),
        (lambda: make_index(50, metric="ip"), "another metric"),
        (lambda: drqfaiss.IndexDRQ(D, M, NBITS), "not trained"),
    ],
)
def test_merging_codes_of_another_quantizer(make, reason):
    index, other = make_index(100), make()
    before = other.ntotal
    with pytest.raises(RuntimeError, match=reason):
        index.merge_from(other)
    assert (index.ntotal, other.ntotal) == (100, before)
    assert_searches_right(index, X)


def test_merging_an_index_with_itself():
    index = make_index(100)
    with pytest.raises(RuntimeError, match="with itself"):
        index.merge_from(index)
    assert_searches_right(index, X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite(bad):
    index, inner = make_index(100), make_index(0)
    container = faiss.IndexIDMap2(inner)
    x = make_vectors(4)
    x[2, 3] = bad
    with pytest.raises(RuntimeError, match="vector 2 holds"):
        container.add_with_ids(x, np.arange(4))
    with pytest.raises(ValueError, match=r"first at \(2, 3\)"):
        index.add(x)
    with pytest.raises(ValueError, match=r"first at \(2, 3\)"):
        index.sa_encode(x)
    assert (index.ntotal, inner.ntotal, container.ntotal) == (100, 0, 0)
    assert_searches_right(index, X)


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_no_queries(metric):
    index = make_index(metric=metric)
    D_found, ids = index.search(X[:0], 3)
    assert D_found.shape == ids.shape == (0, 3)
    assert faiss.IndexIDMap2(make_index(0, metric)).search(X[:0], 3)[1].shape == (0, 3)
    lims, _, ids = index.range_search(X[:0], 1.0)
    assert lims.tolist() == [0]
    assert len(ids) == 0


@pytest.mark.parametrize("factor", [1e-12, 1e12, 1e18])
def test_vectors_of_any_magnitude(factor):
    codebooks = make_codebooks() * np.float32(factor)
    index = drqfaiss.IndexDRQ.from_codebooks(codebooks)
    index.add(make_vectors(300) * np.float32(factor))
    queries = X * np.float32(factor)
    plain = faiss.deserialize_index(faiss.serialize_index(index))
    np.testing.assert_array_equal(index.search(queries, 5)[1], plain.search(queries, 5)[1])
