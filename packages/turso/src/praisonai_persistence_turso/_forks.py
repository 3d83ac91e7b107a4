"""Forks of a process that works with files.

libSQL keeps the locks of files in memory. A child would inherit them as they stand, and wait for a writer that it does
not have. So a fork waits until no file is opened, closed or worked with.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

__all__ = ["changing", "closed", "lock_of", "opened"]

_WAIT = 5.0  # seconds; an operation may take longer, or itself wait for the thread that forks
_NOBODY = 0  # is no client's
_locks: dict[int, Any] = {_NOBODY: threading.RLock()}
"""That of opening and closing, and one for the operations of each open client."""
_taken: dict[int, list[Any]] = {}  # by threads that fork


def changing() -> Any:
    """Return the lock that is held while a file is opened or closed."""
    return _locks[_NOBODY]


def opened(client: Any) -> None:
    """Note a client."""
    _locks[id(client)] = threading.RLock()


def closed(client: Any) -> None:
    """Forget a client."""
    _locks.pop(id(client), None)


def lock_of(client: Any) -> Any:
    """Return the lock that is held by an operation on a client."""
    return _locks.get(id(client)) or threading.RLock()  # a database in memory has none


def _before() -> None:
    until = time.monotonic() + _WAIT
    taken = _taken[threading.get_ident()] = []
    for lock in list(_locks.values()):
        if not lock._is_owned():  # else this thread forks in the middle of an operation
            taken.append(lock)  # first: an exception may come behind the next call
            lock.acquire(timeout=max(0.0, until - time.monotonic()))


def _after() -> None:
    for lock in _taken.pop(threading.get_ident(), ()):
        if lock._is_owned():
            lock.release()


def _in_child() -> None:
    """Give up the locks of threads that are not there any more."""
    _after()
    _taken.clear()
    for client in _locks:
        _locks[client] = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
