"""One way to call stores of both modes: everything is awaited. Imports nothing heavy, for child processes."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._loops import drain
from praisonai_persistence._store import AsyncStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Portal", "SyncFacade", "awaitable", "drive"]

T = TypeVar("T")


class SyncFacade:
    """A sync store whose methods are awaited, and return at once; an iterator is an async iterator.

    Attributes:
        raw: the store itself.
    """

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self.raw, name)
        if not callable(attribute):
            return attribute
        if name == "scan_prefix":
            return lambda *args, **kwargs: _iterate(attribute, *args, **kwargs)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return attribute(*args, **kwargs)

        return call

    async def __aenter__(self) -> SyncFacade:
        entered = self.raw.__enter__()
        return self if entered is self.raw else SyncFacade(entered)

    async def __aexit__(self, *error: Any) -> Any:
        return self.raw.__exit__(*error)


async def _iterate(function: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    for item in function(*args, **kwargs):
        yield item


def awaitable(store: Any) -> Any:
    """Return what suites call: an async store itself, a sync one behind a [SyncFacade][]."""
    is_async = isinstance(store, AsyncStore) or inspect.iscoroutinefunction(getattr(type(store), "close", None))
    return store if is_async else SyncFacade(store)


def drive(steps: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that calls sync stores only, without an event loop: nothing in it ever waits."""
    try:
        steps.send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    steps.close()
    raise RuntimeError("only store calls may be awaited here; they never wait on a sync store")


class Portal:
    """Calls stores of both modes from sync code, as a stateful test needs it; an async store gets a loop of its own.

    Args:
        spec: the store.
        mode: ``sync`` or ``async``.
    """

    def __init__(self, spec: StoreSpec, mode: str) -> None:
        self._spec = spec
        self._mode = mode
        self._loop = asyncio.new_event_loop() if mode == "async" else None
        self._opened: list[Any] = []

    def open(self) -> Any:
        """Open another store object on the same data; closed with the portal."""
        store = self.run(self._construct())
        self._opened.append(store)
        return store

    async def _construct(self) -> Any:
        return awaitable(self._spec.open(self._mode))

    def run(self, steps: Coroutine[Any, Any, T]) -> T:
        """Run one call of a store, ``portal.run(store.get("key"))``."""
        return drive(steps) if self._loop is None else self._loop.run_until_complete(steps)

    def close(self) -> None:
        """Close the stores, and the loop."""
        try:
            for store in reversed(self._opened):
                self.run(store.close())
        finally:
            if self._loop is not None:
                drain(self._loop)
                self._loop.run_until_complete(self._loop.shutdown_default_executor())
                self._loop.close()
