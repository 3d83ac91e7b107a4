"""Reading what PraisonAI wrote into Qdrant: an id may stand at several points."""

from __future__ import annotations

import pytest
from qdrant_client import QdrantClient, models

from praisonai_persistence import KnowledgeDocument, open_knowledge_store
from praisonai_persistence.errors import CollectionNotFoundError, UnsupportedOperationError
from praisonai_persistence.stores.foreign import layout_registry


def _point(number, key, time, **more):
    payload = {"doc_id": key, "content": f"{key} {time}", "content_hash": None, "created_at": time, **more}
    return models.PointStruct(id=number, vector=[1.0, float(number)], payload=payload)


@pytest.fixture
def store(tmp_path):
    client = QdrantClient(path=str(tmp_path))
    space = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("full", vectors_config=space)
    client.create_collection("many", vectors_config={"one": space, "two": space})
    client.upsert("full", [_point(1, "a", 1.0), _point(2, "a", 3.0, tag="x"), _point(3, "a", 2.0), _point(4, "b", 1.0)])
    client.close()
    with open_knowledge_store(
        f"qdrant:///{tmp_path}", "sync", registry=layout_registry("praisonai", "knowledge")
    ) as store:
        yield store


def test_collections_and_the_newest_documents_are_read(store):
    assert store.list_collections() == ["full", "many"]
    info = store.get_collection("full")
    assert (info.dimension, info.distance, info.metadata) == (2, "dot", None)
    assert store.get("full", ["b", "none", "a"]) == [
        KnowledgeDocument("b", "b 1.0", [1.0, 4.0], None, None, 1.0),
        KnowledgeDocument("a", "a 3.0", [1.0, 2.0], {"tag": "x"}, None, 3.0),
    ]
    assert store.document_ids("full") == ["a", "b"]
    assert store.count("full") == 2


def test_what_is_no_collection_of_stores_is_told(store):
    with pytest.raises(UnsupportedOperationError, match="'many' has several vectors"):
        store.get_collection("many")
    with pytest.raises(CollectionNotFoundError, match="'absent'"):
        store.count("absent")
