"""Conversations and state in Turso: on a libSQL server, or in a local file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepStateStore,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_sql import AsyncSQLConversationStore
from praisonai_persistence_turso._driver import TursoOptions, make_driver
from praisonai_persistence_turso.conversation import TursoConversationSteps
from praisonai_persistence_turso.state import TursoStateSteps

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Driver

__all__ = [
    "AsyncTursoConversationStore",
    "AsyncTursoStateStore",
    "TursoConversationStore",
    "TursoOptions",
    "TursoStateStore",
]


_ROW = 4_900_000
"""Bytes: a server takes rows of 5,000,000."""


class _Store(OptionsStore):
    options_class = TursoOptions
    backend: ClassVar[str] = "turso"

    def _make(self, options: TursoOptions) -> tuple[Any, Driver]:
        if options.path is None:
            self.max_message_bytes = self.max_value_bytes = _ROW
        steps = self._make_steps(options.table_prefix)
        steps.migrations.administered = False
        steps.migrations.adopt_on_connect(options.adopt_legacy)
        return steps, make_driver(options, steps.migrations, asynchronous=self._asynchronous)

    def _make_steps(self, prefix: str) -> Any:
        raise NotImplementedError


class _Conversation(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "fork", "prefix", "rewrite", "search", "shared"})

    def _make_steps(self, prefix: str) -> TursoConversationSteps:
        return TursoConversationSteps(prefix)


class TursoConversationStore(_Conversation, StepConversationStore):
    """Conversations in Turso."""


class AsyncTursoConversationStore(_Conversation, AsyncSQLConversationStore):
    """Conversations in Turso, for async callers: by an async client on a server, on threads in a file."""

    _asynchronous = True


class _State(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make_steps(self, prefix: str) -> TursoStateSteps:
        return TursoStateSteps(prefix)


class TursoStateStore(_State, StepStateStore):
    """State in Turso."""


class AsyncTursoStateStore(_State, AsyncStepStateStore):
    """State in Turso, for async callers: by an async client on a server, on threads in a file."""

    _asynchronous = True
