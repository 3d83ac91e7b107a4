"""Conversations, knowledge and state in Turso: on a libSQL server, or in a local file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import OptionsStore, make_runner
from praisonai_persistence.errors import StoreClosedError
from praisonai_persistence.steps import is_write
from praisonai_persistence.stores import (
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    StepConversationStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_sql import (
    CONVERSATION_CAPABILITIES,
    STATE_CAPABILITIES,
    AsyncConversationSchema,
    AsyncSchema,
    AsyncSQLConversationStore,
    ConversationSchema,
    Schema,
)
from praisonai_persistence_turso._driver import TursoDriver, TursoOptions, make_driver
from praisonai_persistence_turso.conversation import TursoConversationSteps
from praisonai_persistence_turso.knowledge import TursoKnowledgeSteps
from praisonai_persistence_turso.state import TursoStateSteps

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Driver

__all__ = [
    "AsyncTursoConversationStore",
    "AsyncTursoKnowledgeStore",
    "AsyncTursoStateStore",
    "TursoConversationStore",
    "TursoKnowledgeStore",
    "TursoOptions",
    "TursoStateStore",
]


_ROW = 4_900_000
"""Bytes: a server takes rows of 5,000,000."""


class _Store(OptionsStore):
    options_class = TursoOptions
    backend: ClassVar[str] = "turso"
    _driver: TursoDriver
    _ended = False

    def _make(self, options: TursoOptions) -> tuple[Any, Driver]:
        self._runners: set[Any] = set()  # of the operations on the tables themselves that are under way
        if options.path is None:
            self.max_message_bytes = self.max_value_bytes = self.max_document_bytes = _ROW
        steps = self._make_steps(options)
        steps.migrations.adopt_on_connect(options.adopt_legacy)
        self._driver = make_driver(options, steps.migrations, asynchronous=self._asynchronous)
        return steps, self._driver

    def _make_steps(self, options: TursoOptions) -> Any:
        raise NotImplementedError

    def _apart(self, operation: Any) -> Any:
        """Return a runner for an operation on the tables themselves: it does not look at them first."""
        runner = make_runner(self._driver.apart(write=is_write(operation)), asynchronous=self._asynchronous)
        self._runners.add(runner)
        if self._ended:  # looked at only now, so that ``close`` misses none
            self._runners.discard(runner)
            raise StoreClosedError("this store is closed")
        return runner

    def _moved(self, operation: Any) -> None:
        self._driver.moved = self._driver.moved or is_write(operation)


class _SyncStore(_Store):
    def _administer(self, operation: Any, *args: Any) -> Any:
        runner = self._apart(operation)
        try:
            return runner.run(operation, *args)
        finally:
            self._moved(operation)
            runner.close()
            self._runners.discard(runner)

    def close(self) -> None:
        self._ended = True
        try:
            for runner in list(self._runners):
                runner.close()  # which waits
        finally:
            super().close()  # type: ignore[misc]


class _AsyncStore(_Store):
    _asynchronous = True

    async def _administer(self, operation: Any, *args: Any) -> Any:
        runner = self._apart(operation)
        try:
            return await runner.run(operation, *args)
        finally:
            self._moved(operation)
            await runner.close()
            self._runners.discard(runner)

    async def close(self) -> None:
        self._ended = True
        try:
            for runner in list(self._runners):
                await runner.close()  # which waits
        finally:
            await super().close()  # type: ignore[misc]


class _Conversation(_Store):
    capabilities: frozenset[str] = CONVERSATION_CAPABILITIES

    def _make_steps(self, options: TursoOptions) -> TursoConversationSteps:
        return TursoConversationSteps(options.table_prefix, local=options.path is not None)


class TursoConversationStore(_Conversation, _SyncStore, ConversationSchema, StepConversationStore):
    """Conversations in Turso."""


class AsyncTursoConversationStore(_Conversation, _AsyncStore, AsyncConversationSchema, AsyncSQLConversationStore):
    """Conversations in Turso, for async callers: by an async client on a server, on threads in a file."""


class _Knowledge(_Store):
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "schema", "shared"})

    def _make_steps(self, options: TursoOptions) -> TursoKnowledgeSteps:
        return TursoKnowledgeSteps(options.table_prefix, _ROW if options.path is None else None)


class TursoKnowledgeStore(_Knowledge, _SyncStore, Schema, StepKnowledgeStore):
    """Knowledge in Turso."""


class AsyncTursoKnowledgeStore(_Knowledge, _AsyncStore, AsyncSchema, AsyncStepKnowledgeStore):
    """Knowledge in Turso, for async callers: by an async client on a server, on threads in a file."""


class _State(_Store):
    capabilities: frozenset[str] = STATE_CAPABILITIES

    def _make_steps(self, options: TursoOptions) -> TursoStateSteps:
        return TursoStateSteps(options.table_prefix)


class TursoStateStore(_State, _SyncStore, Schema, StepStateStore):
    """State in Turso."""


class AsyncTursoStateStore(_State, _AsyncStore, AsyncSchema, AsyncStepStateStore):
    """State in Turso, for async callers: by an async client on a server, on threads in a file."""
