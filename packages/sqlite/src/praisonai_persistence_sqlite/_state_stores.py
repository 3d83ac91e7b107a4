"""The stores of state."""

from __future__ import annotations

from praisonai_persistence.stores import AsyncStepStateStore, StepStateStore
from praisonai_persistence_sql import AsyncSchema, Schema
from praisonai_persistence_sqlite._stores import AsyncChecked, Checked, Store
from praisonai_persistence_sqlite.state import SQLiteStateSteps

__all__ = ["AsyncSQLiteStateStore", "SQLiteStateStore"]


class _State(Store):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "schema", "shared"})
    _make_steps = SQLiteStateSteps


class SQLiteStateStore(_State, Checked, Schema, StepStateStore):
    """State in a SQLite file."""


class AsyncSQLiteStateStore(_State, AsyncChecked, AsyncSchema, AsyncStepStateStore):
    """State in a SQLite file, for async callers: operations run on threads."""

    _threads = True
