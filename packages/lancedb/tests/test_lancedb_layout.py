"""Reading what PraisonAI wrote into LanceDB: tables with its columns, and no others."""

from __future__ import annotations

import lancedb
import pyarrow as pa
import pytest

from praisonai_persistence import KnowledgeDocument, open_knowledge_store
from praisonai_persistence.errors import CollectionNotFoundError, UnsupportedOperationError
from praisonai_persistence.stores.foreign import layout_registry

COLUMNS = {
    "id": pa.string(),
    "content": pa.string(),
    "content_hash": pa.string(),
    "created_at": pa.float64(),
    "vector": pa.list_(pa.float32(), 2),
}
ROWS = [
    {"id": "b", "content": "two", "content_hash": "h", "created_at": 5.5, "vector": [1.0, 2.0]},
    {"id": "a'", "content": "one é", "content_hash": None, "created_at": 0.0, "vector": [0.0, 1.0]},
]


@pytest.fixture
def store(tmp_path):
    connection = lancedb.connect(str(tmp_path))
    connection.create_table("full", pa.Table.from_pylist(ROWS, pa.schema(list(COLUMNS.items()))))
    connection.create_table("other", pa.table({"id": ["x"]}))
    with open_knowledge_store(
        f"lancedb:///{tmp_path}", "sync", registry=layout_registry("praisonai", "knowledge")
    ) as store:
        yield store


def test_collections_and_documents_are_read(store):
    assert store.list_collections() == ["full", "other"]
    info = store.get_collection("full")
    assert (info.dimension, info.distance, info.metadata) == (2, "euclidean", None)
    assert store.document_ids("full") == ["a'", "b"]
    assert store.count("full") == 2
    assert store.get("full", ["b", "none", "a'"]) == [
        KnowledgeDocument("b", "two", [1.0, 2.0], None, "h", 5.5),
        KnowledgeDocument("a'", "one é", [0.0, 1.0], None, None, 0.0),
    ]


def test_a_table_of_others_and_one_that_is_not_there_are_told(store):
    with pytest.raises(UnsupportedOperationError, match="'other' was not made by PraisonAI"):
        store.get_collection("other")
    with pytest.raises(CollectionNotFoundError, match="'absent'"):
        store.count("absent")
