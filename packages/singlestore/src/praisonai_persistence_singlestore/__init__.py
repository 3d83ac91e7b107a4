"""Conversations and knowledge in SingleStore."""

from __future__ import annotations

from typing import Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import StepConversationStore
from praisonai_persistence_mysqlcore import MySQLStore
from praisonai_persistence_mysqlcore.on_aiomysql import AsyncMySQLPool
from praisonai_persistence_mysqlcore.on_pymysql import MySQLPool
from praisonai_persistence_singlestore._client import AsyncSingleStorePool, SingleStorePool
from praisonai_persistence_singlestore.conversation import SingleStoreConversationSteps
from praisonai_persistence_sql import (
    CONVERSATION_CAPABILITIES,
    AsyncConversationSchema,
    AsyncSQLConversationStore,
    ConversationSchema,
)

__all__ = ["AsyncSingleStoreConversationStore", "SingleStoreConversationStore"]


class _Store(MySQLStore):
    _schemes: ClassVar[tuple[str, ...]] = ("singlestore", "mysql", "singlestoredb")
    _pool: ClassVar[type[MySQLPool]] = SingleStorePool
    _async_pool: ClassVar[type[AsyncMySQLPool]] = AsyncSingleStorePool

    def _check_settings(self, settings: Any) -> None:
        if settings.statement_timeout is not None:
            raise ConfigurationError("SingleStore limits statements by resource pools: leave statement_timeout out")


class _Conversation(_Store):
    backend: ClassVar[str] = "singlestore"
    capabilities: ClassVar[frozenset[str]] = CONVERSATION_CAPABILITIES
    _make_steps = SingleStoreConversationSteps


class SingleStoreConversationStore(_Conversation, ConversationSchema, StepConversationStore):
    """Conversations in SingleStore, on the vendor's client."""


class AsyncSingleStoreConversationStore(_Conversation, AsyncConversationSchema, AsyncSQLConversationStore):
    """Conversations in SingleStore, on aiomysql."""

    _async = True
