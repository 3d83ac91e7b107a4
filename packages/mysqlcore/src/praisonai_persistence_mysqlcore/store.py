"""How a store in MySQL, or in a database with its protocol, is put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence_mysqlcore.on_aiomysql import AsyncMySQLPool
from praisonai_persistence_mysqlcore.on_pymysql import MySQLPool
from praisonai_persistence_mysqlcore.settings import SCHEMES, settings_of
from praisonai_persistence_sql import ServerStore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from praisonai_persistence_mysqlcore.settings import Settings

__all__ = ["MySQLStore"]


class MySQLStore(ServerStore):
    """What all stores on such a server are given; mixed in before the step store of the core.

    A backend names itself, its steps (``_make_steps``) and, where it differs, the schemes of its URLs and its pools.

    Args:
        url: ``mysql://user:password@host:3306/database``; timeouts, ``max_size``, ``unix_socket``, ``program_name`` and
            what begins with ``tls`` may stand in it as parameters. A socket may stand in the place of the host, with
            its slashes as ``%2F``.
        host: of the server; these options win over the URL.
        port: of the server.
        user: its name.
        password: of the user.
        database: it must exist.
        unix_socket: path, instead of host and port.
        table_prefix: separates stores in one database.
        max_size: connections at a time, by default 10; more callers wait.
        pool_timeout: seconds to wait for a connection when all are in use, by default 30.
        connect_timeout: seconds to wait for the server; by default 10, for serverless hosts 30.
        retry_timeout: seconds to go on trying, while the server is away, what is safe to repeat.
        timeout: seconds for an answer to one request, after which the server counts as away; by default five more than
            a ``statement_timeout`` that was given, else 30. Migrations and adoption have four hours.
        write_timeout: seconds to wait until the server takes what it is sent (sync); by default ``timeout``.
        statement_timeout: seconds after which the server ends a statement; by default its own setting.
        read_timeout: the older name of ``timeout``, which goes before it.
        tls: ``disable``, ``prefer``, ``require``, ``verify``, True (verify), False, or an ``ssl.SSLContext``. Default:
            ``verify`` with ``tls_ca``, ``require`` with ``tls_cert``, ``disable`` on this machine, ``verify`` for
            serverless hosts, else ``prefer``.
        tls_ca: path of the certificates to trust.
        tls_cert: path of a certificate to show to the server.
        tls_key: path of its key, if that is not in the same file.
        tls_key_password: of the key.
        program_name: what the server lists the connections under.
        create_schema: create the tables if they are missing; False: they must be there.
        adopt_legacy: whether the first call takes over tables of PraisonAI itself that stand where this store's are
            to be (see ``adopt_legacy()``); only of conversations.
        pool: a pool of yours, never closed here. Sync: ``connection()`` or ``connect()`` lends, ``close()`` gives back
            (DBUtils, SQLAlchemy); async: aiomysql's. Its connections are set up for this store (``sql_mode``,
            isolation level, time zone, autocommit): give it to nobody else.
        connection_factory: makes a new connection of PyMySQL, or a coroutine function that makes one of aiomysql; they
            are closed here.

    Raises:
        ConfigurationError: an option that cannot be, or no database named.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    _schemes: ClassVar[tuple[str, ...]] = SCHEMES
    _pool: ClassVar[type[MySQLPool]] = MySQLPool
    _async_pool: ClassVar[type[AsyncMySQLPool]] = AsyncMySQLPool

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
        max_size: int | None = None,
        pool_timeout: float | None = None,
        connect_timeout: float | None = None,
        retry_timeout: float = 10.0,
        timeout: float | None = None,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        statement_timeout: float | None = None,
        tls: str | bool | ssl.SSLContext | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        tls_key_password: str | None = None,
        program_name: str | None = None,
        create_schema: bool = True,
        adopt_legacy: bool = False,
        pool: Any = None,
        connection_factory: Callable[[], Any] | None = None,
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
                "max_size": max_size,
                "connect_timeout": connect_timeout,
                "pool_timeout": pool_timeout,
                "timeout": read_timeout if timeout is None else timeout,
                "write_timeout": write_timeout,
                "statement_timeout": statement_timeout,
                "tls": tls,
                "tls_ca": tls_ca,
                "tls_cert": tls_cert,
                "tls_key": tls_key,
                "tls_key_password": tls_key_password,
                "program_name": program_name,
            },
            self._schemes,
        )
        self._check_settings(settings)
        self._check_connections(settings.max_size, pool, connection_factory)
        if settings.database is None and pool is None and connection_factory is None:
            raise ConfigurationError(
                f"name the database: url='{self._schemes[0]}://user@host/database', or database='...'"
            )
        steps = self._make_steps(table_prefix)
        lender = (self._async_pool if self._async else self._pool)(settings, connection_factory, pool)
        self._assemble(
            steps, lender, retry_timeout=retry_timeout, create_schema=create_schema, adopt_legacy=adopt_legacy
        )

    def _check_settings(self, settings: Settings) -> None:
        """Refuse what this kind of server cannot do with ``ConfigurationError``."""
