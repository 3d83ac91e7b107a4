"""What a backend says about its client."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from praisonai_persistence._closing import Single
from praisonai_persistence.drivers.outside import outsider
from praisonai_persistence.errors import (
    BackendError,
    BackendNotInstalledError,
    ConnectionFailedError,
    PersistenceError,
    StoreNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from praisonai_persistence.steps import Steps

__all__ = ["Deadline", "Driver", "check_exists", "from_outside", "is_loaded", "load", "ours", "raised_outside"]

GRACE = 10.0
"""Seconds at the most that a cancelled or interrupted call waits for the end of what it began (L04)."""


class Deadline:
    """A moment until which something has to be done.

    Args:
        seconds: from now on.
        where: what has to be reached, for the error.
    """

    __slots__ = ("_end", "_where", "seconds")

    def __init__(self, seconds: float, where: str) -> None:
        self.seconds = seconds
        self._where = where
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, more than 0.

        Raises:
            ConnectionFailedError: none are.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.missed()
        return left

    def missed(self) -> ConnectionFailedError:
        """Return the error of a deadline that was missed."""
        return ConnectionFailedError(f"{self._where} did not answer within {self.seconds:g} seconds")


class Driver(Single):
    """What a backend says about its client; the runners do everything else. Derive from it.

    A hook may be called from any thread. For an async client (``asynchronous``), ``open``, ``close``, ``probe`` and
    ``perform`` may return awaitables, which are awaited on the client's event loop, and ``begin`` may return an async
    context manager.

    Only ``open`` must be written. A hook that raises something other than a ``PersistenceError`` counts as an error
    of the client (``translate``), or else as a ``BackendError`` that names the hook.
    """

    where: str = "the engine"
    """What errors call the place, without a secret: ``the Qdrant server at db:6333``."""
    place: Hashable | None = None
    """Stores of one process whose drivers are of one class and have the same place share one client, as embedded
    engines need it. None: a client for each store (and for each event loop of an async store)."""
    path: str | None = None
    """The file or folder of an embedded engine. If it was removed or replaced, the client is opened anew (L09)."""
    forks: Literal["reopen", "refuse"] = "reopen"
    """What a forked child does that inherited an open client: open its own, or refuse with a typed error (L06)."""
    interrupts: Literal["reopen", "keep"] = "reopen"
    """What becomes of the client when an exception came from outside in the middle of an operation: it is replaced, or
    it stays, because the data are in its memory."""
    turns: Literal["none", "writes", "all"] = "none"
    """Which operations of the stores that share a client run one after the other."""
    lock_file: str | None = None
    """A file beside the data of an embedded engine. Whoever writes holds its lock, also against other processes."""
    lock_timeout: float = 60.0
    """Seconds to wait for that lock."""
    reentrant: bool = False
    """Whether a call may be made in the middle of another call of its thread (from a ``__del__``, a signal handler). If
    not, it is refused with ``UnsupportedOperationError`` (L08)."""
    asynchronous: bool = False
    """Whether the client is an async one."""
    given: Any = None
    """A client that the caller handed in: used, never closed. None: ``open`` makes one."""
    connect_timeout: float = 10.0
    """Seconds to connect in, the probe included."""
    timeout: float = 30.0
    """Seconds in which a request has to be answered. The driver of a sync client hands this to its client; for an async
    client the runner sees to it as well."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that ``open`` needs and that take long to import. They are imported before its time begins to run, on a
    thread of their own, so that an event loop does not stand still meanwhile."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Names of the packages whose exceptions the client raises: ``("qdrant_client", "httpx")``. Those of Python's own
    library count as well. Any other exception comes from outside, such as a time limit of the caller's task queue, and
    is passed on as it is (L03)."""

    must_exist = False
    """Whether nothing may be made where nothing is. Set by the runner; a ``probe`` that makes a schema raises
    ``StoreNotFoundError`` instead where there is none."""

    def exists(self) -> bool:
        """Whether there is anything that could be opened, asked where a store must exist. It makes nothing.

        By default whether there is something at ``path``. An engine that makes itself at home in any folder looks for
        a file of its own there. On a server there is nothing to look for, unless ``open`` or ``probe`` make something.
        """
        return self.path is None or os.path.exists(self.path)

    def open(self, deadline: Deadline) -> Any:
        """Open the client.

        A coroutine that opens in several steps is told when it takes too long, or when nobody wants the client any
        more, by an ``asyncio.CancelledError`` at its ``await``. What it has opened by then only it knows, so it closes
        that itself, in 5 seconds or in the time that it had if that was less::

            client = Client(self.address)
            try:
                await client.connect()
            except BaseException:
                await client.close()
                raise
            return client

        Args:
            deadline: until when.

        Raises:
            ConnectionFailedError: the engine cannot be reached or refuses us. Other errors go through ``translate``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no open()")

    def close(self, client: Any) -> Any:
        """Close the client; nobody uses it any more. What fails here is ignored."""

    def abandon(self, client: Any) -> None:
        """Let go of a client in a forked child, after an interrupt, or when its event loop has ended.

        Nothing may be said to the server, which would end the parent's session, and nothing may block. By default the
        reference is dropped.
        """

    def begin(self, client: Any, *, write: bool) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """Return a context around one operation: a transaction, or a connection of the client's own pool.

        What the context manager returns is what the steps work on; by default it is the client. A context ends with the
        operation's exception, or None to commit.
        """
        return contextlib.nullcontext(client)

    def perform(self, on: Any, request: Any) -> Any:
        """Do what a step yielded; by default the request is a function of what ``begin`` gave."""
        return request(on)

    def probe(self) -> Steps[None] | None:
        """Return steps for the first connection of a store: to look at the server, to make a schema. None: none."""
        return None

    def translate(self, error: Exception) -> PersistenceError | None:
        """Return a client's error in our words, without its text, which may quote what was to be stored.

        None: a ``BackendError`` that holds the error's class.
        """
        return None

    def spoiled(self, client: Any) -> bool:
        """Whether a client is of no more use after an operation that failed; then the next call opens another.

        Asked of a sync client after each failure, for engines that roll back their files, but not their memory, and for
        clients that do not notice that a connection is dead.
        """
        return False

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        """Whether an operation that failed may be done once more; ``error.__cause__`` is the client's error."""
        return False


