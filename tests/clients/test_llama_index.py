"""LlamaIndex's FAISS vector stores over an IndexDRQ."""

import faiss
import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.faiss import FaissMapVectorStore, FaissVectorStore

import drqfaiss
from drqfaiss._core import plugin
from drqfaiss._plugin.layout import address
from tests.clients.corpus import TEXTS, embed, nearest, trained_index

QUERY = "a question"


class TextEmbedding(BaseEmbedding):
    def _get_text_embedding(self, text):
        return embed(text).tolist()

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, text):
        return self._get_text_embedding(text)


@pytest.fixture(scope="module")
def trained():
    return trained_index()


@pytest.fixture
def index(trained):
    return drqfaiss.clone_index(trained)


def nodes(texts=TEXTS):
    return [TextNode(id_=f"id of {text}", text=text, embedding=embed(text).tolist()) for text in texts]


def ask(store, k=5):
    return store.query(VectorStoreQuery(query_embedding=embed(QUERY).tolist(), similarity_top_k=k)).ids


def expected(index, k=5, levels=None):
    return [str(number) for number in nearest(index, QUERY, k, levels)]


def test_vector_store(index):
    store = FaissVectorStore(faiss_index=index)
    assert store.add(nodes()) == [str(number) for number in range(len(TEXTS))]
    assert ask(store) == expected(index)
    index.levels = 2
    assert ask(store) == expected(index, levels=2)


def test_vector_store_is_fast_again_after_loading(index, tmp_path):
    store = FaissVectorStore(faiss_index=index)
    store.add(nodes())
    store.persist(str(tmp_path / "default__vector_store.json"))
    with drqfaiss.installed():
        hooked = FaissVectorStore.from_persist_dir(str(tmp_path))
    plain = FaissVectorStore.from_persist_dir(str(tmp_path))
    drqfaiss.adopt(plain.client)
    for back in (hooked, plain):
        assert type(back.client) is drqfaiss.IndexDRQ
        assert ask(back) == ask(store)


def test_whole_index_with_retriever(index, tmp_path):
    storage = StorageContext.from_defaults(vector_store=FaissVectorStore(faiss_index=index))
    VectorStoreIndex(nodes(TEXTS[:100]), storage_context=storage, embed_model=TextEmbedding())
    storage.persist(str(tmp_path))
    with drqfaiss.installed():
        store = FaissVectorStore.from_persist_dir(str(tmp_path))
    loaded = load_index_from_storage(
        StorageContext.from_defaults(vector_store=store, persist_dir=str(tmp_path)),
        embed_model=TextEmbedding(),
    )
    found = loaded.as_retriever(similarity_top_k=5).retrieve(QUERY)
    assert [result.node.text for result in found] == [TEXTS[number] for number in nearest(index, QUERY, 5)]


def map_store(index, texts=TEXTS):
    store = FaissMapVectorStore(faiss_index=faiss.IndexIDMap2(index))
    store.add(nodes(texts))
    return store


def named(index, k, levels=None):
    return [f"id of {TEXTS[number]}" for number in nearest(index, QUERY, k, levels)]


def test_map_store(index):
    store = map_store(index)
    assert ask(store) == named(index, 5)
    index.levels = 2
    assert ask(store) == named(index, 5, levels=2)


def test_map_store_deletes(index):
    store = map_store(index)
    first, second, third, fourth = named(index, 4)
    store.delete(first)
    store.delete_nodes([second, third])
    assert index.ntotal == len(TEXTS) - 3
    assert ask(store, 1) == [fourth]


def test_map_store_is_fast_again_after_loading(index, tmp_path):
    store = map_store(index)
    store.persist(str(tmp_path / "default__vector_store.json"))
    with drqfaiss.installed():
        hooked = FaissMapVectorStore.from_persist_dir(str(tmp_path))
    plain = FaissMapVectorStore.from_persist_dir(str(tmp_path))
    drqfaiss.adopt(plain.client)
    for back in (hooked, plain):
        assert plugin.is_adopted(address(faiss.downcast_index(back.client.index)))
        assert ask(back) == ask(store)


def test_map_store_refuses_what_is_no_id_map(index):
    with pytest.raises(ValueError, match="IndexIDMap2"):
        FaissMapVectorStore(faiss_index=index)
