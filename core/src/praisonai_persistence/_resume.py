"""A stored conversation, as a model accepts it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from praisonai_persistence.runs import DbMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from praisonai_persistence.records import ConversationMessage

__all__ = ["INTERRUPTED", "digest", "made_up_call", "resumable"]

INTERRUPTED = "(no result: the run was interrupted)"
"""Stands in a resumed conversation where the result of a tool is missing."""


def resumable(messages: Iterable[ConversationMessage], *, cut: bool = False) -> list[DbMessage]:
    """Return messages as a model accepts them: behind each call of a tool stands its result, and nothing else.

    Results move up to their calls (two agents may have written at the same time), a call without a result gets one that
    says so, and a result without a call gets a call. Nothing of this is stored.

    Args:
        messages: oldest first.
        cut: whether earlier ones were left out: then results whose calls are among those are left out too.
    """
    given = list(messages)
    # Ids of calls come from the model, and some begin anew with every turn: a result belongs to the latest such call.
    callers: dict[str, int] = {}
    results: dict[tuple[int, str], ConversationMessage] = {}
    for message in given:
        if message.role == "tool":
            if message.tool_call_id in callers:
                results.setdefault((callers[message.tool_call_id], message.tool_call_id), message)
        else:
            callers.update(dict.fromkeys(_asked(message), message.seq))
    used = {result.seq for result in results.values()}
    found: list[DbMessage] = []
    for message in given:
        if message.role == "tool":
            if message.seq in used:
                continue
            if cut and not any(earlier.role != "tool" for earlier in found):
                continue
            found += [_call_of(message), replace(_taken_up(message), tool_call_id=_call_id(message))]
            continue
        found.append(_taken_up(message))
        for call_id in _asked(message):
            result = results.get((message.seq, call_id))
            if result is not None:
                found.append(_taken_up(result))
            else:
                found.append(DbMessage("tool", INTERRUPTED, timestamp=message.created_at, tool_call_id=call_id))
    return found


def _asked(message: ConversationMessage) -> list[str]:
    """Return the ids of the calls in a message, each once."""
    ids = [call.get("id") for call in message.tool_calls or ()]
    return list(dict.fromkeys(id_ for id_ in ids if isinstance(id_, str)))


def _taken_up(message: ConversationMessage) -> DbMessage:
    metadata = message.metadata or {}
    return DbMessage(
        role=message.role,
        content=message.content,
        metadata=metadata,
        timestamp=message.created_at,
        id=message.id,
        tool_calls=message.tool_calls,
        tool_call_id=message.tool_call_id,
        run_id=metadata.get("run_id"),
    )


def _call_id(message: ConversationMessage) -> str:
    return message.tool_call_id or made_up_call(message.id)


def made_up_call(message_id: str) -> str:
    """Return an id for a call that has none, always the same; models take at most 40 characters."""
    return f"call_{digest(message_id)}"


def digest(text: str) -> str:
    """Return 24 hexadecimal digits that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _call_of(message: ConversationMessage) -> DbMessage:
    """Return the call that a lone result must have had."""
    name = str((message.metadata or {}).get("tool_name") or "tool")
    call = {"id": _call_id(message), "type": "function", "function": {"name": name, "arguments": "{}"}}
    return DbMessage("assistant", None, timestamp=message.created_at, tool_calls=[call])
