"""What the memory stores of all kinds share."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import AsyncRunner, DirectRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps

__all__ = ["AsyncDirectRunner", "Data", "open_data"]

T = TypeVar("T")


class Data:
    """What stores of one name share: one lock, and one table of every kind for every prefix.

    A call in the middle of a change of the same thread (from a ``__del__``, say) has the lock, too. So a change is made
    ready aside, beginning with a new object as ``turn``; if ``turn`` is still that object then, the change is put in by
    one step, else it starts again. The comparison and the step stand in one line, with no call of Python code and none
    of C code in between, so that nothing comes between them: no signal, no collector, no trace function.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.turn = object()
        self.tables: dict[tuple[type, str], Any] = {}
        with _named_lock:  # a fork looks at all of them, and must not meet one that is just coming into being
            _every.add(self)

    def table(self, kind: type[T], prefix: str) -> T:
        with self.lock:
            return self.tables.setdefault((kind, prefix), kind())  # type: ignore[no-any-return]


_every: weakref.WeakSet[Data] = weakref.WeakSet()
_named: weakref.WeakValueDictionary[str, Data] = weakref.WeakValueDictionary()
_named_lock = threading.RLock()


_held: list[Data] = []


def _before_fork() -> None:
    """Wait until no thread is in the middle of a change: the child gets a copy of everything as it is now."""
    _named_lock.acquire()
    _held[:] = _every
    for data in _held:
        data.lock.acquire()


def _after_fork() -> None:
    for data in _held:
        data.lock.release()
    _held.clear()
    _named_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def open_data(url: str | None, name: str | None) -> Data:
    if name is not None and not isinstance(name, str):
        raise ConfigurationError(f"name must be text, not {type(name).__name__}")
    if url is not None:
        if not isinstance(url, str):
            raise ConfigurationError(f"a URL must be text, not {type(url).__name__}")
        scheme, separator, rest = url.partition("://")
        if scheme.lower() != "memory" or not separator:
            raise ConfigurationError("the memory backend takes the URL 'memory://' or 'memory://name'")
        name = name or rest.strip("/")
    if not name:
        return Data()
    with _named_lock:
        data = _named.get(name)
        if data is None:
            _named[name] = data = Data()
        return data


class AsyncDirectRunner(AsyncRunner):
    """A direct runner for async callers: nothing in memory is worth a thread."""

    def __init__(self) -> None:
        self._runner = DirectRunner()

    async def connect(self) -> None:
        self._runner.connect()

    async def run(self, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any) -> T:
        return self._runner.run(operation, *args, **kwargs)

    async def close(self) -> None:
        self._runner.close()
