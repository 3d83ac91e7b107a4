"""One connection to a database file: how it is opened, what it is asked for, and its errors in our words."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial

from praisonai_persistence._declare import NamedTuple
from praisonai_persistence.errors import BackendError, ConnectionFailedError, PersistenceError
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch, Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from praisonai_persistence_sqlite._location import Location

__all__ = [
    "SHARED_LOG",
    "Define",
    "Frozen",
    "LoadVectors",
    "Memory",
    "Opened",
    "file_uri",
    "is_busy",
    "make_file",
    "open_connection",
    "translate",
]

_LOG = 250
"""Pages of the write-ahead log after which SQLite begins it anew, instead of its 1000.

What makes a file longer costs more to sync than what is written in the place of something else, and a process that says
little starts with an empty log. With 200 appends in a process it is a quarter faster, with thousands it makes no
difference.
"""
SHARED_LOG = "PRAGMA wal_autocheckpoint=1000"
"""For a connection whose commits several writers share: each has many pages, so the log would begin anew too often.

Eight threads are about 5 % faster.
"""
_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED; extended codes have them in the low byte

_making = threading.RLock()  # closing a file gives up the locks that SQLite holds on it in this process

Opened = tuple[sqlite3.Connection, Callable[["Any"], "Any"]]
"""A connection of the driver, and the function that does a request on it and returns the answer."""


class Define(NamedTuple):
    """Give the connection an SQL function of one argument for the rest of the operation; the answer is None."""

    name: str
    function: Callable[[Any], Any]


class LoadVectors(NamedTuple):
    """Load sqlite-vec into the connection; the answer is whether this Python can."""


class Memory(NamedTuple):
    """The answer is a dict that lives as long as the connection; None if the connection may have written.

    What is kept in it is of the state that ``PRAGMA data_version`` names, which tells of others' commits alone.
    """


def _load_vectors(connection: sqlite3.Connection) -> bool:
    """Some builds of Python have a sqlite3 module that loads no extensions; others do the work in Python then."""
    if not hasattr(connection, "enable_load_extension"):
        return False
    try:
        connection.execute("SELECT vec_version()")
    except sqlite3.OperationalError:
        try:
            import sqlite_vec
        except OSError as error:
            import errno

            if error.errno not in {errno.EMFILE, errno.ENFILE}:  # raised by somebody else
                raise
            raise ConnectionFailedError(f"sqlite-vec cannot be loaded: {error.strerror}") from error

        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        except sqlite3.OperationalError:
            return False
        finally:
            connection.enable_load_extension(False)
    return True


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection is in the way; that passes."""
    code = getattr(error, "sqlite_errorcode", None)  # Python 3.11
    if code is None:
        return "is locked" in str(error)
    return (code & 0xFF) in _BUSY


def is_refusal(error: sqlite3.Error) -> bool:
    """Whether SQLite could read, but may not write."""
    return "readonly database" in str(error)


def translate(error: sqlite3.Error, path: str | None) -> PersistenceError:
    """Return an error of the driver in our words."""
    if is_busy(error):
        return ConnectionFailedError(
            f"{path} was locked by another process for longer than lock_timeout; raise it, or look for a program that "
            f"keeps a transaction open"
        )
    if path is not None and is_refusal(error):
        return ConnectionFailedError(
            f"{path} can only be read: this user may not write the file or its folder, or the file system is mounted "
            f"read-only; give it the rights, or copy the file to a folder of its own"
        )
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return ConnectionFailedError(f"{path} is no SQLite database")
    if (text := str(error)).startswith("Could not decode to UTF-8"):  # and it quotes what it could not decode
        return BackendError(f"sqlite: {path} holds text that is no UTF-8: the file is damaged; restore a backup of it")
    return BackendError(f"sqlite: {text}")


class _Functions:
    """The SQL functions of a connection that are written in Python.

    SQLite answers an exception in one of them by an error that says nothing of it, so it is kept for the caller: it may
    be an interrupt. A generator is inside its ``try`` whenever it is entered; a function would not be yet.
    """

    __slots__ = ("connection", "failures")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.failures: list[BaseException] = []

    def define(self, name: str, function: Callable[[Any], Any]) -> None:
        guarded = self._guard(function)
        next(guarded)
        self.connection.create_function(name, 1, guarded.send, deterministic=True)

    def _guard(self, function: Callable[[Any], Any]) -> Generator[Any, Any, None]:
        try:
            value = yield
            while True:
                value = yield function(value)
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failures.append(error)
            raise

    def raise_failure(self) -> None:
        """Raise what was raised in one of them, if anything was."""
        if self.failures:
            failure = self.failures.pop()
            self.failures.clear()
            raise failure


def _perform_on(
    connection: sqlite3.Connection, functions: _Functions, memory: dict[str, Any] | None
) -> Callable[[Any], Any]:
    execute = connection.execute

    def perform(request: Any) -> Any:
        kind = type(request)
        try:
            if kind is Fetch:
                return execute(request[0], request[1]).fetchall()
            if kind is Execute:
                return execute(request[0], request[1]).rowcount
            if kind is ExecuteMany:
                connection.executemany(request[0], request[1])
            elif kind is Define:
                functions.define(request.name, request.function)
            elif kind is Snapshot:
                if not connection.in_transaction:
                    execute("BEGIN")
            elif kind is LoadVectors:
                return _load_vectors(connection)
            elif kind is Memory:
                return None if connection.total_changes else memory
            else:
                raise TypeError(f"sqlite cannot perform {kind.__name__}")
        except sqlite3.OperationalError:
            functions.raise_failure()
            raise
        return None

    return perform


