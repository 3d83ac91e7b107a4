"""Conversations and knowledge in SingleStore."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepConversationStore, StepKnowledgeStore
from praisonai_persistence_mysqlcore import MySQLStore
from praisonai_persistence_mysqlcore.on_aiomysql import AsyncMySQLPool
from praisonai_persistence_mysqlcore.on_pymysql import MySQLPool
from praisonai_persistence_singlestore._client import AsyncSingleStorePool, SingleStorePool
from praisonai_persistence_singlestore.conversation import SingleStoreConversationSteps
from praisonai_persistence_singlestore.knowledge import EXACT, SingleStoreVectorSteps, VectorOptions
from praisonai_persistence_sql import (
    CONVERSATION_CAPABILITIES,
    AsyncConversationSchema,
    AsyncSchema,
    AsyncSQLConversationStore,
    ConversationSchema,
    Schema,
)

__all__ = [
    "AsyncSingleStoreConversationStore",
    "AsyncSingleStoreVectorKnowledgeStore",
    "SingleStoreConversationStore",
    "SingleStoreVectorKnowledgeStore",
]

_INDEXES = ("auto", "flat", "ivf_flat", "ivf_pq", "ivf_pqfs", "hnsw_flat", "hnsw_pq")


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


class _Vector(_Store):
    """What both knowledge stores are given, beside what all stores on such a server are (see ``MySQLStore``).

    Args:
        url: ``singlestore://user:password@host:3306/database``.
        index: type of the vector index that new collections get: ``none``, ``auto``, ``flat``, ``ivf_flat``,
            ``ivf_pq``, ``ivf_pqfs``, ``hnsw_flat``, ``hnsw_pq``.
        index_from: documents from which on a search without filters uses the index; fewer are all compared.
        **connection: where the server is, and how to talk to it.

    Raises:
        ConfigurationError: an option that cannot be, or no database named.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    backend: ClassVar[str] = "singlestore_vector"
    capabilities: ClassVar[frozenset[str]] = frozenset({"atomic_batch", "durable", "prefix", "schema", "shared"})

    def __init__(
        self, url: str | None = None, *, index: str = "none", index_from: int = 10 * EXACT, **connection: Any
    ) -> None:
        if index not in {"none", *_INDEXES}:
            raise ConfigurationError(f"index must be one of none, {', '.join(_INDEXES)}")
        least: Any = index_from
        if not isinstance(least, int) or isinstance(least, bool) or least <= EXACT:
            raise ConfigurationError(f"index_from must be a whole number above {EXACT}")
        options = VectorOptions(None if index == "none" else index, index_from)
        self._make_steps = partial(SingleStoreVectorSteps, options=options)  # type: ignore[assignment, misc]
        super().__init__(url, **connection)


class SingleStoreVectorKnowledgeStore(_Vector, Schema, StepKnowledgeStore):
    """Knowledge in SingleStore, on the vendor's client."""


class AsyncSingleStoreVectorKnowledgeStore(_Vector, AsyncSchema, AsyncStepKnowledgeStore):
    """Knowledge in SingleStore, on aiomysql."""

    _async = True
