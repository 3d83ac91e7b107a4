"""The two runners: one for sync drivers, one for async ones.

A backend brings a pool that lends connections; the runners do the rest: connect and migrate once, one transaction for
an operation, retries of what is safe to repeat, and the driver's errors in our words. What is raised into a call from
outside, by a signal handler, passes as it is, and the connection that it met is not used again.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import weakref
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, ParamSpec, TypeVar

from praisonai_persistence._closing import Single
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import is_write, reads, run, run_async
from praisonai_persistence.stores import AsyncRunner, Runner
from praisonai_persistence_sql.failures import SilentError, from_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_sql.migrations import Migrations
    from praisonai_persistence_sql.pooling import Loan
    from praisonai_persistence_sql.requests import Request

__all__ = ["AsyncConnection", "AsyncPool", "AsyncSQLRunner", "Connection", "Pool", "Retry", "SQLRunner"]

P = ParamSpec("P")
T = TypeVar("T")

Failure = Literal["repeat", "lost", "other"]
"""What an error of the driver means: the transaction was undone and may be repeated (deadlock, serialization); the
connection is gone, and with it the knowledge whether a commit happened; or neither."""


class Connection(Single, ABC):
    """One connection, in use by one operation."""

    @abstractmethod
    def begin(self, *, write: bool) -> None:
        """Start a transaction; a read of one statement needs none."""

    @abstractmethod
    def perform(self, request: Request) -> Any:
        """Do what a step asks for."""

    @abstractmethod
    def commit(self) -> None:
        """End the transaction; after it the changes are durable."""

    @abstractmethod
    def rollback(self) -> None:
        """Undo the transaction; harmless without one, and on a connection that is gone."""

    def is_busy(self) -> bool:
        """Whether the answer to a request is outstanding, because the call was interrupted: then it is useless."""
        return False

    def holds_locks(self) -> bool:
        """Whether a transaction is open that changed something, and ends only when its operation goes on."""
        return False


class _Drivers(Single, ABC):
    """What a pool says about its driver.

    Attributes:
        insiders: the top-level modules of the driver. An error that was raised elsewhere came from outside; see
            ``failures``.
    """

    insiders: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def classify(self, error: Exception) -> Failure:
        """Say what an error of the driver means."""

    @abstractmethod
    def translate(self, error: Exception) -> PersistenceError:
        """Return the error in our words; the caller raises it ``from`` the driver's."""


class Pool(_Drivers):
    """Where a sync runner gets its connections from."""

    @abstractmethod
    def lend(self) -> Loan[Any]:
        """Return a loan of a connection.

        To enter it connects or waits (with a timeout) if need be. A connection that broke, or whose loan was left
        without ``end``, is not lent again.
        """

    @abstractmethod
    def close(self) -> None:
        """Wait for the operations that are under way, and close what was opened here."""


class AsyncConnection(Single, ABC):
    """[Connection][] of an async driver."""

    @abstractmethod
    async def begin(self, *, write: bool) -> None:
        """See [Connection.begin][]."""

    @abstractmethod
    async def perform(self, request: Request) -> Any:
        """See [Connection.perform][]."""

    @abstractmethod
    async def commit(self) -> None:
        """See [Connection.commit][]."""

    @abstractmethod
    async def rollback(self) -> None:
        """See [Connection.rollback][]."""


