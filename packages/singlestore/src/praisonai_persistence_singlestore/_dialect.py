"""What is SingleStore's own in SQL, and its tables.

Each table has a shard key, and each unique key contains it, so that the rows of a session, and of what its search
needs, lie on one partition. Sessions, which are locked and sorted, are a rowstore table; messages are a columnstore
one, sorted by session. There are no foreign keys.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, ClassVar, TypeVar

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_mysqlcore import MySQL
from praisonai_persistence_mysqlcore.dialect import LOCK_SECONDS, MySQLConversationMigrations
from praisonai_persistence_sql import Dialect, Execute, Fetch, Migration, Patiently, Undo
from praisonai_persistence_sql.schema import NO_SEARCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps

T = TypeVar("T")
_VERSION_COLUMNS = ("component", "version", "applied_at")
_LOOK = 0.2  # seconds between looks at whether a lock is free

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
    """Migrations where DDL commits on its own, tables are renamed one by one, and the server has no named locks.

    So each step can be repeated. A row of the version table is the lock: it names the connection that holds it, and one
    that has ended holds nothing. Another row tells which tables are being renamed, so that who comes after a crash goes
    on with it.
    """

    _LOCK, _RENAMING = "lock", "renaming "

    def _alone(self, steps: Steps[T]) -> Steps[T]:
        yield Patiently()
        made = not (yield self._find)
        yield from self._take_lock()
        try:
            yield from self._go_on_renaming()
            answer = yield from steps
        except Exception:
            yield Undo()
            yield Execute(self._unmark, (self._LOCK,))
            yield Execute("COMMIT")  # or the runner would roll it back with the rest
            if made and not (yield Fetch(self._sql("SELECT 1 FROM {schema} LIMIT 1"))):
                yield Execute(self._sql("DROP TABLE {schema}"))  # what was refused leaves nothing behind
            raise
        yield Execute(self._unmark, (self._LOCK,))
        return answer

    def _take_lock(self) -> Steps[None]:
        yield Execute(self._create)
        mine = (yield Fetch("SELECT CONNECTION_ID()"))[0][0]
        insert = self._dialect.insert_new(self._tables[self.TABLE], _VERSION_COLUMNS, _VERSION_COLUMNS[:1])
        drop = self._sql("DELETE FROM {schema} WHERE component = ? AND version = ?")
        end = time.monotonic() + LOCK_SECONDS
        while not (yield Execute(self._dialect.prepare(insert, {}), (self._LOCK, mine, time.time()))):
            if time.monotonic() > end:
                raise ConnectionFailedError(f"another process has been migrating the tables for {LOCK_SECONDS} seconds")
            for (holder,) in (yield Fetch(self._read, (self._LOCK,))):
                if holder != mine and (
                    yield Fetch("SELECT 1 FROM information_schema.processlist WHERE id = %s", (holder,))
                ):
                    yield Fetch(f"SELECT SLEEP({_LOOK})")
                else:
                    yield Execute(drop, (self._LOCK, holder))
            yield Execute("COMMIT")
        yield Execute("COMMIT")

    def _rename(self, names: Mapping[str, str]) -> Steps[None]:
        yield Execute(self._write, (self._RENAMING + json.dumps(names), 0, time.time()))
        yield from self._rename_each(names)
        yield Execute(self._unmark, (self._RENAMING + json.dumps(names),))

    def _go_on_renaming(self) -> Steps[None]:
        """Finish what a process that died has begun; where it had renamed nothing yet, leave that to the adoption."""
        marks = yield Fetch(self._sql("SELECT component FROM {schema} WHERE component LIKE ?"), (self._RENAMING + "%",))
        for (mark,) in marks:
            names = json.loads(mark[len(self._RENAMING) :])
            if not (yield from self._is_waiting(*next(iter(names.items())))):
                yield from self._rename_each(names)
            yield Execute(self._unmark, (mark,))

    def _rename_each(self, names: Mapping[str, str]) -> Steps[None]:
        for old, new in names.items():
            if (yield from self._is_waiting(old, new)):
                yield Execute(*self._dialect.rename({old: new}))

    def _is_waiting(self, old: str, new: str) -> Steps[bool]:
        made = yield Fetch(*self._dialect.find_table("", new))
        return not made and bool((yield Fetch(*self._dialect.find_table("", old))))


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
