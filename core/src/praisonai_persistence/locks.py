"""Locks between threads and processes that an exception raised from outside (a signal handler's) never leaves locked.

CPython delivers such an exception behind a call, at the start of a Python function, and at the end of a loop's turn. A
``with`` on an object whose ``__enter__`` and ``__exit__`` are written in C has no such place between taking and the
protected block, nor at its end. So everything here rests on ``with`` on an ``RLock`` or an ``io.FileIO``, and on
``finally`` blocks whose first call is one of a C function.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import BackendError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FileLock", "LockTimeoutError", "file_lock", "holding", "holding_file", "is_owned", "open_file"]

T = TypeVar("T")

_POLL = 0.005
"""Seconds between two looks at a lock that another process holds."""

if sys.platform == "win32":
    import msvcrt

    LOCK_EX, LOCK_NB, LOCK_UN = 2, 4, 8

    def flock(descriptor: int, operation: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK if operation == LOCK_UN else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if operation != LOCK_UN:
                raise BlockingIOError(error.errno, error.strerror) from error
else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock


class LockTimeoutError(BackendError):
    """Another thread or process held a lock for longer than the caller waits."""


def is_owned(lock: Any) -> bool:
    """Whether the calling thread holds an ``RLock``."""
    return bool(lock._is_owned())


def holding(lock: Any, timeout: float, work: Callable[[], T], what: str = "a lock") -> T:
    """Call ``work`` while the calling thread holds ``lock``, an ``RLock``, and return what it returns.

    Args:
        lock: the lock.
        timeout: seconds to wait for it.
        work: what is done under the lock.
        what: what errors call the lock.

    Raises:
        UnsupportedOperationError: the thread holds the lock already: this is a call from a ``__del__``, a signal
            handler or the like, in the middle of another call. ``is_owned`` tells beforehand.
        LockTimeoutError: another thread held the lock for longer than ``timeout``.
    """
    if lock._is_owned():
        raise UnsupportedOperationError(
            f"this thread holds {what} already: this is a call from a __del__, say, in the middle of another call"
        )
    try:
        if not lock.acquire(timeout=max(0.0, min(timeout, threading.TIMEOUT_MAX))):
            raise LockTimeoutError(f"another thread held {what} for more than {timeout} seconds")
        with lock:
            lock.release()  # from here on, the `with` alone holds it
            return work()
    except BaseException:
        if lock._is_owned():  # interrupted between acquire and the `with`
            lock.release()
        raise


def open_file(path: str, flags: int, permissions: int = 0o600) -> io.FileIO:
    """Open a file with flags of ``os.open``; it is not inherited by programs that are started.

    An interrupt cannot come between the opening and the making of the object that closes the file: it is one call.
    """
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    mode = "r" if flags & (os.O_WRONLY | os.O_RDWR) == 0 else "w" if flags & os.O_WRONLY else "r+"
    opened: dict[str, int] = {}
    files: dict[str, io.FileIO] = {}  # what an interrupt just behind that call would lose without closing it
    descriptors = map(opened.setdefault, ("it",), map(os.open, (path,), (flags,), (permissions,)))
    try:
        return next(map(files.setdefault, ("it",), map(io.FileIO, descriptors, (mode,))))
    except IsADirectoryError:  # FileIO does not close what it does not take
        for descriptor in opened.values():
            os.close(descriptor)
        raise
    except BaseException:
        for file in files.values():
            file.close()
        raise


_LOCK_FILE = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_open_files: dict[io.FileIO, None] = {}
"""Lock files that are, or are about to be, locked by this process."""


def _close_in_child() -> None:
    # The lock belongs to what parent and child have open in common, so it would stay for as long as the child lives.
    for file in list(_open_files):
        file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


class FileLock:
    """An advisory lock of a file: ``flock``, on Windows ``msvcrt.locking`` of its first byte.

    It keeps apart the threads that use this object, and all processes (also those that use the package ``filelock``, or
    ``flock``). The file is made, readable by its owner alone, and never removed: else two could hold the lock of two
    files of one name. A symbolic link is not followed. A file that is removed by others is made anew.

    A forked child does not hold what its parent holds.

    Args:
        path: the file; its folder must be there.
        what: what errors call the lock.

    Attributes:
        path: the file.
        turn: changed by [run][FileLock.run] at its beginning, also in the middle of another run of the same thread: who
            notes it, and finds it changed later, has been overtaken.
    """

    def __init__(self, path: str, what: str = "the lock of a file") -> None:
        self.path = path
        self.turn: object = None
        self._what = what
        self._kept: io.FileIO | None = None
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._mutex: Any = threading.RLock()
        self._file: io.FileIO | None = None
        self.turn = None

    def run(self, timeout: float, work: Callable[[], T]) -> T:
        """Call ``work`` while the lock is held, and return what it returns.

        In the middle of another run of the same thread (in a ``__del__``, say) ``work`` is called at once, under the
        lock of that run: ``turn`` tells the outer one.

        Args:
            timeout: seconds to wait for other threads and processes.
            work: what is done under the lock.

        Raises:
            LockTimeoutError: another thread or process held the lock for longer.
            OSError: the file cannot be opened.
        """
        deadline = time.monotonic() + timeout
        if not self._mutex._is_owned():
            return holding(self._mutex, timeout, lambda: self._locked(timeout, deadline, work), self._what)
        with self._mutex:
            return self._locked(timeout, deadline, work)

    def _locked(self, timeout: float, deadline: float, work: Callable[[], T]) -> T:
        outer = self._file
        if outer is not None and _stands(outer, self.path):
            # The outer run may or may not have the lock yet. It is the same open file: locking it twice is harmless.
            self._wait(outer, timeout, deadline)
            self.turn = object()
            return work()
        while True:
            with open_file(self.path, _LOCK_FILE) as file:
                descriptor = file.fileno()
                self._file = file
                _open_files[file] = None
                try:
                    self._wait(file, timeout, deadline)
                    if _stands(file, self.path):
                        self.turn = object()
                        return work()
                finally:
                    self._file = outer
                    del _open_files[file]
                    if not file.closed:  # else this is a forked child
                        flock(descriptor, LOCK_UN)  # closing is not enough: a child may have it open too

    def stands(self) -> bool:
        """Whether what this run has locked is still the file at the path; if not, others may hold the lock as well."""
        file = self._file
        return file is not None and _stands(file, self.path)

    def _wait(self, file: io.FileIO, timeout: float, deadline: float) -> None:
        while True:
            try:
                return flock(file.fileno(), LOCK_EX | LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    reason = f"another process held {self._what} for more than {timeout} seconds"
                    raise LockTimeoutError(reason) from None
            time.sleep(_POLL)

    def acquire(self, timeout: float) -> None:
        """Take the lock until [release][FileLock.release], for what is open longer than a call. Not for many threads.

        An interrupt leaves it taken, or not: [release][FileLock.release] is harmless in both cases.

        Raises:
            LockTimeoutError: another process held it for longer than ``timeout`` seconds.
            OSError: the file cannot be opened.
        """
        deadline = time.monotonic() + timeout
        while self._kept is None:
            file = open_file(self.path, _LOCK_FILE)
            _open_files[file] = None
            try:
                self._wait(file, timeout, deadline)
                if _stands(file, self.path):
                    self._kept = file
            finally:
                if self._kept is not file:
                    file.close()
                    del _open_files[file]

    def release(self) -> None:
        """Give back what [acquire][FileLock.acquire] has taken; else nothing happens."""
        file = self._kept
        if file is not None:
            if not file.closed:
                flock(file.fileno(), LOCK_UN)
            file.close()
            _open_files.pop(file, None)
            self._kept = None


def _stands(file: io.FileIO, path: str) -> bool:
    """Whether an open file is still the one at a path."""
    try:
        return not file.closed and os.path.samestat(os.fstat(file.fileno()), os.stat(path, follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return False


_shared: weakref.WeakValueDictionary[str, FileLock] = weakref.WeakValueDictionary()


class _Guard:
    """The lock of ``_shared``."""

    def __init__(self) -> None:
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self.lock = threading.RLock()


_guard = _Guard()


def file_lock(path: str, what: str = "the lock of a file") -> FileLock:
    """Return the [FileLock][] of a path, the same one for the whole process while somebody has it.

    Args:
        path: the file, absolute.
        what: what errors call the lock.
    """
    lock = _shared.get(path)
    if lock is None:
        with _guard.lock:
            lock = _shared.get(path)
            if lock is None:
                _shared[path] = lock = FileLock(path, what)
    return lock


def holding_file(path: str, timeout: float, work: Callable[[], T], what: str = "the lock of a file") -> T:
    """Call ``work`` while the lock of a file is held, and return what it returns; see [FileLock.run][]."""
    return file_lock(path, what).run(timeout, work)
