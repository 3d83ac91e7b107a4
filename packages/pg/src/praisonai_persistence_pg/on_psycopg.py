"""The sync driver: psycopg 3."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import sys
import time
from array import array
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, sql
from psycopg.adapt import Dumper
from psycopg.conninfo import make_conninfo
from psycopg.rows import tuple_row

from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError, PersistenceError
from praisonai_persistence_pg.errors import Errors, NotConnectedError, check_encoding, refuses_settings, state_of
from praisonai_persistence_pg.pools import OwnConnections, silent
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_sql import (
    PATIENCE,
    Alone,
    Connection,
    Execute,
    ExecuteMany,
    Fetch,
    Lender,
    Loan,
    Patiently,
    Pool,
    SilentError,
    Snapshot,
    Undo,
)
from praisonai_persistence_sql.failures import from_outside

if TYPE_CHECKING:
    from praisonai_persistence_pg.settings import Settings

__all__ = ["InjectedPool", "OwnPool", "PsycopgConnection"]


class _RealsDumper(Dumper):
    """Arrays of 32-bit floats as ``real[]``, in binary: numbers one by one, as lists go, take fifty times as long."""

    format = psycopg.pq.Format.BINARY
    oid = 1021

    def dump(self, obj: array[float]) -> bytes:
        number = len(obj)
        items = array("I", [4]) * (2 * number)  # the length of each, and its bits
        items[1::2] = array("I", obj.tobytes())
        if sys.byteorder == "little":
            items.byteswap()
        return struct.pack(">iiIii", 1, 0, 700, number, 1) + items.tobytes()


_IDLE, _ACTIVE = psycopg.pq.TransactionStatus.IDLE, psycopg.pq.TransactionStatus.ACTIVE
_READ, _WRITE = 1, 2  # psycopg.waiting's


class _Wait:
    """Waits for the server in the place of ``psycopg.Connection.wait``.

    That one has no limit, and after an interrupt it waits for the server to cancel the statement.

    Args:
        pgconn: libpq's connection.
        seconds: without a sign of the server, after which it is given up.
        where: the server, for messages.

    Attributes:
        ready: returns what the connection is ready for, of what is wanted, within so many seconds; 0: nothing.
        seconds: as above, for the next request.
        silent: whether it was given up.
    """

    __slots__ = ("_limit", "_pgconn", "_where", "ready", "seconds", "silent")

    def __init__(self, pgconn: psycopg.pq.abc.PGconn, seconds: float, where: str) -> None:
        self._pgconn = pgconn
        self._limit = self.seconds = seconds
        self._where = where
        self.ready = _poller(pgconn.socket)
        self.silent = False

    def reset(self) -> None:
        self.seconds = self._limit

    def __call__(self, steps: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        poll = self.ready
        try:
            wanted = next(steps)
            while not self.silent:
                ready = poll(wanted, self.seconds)
                if ready:
                    wanted = steps.send(ready)
                else:
                    self.silent = True
                    self._pgconn.finish()
        except StopIteration as stop:
            return stop.value
        raise silent(self._where, self.seconds, sent=True)


if hasattr(select, "poll"):

    def _poller(descriptor: int) -> Any:
        """Return a function that waits until a descriptor is ready for what is wanted, for so many seconds."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        last = _READ

        def ready(wanted: int, seconds: float) -> int:
            nonlocal last
            if wanted != last:
                events = (wanted & _READ and select.POLLIN) | (wanted & _WRITE and select.POLLOUT)
                poll.modify(descriptor, events)
                last = wanted
            found = poll.poll(seconds * 1000)
            if not found:
                return 0
            events = found[0][1]
            if events & ~(select.POLLIN | select.POLLOUT):  # broken: libpq finds out how when it is read
                return wanted
            return (events & select.POLLIN and _READ) | (events & select.POLLOUT and _WRITE)

        return ready

