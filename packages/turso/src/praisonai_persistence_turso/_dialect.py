"""libSQL's SQL, as far as it differs from what all engines understand."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence_sql import Dialect, LegacySQL, Patiently

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LibSQL"]


class LibSQL(Dialect):
    """libSQL: SQLite's words. A write transaction is alone, so no row needs a lock."""

    name: ClassVar[str] = "turso"
    types: ClassVar[dict[str, str]] = {**Dialect.types, "real": "REAL", "int": "INTEGER"}
    for_update: ClassVar[str] = ""
    greatest: ClassVar[str] = "max"
    least: ClassVar[str] = "min"
    # A text column may hold anything, also what is no UTF-8.
    legacy: LegacySQL = LegacySQL(
        text="CAST({} AS BLOB)", key="CAST({} AS BLOB)", session_row="rowid", message_row="rowid", order="rowid"
    )

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_table][]."""
        return "SELECT 1 FROM sqlite_master WHERE name = ?", (prefix + name,)

    def find_columns(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_columns][]."""
        return "SELECT name FROM pragma_table_info(?)", (prefix + name,)

    def migration_lock(self, prefix: str) -> Sequence[str | Patiently]:
        """See [Dialect.migration_lock][]: a write transaction is alone, once it holds the lock."""
        return (Patiently(),)
