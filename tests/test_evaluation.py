import faiss
import numpy as np
import pytest
from faiss.contrib.evaluation import knn_intersection_measure
from hypothesis import given, settings
from hypothesis import strategies as st

import drqfaiss
from drqfaiss.evaluation import (
    exact_neighbours,
    intersection_at,
    mean_average_precision,
    recall_at,
    relevance,
)


@settings(deadline=None)
@given(
    n=st.integers(1, 60),
    d=st.integers(1, 8),
    queries=st.integers(1, 5),
    metric=st.sampled_from([faiss.METRIC_L2, faiss.METRIC_INNER_PRODUCT]),
    seed=st.integers(0, 99),
)
def test_exact_neighbours_are_a_full_sort(n, d, queries, metric, seed):
    rng = np.random.default_rng(seed)
    # Small integers: many ties, and every distance is exact.
    base, query = rng.integers(-3, 4, (n, d)), rng.integers(-3, 4, (queries, d))
    if metric == faiss.METRIC_L2:
        keys = np.square(query[:, None] - base).sum(axis=2)
    else:
        keys = -(query @ base.T)
    k = min(n, 10)
    # FAISS may return any of the candidates that tie for its last place; there is none up to 42 vectors.
    found = exact_neighbours(base, query, k, metric)
    expected = np.argsort(keys, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(np.take_along_axis(keys, found, 1), np.take_along_axis(keys, expected, 1))
    if n <= 42:
        np.testing.assert_array_equal(found, expected)


def test_rounding_in_float32_does_not_swap_neighbours():
    rng = np.random.default_rng(0)
    # Far from the origin ‖q‖² + ‖x‖² − 2⟨q, x⟩ loses the digits that tell near vectors apart.
    base = (1000 + rng.random((500, 16))).astype(np.float32)
    query = (1000 + rng.random((40, 16))).astype(np.float32)
    distances = np.square(query[:, None].astype(np.float64) - base).sum(axis=2)
    np.testing.assert_array_equal(exact_neighbours(base, query, 1)[:, 0], distances.argmin(axis=1))


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match=rf"k: got {k}, expected 1 to 4"):
        exact_neighbours(np.zeros((4, 2)), np.zeros((1, 2)), k)


def test_recall_counts_queries_whose_nearest_neighbour_is_found():
    ids = np.array([[1, 2, 3], [4, 5, 6], [7, 8, -1], [0, 1, 2]])
    groundtruth = np.array([[1, 9], [6, 9], [9, 7], [1, 9]])
    assert [recall_at(ids, groundtruth, k) for k in (1, 2, 3)] == [0.25, 0.5, 0.75]


def test_recall_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="results for 2 queries, expected 3"):
        recall_at(np.zeros((2, 5)), np.zeros((3, 1)), 1)
    with pytest.raises(ValueError, match=r"k: got 6, expected 1 to 5"):
        recall_at(np.zeros((3, 5)), np.zeros((3, 1)), 6)


def test_intersection_counts_the_exact_neighbours_that_are_found():
    ids = np.array([[1, 2, 3], [9, 4, 5], [-1, -1, -1]])
    exact = np.array([[3, 1, 7], [9, 5, 4], [0, 1, -1]])
    assert intersection_at(ids, exact, 1) == pytest.approx(1 / 3)
    assert intersection_at(ids, exact, 2) == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert intersection_at(ids, exact, 3) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert intersection_at(ids, exact, 3, of=1) == pytest.approx((1 + 1 + 0) / 3)


def test_intersection_is_that_of_faiss():
    rng = np.random.default_rng(0)
    ids, exact = (np.array([rng.permutation(30)[:20] for _ in range(50)]) for _ in range(2))
    for k in (1, 10, 20):
        expected = knn_intersection_measure(ids[:, :k], exact[:, :k])
        assert intersection_at(ids, exact, k) == pytest.approx(expected)


