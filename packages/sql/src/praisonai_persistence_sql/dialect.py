"""What differs between SQL engines, as far as statements are shared at all.

Shared statements are written with ``?`` placeholders and ``{name}`` for tables; [Dialect.prepare][] turns them into the
driver's own. Where an engine deserves another statement, its package overrides the step instead.
"""

from __future__ import annotations

from itertools import count

from praisonai_persistence._declare import NamedTuple
from praisonai_persistence.payload import UPDATED_AT_STEP, check_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import ClassVar, Literal

    from praisonai_persistence_sql.requests import Patiently

__all__ = ["Dialect", "LegacySQL"]


class LegacySQL(NamedTuple):
    """How an engine reads the tables of PraisonAI itself, whose columns have other types there than ours.

    Attributes:
        text: a column, ``{}``, as text or bytes.
        key: an id as text or bytes that are equal only if the ids are the same.
        id: an id, to be compared with one of ours.
        session_row: what tells the rows of sessions apart, and orders them.
        message_row: the same of messages.
        order: what comes closest to the order in which messages of one moment were written.
    """

    text: str = "{}"
    key: str = "{}"
    id: str = "{}"
    session_row: str = "session_id"
    message_row: str = "id"
    order: str = "id"


class Dialect:
    """The common ground: SQLite's and PostgreSQL's syntax, ``?`` placeholders. Engines override what differs."""

    name: ClassVar[str] = "sql"
    paramstyle: ClassVar[Literal["qmark", "format", "numeric"]] = "qmark"
    types: ClassVar[dict[str, str]] = {
        "id": "TEXT",  # ids and keys: compared byte by byte, case and trailing spaces included
        "text": "TEXT",  # any length
        "real": "DOUBLE PRECISION",
        "int": "BIGINT",
        "blob": "BLOB",
        "row": "",  # a column of its own, with a comma behind it, for engines whose rows need a number
        "key": "PRIMARY KEY",  # UNIQUE where that number is the primary key
    }
    for_update: ClassVar[str] = " FOR UPDATE"
    """Behind a SELECT that must lock its rows until the transaction ends."""
    max_parameters: ClassVar[int] = 500
    """How many values an ``IN`` list is given at a time."""
    greatest: ClassVar[str] = "GREATEST"
    least: ClassVar[str] = "LEAST"
    """The functions that return one of their arguments."""
    legacy: LegacySQL = LegacySQL()

    def quote(self, identifier: str) -> str:
        """Return a validated identifier as SQL."""
        return f'"{identifier}"'

    def tables(self, prefix: str, names: Sequence[str]) -> dict[str, str]:
        """Return the quoted table of each name.

        Raises:
            InvalidIdentifierError: the prefix cannot be part of an identifier.
        """
        check_prefix(prefix)
        return {name: self.quote(prefix + name) for name in names}

    def prepare(self, sql: str, tables: dict[str, str]) -> str:
        """Return a shared statement in this engine's own words: tables, types and placeholders filled in."""
        sql = sql.format_map({**tables, **{f"t_{key}": value for key, value in self.types.items()}})
        if self.paramstyle == "format":
            return sql.replace("%", "%%").replace("?", "%s")
        if self.paramstyle == "numeric":
            numbers = count(1)
            return "".join(f"${next(numbers)}" if character == "?" else character for character in sql)
        return sql

    def insert_new(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """Return an INSERT that changes no row, rather than fails, where the key exists."""
        return f"{self._insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO NOTHING"

    def upsert(self, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """Return an INSERT that replaces the other columns where the key exists."""
        changes = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
        return f"{self._insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"

    def _insert(self, table: str, columns: Sequence[str]) -> str:
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"

    def next_updated_at(self, stored: str, now: str) -> str:
        """Return ``payload.next_updated_at`` as SQL.

        Args:
            stored: the column.
            now: the placeholder of the clock.
        """
        least, most, part = (f"{number:.16e}" for number in UPDATED_AT_STEP)
        step = f"{self.least}({self.greatest}({stored}, {least}), {most}) * {part}"
        return f"{self.greatest}({now}, {stored} + {step})"

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """Return a query, and its parameters, that has a row if this table exists."""
        raise NotImplementedError

    def find_columns(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """Return a query, and its parameters, for the names of a table's columns; no rows: no table."""
        raise NotImplementedError

    def rename(self, names: Mapping[str, str]) -> Sequence[str]:
        """Return statements that rename tables; keys and values are identifiers with their prefix."""
        return [f"ALTER TABLE {self.quote(old)} RENAME TO {self.quote(new)}" for old, new in names.items()]

    def create_numbered(self, table: str, index: str, select: str) -> Sequence[str]:
        """Return statements that make a table of a query's rows, which are found by the column ``n``, an integer."""
        return [f"CREATE TABLE {table} AS {select}", f"CREATE UNIQUE INDEX {index} ON {table} (n)"]

    def migration_lock(self, prefix: str) -> Sequence[str | Patiently]:
        """Return statements that make the rest of the transaction the only migration of this prefix.

        ``Patiently`` among them lets it take as long as it takes.

        None are needed where a write transaction is alone anyway.
        """
        return ()
