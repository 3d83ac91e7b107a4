"""aiomysql's connections."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import aiomysql
from pymysql.constants import CLIENT
from pymysql.converters import decoders as DECODERS  # noqa: N812  # a constant

from praisonai_persistence._loops import hang_up
from praisonai_persistence.errors import ConnectionFailedError, PersistenceError
from praisonai_persistence_mysqlcore.errors import (
    INSIDERS,
    DriverError,
    UndoneError,
    classify,
    is_lost,
    no_answer,
    refused,
    translate,
)
from praisonai_persistence_mysqlcore.requests import Transaction
from praisonai_persistence_mysqlcore.session import (
    BEGIN,
    Traits,
    check_row,
    check_statement,
    text_decoders,
)
from praisonai_persistence_sql import (
    PATIENCE,
    AsyncConnection,
    AsyncLender,
    AsyncLoan,
    AsyncPool,
    Execute,
    ExecuteMany,
    Fetch,
    Patiently,
    SilentError,
    Undo,
    Watch,
)
from praisonai_persistence_sql.failures import from_outside

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Literal, TypeVar

    from praisonai_persistence_mysqlcore.settings import Settings

    T = TypeVar("T")

__all__ = ["AsyncMySQLConnection", "AsyncMySQLPool"]


class _Cursor(aiomysql.Cursor):  # type: ignore[misc]  # has no types
    """A cursor that does not ask the server for every warning's text, to pass it to Python's warnings."""

    async def _show_warnings(self, conn: Any) -> None:
        pass


_CANCEL_TIMEOUT = 10.0
"""Seconds, at the most, that a cancelled call waits to know that its request has ended."""


class _Driver(aiomysql.Connection):  # type: ignore[misc]
    """A connection that, asked to encrypt, refuses a server that cannot, before it sends anything."""

    tls_required = False
    watch: Watch | None = None
    cancelled = False
    """Whether a cancellation came while an answer was outstanding, and waits until it is there."""

    async def _read_bytes(self, num_bytes: int) -> bytes:
        # A request that was sent ends one way or the other: a cancelled caller hears of it after that, or after a time.
        while True:
            try:
                return await super()._read_bytes(num_bytes)  # type: ignore[no-any-return]
            except asyncio.CancelledError:
                if self.watch is None or not self.watch.running:
                    raise
                self.cancelled = True
                self.watch.hurry(_CANCEL_TIMEOUT)

    async def _request_authentication(self) -> None:
        if self.tls_required and not self.server_capabilities & CLIENT.SSL:
            raise aiomysql.OperationalError(2026, "the server does not support TLS")
        try:
            await super()._request_authentication()
        except BaseException:
            _cut(self, _transport(self))
            raise

    def _close_on_cancel(self) -> None:
        _cut(self, _transport(self))
        super()._close_on_cancel()


def _transport(raw: Any) -> asyncio.WriteTransport | None:
    return None if raw._writer is None else raw._writer.transport


def _cut(raw: Any, transport: asyncio.WriteTransport | None) -> None:
    """End aiomysql's connection at once.

    Its own ``close`` lets TLS say good-bye first: until the server has answered that, the socket stays open, and when
    the loop ends before, nobody closes it any more.

    Args:
        raw: the connection.
        transport: what it had when it was open; it may have closed itself meanwhile, and forgotten that.
    """
    hang_up(transport)
    with suppress(Exception):  # the loop may be gone
        raw.close()


class AsyncMySQLConnection(AsyncConnection):
    """One connection, kept with its cursor for as long as it is open.

    ``START TRANSACTION`` travels with the first statement behind it.

    Args:
        raw: aiomysql's.
        traits: of the server and of this connection.
        timeout: seconds within which the server has to answer.
        place: the server, for messages.
    """

    def __init__(self, raw: Any, traits: Traits, timeout: float, place: str) -> None:
        self.raw = raw
        self.since = time.monotonic()
        self._decoders = raw.decoders
        raw.decoders = text_decoders(raw.decoders)
        self._cursor = _Cursor(raw)
        self._cursor.max_stmt_length = min(_Cursor.max_stmt_length, traits.largest)
        self._traits = traits
        self._timeout = timeout
        self._place = place
        self._writer = raw._writer
        self._watch = Watch(timeout, self._writer.transport.abort)
        if isinstance(raw, _Driver):
            raw.watch = self._watch
        self._wanted = self._begun = self.migrates = False

    async def begin(self, *, write: bool) -> None:
        """See [Connection.begin][]."""
        self._wanted = write
        self._begun = self.migrates = False
        self._watch.seconds = self._timeout

    async def perform(self, request: Any) -> Any:
        """See [Connection.perform][]."""
        kind = type(request)
        if kind is Transaction:
            return await self._limited(self._transaction(request.statements))
        try:
            if kind is Fetch:
                await self._limited(self._send(request.sql, request.parameters))
                return list(await self._cursor.fetchall())
            if kind is Execute:
                await self._limited(self._send(request.sql, request.parameters))
                return self._cursor.rowcount
            if kind is ExecuteMany:
                return await self._limited(self._send_many(request.sql, request.parameters))
            if kind is Undo:
                return await self._undo()
            if kind is Patiently:
                self._watch.seconds = PATIENCE
                self.migrates = True
                return None
            return await self._limited(self._snapshot())
        except (DriverError, OSError) as error:
            if self._wanted and is_lost(error):
                raise UndoneError(*error.args) from error
            raise

    async def _limited(self, work: Awaitable[T]) -> T:
        # Who waits for a connection that ends hears of it: no need for a task of its own, as wait_for makes.
        watch = self._watch
        watch.start()
        try:
            answer = await work
        except Exception as error:
            self._tell_cancelled()
            if watch.silent:
                raise no_answer(self._place, watch.seconds, sent=True) from error
            raise
        finally:
            watch.stop()
        self._tell_cancelled()
        return answer

    def _tell_cancelled(self) -> None:
        if isinstance(self.raw, _Driver) and self.raw.cancelled:
            self.raw.cancelled = False
            raise asyncio.CancelledError

    async def _send(self, sql: str, parameters: Sequence[Any] | Any) -> None:
        statement = check_statement(self._cursor.mogrify(sql, parameters), self._traits.largest)
        if self._wanted and not self._begun:
            self._begun = True
            if self._traits.several:
                await self._cursor.execute(f"{BEGIN};{statement}")
                await self._cursor.nextset()
                return
            await self._cursor.execute(BEGIN)
        await self._cursor.execute(statement)

    async def _send_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            check_row(self._cursor, sql, row, self._traits.largest)
        if self._wanted and not self._begun:
            self._begun = True
            await self._cursor.execute(BEGIN)
        await self._cursor.executemany(sql, rows)

    async def _undo(self) -> None:
        if self._begun:
            self._begun = False
            await self._limited(self.raw.rollback())

    async def _snapshot(self) -> None:
        if not self._begun:
            for sql in self._traits.snapshot:
                await self._cursor.execute(sql)
            self._begun = True

    async def _transaction(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> tuple[int, int, Any]:
        raw, cursor, largest = self.raw, self._cursor, self._traits.largest
        texts = [BEGIN, *[cursor.mogrify(sql, parameters) for sql, parameters in statements], "COMMIT"]
        try:
            if self._traits.several:
                await raw.query(check_statement(";".join(texts), largest))
                await raw.next_result()
                changed, number = raw.affected_rows(), raw.insert_id()
                for _ in statements[1:]:
                    await raw.next_result()
                rows = raw._result.rows
                await raw.next_result()
                return changed, number, rows
            for text in texts:
                check_statement(text, largest)
            await raw.query(texts[0])
            await raw.query(texts[1])
            changed, number = raw.affected_rows(), raw.insert_id()
            for text in texts[2:-1]:
                await raw.query(text)
            rows = raw._result.rows
            await raw.query(texts[-1])
        except DriverError as error:
            if not is_lost(error):
                await raw.rollback()
            raise
        return changed, number, rows

    async def commit(self) -> None:
        """See [Connection.commit][]."""
        if self._begun:
            await self._limited(self.raw.commit())

    async def rollback(self) -> None:
        """See [Connection.rollback][]."""
        if self._begun and not self.raw.closed:
            with suppress(DriverError, OSError, SilentError):
                await self._limited(self.raw.rollback())
                return
            self.drop()

    def alive(self) -> bool:
        """Whether the loop has not noticed the end of the connection."""
        return not self.raw.closed and not self.raw._reader.at_eof()

    def restore(self) -> None:
        """Let it read as its owner had it."""
        self._watch.end()
        self.raw.decoders = self._decoders

    async def close(self) -> None:
        """Say good-bye to the server, if that is quick, and close it."""
        try:
            with suppress(Exception):
                await asyncio.wait_for(self._leave(), 1.0)
        finally:
            self.drop()

    async def _leave(self) -> None:
        await self.raw.ensure_closed()
        await self._writer.wait_closed()

    def drop(self) -> None:
        """Close it without waiting, also when its loop is gone."""
        self._watch.end()
        _cut(self.raw, self._writer.transport)


class AsyncMySQLPool(AsyncPool):
    """Lends aiomysql connections; callers wait for a free one, and connecting keeps nobody else waiting.

    aiomysql's own pool connects while it holds its lock, and waits without a limit. What an injected pool or a factory
    gives is dropped when a call is cancelled, without waiting for the end of its request.

    Args:
        settings: where and how.
        factory: opens a connection instead (a coroutine function); what it opened is closed here.
        injected: a pool of somebody else: ``await injected.acquire()`` lends, ``injected.release(connection)`` gives
            back.
    """

    insiders = INSIDERS
    traits: ClassVar[type[Traits]] = Traits
    """What kind of server it is."""

    def __init__(self, settings: Settings, factory: Callable[[], Awaitable[Any]] | None, injected: Any) -> None:
        self._settings = settings
        self._factory = factory
        self._injected = injected
        self._place = settings.place if injected is None else "the injected pool"
        self._was_there = False
        self._trusted_from = 0.0
        size, timeout = settings.max_size, settings.pool_timeout
        drop = AsyncMySQLConnection.drop if injected is None else _leave
        self._lender = AsyncLender(
            self._connect, self._alive, AsyncMySQLConnection.close, drop, max_size=size, timeout=timeout
        )

    def lend(self) -> AsyncLoan[AsyncMySQLConnection]:
        """See [Pool.lend][]."""
        return AsyncLoan(self._lender.acquire, self._release)

    async def _release(self, connection: AsyncMySQLConnection, error: BaseException | None) -> None:
        broken = error is not None and self._is_broken(connection, error)
        if broken:
            if isinstance(error, Exception):
                self._trusted_from = time.monotonic()  # what else was open before may be broken as well
            connection.drop()
        if self._injected is not None:
            broken = True
            connection.restore()
            await self._injected.release(connection.raw)
        await self._lender.release(connection, broken=broken)

    def _is_broken(self, connection: AsyncMySQLConnection, error: BaseException) -> bool:
        if isinstance(error, asyncio.CancelledError) and connection.migrates:
            return True  # a lock of migrations is held by the connection, and nobody else would let go of it
        if isinstance(error, (asyncio.CancelledError, PersistenceError)):
            return not connection.alive()
        if not isinstance(error, Exception) or isinstance(error, SilentError):
            return True
        return is_lost(error) or from_outside(error, INSIDERS) is not None

    def _alive(self, connection: AsyncMySQLConnection) -> bool:
        return connection.since >= self._trusted_from and connection.alive()

    async def _connect(self) -> AsyncMySQLConnection:
        try:
            return await asyncio.wait_for(self._open(), self._settings.connect_timeout)
        except asyncio.TimeoutError as error:
            if from_outside(error, INSIDERS) is not None:
                raise
            silent = no_answer(self._place, self._settings.connect_timeout or 0, sent=False)
            raise silent if self._was_there else ConnectionFailedError(str(silent)) from error
        except (DriverError, OSError) as error:
            raise refused(error, self._place, was_there=self._was_there) from error

    async def _open(self) -> AsyncMySQLConnection:
        if self._injected is not None:
            raw = await self._injected.acquire()
        else:
            raw = await (self._connected() if self._factory is None else self._factory())
        transport = _transport(raw)
        try:
            return AsyncMySQLConnection(raw, await self._prepare(raw), self._settings.timeout, self._place)
        except BaseException:
            _cut(raw, transport)
            if self._injected is not None:
                await self._injected.release(raw)
            raise

    async def _connected(self) -> _Driver:
        settings = self._settings
        raw = _Driver(
            host=settings.host,
            port=settings.port,
            unix_socket=settings.unix_socket,
            user=settings.user,
            password=settings.password.encode().decode("latin-1"),  # the driver encodes it so; servers want UTF-8
            db=settings.database,
            charset="utf8mb4",
            autocommit=None,
            conv=DECODERS,
            ssl=settings.context(),
            program_name=settings.program_name or "",
        )
        raw.tls_required = settings.tls_required
        try:
            await raw._connect()  # as aiomysql.connect does it
        except BaseException:
            raw.close()
            raise
        return raw

    async def _prepare(self, raw: Any) -> Traits:
        cursor = _Cursor(raw)
        for sql in self.traits.prepare:
            await cursor.execute(sql)
        await cursor.execute(self.traits.facts)
        traits = self.traits(await cursor.fetchone() or (), raw.client_flag)
        for limit in traits.limits(self._settings):
            await cursor.execute(limit)
        self._was_there = True
        return traits

    async def close(self) -> None:
        """See [Pool.close][]."""
        await self._lender.close()

    def classify(self, error: Exception) -> Literal["repeat", "lost", "other"]:
        """See [Pool.classify][]."""
        return classify(error)

    def translate(self, error: Exception) -> PersistenceError:
        """See [Pool.translate][]."""
        return translate(error, self._place)


def _leave(connection: AsyncMySQLConnection) -> None:
    """Close nothing: it was given back to the pool that it came from."""
