"""Conversations, state and knowledge in one SQLite file. Each kind is loaded on first use."""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from praisonai_persistence_sqlite._conversation_stores import AsyncSQLiteConversationStore, SQLiteConversationStore
    from praisonai_persistence_sqlite._knowledge_stores import AsyncSQLiteKnowledgeStore, SQLiteKnowledgeStore
    from praisonai_persistence_sqlite._state_stores import AsyncSQLiteStateStore, SQLiteStateStore

_HOMES = {
    "AsyncSQLiteConversationStore": "_conversation_stores",
    "AsyncSQLiteKnowledgeStore": "_knowledge_stores",
    "AsyncSQLiteStateStore": "_state_stores",
    "SQLiteConversationStore": "_conversation_stores",
    "SQLiteKnowledgeStore": "_knowledge_stores",
    "SQLiteStateStore": "_state_stores",
}

__all__ = [
    "AsyncSQLiteConversationStore",
    "AsyncSQLiteKnowledgeStore",
    "AsyncSQLiteStateStore",
    "SQLiteConversationStore",
    "SQLiteKnowledgeStore",
    "SQLiteStateStore",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)
