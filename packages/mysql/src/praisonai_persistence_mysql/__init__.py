"""Conversations and state in MySQL or MariaDB."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.stores import (
    AsyncStepStateStore,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_mysql.conversation import MySQLConversationSteps
from praisonai_persistence_mysql.state import MySQLStateSteps
from praisonai_persistence_mysqlcore.store import MySQLStore
from praisonai_persistence_sql import (
    CONVERSATION_CAPABILITIES,
    STATE_CAPABILITIES,
    AsyncConversationSchema,
    AsyncSchema,
    AsyncSQLConversationStore,
    ConversationSchema,
    Schema,
)

__all__ = [
    "AsyncMySQLConversationStore",
    "AsyncMySQLStateStore",
    "MySQLConversationStore",
    "MySQLStateStore",
]


class _Conversation(MySQLStore):
    backend: ClassVar[str] = "mysql"
    capabilities: ClassVar[frozenset[str]] = CONVERSATION_CAPABILITIES
    _make_steps = MySQLConversationSteps


class MySQLConversationStore(_Conversation, ConversationSchema, StepConversationStore):
    """Conversations in MySQL or MariaDB, on PyMySQL."""


class AsyncMySQLConversationStore(_Conversation, AsyncConversationSchema, AsyncSQLConversationStore):
    """Conversations in MySQL or MariaDB, on aiomysql."""

    _async = True


class _State(MySQLStore):
    backend: ClassVar[str] = "mysql"
    capabilities: ClassVar[frozenset[str]] = STATE_CAPABILITIES
    _make_steps = MySQLStateSteps


class MySQLStateStore(_State, Schema, StepStateStore):
    """State in MySQL or MariaDB, on PyMySQL."""


class AsyncMySQLStateStore(_State, AsyncSchema, AsyncStepStateStore):
    """State in MySQL or MariaDB, on aiomysql."""

    _async = True