else:  # Windows

    def _poller(descriptor: int) -> Any:
        def ready(wanted: int, seconds: float) -> int:
            one = [descriptor]
            inputs, outputs, _ = select.select(
                one if wanted & _READ else [], one if wanted & _WRITE else [], [], seconds
            )
            return ((inputs and _READ) or 0) | ((outputs and _WRITE) or 0)

        return ready


_LIBPQ_LEAST = 2.0
"""Seconds: psycopg, as libpq, takes a shorter ``connect_timeout`` for this one."""


def _connected(settings: Settings) -> psycopg.Connection[Any]:
    """Return a new connection, to the first server that takes it.

    Raises:
        psycopg.errors.ConnectionTimeout: nobody answered within ``connect_timeout``.
        psycopg.OperationalError: the server, or the network, refused it.
    """
    *others, last = settings.attempts()
    for one in others:
        try:
            return _connected_to(one)
        except psycopg.OperationalError as error:
            if not settings.pooler and refuses_settings(str(error)):
                raise
    return _connected_to(last)


def _connected_to(settings: Settings) -> psycopg.Connection[Any]:
    arguments = settings.for_psycopg()
    if settings.connect_timeout >= _LIBPQ_LEAST:
        return psycopg.connect(**arguments)
    threshold = arguments.pop("prepare_threshold", 5)
    end = time.monotonic() + settings.connect_timeout
    steps = generators.connect(make_conninfo(**arguments))
    try:
        descriptor, wanted = next(steps)
        while ready := _poller(descriptor)(wanted, max(0.0, end - time.monotonic())):
            descriptor, wanted = steps.send(ready)
    except StopIteration as stop:
        raw: psycopg.Connection[Any] = psycopg.Connection(stop.value)
        raw.prepare_threshold = threshold
        return raw
    raise psycopg.errors.ConnectionTimeout("connection timeout expired")


