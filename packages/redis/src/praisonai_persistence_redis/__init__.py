"""State and knowledge in Redis and in Valkey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.stores import (
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_redis._async_runner import AsyncRedisRunner
from praisonai_persistence_redis._indexes import check_index
from praisonai_persistence_redis._runner import RedisRunner
from praisonai_persistence_redis._settings import settings
from praisonai_persistence_redis.knowledge import RedisKnowledgeSteps
from praisonai_persistence_redis.state import RedisStateSteps

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AsyncRedisKnowledgeStore",
    "AsyncRedisStateStore",
    "AsyncValkeyVectorKnowledgeStore",
    "RedisKnowledgeStore",
    "RedisStateStore",
    "ValkeyVectorKnowledgeStore",
]

_UNSET: Any = object()


class _Store:
    """What the stores are given.

    Args:
        url: ``redis://user:password@host:6379/0``; ``rediss://`` for TLS, ``unix:///path/of/the/socket?db=0``,
            ``redis+cluster://host``, ``redis+sentinel://host1:26379,host2/service/0``, and the same with ``valkey``.
        host: instead of a URL, or instead of what it says; so are ``port``, ``db``, ``username``, ``password``.
        port: see ``host``.
        db: see ``host``.
        username: see ``host``.
        password: see ``host``.
        table_prefix: separates stores in one database.
        client: to use instead of an own one; not closed. ``redis.Redis`` or ``redis.RedisCluster``, for async stores
            those of ``redis.asyncio``.
        cluster: whether the server is a cluster; by default told by the URL.
        max_size: connections at a time (in a cluster: to each node), 10 by default; more callers wait.
        pool_timeout: seconds to wait for a connection when all are in use, 30 by default.
        connect_timeout: seconds to wait for a connection, with its handshake, 10 by default.
        timeout: seconds to wait for an answer, 30 by default; None: for ever.
        command_timeout: another name of ``timeout``.
        retry_timeout: seconds to go on trying, while the server is away, what is safe to repeat.
        allow_eviction: whether a server will do that throws data away when it is full.
        index: (knowledge) what new collections are found by: ``hnsw`` or ``flat``, of a search module; ``vectorset``;
            ``exact``: nothing, this process compares every vector; or ``auto``, the first of these that the server has,
            and ``exact`` in Valkey only.
        client_options: more arguments of the driver's connections: ``ssl_ca_certs``, ``client_name`` and so on.

    Raises:
        ConfigurationError: an option that cannot be, or no hint where the server is.
        InvalidIdentifierError: a prefix that cannot be one.
    """

    backend: ClassVar[str] = "redis"
    _make_steps: ClassVar[type[Any]]
    _auto: ClassVar[str] = "auto"
    """What ``index`` is by default."""
    _runner_class: ClassVar[type[Any]] = RedisRunner

    def __init__(
        self,
        url: str | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        db: int | None = None,
        username: str | None = None,
        password: str | None = None,
        table_prefix: str = "praison_",
        client: Any = None,
        cluster: bool | None = None,
        max_size: int | None = None,
        pool_timeout: float | None = None,
        connect_timeout: float | None = None,
        timeout: float | None = _UNSET,
        command_timeout: float | None = _UNSET,
        retry_timeout: float = 10.0,
        allow_eviction: bool = False,
        index: str | None = None,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        address = {"host": host, "port": port, "db": db, "username": username, "password": password}
        more = {} if index is None else {"index": self._auto if index == "auto" else check_index(index)}
        if self._make_steps is RedisKnowledgeSteps:
            more.setdefault("index", self._auto)
        elif more:
            raise ConfigurationError("index is an option of knowledge stores")
        steps = self._make_steps(table_prefix, allow_eviction=allow_eviction, **more)
        if timeout is _UNSET:
            timeout = command_timeout
        elif command_timeout is not _UNSET:
            raise ConfigurationError("command_timeout is another name of timeout: give one of them")
        limits = {"max_size": max_size, "pool_timeout": pool_timeout, "connect_timeout": connect_timeout}
        limits = {name: value for name, value in limits.items() if value is not None}
        if timeout is not _UNSET:
            limits["timeout"] = timeout
        how = None
        if client is None:
            if url is None and host is None:
                raise ConfigurationError(
                    "tell where the server is: url='redis://host:6379/0', or host=..., or client=..."
                )
            how = settings(
                url,
                address,
                cluster=cluster,
                limits=limits,
                client_options=dict(client_options or {}),
            )
        elif url is not None or any(value is not None for value in address.values()):
            raise ConfigurationError("give either client or an address, not both")
        runner = self._runner_class(how, client, steps.probe, check_seconds(retry_timeout, "retry_timeout"))
        super().__init__(steps, runner)  # type: ignore[call-arg]


class _State(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "prefix", "shared"})
    _make_steps = RedisStateSteps


class RedisStateStore(_State, StepStateStore):
    """State in Redis or Valkey, on ``redis.Redis``."""


class AsyncRedisStateStore(_State, AsyncStepStateStore):
    """State in Redis or Valkey, on ``redis.asyncio.Redis``."""

    _runner_class = AsyncRedisRunner


class _Knowledge(_Store):
    capabilities: ClassVar[frozenset[str]] = frozenset({"atomic_batch", "durable", "prefix", "shared"})
    _make_steps = RedisKnowledgeSteps

    @property
    def index(self) -> str | None:
        """What new collections are found by: the name of an index; None before the first connection."""
        steps: RedisKnowledgeSteps = self._steps  # type: ignore[attr-defined]
        return steps.index


class RedisKnowledgeStore(_Knowledge, StepKnowledgeStore):
    """Knowledge in Redis with the search module, or in the vector sets of Redis 8, on ``redis.Redis``."""


class AsyncRedisKnowledgeStore(_Knowledge, AsyncStepKnowledgeStore):
    """Knowledge in Redis with the search module, or in the vector sets of Redis 8, on ``redis.asyncio.Redis``."""

    _runner_class = AsyncRedisRunner


class _ValkeyKnowledge(_Knowledge):
    backend = "valkey"
    _auto = "valkey"


class ValkeyVectorKnowledgeStore(_ValkeyKnowledge, StepKnowledgeStore):
    """Knowledge in Valkey, on ``redis.Redis``: by its search module, else by comparing every vector."""


class AsyncValkeyVectorKnowledgeStore(_ValkeyKnowledge, AsyncStepKnowledgeStore):
    """Knowledge in Valkey, on ``redis.asyncio.Redis``: by its search module, else by comparing every vector."""

    _runner_class = AsyncRedisRunner
