"""Operations written once, as generators of the calls they make, for sync and async callers.

[both][] makes the sync and the async method of an operation, each over sync and async stores: a sync store works on
threads for an async caller, an async store on the bridge's event loop for a sync one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any, NamedTuple, NoReturn, SupportsIndex, TypeVar

from praisonai_persistence._store import AsyncStore, SyncStore
from praisonai_persistence.bridge import Threads, run_sync
from praisonai_persistence.errors import ConfigurationError, UnsupportedOperationError

__all__ = ["Call", "Calls", "NoCopies", "both", "later", "need_store", "now"]

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


class NoCopies:
    """For objects of a framework that hold an open store, and that it would pickle without the store."""

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise UnsupportedOperationError(
            f"a {type(self).__name__} cannot be pickled or copied: open the store again where it is needed"
        )
