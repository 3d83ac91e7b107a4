"""The async driver: asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg

from praisonai_persistence_pg.errors import Errors
from praisonai_persistence_pg.pools import OwnConnections
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_sql import (
    Alone,
    AsyncConnection,
    AsyncLender,
    AsyncLoan,
    AsyncPool,
    Execute,
    ExecuteMany,
    Fetch,
    Snapshot,
    Undo,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from praisonai_persistence_pg.settings import Settings
    from praisonai_persistence_sql.runners import Failure

__all__ = ["AsyncpgConnection", "InjectedPool", "OwnPool"]


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

    async def perform(self, request: Any) -> Any:
        kind = type(request)
        try:
            if kind is Alone:
                return await self.raw.fetch(request.sql, *request.parameters)
            if isinstance(request, Snapshot):
                return await self._start("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            if isinstance(request, Undo):
                return await self._end("ROLLBACK")
            if self._write:
                await self._start("BEGIN")
            if kind is Fetch:
                return await self.raw.fetch(request.sql, *request.parameters)
            if kind is Execute:
                return _count(await self.raw.execute(request.sql, *request.parameters))
            if kind is ExecuteMany:
                return await self.raw.executemany(request.sql, request.parameters)
            if isinstance(request, CopyIn):
                schema, table, columns, rows = request
                return await self.raw.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
            raise TypeError(f"postgres cannot perform {kind.__name__}")
        except asyncio.CancelledError:
            self._cancelled = True
            raise

    async def _start(self, sql: str) -> None:
        if not self._open:
            self._open = True
            await self.raw.execute(sql)

    async def _end(self, sql: str) -> None:
        if self._open:
            await self.raw.execute(sql)
            self._open = False

    async def commit(self) -> None:
        if not self._open:
            return
        try:
            await self._end("COMMIT")
        except asyncio.CancelledError:
            self._cancelled = True
            raise

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


class _Errors(Errors, AsyncPool):
    def _facts(self, error: BaseException | None) -> tuple[str | None, str, bool]:
        if isinstance(error, asyncpg.InterfaceError):
            if isinstance(error, ValueError):  # of an argument, which the driver quotes
                return None, "asyncpg cannot send a value of this type", False
            return None, str(error), "closed" in str(error)
        broken = isinstance(error, (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError))
        if isinstance(error, asyncpg.PostgresError):
            return error.sqlstate, str(error.args[0] if error.args else error), broken
        return None, str(error), broken

    def classify(self, error: Exception) -> Failure:
        return "repeat" if _unsent(error) else super().classify(error)


def _unsent(error: BaseException) -> bool:
    """Whether a request met a connection that the server had just given notice to, which the driver knows half of."""
    return isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error)


class OwnPool(OwnConnections, _Errors):
    """Connections of our own; see ``OwnConnections``."""

    kind = AsyncpgConnection
    _lender: AsyncLender[AsyncpgConnection]

    def _make_lender(self, **limits: Any) -> AsyncLender[AsyncpgConnection]:
        return AsyncLender(self._connect, self.kind.alive, self.kind.close, self.kind.abandon, **limits)

    async def _connect(self) -> AsyncpgConnection:
        try:
            if self._factory is not None:
                raw = await self._factory()
            else:
                raw = await asyncpg.connect(**self._settings.for_asyncpg())
        except (TimeoutError, asyncio.TimeoutError):
            raise self._no_answer() from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise self.refused(error, worked=self._worked) from error
        if not self._worked:
            self._worked = True
            try:
                with contextlib.suppress(Exception):  # what fails here fails again where it matters
                    await self._lender.fill(self._min_size - 1)
            except BaseException:
                raw.terminate()
                raise
        return self.kind(raw)

    def lend(self) -> AsyncLoan[AsyncpgConnection]:
        return AsyncLoan(self._lender.acquire, self._release)

    def _release(self, connection: AsyncpgConnection, error: BaseException | None) -> Coroutine[Any, Any, None]:
        # The driver may not know yet that the connection is gone.
        lost = isinstance(error, Exception) and (_unsent(error) or self.classify(error) == "lost")
        return self._lender.release(connection, broken=lost or connection.raw.is_closed())

    async def close(self) -> None:
        await self._lender.close()


class InjectedPool(_Errors):
    """Connections of a pool that was handed in: an ``asyncpg.Pool``, or what has its two methods.

    Args:
        pool: lends with ``acquire()``, takes back with ``release(connection)``; not closed here.
        settings: for messages.
    """

    def __init__(self, pool: Any, settings: Settings) -> None:
        super().__init__(settings.where)
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
