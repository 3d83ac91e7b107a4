"""The async driver: asyncpg."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg import connect_utils

from praisonai_persistence._loops import hang_up
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError, PersistenceError, StoreClosedError
from praisonai_persistence_pg.errors import Errors, NotConnectedError, check_encoding, refuses_settings
from praisonai_persistence_pg.parameters import keep_alive
from praisonai_persistence_pg.pools import OwnConnections, silent
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_sql import (
    PATIENCE,
    Alone,
    AsyncConnection,
    AsyncLender,
    AsyncLoan,
    AsyncPool,
    Execute,
    ExecuteMany,
    Fetch,
    Patiently,
    SilentError,
    Snapshot,
    Undo,
    Watch,
)
from praisonai_persistence_sql.failures import from_outside

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from praisonai_persistence_pg.settings import Settings
    from praisonai_persistence_sql.runners import Failure

__all__ = ["AsyncpgConnection", "InjectedPool", "OwnPool"]


_CANCEL_TIMEOUT = 10.0
"""Seconds, at the most, that a cancelled call waits to know that its request has ended."""
_CLOSE_TIMEOUT = 2.0
"""Seconds, at the most, for the server to take notice that a connection ends."""


class AsyncpgConnection(AsyncConnection):
    """A connection outside of transactions: one starts with the first request that needs it.

    Args:
        raw: the driver's.
        timeout: seconds to wait for an answer.
        where: the server, for messages.
        pooler: whether a pooler answers: the driver sends a request in two parts, which reach the same server within a
            transaction only.
    """

    __slots__ = ("_cancelled", "_open", "_timeout", "_watch", "_where", "_write", "pooler", "raw")

    def __init__(self, raw: Any, timeout: float, where: str, *, pooler: bool = False) -> None:
        self.raw = raw
        self.pooler = pooler
        self._timeout = timeout
        self._where = where
        self._watch = Watch(timeout, raw.terminate)
        self._write = self._open = self._cancelled = False

    async def begin(self, *, write: bool) -> None:
        self._write = write
        self._watch.seconds = self._timeout

    async def perform(self, request: Any) -> Any:
        return await self._limited(self._perform(request))

    async def _limited(self, work: Coroutine[Any, Any, Any]) -> Any:
        watch = self._watch
        watch.start()
        try:
            return await work
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        except Exception as error:
            if watch.silent:
                raise silent(self._where, watch.seconds, sent=True) from error
            raise
        finally:
            watch.stop()

    async def _perform(self, request: Any) -> Any:
        kind = type(request)
        if self.pooler and not self._open and (kind is Alone or (not self._write and kind in {Fetch, Execute})):
            return await self._by_itself(self._ask, request)
        if kind is Alone:
            return await self._ask(request)
        if isinstance(request, Snapshot):
            return await self._start("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if isinstance(request, Undo):
            return await self._end("ROLLBACK")
        if self._write:
            await self._start("BEGIN")
        if kind is Fetch or kind is Execute:
            return await self._ask(request)
        if kind is ExecuteMany:
            return await self.raw.executemany(request.sql, request.parameters)
        if isinstance(request, CopyIn):
            schema, table, columns, rows = request
            return await self.raw.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
        if kind is Patiently:
            self._watch.seconds = PATIENCE
            return await self.raw.execute("SET LOCAL statement_timeout = 0")
        raise TypeError(f"postgres cannot perform {kind.__name__}")

    async def _ask(self, request: Any) -> Any:
        if type(request) is Execute:
            return _count(await self.raw.execute(request.sql, *request.parameters))
        return await self.raw.fetch(request.sql, *request.parameters)

    async def _by_itself(self, work: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Any:
        """Do something in a transaction of its own."""
        await self._start("BEGIN")
        try:
            found = await work(*arguments)
        except asyncpg.PostgresError:
            if not self.raw.is_closed():
                await self._end("ROLLBACK")
            raise
        await self._end("COMMIT")
        return found

    async def _start(self, sql: str) -> None:
        if not self._open:
            self._open = True
            await self.raw.execute(sql)

    async def _end(self, sql: str) -> None:
        if self._open:
            await self.raw.execute(sql)
            self._open = False

    async def commit(self) -> None:
        if self._open:
            await self._limited(self._end("COMMIT"))

    async def rollback(self) -> None:
        # A cancelled request has ended, one way or the other, when the next one on the connection has an answer.
        if (self._open or self._cancelled) and not self.raw.is_closed():
            sql = "ROLLBACK" if self._open else "SELECT 1"
            limit = min(self._timeout, _CANCEL_TIMEOUT) if self._cancelled else self._timeout
            try:
                await asyncio.wait_for(self.raw.execute(sql), limit)
            except (
                asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError, asyncio.CancelledError
            ):  # fmt: skip
                self.abandon()
        self._open = self._cancelled = False

    def detach(self) -> None:
        """Leave it to its owner."""
        self._watch.end()

    def alive(self) -> bool:
        """Whether the loop has not noticed the end of the connection."""
        return not self.raw.is_closed()

    async def close(self) -> None:
        """Close it, whatever state it is in."""
        self._watch.end()
        try:
            await self.raw.close(timeout=min(self._timeout, _CLOSE_TIMEOUT))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, asyncio.TimeoutError):
            self.abandon()

    def abandon(self) -> None:
        """Let go of it without waiting for the server, also when its loop is closed."""
        self._watch.end()
        transport = getattr(self.raw, "_transport", None)
        with contextlib.suppress(Exception):
            self.raw.terminate()
        hang_up(transport)


def _count(status: str) -> int:
    """Return how many rows a command changed, by its tag: ``UPDATE 3``, ``INSERT 0 1``."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdigit() else 0


