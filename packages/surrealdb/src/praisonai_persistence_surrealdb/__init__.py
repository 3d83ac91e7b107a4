"""Conversations, knowledge and state in SurrealDB: embedded in this process, or on a server."""

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
from praisonai_persistence_surrealdb._driver import (
    SurrealConversationOptions,
    SurrealDriver,
    SurrealOptions,
    SurrealStateOptions,
    SurrealVectorOptions,
)
from praisonai_persistence_surrealdb.conversation import SurrealConversationSteps
from praisonai_persistence_surrealdb.knowledge import SurrealVectorSteps
from praisonai_persistence_surrealdb.state import SurrealStateSteps

__all__ = [
    "AsyncSurrealDBConversationStore",
    "AsyncSurrealDBStateStore",
    "AsyncSurrealDBVectorKnowledgeStore",
    "SurrealConversationOptions",
    "SurrealDBConversationStore",
    "SurrealDBStateStore",
    "SurrealDBVectorKnowledgeStore",
    "SurrealOptions",
    "SurrealStateOptions",
    "SurrealVectorOptions",
]


_HTTP = 4_000_000
"""Bytes: by default a server takes requests of 4 MiB over HTTP, and of 128 MiB over WebSockets."""


class _Store(OptionsStore):
    options_class = SurrealOptions
    backend: ClassVar[str] = "surrealdb"
    capabilities: frozenset[str]
    steps_class: ClassVar[type[Any]]

    def _make(self, options: Any) -> tuple[Any, SurrealDriver]:
        if options.host is None:  # a folder is one process'
            self.capabilities -= {"shared"} if options.path != ":memory:" else {"durable", "shared"}
        elif options.transport.startswith("http"):
            self.max_message_bytes = self.max_value_bytes = self.max_document_bytes = _HTTP
        steps = self.steps_class(options)
        return steps, SurrealDriver(options, steps.schema)


class _Conversation(_Store):
    options_class = SurrealConversationOptions
    steps_class = SurrealConversationSteps
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "fork", "prefix", "rewrite", "shared"})


class SurrealDBConversationStore(_Conversation, StepConversationStore):
    """Conversations in SurrealDB."""


class AsyncSurrealDBConversationStore(_Conversation, AsyncStepConversationStore):
    """Conversations in SurrealDB, for async callers: operations run on threads."""

    _asynchronous = True


class _Vector(_Store):
    options_class = SurrealVectorOptions
    steps_class = SurrealVectorSteps
    backend: ClassVar[str] = "surrealdb_vector"
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "shared"})


class SurrealDBVectorKnowledgeStore(_Vector, StepKnowledgeStore):
    """Knowledge in SurrealDB."""


class AsyncSurrealDBVectorKnowledgeStore(_Vector, AsyncStepKnowledgeStore):
    """Knowledge in SurrealDB, for async callers: operations run on threads."""

    _asynchronous = True


class _State(_Store):
    options_class = SurrealStateOptions
    steps_class = SurrealStateSteps
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})


class SurrealDBStateStore(_State, StepStateStore):
    """State in SurrealDB."""


class AsyncSurrealDBStateStore(_State, AsyncStepStateStore):
    """State in SurrealDB, for async callers: operations run on threads."""

    _asynchronous = True
