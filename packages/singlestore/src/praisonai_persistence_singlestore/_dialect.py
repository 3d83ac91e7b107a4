"""What is SingleStore's own in SQL, and its tables.

Each table has a shard key, and each unique key contains it, so that the rows of a session, and of what its search
needs, lie on one partition. Sessions, which are locked and sorted, are a rowstore table; messages are a columnstore
one, sorted by session. There are no foreign keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from praisonai_persistence_mysqlcore import MySQL
from praisonai_persistence_mysqlcore.dialect import MySQLConversationMigrations
from praisonai_persistence_sql import Dialect, Migration, Patiently
from praisonai_persistence_sql.schema import NO_SEARCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps

T = TypeVar("T")

__all__ = ["CONVERSATION", "SEARCH", "SingleStore", "SingleStoreMigrations"]


class SingleStore(MySQL):
    """SingleStore 8.5 and later."""

    name: ClassVar[str] = "singlestore"
    for_update: ClassVar[str] = ""
    """Reads take no locks there: what must be locked is updated first."""

    def insert_new(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """See [Dialect.insert_new][]; columns of a key cannot be assigned to, even their own value."""
        return self._insert(table, columns).replace("INSERT", "INSERT IGNORE", 1)

    def rename(self, names: Mapping[str, str]) -> Sequence[str]:
        """See [Dialect.rename][]; one after the other, and each commits."""
        return Dialect.rename(self, names)

    def create_numbered(self, table: str, index: str, select: str) -> Sequence[str]:
        """See [Dialect.create_numbered][]."""
        columns = "n BIGINT NOT NULL, session_id VARBINARY(1024) NOT NULL, SORT KEY (n), SHARD KEY (n)"
        return [f"CREATE TABLE {table} ({columns}) AS {select}"]


class SingleStoreMigrations(MySQLConversationMigrations):
    """Migrations where DDL commits on its own and the server has no named locks.

    So each step can be repeated, also by two processes at once (``IF NOT EXISTS``). Only one process may adopt.
    """

    def _alone(self, steps: Steps[T]) -> Steps[T]:
        yield Patiently()
        return (yield from steps)


CONVERSATION = (
    Migration(
        1,
        "sessions and messages",
        up=(
            """CREATE ROWSTORE TABLE IF NOT EXISTS {sessions} (
                session_id {t_id} NOT NULL,
                user_id {t_id},
                agent_id {t_id},
                name {t_text},
                state {t_text},
                metadata {t_text},
                created_at {t_real} NOT NULL,
                updated_at {t_real} NOT NULL,
                version {t_int} NOT NULL,
                last_seq {t_int} NOT NULL,
                PRIMARY KEY (session_id),
                SHARD KEY (session_id),
                KEY {sessions_by_user} (user_id, updated_at DESC, session_id),
                KEY {sessions_by_time} (updated_at DESC, session_id)
            )""",
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
                SORT KEY (session_id, seq),
                SHARD KEY (session_id),
                UNIQUE KEY (session_id, seq) USING HASH,
                UNIQUE KEY {messages_by_id} (session_id, id) USING HASH
            )""",
        ),
        down=(*NO_SEARCH, "DROP TABLE IF EXISTS {messages}", "DROP TABLE IF EXISTS {sessions}"),
        drops=("sessions",),
    ),
)

SEARCH = (
    """CREATE TABLE IF NOT EXISTS {search_words} (
        session_id {t_id} NOT NULL,
        seq {t_int} NOT NULL,
        part {t_int} NOT NULL,
        created_at {t_real} NOT NULL,
        words {t_text} NOT NULL,
        SORT KEY (session_id, seq),
        SHARD KEY (session_id),
        UNIQUE KEY (session_id, seq, part) USING HASH
    )""",
    """CREATE ROWSTORE TABLE IF NOT EXISTS {search_progress} (
        session_id {t_id} NOT NULL,
        up_to {t_int} NOT NULL,
        start {t_int} NOT NULL,
        part {t_int} NOT NULL,
        PRIMARY KEY (session_id),
        SHARD KEY (session_id)
    )""",
)
"""The tables of the search, which the first search makes."""
