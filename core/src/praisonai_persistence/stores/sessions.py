"""What session stores are made of: one document per session, and every public method in terms of it.

A session store keeps chat histories under plain ids, in the shape that language models take. [SessionStoreBase][] has
all methods that callers use; a store derives from it and writes how one document is read and changed.
[HierarchicalSessions][] adds forks, snapshots and shares to such a store.

A document is a JSON object, as PraisonAI writes it to a file::

    {"session_id": "chat-123", "messages": [...], "created_at": ISO 8601, "updated_at": ISO 8601, "agent_name": null,
     "user_id": null, "metadata": {}, "gateway_session_id": null, "agent_id": null, "runtime_state": {},
     "archived_messages": []}

and optionally ``last_compaction``, and of a hierarchy ``parent_id``, ``forked_from_message_id``, ``children_ids``,
``snapshots``, ``is_shared`` and ``title``. A message is ``{"role", "content", "timestamp", "metadata"}`` and optionally
``tool_calls`` and ``tool_call_id``. Fields of either that nobody knows are kept.

Capabilities that a session store may declare:

* ``tool_calls``: ``add_message`` takes ``tool_calls`` and ``tool_call_id``, and histories never split an exchange.
* ``hierarchy``: the methods of [HierarchicalSessions][].
* ``checks``: bad arguments are refused with a typed error before anything is written.
* ``durable``, ``shared``: as for conversation stores.
"""

from __future__ import annotations

import time
import uuid
from abc import abstractmethod
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence import payload
from praisonai_persistence._closing import Closing
from praisonai_persistence.errors import (
    InvalidValueError,
    SerializationError,
    SessionNotFoundError,
    StoreClosedError,
)
from praisonai_persistence.stores._session_documents import (
    MIRRORED,
    CompactionCheckpoint,
    Document,
    Message,
    SessionData,
    SessionMessage,
    SessionSnapshot,
    as_object,
    as_objects,
    check_limit,
    check_message,
    check_object,
    check_text,
    clamp_checkpoint,
    first_kept,
    for_model,
    is_partial,
    iso,
    latest,
    message_of,
    metadata_of,
    new_document,
    unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "MIRRORED",
    "CompactionCheckpoint",
    "Document",
    "HierarchicalSessions",
    "Message",
    "SessionData",
    "SessionMessage",
    "SessionSnapshot",
    "SessionStoreBase",
    "first_kept",
    "iso",
    "latest",
    "new_document",
    "unanswered",
]

T = TypeVar("T")


# ---------------------------------------------------------------------------------------------------------------- base


