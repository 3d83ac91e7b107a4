"""What is MySQL's and MariaDB's own in SQL, in the syntax that both take."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, ClassVar, TypeVar

from praisonai_persistence.errors import ConnectionFailedError, SchemaError
from praisonai_persistence_sql import (
    ConversationMigrations,
    Dialect,
    Execute,
    Fetch,
    LegacySQL,
    Migrations,
    Patiently,
)
from praisonai_persistence_sql.schema import NO_SEARCH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.schema import Adoption, LegacyTables
    from praisonai_persistence.steps import Steps

__all__ = ["LOCK_SECONDS", "MySQL", "MySQLConversationMigrations", "MySQLMigrations"]

_LOCK_SLICE = 1
LOCK_SECONDS = 3600
"""How long a migration waits for another one: a large adoption takes its time."""
T = TypeVar("T")


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
    # Rows lie in the order of their keys there; nobody knows when they were written.
    legacy: LegacySQL = LegacySQL(
        text="CONVERT({} USING utf8mb4)",
        key="CAST(CONVERT({} USING utf8mb4) AS BINARY)",
        id="CAST(CONVERT({} USING utf8mb4) AS BINARY)",
    )

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

    def find_columns(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_columns][]."""
        sql = "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
        return sql, (prefix + name,)

    def rename(self, names: Mapping[str, str]) -> Sequence[str]:
        """See [Dialect.rename][]; all at one moment."""
        return [f"RENAME TABLE {', '.join(f'{self.quote(old)} TO {self.quote(new)}' for old, new in names.items())}"]

    def create_numbered(self, table: str, index: str, select: str) -> Sequence[str]:
        """See [Dialect.create_numbered][]; other columns get the types, and collations, that they have there."""
        columns = "n BIGINT NOT NULL PRIMARY KEY, session_id VARBINARY(1024) NOT NULL"
        return [f"CREATE TABLE {table} ({columns}) ENGINE=InnoDB {select}"]


class MySQLMigrations(Migrations):
    """Migrations where every DDL statement commits on its own.

    So each step can be repeated after a crash in its middle (``IF NOT EXISTS``, indexes made with their table), and a
    named lock of the server, not a transaction, lets one process migrate at a time.
    """

    def _lock_name(self) -> str:
        return "praison:" + hashlib.sha256(self._tables[self.TABLE].encode()).hexdigest()[:40]

    def _alone(self, steps: Steps[T]) -> Steps[T]:
        # Names of locks are of the whole server, so the database is part of it: MD5 keeps it within 64 characters.
        name = "MD5(CONCAT(COALESCE(DATABASE(), ''), '/', %s))"
        yield Patiently()
        waited = 0
        # In slices, because the driver waits for an answer only so long.
        while (yield Fetch(f"SELECT GET_LOCK({name}, {_LOCK_SLICE})", (self._lock_name(),)))[0][0] != 1:
            waited += _LOCK_SLICE
            if waited >= LOCK_SECONDS:
                raise ConnectionFailedError(f"another process has been migrating the tables for {waited} seconds")
        # The lock is the session's, so it has to go whatever happens; when the session is lost, it is gone already.
        try:
            answer = yield from steps
        except Exception:
            yield Fetch(f"SELECT RELEASE_LOCK({name})", (self._lock_name(),))
            raise
        yield Fetch(f"SELECT RELEASE_LOCK({name})", (self._lock_name(),))
        return answer


class MySQLConversationMigrations(MySQLMigrations, ConversationMigrations):
    """Adoption where every DDL statement commits on its own.

    Tables that take the place of the old ones are made and filled under other names, and change places with them at one
    moment. Rows for tables that are in use already are one transaction, which leaves a mark in the version table: so
    who comes after a crash knows whether only the renaming is left to do.
    """

    _MADE = "adopting_"

    def _adopt(self, prefix: str | None) -> Steps[Adoption | None]:
        adoption = yield from super()._adopt(prefix)
        if adoption is None:
            yield from self._clear()  # of one that was killed when it was all but done
        return adoption

    def _take_over(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[tuple[int, int]]:
        yield from self._clear()
        return (yield from (self._replace if legacy.prefix == self._prefix else self._add)(legacy, kept))

    def _clear(self) -> Steps[None]:
        """Drop what an adoption works with, also one that was killed."""
        names = ("adopting", f"{self._MADE}sessions", f"{self._MADE}messages")
        for name, table in self._dialect.tables(self._prefix, names).items():
            if (yield Fetch(*self._dialect.find_table(self._prefix, name))):  # not every role may drop
                yield Execute(f"DROP TABLE {table}")

    def _replace(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[tuple[int, int]]:
        made = {self._prefix + name: f"{self._prefix}{self._MADE}{name}" for name in ("sessions", "messages")}
        of_made = self._dialect.tables(self._prefix, [f"{self._MADE}{name}" for name in ("sessions", "messages")])
        tables = {**self._tables, **{name.removeprefix(self._MADE): table for name, table in of_made.items()}}
        for sql in (*NO_SEARCH, *(sql for step in self._steps for sql in step.up)):
            yield Execute(self._dialect.prepare(sql, tables))
        copy = self._copy(legacy, legacy.prefix, made=self._MADE)
        yield from copy.order()
        copied = yield from copy.rows()
        yield from self._rename({**kept, **{new: old for old, new in made.items()}})
        # Nobody writes to them any more: did somebody, while they were read?
        left = yield from self._count(*kept.values())
        if left != (legacy.sessions, copied[1]):
            yield from self._rename({**made, **{new: old for old, new in kept.items()}})
            raise SchemaError(
                "the old tables changed while they were adopted: stop what writes to them, then run "
                "'praisonai-persistence migrate --adopt' again"
            )
        yield from self._clear()
        yield Execute(self._create)
        yield Execute(self._write, (self._component, self.latest, time.time()))
        return copied

    def _add(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[tuple[int, int]]:
        mark = _mark(legacy, kept)
        yield from self._make_tables(legacy)
        if (yield Fetch(self._read, (mark,))):
            copied = legacy.sessions + (yield from self._copy(legacy, legacy.prefix).count_orphans()), legacy.messages
        else:
            copy = self._copy(legacy, legacy.prefix)
            yield from copy.order()
            yield Execute("START TRANSACTION")
            copied = yield from copy.rows()
            yield Execute(self._write, (mark, 1, time.time()))
            yield Execute("COMMIT")
        yield from self._rename(kept)
        yield from self._clear()
        yield Execute(self._unmark, (mark,))
        return copied

    def _adopt_first(self) -> Steps[bool]:
        adopted = yield from super()._adopt_first()
        if not adopted:
            yield from self._clear()
        return adopted

    def _check_absent(self, legacy: LegacyTables, kept: Mapping[str, str]) -> Steps[None]:
        if not (yield Fetch(self._read, (_mark(legacy, kept),))):
            yield from super()._check_absent(legacy, kept)

    def _rename(self, names: Mapping[str, str]) -> Steps[None]:
        for sql in self._dialect.rename(names):
            yield Execute(sql)


def _mark(legacy: LegacyTables, kept: Mapping[str, str]) -> str:
    """Return what stands in the version table once the rows are copied and only the renaming is left to do."""
    return f"adopting {legacy.sessions}, {legacy.messages} as {', '.join(kept.values())}"
