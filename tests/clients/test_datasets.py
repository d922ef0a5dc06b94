"""HuggingFace datasets with an IndexDRQ as its FAISS index."""

import faiss
import numpy as np
import pytest
from datasets import Dataset

import drqfaiss
from tests.clients.corpus import TEXTS, VECTORS, D, embed, nearest
from tests.indexes import assert_searches_right

QUERY = "a question"
X = np.array([embed(text) for text in (QUERY, "another question")])


@pytest.fixture
def dataset():
    return Dataset.from_dict({"text": TEXTS, "embedding": VECTORS.tolist()})


def untrained():
    return drqfaiss.IndexDRQ(D, 4, 6, iterations=3, progress=False)


def index_of(dataset):
    return dataset.get_index("embedding").faiss_index


def found(dataset, k=5):
    return dataset.get_nearest_examples("embedding", X[0], k).examples["text"]


def expected(index, k=5, levels=None):
    return [TEXTS[number] for number in nearest(index, QUERY, k, levels)]


def test_custom_index_is_trained_filled_and_searched(dataset):
    index = untrained()
    dataset.add_faiss_index(
        "embedding", custom_index=index, train_size=len(TEXTS), batch_size=250, faiss_verbose=True
    )
    assert index.ntotal == len(TEXTS)
    assert found(dataset) == expected(index)
    index.levels = 2
    assert found(dataset) == expected(index, levels=2)


def test_search_of_many_queries(dataset):
    index = untrained()
    dataset.add_faiss_index("embedding", custom_index=index, train_size=len(TEXTS))
    for order in "CF":
        results = dataset.search_batch("embedding", np.array(X, order=order), 5)
        np.testing.assert_array_equal(results.total_indices, index.search(X, 5)[1])
    limited = dataset.search("embedding", X[0], 5, params=drqfaiss.SearchParametersDRQ(levels=1))
    assert [TEXTS[number] for number in limited.indices] == expected(index, levels=1)


def test_index_is_fast_again_after_loading(dataset, tmp_path):
    dataset.add_faiss_index("embedding", custom_index=untrained(), train_size=len(TEXTS))
    before = found(dataset)
    path = str(tmp_path / "x.faiss")
    dataset.save_faiss_index("embedding", path)
    dataset.drop_index("embedding")
    dataset.load_faiss_index("embedding", path)
    assert type(index_of(dataset)) is faiss.IndexResidualQuantizer
    drqfaiss.adopt(index_of(dataset))
    assert (type(index_of(dataset)), found(dataset)) == (drqfaiss.IndexDRQ, before)
    dataset.drop_index("embedding")
    with drqfaiss.installed():
        dataset.load_faiss_index("embedding", path)
    assert (type(index_of(dataset)), found(dataset)) == (drqfaiss.IndexDRQ, before)


@pytest.mark.parametrize("metric", [None, faiss.METRIC_INNER_PRODUCT])
def test_factory_string(dataset, metric):
    with drqfaiss.installed():
        dataset.add_faiss_index(
            "embedding", string_factory="DRQ4x6", metric_type=metric, train_size=len(TEXTS)
        )
    index = index_of(dataset)
    assert type(index) is drqfaiss.IndexDRQ
    assert index.metric_type == (faiss.METRIC_L2 if metric is None else metric)
    assert_searches_right(index, X)
