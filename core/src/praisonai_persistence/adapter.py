"""The adapter that an agent is given: ``db(...)``.

    from praisonai_persistence import db

    store = db(database_url="sqlite:///agent.db")
    agent = Agent(name="Assistant", memory=MemoryConfig(db=store, backend="in_memory", session_id="s"))

[Db][] has the sync methods of PraisonAI's ``DbAdapter`` protocol, and each of them awaited with an ``a`` in front,
which its agents prefer where they are async. [AsyncDb][], made by ``db.aio(...)``, is the ``AsyncDbAdapter``: the same
methods, awaited, on async stores.

Messages are in a conversation store; runs and traces in a state store: that of ``state_url``, or else one in the
database of the conversations, if its backend has any.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar, cast

from praisonai_persistence._arguments import parameters
from praisonai_persistence._closing import AsyncClosing, EitherClosing
from praisonai_persistence._file_memory import FileMemoryWarning, noticing, noticing_async
from praisonai_persistence._hooks import Hooks
from praisonai_persistence._sources import (
    Given,
    Source,
    Stores,
    answer_later,
    answer_now,
    close_later,
    close_now,
    default_path,
    later,
    now,
    source_of,
    without_variant,
)
from praisonai_persistence.bridge import Threads
from praisonai_persistence.runs import DbMessage, DbRun, DbSpan, DbToolCall, DbTrace
from praisonai_persistence.steps import run, run_async
from praisonai_persistence.urls import mask, url_text

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Literal

    from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
    from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
    from praisonai_persistence.state import AsyncStateStore, StateStore
    from praisonai_persistence.steps import Steps

__all__ = [
    "AsyncDb",
    "Db",
    "DbMessage",
    "DbRun",
    "DbSpan",
    "DbToolCall",
    "DbTrace",
    "FileMemoryWarning",
    "db",
    "default_path",
]

T = TypeVar("T")


def _text(url: Any) -> str | None:
    return None if url is None else url_text(url)


class _Adapter:
    """What both adapters have."""

    _mode: Literal["sync", "async"]

    def __init__(
        self,
        database_url: str | os.PathLike[str] | None = None,
        state_url: str | os.PathLike[str] | None = None,
        knowledge_url: str | os.PathLike[str] | None = None,
        *,
        conversation_options: Mapping[str, Any] | None = None,
        state_options: Mapping[str, Any] | None = None,
        knowledge_options: Mapping[str, Any] | None = None,
        database_backend: str | None = None,
        state_backend: str | None = None,
        knowledge_backend: str | None = None,
        conversation_store: ConversationStore | AsyncConversationStore | None = None,
        state_store: StateStore | AsyncStateStore | None = None,
        knowledge_store: KnowledgeStore | AsyncKnowledgeStore | None = None,
        history_limit: int | None = None,
        init_retry_cooldown: float = 30.0,
        **options: Any,
    ) -> None:
        database_url, state_url, knowledge_url = map(_text, (database_url, state_url, knowledge_url))
        self.database_url = database_url
        self.state_url = state_url
        self.knowledge_url = knowledge_url
        self._hooks = Hooks(history_limit)
        shared = Source("conversation", database_backend, database_url, {**options, **(conversation_options or {})})
        sources: dict[str, Source | Given | None] = {
            "conversation": source_of(shared, conversation_store),
            "knowledge": source_of(
                Source("knowledge", knowledge_backend, knowledge_url, knowledge_options or {}), knowledge_store
            ),
            "state": source_of(Source("state", state_backend, state_url, state_options or {}), state_store),
        }
        if sources["conversation"] is None:
            sources["conversation"] = shared
        if sources["state"] is None and conversation_store is None:
            own = None if database_url is None else without_variant(database_url)
            sources["state"] = Source(
                "state", database_backend, own, {**options, **(state_options or {})}, optional=True
            )
        present = {kind: source for kind, source in sources.items() if source is not None}
        for source in present.values():
            source.check(self._mode, parameters(_Adapter.__init__))
        self._stores = Stores(self._mode, present, init_retry_cooldown)

    def flush_pending_writes(self, timeout: float | None = 5.0) -> None:
        """Return at once: a write is stored when its call returns, so that none is ever pending. For PraisonAI.

        Args:
            timeout: not used.
        """

    def __repr__(self) -> str:
        given = {
            "database_url": self.database_url,
            "state_url": self.state_url,
            "knowledge_url": self.knowledge_url,
        }
        shown = ", ".join(f"{name}={mask(url)!r}" for name, url in given.items() if url is not None)
        return f"{type(self).__name__}({shown})"


class Db(_Adapter, EitherClosing):
    """The adapter for agents: sync, and awaited with an ``a`` in front of the name. Safe to share between threads.

    The awaited methods run the sync ones on threads.

    Every method may raise ``ConnectionFailedError``. A server that cannot be reached is tried again later, after a time
    that doubles from half a second to ``init_retry_cooldown``; until then calls fail at once.

    Args:
        database_url: of the conversations, or the ``Path`` of a SQLite file; None: SQLite in the folder of the user's
            data (see [default_path][]).
        state_url: of runs and traces; None: those of ``database_url`` are in its own database.
        knowledge_url: of knowledge, or None for none.
        conversation_options: for the backend of the conversations only.
        state_options: for the backend of the state only.
        knowledge_options: for the backend of the knowledge only.
        database_backend: a backend's name where the URL does not say it.
        state_backend: likewise.
        knowledge_backend: likewise.
        conversation_store: a store, sync or async, instead of a URL; it is not closed here.
        state_store: likewise.
        knowledge_store: likewise.
        history_limit: how many of the latest messages ``on_agent_start`` returns; None: all.
        init_retry_cooldown: seconds.
        **options: for the backend of the conversations, and for that of the state if it is in the same database.

    Raises:
        ConfigurationError: a store and a URL of one kind, a backend and a URL of another one, or options that a backend
            does not take.
    """

    _mode = "sync"

    @property
    def _threads(self) -> Threads:
        # One for all callers, also when several are the first at the same time.
        threads: Threads = self.__dict__.get("_own_threads") or self.__dict__.setdefault("_own_threads", Threads())
        return threads

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, functools.partial(answer_now, self._stores))

    async def _arun(self, steps: Steps[T]) -> T:
        return await self._threads.run(self._run, steps)

    @property
    def conversation(self) -> ConversationStore:
        """The store of the conversations."""
        return cast("ConversationStore", self._stores.get("conversation"))

    @property
    def knowledge(self) -> KnowledgeStore | None:
        """The store of knowledge, or None."""
        return cast("KnowledgeStore | None", self._stores.get("knowledge"))

    @property
    def state(self) -> StateStore | None:
        """The state store, or None."""
        return cast("StateStore | None", self._stores.get("state"))

    on_agent_start = noticing(now(Hooks.on_agent_start))
    aon_agent_start = noticing_async(later(Hooks.on_agent_start))
    on_user_message = now(Hooks.on_user_message)
    aon_user_message = later(Hooks.on_user_message)
    on_agent_message = now(Hooks.on_agent_message)
    aon_agent_message = later(Hooks.on_agent_message)
    on_assistant_message = now(Hooks.on_assistant_message)
    aon_assistant_message = later(Hooks.on_assistant_message)
    on_tool_message = now(Hooks.on_tool_message)
    aon_tool_message = later(Hooks.on_tool_message)
    on_tool_call = now(Hooks.on_tool_call)
    aon_tool_call = later(Hooks.aon_tool_call)
    on_agent_end = now(Hooks.on_agent_end)
    aon_agent_end = later(Hooks.on_agent_end)
    on_run_start = now(Hooks.on_run_start)
    aon_run_start = later(Hooks.on_run_start)
    on_run_end = now(Hooks.on_run_end)
    aon_run_end = later(Hooks.on_run_end)
    get_runs = now(Hooks.get_runs)
    aget_runs = later(Hooks.get_runs)
    on_trace_start = now(Hooks.on_trace_start)
    aon_trace_start = later(Hooks.on_trace_start)
    on_trace_end = now(Hooks.on_trace_end)
    aon_trace_end = later(Hooks.on_trace_end)
    on_span_start = now(Hooks.on_span_start)
    aon_span_start = later(Hooks.on_span_start)
    on_span_end = now(Hooks.on_span_end)
    aon_span_end = later(Hooks.on_span_end)
    get_traces = now(Hooks.get_traces)
    aget_traces = later(Hooks.get_traces)
    export_session = now(Hooks.export_session)
    aexport_session = later(Hooks.export_session)
    import_session = now(Hooks.import_session)
    aimport_session = later(Hooks.import_session)
    get_schema_version = now(Hooks.get_schema_version)
    check_schema_compatibility = now(Hooks.check_schema_compatibility)
    migrate_schema = now(Hooks.migrate_schema)

    def close(self) -> None:
        """Close the stores that were opened here. Calling it again is harmless; other calls after it raise."""
        close_now(self._stores)

    async def aclose(self) -> None:
        """[close][Db.close], awaited; it also ends the threads."""
        try:
            if not self._stores.closed:
                await self._threads.run(self.close)
        finally:
            await self._threads.close()


class AsyncDb(_Adapter, AsyncClosing):
    """The adapter for async programs: every method is awaited, under its name and with an ``a`` in front of it.

    Arguments as for [Db][]. An agent of today's PraisonAI stores messages through sync methods also where it is async
    itself: give it a [Db][].
    """

    _mode = "async"

    async def _arun(self, steps: Steps[T]) -> T:
        return await run_async(steps, functools.partial(answer_later, self._stores))

    @property
    def conversation(self) -> AsyncConversationStore:
        """The store of the conversations."""
        return cast("AsyncConversationStore", self._stores.get("conversation"))

    @property
    def knowledge(self) -> AsyncKnowledgeStore | None:
        """The store of knowledge, or None."""
        return cast("AsyncKnowledgeStore | None", self._stores.get("knowledge"))

    @property
    def state(self) -> AsyncStateStore | None:
        """The state store, or None."""
        return cast("AsyncStateStore | None", self._stores.get("state"))

    on_agent_start = aon_agent_start = noticing_async(later(Hooks.on_agent_start))
    on_user_message = aon_user_message = later(Hooks.on_user_message)
    on_agent_message = aon_agent_message = later(Hooks.on_agent_message)
    on_assistant_message = aon_assistant_message = later(Hooks.on_assistant_message)
    on_tool_message = aon_tool_message = later(Hooks.on_tool_message)
    on_tool_call = later(Hooks.on_tool_call)
    aon_tool_call = later(Hooks.aon_tool_call)
    on_agent_end = aon_agent_end = later(Hooks.on_agent_end)
    on_run_start = aon_run_start = later(Hooks.on_run_start)
    on_run_end = aon_run_end = later(Hooks.on_run_end)
    get_runs = aget_runs = later(Hooks.get_runs)
    on_trace_start = aon_trace_start = later(Hooks.on_trace_start)
    on_trace_end = aon_trace_end = later(Hooks.on_trace_end)
    on_span_start = aon_span_start = later(Hooks.on_span_start)
    on_span_end = aon_span_end = later(Hooks.on_span_end)
    get_traces = aget_traces = later(Hooks.get_traces)
    export_session = aexport_session = later(Hooks.export_session)
    import_session = aimport_session = later(Hooks.import_session)
    get_schema_version = later(Hooks.get_schema_version)
    check_schema_compatibility = later(Hooks.check_schema_compatibility)
    migrate_schema = later(Hooks.migrate_schema)

    async def close(self) -> None:
        """Close the stores that were opened here. Calling it again is harmless; other calls after it raise."""
        await close_later(self._stores)

    aclose = close


class _Make:
    """``db(...)`` makes a [Db][], ``db.aio(...)`` an [AsyncDb][]; arguments as there."""

    __slots__ = ()

    def __call__(
        self,
        database_url: str | os.PathLike[str] | None = None,
        state_url: str | os.PathLike[str] | None = None,
        knowledge_url: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> Db:
        return Db(database_url, state_url, knowledge_url, **options)

    def aio(
        self,
        database_url: str | os.PathLike[str] | None = None,
        state_url: str | os.PathLike[str] | None = None,
        knowledge_url: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> AsyncDb:
        """Return an adapter for async programs."""
        return AsyncDb(database_url, state_url, knowledge_url, **options)

    def __repr__(self) -> str:
        return "<db: db(database_url=...) makes an agent's adapter, db.aio(...) an async one>"


db = _Make()
