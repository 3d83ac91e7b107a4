"""The runner of one store: its part in the database that all stores on the file share."""

from __future__ import annotations

import os
import sqlite3
import threading
from functools import partial

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import StoreClosedError
from praisonai_persistence.steps import is_write
from praisonai_persistence.stores import Runner, ThreadRunner
from praisonai_persistence_sqlite._connection import translate
from praisonai_persistence_sqlite._database import Job, give_back, lend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ParamSpec, TypeVar

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.batching import Batching, Outcome
    from praisonai_persistence_sql import Migrations
    from praisonai_persistence_sqlite._database import Database
    from praisonai_persistence_sqlite._location import Location

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["SQLiteRunner", "SQLiteThreadRunner"]

_AT_ONCE = 256  # writes of one loop in one transaction at the most, so that nobody waits long for its end


class SQLiteRunner(Runner):
    """Runs operations on a file (or in memory), after migrating its tables.

    Args:
        location: where.
        migrations: of the store's tables.
    """

    def __init__(self, location: Location, migrations: Migrations) -> None:
        self._location = location
        self._migrations = migrations
        self._lent: Database | None = None
        self._database: Database | None = None  # the same, once its tables are known to be up to date
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
            borrowed = self._lent is not None
            database = self._borrowed()
            if self._database is None:
                try:
                    self._migrate(database)
                except BaseException:
                    if not borrowed:
                        self._lent = None
                        give_back(database)
                    raise
                self._database = database
            return self._database

    def _borrowed(self) -> Database:
        if self._closed:
            raise StoreClosedError("this store is closed")
        if self._lent is None:
            self._lent = lend(self._location)
        return self._lent

    def _migrate(self, database: Database) -> None:
        try:
            # The usual case takes no lock.
            if database.read(self._migrations.current) != self._migrations.latest:
                database.write(self._migrations.upgrade)
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        return self._run(self._database or self._connected(), operation, partial(operation, *args, **kwargs))

    def write_all(self, calls: Iterable[Callable[[], Steps[Any]]]) -> list[Outcome]:
        """Do writes in one transaction, and return what became of each; one that fails takes none of the others along.

        Args:
            calls: the operations with their arguments, in order.

        Raises:
            ConnectionFailedError: the file cannot be opened.
            StoreClosedError: after ``close``.
        """
        jobs = [Job(call) for call in calls]
        (self._database or self._connected()).write_all(jobs)
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        from praisonai_persistence.stores.batching import Outcome

        error = job.error
        if isinstance(error, sqlite3.Error):
            job.error = translate(error, self._location.path)
            job.error.__cause__ = error
        return Outcome(job.answer, job.error)

    def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do an operation on the schema itself: nothing is migrated first, and reading makes no file."""
        with self._lock:
            if self._lent is None and not self._closed and not is_write(operation) and _is_missing(self._location.path):
                nothing = lend(self._location._replace(path=None))
                try:
                    return self._run(nothing, operation, partial(operation, *args, **kwargs))
                finally:
                    give_back(nothing)
            database = self._borrowed()
        try:
            return self._run(database, operation, partial(operation, *args, **kwargs))
        finally:
            if is_write(operation):
                self._database = None  # the next operation looks at the tables again

    def _run(self, database: Database, operation: Callable[..., Any], call: Callable[[], Steps[T]]) -> T:
        try:
            return database.write(call) if is_write(operation) else database.read(call)
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error

    def close(self) -> None:
        """See [Runner.close][]."""
        with self._lock:
            self._closed = True
            database, self._lent, self._database = self._lent, None, None
        if database is not None:
            give_back(database)


def _is_missing(path: str | None) -> bool:
    """Whether there is no such file, where there could be one."""
    return path is not None and os.path.isdir(os.path.dirname(path)) and not os.path.exists(path)


class SQLiteThreadRunner(ThreadRunner):
    """Runs the operations of a [SQLiteRunner][] on threads: reads on one each, writes that meet on one together.

    Args:
        runner: does the work; closed with this one.
    """

    _runner: SQLiteRunner

    def __init__(self, runner: SQLiteRunner) -> None:
        from praisonai_persistence.stores.batching import Batching

        super().__init__(runner)
        self._writes: Batching[None, Callable[[], Steps[Any]], Any] = Batching(
            self._write, self._write_all, lambda calls: min(len(calls), _AT_ONCE)
        )

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        if not is_write(operation):
            return await super().run(operation, *args, **kwargs)
        return await self._writes.call(None, partial(operation, *args, **kwargs))  # type: ignore[no-any-return]

    async def _write(self, _: None, call: Callable[[], Steps[T]]) -> T:
        return await self._offload(partial(self._runner.run, call))

    async def _write_all(self, _: None, calls: list[Callable[[], Steps[Any]]]) -> list[Outcome]:
        return await self._offload(partial(self._runner.write_all, calls))

    async def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [SQLiteRunner.administer][]."""
        return await self._offload(partial(self._runner.administer, operation, *args, **kwargs))
