"""The stores of conversations."""

from __future__ import annotations

from praisonai_persistence.stores import AsyncStepConversationStore, StepConversationStore
from praisonai_persistence_sql import AsyncConversationSchema, ConversationSchema
from praisonai_persistence_sqlite._stores import AsyncChecked, Checked, Store
from praisonai_persistence_sqlite.conversation import SQLiteConversationSteps

__all__ = ["AsyncSQLiteConversationStore", "SQLiteConversationStore"]


class _Conversation(Store):
    capabilities: frozenset[str] = frozenset({"durable", "fork", "prefix", "rewrite", "schema", "search", "shared"})
    _make_steps = SQLiteConversationSteps


class SQLiteConversationStore(_Conversation, Checked, ConversationSchema, StepConversationStore):
    """Conversations in a SQLite file."""


class AsyncSQLiteConversationStore(_Conversation, AsyncChecked, AsyncConversationSchema, AsyncStepConversationStore):
    """Conversations in a SQLite file, for async callers: operations run on threads."""

    _threads = True
