"""Reading what PraisonAI wrote: what cannot be a collection here, and what is refused."""

from __future__ import annotations

import pytest

from praisonai_persistence import KnowledgeDocument, open_knowledge_store
from praisonai_persistence.errors import CollectionNotFoundError, ConfigurationError, UnsupportedOperationError
from praisonai_persistence.stores.foreign import layout_registry


@pytest.fixture
def place(tmp_path):
    chromadb = pytest.importorskip("chromadb")
    client = chromadb.PersistentClient(str(tmp_path), chromadb.config.Settings(anonymized_telemetry=False))
    full = client.create_collection("full", metadata={"hnsw:space": "ip", "about": "x"}, embedding_function=None)
    full.add(ids=["b", "a"], embeddings=[[1.0, 2.0], [0.0, 1.0]], documents=["two", "one"])
    client.create_collection("empty", embedding_function=None)
    client.close()
    return f"chromadb:///{tmp_path}"


@pytest.fixture
def store(place):
    with open_knowledge_store(place, "sync", registry=layout_registry("praisonai", "knowledge")) as store:
        yield store


def test_collections_and_documents_are_read(store):
    assert store.list_collections() == ["empty", "full"]
    info = store.get_collection("full")
    assert (info.dimension, info.distance, info.metadata) == (2, "dot", {"about": "x"})
    assert store.count("full") == 2
    assert store.document_ids("full") == ["a", "b"]
    first, last = store.get("full", ["b", "none", "b"])
    assert first == last == KnowledgeDocument("b", "two", [1.0, 2.0], None, None, 0.0)


def test_what_is_not_there_or_has_no_dimension_is_told(store):
    with pytest.raises(UnsupportedOperationError, match="'empty' has no documents"):
        store.get_collection("empty")
    with pytest.raises(CollectionNotFoundError, match="'absent'"):
        store.count("absent")


def test_nothing_is_changed(store):
    document = KnowledgeDocument("c", "x", [1.0, 1.0])
    for write in (
        lambda: store.create_collection("new", 2),
        lambda: store.delete_collection("full"),
        lambda: store.insert("full", [document]),
        lambda: store.upsert("full", [document]),
        lambda: store.delete("full", ["a"]),
        lambda: store.clear_collection("full"),
        lambda: store.search("full", [1.0, 1.0]),
        lambda: store.count("full", {"k": 1}),
    ):
        with pytest.raises(UnsupportedOperationError, match="only read here"):
            write()
    assert store.document_ids("full") == ["a", "b"]


def test_a_prefix_is_refused(place):
    with pytest.raises(ConfigurationError, match="no prefix"):
        open_knowledge_store(place, "sync", registry=layout_registry("praisonai", "knowledge"), table_prefix="x_")