class AsyncPool(_Drivers):
    """[Pool][] of an async driver."""

    @abstractmethod
    def lend(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Lend a connection, connecting or waiting (with a timeout) if need be; a broken one is not lent again."""

    @abstractmethod
    async def close(self) -> None:
        """See [Pool.close][]."""


class Retry:
    """Exponential backoff with full jitter, for as long as a budget of seconds lasts.

    Args:
        seconds: the budget, counted from the first failure.
        first: the longest wait after the first failure; doubled after each.
        longest: the longest wait of all.
    """

    def __init__(self, seconds: float = 10.0, *, first: float = 0.01, longest: float = 1.0) -> None:
        self._seconds = seconds
        self._first = first
        self._longest = longest

    def waits(self) -> Waits:
        """Return the waits of one operation."""
        return Waits(self._seconds, self._first, self._longest)


class Waits:
    """See [Retry][]; one object for one operation."""

    def __init__(self, seconds: float, first: float, longest: float) -> None:
        self._seconds = seconds
        self._next = first
        self._longest = longest
        self._end: float | None = None

    def next(self) -> float | None:
        """Return how long to wait before trying again, in seconds, or None to give up."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self._seconds
        wait = random.uniform(0, self._next)
        self._next = min(self._longest, self._next * 2)
        return None if now + wait > self._end else wait


def _may_repeat(failure: Failure, operation: Callable[..., Any]) -> bool:
    """Whether to start an operation anew.

    What was rolled back may be repeated. When the connection was lost the commit may have happened, so only reads and
    operations that say ``repeatable = True`` are: appends are, by the message's id.
    """
    if failure == "repeat":
        return True
    return failure == "lost" and (not is_write(operation) or getattr(operation, "repeatable", False))


class _Attempts:
    """What to do about the errors of one operation; made by the first one.

    Args:
        pool: judges errors of the driver.
        retry: see [Retry][].
        operation: that failed.
    """

    def __init__(self, pool: _Drivers, retry: Retry, operation: Callable[..., Any]) -> None:
        self._pool = pool
        self._waits = retry.waits()
        self._operation = operation
        self._silent = False

    def wait(self, error: Exception) -> float:
        """Return how long to wait before the operation is done once more, in seconds.

        A server that stays silent is asked twice at the most, and once for a connection: so a call lasts no longer than
        ``timeout`` and ``connect_timeout`` together, or twice ``timeout``.

        Raises:
            PersistenceError: it is not to be done again.
            BaseException: what was raised from outside, as it was.
        """
        if isinstance(error, SilentError):
            if self._silent or not error.sent or not _may_repeat("lost", self._operation):
                raise ConnectionFailedError(str(error)) from error
            self._silent = True
            return 0.0
        raised = _from_outside(error, self._pool, self._operation)
        if raised is not None:
            raise raised
        wait = self._waits.next() if _may_repeat(self._pool.classify(error), self._operation) else None
        if wait is None:
            raise self._pool.translate(error) from error
        return wait


def _from_outside(error: BaseException, pool: _Drivers, operation: Callable[..., Any]) -> BaseException | None:
    own = getattr(operation, "__module__", "").partition(".")[0]
    # Operations of the core raise none of its exceptions but those that the store may raise, which are judged before.
    return from_outside(error, {*pool.insiders, own} - {"praisonai_persistence"})


def _must_migrate(migrations: Migrations, version: int, create_schema: bool, must_exist: bool) -> bool:
    """Whether tables of that version have to be migrated.

    Raises:
        SchemaError: they are newer than this code, or older and not to be touched.
    """
    if version == migrations.latest:
        return False
    if version > migrations.latest:
        raise migrations.newer(version)
    if must_exist:
        raise migrations.older(version)
    if not create_schema:
        raise migrations.missing(version)
    return True


class _Prepared:
    """What the runners of both modes have: their arguments (see [SQLRunner][]), and what is to be done first."""

    must_exist: bool

    def __init__(
        self, pool: Any, migrations: Migrations | None, retry: Retry | None = None, *, create_schema: bool = True
    ) -> None:
        self._pool: Any = pool
        self._migrations = migrations
        self._retry = retry or Retry()
        self._create_schema = create_schema
        self._ready = False
        self._closed = False

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise StoreClosedError("this store is closed")

    def _preparation(self) -> Steps[None]:
        """Connect, and see to the tables: ask for the operations to do, and be sent what they return.

        In the usual case the tables are there, and reading their version is all.
        """
        if self._migrations is None:
            yield _nothing
            return
        version = yield self._migrations.current
        if self.must_exist and version == 0:
            raise (yield self._migrations.absent)
        if version == 0 and not self._create_schema:
            yield from self._take_over(self._migrations)
            return
        if _must_migrate(self._migrations, version, self._create_schema, self.must_exist):
            yield self._migrations.migrate

    def _take_over(self, migrations: Migrations) -> Steps[None]:
        """Make tables only of PraisonAI's own, which is no use of a right to make tables that somebody withheld."""
        error = yield migrations.unmade
        if error is not None:
            raise error
        try:
            yield migrations.migrate
        except BackendError as refused:
            raise migrations.occupied() from refused


class SQLRunner(_Prepared, Runner):
    """Runs operations on a sync driver's connections.

    Args:
        pool: lends them; closed with the runner.
        migrations: applied by the first operation; None: the schema is somebody else's business.
        retry: how often, and how long, to try again.
        create_schema: whether tables are made or brought up to date; if not, they must be there.
    """

    def __init__(
        self, pool: Pool, migrations: Migrations | None, retry: Retry | None = None, *, create_schema: bool = True
    ) -> None:
        super().__init__(pool, migrations, retry, create_schema=create_schema)
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock: Any = threading.RLock()
        self._writing: dict[int, tuple[Loan[Any], Connection]] = {}  # by thread

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self._refuse_if_closed()
        if self._ready:
            return
        if self._lock._is_owned():
            raise UnsupportedOperationError("a call in the middle of this thread's first one, which connects: wait")
        with self._lock:
            if not self._ready:
                self._refuse_if_closed()  # meanwhile
                run(self._preparation(), self._attempts)
                self._ready = True

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        if not self._ready or self._closed:
            self.connect()
        return self._attempts(operation, *args, **kwargs)

    def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do an operation on the schema itself: nothing is migrated first.

        Raises:
            StoreClosedError: after ``close``.
        """
        self._refuse_if_closed()
        try:
            return self._attempts(operation, *args, **kwargs)
        finally:
            if is_write(operation):
                self._ready = False  # the next operation looks at the tables again

    def close(self) -> None:
        """Wait for the operations that are under way, and close the connections; see [Runner.close][]."""
        self._closed = True
        self._pool.close()

    def _attempts(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        attempts: _Attempts | None = None
        write = is_write(operation)
        while True:
            loan = self._pool.lend()
            try:
                with loan as connection:
                    try:
                        if write:
                            self._start_writing(loan, connection)
                        connection.begin(write=write)
                        answer = run(operation(*args, **kwargs), connection.perform)
                        connection.commit()
                    except BaseException as error:
                        loan.end(broken=self._is_broken(connection, error, operation))
                        raise
                    loan.end(broken=False)
                return answer
            except PersistenceError:
                raise
            except Exception as error:  # noqa: BLE001 - what is not the driver's passes as it is
                attempts = attempts or _Attempts(self._pool, self._retry, operation)
                wait = attempts.wait(error)
            time.sleep(wait)

    def _start_writing(self, loan: Loan[Any], connection: Connection) -> None:
        """Remember that this thread writes.

        Raises:
            UnsupportedOperationError: it does already, and this call, made by a finalizer or a signal handler in the
                middle of the other one, might wait for locks that are let go of only after it.
        """
        thread = threading.get_ident()
        outer = self._writing.get(thread)
        if outer is not None and outer[0]._is_owned():
            if outer[1].holds_locks():
                raise UnsupportedOperationError(
                    "a write in the middle of another one of the same thread: make it later"
                )
            return
        self._writing[thread] = loan, connection

    def _is_broken(self, connection: Connection, error: BaseException, operation: Callable[..., Any]) -> bool:
        """Undo what was begun, and return whether that failed, so that the connection must not be used again."""
        if connection.is_busy():
            return True
        if not isinstance(error, PersistenceError):
            if not isinstance(error, Exception) or isinstance(error, SilentError):
                return True
            if _from_outside(error, self._pool, operation) is not None or self._pool.classify(error) == "lost":
                return True
        connection.rollback()
        return False


class AsyncSQLRunner(_Prepared, AsyncRunner):
    """[SQLRunner][] for an async driver; arguments as there."""

    def __init__(
        self, pool: AsyncPool, migrations: Migrations | None, retry: Retry | None = None, *, create_schema: bool = True
    ) -> None:
        super().__init__(pool, migrations, retry, create_schema=create_schema)
        self._locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = weakref.WeakKeyDictionary()

    async def connect(self) -> None:
        """See [Runner.connect][]."""
        self._refuse_if_closed()
        if self._ready:
            return
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if not self._ready:
                self._refuse_if_closed()  # meanwhile
                await run_async(self._preparation(), self._attempts)
                self._ready = True

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        """See [Runner.run][]."""
        if not self._ready or self._closed:
            return self._run_first(operation, *args, **kwargs)
        return self._attempts(operation, *args, **kwargs)

    async def _run_first(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        await self.connect()
        return await self._attempts(operation, *args, **kwargs)

    async def administer(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [SQLRunner.administer][]."""
        self._refuse_if_closed()
        try:
            return await self._attempts(operation, *args, **kwargs)
        finally:
            if is_write(operation):
                self._ready = False

    async def close(self) -> None:
        """See [Runner.close][]."""
        if not self._closed:
            self._closed = True
            await self._pool.close()

    async def _attempts(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        attempts: _Attempts | None = None
        write = is_write(operation)
        while True:
            try:
                async with self._pool.lend() as connection:
                    try:
                        await connection.begin(write=write)
                        answer = await run_async(operation(*args, **kwargs), connection.perform)
                        await connection.commit()
                    except BaseException:
                        await connection.rollback()
                        raise
                return answer
            except PersistenceError:
                raise
            except Exception as error:  # noqa: BLE001 - what is not the driver's passes as it is
                attempts = attempts or _Attempts(self._pool, self._retry, operation)
                wait = attempts.wait(error)
            await asyncio.sleep(wait)


@reads
def _nothing() -> Steps[None]:
    yield from ()
