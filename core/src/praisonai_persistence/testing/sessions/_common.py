"""What the tests of session stores share."""

from __future__ import annotations

import random
from typing import Any

from praisonai_persistence.testing.harness import Unsupported, raw

__all__ = ["BODIES", "HIERARCHY", "declares", "exchanges", "fill", "missing", "orphans_of", "texts_of"]

BODIES = "praisonai_persistence.testing._session_bodies"
HIERARCHY = ("create_session", "fork_session", "create_snapshot", "revert_to_snapshot", "import_session")


def declares(store: Any, capability: str) -> bool:
    return capability in getattr(raw(store), "capabilities", ())


def texts_of(messages: list[dict[str, Any]]) -> list[Any]:
    return [message["content"] for message in messages]


async def fill(store: Any, session_id: str, *texts: str) -> None:
    for text in texts:
        assert await store.add_message(session_id, "user", text) is True


async def missing(store: Any, unsupported: Unsupported, *methods: str) -> bool:
    """Whether a store does not declare a hierarchy, which then has none of the methods either."""
    if declares(store, "hierarchy"):
        return False
    found = [name for name in methods if hasattr(raw(store), name)]
    assert not found, f"it has {found}, but does not declare 'hierarchy'"
    unsupported("hierarchy")
    return True


def exchanges(chance: random.Random, length: int) -> list[dict[str, Any]]:
    """Return a history with tool calls: answered at once or later, one or several together, ids used again."""
    messages: list[dict[str, Any]] = []
    while len(messages) < length:
        messages.append({"role": "user", "content": f"question {len(messages)}"})
        for _ in range(chance.randint(0, 2)):
            calls = [f"call-{chance.randint(0, 3)}-{number}" for number in range(chance.randint(1, 3))]
            messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": call} for call in calls]})
            for number, call in enumerate(calls):
                if number and chance.random() < 0.3:
                    messages.append({"role": "assistant", "content": "still working"})
                messages.append({"role": "tool", "content": f"result of {call}", "tool_call_id": call})
        messages.append({"role": "assistant", "content": "answer"})
    return messages


def orphans_of(messages: list[dict[str, Any]]) -> list[str]:
    """Return the ids of calls whose results are there without them."""
    asked: set[str] = set()
    orphans = []
    for message in messages:
        if message.get("tool_call_id") is not None and message["tool_call_id"] not in asked:
            orphans.append(message["tool_call_id"])
        asked |= {call["id"] for call in message.get("tool_calls") or ()}
    return orphans
