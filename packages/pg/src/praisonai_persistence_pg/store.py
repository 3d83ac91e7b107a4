"""Puts a store in PostgreSQL together: its options, steps, and connections."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence_pg.dialect import Postgres
from praisonai_persistence_pg.parameters import check_files
from praisonai_persistence_pg.settings import FOLLOWS, settings
from praisonai_persistence_sql import ServerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PostgresStore"]


class PostgresStore(ServerStore):
    """What every store in PostgreSQL is given; mixed in before the step store of the core.

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=require``.
        host: instead of a URL, or instead of what it says; so are ``port``, ``user``, ``password``, ``database``.
        port: see ``host``.
        user: see ``host``.
        password: see ``host``.
        database: see ``host``.
        schema: of the tables; by default the first one in the role's search path.
        table_prefix: separates stores in one schema.
        create_schema: whether tables are made and brought up to date; if not, they must be there.
        adopt_legacy: whether the first call takes over tables of PraisonAI itself that stand where this store's are
            to be (see ``adopt_legacy()``); only of conversations.
        min_size: connections that are opened with the first one.
        max_size: connections at a time; more callers wait.
        pool_timeout: seconds to wait for a connection when all are in use.
        connect_timeout: seconds to wait for the server; by default 10, for serverless hosts 30.
        timeout: seconds for an answer to one request, after which the server counts as away; by default five more than
            a ``statement_timeout`` that was given, else 30. Migrations, adoption and the building of an index have four
            hours.
        statement_timeout: seconds that the server may work on one statement; by default five sixths of ``timeout``.
            None: no limit but the server's own.
        retry_timeout: seconds to go on trying, while the server is away, what is safe to repeat.
        pool: to use instead of own connections; not closed. ``psycopg_pool.ConnectionPool``, ``asyncpg.Pool``.
        connection_factory: makes a new connection (a coroutine function for async stores); they are closed here.
        cockroach: whether the server is CockroachDB; by default told by the URL's scheme, host and port.
        pooler: whether a connection pooler answers that lends connections to the server for a transaction (PgBouncer
            and the like): then nothing relies on prepared statements or session settings, so there is no
            ``statement_timeout``. By default told by host and port, else found out by the first connection.
            False: it is not asked; one that refuses the settings of a session is known by that all the same.

    Raises:
        ConfigurationError: an option that cannot be, or no hint where the server is.
        InvalidIdentifierError: prefix or schema cannot be part of a table's name.
    """

    backend: ClassVar[str] = "postgres"
    _session: Mapping[str, str] = MappingProxyType({})
    """Settings of the server for each session."""

    def __init__(
        self,
        url: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        user: str | None = None,
        password: str | None = None,
        database: str | None = None,
        schema: str | None = None,
        table_prefix: str = "praison_",
        create_schema: bool = True,
        adopt_legacy: bool = False,
        min_size: int = 1,
        max_size: int = 10,
        pool_timeout: float = 30.0,
        connect_timeout: float | None = None,
        timeout: float | None = None,
        statement_timeout: float | None = FOLLOWS,
        retry_timeout: float = 10.0,
        pool: Any = None,
        connection_factory: Callable[[], Any] | None = None,
        cockroach: bool | None = None,
        pooler: bool | None = None,
    ) -> None:
        address = {"host": host, "port": port, "user": user, "password": password, "dbname": database}
        if url is None and pool is None and connection_factory is None and not any(address.values()):
            raise ConfigurationError(
                "tell where the server is: url='postgresql://user:password@host/database', or host=..., or pool=..."
            )
        self._check_connections(max_size, pool, connection_factory)
        if not isinstance(min_size, int) or not 0 <= min_size <= max_size:  # type: ignore[redundant-expr]
            raise ConfigurationError("pool sizes must be 0 <= min_size <= max_size")
        how = settings(url, address, connect_timeout, statement_timeout, cockroach, self._session, timeout, pooler)
        if pool is None and connection_factory is None:
            check_files(how.parameters)
            if self._async:
                how.attempts()[0].for_asyncpg()  # says what asyncpg has not
        steps = self._make_steps(Postgres(schema, cockroach=how.cockroach), table_prefix)
        wait = check_seconds(pool_timeout, "pool_timeout")
        driver = self._driver()
        if pool is not None:
            lender = driver.InjectedPool(pool, how)
        else:
            lender = driver.OwnPool(how, connection_factory, min_size=min_size, max_size=max_size, timeout=wait)
        self._assemble(
            steps, lender, retry_timeout=retry_timeout, create_schema=create_schema, adopt_legacy=adopt_legacy
        )

    @classmethod
    def _driver(cls) -> Any:
        """Return the module with the pools; each driver is imported by the stores that use it."""
        driver: Any
        if cls._async:
            from praisonai_persistence_pg import on_asyncpg as driver
        else:
            from praisonai_persistence_pg import on_psycopg as driver
        return driver
