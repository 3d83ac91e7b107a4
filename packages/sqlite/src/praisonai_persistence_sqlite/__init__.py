"""Conversations, state and knowledge in one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    StepConversationStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_sql import AsyncConversationSchema, AsyncSchema, ConversationSchema, Schema
from praisonai_persistence_sqlite._location import locate
from praisonai_persistence_sqlite._runner import SQLiteRunner, SQLiteThreadRunner
from praisonai_persistence_sqlite.conversation import SQLiteConversationSteps
from praisonai_persistence_sqlite.knowledge import SQLiteKnowledgeSteps
from praisonai_persistence_sqlite.state import SQLiteStateSteps

if TYPE_CHECKING:
    import os


__all__ = [
    "AsyncSQLiteConversationStore",
    "AsyncSQLiteKnowledgeStore",
    "AsyncSQLiteStateStore",
    "SQLiteConversationStore",
    "SQLiteKnowledgeStore",
    "SQLiteStateStore",
]


class _Store:
    """What the six stores are given.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` for memory, or a path that ends in
            ``.db``; parameters ``synchronous`` and ``lock_timeout``.
        path: the file's path, or ``:memory:``, instead of a URL.
        table_prefix: separates stores in one file.
        synchronous: ``FULL``: what was acknowledged survives a power failure. ``NORMAL``: it survives the death of the
            process; a power failure may take the last commits.
        lock_timeout: seconds to wait for other processes' write transactions.
        adopt_legacy: whether the first call takes over tables of PraisonAI itself that stand where this store's are
            to be (see ``adopt_legacy()``); only of conversations.

    Raises:
        ConfigurationError: neither or both of url and path, or an option that cannot be.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    backend: ClassVar[str] = "sqlite"
    capabilities: frozenset[str]
    _make_steps: ClassVar[type[Any]]
    _threads: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        table_prefix: str = "praison_",
        synchronous: str = "FULL",
        lock_timeout: float = 60.0,
        adopt_legacy: bool = False,
    ) -> None:
        location = locate(url, path, synchronous, lock_timeout)
        if location.path is None:
            self.capabilities = type(self).capabilities - {"durable", "shared"}
        steps = self._make_steps(table_prefix)
        steps.migrations.adopt_on_connect(adopt_legacy)
        runner = SQLiteRunner(location, steps.migrations)
        super().__init__(steps, SQLiteThreadRunner(runner) if self._threads else runner)  # type: ignore[call-arg]


class _Conversation(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "fork", "prefix", "schema", "search", "shared"})
    _make_steps = SQLiteConversationSteps


class SQLiteConversationStore(_Conversation, ConversationSchema, StepConversationStore):
    """Conversations in a SQLite file."""


class AsyncSQLiteConversationStore(_Conversation, AsyncConversationSchema, AsyncStepConversationStore):
    """Conversations in a SQLite file, for async callers: operations run on threads."""

    _threads = True


class _State(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "schema", "shared"})
    _make_steps = SQLiteStateSteps


class SQLiteStateStore(_State, Schema, StepStateStore):
    """State in a SQLite file."""


class AsyncSQLiteStateStore(_State, AsyncSchema, AsyncStepStateStore):
    """State in a SQLite file, for async callers: operations run on threads."""

    _threads = True


class _Knowledge(_Store):
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "schema", "shared"})
    _make_steps = SQLiteKnowledgeSteps


class SQLiteKnowledgeStore(_Knowledge, Schema, StepKnowledgeStore):
    """Knowledge in a SQLite file."""


class AsyncSQLiteKnowledgeStore(_Knowledge, AsyncSchema, AsyncStepKnowledgeStore):
    """Knowledge in a SQLite file, for async callers: operations run on threads."""

    _threads = True
