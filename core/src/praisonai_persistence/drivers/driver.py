"""What a backend says about its client."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from praisonai_persistence._checks import SECONDS, is_seconds
from praisonai_persistence._closing import Single
from praisonai_persistence.drivers.outside import outsider
from praisonai_persistence.errors import (
    BackendError,
    BackendNotInstalledError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    StoreNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from praisonai_persistence.drivers.options import Options
    from praisonai_persistence.steps import Steps

__all__ = [
    "Deadline",
    "Driver",
    "check_attributes",
    "check_exists",
    "from_outside",
    "is_loaded",
    "load",
    "ours",
    "raised_outside",
]

GRACE = 10.0
"""Seconds at the most that a cancelled or interrupted call waits for the end of what it began (L04)."""


class Deadline:
    """A point in time by which something has to be done.

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
            ConnectionFailedError: no time is left.
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

    Args:
        options: of the store: ``where``, the options ``connect_timeout``, ``timeout`` and ``lock_timeout``, and the
            ``client`` that was handed in (``given``) are taken from them, as far as there are such. None: the driver
            sets them itself.
        look: returns the steps of ``probe``, for a driver that does not write it.
    """

    where: str = "the engine"
    """The name of the place in errors, without secrets: ``the Qdrant server at db:6333``."""
    place: Hashable | None = None
    """Drivers of one class with equal places share one client in a process, as embedded engines require. None: a client
    for each store (and for each event loop of an async store)."""
    path: str | None = None
    """The file or folder of an embedded engine. If it is removed or replaced, the client is reopened (L09)."""
    makes: ClassVar[tuple[str, ...]] = ()
    """Names, with ``*`` and ``?``, of what an embedded engine makes directly in its folder (``path``), if it leaves the
    rights of its files to the umask. In a folder that others may enter, the runner takes their rights to these away
    (L10): when the client has been opened, after each write, and when it has been closed. Only a sync client has it."""
    forks: Literal["reopen", "close", "refuse"] = "reopen"
    """What a forked child with an inherited client does: open its own, or refuse with a typed error (L06).
    With ``close`` the sync client is closed before the fork, and opened again by who needs it: for embedded engines
    that keep the locks of their files in memory, where they would be wrong in the child. The fork waits for calls under
    way, for up to five seconds; a child of one that waited in vain refuses."""
    interrupts: Literal["reopen", "keep"] = "reopen"
    """What happens to the client when an exception from outside interrupts an operation: it is replaced (``reopen``),
    or kept, because the data are in its memory (``keep``)."""
    lost: Literal["keep", "reopen"] = "keep"
    """What happens to a sync client when a call fails with ``ConnectionFailedError``: it is kept, because it connects
    again by itself, or replaced (``reopen``), because it would go on with a connection that is dead.
    An error that has an attribute ``connected``, which is true, does not count."""
    turns: Literal["none", "writes", "all"] = "none"
    """Which operations of the stores that share a client run one after the other."""
    lock_file: str | None = None
    """A file beside the data of an embedded engine. Whoever writes holds its lock, also against other processes."""
    lock_timeout: float = 60.0
    """Seconds to wait for that lock."""
    reentrant: bool = False
    """Whether a thread may make a call in the middle of another one (from a ``__del__``, a signal handler). If not, the
    inner call is refused with ``UnsupportedOperationError`` (L08)."""
    asynchronous: bool = False
    """Whether the client is an async one."""
    given: Any = None
    """A client that the caller handed in: used, never closed. None: ``open`` makes one."""
    connect_timeout: float = 10.0
    """Seconds to connect, the probe included."""
    timeout: float = 30.0
    """Seconds within which a request must be answered. A driver passes this to its client. For async clients the runner
    enforces it as well."""
    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that ``open`` needs and that take long to import. They are imported on a separate thread, which does not
    block the event loop, and before ``connect_timeout`` starts to count."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Names of the packages whose exceptions the client raises: ``("qdrant_client", "httpx")``. Those of Python's own
    library count as well. Any other exception comes from outside, such as a time limit of the caller's task queue, and
    reaches the caller unchanged (L03)."""

    must_exist = False
    """Whether the store must exist already, so that nothing may be created. Set by the runner. A ``probe`` that would
    create a schema then raises ``StoreNotFoundError``."""

    _first_look: Callable[[], Steps[None]] | None = None

    def __init__(self, options: Options | None = None, look: Callable[[], Steps[None]] | None = None) -> None:
        self._first_look = look
        if options is None:
            return
        self.where = options.where
        self.given = getattr(options, "client", None)
        for name in ("connect_timeout", "timeout", "lock_timeout"):
            if name in options.declared:
                setattr(self, name, getattr(options, name))

    def exists(self) -> bool:
        """Whether the store exists. Called before ``open`` if it must exist; creates nothing.

        By default whether something is at ``path``. An engine that would create its files in any folder looks for one
        of them. With a server there is nothing to check, unless ``open`` or ``probe`` create something there.
        """
        return self.path is None or os.path.exists(self.path)

    def open(self, deadline: Deadline) -> Any:
        """Open the client.

        A coroutine that takes too long, or whose client is no longer wanted, gets an ``asyncio.CancelledError`` at its
        ``await``. It must then close what it has opened so far, within 5 seconds, or ``connect_timeout`` if that is
        less::

            client = Client(self.address)
            try:
                await client.connect()
            except BaseException:
                await client.close()
                raise
            return client

        Args:
            deadline: by when it has to be open.

        Raises:
            ConnectionFailedError: the engine cannot be reached or refuses us. Other errors go through ``translate``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no open()")

    def close(self, client: Any) -> Any:
        """Close the client, which is no longer in use. Errors are ignored.

        It may be in any state: also a client that an exception from outside has left in the middle of a request, if
        stores share it (``place``). It must give back what it holds even so, such as the lock of a file; or the next
        client of this very process finds it in use.
        """

    def abandon(self, client: Any) -> None:
        """Drop a client without closing it: when its event loop has ended, or after an interrupt.

        In a forked child neither this nor ``close`` is called for a client of the parent: it is kept, unused.

        After an interrupt, a client that stores share (``place``) is closed instead: the next one could not be opened
        beside it.

        Nothing may be sent to the server, which would end the parent's session, and nothing may block. By default only
        the reference is dropped. A client that closes itself when it is collected has to be kept from that here, if
        closing waits for one of its locks: an interrupt may have left that locked.
        """

    def begin(self, client: Any, *, write: bool) -> AbstractContextManager[Any] | AbstractAsyncContextManager[Any]:
        """Return a context around one operation: a transaction, or a connection of the client's own pool.

        The requests of the steps are done on what entering the context returns; by default that is the client. On exit
        the context gets the operation's exception, or None, which means to commit. What it raises then hides that
        exception, and the caller would not see an interrupt (L03): suppress errors of an undo.
        """
        return contextlib.nullcontext(client)

    def perform(self, on: Any, request: Any) -> Any:
        """Do a request that the steps yielded; by default a function, which is called with ``on``.

        Args:
            on: what entering the context of ``begin`` returned.
            request: what the steps yielded.
        """
        return request(on)

    def probe(self) -> Steps[None] | None:
        """Return steps to run once on a new client: to check the server, to create a schema. None: no steps."""
        return None if self._first_look is None else self._first_look()

    def is_own_thread(self) -> bool:
        """Whether this thread is one of the client's own, such as that of its event loop, which requests wait for.

        A call of a store that is made there, by a ``__del__``, is refused with ``UnsupportedOperationError`` (L08).
        Asked before each call; must not block. Not needed for requests that the driver does on other threads with
        ``drivers.guarded.on_own_thread``.
        """
        return False

    def translate(self, error: Exception) -> PersistenceError | None:
        """Return the ``PersistenceError`` for an error of the client.

        It must not hold the error's text, which may quote what was to be stored. None: it becomes a ``BackendError``
        that names the error's class.
        """
        return None

    def spoiled(self, client: Any) -> bool:
        """Whether a client is unusable after a failed operation; the next call then opens another.

        Asked of a sync client after each failure, for engines that roll back their files, but not their memory, and for
        clients that do not notice that a connection is dead.
        """
        return False

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        """Whether a failed operation may be run once more; ``error.__cause__`` is the client's error."""
        return False