def check_exists(driver: Driver) -> None:
    """See that there is something to open, if there must be.

    Raises:
        StoreNotFoundError: there is not.
    """
    if not driver.must_exist:
        return
    try:
        found = driver.exists()
    except Exception as error:
        if from_outside(driver, error):
            raise
        raise ours(driver, error, "exists()") from error
    if not found:
        raise StoreNotFoundError(f"there is no store yet: {driver.where}")


def is_loaded(driver: Driver) -> bool:
    """Whether all that a driver needs has been imported."""
    return all(name in sys.modules for name in driver.imports)


def load(driver: Driver) -> None:
    """Import what a driver needs.

    Raises:
        BackendNotInstalledError: it is not installed.
        ConnectionFailedError: its files cannot be read now, because the process may open no more of them.
    """
    from importlib import import_module

    for name in driver.imports:
        try:
            import_module(name)
        except ImportError as error:
            raise BackendNotInstalledError(
                f"{driver.where} needs the module {error.name or name!r}, which cannot be imported; install it again"
            ) from error
        except OSError as error:
            raise ConnectionFailedError(f"{driver.where}: {name} cannot be loaded: {error.strerror}") from error


def ours(driver: Driver, error: Exception, hook: str = "") -> PersistenceError:
    """Return an error of the client in our words."""
    if isinstance(error, PersistenceError):
        return error
    try:
        translated = driver.translate(error)
    except Exception:  # noqa: BLE001 - a hook that fails must not hide what happened
        translated = None
    if isinstance(translated, PersistenceError):
        return translated
    where = f"{hook} of {type(driver).__name__}, " if hook else ""
    return BackendError(f"{where}{driver.where} failed: {type(error).__name__}")


def from_outside(driver: Driver, error: BaseException) -> bool:
    """Whether an exception was raised into a call, and not by what it called; see [outsider][]."""
    return raised_outside(driver, error) is not None


def raised_outside(driver: Driver, error: BaseException) -> BaseException | None:
    """Return what was raised into a call: this exception, or one that it hides."""
    return outsider(error, {*driver.packages, type(driver).__module__.partition(".")[0]} - {"praisonai_persistence"})