class PsycopgConnection(Connection):
    """A connection in autocommit mode: a transaction starts with the first request that needs one.

    Args:
        raw: the driver's.
        timeout: seconds to wait for an answer.
        where: the server, for messages.
        pooler: whether a pooler answers, so that no statement must be prepared.
    """

    __slots__ = ("_cursor", "_open", "_patient", "_wait", "_write", "pooler", "raw")

    def __init__(self, raw: psycopg.Connection[Any], timeout: float, where: str, *, pooler: bool = False) -> None:
        self.raw = raw
        self.pooler = pooler
        if pooler:
            raw.prepare_threshold = None
        self._wait = _Wait(raw.pgconn, timeout, where)
        self._patient = False
        raw.wait = self._wait  # type: ignore[method-assign, assignment]
        self._cursor = psycopg.RawCursor(raw, row_factory=tuple_row)
        self._cursor.adapters.register_dumper(array, _RealsDumper)
        self._cursor.format = psycopg.pq.Format.BINARY  # of results: numbers need no parsing
        self._write = self._open = False

    def fails(self, question: str, seconds: float) -> bool:
        """Whether the server answers a question within some seconds, and by a division by zero."""
        self._wait.seconds = seconds
        try:
            self._cursor.execute(question, prepare=False)
        except psycopg.errors.DivisionByZero:
            return True
        except (psycopg.ProgrammingError, psycopg.NotSupportedError):  # a server that has no such function
            return False
        finally:
            self._wait.reset()
        return False

    def begin(self, *, write: bool) -> None:
        self._write = write
        if self._patient:
            self._patient = False
            self._wait.reset()

    def perform(self, request: Any) -> Any:
        kind = type(request)
        if isinstance(request, Snapshot):
            return self._start("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if isinstance(request, Undo):
            return self._end("ROLLBACK")
        if self._write and kind is not Alone:
            self._start("BEGIN")
        if isinstance(request, CopyIn):
            return self._copy(request)
        if kind is Patiently:
            self._patient = True
            self._wait.seconds = PATIENCE
            request = Execute("SET LOCAL statement_timeout = 0")
            kind = Execute
        cursor, (text, parameters) = self._cursor, request
        if kind is ExecuteMany:
            cursor.executemany(text, parameters)
            return None
        cursor.execute(text, parameters or None)
        if kind is Execute:
            return cursor.rowcount
        if kind is Fetch or kind is Alone:
            return cursor.fetchall()
        raise TypeError(f"postgres cannot perform {kind.__name__}")

    def _start(self, text: str) -> None:
        if not self._open:
            self._cursor.execute(text)
            self._open = True

    def _end(self, text: str) -> None:
        if self._open:
            self._open = False
            self._cursor.execute(text)

    def _copy(self, request: CopyIn) -> None:
        table = sql.Identifier(*filter(None, (request.schema, request.table)))
        columns = sql.SQL(", ").join(map(sql.Identifier, request.columns))
        with self._cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)) as copy:
            for row in request.rows:
                copy.write_row(row)

    def commit(self) -> None:
        self._end("COMMIT")

    def rollback(self) -> None:
        self._open = False
        if not self.raw.closed and self.raw.pgconn.transaction_status != _IDLE:
            try:
                self._cursor.execute("ROLLBACK")
            except (psycopg.Error, SilentError):
                self.close()

    def is_busy(self) -> bool:
        return self.raw.pgconn.transaction_status == _ACTIVE

    def holds_locks(self) -> bool:
        return self._write and self._open

    def restore(self) -> None:
        """Let it wait as its owner had it."""
        with contextlib.suppress(AttributeError):
            del self.raw.wait

    def alive(self) -> bool:
        """Whether the server has not said anything while this lay idle: usually that it ends the session."""
        if self.raw.closed:
            return False
        if not self._wait.ready(_READ, 0):
            return True
        try:
            self._cursor.execute("SELECT 1")
        except (psycopg.Error, SilentError):
            return False
        return True

    def disown(self) -> None:
        """Put an end to it in a forked child: its descriptor leads nowhere, so nothing can be said on it."""
        with contextlib.suppress(psycopg.Error, OSError):
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, self.raw.fileno())
            os.close(nowhere)

    def close(self) -> None:
        """Close it, whatever state it is in."""
        with contextlib.suppress(psycopg.Error, OSError):
            self.raw.close()


class _Errors(Errors, Pool):
    insiders = frozenset({"psycopg", "psycopg_binary", "psycopg_c", "psycopg_pool"})

    def _facts(self, error: BaseException | None) -> tuple[str | None, str, bool]:
        if not isinstance(error, psycopg.Error):
            return None, str(error), False
        of_connection = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        state = error.sqlstate or (state_of(str(error)) if of_connection else None)
        # Without a code of the server it is libpq that speaks: about the connection.
        return state, error.diag.message_primary or str(error), of_connection and error.sqlstate is None


def _check_encoding(raw: psycopg.Connection[Any], where: str) -> None:
    """See ``check_encoding``."""
    told = raw.info.parameter_status
    check_encoding(told("server_encoding"), told("client_encoding"), where)


