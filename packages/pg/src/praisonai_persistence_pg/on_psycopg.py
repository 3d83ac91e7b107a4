"""The sync driver: psycopg 3."""

from __future__ import annotations

import contextlib
import select
import struct
import sys
from array import array
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.rows import tuple_row

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_pg.errors import Errors, state_of
from praisonai_persistence_pg.pools import OwnConnections
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_sql import Alone, Connection, Execute, ExecuteMany, Fetch, Lender, Loan, Pool, Snapshot, Undo

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class PsycopgConnection(Connection):
    """A connection in autocommit mode: a transaction starts with the first request that needs one.

    Args:
        raw: the driver's.
    """

    __slots__ = ("_cursor", "_open", "_write", "raw")

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self.raw = raw
        self._cursor = psycopg.RawCursor(raw, row_factory=tuple_row)
        self._cursor.adapters.register_dumper(array, _RealsDumper)
        self._cursor.format = psycopg.pq.Format.BINARY  # of results: numbers need no parsing
        self._write = self._open = False

    def begin(self, *, write: bool) -> None:
        self._write = write

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
        idle = psycopg.pq.TransactionStatus.IDLE
        if not self.raw.closed and self.raw.info.transaction_status != idle:
            try:
                self._cursor.execute("ROLLBACK")
            except psycopg.Error:
                self.raw.close()

    def alive(self) -> bool:
        """Whether the server has not said anything while this lay idle: usually that it ends the session."""
        if self.raw.closed:
            return False
        if not _readable(self.raw.fileno()):
            return True
        try:
            self._cursor.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Close it, whatever state it is in."""
        with contextlib.suppress(psycopg.Error, OSError):
            self.raw.close()


if hasattr(select, "poll"):

    def _readable(descriptor: int) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(0))

else:  # Windows

    def _readable(descriptor: int) -> bool:
        return bool(select.select([descriptor], [], [], 0)[0])


class _Errors(Errors, Pool):
    def _facts(self, error: BaseException | None) -> tuple[str | None, str, bool]:
        if not isinstance(error, psycopg.Error):
            return None, str(error), False
        of_connection = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        state = error.sqlstate or (state_of(str(error)) if of_connection else None)
        # Without a code of the server it is libpq that speaks: about the connection.
        return state, error.diag.message_primary or str(error), of_connection and error.sqlstate is None


class OwnPool(OwnConnections, _Errors):
    """Connections of our own; see ``OwnConnections``."""

    kind = PsycopgConnection
    _lender: Lender[PsycopgConnection]

    def _make_lender(self, **limits: Any) -> Lender[PsycopgConnection]:
        return Lender(self._connect, self.kind.alive, self.kind.close, **limits)

    def _connect(self) -> PsycopgConnection:
        try:
            if self._factory is not None:
                raw = self._factory()
                raw.autocommit = True
            else:
                raw = psycopg.connect(**self._settings.for_psycopg(), autocommit=True)
        except psycopg.errors.ConnectionTimeout:
            raise self._no_answer() from None
        except psycopg.OperationalError as error:
            raise self.refused(error, worked=self._worked) from error
        if not self._worked:
            self._worked = True
            with contextlib.suppress(Exception):  # what fails here fails again where it matters
                self._lender.fill(self._min_size - 1)
        return self.kind(raw)

    def lend(self) -> Loan[PsycopgConnection]:
        return Loan(self._lender.acquire, self._release)

    def _release(self, connection: PsycopgConnection, error: BaseException | None) -> None:
        lost = isinstance(error, Exception) and self.classify(error) == "lost"  # the driver may not know it yet
        self._lender.release(connection, broken=lost or connection.raw.closed)

    def close(self) -> None:
        self._lender.close()


class InjectedPool(_Errors):
    """Connections of a pool that was handed in: a ``psycopg_pool.ConnectionPool``, or what has its two methods.

    Args:
        pool: lends with ``getconn()``, takes back with ``putconn(connection)``; not closed here.
        settings: for messages.
    """

    def __init__(self, pool: Any, settings: Settings) -> None:
        super().__init__(settings.where)
        self._pool = pool

    @contextlib.contextmanager
    def lend(self) -> Iterator[Connection]:
        try:
            raw = self._pool.getconn()
        except Exception as error:
            raise ConnectionFailedError(f"the pool that was handed in gave no connection: {error}") from error
        autocommit = raw.autocommit
        try:
            if not autocommit:
                raw.autocommit = True
            yield PsycopgConnection(raw)
        finally:
            if not autocommit and not raw.closed:
                raw.autocommit = False
            self._pool.putconn(raw)

    def close(self) -> None:
        return
