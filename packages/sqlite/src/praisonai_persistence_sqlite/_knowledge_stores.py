"""The stores of knowledge."""

from __future__ import annotations

from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_sql import AsyncSchema, Schema
from praisonai_persistence_sqlite._stores import AsyncChecked, Checked, Store
from praisonai_persistence_sqlite.knowledge import SQLiteKnowledgeSteps

__all__ = ["AsyncSQLiteKnowledgeStore", "SQLiteKnowledgeStore"]


class _Knowledge(Store):
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "schema", "shared"})
    _make_steps = SQLiteKnowledgeSteps


class SQLiteKnowledgeStore(_Knowledge, Checked, Schema, StepKnowledgeStore):
    """Knowledge in a SQLite file."""


class AsyncSQLiteKnowledgeStore(_Knowledge, AsyncChecked, AsyncSchema, AsyncStepKnowledgeStore):
    """Knowledge in a SQLite file, for async callers: operations run on threads."""

    _threads = True