class OwnPool(OwnConnections, _Errors):
    """Connections of our own; see ``OwnConnections``."""

    kind = PsycopgConnection
    _lender: Lender[PsycopgConnection]

    def _make_lender(self, **limits: Any) -> Lender[PsycopgConnection]:
        kind = self.kind
        return Lender(self._connect, kind.alive, kind.close, disown=kind.disown, **limits)

    def _connect(self) -> PsycopgConnection:
        try:
            connection = self._opened()
            if question := self._question(connection.raw.info.backend_pid):
                self._answered(pooler=connection.fails(question, self._settings.connect_timeout))
                if self._settings.pooler:
                    connection.close()
                    connection = self._opened()
        except (psycopg.errors.ConnectionTimeout, SilentError):
            raise self._no_answer() from None
        except psycopg.OperationalError as error:
            raise self.refused(error, worked=self._worked) from error
        except psycopg.ProgrammingError as error:
            if self._factory is not None or error.sqlstate is not None:
                raise
            raise ConfigurationError(f"PostgreSQL's library cannot use the URL's parameters: {error}") from error
        if not self._worked:
            self._worked = True
            try:
                self._lender.fill(self._min_size - 1)
            except (psycopg.Error, PersistenceError, NotConnectedError, SilentError):
                pass  # what fails here fails again where it matters
            except BaseException:
                connection.close()
                raise
        return connection

    def _opened(self) -> PsycopgConnection:
        """Return a new connection, as the settings want it."""
        if self._factory is not None:
            raw = self._factory()
        else:
            try:
                raw = _connected(self._settings)
            except psycopg.OperationalError as error:
                if not self._refuses_settings(error):
                    raise
                raw = _connected(self._settings)
        try:
            raw.autocommit = True
            _check_encoding(raw, self._where)
        except BaseException:
            raw.close()
            raise
        return self.kind(raw, self._settings.timeout, self._where, pooler=self._settings.pooler)

    def lend(self) -> Loan[PsycopgConnection]:
        return Loan(
            self._lender.acquire, self._lender.release
        )  # what is closed is not ``alive`` when it is wanted next

    def close(self) -> None:
        self._lender.close()


class InjectedPool(_Errors):
    """Connections of a pool that was handed in: a ``psycopg_pool.ConnectionPool``, or what has its two methods.

    A connection that an interrupt left with an answer outstanding is closed before it is given back.

    Args:
        pool: lends with ``getconn()``, takes back with ``putconn(connection)``; not closed here.
        settings: for messages, and how long to wait for an answer.
    """

    def __init__(self, pool: Any, settings: Settings) -> None:
        super().__init__(settings.where)
        self._pool = pool
        self._timeout = settings.timeout
        self._pooler = settings.pooler
        size = getattr(pool, "max_size", None)
        size = size if isinstance(size, int) and 0 < size <= 10_000 else 100
        self._lender: Lender[_Borrowed] = Lender(
            self._borrow, lambda _: False, self._give_back, max_size=size, timeout=settings.connect_timeout
        )

    def _borrow(self) -> _Borrowed:
        try:
            raw = self._pool.getconn()
        except Exception as error:
            if from_outside(error, {*self.insiders, type(self._pool).__module__.partition(".")[0]}) is not None:
                raise
            raise ConnectionFailedError(f"the pool that was handed in gave no connection: {error}") from error
        try:
            _check_encoding(raw, self._where)
        except BaseException:
            self._pool.putconn(raw)
            raise
        return _Borrowed(raw, self._timeout, self._where, pooler=self._pooler)

    def _give_back(self, connection: _Borrowed) -> None:
        connection.restore()
        self._pool.putconn(connection.raw)

    def lend(self) -> Loan[_Borrowed]:
        return Loan(self._lender.acquire, self._settle)

    def _settle(self, loan: Loan[_Borrowed], broken: bool) -> None:
        if broken and loan.connection is not None:
            loan.connection.close()
        self._lender.release(loan, True)

    def close(self) -> None:
        self._lender.close()


class _Borrowed(PsycopgConnection):
    """A connection of somebody else, put into autocommit mode for as long as it is here."""

    __slots__ = ("_autocommit", "_prepare_threshold")

    def __init__(self, raw: psycopg.Connection[Any], timeout: float, where: str, *, pooler: bool = False) -> None:
        self._prepare_threshold = raw.prepare_threshold
        super().__init__(raw, timeout, where, pooler=pooler)
        self._autocommit = raw.autocommit
        if not self._autocommit:
            raw.autocommit = True

    def restore(self) -> None:
        """Make it what its owner had, or close it where that cannot be."""
        if not self.raw.closed and self.raw.pgconn.transaction_status != _IDLE:
            self.close()
        try:
            if not self._autocommit and not self.raw.closed:
                self.raw.autocommit = False
        except (psycopg.Error, SilentError):
            self.close()
        self.raw.prepare_threshold = self._prepare_threshold
        super().restore()
