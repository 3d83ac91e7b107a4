"""Messages of session documents as records of a conversation store, and back."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.payload import RESERVED_KEY
from praisonai_persistence.records import ConversationMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import ConversationSession
    from praisonai_persistence.stores.sessions import Message

__all__ = ["RESERVED_KEY", "difference", "message_of", "record_of", "same", "seconds"]

_MESSAGE_FIELDS = frozenset({"role", "content", "timestamp", "metadata", "tool_calls", "tool_call_id"})


def message_of(record: ConversationMessage) -> Message:
    """Return the message of a record."""
    metadata = dict(record.metadata or {})
    own = metadata.pop(RESERVED_KEY, None)
    message: Message = {
        "role": record.role,
        "content": record.content,
        "timestamp": record.created_at,
        "metadata": metadata,
        **(own if isinstance(own, dict) else {}),
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
    metadata = message.get("metadata") or {}
    if RESERVED_KEY in metadata:
        raise InvalidValueError(f"the metadata key {RESERVED_KEY!r} is taken by the store itself")
    own = {key: value for key, value in message.items() if key not in _MESSAGE_FIELDS}
    if own:
        metadata = {**metadata, RESERVED_KEY: own}
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
