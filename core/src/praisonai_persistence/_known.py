"""The backends of this project, so that an error can name the distribution that is missing.

Kind -> name or alias -> (distribution, object reference). Checked against the packages' own entry points.
"""

from __future__ import annotations

__all__ = ["KNOWN"]

_SQLITE = "praisonai-persistence-sqlite"
_JSON = "praisonai-persistence-json"
_MYSQL = "praisonai-persistence-mysql"
_POSTGRES = "praisonai-persistence-postgres"

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
    },
}
