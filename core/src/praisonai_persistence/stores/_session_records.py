"""Session documents and their messages as records of a conversation store, and back."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.payload import RESERVED_KEY
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.stores._session_documents import iso, new_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.stores._session_documents import Document, Message

__all__ = ["RESERVED_KEY", "difference", "document_of", "message_of", "record_of", "same", "session_of"]

_MESSAGE_FIELDS = frozenset({"role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id"})
_OWN_FIELDS = frozenset(
    ("session_id", "user_id", "agent_id", "title", "state", "metadata", "created_at", "updated_at", "messages")
)
_DEFAULTS = {key: value for key, value in new_document("", hierarchy=True).items() if key not in _OWN_FIELDS}


def _apart(metadata: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata of a record without what [_together][] has put into them, and that."""
    given = dict(metadata or {})
    own = given.pop(RESERVED_KEY, None)
    return given, own if isinstance(own, dict) else {}


def _together(metadata: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with what a record has no field for.

    Raises:
        InvalidValueError: they have the key that is reserved for it.
    """
    if RESERVED_KEY in metadata:
        raise InvalidValueError(f"the metadata key {RESERVED_KEY!r} is taken by the store itself")
    return {**metadata, RESERVED_KEY: own} if own else metadata


def document_of(session: ConversationSession, messages: Sequence[ConversationMessage] | None) -> Document:
    """Return the document of a session's record; without its messages where these are None."""
    metadata, own = _apart(session.metadata)
    document: Document = {
        "session_id": session.session_id,
        "created_at": iso(session.created_at),
        "updated_at": iso(session.updated_at),
        "user_id": session.user_id,
        "agent_id": session.agent_id,
        "title": session.name,
        "metadata": metadata,
        **payload.copy(_DEFAULTS),
        **own,
    }
    if session.state is not None:
        document["state"] = session.state
    if messages is not None:
        document["messages"] = [message_of(message) for message in messages]
    return document


def session_of(document: Document, old: ConversationSession | None = None) -> ConversationSession:
    """Return the record of a document, which was ``old`` so far.

    Raises:
        InvalidValueError: its metadata have the key that is reserved.
    """
    own = {key: value for key, value in document.items() if key not in _OWN_FIELDS and value != _DEFAULTS.get(key)}
    metadata = _together(document["metadata"], own)
    return ConversationSession(
        document["session_id"],
        document["user_id"],
        document["agent_id"],
        document["title"],
        document.get("state"),
        metadata or (old.metadata if old and not old.metadata else None),
        seconds(document.get("created_at")),
    )


def message_of(record: ConversationMessage) -> Message:
    """Return the message of a record."""
    metadata, own = _apart(record.metadata)
    message: Message = {
        "role": record.role,
        "content": record.content,
        "timestamp": record.created_at,
        "metadata": metadata,
        **own,
    }
    if record.tool_calls is not None:
        message["tool_calls"] = record.tool_calls
    if record.tool_call_id is not None:
        message["tool_call_id"] = record.tool_call_id
    return message


def record_of(message: Message) -> ConversationMessage:
    """Return the record of a message.

    Raises:
        InvalidValueError: its metadata have the key that is reserved.
    """
    own = {key: value for key, value in message.items() if key not in _MESSAGE_FIELDS}
    metadata = _together(message.get("metadata") or {}, own)
    return ConversationMessage(
        role=message["role"],
        content=message["content"],
        tool_calls=message.get("tool_calls"),
        tool_call_id=message.get("tool_call_id"),
        metadata=metadata or None,
        created_at=message["timestamp"],
    )


def difference(
    old: Sequence[ConversationMessage], new: Sequence[Message]
) -> tuple[list[str], list[ConversationMessage]]:
    """Return which of the old messages go, by id, and which are appended, so that the new ones are there."""
    kept = 0
    while kept < min(len(old), len(new)) and payload.equal(message_of(old[kept]), new[kept]):
        kept += 1
    return [message.id for message in old[kept:]], [record_of(message) for message in new[kept:]]


def seconds(moment: Any) -> float:
    """Return ISO 8601 as Unix seconds; now, where it is something else."""
    try:
        found = datetime.fromisoformat(moment.replace("Z", "+00:00"))  # which Python 3.10 does not read
    except (AttributeError, ValueError):
        return time.time()
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def same(a: ConversationSession, b: ConversationSession) -> bool:
    """Whether two sessions say the same, whenever they were written."""
    names = ("user_id", "agent_id", "name", "state", "metadata")
    return all(payload.equal(getattr(a, name), getattr(b, name)) for name in names)
