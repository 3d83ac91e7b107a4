"""PyMySQL's connections."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor

from praisonai_persistence_mysql._errors import DriverError, UndoneError, classify, is_lost, refused, translate
from praisonai_persistence_mysql._requests import Transaction
from praisonai_persistence_mysql._session import (
    BEGIN,
    FACTS,
    PREPARE,
    SNAPSHOT,
    Traits,
    check_row,
    check_statement,
    text_decoders,
)
from praisonai_persistence_sql import Connection, Execute, ExecuteMany, Fetch, Lender, Loan, Pool, Undo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Literal

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence_mysql._options import Settings

__all__ = ["MySQLConnection", "MySQLPool"]


class MySQLConnection(Connection):
    """One connection, kept with its cursor for as long as it is open.

    ``START TRANSACTION`` travels with the first statement behind it.

    Args:
        raw: PyMySQL's.
        traits: of the server and of this connection.
        lent: what a pool of somebody else lent it as, or None.
    """

    def __init__(self, raw: Any, traits: Traits, lent: Any = None) -> None:
        self.raw = raw
        self.since = time.monotonic()
        self._lent = lent
        self._decoders = raw.decoders
        raw.decoders = text_decoders(raw.decoders)
        self._cursor = Cursor(raw)
        self._cursor.max_stmt_length = min(Cursor.max_stmt_length, traits.largest)
        self._traits = traits
        self._wanted = self._begun = False

    def begin(self, *, write: bool) -> None:
        """See [Connection.begin][]."""
        self._wanted = write
        self._begun = False

    def perform(self, request: Any) -> Any:
        """See [Connection.perform][]."""
        kind = type(request)
        if kind is Transaction:
            return self._transaction(request.statements)
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
            return self._snapshot()
        except DriverError as error:
            if self._wanted and is_lost(error):
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
            for sql in SNAPSHOT:
                self._cursor.execute(sql)
            self._begun = True

    def _transaction(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> tuple[int, int]:
        raw, cursor, largest = self.raw, self._cursor, self._traits.largest
        texts = [BEGIN, *[cursor.mogrify(sql, parameters) for sql, parameters in statements], "COMMIT"]
        try:
            if self._traits.several:
                raw.query(check_statement(";".join(texts), largest))
                raw.next_result()
                first = raw.affected_rows(), raw.insert_id()
                for _ in statements:
                    raw.next_result()
                return first
            for text in texts:
                check_statement(text, largest)
            raw.query(texts[0])
            raw.query(texts[1])
            first = raw.affected_rows(), raw.insert_id()
            for text in texts[2:]:
                raw.query(text)
        except DriverError as error:
            if not is_lost(error):
                raw.rollback()
            raise
        return first

    def commit(self) -> None:
        """See [Connection.commit][]."""
        if self._begun:
            self.raw.commit()

    def rollback(self) -> None:
        """See [Connection.rollback][]."""
        if self._begun and self.raw.open:
            with suppress(DriverError, OSError):
                self.raw.rollback()
                return
            _drop(self.raw)

    def drop(self) -> None:
        """Close it, wherever it came from: nobody may go on with it."""
        _drop(self.raw)

    def close(self) -> None:
        """Close it, or give it back to the pool that it came from."""
        if self._lent is None:
            _drop(self.raw)
            return
        self.raw.decoders = self._decoders
        with suppress(Exception):
            self._lent.close()


class MySQLPool(Pool):
    """Lends PyMySQL connections; callers wait for a free one, and connecting keeps nobody else waiting.

    Args:
        settings: where and how.
        factory: opens a connection instead; what it opened is closed here.
        injected: a pool of somebody else; its method ``connection`` or ``connect`` lends, and ``close`` of what it lent
            gives back.
    """

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
        return Loan(self._lender.acquire, self._release)

    def _release(self, connection: MySQLConnection, error: BaseException | None) -> None:
        broken = error is not None and (not isinstance(error, Exception) or is_lost(error))
        if broken:
            self._trusted_from = time.monotonic()  # what else was open before may be broken as well
            connection.drop()
        self._lender.release(connection, broken=broken or self._borrow is not None)

    def _alive(self, connection: MySQLConnection) -> bool:
        return bool(connection.raw.open) and connection.since >= self._trusted_from

    def _connect(self) -> MySQLConnection:
        try:
            lent = None if self._borrow is None else self._borrow()
            raw = self._factory() if lent is None else lent.cursor().connection
            connection = MySQLConnection(raw, self._prepare(raw, lent), lent)
        except (DriverError, OSError) as error:
            raise refused(error, self._place, was_there=self._was_there) from error
        self._was_there = True
        return connection

    def _open(self) -> Any:
        settings = self._settings
        context = settings.context()
        tls = {"ssl": context} if settings.tls_required else {"ssl_disabled": True} if context is None else {}
        raw = pymysql.Connection(
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
            read_timeout=settings.connect_timeout,  # a server may accept and say nothing
            write_timeout=settings.write_timeout,
            **tls,
        )
        raw._read_timeout = settings.read_timeout
        return raw

    def _prepare(self, raw: Any, lent: Any) -> Traits:
        try:
            cursor = Cursor(raw)
            for sql in PREPARE:
                cursor.execute(sql)
            cursor.execute(FACTS)
            traits = Traits(cursor.fetchone() or (), raw.client_flag)
            if (limit := traits.limit(self._settings)) is not None:
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
    with suppress(Exception):
        raw.close()
