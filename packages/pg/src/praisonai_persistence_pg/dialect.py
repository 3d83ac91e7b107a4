"""What is PostgreSQL's own in SQL."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, ClassVar, Literal

from praisonai_persistence.payload import check_identifier, check_prefix
from praisonai_persistence_sql import Dialect, LegacySQL, Patiently
from praisonai_persistence_sql.schema import INDEXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Postgres"]


class Postgres(Dialect):
    """PostgreSQL, and servers that speak its language.

    Args:
        schema: where the tables are; None: the first schema of the role's search path.
        cockroach: whether the server is CockroachDB: text is compared by its bytes there without a collation.
    """

    name: ClassVar[str] = "postgres"
    paramstyle: ClassVar[Literal["qmark", "format", "numeric"]] = "numeric"
    indexes: ClassVar[frozenset[str]] = INDEXES | {"search_by_word"}

    def __init__(self, schema: str | None = None, *, cockroach: bool = False) -> None:
        self.schema = None if schema is None else check_identifier(schema, "schema")
        self.cockroach = cockroach
        self.types = {  # type: ignore[misc]  # the class variable of the shared dialect
            **Dialect.types,
            "id": "TEXT" if cockroach else 'TEXT COLLATE "C"',
        }
        key = "{}::text" if cockroach else '{}::text COLLATE "C"'
        # Where a row lies is when it was written, as long as no row was deleted before.
        self.legacy = LegacySQL(text="{}::text", key=key, id=key, order="id" if cockroach else "ctid")

    def table(self, name: str) -> str:
        """Return the name of a table as SQL, with its schema."""
        return self.quote(name) if self.schema is None else f"{self.quote(self.schema)}.{self.quote(name)}"

    def tables(self, prefix: str, names: Sequence[str]) -> dict[str, str]:
        check_prefix(prefix)
        return {
            name: self.quote(prefix + name) if name in self.indexes else self.table(prefix + name) for name in names
        }

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        # Beside a table of the catalogue, because to_regclass alone goes on saying what this connection saw before it
        # waited for the migration lock: a session hears of others' new tables when it locks one itself.
        sql = "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 LIMIT 1"
        return sql, (self.table(prefix + name),)

    def find_columns(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        sql = (
            "SELECT attname::text FROM pg_attribute "
            "WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped"
        )
        return sql, (self.table(prefix + name),)

    def rename(self, names: Mapping[str, str]) -> Sequence[str]:
        return [f"ALTER TABLE {self.table(old)} RENAME TO {self.quote(new)}" for old, new in names.items()]

    def create_numbered(self, table: str, index: str, select: str) -> Sequence[str]:
        return [*super().create_numbered(table, index, select), f"ANALYZE {table}"]

    def migration_lock(self, prefix: str) -> Sequence[str | Patiently]:
        name = f"praisonai-persistence {self.schema or ''}.{prefix}"
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        # Waiting for another process, and changing large tables, takes as long as it takes.
        statements: list[str | Patiently] = [Patiently(), f"SELECT pg_advisory_xact_lock({key})"]
        if self.schema is not None and self.cockroach:
            statements.append(f"CREATE SCHEMA IF NOT EXISTS {self.quote(self.schema)}")
        elif self.schema is not None:
            # CREATE ... IF NOT EXISTS needs the right to create also where it does not. Stores with other prefixes do
            # not share the lock, and may create the schema at the same time.
            statements.append(
                f"DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '{self.schema}') THEN "
                f"CREATE SCHEMA {self.quote(self.schema)}; END IF; "
                "EXCEPTION WHEN duplicate_schema OR unique_violation THEN NULL; END $$"
            )
        return statements