_CHOICES = {
    "forks": ("reopen", "close", "refuse"),
    "interrupts": ("reopen", "keep"),
    "lost": ("keep", "reopen"),
    "turns": ("none", "writes", "all"),
}


def check_attributes(driver: Driver) -> None:
    """Check what a driver says in its attributes.

    Raises:
        ConfigurationError: one has a value that it may not have.
    """
    for name, choices in _CHOICES.items():
        if getattr(driver, name) not in choices:
            raise ConfigurationError(f"{type(driver).__name__}.{name} must be one of {', '.join(choices)}")
    for name in ("connect_timeout", "timeout", "lock_timeout"):
        if not is_seconds(getattr(driver, name)):
            raise ConfigurationError(f"{type(driver).__name__}.{name} must be {SECONDS}")
    for name in ("where", "path", "lock_file"):
        value = getattr(driver, name)
        if not isinstance(value, str) and (value is not None or name == "where"):
            raise ConfigurationError(f"{type(driver).__name__}.{name} must be text, not {type(value).__name__}")


def check_exists(driver: Driver) -> None:
    """Check that the store exists, if it must.

    Raises:
        StoreNotFoundError: it does not.
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
    """Return the ``PersistenceError`` for an error of the client."""
    if isinstance(error, PersistenceError):
        return error
    try:
        translated = driver.translate(error)
    except Exception as failure:
        if from_outside(driver, failure):
            raise
        translated = None  # a hook that fails must not hide what happened
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
