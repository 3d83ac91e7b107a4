"""Documents with embeddings: this project's embedded backends, each beside its engine's own client."""

from __future__ import annotations

import json
from array import array
from datetime import timedelta
from typing import Any

from base import Vectors, sqlite_durability

NAME = "documents"


class Ours(Vectors):
    """The store's public API; subclasses make the store."""

    role = "ours"

    def make(self) -> Any:
        """The store."""
        raise NotImplementedError

    def open(self) -> None:
        from praisonai_persistence import KnowledgeDocument

        self.document = KnowledgeDocument
        self.store = self.make()

    def close(self) -> None:
        self.store.close()

    def create(self, dimension: int) -> None:
        if self.store.collection_exists(NAME):
            self.store.delete_collection(NAME)
        self.store.create_collection(NAME, dimension)

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        self.store.upsert(NAME, [self.document(key, text, where, {"group": n}) for key, text, where, n in documents])

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        filters = None if group is None else {"group": group}
        return [found.id for found in self.store.search(NAME, embedding, limit=count, filters=filters)]


class OursOnLanceDB(Ours):
    """This project on LanceDB."""

    name = "praisonai-persistence (lancedb)"
    engine = "vectors"
    packages = ("lancedb",)
    imports = "from praisonai_persistence_lancedb import LanceDBKnowledgeStore"

    def make(self) -> Any:
        from praisonai_persistence_lancedb import LanceDBKnowledgeStore

        return LanceDBKnowledgeStore(path=self.place)


class OursOnQdrant(Ours):
    """This project on Qdrant's local mode."""

    name = "praisonai-persistence (qdrant, local)"
    engine = "vectors"
    packages = ("qdrant",)
    imports = "from praisonai_persistence_qdrant import QdrantKnowledgeStore"

    def make(self) -> Any:
        from praisonai_persistence_qdrant import QdrantKnowledgeStore

        return QdrantKnowledgeStore(path=self.place)


class OursOnSQLite(Ours):
    """This project on SQLite."""

    name = "praisonai-persistence (sqlite)"
    engine = "vectors"
    packages = ("sqlite",)
    imports = "from praisonai_persistence_sqlite import SQLiteKnowledgeStore"

    def make(self) -> Any:
        from praisonai_persistence_sqlite import SQLiteKnowledgeStore

        return SQLiteKnowledgeStore(path=f"{self.place}.db")

    def durability(self) -> str:
        return sqlite_durability(f"{self.place}.db")


class BareLanceDB(Vectors):
    """LanceDB's own client: an upsert is a merge by id, the filter stands before the search.

    Like the store it keeps the metadata as text, beside what is filtered, and reads the newest version.
    """

    name = "bare client (lancedb)"
    engine = "vectors"
    role = "bare"
    beside = "OursOnLanceDB"
    requirements = ("lancedb>=0.36", "pyarrow>=16")
    imports = "import lancedb"

    def open(self) -> None:
        import lancedb

        self.database = lancedb.connect(self.place, read_consistency_interval=timedelta(0))

    def create(self, dimension: int) -> None:
        import pyarrow

        self.schema = pyarrow.schema(
            [
                pyarrow.field("id", pyarrow.string()),
                pyarrow.field("content", pyarrow.string()),
                pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), dimension)),
                pyarrow.field("group", pyarrow.int64()),
                pyarrow.field("metadata", pyarrow.string()),
            ]
        )
        self.table = self.database.create_table(NAME, schema=self.schema, mode="overwrite")

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        import pyarrow

        columns = dict(zip(("id", "content", "vector", "group"), map(list, zip(*documents, strict=True)), strict=True))
        columns["metadata"] = [json.dumps({"group": group}) for group in columns["group"]]
        rows = pyarrow.table(columns, schema=self.schema)
        self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        query = self.table.search(embedding).distance_type("cosine").limit(count)
        if group is not None:
            query = query.where(f"`group` = {group}", prefilter=True)
        return [found["id"] for found in query.to_list()]


class BareQdrant(Vectors):
    """Qdrant's own client in its local mode; its ids are UUIDs or numbers, so the id stands in the payload."""

    name = "bare client (qdrant, local)"
    engine = "vectors"
    role = "bare"
    beside = "OursOnQdrant"
    requirements = ("qdrant-client>=1.17",)
    imports = "import qdrant_client"

    def open(self) -> None:
        from qdrant_client import QdrantClient

        self.client = QdrantClient(path=self.place)

    def close(self) -> None:
        self.client.close()

    def create(self, dimension: int) -> None:
        from qdrant_client.models import Distance, VectorParams

        if self.client.collection_exists(NAME):
            self.client.delete_collection(NAME)
        self.client.create_collection(NAME, vectors_config=VectorParams(size=dimension, distance=Distance.COSINE))

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        from uuid import NAMESPACE_URL, uuid5

        from qdrant_client.models import PointStruct

        points = [
            PointStruct(
                id=str(uuid5(NAMESPACE_URL, key)),
                vector=where,
                payload={"id": key, "content": text, "group": group, "metadata": json.dumps({"group": group})},
            )
            for key, text, where, group in documents
        ]
        self.client.upsert(NAME, points=points)

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        from qdrant_client.models import FieldCondition, Filter, MatchValue

        wanted = None if group is None else Filter(must=[FieldCondition(key="group", match=MatchValue(value=group))])
        found = self.client.query_points(NAME, query=embedding, limit=count, query_filter=wanted)
        return [point.payload["id"] for point in found.points if point.payload]


class BareSQLiteVec(Vectors):
    """SQLite with sqlite-vec: one table, one statement for a search; what it leaves out is said of the store."""

    name = "bare driver (sqlite3, sqlite-vec)"
    engine = "vectors"
    role = "bare"
    beside = "OursOnSQLite"
    requirements = ("sqlite-vec>=0.1",)
    imports = "import sqlite3, sqlite_vec"

    def open(self) -> None:
        import sqlite3

        import sqlite_vec

        self.connection = sqlite3.connect(f"{self.place}.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        if not hasattr(self.connection, "enable_load_extension"):
            raise NotImplementedError
        self.connection.enable_load_extension(True)
        sqlite_vec.load(self.connection)

    def close(self) -> None:
        self.connection.close()

    def durability(self) -> str:
        return sqlite_durability(f"{self.place}.db")

    def create(self, dimension: int) -> None:
        self.connection.execute("DROP TABLE IF EXISTS documents")
        self.connection.execute(
            "CREATE TABLE documents (id TEXT PRIMARY KEY, content TEXT, metadata TEXT, vector BLOB)"
        )

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        rows = [(key, text, json.dumps({"group": n}), array("f", where).tobytes()) for key, text, where, n in documents]
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", rows)
        self.connection.execute("COMMIT")

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        where = "" if group is None else "WHERE json_extract(metadata, '$.group') = :group"
        query = f"SELECT * FROM documents {where} ORDER BY vec_distance_cosine(vector, :vector) LIMIT :count"  # noqa: S608
        values = {"vector": array("f", embedding).tobytes(), "group": group, "count": count}
        return [row[0] for row in self.connection.execute(query, values)]
