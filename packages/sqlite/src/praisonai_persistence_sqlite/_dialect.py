"""What is SQLite's own in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence_sql import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def find_table(self, prefix: str, name: str) -> tuple[str, Sequence[str]]:
        """See [Dialect.find_table][]."""
        return "SELECT 1 FROM sqlite_master WHERE name = ?", (prefix + name,)
