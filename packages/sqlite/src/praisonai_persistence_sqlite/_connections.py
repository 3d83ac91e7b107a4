"""The open connections of one database: made on demand, checked against the file at the path, given up after errors."""

from __future__ import annotations

import os
import sqlite3

from praisonai_persistence_sqlite._connection import Frozen, is_busy, make_file, open_connection
from praisonai_persistence_sqlite._operations import Moved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from praisonai_persistence_sqlite._connection import Opened
    from praisonai_persistence_sqlite._location import Location

__all__ = ["Connections"]

_ABANDONED: list[Any] = []
"""Connections that a child inherited; forgetting them would close them, with locks that SQLite does not have there."""


class Connections:
    """One connection that writes, and readers, of which some are kept.

    Args:
        location: where, and how to open it.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._writer: Opened | None = None
        self._shared: sqlite3.Connection | None = None  # the writer's, once several have shared a commit
        self._readers: list[Opened] = []
        self._generation = object()  # of the readers: those of an earlier one are not kept
        self._looked = 0.0  # when a read last looked whether the file is still the same
        self.epoch: dict[str, tuple[int, int]] = {}
        """Device and inode of the ``file``, once it was opened, and of its ``log``; another dict for another file."""

    def open(self) -> Opened:
        """Open a connection to the file of this epoch; the first one makes the file.

        Raises:
            ConnectionFailedError: it cannot be opened.
            Moved: the file is not there any more, or another one.
        """
        path = self.location.path
        if path is None:
            return open_connection(self.location)
        epoch = self.epoch
        if "file" not in epoch:
            epoch.setdefault("file", make_file(path))
        self.check()
        opened = open_connection(self.location)
        if type(opened[0]) is Frozen:
            self._generation = object()  # the file may be another's to write: it is not kept
            self.check()
            return opened
        log = _identify(path + "-wal")
        if log is not None:
            epoch["log"] = log
        self.check()
        return opened

    def check(self) -> None:
        """See that the file at the path is the one that the connections have open.

        Raises:
            Moved: it is not.
        """
        path = self.location.path
        epoch = self.epoch
        if path is not None and "file" in epoch:
            try:
                found = os.stat(path)
            except OSError:
                raise Moved(epoch) from None
            if (found.st_dev, found.st_ino) != epoch["file"]:
                raise Moved(epoch)

    def leave_file(self) -> None:
        """Close the connections, for another file; nobody may be using them."""
        self._remove_log()
        self.close_connections()

    def writer(self) -> Opened:
        """Return the writing connection, outside of a transaction."""
        writer = self._writer
        if writer is not None and writer[0].in_transaction:  # an interrupt left it so
            if self.location.path is None:
                writer[0].execute("ROLLBACK")
            else:
                self._writer = None
                writer[0].close()
                writer = None
        if writer is None:
            writer = self.open()
            if self.location.path is not None:
                writer[0].execute("PRAGMA busy_timeout=0")  # who writes waits, and better
            self._writer = writer
        return writer

    def forget(self, connection: sqlite3.Connection) -> None:
        """Have the next write open another connection."""
        writer = self._writer
        if writer is not None and writer[0] is connection:
            self._writer = None

    def suspect(self, error: BaseException) -> None:
        """Give up the connections if this is an error of the file system.

        What was opened while the files were read-only stays so, and so does what is opened beside it in this process:
        SQLite shares the state of the write-ahead log's index. Readers at work close theirs when they are done. The
        caller holds the turn to write, or has only read.

        Raises:
            Moved: the reason is that the file is another one.
        """
        if isinstance(error, sqlite3.OperationalError) and not is_busy(error) and self.location.path is not None:
            self._close_readers()
            self.check()

    def _close_readers(self) -> None:
        self._generation = object()
        closing = map(sqlite3.Connection.close, [reader[0] for reader in self._readers])
        self._readers = []
        list(closing)  # one call that closes all, so that no interrupt leaves one open

    def close_connections(self) -> None:
        """Close what is open; nobody may be using it.

        From then on the file and the log are unknown: another one may get the number of one that nobody has open.
        """
        self.epoch = {}  # first: whatever happens now, everybody looks at the tables again
        self._close_readers()
        writer, self._writer, self._shared = self._writer, None, None
        if writer is not None:
            writer[0].close()

    def _remove_log(self) -> None:
        """Remove the write-ahead log of this file if it stands beside another one, which it would corrupt.

        SQLite takes a log for that of the file beside it, so it would write parts of the old file over the new one. The
        log is known by its number, and that is its own only as long as a connection has it open.
        """
        path, epoch = self.location.path, self.epoch
        if path is None or (self._writer is None and not self._readers) or "log" not in epoch:
            return
        if _identify(path) != epoch.get("file") and _identify(path + "-wal") == epoch["log"]:
            import contextlib

            for name in (path + "-wal", path + "-shm"):
                with contextlib.suppress(OSError):
                    os.remove(name)

    def abandon_connections(self) -> None:
        """Leave what is open to the parent, in a child."""
        if self.location.path is not None:
            _ABANDONED.append((self._writer, self._readers))
            self._generation = object()
            self._writer, self._shared, self._readers = None, None, []


def _identify(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
