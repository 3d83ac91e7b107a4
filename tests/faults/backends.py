"""The backends of the laboratory: one row each. A third party's backend is added by another row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["BACKENDS", "TIMEOUT", "Backend"]

TIMEOUT = 1.0
"""Seconds of the deadlines of an impatient store."""


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
        modes: in which there are stores of it.
        forgets: a server that is killed has nothing left of what it acknowledged; then each such strike is an
            experiment of its own, as where a file is removed.
        spared: the faults that are left out because they are known to fail, by name, and how; the table tells it.
    """

    name: str
    kind: str
    module: str
    stores: str
    path: str | None = None
    engine: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    processes: int = 2
    modes: tuple[str, ...] = ("sync", "async")
    forgets: bool = False
    spared: dict[str, str] = field(default_factory=dict)

    def spec(self, *, impatient: bool = False, **options: Any) -> StoreSpec:
        """Return how to open it; an impatient store waits for ``TIMEOUT`` seconds for a server, or for a lock."""
        limits: dict[str, Any] = {}
        if impatient and self.engine is not None:
            limits = {"timeout": TIMEOUT, "connect_timeout": TIMEOUT}
        elif impatient and self.processes > 1:
            limits = {"lock_timeout": TIMEOUT}
        return StoreSpec(
            self.kind,
            sync=f"{self.module}:{self.stores}" if "sync" in self.modes else None,
            async_=f"{self.module}:Async{self.stores}" if "async" in self.modes else None,
            options={**self.options, **limits, **options},
        )


SQLITE, POSTGRES = "praisonai_persistence_sqlite", "praisonai_persistence_postgres"
MYSQL, PGVECTOR = "praisonai_persistence_mysql", "praisonai_persistence_pgvector"
TURSO, SUPABASE = "praisonai_persistence_turso", "praisonai_persistence_supabase"
SINGLESTORE = "praisonai_persistence_singlestore"
QDRANT, CHROMA = "praisonai_persistence_qdrant", "praisonai_persistence_chroma"
WEAVIATE, CASSANDRA = "praisonai_persistence_weaviate", "praisonai_persistence_cassandra"
MILVUS, CLICKHOUSE = "praisonai_persistence_milvus", "praisonai_persistence_clickhouse"
SURREAL = "praisonai_persistence_surrealdb"
MONGODB, FIRESTORE = "praisonai_persistence_mongodb", "praisonai_persistence_firestore"
DYNAMODB = "praisonai_persistence_dynamodb"
LOST = {"restart of the server": "the emulator keeps all in memory; what it acknowledges while that is saved is gone"}
JAVA = {"SIGKILL of the server": "mongo-java-server acknowledges writes before they are in its file, and loses them"}
STANDS = {"disk full": "where the disk fills up within one write, the engine may hold up the whole process"}
PARTS = {"disk full": "the engine may keep a part of a transaction; now and then a batch of documents is torn"}

BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("sqlite", "conversation", SQLITE, "SQLiteConversationStore", path="lab.db"),
        Backend("sqlite (state)", "state", SQLITE, "SQLiteStateStore", path="lab.db"),
        Backend("sqlite (knowledge)", "knowledge", SQLITE, "SQLiteKnowledgeStore", path="lab.db"),
        Backend("json", "conversation", "praisonai_persistence_json", "JSONConversationStore", path="sessions"),
        Backend(
            "lancedb",
            "knowledge",
            "praisonai_persistence_lancedb",
            "LanceDBKnowledgeStore",
            path="lance",
        ),
        Backend("qdrant (local)", "knowledge", QDRANT, "QdrantKnowledgeStore", path="qdrant", processes=1),
        Backend(
            "chroma (local)",
            "knowledge",
            CHROMA,
            "ChromaKnowledgeStore",
            path="chroma",
            processes=1,
            modes=("sync",),
            spared=STANDS,
        ),
        Backend("postgres", "conversation", POSTGRES, "PostgresConversationStore", engine="postgres"),
        Backend("postgres (state)", "state", POSTGRES, "PostgresStateStore", engine="postgres"),
        Backend("mysql", "conversation", MYSQL, "MySQLConversationStore", engine="mariadb"),
        Backend("mysql (state)", "state", MYSQL, "MySQLStateStore", engine="mariadb"),
        Backend("singlestore", "conversation", SINGLESTORE, "SingleStoreConversationStore", engine="singlestore"),
        Backend(
            "singlestore (knowledge)", "knowledge", SINGLESTORE, "SingleStoreVectorKnowledgeStore", engine="singlestore"
        ),
        Backend("pgvector", "knowledge", PGVECTOR, "PgvectorKnowledgeStore", engine="pgvector"),
        Backend("redis", "state", "praisonai_persistence_redis", "RedisStateStore", engine="redis_synced"),
        Backend("upstash", "state", "praisonai_persistence_upstash", "UpstashStateStore", engine="upstash"),
        Backend(
            "firestore",
            "conversation",
            FIRESTORE,
            "FirestoreConversationStore",
            engine="firestore",
            forgets=True,
            spared=LOST,
        ),
        Backend(
            "firestore (state)",
            "state",
            FIRESTORE,
            "FirestoreStateStore",
            engine="firestore",
            forgets=True,
            spared=LOST,
        ),
        Backend("gcs", "state", "praisonai_persistence_gcs", "GCSStateStore", engine="gcs"),
        Backend("mongodb", "conversation", MONGODB, "MongoDBConversationStore", engine="mongodb", spared=JAVA),
        Backend("mongodb (NX-27017)", "conversation", MONGODB, "MongoDBConversationStore", engine="nx27017"),
        Backend("mongodb (state)", "state", MONGODB, "MongoDBStateStore", engine="mongodb", spared=JAVA),
        Backend("dynamodb", "conversation", DYNAMODB, "DynamoDBConversationStore", engine="dynamodb"),
        Backend("dynamodb (state)", "state", DYNAMODB, "DynamoDBStateStore", engine="dynamodb"),
        Backend("qdrant (server)", "knowledge", QDRANT, "QdrantKnowledgeStore", engine="qdrant"),
        Backend("supabase", "conversation", SUPABASE, "SupabaseConversationStore", engine="supabase"),
        Backend("turso", "conversation", TURSO, "TursoConversationStore", engine="turso"),
        Backend("turso (state)", "state", TURSO, "TursoStateStore", engine="turso"),
        Backend("turso (file)", "conversation", TURSO, "TursoConversationStore", path="lab.db"),
        Backend("surrealdb", "conversation", SURREAL, "SurrealDBConversationStore", engine="surrealdb"),
        Backend("surrealdb (state)", "state", SURREAL, "SurrealDBStateStore", engine="surrealdb"),
        Backend(
            "surrealdb (local)", "conversation", SURREAL, "SurrealDBConversationStore", path="surreal", processes=1
        ),
        Backend("surrealdb (state, local)", "state", SURREAL, "SurrealDBStateStore", path="surreal", processes=1),
        Backend("surrealdb (knowledge)", "knowledge", SURREAL, "SurrealDBVectorKnowledgeStore", engine="surrealdb"),
        Backend(
            "surrealdb (knowledge, local)",
            "knowledge",
            SURREAL,
            "SurrealDBVectorKnowledgeStore",
            path="surreal",
            processes=1,
            spared=PARTS,
        ),
        Backend("chroma", "knowledge", CHROMA, "ChromaKnowledgeStore", engine="chroma"),
        # A killed writer's ids are waited for twice as long as a request may take.
        Backend("weaviate", "knowledge", WEAVIATE, "WeaviateKnowledgeStore", engine="weaviate", options={"timeout": 5}),
        Backend("cassandra", "knowledge", CASSANDRA, "CassandraKnowledgeStore", engine="cassandra"),
        Backend(
            "cassandra (conversations)", "conversation", CASSANDRA, "CassandraConversationStore", engine="cassandra"
        ),
        Backend("cassandra (state)", "state", CASSANDRA, "CassandraStateStore", engine="cassandra"),
        Backend(
            "clickhouse",
            "knowledge",
            CLICKHOUSE,
            "ClickHouseKnowledgeStore",
            engine="clickhouse",
            options={"timeout": 5},
        ),
        Backend("milvus", "knowledge", MILVUS, "MilvusKnowledgeStore", engine="milvus", options={"timeout": 5}),
        Backend("milvus (lite)", "knowledge", MILVUS, "MilvusKnowledgeStore", path="milvus.db", processes=1),
    )
}
