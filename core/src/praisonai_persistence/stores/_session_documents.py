"""Documents of sessions: what they are made of, how a history is cut, and what may be stored; see ``sessions``."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence.errors import InvalidValueError, SerializationError
from praisonai_persistence.records import ConversationMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

__all__ = [
    "MIRRORED",
    "CompactionCheckpoint",
    "Document",
    "ExtendedSessionData",
    "Message",
    "SessionData",
    "SessionMessage",
    "SessionSnapshot",
    "as_object",
    "as_objects",
    "check_limit",
    "check_message",
    "check_object",
    "check_text",
    "clamp_checkpoint",
    "first_kept",
    "for_model",
    "is_partial",
    "iso",
    "latest",
    "message_of",
    "metadata_of",
    "new_document",
    "next_updated_at",
    "owner",
    "unanswered",
]

Document = dict[str, Any]
Message = dict[str, Any]

MIRRORED = ("model", "llm", "total_tokens", "token_count", "cost", "source", "reasoning_effort")
"""Keys of the metadata that PraisonAI also writes, and looks for, beside them."""
_HIERARCHY: Document = {
    "parent_id": None,
    "forked_from_message_id": None,
    "children_ids": [],
    "snapshots": [],
    "is_shared": False,
    "title": None,
}


_STEP = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=timezone.utc)


def iso(seconds: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC; empty text for a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    except (OSError, OverflowError, ValueError):
        return ""


def next_updated_at(stored: Any) -> str:
    """Return now, or a microsecond above the stored time when the clock is behind it, as ISO 8601 in UTC.

    The last microsecond of the year 9999 is the latest time.

    Args:
        stored: ISO 8601, without an offset in UTC; anything else counts as no time.
    """
    now = datetime.fromtimestamp(time.time(), timezone.utc)
    try:
        last = datetime.fromisoformat(stored.replace("Z", "+00:00"))
        last = last.replace(tzinfo=timezone.utc) if last.tzinfo is None else last.astimezone(timezone.utc)
    except (AttributeError, OverflowError, ValueError):
        return now.isoformat()
    return max(now, last + min(_STEP, _LAST - last)).isoformat()


def new_document(session_id: str, hierarchy: bool = False) -> Document:
    """Return the document of a session in which nothing has happened yet."""
    now = iso(time.time())
    document: Document = {
        "session_id": session_id,
        "messages": [],
        "created_at": now,
        "updated_at": now,
        "agent_name": None,
        "user_id": None,
        "metadata": {},
        "gateway_session_id": None,
        "agent_id": None,
        "runtime_state": {},
        "archived_messages": [],
    }
    return {**document, **payload.copy(_HIERARCHY)} if hierarchy else document


# ------------------------------------------------------------------------------------------------------------- records


def as_objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def for_model(message: Message) -> dict[str, Any]:
    """Return a message as language models take it."""
    found: dict[str, Any] = {"role": message.get("role", "user"), "content": message.get("content", "")}
    if message.get("tool_calls"):
        found["tool_calls"] = message["tool_calls"]
    if message.get("tool_call_id") is not None:
        found["tool_call_id"] = message["tool_call_id"]
    return found


@dataclass
class SessionMessage:
    """One message of a session.

    Attributes:
        role: ``user``, ``assistant``, ``system`` or ``tool``.
        content: the text, or a list of parts.
        timestamp: Unix seconds.
        metadata: a JSON object.
        tool_calls: what an assistant turn asks for: objects with an ``id``. None for other turns.
        tool_call_id: the call that a tool turn answers. None for other turns.
    """

    role: str
    content: str | list[Any]
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def to_dict(self) -> Message:
        """Return the message as it stands in a document."""
        found = {name: getattr(self, name) for name in ("role", "content", "timestamp", "metadata")}
        if self.tool_calls:
            found["tool_calls"] = self.tool_calls
        if self.tool_call_id is not None:
            found["tool_call_id"] = self.tool_call_id
        return found

    @classmethod
    def from_dict(cls, data: Message) -> Self:
        """Build it of the fields that are there."""
        return cls(
            data.get("role", "user"),
            data.get("content", ""),
            data.get("timestamp", 0.0),
            as_object(data.get("metadata")),
            data.get("tool_calls"),
            data.get("tool_call_id"),
        )

    def to_llm_message(self) -> dict[str, Any]:
        """Return ``role`` and ``content``, and the tool fields that are set."""
        return for_model(self.to_dict())


@dataclass
class CompactionCheckpoint:
    """The summary that stands for the first ``message_index`` messages of a session when it is resumed."""

    summary: str
    message_index: int = 0
    role: str = "system"
    tokens_before: int = 0
    tokens_after: int = 0
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return every field."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build it of the fields that are there."""
        found = {"summary": "", **{item.name: data[item.name] for item in fields(cls) if item.name in data}}
        if not isinstance(found.get("message_index", 0), int):
            del found["message_index"]
        return cls(**found)

    def as_message(self) -> dict[str, Any]:
        """Return the summary as language models take it."""
        return {"role": self.role, "content": self.summary}


