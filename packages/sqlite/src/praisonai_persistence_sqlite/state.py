"""State in SQLite: the shared SQL as it is."""

from __future__ import annotations

from praisonai_persistence_sql import SQLStateSteps
from praisonai_persistence_sqlite._dialect import SQLite

__all__ = ["SQLiteStateSteps"]


class SQLiteStateSteps(SQLStateSteps):
    """State in SQLite.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__(SQLite(), prefix)