class SessionStoreBase(Closing):
    """Every method of a session store, on documents that a subclass reads and writes.

    Safe to share between threads, if the subclass's methods are.
    """

    capabilities: frozenset[str] = frozenset()
    """What this store can; the names stand in the module."""
    max_messages: int
    """How many messages a store keeps, or gives, unless told otherwise."""
    _hierarchy: ClassVar[bool] = False
    _closed = False

    # What a subclass writes. Ids are checked when these are called.

    @abstractmethod
    def _load(self, session_id: str) -> Document | None:
        """Return the whole document, which the caller may change; None for an unknown session."""

    @abstractmethod
    def _edit(
        self, session_id: str, change: Callable[[Document], T], *, create: bool = True, history: bool = False
    ) -> T:
        """Read a document, have it changed, write it: in one step that loses no change of anybody else.

        Args:
            session_id: the session; made if there is none.
            change: changes the document in place and returns what ``_edit`` returns. It may be called several times,
                each time with a fresh document. What it raises ends the edit; nothing is written then.
            create: False to refuse an unknown session with ``SessionNotFoundError``.
            history: True if the messages are read or changed; a document without them may be given otherwise.
        """

    @abstractmethod
    def _create(self, document: Document) -> None:
        """Write a new session.

        Raises:
            SessionExistsError: there is one of that id.
        """

    @abstractmethod
    def _erase(self, session_id: str) -> None:
        """Remove a session, if it is there."""

    @abstractmethod
    def _heads(self) -> Iterable[Document]:
        """Return all sessions, in any order; their messages may be missing."""

    def _append(self, session_id: str, message: Message) -> None:
        def change(document: Document) -> None:
            document["messages"].append(message)
            self._trim(document)

        self._edit(session_id, change, history=True)

    def _trim(self, document: Document) -> None:
        """Let only the latest messages stay at hand, when one was added."""

    def _recent(self, session_id: str, limit: int | None) -> list[Message]:
        """Return the latest messages, at most ``limit``, no tool exchange split."""
        document = self._load(session_id)
        messages = as_objects(document["messages"]) if document else []
        return messages if limit is None else latest(messages, limit)

    def _head(self, session_id: str) -> Document | None:
        """Return the document; its messages may be missing."""
        return self._load(session_id)

    def _count(self, document: Document) -> int:
        """Return how many messages the session of a head has."""
        return len(document["messages"])

    # Life.

    def close(self) -> None:
        """Release what the store opened, and nothing that was handed in. Calling it again is harmless.

        Any other call after it raises ``StoreClosedError``.
        """
        self._closed = True

    def _usable(self) -> None:
        if self._closed:
            raise StoreClosedError(f"this {type(self).__name__} is closed")

    def _id(self, session_id: Any) -> str:
        self._usable()
        return payload.check_id(session_id)

    # Messages.

    def add_message(
        self,
        session_id: str,
        role: str,
        content: str,
        metadata: dict[str, Any] | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
    ) -> bool:
        """Append a message; the session is made if there is none. When the call returns, it is stored.

        Args:
            session_id: 1 to 255 characters without NUL and lone surrogates.
            role: ``user``, ``assistant``, ``system``, ``tool``, or any other text.
            content: any text; None is allowed beside ``tool_calls``.
            metadata: a JSON object, or None.
            tool_calls: of an assistant turn: objects with an ``id``.
            tool_call_id: of a tool turn: the call that it answers.

        Returns:
            True. What cannot be stored is raised.

        Raises:
            InvalidValueError: the id cannot be one.
            SerializationError: a value is of the wrong type, or no JSON.
        """
        self._append(self._id(session_id), message_of(role, content, metadata, tool_calls, tool_call_id))
        return True

    def add_user_message(self, session_id: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """Append a message of the role ``user``; see [add_message][SessionStoreBase.add_message]."""
        return self.add_message(session_id, "user", content, metadata)

    def add_assistant_message(self, session_id: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """Append a message of the role ``assistant``; see [add_message][SessionStoreBase.add_message]."""
        return self.add_message(session_id, "assistant", content, metadata)

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return the latest messages as language models take them, oldest first; an unknown session has none.

        Each has ``role`` and ``content``, and ``tool_calls`` and ``tool_call_id`` where they are set. There are never
        more than ``max_messages`` (0: none), and fewer where the limit would leave out a tool call whose result is
        given. None: what the store gives by default.
        """
        limit = check_limit(max_messages)
        found = self._recent(self._id(session_id), self._default_limit if limit is None else limit)
        return [for_model(message) for message in found]

    @property
    def _default_limit(self) -> int | None:
        return None

    def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return what a resumed model needs: the summary of the last compaction and what was said after it.

        Without a compaction this is the chat history. ``max_messages`` (by default the store's own) counts the summary.
        """
        limit = check_limit(max_messages)
        head = self._head(self._id(session_id))
        checkpoint = as_object(head).get("last_compaction")
        limit = self.max_messages if limit is None else limit
        if not isinstance(checkpoint, dict):
            return self.get_chat_history(session_id, limit)
        return self.get_session(session_id).get_working_history(limit)

    def set_chat_history(self, session_id: str, messages: Sequence[Message]) -> bool:
        """Replace all messages; each needs ``role`` and ``content``, other fields are optional. Ends a compaction."""
        session_id = self._id(session_id)
        stored = []
        for message in payload.check_many(messages, "messages"):
            if not isinstance(message, dict):
                raise SerializationError(f"a message must be a JSON object, not {type(message).__name__}")
            names = ("role", "content", "metadata", "tool_calls", "tool_call_id", "timestamp")
            role, content, metadata, calls, call_id, at = (message.get(name) for name in names)
            content = "" if content is None else content
            stored.append(message_of("user" if role is None else role, content, metadata, calls, call_id, at))

        def change(document: Document) -> None:
            document["messages"] = list(stored)
            document.pop("last_compaction", None)
            self._trim(document)

        self._edit(session_id, change, history=True)
        return True

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        """Write the answer that is still being made, over what was written of it before.

        Args:
            session_id: the session.
            content: the answer so far.
            finalize: True when it is whole; with no content, an unfinished answer is removed.
        """
        session_id = self._id(session_id)
        written = message_of("assistant", content, None if finalize else {"partial": True})
        if finalize and not content:
            return self.discard_partial_assistant_message(session_id)

        def change(document: Document) -> None:
            messages = document["messages"]
            if is_partial(messages):
                old = messages.pop()
                metadata = {**old["metadata"], **written["metadata"]}
                if finalize:
                    del metadata["partial"]
                messages.append({**old, **written, "metadata": metadata})
            else:
                messages.append(written)
                self._trim(document)

        self._edit(session_id, change, history=True)
        return True

    def discard_partial_assistant_message(self, session_id: str) -> bool:
        """Remove an answer that was not finished, if the last message is one."""
        session_id = self._id(session_id)

        def change(document: Document) -> None:
            if is_partial(document["messages"]):
                document["messages"].pop()

        if is_partial(self._recent(session_id, 1)):
            self._edit(session_id, change, history=True)
        return True

    def append_compaction_checkpoint(
        self,
        session_id: str,
        summary: str,
        *,
        role: str = "system",
        tokens_before: int = 0,
        tokens_after: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Let a summary stand for all messages so far when the session is resumed; an empty one: False."""
        session_id = self._id(session_id)
        message_of(role, summary, metadata)
        if not summary.strip():
            return False
        made = CompactionCheckpoint(summary, 0, role, tokens_before, tokens_after, metadata=metadata or {}).to_dict()
        checkpoint = check_object(made, "checkpoint")

        def change(document: Document) -> None:
            document["last_compaction"] = {**checkpoint, "message_index": len(document["messages"])}

        self._edit(session_id, change, history=True)
        return True

    # Sessions.

    def session_exists(self, session_id: str) -> bool:
        """Whether there is such a session."""
        return self._head(self._id(session_id)) is not None

    def get_session(self, session_id: str) -> SessionData:
        """Return a session with all that is kept of it; an unknown one is empty, and is not made."""
        session_id = self._id(session_id)
        return SessionData.from_dict(self._load(session_id) or new_document(session_id))

    def clear_session(self, session_id: str) -> bool:
        """Remove all messages of a session and keep the rest; an unknown session stays unknown."""
        session_id = self._id(session_id)

        def change(document: Document) -> None:
            document["messages"] = []
            document.pop("last_compaction", None)

        if self._head(session_id) is not None:
            self._edit(session_id, change, history=True)
        return True

    def delete_session(self, session_id: str) -> bool:
        """Remove a session with all that belongs to it; True, also when there was none."""
        self._erase(self._id(session_id))
        return True

    def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        """Note whose session it is; what is None or empty stays as it was. The session is made if there is none."""
        return self._set(
            session_id, agent_name=check_text(agent_name, "agent_name"), user_id=_owner(user_id, "user_id")
        )

    def set_gateway_info(
        self, session_id: str, gateway_session_id: str | None = None, agent_id: str | None = None
    ) -> bool:
        """Link the session to one of a gateway; what is None or empty stays as it was."""
        gateway = check_text(gateway_session_id, "gateway_session_id")
        return self._set(session_id, gateway_session_id=gateway, agent_id=_owner(agent_id, "agent_id"))

    def _set(self, session_id: str, **values: Any) -> bool:
        given = {name: value for name, value in values.items() if value}
        self._edit(self._id(session_id), lambda document: document.update(given))
        return True

    def update_session_metadata(self, session_id: str, **fields: Any) -> bool:
        """Merge fields into the metadata; None leaves one as it is. The session is made if there is none.

        ``agent_id``, ``agent_name`` and ``user_id`` are set on the session, too.
        """
        session_id = self._id(session_id)
        given = check_object({name: value for name, value in fields.items() if value is not None}, "metadata")
        own = {name: given[name] for name in ("agent_id", "agent_name", "user_id") if name in given}
        check_text(own.get("agent_name"), "agent_name")
        for name in ("agent_id", "user_id"):
            _owner(own.get(name), name)

        def change(document: Document) -> None:
            document["metadata"] = {**metadata_of(document), **given}
            document.update({name: value for name, value in own.items() if value})

        if given:
            self._edit(session_id, change)
        return True

    def merge_session_metadata_map(
        self, session_id: str, key: str, updates: dict[str, Any], *, defaults: dict[str, Any] | None = None
    ) -> bool:
        """Merge entries into the object that stands in the metadata under ``key``.

        What stands there wins over ``defaults``, and ``updates`` win over it.
        """
        session_id = self._id(session_id)
        given, base = check_object(updates, "updates"), check_object(defaults or {}, "defaults")
        check_object({key: None}, "key")

        def change(document: Document) -> None:
            metadata = metadata_of(document)
            document["metadata"] = {**metadata, key: {**base, **as_object(metadata.get(key)), **given}}

        self._edit(session_id, change)
        return True

    def rename_session(self, session_id: str, title: str) -> bool:
        """Give the session a title in its metadata; an empty one removes it."""
        session_id, title = self._id(session_id), (check_text(title, "title") or "").strip()

        def change(document: Document) -> None:
            metadata = metadata_of(document)
            metadata.pop("title", None)
            document["metadata"] = {**metadata, "title": title} if title else metadata

        self._edit(session_id, change)
        return True

    def get_session_model(self, session_id: str) -> str | None:
        """Return the model that the session noted, or the latest message that noted one."""
        return self._noted(session_id, "model", "llm")

    def get_session_reasoning_effort(self, session_id: str) -> str | None:
        """Return the reasoning effort that the session noted, or the latest message that noted one."""
        return self._noted(session_id, "reasoning_effort")

    def _noted(self, session_id: str, *names: str) -> str | None:
        session = self.get_session(session_id)
        places = [(session.metadata, names), *((item.metadata, names[:1]) for item in reversed(session.messages))]
        for metadata, wanted in places:
            for name in wanted:
                if isinstance(value := metadata.get(name), str) and value:
                    return value
        return None

    def set_runtime_state(
        self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True
    ) -> bool:
        """Keep the state of one turn of a runtime; nothing with ``mirror_enabled=False``."""
        session_id = self._id(session_id)
        stored = check_object({runtime_id: {turn_id: state}}, "state")[runtime_id][turn_id]

        def change(document: Document) -> None:
            turns = {**as_object(as_object(document.get("runtime_state")).get(runtime_id)), turn_id: stored}
            document["runtime_state"] = {**as_object(document.get("runtime_state")), runtime_id: turns}

        if mirror_enabled:
            self._edit(session_id, change)
        return True

    def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        """Return the state of a turn, or of all turns by their ids; ``{}`` when there is none."""
        head = as_object(self._head(self._id(session_id)))
        turns = as_object(as_object(head.get("runtime_state")).get(runtime_id))
        return turns if turn_id is None else turns.get(turn_id, {})

    def clear_runtime_state(self, session_id: str, runtime_id: str | None = None) -> bool:
        """Forget the states of a runtime, or of all."""
        session_id = self._id(session_id)

        def change(document: Document) -> None:
            states = as_object(document.get("runtime_state"))
            kept = {} if runtime_id is None else {name: turns for name, turns in states.items() if name != runtime_id}
            document["runtime_state"] = kept

        if self._head(session_id) is not None:
            self._edit(session_id, change)
        return True

    # All sessions.

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        """Return what there is to know of the sessions without their messages, last changed first."""
        self._usable()
        limit = payload.check_count(limit, "limit")
        return [self._summary(head) for head in _newest(self._heads(), limit)]

    def _summary(self, head: Document) -> dict[str, Any]:
        metadata = metadata_of(head)
        either = {name: head.get(name) or metadata.get(name) for name in ("agent_id", "parent_id")}
        return {
            "session_id": head["session_id"],
            "id": head["session_id"],
            "agent_name": head.get("agent_name"),
            "title": metadata.get("title") or head.get("title"),
            **either,
            "source": metadata.get("source"),
            "parent_session_id": metadata.get("parent_session_id"),
            "agent_key": metadata.get("agent_key"),
            "created_at": head.get("created_at"),
            "updated_at": head.get("updated_at"),
            "message_count": self._count(head),
            "model": metadata.get("model") or metadata.get("llm"),
            "total_tokens": metadata.get("total_tokens") or metadata.get("token_count"),
            "cost": metadata.get("cost"),
        }

    def _ids_where(self, field: str, value: Any, limit: Any) -> list[str]:
        self._usable()
        count = payload.check_count(limit, "limit")
        heads = (head for head in self._heads() if head.get(field) == value)
        return [head["session_id"] for head in _newest(heads, count)]

    def list_sessions_by_agent(self, agent_name: str, limit: int = 50) -> list[str]:
        """Return the ids of an agent's sessions, last changed first."""
        return self._ids_where("agent_name", agent_name, limit)

    def list_sessions_by_gateway_agent(self, agent_id: str, limit: int = 50) -> list[str]:
        """Return the ids of the sessions that are linked to a gateway's agent, last changed first."""
        return self._ids_where("agent_id", agent_id, limit)

    def get_by_gateway_session(self, gateway_session_id: str) -> SessionData | None:
        """Return the session that is linked to a session of a gateway, the last changed of several; or None."""
        found = self._ids_where("gateway_session_id", gateway_session_id, 1)
        return self.get_session(found[0]) if found else None

    def get_sessions_by_agent(self, agent_name: str, limit: int = 10) -> list[SessionData]:
        """Return an agent's sessions, last changed first."""
        return [self.get_session(session_id) for session_id in self.list_sessions_by_agent(agent_name, limit)]

    def get_agent_chat_history(
        self, agent_name: str, max_messages: int | None = None, max_sessions: int = 5
    ) -> list[dict[str, Any]]:
        """Return the histories of an agent's sessions, one after the other.

        Each message also has ``session_id`` and ``agent_name``; ``max_messages`` counts within each session.
        """
        return [
            {**message, "session_id": session_id, "agent_name": agent_name}
            for session_id in self.list_sessions_by_agent(agent_name, max_sessions)
            for message in self.get_chat_history(session_id, max_messages)
        ]

    def invalidate_cache(self, session_id: str | None = None) -> None:
        """Do nothing: these stores read what is there."""


class _Later(str):
    """Text that sorts from the last to the first."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def _newest(heads: Iterable[Document], limit: int) -> list[Document]:
    """Return so many, last changed first, ties by their ids; no more than these is in memory at any time."""
    return nsmallest(limit, heads, lambda head: (_Later(head.get("updated_at") or ""), str(head["session_id"])))


def _owner(value: Any, what: str) -> str | None:
    return None if value in {None, ""} else payload.check_id(value, what)


# ----------------------------------------------------------------------------------------------------------- hierarchy


class HierarchicalSessions(SessionStoreBase):
    """Forks, snapshots, shares and titles, for a store that derives from this instead."""

    _hierarchy: ClassVar[bool] = True

    # What a subclass may do better.

    def _copy(self, session_id: str, count: int | None, change: Callable[[Document], None]) -> None:
        """Make a new session of the first ``count`` messages of another, or of all.

        Args:
            session_id: the session to copy.
            count: how many messages.
            change: makes the copied document that of the new session, ``session_id`` included.
        """
        document = self._need(session_id)
        document["messages"] = document["messages"][:count]
        change(document)
        self._create(document)

    def _keep(self, document: Document, snapshot: dict[str, Any]) -> None:
        """Let a snapshot keep what there is in the document."""
        names = ("messages", "archived_messages", "last_compaction")
        snapshot["transcript"] = payload.copy({name: document.get(name) for name in names})

    def _kept(self, document: Document, snapshot: dict[str, Any]) -> dict[str, Any] | None:
        """Return the transcript of a snapshot, whoever wrote it; None when it is lost."""
        transcript = snapshot.get("transcript")
        if isinstance(refs := snapshot.get("transcript_refs"), dict):  # repeated messages, stored once
            records = as_object(as_object(document.get("snapshot_storage")).get("records"))
            try:
                return {
                    name: records[ref["value"]] if "value" in ref else [records[key] for key in ref["items"]]
                    for name, ref in refs.items()
                }
            except (KeyError, TypeError):
                return None
        if snapshot.get("invalidated"):
            return None
        if isinstance(transcript, dict):
            return transcript
        index = snapshot.get("message_index")
        if not isinstance(index, int) or index >= len(document["messages"]):
            return None
        return {**document, "messages": document["messages"][: max(-1, index) + 1]}

    def _need(self, session_id: str) -> Document:
        document = self._load(session_id)
        if document is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return document

    # Trees.

    def create_session(
        self,
        session_id: str | None = None,
        title: str | None = None,
        parent_id: str | None = None,
        agent_name: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Make a session and return its id, which is made up when none is given.

        Raises:
            SessionExistsError: there is one of that id.
            SessionNotFoundError: there is no session ``parent_id``.
            InvalidValueError: an id cannot be one, or the session would be its own parent.
        """
        session_id = self._id(str(uuid.uuid4()) if session_id is None else session_id)
        document = new_document(session_id, hierarchy=True)
        document["title"], document["agent_name"] = check_text(title, "title"), check_text(agent_name, "agent_name")
        document["metadata"] = check_object({} if metadata is None else metadata, "metadata")
        if parent_id is not None:
            document["parent_id"] = self._id(parent_id)
            if parent_id == session_id:
                raise InvalidValueError("a session cannot be its own parent")
            if self._head(parent_id) is None:
                raise SessionNotFoundError(f"there is no session {parent_id!r}")
        self._create(document)
        if parent_id is not None:
            self._adopt(parent_id, session_id)
        return session_id

    def fork_session(self, session_id: str, from_message_index: int | None = None, title: str | None = None) -> str:
        """Copy a session into a new one, its child, and return the new id.

        The child has the messages, the metadata, the user and the agent; not the snapshots, the children, the archive
        and the compaction.

        Args:
            session_id: the session.
            from_message_index: the index of the last message to copy, counted from 0; None: all.
            title: by default ``Fork of`` the title, or the id.

        Raises:
            SessionNotFoundError: there is no such session.
            InvalidValueError: there is no such message.
        """
        session_id, title = self._id(session_id), check_text(title, "title")
        new_id = str(uuid.uuid4())
        if from_message_index is not None:
            payload.check_count(from_message_index, "from_message_index")
            if from_message_index >= self._length(session_id):
                raise InvalidValueError("from_message_index is behind the last message")

        def change(document: Document) -> None:
            fresh = new_document(new_id, hierarchy=True)
            kept = ("messages", "agent_name", "agent_id", "user_id", "metadata", "state")
            fresh.update({name: document[name] for name in kept if name in document})
            fresh["title"] = title or f"Fork of {document.get('title') or session_id}"
            fresh["parent_id"] = session_id
            fresh["forked_from_message_id"] = None if from_message_index is None else str(from_message_index)
            document.clear()
            document.update(fresh)

        self._copy(session_id, None if from_message_index is None else from_message_index + 1, change)
        self._adopt(session_id, new_id)
        return new_id

    def _length(self, session_id: str) -> int:
        head = self._head(session_id)
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return self._count(head)

    def _adopt(self, parent_id: str, child_id: str) -> None:
        def change(document: Document) -> None:
            children = _children(document)
            document["children_ids"] = [*children, child_id] if child_id not in children else children

        self._edit(parent_id, change, create=False)

    def get_children(self, session_id: str) -> list[str]:
        """Return the ids of a session's children, oldest first."""
        return _children(as_object(self._head(self._id(session_id))))

    def get_parent(self, session_id: str) -> str | None:
        """Return the id of the session that this one was made from, also when that is gone by now; or None."""
        return as_object(self._head(self._id(session_id))).get("parent_id")

    def get_session_tree(self, session_id: str) -> dict[str, Any]:
        """Return a session with its descendants: ``session_id``, ``title``, ``message_count``, ``children``.

        Raises:
            SessionNotFoundError: there is no such session.
            InvalidValueError: a session is its own descendant.
        """
        head = self._head(self._id(session_id))
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        root = self._node(head)
        waiting = [(root, _children(head), frozenset({session_id}))]
        while waiting:
            node, children, ancestors = waiting.pop()
            for child_id in children:
                if child_id in ancestors:
                    raise InvalidValueError(f"session {child_id!r} is its own descendant")
                child = self._head(child_id)
                if child is not None:
                    node["children"].append(self._node(child))
                    waiting.append((node["children"][-1], _children(child), ancestors | {child_id}))
        return root

    def _node(self, head: Document) -> dict[str, Any]:
        count = self._count(head)
        return {
            "session_id": head["session_id"],
            "title": head.get("title"),
            "message_count": count,
            "children": [],
        }

    def delete_session(self, session_id: str) -> bool:
        """Remove a session, and its place among its parent's children; its own children stay."""
        head = self._head(self._id(session_id))
        super().delete_session(session_id)
        parent_id = as_object(head).get("parent_id")
        if isinstance(parent_id, str) and self._head(parent_id) is not None:

            def change(document: Document) -> None:
                document["children_ids"] = [child for child in _children(document) if child != session_id]

            self._edit(parent_id, change)
        return True

    # Snapshots.

    def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """Keep the messages as they are now, and return the id that ``revert_to_snapshot`` takes.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        session_id = self._id(session_id)
        snapshot = self._new_snapshot(session_id, label, metadata)

        def change(document: Document) -> None:
            taken = {**snapshot, "message_index": len(document["messages"]) - 1}
            self._keep(document, taken)
            document["snapshots"] = [*as_objects(document.get("snapshots")), taken]

        self._edit(session_id, change, create=False, history=True)
        return str(snapshot["id"])

    @staticmethod
    def _new_snapshot(session_id: str, label: Any, metadata: Any) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "session_id": session_id,
            "message_index": -1,
            "created_at": time.time(),
            "label": check_text(label, "label"),
            "metadata": check_object({} if metadata is None else metadata, "metadata"),
        }

    def get_snapshots(self, session_id: str) -> list[SessionSnapshot]:
        """Return the snapshots of a session, oldest first."""
        head = as_object(self._head(self._id(session_id)))
        return [SessionSnapshot.from_dict(item) for item in as_objects(head.get("snapshots"))]

    def revert_to_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        """Put back the messages of a snapshot; False when there is no such snapshot, or its messages are lost."""

        def change(document: Document) -> bool:
            found = [item for item in as_objects(document.get("snapshots")) if item.get("id") == snapshot_id]
            transcript = self._kept(document, found[0]) if found else None
            if transcript is None:
                raise _NothingToDoError
            document["messages"] = payload.copy(as_objects(transcript.get("messages")))
            document["archived_messages"] = payload.copy(as_objects(transcript.get("archived_messages")))
            document.pop("last_compaction", None)
            if isinstance(transcript.get("last_compaction"), dict):
                document["last_compaction"] = payload.copy(transcript["last_compaction"])
            return True

        return self._revert(session_id, change)

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        """Remove what follows a message, counted from 0; False when there is no such message."""
        payload.check_count(message_index, "message_index")

        def change(document: Document) -> bool:
            if message_index >= len(document["messages"]):
                raise _NothingToDoError
            document["messages"] = document["messages"][: message_index + 1]
            clamp_checkpoint(document)
            return True

        return self._revert(session_id, change)

    def _revert(self, session_id: str, change: Callable[[Document], bool]) -> bool:
        try:
            return self._edit(self._id(session_id), change, create=False, history=True)
        except (_NothingToDoError, SessionNotFoundError):
            return False

    # Titles and shares.

    def set_title(self, session_id: str, title: str | None) -> bool:
        """Set the title; None removes it. The session is made if there is none."""
        text = check_text(title, "title")
        self._edit(self._id(session_id), lambda document: document.update(title=text))
        return True

    def share_session(self, session_id: str) -> bool:
        """Mark a session as shared. It is made if there is none."""
        self._edit(self._id(session_id), lambda document: document.update(is_shared=True))
        return True

    def unshare_session(self, session_id: str) -> bool:
        """Mark a session as not shared. It is made if there is none."""
        self._edit(self._id(session_id), lambda document: document.update(is_shared=False))
        return True

    def is_shared(self, session_id: str) -> bool:
        """Whether a session is marked as shared."""
        return bool(as_object(self._head(self._id(session_id))).get("is_shared"))

    def get_extended_session(self, session_id: str, force_reload: bool = False) -> SessionData:
        """Return a session; the same as ``get_session``, which always reads what is there."""
        return self.get_session(session_id)

    # Portable documents.

    def export_session(self, session_id: str) -> Document:
        """Return a session as one JSON object that ``import_session`` of any store takes, snapshots included.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        document = self._need(self._id(session_id))
        snapshots = []
        for snapshot in as_objects(document.get("snapshots")):
            transcript = self._kept(document, snapshot)
            own = {key: value for key, value in snapshot.items() if not key.startswith("transcript")}
            if transcript is not None:
                names = ("messages", "archived_messages", "last_compaction")
                own = {**own, "transcript": {name: transcript.get(name) for name in names}}
                own.pop("invalidated", None)
            snapshots.append(own)
        document.pop("snapshot_storage", None)
        return dict(payload.copy({**document, "snapshots": snapshots}))

    def import_session(self, data: Document, new_session_id: str | None = None) -> str:
        """Make a session of an exported one and return its id, which is made up when none is given.

        It has no parent and no children. Nothing of it is trimmed.

        Raises:
            SerializationError: it is no exported session.
            SessionExistsError: there is a session ``new_session_id``.
        """
        session_id = self._id(str(uuid.uuid4()) if new_session_id is None else new_session_id)
        document = {**new_document(session_id, hierarchy=True), **check_object(data, "data")}
        if not isinstance(document["snapshots"], list):
            raise SerializationError(f"snapshots must be a list, not {type(document['snapshots']).__name__}")
        for name in ("metadata", "runtime_state"):
            check_object(document[name], name)
        for name in ("title", "agent_name", "gateway_session_id"):
            check_text(document[name], name)
        for name in ("user_id", "agent_id"):
            document[name] = _owner(document[name], name)
        for transcript in (
            document,
            *(as_object(item.get("transcript")) for item in as_objects(document["snapshots"])),
        ):
            for name in ("messages", "archived_messages"):
                if name in transcript:
                    transcript[name] = _checked_history(transcript[name], name)
        document.update(session_id=session_id, parent_id=None, children_ids=[], forked_from_message_id=None)
        document["snapshots"] = [{**item, "session_id": session_id} for item in as_objects(document["snapshots"])]
        self._create(document)
        return session_id


class _NothingToDoError(Exception):
    """Ends an edit without a write."""


def _checked_history(messages: Any, what: str) -> list[Message]:
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise SerializationError(f"{what} must be a list of JSON objects")
    return [
        check_message({"timestamp": 0.0, **message, "metadata": message.get("metadata") or {}}) for message in messages
    ]


def _children(document: Document) -> list[str]:
    children = document.get("children_ids")
    return [child for child in children if isinstance(child, str)] if isinstance(children, list) else []