@dataclass
class SessionSnapshot:
    """A state of a session that one can go back to; its messages stay in the store.

    Attributes:
        id: what ``revert_to_snapshot`` takes.
        session_id: the session.
        message_index: the index of its last message, -1 when there was none.
        created_at: Unix seconds.
        label: any text, or None.
        metadata: a JSON object.
        transcript: the messages, where the document itself has them; None where the store keeps them.
        invalidated: whether other messages stand there now, and there is no transcript.
    """

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    session_id: str = ""
    message_index: int = 0
    created_at: float = field(default_factory=time.time)
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    transcript: dict[str, Any] | None = None
    invalidated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the fields; the last two where they are set."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: item for name, item in found.items() if name not in {"transcript", "invalidated"} or item}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build it of the fields that are there."""
        return cls(**{"id": "", **{item.name: data[item.name] for item in fields(cls) if item.name in data}})


@dataclass
class SessionData:
    """A session with its messages: a copy; changing it changes nothing in the store.

    The attributes are the fields of the document; ``created_at`` and ``updated_at`` are ISO 8601. ``extra`` holds the
    fields that have no attribute.
    """

    session_id: str
    messages: list[SessionMessage] = field(default_factory=list)
    created_at: str = field(default_factory=lambda: iso(time.time()))
    updated_at: str = field(default_factory=lambda: iso(time.time()))
    agent_name: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    gateway_session_id: str | None = None
    agent_id: str | None = None
    runtime_state: dict[str, Any] = field(default_factory=dict)
    archived_messages: list[SessionMessage] = field(default_factory=list)
    last_compaction: CompactionCheckpoint | None = None
    parent_id: str | None = None
    forked_from_message_id: str | None = None
    children_ids: list[str] = field(default_factory=list)
    snapshots: list[SessionSnapshot] = field(default_factory=list)
    is_shared: bool = False
    title: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> Document:
        """Return the document: every field and those of ``extra``; of a hierarchy only what is set."""
        plain = {**_HIERARCHY, "last_compaction": None}
        found = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extra"}
        found = {name: value for name, value in found.items() if name not in plain or value != plain[name]}
        for name in ("messages", "archived_messages", "snapshots"):
            if name in found:
                found[name] = [item.to_dict() for item in found[name]]
        if self.last_compaction is not None:
            found["last_compaction"] = self.last_compaction.to_dict()
        return {**self.extra, **found}

    @classmethod
    def from_dict(cls, data: Document) -> Self:
        """Build it of a document. What is no object among the messages is left out."""
        known = {item.name for item in fields(cls)} - {"extra"}
        found = {name: value for name, value in data.items() if name in known}
        for name in ("messages", "archived_messages"):
            found[name] = [SessionMessage.from_dict(item) for item in as_objects(data.get(name))]
        found["snapshots"] = [SessionSnapshot.from_dict(item) for item in as_objects(data.get("snapshots"))]
        found["metadata"] = metadata_of(data)
        found["runtime_state"] = as_object(data.get("runtime_state"))
        checkpoint = data.get("last_compaction")
        found["last_compaction"] = CompactionCheckpoint.from_dict(checkpoint) if isinstance(checkpoint, dict) else None
        return cls(**found, extra={name: value for name, value in data.items() if name not in known})

    def get_chat_history(self, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return the messages as language models take them; see [SessionStoreBase.get_chat_history][]."""
        return _history([item.to_dict() for item in self.messages], max_messages)

    def get_working_history(self, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return what a resumed model needs; see [SessionStoreBase.get_working_history][]."""
        return _working_history([item.to_dict() for item in self.messages], self.last_compaction, max_messages)

    def trim_messages(self, max_messages: int) -> None:
        """Keep the latest messages of this copy; its compaction then stands for as many fewer."""
        gone = len(self.messages) - payload.check_count(max_messages, "max_messages")
        if gone > 0:
            del self.messages[:gone]
            if self.last_compaction is not None:
                self.last_compaction.message_index = max(0, self.last_compaction.message_index - gone)


@dataclass
class ExtendedSessionData(SessionData):
    """A session of a store with forks and snapshots; [SessionData][] has its fields already."""

    def to_dict(self) -> Document:
        """Return the document, with every field of a hierarchy."""
        hierarchy = {name: getattr(self, name) for name in _HIERARCHY if name != "snapshots"}
        return {**hierarchy, "snapshots": [item.to_dict() for item in self.snapshots], **super().to_dict()}

    @classmethod
    def from_session_data(cls, session: SessionData) -> Self:
        """Build it of another one; both have the same messages."""
        return cls(**{item.name: getattr(session, item.name) for item in fields(session)})


def metadata_of(document: Document) -> dict[str, Any]:
    """Return a session's metadata; some writers put a few of its keys beside it instead."""
    found = dict(as_object(document.get("metadata")))
    for name in MIRRORED:
        if document.get(name) is not None:
            found.setdefault(name, document[name])
    return found


# ----------------------------------------------------------------------------------------------------------- histories


def check_limit(value: Any) -> int | None:
    """Return an optional limit.

    Raises:
        InvalidValueError: it is neither None nor a whole number of 0 or more.
    """
    return None if value is None else payload.check_count(value, "max_messages")


def _calls(messages: Sequence[Message]) -> list[int | None]:
    """Return for each message the index of the one whose tool call it answers; None where it answers none."""
    asked: dict[Any, int] = {}
    found: list[int | None] = []
    for index, message in enumerate(messages):
        found.append(asked.get(answered) if isinstance(answered := message.get("tool_call_id"), str) else None)
        if found[-1] is None and message.get("role") == "tool" and answered is None and index:
            # A result that does not say what it answers belongs to the turn before it.
            found[-1] = found[index - 1] if messages[index - 1].get("role") == "tool" else index - 1
        for call in as_objects(message.get("tool_calls")):
            if isinstance(call.get("id"), str):
                asked[call["id"]] = index
    return found


def _is_result(message: Message) -> bool:
    return message.get("role") == "tool" or message.get("tool_call_id") is not None


def unanswered(messages: Sequence[Message]) -> bool:
    """Whether a tool result is among the messages, not at their beginning, whose call is not."""
    calls = _calls(messages)
    start = next((index for index, message in enumerate(messages) if not _is_result(message)), len(messages))
    return any(_is_result(messages[index]) and calls[index] is None for index in range(start, len(messages)))


def latest(messages: list[Message], limit: int) -> list[Message]:
    """Return the latest messages, at most ``limit``, without a tool result whose call is left out."""
    start = len(messages) - limit
    if start <= 0:
        return messages
    calls = _calls(messages)
    for index in range(start, len(messages)):
        call = calls[index]
        if (call is not None and call < start) or (index == start and _is_result(messages[index])):
            start = index + 1
    return messages[start:]


def first_kept(messages: Sequence[Message], limit: int) -> int:
    """Return where the latest ``limit`` messages begin, or further back so that every tool result has its call."""
    start = max(0, len(messages) - limit)
    calls = _calls(messages)
    index = len(messages) - 1
    while index >= start:
        call = calls[index]
        if call is not None:
            start = min(start, call)
        index -= 1
    return start


def _history(messages: list[Message], limit: int | None) -> list[dict[str, Any]]:
    limit = check_limit(limit)
    return [for_model(message) for message in (messages if limit is None else latest(messages, limit))]


def _working_history(
    messages: list[Message], checkpoint: CompactionCheckpoint | None, limit: int | None
) -> list[dict[str, Any]]:
    limit = check_limit(limit)
    if checkpoint is None:
        return _history(messages, limit)
    if limit == 0:
        return []
    tail = messages[max(0, min(checkpoint.message_index, len(messages))) :]
    return [checkpoint.as_message(), *_history(tail, None if limit is None else limit - 1)]


# -------------------------------------------------------------------------------------------------------------- checks


def check_message(message: Message) -> Message:
    """Return a message that may be stored; a copy.

    Raises:
        SerializationError: a field is of the wrong type, is not JSON, or all is too large.
        InvalidValueError: the timestamp is no finite number.
    """
    calls, content = message.get("tool_calls"), message.get("content")
    if not isinstance(content, (str, list)) and not (content is None and calls):
        raise SerializationError(f"content must be text, not {type(content).__name__}")
    payload.encode_message(
        "",
        ConversationMessage(
            role=message.get("role"),  # type: ignore[arg-type]  # which is checked there
            content=content,
            tool_calls=calls,
            tool_call_id=message.get("tool_call_id"),
            metadata=message.get("metadata"),
            created_at=message.get("timestamp"),  # type: ignore[arg-type]
        ),
    )
    payload.dumps(message, "message", depth=payload.MAX_DEPTH + 1)  # what its fields hold has been checked
    return dict(payload.copy(message))


def message_of(
    role: Any, content: Any, metadata: Any = None, tool_calls: Any = None, tool_call_id: Any = None, at: Any = None
) -> Message:
    message = {
        "role": role,
        "content": content,
        "timestamp": time.time() if at is None else at,
        "metadata": {} if metadata is None else metadata,
    }
    if tool_calls is not None:
        message["tool_calls"] = tool_calls
    if tool_call_id is not None:
        message["tool_call_id"] = tool_call_id
    return check_message(message)


def check_text(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidValueError(f"{what} must be text or None, not {type(value).__name__}")
    text: str | None = payload.plain(value)
    return text


def check_object(value: Any, what: str, depth: int = payload.MAX_DEPTH) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SerializationError(f"{what} must be a JSON object, not {type(value).__name__}")
    payload.dumps(value, what, depth=depth)
    return dict(payload.copy(value))


def is_partial(messages: list[Message]) -> bool:
    last = messages[-1] if messages else {}
    return last.get("role") == "assistant" and bool(as_object(last.get("metadata")).get("partial"))


def clamp_checkpoint(document: Document) -> None:
    checkpoint = document.get("last_compaction")
    if isinstance(checkpoint, dict) and isinstance(checkpoint.get("message_index"), int):
        checkpoint["message_index"] = min(checkpoint["message_index"], len(document["messages"]))


def owner(value: Any, what: str) -> str | None:
    return None if value in {None, ""} else payload.check_id(value, what)
