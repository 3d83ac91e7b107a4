"""The records that stores take and return.

Field names are public API. Records are plain, slotted and mutable, so that one can change ``session.name`` and pass the
session to ``update_session``; a store never changes the record that it was given, it returns a new one. Times are Unix
seconds (UTC, float).
"""

from __future__ import annotations

import time

from praisonai_persistence._declare import dataclass, field
from praisonai_persistence._ids import new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from typing_extensions import Self

__all__ = ["ConversationMessage", "ConversationSession", "KnowledgeDocument", "text_of"]


class _Record:
    """``to_dict`` and ``from_dict``, from the fields of the dataclass."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return every field, also those that are None. Nested values are shared with the record, not copied."""
        return {name: getattr(self, name) for name in _names(type(self))}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a record of the keys that it knows; others are ignored, missing ones get their defaults."""
        known = _names(cls)
        return cls(**{key: value for key, value in data.items() if key in known})


def _names(cls: type[_Record]) -> tuple[str, ...]:
    """Return the names of the fields, also of a data class that derives from a record."""
    if cls.__module__ == __name__:
        names: tuple[str, ...] = cls.__match_args__  # type: ignore[attr-defined]
        return names
    from dataclasses import fields

    return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]


@dataclass(slots=True)
class ConversationSession(_Record):
    """One conversation.

    Attributes:
        session_id: 1 to 255 characters without NUL and lone surrogates; made up when it is not given.
        user_id: whose it is, or None; same rule as ``session_id``.
        agent_id: which agent's it is, or None; same rule.
        name: any text, or None.
        state: a JSON object, or None.
        metadata: a JSON object, or None.
        created_at: Unix seconds; kept as given.
        updated_at: Unix seconds; ``created_at`` unless given. Stores raise it with every write, it never goes back. One
            that is later than now is stored as now.
        version: set by the store: 1 for a new session, one more with every ``update_session``.
    """

    session_id: str = field(default_factory=new_id)
    user_id: str | None = None
    agent_id: str | None = None
    name: str | None = None
    state: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    created_at: float = field(default_factory=time.time)
    updated_at: float = None  # type: ignore[assignment]  # ``created_at``, from ``__post_init__`` on
    version: int = 1

    def __post_init__(self) -> None:
        if self.updated_at is None:
            self.updated_at = self.created_at  # type: ignore[unreachable]


@dataclass(slots=True)
class ConversationMessage(_Record):
    """One message of a session.

    Attributes:
        id: unique in its session: 1 to 255 characters without NUL and lone surrogates; made up when it is not given.
            Give your own to make a retried append safe.
        session_id: the session; a store fills it in when it is empty.
        role: ``user``, ``assistant``, ``system``, ``tool``, or any other text.
        content: any text, or None (an assistant turn that only calls tools), or a list of parts: JSON objects and
            texts, as models take pictures and the like. The text of a list is that of its parts; see ``text_of``.
        tool_calls: a list of JSON objects, or None; ``[]`` stays ``[]``.
        tool_call_id: any text, or None; ``""`` stays ``""``.
        metadata: a JSON object, or None.
        created_at: Unix seconds; kept as given. It does not decide the order.
        seq: set by the store: 1, 2, 3 ... in its session. It decides the order. 0 for a message that is not stored.
    """

    id: str = field(default_factory=new_id)
    session_id: str = ""
    role: str = "user"
    content: str | list[Any] | None = ""
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    metadata: dict[str, Any] | None = None
    created_at: float = field(default_factory=time.time)
    seq: int = 0


def text_of(content: str | list[Any] | None) -> str:
    """Return the text of a message's content: of a list, its texts and the ``text`` of its objects, one a line."""
    if not isinstance(content, list):
        return content or ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))


@dataclass(slots=True)
class KnowledgeDocument(_Record):
    """One document of a collection.

    Attributes:
        id: unique in its collection: 1 to 255 characters without NUL and lone surrogates; made up when it is not given.
        content: any text.
        embedding: ``dimension`` finite numbers; engines keep them as 32-bit floats. None where it was not asked for.
        metadata: a JSON object, or None.
        content_hash: any text, or None; for the caller's own bookkeeping.
        created_at: Unix seconds; kept as given.
        score: set by ``search`` only, higher is better; None otherwise.
    """

    id: str = field(default_factory=new_id)
    content: str = ""
    embedding: list[float] | None = None
    metadata: dict[str, Any] | None = None
    content_hash: str | None = None
    created_at: float = field(default_factory=time.time)
    score: float | None = None
