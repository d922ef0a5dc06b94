"""LangChain's FAISS vector store over an IndexDRQ."""

import faiss
import numpy as np
import pytest
from langchain_community.docstore.in_memory import InMemoryDocstore
from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import Embeddings

import drqfaiss
from tests import reference
from tests.clients.corpus import TEXTS, embed, nearest, trained_index, trained_stock

QUERY = "a question"


class TextEmbeddings(Embeddings):
    def embed_query(self, text):
        return embed(text).tolist()

    def embed_documents(self, texts):
        return [self.embed_query(text) for text in texts]


def make_store(index, texts=TEXTS):
    store = FAISS(TextEmbeddings(), index, InMemoryDocstore(), {})
    store.add_texts(
        texts, ids=[f"id of {text}" for text in texts], metadatas=[{"length": len(t)} for t in texts]
    )
    return store


@pytest.fixture(scope="module")
def trained():
    return trained_index()


@pytest.fixture
def store(trained):
    return make_store(drqfaiss.clone_index(trained))


def contents(documents):
    return [document.page_content for document in documents]


def expected(store, k, levels=None):
    return [TEXTS[number] for number in nearest(store.index, QUERY, k, levels)]


def test_similarity_search(store):
    assert contents(store.similarity_search(QUERY, k=5)) == expected(store, 5)
    documents, scores = zip(*store.similarity_search_with_score(QUERY, k=5), strict=True)
    assert contents(documents) == expected(store, 5)
    distances = ((store.index.reconstruct_batch(nearest(store.index, QUERY, 5)) - embed(QUERY)) ** 2).sum(1)
    np.testing.assert_allclose(scores, distances, rtol=1e-5)


def test_fewer_vectors_than_asked_for(trained):
    few = make_store(drqfaiss.clone_index(trained), TEXTS[:3])
    assert sorted(contents(few.similarity_search(QUERY, k=5))) == TEXTS[:3]


def test_code_length(store):
    store.index.levels = 2
    assert contents(store.similarity_search(QUERY, k=5)) == expected(store, 5, levels=2)
    assert expected(store, 5, levels=2) != expected(store, 5)


def test_metadata_filter_and_retriever(store):
    found = store.similarity_search(QUERY, k=3, filter={"length": len("sentence 7")}, fetch_k=len(TEXTS))
    short = [text for text in expected(store, len(TEXTS)) if len(text) == len("sentence 7")]
    assert contents(found) == short[:3]
    assert contents(store.as_retriever(search_kwargs={"k": 4}).invoke(QUERY)) == expected(store, 4)


def test_max_marginal_relevance(store):
    fetched = expected(store, 30)
    stored = np.array([store.index.reconstruct(TEXTS.index(text)) for text in fetched])
    cosines = stored @ embed(QUERY) / np.linalg.norm(stored, axis=1)
    most_similar = [fetched[i] for i in np.argsort(-cosines)]
    relevant = store.max_marginal_relevance_search(QUERY, k=4, fetch_k=30, lambda_mult=1)
    assert contents(relevant) == most_similar[:4]
    diverse = contents(store.max_marginal_relevance_search(QUERY, k=4, fetch_k=30, lambda_mult=0.1))
    assert diverse[0] == most_similar[0]
    assert set(diverse) < set(fetched)
    assert set(diverse) != set(most_similar[:4])


def test_delete(store):
    first, second, third = expected(store, 3)
    assert store.delete([f"id of {first}", f"id of {second}"])
    assert store.index.ntotal == len(TEXTS) - 2
    assert contents(store.similarity_search(QUERY, k=1)) == [third]


def test_merge_from(trained):
    store = make_store(drqfaiss.clone_index(trained), TEXTS[:400])
    store.merge_from(make_store(drqfaiss.clone_index(trained), TEXTS[400:]))
    assert store.index.ntotal == len(TEXTS)
    assert contents(store.similarity_search(QUERY, k=20)) == expected(store, 20)


def test_save_and_load(store, tmp_path):
    before = store.similarity_search(QUERY, k=5)
    store.save_local(str(tmp_path))
    with drqfaiss.installed():
        hooked = FAISS.load_local(str(tmp_path), TextEmbeddings(), allow_dangerous_deserialization=True)
    plain = FAISS.load_local(str(tmp_path), TextEmbeddings(), allow_dangerous_deserialization=True)
    drqfaiss.adopt(plain.index)
    for back in (hooked, plain):
        assert type(back.index) is drqfaiss.IndexDRQ
        assert back.similarity_search(QUERY, k=5) == before
        back.index.levels = 2
        assert contents(back.similarity_search(QUERY, k=5)) == expected(store, 5, levels=2)


def test_pickle(store):
    store.index.levels = 2
    before = store.similarity_search(QUERY, k=5)
    back = FAISS.deserialize_from_bytes(
        store.serialize_to_bytes(), TextEmbeddings(), allow_dangerous_deserialization=True
    )
    assert type(back.index) is drqfaiss.IndexDRQ
    assert back.index.levels == 2
    assert back.similarity_search(QUERY, k=5) == before


def test_adopting_the_index_of_an_existing_store():
    store = make_store(trained_stock())
    x = np.array([embed(QUERY)])
    before = store.index.search(x, 10)
    texts = contents(store.similarity_search(QUERY, k=10))
    assert type(store.index) is faiss.IndexResidualQuantizer
    drqfaiss.adopt(store.index)
    reference.assert_neighbours(store.index.search(x, 10), before, scale=100)
    assert contents(store.similarity_search(QUERY, k=10)) == texts
