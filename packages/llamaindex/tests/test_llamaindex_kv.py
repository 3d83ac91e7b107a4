"""The key-value store, and LlamaIndex's document and index stores on it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.data_structs import IndexDict
from llama_index.core.ingestion import IngestionCache
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore.keyval_docstore import KVDocumentStore
from llama_index.core.storage.index_store.keyval_index_store import KVIndexStore

from praisonai_persistence.errors import ConfigurationError, InvalidValueError, SerializationError
from praisonai_persistence.knowledge import MemoryKnowledgeStore
from praisonai_persistence.state import (
    AsyncMemoryStateStore,
    AsyncSQLiteStateStore,
    MemoryStateStore,
    SQLiteStateStore,
)
from praisonai_persistence_llamaindex import PersistentKVStore

STORES = {
    "memory": lambda path: MemoryStateStore(),
    "sqlite": lambda path: SQLiteStateStore(path=path / "s.db"),
    "async memory": lambda path: AsyncMemoryStateStore(),
    "async sqlite": lambda path: AsyncSQLiteStateStore(path=path / "s.db"),
}


@pytest.fixture(params=STORES)
def kv(request, tmp_path):
    store = STORES[request.param](tmp_path)
    yield PersistentKVStore(store)
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)


def test_calls(kv, call):
    assert call(kv, "get", "a") is None
    assert call(kv, "get_all") == {}
    assert call(kv, "delete", "a") is False
    call(kv, "put", "a", {"n": 1, "x": [None, 1.5, {"y": "\x00"}]})
    call(kv, "put_all", [("b", {"n": 2}), ("c", {}), ("b", {"n": 3})], batch_size=2)
    call(kv, "put_all", [])
    assert call(kv, "get", "a") == {"n": 1, "x": [None, 1.5, {"y": "\x00"}]}
    assert call(kv, "get_all") == {"a": call(kv, "get", "a"), "b": {"n": 3}, "c": {}}
    assert call(kv, "delete", "b") is True
    assert sorted(call(kv, "get_all")) == ["a", "c"]


def test_collections_are_apart_whatever_their_names(kv, call):
    names = ["data", "data/x", "data%2Fx", "data%", "d*", "d?", "[d]", "d\\", "", "é/ñ"]
    for number, name in enumerate(names):
        call(kv, "put", "x/1", {"n": number}, name)
        call(kv, "put", "*", {"n": -number}, collection=name)
    for number, name in enumerate(names):
        assert call(kv, "get_all", name) == {"x/1": {"n": number}, "*": {"n": -number}}
        assert call(kv, "get", "x/1", collection=name) == {"n": number}


def test_prefixes_are_apart_and_other_keys_are_left_alone():
    with MemoryStateStore() as store:
        store.set("mine", 1)
        one, other = PersistentKVStore(store), PersistentKVStore(store, prefix="other:")
        one.put("a", {"n": 1})
        assert other.get_all() == {}
        assert sorted(store.keys()) == ["llamaindex/data/a", "mine"]


def test_what_is_refused_is_not_written(kv, call):
    for wrong in (None, [], "text", 1):
        with pytest.raises(InvalidValueError, match="JSON object"):
            call(kv, "put_all", [("a", {}), ("b", wrong)])
    with pytest.raises(SerializationError):
        call(kv, "put_all", [("a", {}), ("b", {"x": object()})])
    for key in ("x" * 1100, "a\x00", "a\ud83d", 3):
        with pytest.raises(InvalidValueError):
            call(kv, "put_all", [("a", {}), (key, {})])
    assert call(kv, "get_all") == {}
    for wrong in (MemoryKnowledgeStore(), "sqlite:///s.db", None):
        with pytest.raises(ConfigurationError, match="open_state_store"):
            PersistentKVStore(wrong)


def node(id_, source):
    relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)}
    return TextNode(id_=id_, text=f"text of {id_}", metadata={"n": 1}, relationships=relationships)


def test_the_document_store_on_it(kv):
    documents = KVDocumentStore(kv)
    documents.add_documents([Document(id_="d", text="whole"), node("a", "d"), node("b", "d")], batch_size=10)
    again = KVDocumentStore(kv)
    assert sorted(again.docs) == ["a", "b", "d"]
    assert again.get_document("a") == node("a", "d")
    assert again.get_ref_doc_info("d").node_ids == ["a", "b"]
    again.set_document_hash("d", "hash")
    assert again.get_all_document_hashes()["hash"] == "d"
    again.delete_document("a")
    assert documents.get_ref_doc_info("d").node_ids == ["b"]
    documents.delete_ref_doc("d")
    assert again.docs == {}


def test_the_document_store_for_async_callers(kv):
    async def work():
        documents = KVDocumentStore(kv)
        await documents.async_add_documents([node("a", "d"), node("b", "d")], batch_size=10)
        assert (await documents.aget_document("a")) == node("a", "d")
        assert (await documents.aget_ref_doc_info("d")).node_ids == ["a", "b"]
        await documents.adelete_ref_doc("d")
        assert await documents.aget_all_ref_doc_info() == {}

    asyncio.run(work())


def test_the_index_store_and_the_ingestion_cache_on_it(kv):
    index = IndexDict(index_id="i", nodes_dict={"x": "y"})
    KVIndexStore(kv).add_index_struct(index)
    assert KVIndexStore(kv).get_index_struct("i") == index
    assert KVIndexStore(kv).index_structs() == [index]
    IngestionCache(cache=kv).put("key", [node("a", "d")])
    assert IngestionCache(cache=kv).get("key") == [node("a", "d")]
    assert IngestionCache(cache=kv).get("other") is None


@pytest.mark.parametrize("name", ["sqlite", "async sqlite"])
def test_many_writers_lose_nothing(name, tmp_path):
    store = STORES[name](tmp_path)
    kv = PersistentKVStore(store)

    def write(writer):
        for number in range(20):
            kv.put_all([(f"{writer} {number} {part}", {"n": number}) for part in range(5)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(kv.get_all()) == 800
    closed = store.close()
    if closed is not None:
        asyncio.run(closed)