_NOT_THERE = NotConnectedError, SilentError


class _Errors(Errors, AsyncPool):
    insiders = frozenset({"asyncpg", "uvloop"})

    def _facts(self, error: BaseException | None) -> tuple[str | None, str, bool]:
        if isinstance(error, asyncpg.InterfaceError):
            if isinstance(error, ValueError):  # of an argument, which the driver quotes
                return None, "asyncpg cannot send a value of this type", False
            return None, str(error), "closed" in str(error)
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            return None, "no host is what target_session_attrs wants", True
        broken = isinstance(error, (OSError, asyncio.TimeoutError, asyncpg.PostgresConnectionError))
        if isinstance(error, asyncpg.PostgresError):
            return error.sqlstate, str(error.args[0] if error.args else error), broken
        return None, str(error), broken

    def classify(self, error: Exception) -> Failure:
        return "repeat" if _unsent(error) else super().classify(error)

    def is_lost(self, error: BaseException | None) -> bool:
        """Whether a connection must not be used again after this; a cancelled one has seen to itself."""
        if error is None or isinstance(error, (asyncio.CancelledError, PersistenceError)):
            return False
        if not isinstance(error, Exception) or isinstance(error, SilentError) or _unsent(error):
            return True
        return self.classify(error) == "lost" or from_outside(error, self.insiders) is not None


def _unsent(error: BaseException) -> bool:
    """Whether a request met a connection that the server had just given notice to, which the driver knows half of."""
    return isinstance(error, asyncpg.InternalClientError) and "cannot switch to state" in str(error)


class _Upgrade(connect_utils.TLSUpgradeProto):  # type: ignore[misc]
    """The driver's protocol of a connection before TLS, whose failure is looked at.

    Where connecting is cancelled, nobody awaits what this future holds, and asyncio complains that nobody did.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.on_data.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


connect_utils.TLSUpgradeProto = _Upgrade


async def _connected(settings: Settings) -> Any:
    """Return a new connection, to the first server that takes it.

    Raises:
        TimeoutError: nobody answered within ``connect_timeout``.
        asyncpg.PostgresError: the server refused it; and what else the driver, or the network, raises.
    """
    *others, last = settings.attempts()
    for one in others:
        try:
            return await _connected_to(one)
        except (OSError, asyncio.TimeoutError, asyncpg.TargetServerAttributeNotMatched) as error:
            if from_outside(error, _Errors.insiders) is not None:
                raise
        except asyncpg.PostgresError as error:
            if not settings.pooler and refuses_settings(str(error)):
                raise
    return await _connected_to(last)


async def _connected_to(settings: Settings) -> Any:
    raw = await asyncpg.connect(**settings.for_asyncpg())
    try:
        keep_alive(raw._transport.get_extra_info("socket"), settings.parameters)
    except BaseException:
        raw.terminate()
        raise
    return raw


async def _fails(raw: Any, question: str, seconds: float) -> bool:
    """Whether the server answers a question within some seconds, and by a division by zero."""
    try:
        await raw.execute(question, timeout=seconds)
    except asyncpg.DivisionByZeroError:
        return True
    except asyncpg.SyntaxOrAccessError:  # a server that has no such function
        return False
    except BaseException:
        raw.terminate()
        raise
    return False


def _check_encoding(raw: Any, where: str) -> None:
    """See ``check_encoding``; the driver itself sees to the client's."""
    check_encoding(getattr(raw.get_settings(), "server_encoding", None), None, where)


