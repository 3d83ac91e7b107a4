"""The backends of this project, so that an error can name the distribution that is missing.

Kind -> name or alias -> (distribution, object reference). Checked against the packages' own entry points.
"""

from __future__ import annotations

__all__ = ["KNOWN"]

_SQLITE = "praisonai-persistence-sqlite"
_JSON = "praisonai-persistence-json"
_CHROMA = "praisonai-persistence-chroma"
_QDRANT = "praisonai-persistence-qdrant"
_LANCEDB = "praisonai-persistence-lancedb"
_MYSQL = "praisonai-persistence-mysql"
_PGVECTOR = "praisonai-persistence-pgvector"
_POSTGRES = "praisonai-persistence-postgres"
_REDIS = "praisonai-persistence-redis"

KNOWN: dict[str, dict[str, tuple[str, str]]] = {
    "conversation": {
        "sqlite": (_SQLITE, "praisonai_persistence_sqlite:SQLiteConversationStore"),
        "async_sqlite": (_SQLITE, "praisonai_persistence_sqlite:AsyncSQLiteConversationStore"),
        "aiosqlite": (_SQLITE, "praisonai_persistence_sqlite:AsyncSQLiteConversationStore"),
        "sqlite_async": (_SQLITE, "praisonai_persistence_sqlite:AsyncSQLiteConversationStore"),
        "json": (_JSON, "praisonai_persistence_json:JSONConversationStore"),
        "async_json": (_JSON, "praisonai_persistence_json:AsyncJSONConversationStore"),
        "mysql": (_MYSQL, "praisonai_persistence_mysql:MySQLConversationStore"),
        "async_mysql": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLConversationStore"),
        "mariadb": (_MYSQL, "praisonai_persistence_mysql:MySQLConversationStore"),
        "aiomysql": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLConversationStore"),
        "mysql_async": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLConversationStore"),
        "postgres": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "async_postgres": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresConversationStore"),
        "cockroach": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "cockroachdb": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "crdb": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "neon": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "postgresql": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "xata": (_POSTGRES, "praisonai_persistence_postgres:PostgresConversationStore"),
        "asyncpg": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresConversationStore"),
        "postgres_async": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresConversationStore"),
    },
    "knowledge": {
        "sqlite": (_SQLITE, "praisonai_persistence_sqlite:SQLiteKnowledgeStore"),
        "async_sqlite": (_SQLITE, "praisonai_persistence_sqlite:AsyncSQLiteKnowledgeStore"),
        "lancedb": (_LANCEDB, "praisonai_persistence_lancedb:LanceDBKnowledgeStore"),
        "async_lancedb": (_LANCEDB, "praisonai_persistence_lancedb:AsyncLanceDBKnowledgeStore"),
        "chroma": (_CHROMA, "praisonai_persistence_chroma:ChromaKnowledgeStore"),
        "async_chroma": (_CHROMA, "praisonai_persistence_chroma:AsyncChromaKnowledgeStore"),
        "chromadb": (_CHROMA, "praisonai_persistence_chroma:ChromaKnowledgeStore"),
        "qdrant": (_QDRANT, "praisonai_persistence_qdrant:QdrantKnowledgeStore"),
        "async_qdrant": (_QDRANT, "praisonai_persistence_qdrant:AsyncQdrantKnowledgeStore"),
        "redis": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "async_redis": (_REDIS, "praisonai_persistence_redis:AsyncRedisKnowledgeStore"),
        "redis_async": (_REDIS, "praisonai_persistence_redis:AsyncRedisKnowledgeStore"),
        "redis_cluster": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "redis_sentinel": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "rediss": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "rediss_cluster": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "rediss_sentinel": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "unix": (_REDIS, "praisonai_persistence_redis:RedisKnowledgeStore"),
        "pgvector": (_PGVECTOR, "praisonai_persistence_pgvector:PgvectorKnowledgeStore"),
        "async_pgvector": (_PGVECTOR, "praisonai_persistence_pgvector:AsyncPgvectorKnowledgeStore"),
        "asyncpg": (_PGVECTOR, "praisonai_persistence_pgvector:AsyncPgvectorKnowledgeStore"),
        "postgres": (_PGVECTOR, "praisonai_persistence_pgvector:PgvectorKnowledgeStore"),
        "postgresql": (_PGVECTOR, "praisonai_persistence_pgvector:PgvectorKnowledgeStore"),
    },
    "state": {
        "sqlite": (_SQLITE, "praisonai_persistence_sqlite:SQLiteStateStore"),
        "async_sqlite": (_SQLITE, "praisonai_persistence_sqlite:AsyncSQLiteStateStore"),
        "mysql": (_MYSQL, "praisonai_persistence_mysql:MySQLStateStore"),
        "async_mysql": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLStateStore"),
        "mariadb": (_MYSQL, "praisonai_persistence_mysql:MySQLStateStore"),
        "aiomysql": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLStateStore"),
        "mysql_async": (_MYSQL, "praisonai_persistence_mysql:AsyncMySQLStateStore"),
        "postgres": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "async_postgres": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresStateStore"),
        "cockroach": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "cockroachdb": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "crdb": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "neon": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "postgresql": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "xata": (_POSTGRES, "praisonai_persistence_postgres:PostgresStateStore"),
        "asyncpg": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresStateStore"),
        "postgres_async": (_POSTGRES, "praisonai_persistence_postgres:AsyncPostgresStateStore"),
        "redis": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "async_redis": (_REDIS, "praisonai_persistence_redis:AsyncRedisStateStore"),
        "redis_async": (_REDIS, "praisonai_persistence_redis:AsyncRedisStateStore"),
        "redis_cluster": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "redis_sentinel": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "rediss": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "rediss_cluster": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "rediss_sentinel": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "unix": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "valkey": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
        "valkeys": (_REDIS, "praisonai_persistence_redis:RedisStateStore"),
    },
}
