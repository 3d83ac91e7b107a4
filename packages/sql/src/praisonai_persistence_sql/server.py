"""What the stores of database servers have in common, whatever the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence_sql.runners import AsyncSQLRunner, Retry, SQLRunner

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONVERSATION_CAPABILITIES", "STATE_CAPABILITIES", "ServerStore"]

STATE_CAPABILITIES = frozenset({"durable", "prefix", "schema", "shared"})
CONVERSATION_CAPABILITIES = STATE_CAPABILITIES | {"fork", "rewrite", "search"}


class ServerStore:
    """Puts a store together; mixed in before the step store of the core.

    A backend's constructor names its options, makes steps and a pool of them, and hands both on. The options that all
    of them take have the same names everywhere: ``url`` and ``host``, ``port``, ``user``, ``password``, ``database``;
    ``table_prefix``, ``create_schema``, ``adopt_legacy``; ``max_size``, ``pool_timeout``, ``connect_timeout``,
    ``timeout``, ``statement_timeout``, ``retry_timeout``; ``pool`` and ``connection_factory``.
    """

    _make_steps: ClassVar[type[Any]]
    _async: ClassVar[bool] = False

    @staticmethod
    def _check_connections(max_size: Any, pool: Any, connection_factory: Callable[[], Any] | None) -> None:
        """Check how connections are come by.

        Raises:
            ConfigurationError: by two ways at once, or by none.
        """
        if pool is not None and connection_factory is not None:
            raise ConfigurationError("give either pool or connection_factory, not both")
        if not isinstance(max_size, int) or isinstance(max_size, bool) or not 1 <= max_size <= 10_000:
            raise ConfigurationError("max_size must be a whole number from 1 to 10000")

    def _assemble(self, steps: Any, pool: Any, *, retry_timeout: Any, create_schema: bool, adopt_legacy: bool) -> None:
        """Become the store of these steps, on a pool of the store's mode.

        Raises:
            ConfigurationError: an option that cannot be.
        """
        steps.migrations.adopt_on_connect(adopt_legacy)
        retry = Retry(check_seconds(retry_timeout, "retry_timeout"))
        kind: Any = AsyncSQLRunner if self._async else SQLRunner
        super().__init__(steps, kind(pool, steps.migrations, retry, create_schema=create_schema))  # type: ignore[call-arg]
