"""A SQLite file that is opened for one piece of work: nothing is kept open between two of them."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from praisonai_persistence.errors import BackendError, PersistenceError
from praisonai_persistence_json._files import make_directory, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["in_database"]


@contextmanager
def in_database(path: str, timeout: float, *, sync: bool = True) -> Iterator[sqlite3.Connection]:
    """Open a database for the block; what it has begun and not committed is undone.

    Args:
        path: the file; it is made if it is not there, readable by its owner alone.
        timeout: seconds to wait for others.
        sync: True: what is committed survives a power failure.

    Raises:
        BackendError: it cannot be used, or others write to it for too long.
    """
    with translated("the database of sessions"):
        make_directory(os.path.dirname(path), sync=sync)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if stat.S_ISLNK(os.lstat(path).st_mode):  # somebody else may have put it there
            raise BackendError(f"{path} is a symbolic link, which is not followed")
        try:
            with closing(sqlite3.connect(path, timeout=timeout, isolation_level=None)) as connection:
                if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                    with suppress(sqlite3.OperationalError):  # it is in use, or on a disk that cannot
                        connection.execute("PRAGMA journal_mode = wal")
                connection.execute(f"PRAGMA synchronous = {'full' if sync else 'normal'}")
                yield connection
        except PersistenceError:
            raise
        except sqlite3.Error as error:
            raise BackendError(f"the database of sessions {path} cannot be used: {error}") from error
