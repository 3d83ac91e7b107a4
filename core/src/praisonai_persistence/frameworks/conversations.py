"""Messages of a session, for adapters to frameworks: operations, and what tool calls are."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConflictError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.frameworks.calls import Call
from praisonai_persistence.records import ConversationMessage, ConversationSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.frameworks.calls import Calls

__all__ = ["append", "function_call", "read_call", "remove_all", "remove_at", "replace", "session_ids"]

_PAGE = 1000


def append(
    store: Any,
    session_id: str,
    messages: Sequence[ConversationMessage],
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
) -> Calls[None]:
    """Append messages in one step; a session that is not there is created first, for that user and agent."""
    if not messages:
        return
    add = Call(store, "add_messages", (session_id, messages))
    try:
        yield add
    except SessionNotFoundError:
        with contextlib.suppress(SessionExistsError):  # another writer was first
            yield Call(store, "create_session", (ConversationSession(session_id, user_id=user_id, agent_id=agent_id),))
        yield add


def replace(
    store: Any,
    session_id: str,
    messages: Sequence[ConversationMessage],
    same: Callable[[ConversationMessage, int], bool],
    *,
    user_id: str | None = None,
    agent_id: str | None = None,
) -> Calls[None]:
    """Replace all messages in one step, as far as the store can; a session that is not there is created.

    Those at the beginning that are the same stay as they are stored.

    Args:
        store: a conversation store.
        session_id: the session.
        messages: what it holds afterwards.
        same: whether a stored message is the one at that place of ``messages``.
        user_id: of a session that is created here.
        agent_id: of a session that is created here.
    """
    while True:
        session = yield Call(store, "get_session", (session_id,))
        if session is None:
            new = ConversationSession(session_id, user_id=user_id, agent_id=agent_id)
            with contextlib.suppress(SessionExistsError):  # another writer was first
                yield Call(store, "rewrite_session", (new, messages), {"expected_version": 0})
                return
            continue
        found = yield Call(store, "get_messages", (session_id,))
        kept = 0
        while kept < min(len(found), len(messages)) and same(found[kept], kept):
            kept += 1
        if kept == len(found) == len(messages):
            return
        how = {"expected_version": session.version, "remove": [message.id for message in found[kept:]]}
        with contextlib.suppress(ConflictError, SessionNotFoundError):
            yield Call(store, "rewrite_session", (session, messages[kept:]), how)
            return


def remove_all(store: Any, session_id: str) -> Calls[list[ConversationMessage] | None]:
    """Remove and return the messages of a session, which stays; None if there is no such session."""
    found = yield Call(store, "get_messages", (session_id,))
    if not found and (yield Call(store, "get_session", (session_id,))) is None:
        return None
    with contextlib.suppress(SessionNotFoundError):  # by id: what others append meanwhile stays
        yield Call(store, "delete_messages", (session_id, [message.id for message in found]))
    return found  # type: ignore[no-any-return]


def remove_at(store: Any, session_id: str, place: int) -> Calls[ConversationMessage | None]:
    """Remove and return the message at a place, from the end if it is negative; None if there is none.

    A message is returned to one caller only.
    """
    while True:
        found = yield Call(store, "get_messages", (session_id,), {"limit": -place if place < 0 else None})
        if not -len(found) <= place < len(found):
            return None
        with contextlib.suppress(SessionNotFoundError):
            if (yield Call(store, "delete_messages", (session_id, [found[place].id]))):
                return found[place]  # type: ignore[no-any-return]
        # Another caller has removed it.


def session_ids(store: Any, *, user_id: str | None = None, agent_id: str | None = None) -> Calls[list[str]]:
    """Return the ids of all sessions of a user and an agent; None: of all."""
    ids: dict[str, None] = {}
    page: Any = [None] * _PAGE
    offset = 0
    while len(page) == _PAGE:
        page = yield Call(store, "list_sessions", (user_id, agent_id, _PAGE, offset))
        ids.update(dict.fromkeys(session.session_id for session in page))
        offset += _PAGE
    return list(ids)


def function_call(id: str | None, name: str | None, arguments: Any) -> dict[str, Any]:  # noqa: A002
    """Return a tool call as models' interfaces have it, and so every reader of a conversation.

    Args:
        id: of the call.
        name: the tool's.
        arguments: a JSON object, or the text that a model gave instead.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False, default=str)
    return {"id": id, "type": "function", "function": {"name": name, "arguments": text}}


def read_call(call: dict[str, Any]) -> tuple[str | None, str | None, dict[str, Any] | str]:
    """Return id, name and arguments of a stored tool call, whoever wrote it; text if they are no JSON object."""
    function = call.get("function")
    inner: dict[str, Any] = function if isinstance(function, dict) else call
    arguments: Any = next((inner[key] for key in ("arguments", "args") if inner.get(key) is not None), {})
    parsed = arguments
    if isinstance(arguments, str):
        try:
            parsed = json.loads(arguments or "{}")
        except ValueError:
            parsed = None
    if not isinstance(parsed, dict):
        parsed = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    id_, name = call.get("id"), inner.get("name")
    return id_ if isinstance(id_, str) else None, name if isinstance(name, str) else None, parsed