def test_intersection_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="results for 2 queries, expected 3"):
        intersection_at(np.zeros((2, 5)), np.zeros((3, 5)), 1)
    with pytest.raises(ValueError, match="k: got 6, expected 1 to 5, the number of results"):
        intersection_at(np.zeros((3, 5)), np.zeros((3, 9)), 6)
    with pytest.raises(ValueError, match="k: got 5, expected 1 to 4, the number of exact neighbours"):
        intersection_at(np.zeros((3, 5)), np.zeros((3, 4)), 5)
    with pytest.raises(ValueError, match="of: got 5, expected 1 to 4, the number of exact neighbours"):
        intersection_at(np.zeros((3, 5)), np.zeros((3, 4)), 2, of=5)


def ranked_by_loops(relevant):
    """mAP by the definition, query by query."""
    total = 0.0
    for row in relevant:
        hits, average = 0, 0.0
        for i, hit in enumerate(row, 1):
            hits += hit
            average += hits / i * hit
        total += average / hits if hits else 0.0
    return total / len(relevant)


def test_mean_average_precision_by_hand():
    # P(1) = 1, P(3) = 2/3: (1 + 2/3) / 2 relevant ones; a query that finds nothing counts as 0.
    assert mean_average_precision(np.array([[1, 0, 1], [0, 0, 0]], bool)) == pytest.approx((5 / 6) / 2)
    relevant = np.random.default_rng(0).random((30, 20)) < 0.3
    assert mean_average_precision(relevant) == pytest.approx(ranked_by_loops(relevant))


@pytest.mark.parametrize("several", [False, True])
def test_relevance_is_that_of_the_ranking(several, monkeypatch):
    monkeypatch.setattr("drqfaiss.evaluation.RANKED_QUERIES", 3)  # more than one block
    rng = np.random.default_rng(0)
    base, query = rng.normal(size=(40, 8)).astype(np.float32), rng.normal(size=(7, 8)).astype(np.float32)
    if several:
        base_labels, query_labels = rng.random((40, 5)) < 0.3, rng.random((7, 5)) < 0.4
        shared = (query_labels[:, None] & base_labels).any(2)
    else:
        base_labels, query_labels = rng.integers(3, size=40), rng.integers(3, size=7)
        shared = query_labels[:, None] == base_labels
    index = faiss.IndexFlatIP(8)
    index.add(base)
    order = np.argsort(-(query @ base.T), 1)
    found = relevance(index, query, query_labels, base_labels, 10)
    np.testing.assert_array_equal(found, np.take_along_axis(shared, order, 1)[:, :10])


def test_relevance_at_a_code_length():
    rng = np.random.default_rng(0)
    base, labels = rng.normal(size=(300, 8)).astype(np.float32), rng.integers(3, size=300)
    index = drqfaiss.IndexDRQ(8, 3, 4, faiss.METRIC_INNER_PRODUCT, progress=False)
    index.train(base)
    index.add(base)
    query, params = base[:9], drqfaiss.SearchParametersDRQ(levels=1)
    ids = index.search(query, 20, params=params)[1]
    found = relevance(index, query, labels[:9], labels, 20, params)
    np.testing.assert_array_equal(found, labels[:9, None] == labels[ids])


def test_ranks_beyond_the_base_are_not_relevant():
    index = faiss.IndexFlatIP(2)
    index.add(np.ones((3, 2), np.float32))
    assert relevance(index, np.ones((1, 2)), [0], [0, 0, 0], 5).tolist() == [[True, True, True, False, False]]


def test_labels_that_do_not_fit():
    index = faiss.IndexFlatIP(2)
    index.add(np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match="labels: got those of 2 queries and 3 vectors, expected 1 and 3"):
        relevance(index, np.ones((1, 2)), [0, 0], [0, 0, 0], 2)
    with pytest.raises(ValueError, match="expected equal classes"):
        relevance(index, np.ones((1, 2)), [[0, 1]], [0, 0, 0], 2)
