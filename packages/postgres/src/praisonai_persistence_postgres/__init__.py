"""Conversations and state in PostgreSQL, and in databases that speak its language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepStateStore,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_postgres._dialect import Postgres
from praisonai_persistence_postgres._settings import seconds, settings
from praisonai_persistence_postgres.conversation import PostgresConversationSteps
from praisonai_persistence_postgres.state import PostgresStateSteps
from praisonai_persistence_sql import AsyncSQLRunner, Retry, SQLRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.records import ConversationMessage

__all__ = [
    "AsyncPostgresConversationStore",
    "AsyncPostgresStateStore",
    "PostgresConversationStore",
    "PostgresStateStore",
]


class _Store:
    """What the four stores are given.

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
        min_size: connections that are opened with the first one.
        max_size: connections at a time; more callers wait.
        pool_timeout: seconds to wait for a connection when all are in use.
        connect_timeout: seconds to wait for the server; by default 10, for serverless hosts 30.
        statement_timeout: seconds that the server may work on one statement; None: no limit but the server's own.
        retry_timeout: seconds to go on trying, while the server is away, what is safe to repeat.
        pool: to use instead of own connections; not closed. ``psycopg_pool.ConnectionPool``, ``asyncpg.Pool``.
        connection_factory: makes a new connection (a coroutine function for async stores); they are closed here.
        cockroach: whether the server is CockroachDB; by default told by the URL's scheme, host and port.

    Raises:
        ConfigurationError: an option that cannot be, or no hint where the server is.
        InvalidIdentifierError: prefix or schema cannot be part of a table's name.
    """

    backend: ClassVar[str] = "postgres"
    _make_steps: ClassVar[type[Any]]
    _async: ClassVar[bool] = False

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
        min_size: int = 1,
        max_size: int = 10,
        pool_timeout: float = 30.0,
        connect_timeout: float | None = None,
        statement_timeout: float | None = 60.0,
        retry_timeout: float = 10.0,
        pool: Any = None,
        connection_factory: Callable[[], Any] | None = None,
        cockroach: bool | None = None,
    ) -> None:
        address = {"host": host, "port": port, "user": user, "password": password, "dbname": database}
        if url is None and pool is None and connection_factory is None and not any(address.values()):
            raise ConfigurationError(
                "tell where the server is: url='postgresql://user:password@host/database', or host=..., or pool=..."
            )
        if pool is not None and connection_factory is not None:
            raise ConfigurationError("give either pool or connection_factory, not both")
        if not 0 <= min_size <= max_size or max_size < 1:
            raise ConfigurationError("pool sizes must be 0 <= min_size <= max_size, and max_size 1 or more")
        how = settings(url, address, connect_timeout, statement_timeout, cockroach)
        steps = self._make_steps(Postgres(schema, cockroach=how.cockroach), table_prefix)
        sizes: dict[str, Any] = {
            "min_size": min_size,
            "max_size": max_size,
            "pool_timeout": seconds(pool_timeout, "pool_timeout"),
        }
        retry = Retry(seconds(retry_timeout, "retry_timeout"))
        # Each driver is imported by the stores that use it.
        if self._async:
            from praisonai_persistence_postgres._asyncpg import AsyncInjectedPool, AsyncpgPool

            apool = AsyncInjectedPool(pool, how) if pool is not None else AsyncpgPool(how, connection_factory, **sizes)
            runner: Any = AsyncSQLRunner(apool, steps.migrations, retry, create_schema=create_schema)
        else:
            from praisonai_persistence_postgres._psycopg import InjectedPool, PsycopgPool

            own = InjectedPool(pool, how) if pool is not None else PsycopgPool(how, connection_factory, **sizes)
            runner = SQLRunner(own, steps.migrations, retry, create_schema=create_schema)
        super().__init__(steps, runner)  # type: ignore[call-arg]


class _Conversation(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "fork", "prefix", "search", "shared"})
    _make_steps = PostgresConversationSteps


class PostgresConversationStore(_Conversation, StepConversationStore):
    """Conversations in PostgreSQL, on psycopg."""

    def search_messages(self, query: str, user_id: str | None = None, limit: int = 20) -> list[ConversationMessage]:
        while self._runner.run(self._steps.update_index):  # type: ignore[attr-defined]
            pass
        return super().search_messages(query, user_id, limit)


class AsyncPostgresConversationStore(_Conversation, AsyncStepConversationStore):
    """Conversations in PostgreSQL, on asyncpg."""

    _async = True

    async def search_messages(
        self, query: str, user_id: str | None = None, limit: int = 20
    ) -> list[ConversationMessage]:
        while await self._runner.run(self._steps.update_index):  # type: ignore[attr-defined]
            pass
        return await super().search_messages(query, user_id, limit)


class _State(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "prefix", "shared"})
    _make_steps = PostgresStateSteps


class PostgresStateStore(_State, StepStateStore):
    """State in PostgreSQL, on psycopg."""


class AsyncPostgresStateStore(_State, AsyncStepStateStore):
    """State in PostgreSQL, on asyncpg."""

    _async = True
