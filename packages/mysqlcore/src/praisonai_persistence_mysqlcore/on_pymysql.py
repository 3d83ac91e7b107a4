"""PyMySQL's connections."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from praisonai_persistence.errors import SerializationError
from praisonai_persistence_mysqlcore.errors import (
    INSIDERS,
    DriverError,
    UndoneError,
    classify,
    is_lost,
    no_answer,
    refused,
    timed_out,
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
    Connection,
    Execute,
    ExecuteMany,
    Fetch,
    Lender,
    Loan,
    Patiently,
    Pool,
    Undo,
)
from praisonai_persistence_sql.failures import from_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence_mysqlcore.settings import Settings

__all__ = ["MySQLConnection", "MySQLPool"]


class MySQLConnection(Connection):
    """One connection, kept with its cursor for as long as it is open.

    ``START TRANSACTION`` travels with the first statement behind it.

    Args:
        raw: PyMySQL's.
        traits: of the server and of this connection.
        timeout: seconds to wait for an answer.
        place: the server, for messages.
        lent: what a pool of somebody else lent it as, or None.
    """

    def __init__(self, raw: Any, traits: Traits, timeout: float, place: str, lent: Any = None) -> None:
        self.raw = raw
        self.since = time.monotonic()
        self._lent = lent
        self._decoders = raw.decoders
        raw.decoders = text_decoders(raw.decoders)
        self._cursor = Cursor(raw)
        self._cursor.max_stmt_length = min(Cursor.max_stmt_length, traits.largest)
        self._traits = traits
        self._timeout = timeout
        self._place = place
        self._read_timeout = raw._read_timeout
        raw._read_timeout = timeout
        self._wanted = self._begun = self._busy = False

    def begin(self, *, write: bool) -> None:
        """See [Connection.begin][]."""
        self._wanted = write
        self._begun = False
        self.raw._read_timeout = self._timeout

    def perform(self, request: Any) -> Any:
        """See [Connection.perform][].

        An interrupt leaves the connection busy: with an answer outstanding it is good for nothing any more.
        """
        if self._busy:
            raise pymysql.InterfaceError(0, "an interrupt left an answer outstanding")
        self._busy = True
        try:
            answer = self._perform(request)
        except DriverError as error:
            if from_outside(error, INSIDERS) is None:
                self._busy = False
                if timed_out(error):
                    _drop(self.raw)
                    raise no_answer(self._place, self.raw._read_timeout, sent=True) from error
            raise
        except SerializationError:  # of what was not sent
            self._busy = False
            raise
        self._busy = False
        return answer

    def _perform(self, request: Any) -> Any:
        kind = type(request)
        if kind is Transaction:
            return self._transaction(request.statements)
        if request is _COMMIT:
            return self.raw.commit()
        try:
            if kind is Fetch:
                self._send(request.sql, request.parameters)
                return list(self._cursor.fetchall())
            if kind is Execute:
                self._send(request.sql, request.parameters)
                return self._cursor.rowcount
            if kind is ExecuteMany:
                return self._send_many(request.sql, request.parameters)
            if kind is Undo:
                return self._undo()
            if kind is Patiently:
                self.raw._read_timeout = PATIENCE
                return None
            return self._snapshot()
        except DriverError as error:
            if self._wanted and is_lost(error) and not timed_out(error):
                raise UndoneError(*error.args) from error
            raise

    def _send(self, sql: str, parameters: Sequence[Any] | Any) -> None:
        statement = check_statement(self._cursor.mogrify(sql, parameters), self._traits.largest)
        if self._wanted and not self._begun:
            self._begun = True
            if self._traits.several:
                self._cursor.execute(f"{BEGIN};{statement}")
                self._cursor.nextset()
                return
            self._cursor.execute(BEGIN)
        self._cursor.execute(statement)

    def _send_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            check_row(self._cursor, sql, row, self._traits.largest)
        if self._wanted and not self._begun:
            self._begun = True
            self._cursor.execute(BEGIN)
        self._cursor.executemany(sql, rows)

    def _undo(self) -> None:
        if self._begun:
            self._begun = False
            self.raw.rollback()

    def _snapshot(self) -> None:
        if not self._begun:
            for sql in self._traits.snapshot:
                self._cursor.execute(sql)
            self._begun = True

    def _transaction(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> tuple[int, int, Any]:
        raw, cursor, largest = self.raw, self._cursor, self._traits.largest
        texts = [BEGIN, *[cursor.mogrify(sql, parameters) for sql, parameters in statements], "COMMIT"]
        try:
            if self._traits.several:
                raw.query(check_statement(";".join(texts), largest))
                raw.next_result()
                changed, number = raw.affected_rows(), raw.insert_id()
                for _ in statements[1:]:
                    raw.next_result()
                rows = raw._result.rows
                raw.next_result()
                return changed, number, rows
            for text in texts:
                check_statement(text, largest)
            raw.query(texts[0])
            raw.query(texts[1])
            changed, number = raw.affected_rows(), raw.insert_id()
            for text in texts[2:-1]:
                raw.query(text)
            rows = raw._result.rows
            raw.query(texts[-1])
        except DriverError as error:
            if not is_lost(error):
                raw.rollback()
            raise
        return changed, number, rows

    def commit(self) -> None:
        """See [Connection.commit][]."""
        if self._begun:
            self.perform(_COMMIT)

    def rollback(self) -> None:
        """See [Connection.rollback][]."""
        if self._begun and self.raw.open:
            try:
                self.raw.rollback()
            except DriverError:
                _drop(self.raw)

    def is_busy(self) -> bool:
        """See [Connection.is_busy][]."""
        return self._busy

    def holds_locks(self) -> bool:
        """See [Connection.holds_locks][]."""
        return self._wanted and (self._begun or (self._busy and not self._traits.several))

    def drop(self) -> None:
        """Close it, wherever it came from: nobody may go on with it."""
        _drop(self.raw)

    def close(self) -> None:
        """Close it, or give it back to the pool that it came from."""
        if self._lent is None:
            _leave(self.raw)
            return
        if self._busy:
            _drop(self.raw)
        self.raw.decoders = self._decoders
        self.raw._read_timeout = self._read_timeout
        with suppress(Exception):
            self._lent.close()


_COMMIT = object()


class MySQLPool(Pool):
    """Lends PyMySQL connections; callers wait for a free one, and connecting keeps nobody else waiting.

    Args:
        settings: where and how.
        factory: opens a connection instead; what it opened is closed here.
        injected: a pool of somebody else; its method ``connection`` or ``connect`` lends, and ``close`` of what it lent
            gives back.
    """

    insiders = INSIDERS
    traits: ClassVar[type[Traits]] = Traits
    """What kind of server it is."""

    def __init__(self, settings: Settings, factory: Callable[[], Any] | None, injected: Any) -> None:
        self._settings = settings
        self._factory = factory or self._open
        self._borrow = getattr(injected, "connection", None) or getattr(injected, "connect", None)
        self._place = settings.place if injected is None else "the injected pool"
        self._was_there = False
        self._trusted_from = 0.0
        size, timeout = settings.max_size, settings.pool_timeout
        self._lender = Lender(self._connect, self._alive, MySQLConnection.close, max_size=size, timeout=timeout)

    def lend(self) -> Loan[MySQLConnection]:
        """See [Pool.lend][]."""
        return Loan(self._lender.acquire, self._settle)

    def _settle(self, loan: Loan[MySQLConnection], broken: bool) -> None:
        connection = loan.connection
        if connection is not None and (broken or not connection.raw.open):
            broken = True
            if not connection.is_busy():  # the server went away, and what else was open before may be broken as well
                self._trusted_from = time.monotonic()
            connection.drop()
        self._lender.release(loan, broken or self._borrow is not None)

    def _alive(self, connection: MySQLConnection) -> bool:
        return bool(connection.raw.open) and connection.since >= self._trusted_from

    def _connect(self) -> MySQLConnection:
        try:
            lent = None if self._borrow is None else self._borrow()
            raw = self._factory() if lent is None else lent.cursor().connection
            settings = self._settings
            connection = MySQLConnection(raw, self._prepare(raw, lent), settings.timeout, self._place, lent)
        except (DriverError, OSError) as error:
            outside = from_outside(error, INSIDERS)
            if outside is not None:
                raise outside from outside.__cause__
            if self._was_there and timed_out(error):
                raise no_answer(self._place, self._settings.connect_timeout or 0, sent=False) from error
            raise refused(error, self._place, was_there=self._was_there) from error
        self._was_there = True
        return connection

    def _open(self) -> Any:
        settings = self._settings
        context = settings.context()
        tls = {"ssl": context} if settings.tls_required else {"ssl_disabled": True} if context is None else {}
        return pymysql.Connection(
            host=settings.host,
            port=settings.port,
            unix_socket=settings.unix_socket,
            user=settings.user,
            password=settings.password.encode(),  # the driver would take Latin-1
            database=settings.database,
            charset="utf8mb4",
            autocommit=None,
            client_flag=CLIENT.MULTI_STATEMENTS,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.connect_timeout,  # a server may accept and say nothing; see MySQLConnection
            write_timeout=settings.write_timeout,
            program_name=settings.program_name,
            **tls,
        )

    def _prepare(self, raw: Any, lent: Any) -> Traits:
        try:
            cursor = Cursor(raw)
            for sql in self.traits.prepare:
                cursor.execute(sql)
            cursor.execute(self.traits.facts)
            traits = self.traits(cursor.fetchone() or (), raw.client_flag)
            for limit in traits.limits(self._settings):
                cursor.execute(limit)
        except BaseException:
            _drop(raw)
            if lent is not None:
                lent.close()
            raise
        return traits

    def close(self) -> None:
        """See [Pool.close][]."""
        self._lender.close()

    def classify(self, error: Exception) -> Literal["repeat", "lost", "other"]:
        """See [Pool.classify][]."""
        return classify(error)

    def translate(self, error: Exception) -> PersistenceError:
        """See [Pool.translate][]."""
        return translate(error, self._place)


def _drop(raw: Any) -> None:
    """Close it without a word to the server, which might not take it."""
    with suppress(AttributeError, OSError, ValueError):
        raw._force_close()


def _leave(raw: Any) -> None:
    """Say good-bye and close it, whatever state it is in."""
    with suppress(DriverError, AttributeError, OSError, ValueError):
        raw.close()
    _drop(raw)
