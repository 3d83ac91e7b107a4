"""The orchestrator: the three stores of an application behind one object, for programs that drive their agents.

Each operation is there sync and async: ``on_message(...)``, and ``await aon_message(...)``. On a given store,
``isinstance`` decides: an async store is awaited by the awaited methods and bridged by the others, a sync store runs on
threads for the awaited ones.
"""

from __future__ import annotations

import functools
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._arguments import named_arguments
from praisonai_persistence._closing import EitherClosing
from praisonai_persistence._hooks import Hooks
from praisonai_persistence._requests import Has, StoreCall, conversation, state
from praisonai_persistence._sources import (
    Source,
    Stores,
    answer_later,
    answer_now,
    close_later,
    close_now,
    later,
    now,
    source_of,
)
from praisonai_persistence.config import PersistenceConfig
from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.steps import run, run_async

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

    from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
    from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
    from praisonai_persistence.state import AsyncStateStore, StateStore
    from praisonai_persistence.steps import Steps

__all__ = ["PersistenceOrchestrator"]

T = TypeVar("T")


class _Operations(Hooks):
    """The operations, as steps."""

    def __init__(self, session_id: str | None, user_id: str | None) -> None:
        super().__init__()
        self._session_id = session_id
        self._user_id = user_id

    def agent_start(
        self, agent: Any, session_id: str | None = None, user_id: str | None = None, resume: bool = True
    ) -> Steps[list[ConversationMessage]]:
        """Create the session unless it exists; return its messages, oldest first, or none with ``resume=False``.

        Args:
            agent: its ``name`` or ``agent_id`` becomes the session's ``agent_id``.
            session_id: None: the configuration's; without one it is made up. It is in ``current_session_id`` then.
            user_id: whose session it is; None: the configuration's.
            resume: whether the messages are wanted.
        """
        self.current_session_id = session_id = session_id or self._session_id or str(uuid.uuid4())
        if not (yield Has("conversation")):
            return []
        name = getattr(agent, "name", None) or getattr(agent, "agent_id", None)
        metadata = {"agent_type": type(agent).__name__}
        yield from self._ensure(
            ConversationSession(session_id, user_id or self._user_id, agent_id=name, metadata=metadata)
        )
        if not resume:
            return []
        found: list[ConversationMessage] = yield conversation("get_messages", session_id)
        return found

    def message(
        self,
        session_id: str,
        role: str,
        content: str | list[Any] | None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[ConversationMessage | None]:
        """Append a message and return it as stored; None without a conversation store.

        With an id of your own the call can be repeated: it is stored once. A session that does not exist is created.
        """
        if not (yield Has("conversation")):
            return None
        message = ConversationMessage(
            session_id=session_id,
            role=role,
            content=content,
            tool_calls=tool_calls,
            tool_call_id=tool_call_id,
            metadata=metadata,
        )
        stored: list[ConversationMessage] = yield from self._append(
            session_id, [message if message_id is None else replace(message, id=message_id)]
        )
        return stored[0]

    def agent_end(self, agent: Any, session_id: str, metadata: dict[str, Any] | None = None) -> Steps[None]:
        """Write ``ended_at``, and ``metadata``, into the metadata of the session.

        Raises:
            SessionNotFoundError: no session of that id.
        """
        if (yield Has("conversation")):
            yield from self.on_agent_end(session_id, metadata)

    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        """Return the session, or None."""
        nothing: ConversationSession | None = None
        return (yield from self._optional(nothing, conversation("get_session", session_id)))

    def list_sessions(self, user_id: str | None = None, limit: int = 100) -> Steps[list[ConversationSession]]:
        """Return the sessions of a user, or of all, newest first."""
        return (yield from self._optional([], conversation("list_sessions", user_id, limit=limit)))

    def delete_session(self, session_id: str) -> Steps[bool]:
        """Remove a session with its messages; return whether it existed."""
        return (yield from self._optional(False, conversation("delete_session", session_id)))

    def get_messages(self, session_id: str, limit: int | None = None) -> Steps[list[ConversationMessage]]:
        """Return messages, oldest first; ``limit``: the latest ones."""
        return (yield from self._optional([], conversation("get_messages", session_id, limit)))

    def get_state(self, key: str) -> Steps[Any]:
        """Return a value, or None."""
        return (yield from self._optional(None, state("get", key)))

    def set_state(self, key: str, value: Any, ttl: float | None = None) -> Steps[None]:
        """Store a value, for ``ttl`` seconds.

        Raises:
            UnsupportedOperationError: there is no state store.
        """
        yield state("set", key, value, ttl)

    def delete_state(self, key: str) -> Steps[bool]:
        """Remove a key; return whether it existed."""
        return (yield from self._optional(False, state("delete", key)))

    def retrieve_knowledge(
        self,
        query_embedding: Sequence[float],
        collection: str = "default",
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
    ) -> Steps[list[KnowledgeDocument]]:
        """Return the documents nearest to an embedding, best first; none without a knowledge store."""
        search = StoreCall("knowledge", "search", (collection, query_embedding, limit, filters))
        return (yield from self._optional([], search))

    def add_knowledge(self, documents: Sequence[KnowledgeDocument], collection: str = "default") -> Steps[list[str]]:
        """Add or replace documents and return their ids.

        Raises:
            UnsupportedOperationError: there is no knowledge store.
            CollectionNotFoundError: no collection of that name.
        """
        ids: list[str] = yield StoreCall("knowledge", "upsert", (collection, documents))
        return ids

    def build_context(
        self,
        session_id: str,
        query_embedding: Sequence[float] | None = None,
        history_limit: int = 20,
        knowledge_limit: int = 5,
        knowledge_collection: str = "default",
    ) -> Steps[dict[str, Any]]:
        """Return ``history`` (objects with role and content) and ``knowledge`` (with content and metadata)."""
        history = yield from self.get_messages(session_id, history_limit)
        found: list[KnowledgeDocument] = []
        if query_embedding is not None:
            found = yield from self.retrieve_knowledge(query_embedding, knowledge_collection, knowledge_limit)
        return {
            "history": [{"role": message.role, "content": message.content} for message in history],
            "knowledge": [{"content": document.content, "metadata": document.metadata} for document in found],
        }

    current_session_id: str | None = None

    def _optional(self, otherwise: T, request: StoreCall) -> Steps[T]:
        """Make a call, if there is a store of that kind."""
        if not (yield Has(request.kind)):
            return otherwise
        found: T = yield request
        return found


@named_arguments
class PersistenceOrchestrator(EitherClosing):
    """The stores of an application. Safe to share between threads, and between the tasks of a loop.

    Args:
        conversation_store: a store, sync or async; it is not closed here.
        knowledge_store: likewise.
        state_store: likewise.
        config: URLs for the kinds for which no store is given; these are opened on first use, and closed here.

    Raises:
        ConfigurationError: a store of another kind than its argument's, a store and a URL of one kind, or options that
            a backend does not take.
    """

    def __init__(
        self,
        conversation_store: ConversationStore | AsyncConversationStore | None = None,
        knowledge_store: KnowledgeStore | AsyncKnowledgeStore | None = None,
        state_store: StateStore | AsyncStateStore | None = None,
        config: PersistenceConfig | None = None,
    ) -> None:
        named = config or PersistenceConfig()
        given = {"conversation": conversation_store, "knowledge": knowledge_store, "state": state_store}
        sources = {
            kind: source_of(
                Source(kind, getattr(named, f"{kind}_store"), getattr(named, f"{kind}_url"), named.options(kind)), store
            )
            for kind, store in given.items()
        }
        present = {kind: source for kind, source in sources.items() if source is not None}
        for source in present.values():
            source.check("sync")
        self._hooks = _Operations(named.session_id, named.user_id)
        self._stores = Stores("sync", present)
        self._async_stores = Stores("async", present)

    @classmethod
    def from_config(cls, config: PersistenceConfig) -> Self:
        """Return an orchestrator of the stores that a configuration names."""
        return cls(config=config)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return an orchestrator of the stores that the environment names; see ``PersistenceConfig.from_env``."""
        return cls(config=PersistenceConfig.from_env(environ))

    def _run(self, steps: Steps[T]) -> T:
        return run(steps, functools.partial(answer_now, self._stores))

    async def _arun(self, steps: Steps[T]) -> T:
        return await run_async(steps, functools.partial(answer_later, self._async_stores))

    def _store(self, kind: str) -> Any:
        given = self._stores.given(kind)
        return self._stores.get(kind) if given is None else given

    @property
    def conversation(self) -> ConversationStore | AsyncConversationStore | None:
        """The store of the conversations, or None: the one that was given, else a sync one, opened for this."""
        return self._store("conversation")  # type: ignore[no-any-return]

    @property
    def knowledge(self) -> KnowledgeStore | AsyncKnowledgeStore | None:
        """The store of knowledge, or None; see [conversation][PersistenceOrchestrator.conversation]."""
        return self._store("knowledge")  # type: ignore[no-any-return]

    @property
    def state(self) -> StateStore | AsyncStateStore | None:
        """The state store, or None; see [conversation][PersistenceOrchestrator.conversation]."""
        return self._store("state")  # type: ignore[no-any-return]

    @property
    def current_session_id(self) -> str | None:
        """The session that was started last, or None."""
        return self._hooks.current_session_id

    on_agent_start = now(_Operations.agent_start)
    aon_agent_start = later(_Operations.agent_start)
    on_message = now(_Operations.message)
    aon_message = later(_Operations.message)
    on_agent_end = now(_Operations.agent_end)
    aon_agent_end = later(_Operations.agent_end)
    get_session = now(_Operations.get_session)
    aget_session = later(_Operations.get_session)
    list_sessions = now(_Operations.list_sessions)
    alist_sessions = later(_Operations.list_sessions)
    delete_session = now(_Operations.delete_session)
    adelete_session = later(_Operations.delete_session)
    get_messages = now(_Operations.get_messages)
    aget_messages = later(_Operations.get_messages)
    get_state = now(_Operations.get_state)
    aget_state = later(_Operations.get_state)
    set_state = now(_Operations.set_state)
    aset_state = later(_Operations.set_state)
    delete_state = now(_Operations.delete_state)
    adelete_state = later(_Operations.delete_state)
    retrieve_knowledge = now(_Operations.retrieve_knowledge)
    aretrieve_knowledge = later(_Operations.retrieve_knowledge)
    add_knowledge = now(_Operations.add_knowledge)
    aadd_knowledge = later(_Operations.add_knowledge)
    build_context = now(_Operations.build_context)
    abuild_context = later(_Operations.build_context)

    def close(self) -> None:
        """Close what was opened here. Calling it again is harmless; other calls after it raise.

        Raises:
            UnsupportedOperationError: stores were opened by awaited methods: await [aclose][] instead.
        """
        if self._async_stores.opened:
            raise UnsupportedOperationError("stores were opened by awaited methods: await aclose() instead")
        close_now(self._async_stores)  # nothing is to be opened any more
        close_now(self._stores)

    async def aclose(self) -> None:
        """[close][PersistenceOrchestrator.close], awaited; for all that was opened."""
        try:
            await close_later(self._async_stores)
        finally:
            close_now(self._stores)
