"""Conversations, knowledge and state in SurrealDB: embedded in this process, or on a server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

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

if TYPE_CHECKING:
    from praisonai_persistence.integrity import Integrity

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
_LIMIT = 30.0  # seconds


class _Store(OptionsStore):
    options_class = SurrealOptions
    backend: ClassVar[str] = "surrealdb"
    capabilities: frozenset[str]
    one_process = True
    steps_class: ClassVar[type[Any]]
    check_integrity: Any
    _folder: str | None = None
    _runner: Any

    def __init__(self, url: str | None = None, **options: Any) -> None:
        super().__init__(url, **options)
        if self._folder is not None:  # only there are files to look into
            self.check_integrity = partial(_check_later if self._asynchronous else _check, self._runner, self._folder)

    def _make(self, options: Any) -> tuple[Any, SurrealDriver]:
        if options.host is not None and options.transport.startswith("http"):
            self.max_message_bytes = self.max_value_bytes = self.max_document_bytes = _HTTP
        steps = self.steps_class(options)
        driver = SurrealDriver(options, steps.schema)
        self._folder = driver.path
        return steps, driver


def _check(runner: Any, folder: str, seconds: float = _LIMIT) -> Integrity:
    """Look through the files, for so many seconds at the most; nothing changes.

    Raises:
        ConnectionFailedError: they cannot be read.
        StoreClosedError: after ``close``.
    """
    runner.refuse_if_closed()
    from praisonai_persistence_surrealdb._logs import check_integrity

    return check_integrity(folder, seconds)


async def _check_later(runner: Any, folder: str, seconds: float = _LIMIT) -> Integrity:
    return await runner._offload(partial(_check, runner._runner, folder, seconds))  # type: ignore[no-any-return]


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
