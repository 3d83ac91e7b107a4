"""Records with a value in every field, and how the tests of conversation stores compare them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.testing._compare import Comparison
from praisonai_persistence.testing.corpus import (
    identical,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BODIES",
    "CLOCKS",
    "EVERYTHING",
    "FAR_FUTURE",
    "FAR_TIMES",
    "NOW",
    "Message",
    "Session",
    "append",
    "assert_unchanged",
    "clock_at",
    "full_message",
    "full_session",
    "ids_of",
    "same_message",
    "same_session",
    "seqs_of",
]

BODIES = "praisonai_persistence.testing._conversation_bodies"
NOW = 1_700_000_000.25
FAR_FUTURE = 4_102_444_800.0  # the year 2100
CLOCKS = (253_402_000_000.0, NOW * 1000, 1e15)
"""What a clock may have said: the year 9999, milliseconds for seconds, more."""
FAR_TIMES = (FAR_FUTURE, *CLOCKS, 1e300, -1e300, 5e-324)
"""Times that callers give a record."""
EVERYTHING = 10_000
_REAL_CLOCK = time.time

Message = ConversationMessage
Session = ConversationSession


def clock_at(moment: float) -> Callable[[], float]:
    """Return what stands for ``time.time`` on a machine whose clock says ``moment``.

    gRPC is told the truth: it makes deadlines in Python by that clock, which its C code compares with the machine's.
    """

    def clock() -> float:
        caller = str(sys._getframe(1).f_globals.get("__name__"))
        return _REAL_CLOCK() if caller.partition(".")[0] == "grpc" else moment

    return clock


def full_session(session_id: str = "s") -> ConversationSession:
    """A session with a value in every field."""
    return Session(
        session_id,
        user_id="user",
        agent_id="agent",
        name="a name",
        state={"step": 1, "nested": {"list": [1, 2.5, None, True, "x"]}},
        metadata={"tags": ["a", "b"], "count": 3},
        created_at=NOW,
        updated_at=NOW + 5,
    )


def full_message(message_id: str = "m", content: str | None = "content") -> ConversationMessage:
    """A message with a value in every field."""
    return Message(
        id=message_id,
        role="assistant",
        content=content,
        tool_calls=[{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        tool_call_id="call_0",
        metadata={"model": "m", "tokens": 12, "nested": {"list": [1, 2.5, None, True, "x"]}},
        created_at=NOW,
    )


def same_session(found: ConversationSession | None, expected: ConversationSession, **changes: Any) -> Comparison:
    return identical(found and found.to_dict(), {**expected.to_dict(), **changes})


def same_message(found: ConversationMessage, expected: ConversationMessage, **changes: Any) -> Comparison:
    return identical(found.to_dict(), {**expected.to_dict(), **changes})


def ids_of(messages: list[ConversationMessage]) -> list[str]:
    return [message.id for message in messages]


def seqs_of(messages: list[ConversationMessage]) -> list[int]:
    return [message.seq for message in messages]


async def append(store: Any, session_id: str, *ids: str) -> list[ConversationMessage]:
    """Append small messages one by one."""
    return [await store.add_message(session_id, Message(id=item, content=f"content of {item}")) for item in ids]


async def assert_unchanged(store: Any, session: ConversationSession, messages: int) -> None:
    """Assert that refused calls left a session as it was."""
    assert same_session(await store.get_session(session.session_id), session), "a refused call changed the session"
    assert await store.count_messages(session.session_id) == messages, "a refused call changed the messages"
