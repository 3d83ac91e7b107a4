"""State in MySQL: the shared SQL."""

from __future__ import annotations

from praisonai_persistence_mysql._schema import STATE
from praisonai_persistence_mysqlcore.dialect import MySQL, MySQLMigrations
from praisonai_persistence_sql import SQLStateSteps
from praisonai_persistence_sql.schema import STATE_TABLES

__all__ = ["MySQLStateSteps"]


class MySQLStateSteps(SQLStateSteps):
    """State in MySQL.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        dialect = MySQL()
        super().__init__(dialect, prefix)
        self.migrations = MySQLMigrations(dialect, prefix, "state", STATE_TABLES, STATE)
