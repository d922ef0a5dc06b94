"""Two-stage search of an index: attributes, parameters, containers, with the plug-in and without."""

import copy
import pickle

import faiss
import numpy as np
import pytest

from drqfaiss import SearchParametersDRQ, clone_index
from tests.indexes import METRICS, make_index, make_vectors, reconstructions

X = make_vectors(6, seed=1)
LEVELS, REFINE, FACTOR, K = 2, 4, 5, 7


def two_stage():
    return SearchParametersDRQ(levels=LEVELS, refine_levels=REFINE, refine_factor=FACTOR)


def expected(index, x, k=K):
    """Ids by NumPy: the k nearest by REFINE levels of the k · FACTOR nearest by LEVELS."""
    one_stage = SearchParametersDRQ(levels=LEVELS, refine_levels=LEVELS, refine_factor=1)
    ids = index.search(x, k * FACTOR, params=one_stage)[1]
    vectors = reconstructions(index, REFINE)
    found = []
    for query, short in zip(x, np.sort(ids, axis=1), strict=True):
        if index.metric_type == faiss.METRIC_L2:
            keys = ((vectors[short] - query) ** 2).sum(1)
        else:
            keys = -vectors[short] @ query
        found.append(short[np.argsort(keys, kind="stable")[:k]])
    return np.array(found)


@pytest.mark.parametrize("metric", METRICS)
def test_parameters_ask_for_it(engine, metric):
    index = make_index(400, metric=metric)
    D, ids = index.search(X, K, params=two_stage())
    np.testing.assert_array_equal(ids, expected(index, X))
    whole = index.search(X, index.ntotal, params=SearchParametersDRQ(levels=REFINE))
    for i in range(len(X)):  # The distances that a search of these levels returns.
        distance = dict(zip(whole[1][i], whole[0][i], strict=True))
        np.testing.assert_array_equal(D[i], [distance[found] for found in ids[i]])


def test_attributes_stand_for_parameters(engine):
    index = make_index(400)
    assert (index.levels, index.refine_levels, index.refine_factor) == (0, 0, None)
    index.levels, index.refine_levels, index.refine_factor = LEVELS, REFINE, FACTOR
    np.testing.assert_array_equal(index.search(X, K)[1], expected(index, X))
    for other in (clone_index(index), copy.copy(index), pickle.loads(pickle.dumps(index))):
        assert (other.levels, other.refine_levels, other.refine_factor) == (LEVELS, REFINE, FACTOR)
        np.testing.assert_array_equal(other.search(X, K)[1], expected(index, X))
    index.refine_factor = None
    np.testing.assert_array_equal(
        index.search(X, K)[1], index.search(X, K, params=SearchParametersDRQ(levels=LEVELS))[1]
    )


def test_all_levels_rank_by_default(engine):
    index = make_index(400)
    few = SearchParametersDRQ(levels=1, refine_factor=400)
    np.testing.assert_array_equal(index.search(X, K, params=few)[1], index.search(X, K)[1])


def test_selectors_and_maps():
    index = make_index(0)
    mapped = faiss.IndexIDMap2(index)
    mapped.add_with_ids(make_vectors(400, seed=0), np.arange(400) + 1000)
    parameters = two_stage()
    ids = mapped.search(X, K, params=parameters)[1]
    np.testing.assert_array_equal(ids - 1000, expected(index, X))
    parameters.sel = faiss.IDSelectorRange(1010, 1030)
    ids = mapped.search(X, K, params=parameters)[1]
    assert ((ids >= 1010) & (ids < 1030)).all()


def test_parameters_can_be_copied():
    parameters = two_stage()
    for other in (copy.copy(parameters), pickle.loads(pickle.dumps(parameters))):
        assert (other.levels, other.refine_levels, other.refine_factor) == (LEVELS, REFINE, FACTOR)
    parameters.refine_factor = None
    assert parameters.refine_factor is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"refine_factor": 0}, "refine_factor: got 0, expected"),
        ({"refine_factor": 2.5}, "refine_factor: "),
        ({"refine_levels": -1}, "refine_levels: got -1, expected"),
        (
            {"levels": 3, "refine_levels": 2, "refine_factor": 4},
            "refine_levels: got 2, expected at least the 3",
        ),
        ({"refine_levels": 99, "refine_factor": 4}, "refine_levels: got 99, expected 0"),
        ({"refine_levels": 2, "refine_factor": 4}, "refine_levels: got 2, expected at least the"),
    ],
)
def test_what_cannot_be_is_refused(engine, arguments, message):
    index = make_index(50)
    with pytest.raises((ValueError, TypeError), match=message):
        index.search(X, K, params=SearchParametersDRQ(**arguments))
    assert index.search(X, K)[1].shape == (len(X), K)


def test_an_attribute_that_cannot_be_changes_nothing(engine):
    index = make_index(50)
    index.refine_levels = 3
    with pytest.raises(ValueError, match="refine_levels: got 99, expected 0 to"):
        index.refine_levels = 99
    with pytest.raises(ValueError, match="refine_factor: got 0"):
        index.refine_factor = 0
    assert (index.refine_levels, index.refine_factor) == (3, None)


def test_more_results_than_vectors(engine):
    index = make_index(5)
    ids = index.search(X, K, params=two_stage())[1]
    assert (ids[:, 5:] == -1).all()
    np.testing.assert_array_equal(ids, index.search(X, K, params=SearchParametersDRQ(levels=REFINE))[1])
