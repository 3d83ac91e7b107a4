"""What adapters to agent frameworks share: a store of this project as a framework's own kind of store.

An operation is written once, as a generator of the calls that it makes. [both][] makes the sync and the async method of
it, each over sync and async stores: a sync store works on threads for an async caller, an async store on the bridge's
event loop for a sync one.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from praisonai_persistence._store import AsyncStore, SyncStore
from praisonai_persistence.bridge import Threads, run_sync
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

__all__ = ["Call", "Calls", "append", "both", "function_call", "later", "need_store", "now", "put", "read_call"]

T = TypeVar("T")

_threads = Threads()  # on which sync stores work for async callers; they start with the first call


class Call(NamedTuple):
    """A method of a store, or of an object of the framework, and what it is called with.

    Attributes:
        target: the store, sync or async, or the object.
        method: its name.
        args: positional arguments.
        kwargs: keyword arguments.
        amethod: of an object of the framework: the name of the coroutine method that async callers use. Without one,
            ``method`` runs on a thread for them.
    """

    target: Any
    method: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - it is only read
    amethod: str | None = None


Calls = Generator[Call, Any, T]
"""An operation: it yields calls, is sent their results, and returns its own."""


def now(calls: Calls[T]) -> T:
    """Do an operation for a sync caller."""
    step: Callable[[Any], Call] = calls.send
    value: Any = None
    while True:
        try:
            call = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            method = getattr(call.target, call.method)
            if isinstance(call.target, AsyncStore):
                value = run_sync(method, *call.args, **call.kwargs)
            else:
                value = method(*call.args, **call.kwargs)
            step = calls.send
        except BaseException as error:  # noqa: BLE001 - the operation raises it again, or handles it
            step, value = calls.throw, error


async def later(calls: Calls[T]) -> T:
    """Do an operation for an async caller."""
    step: Callable[[Any], Call] = calls.send
    value: Any = None
    while True:
        try:
            call = step(value)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        try:
            method = getattr(call.target, call.amethod or call.method)
            if call.amethod or isinstance(call.target, AsyncStore):
                value = await method(*call.args, **call.kwargs)
            else:
                value = await _threads.run(method, *call.args, **call.kwargs)
            step = calls.send
        except BaseException as error:  # noqa: BLE001 - the operation raises it again, or handles it
            step, value = calls.throw, error


def both(operation: Callable[..., Calls[Any]], finish: Callable[[Any], Any] = lambda value: value) -> tuple[Any, Any]:
    """Return the sync and the async method that do an operation, with its signature and docstring.

    Args:
        operation: a function that returns calls.
        finish: makes the methods' result of the operation's.
    """

    @functools.wraps(operation)
    def method(*args: Any, **kwargs: Any) -> Any:
        return finish(now(operation(*args, **kwargs)))

    @functools.wraps(operation)
    async def amethod(*args: Any, **kwargs: Any) -> Any:
        return finish(await later(operation(*args, **kwargs)))

    return method, amethod


def need_store(store: Any, kind: str) -> Any:
    """Return a store, sync or async, of a kind: ``conversation``, ``knowledge`` or ``state``.

    Raises:
        ConfigurationError: it is none of that kind.
    """
    if not isinstance(store, (SyncStore, AsyncStore)) or store.kind != kind:
        raise ConfigurationError(
            f"store must be a {kind} store, not {type(store).__name__}: open one with open_{kind}_store(URL)"
        )
    return store


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


def put(store: Any, collection: str, documents: Sequence[KnowledgeDocument], distance: str) -> Calls[list[str]]:
    """Add or replace documents, one or more; a collection that is not there is created with their dimension first."""
    write = Call(store, "upsert", (collection, documents))
    try:
        return (yield write)  # type: ignore[no-any-return]
    except CollectionNotFoundError:
        dimension = len(documents[0].embedding or ())
        yield Call(store, "create_collection", (collection, dimension, distance))
        return (yield write)  # type: ignore[no-any-return]


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
