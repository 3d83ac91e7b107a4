"""What the benchmarks of services do with conversations: appends to one session, and the end of a long one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from praisonai_persistence import ConversationMessage, ConversationSession, ConversationStore

__all__ = ["filled", "turns"]


def _message() -> ConversationMessage:
    return ConversationMessage(role="user", content="x" * 200)


def filled(store: ConversationStore) -> None:
    """Make the sessions ``ours``, ``theirs`` and ``long``, the last with 10,000 messages."""
    for session_id in ("ours", "theirs", "long"):
        store.create_session(ConversationSession(session_id))
    for _ in range(10):
        store.add_messages("long", [_message() for _ in range(1_000)])


def turns(store: ConversationStore, append: Callable[[], Any], resume: Callable[[], Any], times: int) -> dict[str, Any]:
    """Return the work on a store that was filled, beside a program's append and its query of the last 50 messages."""
    return {
        "append": (lambda: store.add_message("ours", _message()), append, times // 3),
        "resume 50 of 10,000": (lambda: store.get_messages("long", limit=50), resume, times // 3),
    }
