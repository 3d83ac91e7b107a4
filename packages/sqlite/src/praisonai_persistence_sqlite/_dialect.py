"""What is SQLite's own in SQL."""

from __future__ import annotations

from praisonai_persistence_sql import Dialect, LegacySQL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

__all__ = ["SQLite"]


class SQLite(Dialect):
    """SQLite: a write transaction is alone, so no row needs a lock."""

    name: ClassVar[str] = "sqlite"
    types: ClassVar[dict[str, str]] = {
        **Dialect.types,
        "real": "REAL",
        "int": "INTEGER",
        "row": "row_id INTEGER PRIMARY KEY,",  # rows of the full-text index go by it; VACUUM would renumber others
        "key": "UNIQUE",
    }
    for_update: ClassVar[str] = ""
    greatest: ClassVar[str] = "max"
    least: ClassVar[str] = "min"
    # A text column may hold anything there, also what is no UTF-8.
    legacy: LegacySQL = LegacySQL(
        text="CAST({} AS BLOB)", key="CAST({} AS BLOB)", session_row="rowid", message_row="rowid", order="rowid"
    )

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_table][]."""
        return "SELECT 1 FROM sqlite_master WHERE name = ?", (prefix + name,)

    def find_columns(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_columns][]."""
        return "SELECT name FROM pragma_table_info(?)", (prefix + name,)
