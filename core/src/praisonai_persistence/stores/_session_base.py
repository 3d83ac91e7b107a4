"""The methods of every session store, in terms of five operations on one document; see ``stores.sessions``."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence import payload
from praisonai_persistence._closing import Closing
from praisonai_persistence.errors import SerializationError, StoreClosedError
from praisonai_persistence.stores._session_documents import (
    CompactionCheckpoint,
    Document,
    Message,
    SessionData,
    as_object,
    as_objects,
    check_limit,
    check_object,
    check_text,
    for_model,
    is_partial,
    latest,
    message_of,
    metadata_of,
    new_document,
    owner,
)
from praisonai_persistence.stores._session_mirror import MirroredSessions
from praisonai_persistence.stores._session_portable import PortableSessions
from praisonai_persistence.stores._session_search import SearchingSessions, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["SessionStoreBase"]

T = TypeVar("T")


class SessionStoreBase(SearchingSessions, PortableSessions, MirroredSessions, Closing):
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

    def _heads_where(self, field: str, value: Any) -> Iterable[Document]:
        """Return the sessions among which all are that have the value; others may be among them."""
        return self._heads()

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
        self.close_mirror()

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
        content: str | list[Any],
        metadata: dict[str, Any] | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
    ) -> bool:
        """Append a message; the session is made if there is none. When the call returns, it is stored.

        Args:
            session_id: 1 to 255 characters without NUL and lone surrogates.
            role: ``user``, ``assistant``, ``system``, ``tool``, or any other text.
            content: any text, or a list of parts (JSON objects and texts); None is allowed beside ``tool_calls``.
            metadata: a JSON object, or None.
            tool_calls: of an assistant turn: objects with an ``id``.
            tool_call_id: of a tool turn: the call that it answers.

        Returns:
            True. What cannot be stored is raised.

        Raises:
            InvalidValueError: the id cannot be one.
            SerializationError: a value is of the wrong type, or no JSON.
        """
        session_id, message = self._id(session_id), message_of(role, content, metadata, tool_calls, tool_call_id)
        self._append(session_id, message)
        self._mirrored(session_id, [message])
        return True

    def add_user_message(
        self, session_id: str, content: str | list[Any], metadata: dict[str, Any] | None = None
    ) -> bool:
        """Append a message of the role ``user``; see [add_message][SessionStoreBase.add_message]."""
        return self.add_message(session_id, "user", content, metadata)

    def add_assistant_message(
        self, session_id: str, content: str | list[Any], metadata: dict[str, Any] | None = None
    ) -> bool:
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
        self._mirrored(session_id, stored)
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

        def change(document: Document) -> Message:
            messages: list[Message] = document["messages"]
            if is_partial(messages):
                old = messages.pop()
                metadata = {**old["metadata"], **written["metadata"]}
                if finalize:
                    del metadata["partial"]
                messages.append({**old, **written, "metadata": metadata})
            else:
                messages.append(written)
                self._trim(document)
            return messages[-1]

        stored = self._edit(session_id, change, history=True)
        if finalize:
            self._mirrored(session_id, [stored])
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
        return self._set(session_id, agent_name=check_text(agent_name, "agent_name"), user_id=owner(user_id, "user_id"))

    def set_gateway_info(
        self, session_id: str, gateway_session_id: str | None = None, agent_id: str | None = None
    ) -> bool:
        """Link the session to one of a gateway; what is None or empty stays as it was."""
        gateway = check_text(gateway_session_id, "gateway_session_id")
        return self._set(session_id, gateway_session_id=gateway, agent_id=owner(agent_id, "agent_id"))

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
            owner(own.get(name), name)

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
        inside = payload.MAX_DEPTH - 1  # of the session's metadata
        given, base = check_object(updates, "updates", inside), check_object(defaults or {}, "defaults", inside)
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

    def set_runtime_state(
        self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True
    ) -> bool:
        """Keep the state of one turn of a runtime; nothing with ``mirror_enabled=False``."""
        session_id = self._id(session_id)
        stored = check_object({runtime_id: {turn_id: state}}, "state", payload.MAX_DEPTH + 2)[runtime_id][turn_id]

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

    def list_sessions(self, limit: int | None = 50) -> list[dict[str, Any]]:
        """Return what there is to know of the sessions without their messages, last changed first; None: of all."""
        self._usable()
        count = payload.MAX_INTEGER if limit is None else payload.check_count(limit, "limit")
        return [self._summary(head) for head in newest(self._heads(), count)]

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
        heads = (head for head in self._heads_where(field, value) if head.get(field) == value)
        return [head["session_id"] for head in newest(heads, count)]

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
