"""PyMySQL's connections."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

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
from praisonai_persistence_sql import Connection, Execute, ExecuteMany, Fetch, Lender, Pool, Undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence_mysql._options import Settings

__all__ = ["MySQLConnection", "MySQLPool"]


class MySQLConnection(Connection):
    """One connection in use. ``START TRANSACTION`` travels with the first statement behind it.

    Args:
        raw: PyMySQL's.
        traits: of the server and of this connection.
    """

    def __init__(self, raw: Any, traits: Traits) -> None:
        self._raw = raw
        self._cursor = Cursor(raw)
        self._traits = traits
        self._wanted = False
        self._begun = False

    def begin(self, *, write: bool) -> None:
        """See [Connection.begin][]."""
        self._wanted = write

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
        self._cursor.max_stmt_length = min(Cursor.max_stmt_length, self._traits.largest)
        self._cursor.executemany(sql, rows)

    def _undo(self) -> None:
        if self._begun:
            self._begun = False
            self._raw.rollback()

    def _snapshot(self) -> None:
        if not self._begun:
            for sql in SNAPSHOT:
                self._cursor.execute(sql)
            self._begun = True

    def _transaction(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> tuple[int, int]:
        cursor = self._cursor
        texts = [BEGIN, *(cursor.mogrify(sql, parameters) for sql, parameters in statements), "COMMIT"]
        try:
            if self._traits.several:
                cursor.execute(check_statement(";".join(texts), self._traits.largest))
                cursor.nextset()
                first = cursor.rowcount, cursor.lastrowid
                while cursor.nextset():
                    pass
                return first
            for text in texts:
                check_statement(text, self._traits.largest)
            cursor.execute(texts[0])
            cursor.execute(texts[1])
            first = cursor.rowcount, cursor.lastrowid
            for text in texts[2:]:
                cursor.execute(text)
        except DriverError as error:
            if not is_lost(error):
                self._raw.rollback()
            raise
        return first

    def commit(self) -> None:
        """See [Connection.commit][]."""
        if self._begun:
            self._raw.commit()

    def rollback(self) -> None:
        """See [Connection.rollback][]."""
        if self._begun and self._raw.open:
            with suppress(DriverError, OSError):
                self._raw.rollback()
                return
            _drop(self._raw)


class _Kept(NamedTuple):
    """A connection, what it can, how it reads while it is ours, since when, and what another pool lent it as."""

    raw: Any
    traits: Traits
    decoders: dict[int, Any]
    since: float
    lent: Any


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
        self._lender = Lender(self._connect, self._alive, _close, max_size=size, timeout=timeout)

    @contextmanager
    def lend(self) -> Iterator[MySQLConnection]:
        """See [Pool.lend][]."""
        kept = self._lender.acquire()
        raw, broken = kept.raw, self._borrow is not None
        decoders, raw.decoders = raw.decoders, kept.decoders
        try:
            yield MySQLConnection(raw, kept.traits)
        except BaseException as error:
            if not isinstance(error, Exception) or is_lost(error):
                self._trusted_from = time.monotonic()  # what else was open before may be broken as well
                _drop(raw)
                broken = True
            raise
        finally:
            raw.decoders = decoders
            self._lender.release(kept, broken=broken)

    def _alive(self, kept: _Kept) -> bool:
        return bool(kept.raw.open) and kept.since >= self._trusted_from

    def _connect(self) -> _Kept:
        try:
            lent = None if self._borrow is None else self._borrow()
            raw = self._factory() if lent is None else lent.cursor().connection
            kept = _Kept(raw, self._prepare(raw, lent), text_decoders(raw.decoders), time.monotonic(), lent)
        except (DriverError, OSError) as error:
            raise refused(error, self._place, was_there=self._was_there) from error
        self._was_there = True
        return kept

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


def _close(kept: _Kept) -> None:
    if kept.lent is None:
        _drop(kept.raw)
    else:
        with suppress(Exception):
            kept.lent.close()


def _drop(raw: Any) -> None:
    with suppress(Exception):
        raw.close()
