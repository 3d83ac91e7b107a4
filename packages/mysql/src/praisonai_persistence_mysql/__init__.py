"""Conversations and state in MySQL or MariaDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_optional_id
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepStateStore,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_mysql._async import AsyncMySQLPool
from praisonai_persistence_mysql._options import settings_of
from praisonai_persistence_mysql._sync import MySQLPool
from praisonai_persistence_mysql.conversation import MySQLConversationSteps
from praisonai_persistence_mysql.state import MySQLStateSteps
from praisonai_persistence_sql import AsyncSQLRunner, Retry, SQLRunner

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from praisonai_persistence.records import ConversationMessage

__all__ = [
    "AsyncMySQLConversationStore",
    "AsyncMySQLStateStore",
    "MySQLConversationStore",
    "MySQLStateStore",
]


class _Store:
    """What the four stores are given.

    Args:
        url: ``mysql://user:password@host:3306/database``; timeouts, ``pool_size``, ``tls``, ``tls_ca`` and
            ``unix_socket`` may stand in it as parameters.
        host: of the server; these options win over the URL.
        port: of the server.
        user: its name.
        password: of the user.
        database: it must exist.
        unix_socket: path, instead of host and port.
        table_prefix: separates stores in one database.
        pool_size: the most connections of this store; callers wait for a free one.
        connect_timeout: seconds; also how long a server that went away may take to come back (10; serverless: 30).
        pool_timeout: seconds to wait for a free connection.
        read_timeout: seconds to wait for an answer.
        write_timeout: seconds to wait until the server takes what it is sent (sync).
        statement_timeout: seconds after which the server ends a statement.
        tls: ``disable``, ``prefer``, ``require``, ``verify``, True (verify), False, or an ``ssl.SSLContext``. Default:
            ``disable`` on this machine, ``verify`` for serverless hosts, else ``prefer``.
        tls_ca: path of the certificates to trust.
        create_schema: create the tables if they are missing; False: they must be there.
        pool: a pool of yours, never closed here. Sync: ``connection()`` or ``connect()`` lends, ``close()`` gives back
            (DBUtils, SQLAlchemy); async: aiomysql's. Its connections are set up for this store (``sql_mode``,
            isolation level, time zone, autocommit): give it to nobody else.
        connect: a function of yours that opens a PyMySQL connection, or a coroutine function for aiomysql.

    Raises:
        ConfigurationError: an option that cannot be, or no database named.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    backend: ClassVar[str] = "mysql"
    _make_steps: ClassVar[type[Any]]
    _is_async: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        unix_socket: str | None = None,
        table_prefix: str = "praison_",
        pool_size: int | None = None,
        connect_timeout: float | None = None,
        pool_timeout: float | None = None,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        statement_timeout: float | None = None,
        tls: str | bool | ssl.SSLContext | None = None,
        tls_ca: str | None = None,
        create_schema: bool = True,
        pool: Any = None,
        connect: Callable[[], Any] | None = None,
    ) -> None:
        settings = settings_of(
            url,
            {
                "host": host,
                "port": port,
                "user": user,
                "password": password,
                "database": database,
                "unix_socket": unix_socket,
                "pool_size": pool_size,
                "connect_timeout": connect_timeout,
                "pool_timeout": pool_timeout,
                "read_timeout": read_timeout,
                "write_timeout": write_timeout,
                "statement_timeout": statement_timeout,
                "tls": tls,
                "tls_ca": tls_ca,
            },
        )
        if pool is not None and connect is not None:
            raise ConfigurationError("give either pool or connect, not both")
        if settings.database is None and pool is None and connect is None:
            raise ConfigurationError("name the database: url='mysql://user@host/database', or database='...'")
        steps = self._make_steps(table_prefix)
        runner: Any
        retry = Retry(settings.connect_timeout)
        if self._is_async:
            lender = AsyncMySQLPool(settings, connect, pool)
            runner = AsyncSQLRunner(lender, steps.migrations, retry, create_schema=create_schema)
        else:
            runner = SQLRunner(MySQLPool(settings, connect, pool), steps.migrations, retry, create_schema=create_schema)
        super().__init__(steps, runner)  # type: ignore[call-arg]


class _Conversation(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "fork", "prefix", "search", "shared"})
    _make_steps = MySQLConversationSteps


class MySQLConversationStore(_Conversation, StepConversationStore):
    """Conversations in MySQL or MariaDB, on PyMySQL."""

    def search_messages(self, query: str, user_id: str | None = None, limit: int = 20) -> list[ConversationMessage]:
        check_optional_id(user_id, "user_id")
        while self._runner.run(self._steps.update_index, user_id):  # type: ignore[attr-defined]
            pass
        return super().search_messages(query, user_id, limit)


class AsyncMySQLConversationStore(_Conversation, AsyncStepConversationStore):
    """Conversations in MySQL or MariaDB, on aiomysql."""

    _is_async = True

    async def search_messages(
        self, query: str, user_id: str | None = None, limit: int = 20
    ) -> list[ConversationMessage]:
        check_optional_id(user_id, "user_id")
        while await self._runner.run(self._steps.update_index, user_id):  # type: ignore[attr-defined]
            pass
        return await super().search_messages(query, user_id, limit)


class _State(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "prefix", "shared"})
    _make_steps = MySQLStateSteps


class MySQLStateStore(_State, StepStateStore):
    """State in MySQL or MariaDB, on PyMySQL."""


class AsyncMySQLStateStore(_State, AsyncStepStateStore):
    """State in MySQL or MariaDB, on aiomysql."""

    _is_async = True
