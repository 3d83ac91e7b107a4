"""The async driver: asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg

from praisonai_persistence.errors import ConnectionFailedError, PersistenceError
from praisonai_persistence_postgres import _errors
from praisonai_persistence_sql import (
    Alone,
    AsyncConnection,
    AsyncLender,
    AsyncPool,
    Execute,
    ExecuteMany,
    Fetch,
    Snapshot,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from praisonai_persistence_postgres._settings import Settings
    from praisonai_persistence_sql.requests import Request
    from praisonai_persistence_sql.runners import Failure

__all__ = ["AsyncInjectedPool", "AsyncpgConnection", "AsyncpgPool"]


class AsyncpgConnection(AsyncConnection):
    """A connection outside of transactions: one starts with the first request that needs it.

    Args:
        raw: the driver's.
    """

    __slots__ = ("_cancelled", "_open", "_write", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._write = self._open = self._cancelled = False

    async def begin(self, *, write: bool) -> None:
        self._write = write

    async def perform(self, request: Request) -> Any:
        try:
            return await self._perform(request)
        except asyncio.CancelledError:
            self._cancelled = True
            raise

    async def _perform(self, request: Request) -> Any:
        kind = type(request)
        if isinstance(request, Snapshot):
            return await self._start("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if self._write and kind is not Alone:
            await self._start("BEGIN")
        sql, parameters = request
        if kind is Fetch or kind is Alone:
            return await self.raw.fetch(sql, *parameters)
        if kind is Execute:
            return _count(await self.raw.execute(sql, *parameters))
        if kind is ExecuteMany:
            return await self.raw.executemany(sql, parameters)
        raise TypeError(f"postgres cannot perform {kind.__name__}")

    async def _start(self, sql: str) -> None:
        if not self._open:
            self._open = True
            await self.raw.execute(sql)

    async def commit(self) -> None:
        if self._open:
            try:
                await self.raw.execute("COMMIT")
            except asyncio.CancelledError:
                self._cancelled = True
                raise
            self._open = False

    async def rollback(self) -> None:
        # A cancelled request has ended, one way or the other, when the next one on the connection has an answer.
        if (self._open or self._cancelled) and not self.raw.is_closed():
            sql = "ROLLBACK" if self._open else "SELECT 1"
            try:
                await self.raw.execute(sql)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.CancelledError):
                self.abandon()
        self._open = self._cancelled = False

    def alive(self) -> bool:
        """Whether the loop has not noticed the end of the connection."""
        return not self.raw.is_closed()

    async def close(self) -> None:
        """Close it, whatever state it is in."""
        try:
            await self.raw.close(timeout=5)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError):
            self.abandon()

    def abandon(self) -> None:
        """Let go of it without waiting for the server, also when its loop is closed."""
        with contextlib.suppress(Exception):
            self.raw.terminate()


def _count(status: str) -> int:
    """Return how many rows a command changed, by its tag: ``UPDATE 3``, ``INSERT 0 1``."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


class _Errors(AsyncPool):
    """The driver's errors.

    Args:
        settings: for messages.
    """

    def __init__(self, settings: Settings) -> None:
        self._where = settings.where

    def classify(self, error: Exception) -> Failure:
        if isinstance(error, _errors.NotConnectedError) or _unsent(error):
            return "repeat"
        return _errors.classify(getattr(error, "sqlstate", None), connection_error=_broken(error))

    def translate(self, error: Exception) -> PersistenceError:
        cause = error.__cause__ if isinstance(error, _errors.NotConnectedError) else error
        connecting = _broken(error) or cause is not error
        message = str(cause.args[0]) if isinstance(cause, asyncpg.PostgresError) and cause.args else str(cause)
        state = getattr(cause, "sqlstate", None)
        return _errors.translate(state, message, self._where, connection_error=connecting)


def _unsent(error: BaseException) -> bool:
    """Whether a request met a connection that the server had just given notice to, which the driver knows half of."""
    return isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error)


def _broken(error: BaseException) -> bool:
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)
    return isinstance(error, (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError))


class AsyncpgPool(_Errors):
    """Connections of our own.

    Args:
        settings: how to connect.
        connect: makes a connection instead, where the caller handed that in.
        min_size: opened with the first.
        max_size: how many there may be at a time.
        pool_timeout: seconds to wait for one.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[], Awaitable[Any]] | None,
        *,
        min_size: int,
        max_size: int,
        pool_timeout: float,
    ) -> None:
        super().__init__(settings)
        self._arguments = settings.for_asyncpg()
        self._factory = connect
        self._worked = False
        self._min_size = min_size
        self._lender: AsyncLender[AsyncpgConnection] = AsyncLender(
            self._connect,
            AsyncpgConnection.alive,
            AsyncpgConnection.close,
            AsyncpgConnection.abandon,
            max_size=max_size,
            timeout=pool_timeout,
        )

    async def _connect(self) -> AsyncpgConnection:
        try:
            raw = await (self._factory() if self._factory is not None else asyncpg.connect(**self._arguments))
        except (TimeoutError, asyncio.TimeoutError):
            raise ConnectionFailedError(
                f"PostgreSQL at {self._where} did not answer within {self._arguments['timeout']:g} seconds"
            ) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            repeat = _errors.classify(getattr(error, "sqlstate", None), connection_error=False) == "repeat"
            if self._worked or repeat:
                raise _errors.NotConnectedError from error
            raise self.translate(error) from error  # it may never have been there: no use to try again
        if not self._worked:
            self._worked = True
            with contextlib.suppress(Exception):  # what fails here fails again where it matters
                await self._lender.fill(self._min_size - 1)
        return AsyncpgConnection(raw)

    def lend(self) -> _Loan:
        return _Loan(self, self._lender)

    async def close(self) -> None:
        await self._lender.close()


class _Loan:
    """A connection for one operation; a class, because a generator takes longer, and this is on every path."""

    __slots__ = ("_connection", "_lender", "_pool")

    def __init__(self, pool: AsyncpgPool, lender: AsyncLender[AsyncpgConnection]) -> None:
        self._pool = pool
        self._lender = lender

    async def __aenter__(self) -> AsyncpgConnection:
        self._connection = await self._lender.acquire()
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        connection = self._connection
        # The driver may not know yet that the connection is gone.
        lost = isinstance(error, Exception) and (_unsent(error) or self._pool.classify(error) == "lost")
        await self._lender.release(connection, broken=lost or connection.raw.is_closed())


class AsyncInjectedPool(_Errors):
    """Connections of a pool that was handed in: an ``asyncpg.Pool``, or what has its two methods.

    Args:
        pool: lends with ``acquire()``, takes back with ``release(connection)``; not closed here.
        settings: for messages.
    """

    def __init__(self, pool: Any, settings: Settings) -> None:
        super().__init__(settings)
        self._pool = pool

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        raw = await self._pool.acquire()
        try:
            yield AsyncpgConnection(raw)
        finally:
            await self._pool.release(raw)

    async def close(self) -> None:
        return
