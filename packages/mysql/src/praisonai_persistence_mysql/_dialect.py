"""What is MySQL's and MariaDB's own in SQL, in the syntax that both take."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.steps import Steps, writes
from praisonai_persistence_sql import Dialect, Fetch, Migration, Migrations

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CONVERSATION", "STATE", "MySQL", "MySQLMigrations"]

_LOCK_SECONDS = 60


class MySQL(Dialect):
    """MySQL 8, MariaDB 10.11 and later.

    Ids and keys are bytes: every character set compares some different texts as equal, and an index takes no more than
    3,072 bytes, too few for 1,024 characters of up to four bytes.
    """

    name: ClassVar[str] = "mysql"
    paramstyle = "format"
    types: ClassVar[dict[str, str]] = {
        "id": "VARBINARY(1024)",
        "text": "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "real": "DOUBLE",
        "int": "BIGINT",
        "blob": "LONGBLOB",
        "row": "",
        "key": "PRIMARY KEY",
    }
    max_parameters: ClassVar[int] = 2000

    def quote(self, identifier: str) -> str:
        """See [Dialect.quote][]."""
        return f"`{identifier}`"

    def insert_new(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """See [Dialect.insert_new][]; ``INSERT IGNORE`` would hide other errors too."""
        return f"{self._insert(table, columns)} ON DUPLICATE KEY UPDATE {key[0]} = VALUES({key[0]})"

    def upsert(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """See [Dialect.upsert][]."""
        changes = ", ".join(f"{column} = VALUES({column})" for column in columns if column not in key)
        return f"{self._insert(table, columns)} ON DUPLICATE KEY UPDATE {changes}"

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_table][]."""
        sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"
        return sql, (prefix + name,)


class MySQLMigrations(Migrations):
    """Migrations where every DDL statement commits on its own.

    So each step can be repeated after a crash in its middle (``IF NOT EXISTS``, indexes made with their table), and a
    named lock of the server, not a transaction, lets one process migrate at a time.
    """

    def _lock_name(self) -> str:
        return "praison:" + hashlib.sha256(self._tables[self.TABLE].encode()).hexdigest()[:40]

    @writes
    def up(self, target: int | None = None, *, dry_run: bool = False) -> Steps[list[str]]:
        """See [Migrations.up][]."""
        return (yield from self._alone(super().up(target, dry_run=dry_run)))

    @writes
    def down(self, target: int = 0, *, dry_run: bool = False) -> Steps[list[str]]:
        """See [Migrations.down][]."""
        return (yield from self._alone(super().down(target, dry_run=dry_run)))

    def _alone(self, steps: Steps[list[str]]) -> Steps[list[str]]:
        # Names of locks are of the whole server, so the database is part of it: MD5 keeps it within 64 characters.
        name = "MD5(CONCAT(COALESCE(DATABASE(), ''), '/', %s))"
        held = yield Fetch(f"SELECT GET_LOCK({name}, {_LOCK_SECONDS})", (self._lock_name(),))
        if held[0][0] != 1:
            raise ConnectionFailedError(f"another process has been migrating the tables for {_LOCK_SECONDS} seconds")
        # The lock is the session's, so it has to go whatever happens; when the session is lost, it is gone already.
        try:
            statements = yield from steps
        except Exception:
            yield Fetch(f"SELECT RELEASE_LOCK({name})", (self._lock_name(),))
            raise
        yield Fetch(f"SELECT RELEASE_LOCK({name})", (self._lock_name(),))
        return statements


CONVERSATION = (
    Migration(
        1,
        "sessions and messages",
        up=(
            """CREATE TABLE IF NOT EXISTS {sessions} (
                session_id {t_id} NOT NULL PRIMARY KEY,
                user_id {t_id},
                agent_id {t_id},
                name {t_text},
                state {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                updated_at {t_real} NOT NULL,
                version {t_int} NOT NULL,
                last_seq {t_int} NOT NULL,
                KEY {sessions_by_user} (user_id, updated_at DESC, session_id),
                KEY {sessions_by_time} (updated_at DESC, session_id)
            ) ENGINE=InnoDB""",
            """CREATE TABLE IF NOT EXISTS {messages} (
                session_id {t_id} NOT NULL,
                seq {t_int} NOT NULL,
                id {t_id} NOT NULL,
                role {t_text} NOT NULL,
                content {t_text},
                tool_calls {t_text},
                tool_call_id {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                PRIMARY KEY (session_id, seq),
                UNIQUE KEY {messages_by_id} (session_id, id)
            ) ENGINE=InnoDB""",
        ),
        down=("DROP TABLE IF EXISTS {messages}", "DROP TABLE IF EXISTS {sessions}"),
    ),
)

STATE = (
    Migration(
        1,
        "keys and fields",
        up=(
            """CREATE TABLE IF NOT EXISTS {state} (
                name {t_id} NOT NULL PRIMARY KEY, value {t_text}, ends_at {t_real}, KEY {state_by_end} (ends_at)
            ) ENGINE=InnoDB""",
            """CREATE TABLE IF NOT EXISTS {state_fields} (
                name {t_id} NOT NULL, field {t_id} NOT NULL, value {t_text} NOT NULL, PRIMARY KEY (name, field)
            ) ENGINE=InnoDB""",
        ),
        down=("DROP TABLE IF EXISTS {state_fields}", "DROP TABLE IF EXISTS {state}"),
    ),
)
