"""The runner of one store: its part in the database that all stores on the file share."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import StoreClosedError
from praisonai_persistence.steps import is_write
from praisonai_persistence.stores import Runner
from praisonai_persistence_sqlite._database import give_back, lend, translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql import Migrations
    from praisonai_persistence_sqlite._database import Database
    from praisonai_persistence_sqlite._location import Location

__all__ = ["SQLiteRunner"]

P = ParamSpec("P")
T = TypeVar("T")


class SQLiteRunner(Runner):
    """Runs operations on a file (or in memory), after migrating its tables.

    Args:
        location: where.
        migrations: of the store's tables.
    """

    def __init__(self, location: Location, migrations: Migrations) -> None:
        self._location = location
        self._migrations = migrations
        self._database: Database | None = None
        self._closed = False
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self._connected()

    def _connected(self) -> Database:
        if self._database is not None:
            return self._database
        with self._lock:
            if self._closed:
                raise StoreClosedError("this store is closed")
            if self._database is None:
                database = lend(self._location)
                try:
                    self._migrate(database)
                except BaseException:
                    give_back(database)
                    raise
                self._database = database
            return self._database

    def _migrate(self, database: Database) -> None:
        try:
            # The usual case takes no lock.
            if database.read(self._migrations.current) != self._migrations.latest:
                database.write(self._migrations.up)
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        database = self._database or self._connected()
        call = partial(operation, *args, **kwargs)
        try:
            return database.write(call) if is_write(operation) else database.read(call)
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error

    def close(self) -> None:
        """See [Runner.close][]."""
        with self._lock:
            self._closed = True
            database, self._database = self._database, None
        if database is not None:
            give_back(database)