class OwnPool(OwnConnections, _Errors):
    """Connections of our own; see ``OwnConnections``."""

    kind = AsyncpgConnection
    _lender: AsyncLender[AsyncpgConnection]

    def _make_lender(self, **limits: Any) -> AsyncLender[AsyncpgConnection]:
        return AsyncLender(self._connect, self.kind.alive, self.kind.close, self.kind.abandon, **limits)

    async def _connect(self) -> AsyncpgConnection:
        try:
            raw = await self._opened()
            if question := self._question(raw.get_server_pid()):
                self._answered(pooler=await _fails(raw, question, self._settings.connect_timeout))
                if self._settings.pooler:
                    raw.terminate()
                    raw = await self._opened()
        except (TimeoutError, asyncio.TimeoutError) as error:
            if from_outside(error, self.insiders) is not None:
                raise
            raise self._no_answer() from None
        except asyncpg.ClientConfigurationError as error:
            raise ConfigurationError(f"asyncpg cannot use the URL's parameters: {error}") from error
        except (
            OSError,
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.TargetServerAttributeNotMatched,
        ) as error:
            raise self.refused(error, worked=self._worked) from error
        connection = self.kind(raw, self._settings.timeout, self._where, pooler=self._settings.pooler)
        if not self._worked:
            self._worked = True
            try:
                await self._lender.fill(self._min_size - 1)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, PersistenceError, *_NOT_THERE):
                pass  # what fails here fails again where it matters
            except BaseException:
                connection.abandon()
                raise
        return connection

    async def _opened(self) -> Any:
        """Return a new connection of the driver, as the settings want it."""
        if self._factory is not None:
            raw = await self._factory()
        else:
            try:
                raw = await _connected(self._settings)
            except asyncpg.PostgresError as error:
                if not self._refuses_settings(error):
                    raise
                raw = await _connected(self._settings)
        try:
            _check_encoding(raw, self._where)
        except BaseException:
            raw.terminate()
            raise
        return raw

    def lend(self) -> AsyncLoan[AsyncpgConnection]:
        return AsyncLoan(self._lender.acquire, self._release)

    def _release(self, connection: AsyncpgConnection, error: BaseException | None) -> Coroutine[Any, Any, None]:
        # The driver may not know yet that the connection is gone.
        return self._lender.release(connection, broken=connection.raw.is_closed() or self.is_lost(error))

    async def close(self) -> None:
        await self._lender.close()


class InjectedPool(_Errors):
    """Connections of a pool that was handed in: an ``asyncpg.Pool``, or what has its two methods.

    Args:
        pool: lends with ``acquire()``, takes back with ``release(connection)``; not closed here, and used in its own
            event loop.
        settings: for messages, and how long to wait.
    """

    def __init__(self, pool: Any, settings: Settings) -> None:
        super().__init__(settings.where)
        self._pool = pool
        self._settings = settings
        self._closed = False

    @contextlib.asynccontextmanager
    async def lend(self) -> AsyncIterator[AsyncConnection]:
        how = self._settings
        connection = AsyncpgConnection(await self._acquire(), how.timeout, self._where, pooler=how.pooler)
        try:
            _check_encoding(connection.raw, self._where)
            if self._closed:
                raise StoreClosedError("this store is closed")
            yield connection
        except BaseException as error:
            if self.is_lost(error):
                connection.abandon()
            raise
        finally:
            connection.detach()
            await self._pool.release(connection.raw)

    async def _acquire(self) -> Any:
        limit = self._settings.connect_timeout
        try:
            if isinstance(self._pool, asyncpg.Pool):
                return await self._pool.acquire(timeout=limit)
            return await asyncio.wait_for(self._pool.acquire(), limit)
        except (TimeoutError, asyncio.TimeoutError) as error:
            if from_outside(error, self.insiders) is not None:
                raise
            raise ConnectionFailedError(
                f"the pool that was handed in gave no connection within {limit:g} seconds"
            ) from error

    async def close(self) -> None:
        self._closed = True
