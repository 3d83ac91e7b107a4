"""Conversations and state in PostgreSQL, and in databases that speak its language."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.stores import (
    AsyncStepStateStore,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_pg import PostgresStore
from praisonai_persistence_postgres.conversation import PostgresConversationSteps
from praisonai_persistence_postgres.state import PostgresStateSteps
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
    "AsyncPostgresConversationStore",
    "AsyncPostgresStateStore",
    "PostgresConversationStore",
    "PostgresStateStore",
]


class _Conversation(PostgresStore):
    capabilities: ClassVar[frozenset[str]] = CONVERSATION_CAPABILITIES
    _make_steps = PostgresConversationSteps


class PostgresConversationStore(_Conversation, ConversationSchema, StepConversationStore):
    """Conversations in PostgreSQL, on psycopg."""


class AsyncPostgresConversationStore(_Conversation, AsyncConversationSchema, AsyncSQLConversationStore):
    """Conversations in PostgreSQL, on asyncpg."""

    _async = True


class _State(PostgresStore):
    capabilities: ClassVar[frozenset[str]] = STATE_CAPABILITIES
    _make_steps = PostgresStateSteps


class PostgresStateStore(_State, Schema, StepStateStore):
    """State in PostgreSQL, on psycopg."""


class AsyncPostgresStateStore(_State, AsyncSchema, AsyncStepStateStore):
    """State in PostgreSQL, on asyncpg."""

    _async = True
