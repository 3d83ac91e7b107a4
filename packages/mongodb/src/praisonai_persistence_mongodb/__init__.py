"""State, conversations and knowledge of AI agents in MongoDB."""

from __future__ import annotations

from typing import Any, ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    StepConversationStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_mongodb._driver import MongoDriver, MongoOptions, MongoVectorOptions
from praisonai_persistence_mongodb._engine import MongoEngine
from praisonai_persistence_mongodb.conversation import MongoConversationSteps
from praisonai_persistence_mongodb.knowledge import MongoVectorSteps
from praisonai_persistence_mongodb.state import MongoStateSteps

__all__ = [
    "AsyncMongoDBConversationStore",
    "AsyncMongoDBStateStore",
    "AsyncMongoDBVectorKnowledgeStore",
    "MongoDBConversationStore",
    "MongoDBStateStore",
    "MongoDBVectorKnowledgeStore",
    "MongoOptions",
    "MongoVectorOptions",
]

_EXPIRY = {"keys": [("_expires", 1)], "name": "expiry", "expireAfterSeconds": 60}
"""The server deletes a minute late: readers go by their own clocks, which may be behind."""

_USERS = {"keys": [("user_id", 1)], "name": "users"}


class _Store(OptionsStore):
    options_class = MongoOptions
    backend: ClassVar[str] = "mongodb"
    _collection: ClassVar[str]
    _indexes: ClassVar[list[dict[str, Any]]]

    def _driver(self, options: MongoOptions, engine: MongoEngine | None = None) -> MongoDriver:
        name = options.table_prefix + (options.collection or self._collection)
        return MongoDriver(options, name, self._indexes, asynchronous=self._asynchronous, engine=engine)


class _StateStore(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    _collection = "state"
    _indexes: ClassVar[list[dict[str, Any]]] = [_EXPIRY]

    def _make(self, options: MongoOptions) -> tuple[MongoStateSteps, MongoDriver]:
        return MongoStateSteps(), self._driver(options)


class MongoDBStateStore(_StateStore, StepStateStore):
    """State in MongoDB."""


class AsyncMongoDBStateStore(_StateStore, AsyncStepStateStore):
    """State in MongoDB, for async callers, by PyMongo's async client."""

    _asynchronous = True


class _ConversationStore(_Store):
    capabilities: frozenset[str] = frozenset(
        {"atomic_batch", "durable", "fork", "prefix", "rewrite", "search", "shared"}
    )
    _collection = "conversations"
    _indexes: ClassVar[list[dict[str, Any]]] = [_USERS]

    def _make(self, options: MongoOptions) -> tuple[MongoConversationSteps, MongoDriver]:
        steps = MongoConversationSteps()
        return steps, self._driver(options, steps.engine)


class MongoDBConversationStore(_ConversationStore, StepConversationStore):
    """Conversations in MongoDB."""


class AsyncMongoDBConversationStore(_ConversationStore, AsyncStepConversationStore):
    """Conversations in MongoDB, for async callers, by PyMongo's async client."""

    _asynchronous = True


class _KnowledgeStore(_Store):
    options_class = MongoVectorOptions
    backend: ClassVar[str] = "mongodb_vector"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 12_000_000
    _collection = "vectors"
    _indexes: ClassVar[list[dict[str, Any]]] = [{"keys": [("documents", 1)], "name": "documents"}]

    def _make(self, options: MongoVectorOptions) -> tuple[MongoVectorSteps, MongoDriver]:
        return MongoVectorSteps(options), self._driver(options)


class MongoDBVectorKnowledgeStore(_KnowledgeStore, StepKnowledgeStore):
    """Knowledge in MongoDB: by a vector search index on Atlas, else by comparing every vector."""


class AsyncMongoDBVectorKnowledgeStore(_KnowledgeStore, AsyncStepKnowledgeStore):
    """Knowledge in MongoDB, for async callers, by PyMongo's async client."""

    _asynchronous = True
