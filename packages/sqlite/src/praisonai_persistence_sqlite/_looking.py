"""Looking into a database file through a connection of its own that only reads: nothing is made or changed."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

from praisonai_persistence.errors import StoreNotFoundError
from praisonai_persistence.steps import run
from praisonai_persistence_sqlite._connection import file_uri, is_busy, translate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.integrity import Integrity
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql import Migrations

__all__ = ["check_integrity", "look_for"]

_MOST = 20  # problems that are told
_INSTRUCTIONS = 10_000  # of SQLite's machine between two looks at the clock: well below a millisecond each


def _connect(path: str) -> sqlite3.Connection:
    # Not one that is opened for reading only: it would leave the files behind that a write-ahead log needs to be read.
    connection = sqlite3.connect(file_uri(path), uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only=1")
    return connection


def look_for(
    path: str, migrations: Migrations, lacking: Callable[[], Steps[PersistenceError | None]]
) -> PersistenceError | None:
    """Return what is to be raised where a file, or the tables in it, must exist and do not; None: they are there.

    A file that cannot be looked into so, because SQLite has to write beside it first, counts as one with tables.

    Args:
        path: the file.
        migrations: of the tables.
        lacking: an operation that returns what is to be raised where there are none.
    """
    if not os.path.exists(path):
        return StoreNotFoundError(f"there is no store yet: {path} does not exist")
    try:
        with closing(_connect(path)) as connection:

            def perform(request: Any) -> Any:
                return connection.execute(request[0], request[1]).fetchall()

            if run(migrations.current(), perform) == 0:
                return run(lacking(), perform)
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        failure = translate(error, path)
        failure.__cause__ = error
        return failure
    return None


def check_integrity(path: str | None, seconds: float) -> Integrity:
    """Have SQLite look through a file, for so many seconds at the most; what is not there has no faults."""
    from praisonai_persistence.integrity import Integrity

    if path is None or not os.path.exists(path):
        return Integrity()
    end = time.monotonic() + seconds
    try:
        with closing(_connect(path)) as connection:
            connection.set_progress_handler(lambda: int(time.monotonic() > end), _INSTRUCTIONS)
            rows = connection.execute(f"PRAGMA integrity_check({_MOST})").fetchall()
    except sqlite3.OperationalError as error:
        if time.monotonic() > end or is_busy(error):
            return Integrity(complete=False)
        raise translate(error, path) from error
    except sqlite3.DatabaseError as error:  # so damaged that it cannot even be looked through
        return Integrity((str(error),))
    found = tuple(" ".join(str(row[0]).split()) for row in rows)
    return Integrity() if found == ("ok",) else Integrity(found)
