import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drqfaiss.evaluation import exact_neighbours, recall_at


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
    with pytest.raises(ValueError, match=rf"k = {k}; expected 1\.\.4"):
        exact_neighbours(np.zeros((4, 2)), np.zeros((1, 2)), k)


def test_recall_counts_queries_whose_nearest_neighbour_is_found():
    ids = np.array([[1, 2, 3], [4, 5, 6], [7, 8, -1], [0, 1, 2]])
    groundtruth = np.array([[1, 9], [6, 9], [9, 7], [1, 9]])
    assert [recall_at(ids, groundtruth, k) for k in (1, 2, 3)] == [0.25, 0.5, 0.75]


def test_recall_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="results for 2 queries; expected 3"):
        recall_at(np.zeros((2, 5)), np.zeros((3, 1)), 1)
    with pytest.raises(ValueError, match=r"k = 6; expected 1\.\.5"):
        recall_at(np.zeros((3, 5)), np.zeros((3, 1)), 6)
