"""The runner of one store: its part in the database that all stores on the file share."""

from __future__ import annotations

import os
import sqlite3
from functools import partial

from praisonai_persistence.errors import SchemaError, StoreClosedError
from praisonai_persistence.steps import is_write, run
from praisonai_persistence.stores import Runner, ThreadRunner
from praisonai_persistence_sqlite._connection import is_refusal, open_connection, translate
from praisonai_persistence_sqlite._database import READ, WRITE, WRITE_ALL, Job, give_back, lend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ParamSpec, TypeVar

    from praisonai_persistence.integrity import Integrity
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

    It has no lock of its own: two threads that connect at once both migrate, and the second finds it done.

    Args:
        location: where.
        migrations: of the store's tables.
        create_schema: whether the file and its tables are made or brought up to date; if not, they must be there.
    """

    def __init__(self, location: Location, migrations: Migrations, *, create_schema: bool = True) -> None:
        self._location = location
        self._migrations = migrations
        self._create_schema = create_schema
        self._database: Database | None = None
        self.closed = False
        self.epoch: object = None

    def connect(self) -> None:
        """See [Runner.connect][]."""
        database = self._lent()
        if self.epoch is not database.epoch:
            self.prepare(database)

    def _lent(self) -> Database:
        self._refuse_if_closed()
        database = self._database
        if database is None:
            self._database = database = lend(self._location, self)
            try:
                self._refuse_if_closed()  # meanwhile
            except StoreClosedError:
                give_back(self)
                raise
        return database

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise StoreClosedError("this store is closed")

    def prepare(self, database: Database) -> None:
        """Bring the tables up to date, unless they are, and note of which file this is known."""
        migrations = self._migrations
        if (self.must_exist or not self._create_schema) and self._location.path is not None:
            from praisonai_persistence_sqlite._looking import look_for

            lacking = migrations.absent if self.must_exist else migrations.unmade
            failure = look_for(self._location.path, migrations, lacking)
            if failure is not None:
                raise failure
        epoch = database.epoch
        try:
            # The usual case takes no lock.
            version = database.run(self, migrations.current, READ, prepared=False)
            if version != migrations.latest:
                if 0 < version < migrations.latest and (self.must_exist or not self._create_schema):
                    raise migrations.older(version) if self.must_exist else migrations.missing(version)
                database.run(self, migrations.upgrade, WRITE, prepared=False)
        except sqlite3.Error as error:
            if is_refusal(error) and self._is_legacy(database):
                prefix = migrations.prefix
                raise SchemaError(
                    f"{self._location.path} has tables of PraisonAI itself with the prefix {prefix!r}, and can "
                    f"only be read. They cannot be read as they are: they have to be adopted, which writes. Give this "
                    f"user the rights to write the file and its folder, or copy the file to a folder of its own, and "
                    f"adopt them with 'praisonai-persistence migrate --adopt --legacy-prefix {prefix}'"
                ) from error
            raise translate(error, self._location.path) from error
        self.epoch = epoch

    def _is_legacy(self, database: Database) -> bool:
        """Whether tables of PraisonAI itself stand in the place of this store's."""
        found = database.run(self, self._migrations.status, READ, prepared=False).legacy
        return any(old.prefix == self._migrations.prefix for old in found)

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        database = self._database or self._lent()
        try:
            kind = WRITE if is_write(operation) else READ
            return database.run(self, partial(operation, *args, **kwargs), kind)  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error

    def write_all(self, calls: Iterable[Callable[[], Steps[Any]]]) -> list[Outcome]:
        """Do writes in one transaction, and return what became of each; one that fails takes none of the others along.

        Args:
            calls: the operations with their arguments, in order.

        Raises:
            ConnectionFailedError: the file cannot be opened.
            StoreClosedError: after ``close``.
        """
        jobs = [Job(call) for call in calls]
        (self._database or self._lent()).run(self, jobs, WRITE_ALL)
        return [self._outcome(job) for job in jobs]

    def _outcome(self, job: Job) -> Outcome:
        error = job.error
        if isinstance(error, sqlite3.Error):
            job.error = translate(error, self._location.path)
            job.error.__cause__ = error
        from praisonai_persistence.stores.batching import Outcome

        return Outcome(job.answer, job.error)

    def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do an operation on the schema itself: nothing is migrated first, and a file stays as it is for reading."""
        write = is_write(operation)
        call = partial(operation, *args, **kwargs)
        try:
            if not write and self._location.path is not None:
                self._refuse_if_closed()
                return self._look(call)
            return self._lent().run(self, call, WRITE if write else READ, prepared=False)  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise translate(error, self._location.path) from error
        finally:
            if write:
                self.epoch = None  # the next operation looks at the tables again

    def _look(self, call: Callable[[], Steps[T]]) -> T:
        """Do an operation that reads on a connection of its own, which leaves the file as it is."""
        location = self._location
        if _is_missing(location.path):
            location = location._replace(path=None)
        connection, perform = open_connection(location, looking=True)
        try:
            return run(call(), perform)
        finally:
            connection.close()

    def check_integrity(self, seconds: float) -> Integrity:
        """Look through the file, for so many seconds at the most.

        Raises:
            StoreClosedError: after ``close``.
        """
        self._refuse_if_closed()
        from praisonai_persistence_sqlite._looking import check_integrity

        return check_integrity(self._location.path, seconds)

    def close(self) -> None:
        """See [Runner.close][]: waits for the operations that are under way."""
        self.closed = True
        give_back(self)


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
        super().__init__(runner)
        from praisonai_persistence.stores.batching import Batching

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

    async def check_integrity(self, seconds: float) -> Integrity:
        """See [SQLiteRunner.check_integrity][]."""
        return await self._offload(partial(self._runner.check_integrity, seconds))

    async def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [SQLiteRunner.administer][]."""
        return await self._offload(partial(self._runner.administer, operation, *args, **kwargs))