def make_file(path: str) -> tuple[int, int]:
    """Make the file if there is none, for its owner alone; SQLite gives its log the same rights.

    Returns:
        Its device and inode.

    Raises:
        ConnectionFailedError: it cannot be made, or the path is a link to a file that does not exist.
    """
    try:
        with _making:
            if not os.path.exists(path):
                make = partial(os.open, path, os.O_RDWR | os.O_CREAT | os.O_EXCL)  # which follows no link
                try:  # noqa: SIM105 - contextlib takes long to import
                    list(map(os.close, map(make, (0o600,))))  # one call, so that no interrupt leaves it open
                except FileExistsError:  # another process was faster, or it is a link to nothing
                    pass
            found = os.stat(path)
    except OSError as error:
        if not os.path.isdir(os.path.dirname(path)):
            raise ConnectionFailedError(f"cannot open {path}: its directory does not exist; make it first") from error
        raise ConnectionFailedError(f"cannot open {path}: {error.strerror}") from error
    return found.st_dev, found.st_ino


class Frozen(sqlite3.Connection):
    """A connection to a file that this process may only read, opened as one that nobody changes meanwhile."""


def open_connection(location: Location, *, looking: bool = False) -> Opened:
    """Open a connection in autocommit mode, to a file that exists.

    A file that may only be read, or whose folder may, is opened without a log if it has none, because SQLite could not
    make one: a [Frozen][] connection, which is good for what is done at once.

    Args:
        location: where.
        looking: whether the connection only reads, and leaves the file in the journal mode that it has.

    Raises:
        ConnectionFailedError: it cannot be opened.
    """
    path = location.path
    frozen = path is not None and _is_frozen(path)
    try:
        connection = sqlite3.connect(
            ":memory:" if path is None else file_uri(path, "ro&immutable=1" if frozen else "rw"),
            uri=path is not None,
            timeout=location.lock_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=Frozen if frozen else sqlite3.Connection,
        )
    except sqlite3.Error as error:
        raise _refused(error, path) from error
    try:
        if looking:
            connection.execute("PRAGMA query_only=1")
        elif not frozen:
            _prepare(connection, location)
        functions = _Functions(connection)
    except sqlite3.Error as error:
        connection.close()
        raise _refused(error, path) from error
    except BaseException:
        connection.close()
        raise
    # In memory there is one connection, which also writes.
    return connection, _perform_on(connection, functions, None if path is None else {})


def _is_read_only(path: str) -> bool:
    return not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK))


def _is_frozen(path: str) -> bool:
    """Whether nothing may be written, and nothing is in a log that would have to be read, too."""
    if not _is_read_only(path):
        return False
    for log in (path + "-wal", path + "-journal"):
        try:
            if os.stat(log).st_size:
                return False
        except OSError:  # not there
            pass
    return True


def file_uri(path: str, mode: str = "rw") -> str:
    """Return the URI of a file that exists; ``mode`` is that of SQLite's URIs."""
    for character in "%?#":
        path = path.replace(character, f"%{ord(character):02x}")
    if os.name == "nt":
        path = "/" + path.replace("\\", "/")
    return f"file://{path}?mode={mode}"


def _prepare(connection: sqlite3.Connection, location: Location) -> None:
    if location.path is not None:
        _enter_wal(connection, location)
        connection.execute(f"PRAGMA synchronous={location.synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_LOG}")
        # The first read makes the log, by which it is known when the file is replaced.
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()


def _enter_wal(connection: sqlite3.Connection, location: Location) -> None:
    """Switch to WAL, which only one connection can do at a time, and whose lock ignores the busy timeout."""
    end = time.monotonic() + location.lock_timeout
    while True:
        try:
            # One call: between the two of execute and fetchone the file would be locked, also for an inner call.
            connection.executescript("PRAGMA journal_mode=WAL")
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > end:
                raise
            import random

            time.sleep(random.uniform(0.0005, 0.005))
    if mode != "wal":
        raise ConnectionFailedError(
            f"{location.path} cannot use a write-ahead log (its file system has no shared memory?); "
            f"put the file on a local disk"
        )


def _refused(error: sqlite3.Error, path: str | None) -> PersistenceError:
    if path is not None and not os.path.isdir(os.path.dirname(path)):
        return ConnectionFailedError(f"cannot open {path}: its directory does not exist; make it first")
    if path is not None and os.path.isdir(path):
        return ConnectionFailedError(f"cannot open {path}: it is a folder; path must name a file, in it perhaps")
    if path is not None and "unable to open" in str(error):
        if os.access(path, os.R_OK) and _is_read_only(path):
            return ConnectionFailedError(
                f"cannot open {path}: it has a log ({os.path.basename(path)}-wal) of what was written last, and this "
                f"user may not write beside it; close the programs that have it open, or copy the file and its log to "
                f"a folder of this user's own"
            )
        return ConnectionFailedError(f"cannot open {path}: {error}; is it a file that this user may read and write?")
    return translate(error, path)
