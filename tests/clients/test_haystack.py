"""Haystack's FAISS document store, which builds its index from a factory string."""

import faiss
import numpy as np
import pytest
from haystack import Document
from haystack.document_stores.errors import DocumentStoreError
from haystack_integrations.components.retrievers.faiss import FAISSEmbeddingRetriever
from haystack_integrations.document_stores.faiss import FAISSDocumentStore

import drqfaiss
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests.clients.corpus import TEXTS, VECTORS, D, embed, nearest

QUERY = "a question"
DOCUMENTS = [Document(id=text, content=text, embedding=embed(text).tolist()) for text in TEXTS]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The path of a saved store, and its index, which FAISS trained from a factory string."""
    path = tmp_path_factory.mktemp("haystack") / "store"
    with drqfaiss.installed():
        store = FAISSDocumentStore(index_string="DRQ4x6", embedding_dim=D)
    store.index.train(VECTORS)
    assert store.write_documents(DOCUMENTS) == len(TEXTS)
    store.save(path)
    return path, store


def inner(store):
    return drqfaiss.adopt(faiss.downcast_index(store.index).index)


def found(store, k=5):
    retriever = FAISSEmbeddingRetriever(document_store=store, top_k=k)
    return [
        document.content for document in retriever.run(query_embedding=embed(QUERY).tolist())["documents"]
    ]


def expected(store, k=5, levels=None):
    return [TEXTS[number] for number in nearest(inner(store), QUERY, k, levels)]


def test_factory_string(saved):
    _, store = saved
    assert found(store) == expected(store)
    inner(store).levels = 2
    assert found(store) == expected(store, levels=2)
    inner(store).levels = 0


def test_store_is_fast_again_after_loading(saved):
    path, store = saved
    with drqfaiss.installed():
        hooked = FAISSDocumentStore(index_path=str(path), index_string="DRQ4x6", embedding_dim=D)
    plain = FAISSDocumentStore(index_path=str(path), embedding_dim=D)
    drqfaiss.adopt(plain.index)
    for back in (hooked, plain):
        assert plugin.is_adopted(address(faiss.downcast_index(back.index.index)))
        assert found(back) == found(store)


def test_index_of_ones_own(saved):
    _, filled = saved
    store = FAISSDocumentStore(embedding_dim=D)
    empty = drqfaiss.clone_index(inner(filled))
    empty.reset()
    store.index = faiss.IndexIDMap(empty)
    store.write_documents(DOCUMENTS)
    first, second = expected(filled, 2)
    assert found(store, 1) == [first]
    store.delete_documents([first])
    assert found(store, 1) == [second]
    np.testing.assert_array_equal(empty.ntotal, len(TEXTS) - 1)


def test_wrong_factory_strings_are_errors_of_the_store():
    with drqfaiss.installed(), pytest.raises(DocumentStoreError, match="DRQ4x99"):
        FAISSDocumentStore(index_string="DRQ4x99", embedding_dim=D)
