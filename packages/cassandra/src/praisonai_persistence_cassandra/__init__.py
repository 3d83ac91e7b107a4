"""Conversations, knowledge and state in Apache Cassandra."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    DocumentStateSteps,
    StepConversationStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_cassandra._driver import CassandraDriver, DocumentDriver
from praisonai_persistence_cassandra._options import CassandraDocumentOptions, CassandraOptions
from praisonai_persistence_cassandra.conversations import CassandraConversationSteps
from praisonai_persistence_cassandra.engine import CassandraEngine
from praisonai_persistence_cassandra.knowledge import CassandraSteps

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Driver

__all__ = [
    "AsyncCassandraConversationStore",
    "AsyncCassandraKnowledgeStore",
    "AsyncCassandraStateStore",
    "CassandraConversationStore",
    "CassandraDocumentOptions",
    "CassandraKnowledgeStore",
    "CassandraOptions",
    "CassandraStateStore",
]


class _KnowledgeStore(OptionsStore):
    options_class = CassandraOptions
    backend: ClassVar[str] = "cassandra"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 8 * 1024 * 1024

    def _make(self, options: CassandraOptions) -> tuple[CassandraSteps, CassandraDriver]:
        return CassandraSteps(options), CassandraDriver(options)


class CassandraKnowledgeStore(_KnowledgeStore, StepKnowledgeStore):
    """Knowledge in Cassandra."""


class AsyncCassandraKnowledgeStore(_KnowledgeStore, AsyncStepKnowledgeStore):
    """Knowledge in Cassandra, for async callers: by the same client, on threads."""

    _asynchronous = True


class _DocumentStore(OptionsStore):
    options_class = CassandraDocumentOptions
    backend: ClassVar[str] = "cassandra"

    def _parts(self, options: CassandraDocumentOptions, kind: str) -> tuple[CassandraEngine, str, Driver]:
        table, space = f"praisonai_{kind}", f"{options.table_prefix}{kind}"
        engine = CassandraEngine(f'"{options.keyspace}".{table}', space, options.timeout)
        return engine, space, DocumentDriver(options, table)


class _ConversationStore(_DocumentStore):
    capabilities: frozenset[str] = frozenset(
        {"atomic_batch", "durable", "fork", "prefix", "rewrite", "search", "shared"}
    )

    def _make(self, options: CassandraDocumentOptions) -> tuple[CassandraConversationSteps, Driver]:
        engine, space, driver = self._parts(options, "conversation")
        engine.max_atomic = engine.max_batch
        return CassandraConversationSteps(engine, space), driver


class CassandraConversationStore(_ConversationStore, StepConversationStore):
    """Conversations in Cassandra."""


class AsyncCassandraConversationStore(_ConversationStore, AsyncStepConversationStore):
    """Conversations in Cassandra, for async callers: by the same client, on threads."""

    _asynchronous = True


class _StateStore(_DocumentStore):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: CassandraDocumentOptions) -> tuple[DocumentStateSteps, Driver]:
        engine, space, driver = self._parts(options, "state")
        return DocumentStateSteps(engine, space), driver


class CassandraStateStore(_StateStore, StepStateStore):
    """State in Cassandra."""


class AsyncCassandraStateStore(_StateStore, AsyncStepStateStore):
    """State in Cassandra, for async callers: by the same client, on threads."""

    _asynchronous = True
