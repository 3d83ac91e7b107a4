"""The backends of the laboratory: one row each. A third party's backend is added by another row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["BACKENDS", "Backend"]


@dataclass(frozen=True)
class Backend:
    """How the laboratory opens a backend.

    Attributes:
        name: in the table.
        kind: ``conversation``, ``knowledge`` or ``state``.
        module: with the store classes.
        stores: the name of the sync class; the async one has ``Async`` before it.
        path: for an embedded store, the name of its file or folder.
        engine: for a server, its name in the folder ``tests/integration/engines``.
        options: further options of the stores.
        processes: how many write at once; 1 where an engine lets only one in.
    """

    name: str
    kind: str
    module: str
    stores: str
    path: str | None = None
    engine: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    processes: int = 2

    def spec(self, **options: Any) -> StoreSpec:
        """Return how to open it."""
        return StoreSpec(
            self.kind,
            sync=f"{self.module}:{self.stores}",
            async_=f"{self.module}:Async{self.stores}",
            options={**self.options, **options},
        )


SQLITE, POSTGRES = "praisonai_persistence_sqlite", "praisonai_persistence_postgres"
MYSQL, PGVECTOR = "praisonai_persistence_mysql", "praisonai_persistence_pgvector"
QDRANT, CHROMA = "praisonai_persistence_qdrant", "praisonai_persistence_chroma"

BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("sqlite", "conversation", SQLITE, "SQLiteConversationStore", path="lab.db"),
        Backend("sqlite (state)", "state", SQLITE, "SQLiteStateStore", path="lab.db"),
        Backend("sqlite (knowledge)", "knowledge", SQLITE, "SQLiteKnowledgeStore", path="lab.db"),
        Backend("json", "conversation", "praisonai_persistence_json", "JSONConversationStore", path="sessions"),
        Backend("lancedb", "knowledge", "praisonai_persistence_lancedb", "LanceDBKnowledgeStore", path="lance"),
        Backend("qdrant (local)", "knowledge", QDRANT, "QdrantKnowledgeStore", path="qdrant", processes=1),
        Backend("postgres", "conversation", POSTGRES, "PostgresConversationStore", engine="postgres"),
        Backend("postgres (state)", "state", POSTGRES, "PostgresStateStore", engine="postgres"),
        Backend("mysql", "conversation", MYSQL, "MySQLConversationStore", engine="mariadb"),
        Backend("mysql (state)", "state", MYSQL, "MySQLStateStore", engine="mariadb"),
        Backend("pgvector", "knowledge", PGVECTOR, "PgvectorKnowledgeStore", engine="pgvector"),
        Backend("redis", "state", "praisonai_persistence_redis", "RedisStateStore", engine="redis_synced"),
        Backend("upstash", "state", "praisonai_persistence_upstash", "UpstashStateStore", engine="upstash"),
        Backend("gcs", "state", "praisonai_persistence_gcs", "GCSStateStore", engine="gcs"),
        Backend("qdrant (server)", "knowledge", QDRANT, "QdrantKnowledgeStore", engine="qdrant"),
        Backend("chroma", "knowledge", CHROMA, "ChromaKnowledgeStore", engine="chroma"),
    )
}
