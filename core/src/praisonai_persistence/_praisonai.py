"""PraisonAI's persistence layer as facts: its backends, their modules, classes and constructors.

What is replaced, how constructors are understood, and ``docs/compatibility.md`` are made of these tables.
"""

from __future__ import annotations

import ast
import functools
from typing import Any, NamedTuple

from praisonai_persistence._known import KNOWN

__all__ = [
    "ATTRIBUTES",
    "BACKENDS",
    "ENVIRONMENT",
    "MEANINGS",
    "NO_MEANING",
    "Backend",
    "backend_of",
    "by_class",
    "by_module",
]


class Backend(NamedTuple):
    """A backend of PraisonAI.

    Attributes:
        name: by which it is registered there.
        aliases: its other names there, with spaces between.
        module: of ``praisonai.persistence.<kind>``.
        store: the name of its class.
        signature: of its constructor.
        extras: methods that it has beyond its base class, with spaces between.
        ours: the backend of this project that stands for it, where that has another name.
    """

    name: str
    aliases: str
    module: str
    store: str
    signature: str
    extras: str = ""
    ours: str | None = None

    @property
    def names(self) -> list[str]:
        """All its names."""
        return [self.name, *self.aliases.split()]

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of its constructor, in their order, with their defaults; of a ``**`` nothing."""
        return _parameters(self.signature)


@functools.cache
def _parameters(signature: str) -> dict[str, Any]:
    function: Any = ast.parse(f"def constructor({signature}): ...").body[0]
    names = [argument.arg for argument in function.args.args]
    defaults = [ast.literal_eval(default) for default in function.args.defaults]
    needed = [None] * (len(names) - len(defaults))
    return dict(zip(names, [*needed, *defaults], strict=True))


# fmt: off
BACKENDS: dict[str, tuple[Backend, ...]] = {
    "conversation": (
        Backend(
            "postgres", "neon cockroachdb crdb cockroach xata", "postgres", "PostgresConversationStore",
            "url=None, host='localhost', port=5432, database='praisonai', user='postgres', password='', "
            "schema='public', table_prefix='praison_', auto_create_tables=True, pool_size=5, max_retries=3, "
            "retry_delay=0.5",
        ),
        Backend(
            "async_postgres", "asyncpg postgres_async", "async_postgres", "AsyncPostgresConversationStore",
            "url=None, host='localhost', port=5432, database='praisonai', user='postgres', password='', "
            "table_prefix='praison_', pool_size=10", extras="init",
        ),
        Backend(
            "mysql", "", "mysql", "MySQLConversationStore",
            "url=None, host='localhost', port=3306, database='praisonai', user='root', password='', "
            "table_prefix='praison_', auto_create_tables=True, pool_size=5",
        ),
        Backend(
            "async_mysql", "aiomysql mysql_async", "async_mysql", "AsyncMySQLConversationStore",
            "url=None, host='localhost', port=3306, database='praisonai', user='root', password='', "
            "table_prefix='praison_', pool_size=10", extras="init async_*",
        ),
        Backend(
            "sqlite", "", "sqlite", "SQLiteConversationStore",
            "path='praisonai_conversations.db', table_prefix='praison_', auto_create_tables=True, "
            "check_same_thread=False",
        ),
        Backend(
            "sync_sqlite", "sqlite_sync", "sync_sqlite", "SyncSQLiteConversationStore",
            "path='praisonai_conversations.db', table_prefix='praison_'", extras="init clear_session", ours="sqlite",
        ),
        Backend(
            "async_sqlite", "aiosqlite sqlite_async", "async_sqlite", "AsyncSQLiteConversationStore",
            "path='praisonai_conversations.db', table_prefix='praison_'", extras="init",
        ),
        Backend(
            "json", "", "json_store", "JSONConversationStore",
            "path='./praisonai_conversations', pretty=True",
        ),
        Backend(
            "singlestore", "", "singlestore", "SingleStoreConversationStore",
            "url=None, host='localhost', port=3306, database='praisonai', user='root', password='', "
            "table_prefix='praison_', auto_create_tables=True",
        ),
        Backend(
            "supabase", "", "supabase", "SupabaseConversationStore",
            "url=None, key=None, table_prefix='praison_', auto_create_tables=False, max_retries=3, "
            "retry_delay=2.0",
        ),
        Backend(
            "surrealdb", "", "surrealdb", "SurrealDBConversationStore",
            "url='ws://localhost:8000/rpc', namespace='praisonai', database='conversations', username=None, "
            "password=None, table_prefix='praison_', auto_create_tables=True",
        ),
        Backend(
            "turso", "libsql", "turso", "TursoConversationStore",
            "url=None, auth_token=None, local_path='praisonai_turso.db', table_prefix='praison_', "
            "auto_create_tables=True, sync_on_write=True",
        ),
    ),
    "knowledge": (
        Backend(
            "chroma", "chromadb", "chroma", "ChromaKnowledgeStore",
            "path=None, host=None, port=8000, persistent=True",
        ),
        Backend(
            "qdrant", "", "qdrant", "QdrantKnowledgeStore",
            "url=None, host='localhost', port=6333, grpc_port=6334, api_key=None, prefer_grpc=False, "
            "timeout=30",
        ),
        Backend(
            "pinecone", "", "pinecone", "PineconeKnowledgeStore",
            "api_key=None, index_name=None, environment=None, namespace=''",
        ),
        Backend(
            "weaviate", "", "weaviate", "WeaviateKnowledgeStore",
            "url=None, api_key=None, additional_headers=None",
        ),
        Backend(
            "lancedb", "", "lancedb", "LanceDBKnowledgeStore",
            "path='./lancedb', uri=None",
        ),
        Backend(
            "milvus", "", "milvus", "MilvusKnowledgeStore",
            "url=None, host='localhost', port=19530, token=None, db_name='default'",
        ),
        Backend(
            "pgvector", "", "pgvector", "PGVectorKnowledgeStore",
            "url=None, host='localhost', port=5432, database='praisonai', user='postgres', password='', "
            "schema='public', auto_create_extension=True",
        ),
        Backend(
            "redis", "", "redis_vector", "RedisVectorKnowledgeStore",
            "url=None, host='localhost', port=6379, password=None, prefix='praison:vec:'",
        ),
        Backend(
            "valkey", "", "valkey_vector", "ValkeyVectorKnowledgeStore",
            "host='localhost', port=6379, password=None, prefix='praison:vec:'",
        ),
        Backend(
            "cassandra", "", "cassandra", "CassandraKnowledgeStore",
            "hosts=None, keyspace='praisonai', username=None, password=None, port=9042, "
            "secure_connect_bundle=None",
        ),
        Backend(
            "clickhouse", "", "clickhouse", "ClickHouseKnowledgeStore",
            "host='localhost', port=8123, username='default', password='', database='praisonai', secure=False",
        ),
        Backend(
            "mongodb_vector", "mongodb_atlas mongo_vector", "mongodb_vector", "MongoDBVectorKnowledgeStore",
            "url='mongodb://localhost:27017', database='praisonai', collection='vectors', "
            "index_name='vector_index', embedding_field='embedding', text_field='content', embedding_dim=1536",
        ),
        Backend(
            "couchbase", "", "couchbase", "CouchbaseKnowledgeStore",
            "connection_string='couchbase://localhost', username='Administrator', password='', "
            "bucket_name='praisonai', scope_name='_default', collection_name='vectors', "
            "index_name='vector_index', vector_field='embedding', text_field='content', embedding_dim=1536",
        ),
        Backend(
            "singlestore_vector", "singlestore_v", "singlestore_vector", "SingleStoreVectorKnowledgeStore",
            "url=None, host='localhost', port=3306, database='praisonai', user='root', password='', "
            "table_prefix='praisonai_', embedding_dim=1536",
        ),
        Backend(
            "surrealdb_vector", "surrealdb_v", "surrealdb_vector", "SurrealDBVectorKnowledgeStore",
            "url='ws://localhost:8000/rpc', namespace='praisonai', database='vectors', username=None, "
            "password=None, embedding_dim=1536",
        ),
        Backend(
            "upstash_vector", "upstash_v", "upstash_vector", "UpstashVectorKnowledgeStore",
            "url=None, token=None, embedding_dim=1536",
        ),
        Backend(
            "lightrag", "", "lightrag_adapter", "LightRAGKnowledgeStore",
            "working_dir='./lightrag_data', llm_model='gpt-4o-mini', "
            "embedding_model='text-embedding-3-small', **kwargs", extras="query",
        ),
        Backend(
            "langchain", "langchain_adapter", "langchain_adapter", "LangChainKnowledgeStore",
            "vectorstore=None, vectorstore_cls=None, vectorstore_kwargs=None", extras="similarity_search",
        ),
        Backend(
            "llamaindex", "llama_index llamaindex_adapter", "llamaindex_adapter", "LlamaIndexKnowledgeStore",
            "vector_store=None, vector_store_cls=None, vector_store_kwargs=None",
        ),
        Backend(
            "cosmosdb", "cosmos azure_cosmos cosmosdb_vector", "cosmosdb_vector", "CosmosDBVectorKnowledgeStore",
            "connection_string=None, database='praisonai', collection='vectors', index_name='vector_index', "
            "embedding_field='embedding', text_field='content', embedding_dim=1536, api_mode='mongodb'",
        ),
    ),
    "state": (
        Backend(
            "redis", "", "redis", "RedisStateStore",
            "url=None, host='localhost', port=6379, db=0, password=None, prefix='praison:', "
            "decode_responses=True, socket_timeout=5, max_connections=10", extras="incr decr",
        ),
        Backend(
            "valkey", "", "valkey", "ValkeyStateStore",
            "host='localhost', port=6379, password=None, prefix='praison:', db=0", extras="incr decr",
        ),
        Backend(
            "dynamodb", "", "dynamodb", "DynamoDBStateStore",
            "table_name='praisonai_state', region=None, endpoint_url=None, auto_create_table=True",
        ),
        Backend(
            "firestore", "", "firestore", "FirestoreStateStore",
            "project=None, collection='praisonai_state', credentials_path=None",
        ),
        Backend(
            "mongodb", "", "mongodb", "MongoDBStateStore",
            "url='mongodb://localhost:27017', database='praisonai', collection='state'",
        ),
        Backend(
            "async_mongodb", "motor mongodb_async", "async_mongodb", "AsyncMongoDBStateStore",
            "url='mongodb://localhost:27017', database='praisonai', collection='state'",
            extras="init list_keys clear async_*",
        ),
        Backend(
            "upstash", "", "upstash", "UpstashStateStore",
            "url=None, token=None, prefix='praison:'",
        ),
        Backend(
            "memory", "", "memory", "MemoryStateStore",
            "path=None, auto_save=True, save_interval=60", extras="flush clear", ours="memory",
        ),
        Backend(
            "gcs", "", "gcs", "GCSStateStore",
            "bucket_name, prefix='praisonai_state/', project=None, credentials_path=None", extras="list_keys clear",
        ),
    ),
}
# fmt: on

MEANINGS: dict[str, str] = {
    "auto_create_tables": "create_schema",
    "local_path": "path",
    "max_connections": "max_size",
    "pool_size": "max_size",
    "prefix": "table_prefix",
    "socket_timeout": "timeout",
    "uri": "path",
}
"""A parameter there -> the option of our stores that means the same; the others have the same name here."""

NO_MEANING: dict[str, str] = {
    "auto_create_extension": "the extension is made where it is missing",
    "auto_save": "every store of this project writes what it has acknowledged",
    "check_same_thread": "a store may be used from all threads",
    "embedding_dim": "each collection is created with a dimension of its own",
    "decode_responses": "values are JSON and keep their types",
    "max_retries": "retries end by time, see retry_timeout",
    "persistent": "a store with a place keeps what it is given, one without a place is in memory",
    "pretty": "files are written in one way",
    "retry_delay": "retries end by time, see retry_timeout",
    "sync_on_write": "a write is on the server, or in the file, when the call returns",
    "save_interval": "every store of this project writes what it has acknowledged",
}
"""A parameter that has no meaning here, unless the backend takes it -> why; a warning says so once."""


ENVIRONMENT: dict[str, dict[str, tuple[str, str | None]]] = {
    "DynamoDBStateStore": {"region": ("AWS_REGION", "us-east-1")},
    "FirestoreStateStore": {"project": ("FIRESTORE_PROJECT", None)},
    "PineconeKnowledgeStore": {"api_key": ("PINECONE_API_KEY", None), "index_name": ("PINECONE_INDEX", "praisonai")},
    "TursoConversationStore": {"url": ("TURSO_DATABASE_URL", None), "auth_token": ("TURSO_AUTH_TOKEN", None)},
    "UpstashStateStore": {"url": ("UPSTASH_REDIS_URL", None), "token": ("UPSTASH_REDIS_TOKEN", None)},
    "WeaviateKnowledgeStore": {
        "url": ("WEAVIATE_URL", "http://localhost:8080"),
        "api_key": ("WEAVIATE_API_KEY", None),
    },
}
"""A class -> the arguments that it takes from a variable of the environment, or else by default, if not given."""


_TABLES = "table_prefix sessions_table messages_table"
_VERSIONED = f"{_TABLES} SCHEMA_VERSION"
_SERVER = "url host port database user password"
_VECTORS = "index_name embedding_field text_field embedding_dim database_name=database collection_name=collection"

ATTRIBUTES: dict[str, str] = {
    "PostgresConversationStore": f"{_SERVER} schema pool_size {_VERSIONED}",
    "AsyncPostgresConversationStore": f"{_SERVER} table_prefix pool_size",
    "MySQLConversationStore": _VERSIONED,
    "AsyncMySQLConversationStore": f"{_SERVER} table_prefix pool_size",
    "SQLiteConversationStore": f"path {_VERSIONED}",
    "SyncSQLiteConversationStore": f"path {_VERSIONED}",
    "AsyncSQLiteConversationStore": "path table_prefix",
    "JSONConversationStore": "path pretty",
    "SingleStoreConversationStore": _VERSIONED,
    "SupabaseConversationStore": _VERSIONED,
    "SurrealDBConversationStore": f"url namespace database username password {_VERSIONED}",
    "TursoConversationStore": _VERSIONED,
    "CassandraKnowledgeStore": "keyspace",
    "ClickHouseKnowledgeStore": "database",
    "CosmosDBVectorKnowledgeStore": f"connection_string api_mode {_VECTORS}",
    "CouchbaseKnowledgeStore": (
        "connection_string username password bucket_name scope_name collection_name index_name vector_field text_field "
        "embedding_dim"
    ),
    "LightRAGKnowledgeStore": "working_dir llm_model embedding_model kwargs",
    "MongoDBVectorKnowledgeStore": f"url {_VECTORS}",
    "PGVectorKnowledgeStore": "schema",
    "RedisVectorKnowledgeStore": "prefix",
    "SingleStoreVectorKnowledgeStore": f"{_SERVER} table_prefix embedding_dim",
    "SurrealDBVectorKnowledgeStore": "url namespace database username password embedding_dim",
    "UpstashVectorKnowledgeStore": "url token embedding_dim",
    "ValkeyVectorKnowledgeStore": "host port password prefix",
    "AsyncMongoDBStateStore": "url database_name=database collection_name=collection",
    "DynamoDBStateStore": "table_name",
    "GCSStateStore": "bucket_name prefix",
    "MemoryStateStore": "path auto_save save_interval",
    "RedisStateStore": "prefix",
    "UpstashStateStore": "prefix",
    "ValkeyStateStore": "host port password prefix db",
}
"""A class -> the public attributes of its objects, with spaces between; ``name=parameter`` where they differ."""


def backend_of(kind: str, row: Backend) -> str | None:
    """Return the backend of this project, installed or not, that stands for one of PraisonAI; None: there is none."""
    if row.ours is not None:
        return row.ours
    return row.name if row.name in KNOWN.get(kind, {}) else None


def by_class(kind: str, name: str) -> Backend | None:
    """Return the backend whose class has a name."""
    return next((row for row in BACKENDS.get(kind, ()) if row.store == name), None)


def by_module(kind: str, module: str) -> Backend | None:
    """Return the backend whose module has a name, or that has the name itself or as an alias."""
    rows = BACKENDS.get(kind, ())
    return next(
        (row for row in rows if row.module == module),
        next((row for row in rows if module in row.names), None),
    )
