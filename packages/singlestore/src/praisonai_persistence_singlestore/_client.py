"""The vendor's client, and what is set on its connections."""

from __future__ import annotations

import re
from functools import lru_cache, wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
from pymysql.constants import CLIENT

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence_mysqlcore import Traits
from praisonai_persistence_mysqlcore.on_aiomysql import AsyncMySQLPool
from praisonai_persistence_mysqlcore.on_pymysql import MySQLPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence_mysqlcore.settings import Settings

__all__ = ["AsyncSingleStorePool", "SingleStorePool"]

_OLDEST = (8, 5)  # the first release whose vectors have types and indexes
_LOCK_WAIT = 60  # seconds: the server's default of lock_wait_timeout


class _Traits(Traits):
    """A SingleStore server: it has one isolation level, READ COMMITTED, and no InnoDB."""

    __slots__ = ()
    prepare = (
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION sql_mode = 'STRICT_ALL_TABLES', autocommit = 1",
    )
    facts = "SELECT @@max_allowed_packet, @@memsql_version"
    snapshot = ("START TRANSACTION",)

    def __init__(self, facts: Sequence[Any], client_flag: int) -> None:
        version = re.match(r"(\d+)\.(\d+)", str(facts[1]))
        if version is not None and (int(version[1]), int(version[2])) < _OLDEST:
            raise UnsupportedOperationError(
                f"the server is SingleStore {facts[1]}; {'.'.join(map(str, _OLDEST))} or later is needed: upgrade it"
            )
        super().__init__(facts, client_flag)

    def limits(self, settings: Settings) -> list[str]:
        wait = max(1, int(settings.timeout * 5 / 6))
        return [f"SET SESSION lock_wait_timeout = {wait}"] if wait < _LOCK_WAIT else []


class SingleStorePool(MySQLPool):
    """Lends connections of the vendor's client, which began as a copy of PyMySQL."""

    traits: ClassVar[type[Traits]] = _Traits

    def _open(self) -> Any:
        settings = self._settings
        context = settings.context()
        tls: dict[str, Any] = {"ssl_disabled": True} if context is None else {"ssl": context}
        raw = _client()(
            host=settings.host,
            port=settings.port,
            unix_socket=settings.unix_socket,
            user=settings.user,
            password=settings.password.encode(),  # the client would take Latin-1
            database=settings.database,
            charset="utf8mb4",
            autocommit=None,
            client_flag=CLIENT.MULTI_STATEMENTS,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.connect_timeout,  # a server may accept and say nothing
            write_timeout=settings.write_timeout,
            program_name=settings.program_name,
            pure_python=True,  # the connections of this package read rows as PyMySQL does
            defer_connect=True,
            **tls,
        )
        raw.tls_required = settings.tls_required
        raw.connect()
        return raw


class AsyncSingleStorePool(AsyncMySQLPool):
    """Lends aiomysql's connections: the vendor's client has no async one, and the protocol is MySQL's."""

    traits: ClassVar[type[Traits]] = _Traits


@lru_cache(1)
def _client() -> type[Any]:
    """Return the vendor's connection, changed to raise PyMySQL's errors; its import takes a second."""
    from singlestoredb.exceptions import MySQLError
    from singlestoredb.utils import events

    base: Any = import_module("singlestoredb.mysql.connection").Connection

    def told(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            inside, self.inside = self.inside, True
            try:
                return method(self, *arguments, **named)
            except MySQLError as error:
                if inside:  # the client called it, and expects an error of its own
                    raise
                kind = getattr(pymysql.err, type(error).__name__, pymysql.err.MySQLError)
                raise kind(*error.args[:2]) from error.__context__ or error
            finally:
                self.inside = inside

        return call

    class Client(base):  # type: ignore[misc]  # has no types
        inside = tls_required = False

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            events.unsubscribe(self._handle_event)  # which would keep it for ever, however it is closed

        def _request_authentication(self) -> None:
            if self.tls_required and not self.server_capabilities & CLIENT.SSL:
                raise pymysql.err.OperationalError(2026, "the server does not support TLS")
            super()._request_authentication()

        connect = told(base.connect)
        query = told(base.query)
        next_result = told(base.next_result)
        commit = told(base.commit)
        rollback = told(base.rollback)
        close = told(base.close)

    return Client
