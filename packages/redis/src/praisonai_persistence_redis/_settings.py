"""Where the server is and how to talk to it: what the stores are given, checked, without touching the network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.backoff
import redis.cluster
import redis.connection
import redis.retry
import redis.sentinel

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import mask, parse_url
from praisonai_persistence_redis._connections import async_timed, owing, timed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "settings"]

_TLS = {"redis": False, "valkey": False, "unix": False, "rediss": True, "valkeys": True}
_AUTHORITY = re.compile(r"([A-Za-z]+)(?:\+([A-Za-z]+))?://([^/?]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """How to connect.

    Attributes:
        arguments: of a connection, in the driver's words: host, port, db, username, password, timeouts, TLS.
        hosts: the addresses of a cluster's nodes, or of the sentinels.
        tls: whether connections are encrypted.
        service: the name that sentinels know the server by, or None.
        sentinel: arguments of connections to sentinels.
        cluster: whether the server is a cluster.
        max_size: connections at a time.
        pool_timeout: seconds to wait for one.
    """

    arguments: dict[str, Any]
    hosts: list[tuple[str, int]]
    tls: bool
    service: str | None
    sentinel: dict[str, Any]
    cluster: bool
    max_size: int
    pool_timeout: float

    @property
    def where(self) -> str:
        """The address for messages, without secrets."""
        if self.service is not None:
            return f"{self.service!r} of the sentinels {', '.join(f'{host}:{port}' for host, port in self.hosts)}"
        if "path" in self.arguments:
            return f"{self.arguments['path']}, database {self.arguments['db']}"
        host, port = self.hosts[0]
        return f"{host}:{port}" + ("" if self.cluster else f", database {self.arguments['db']}")

    @property
    def timeout(self) -> float | None:
        """Seconds to wait for an answer; None: for ever."""
        return self.arguments["socket_timeout"]  # type: ignore[no-any-return]

    def stays(self, error: redis.ResponseError) -> bool:
        """Whether a connection whose server has refused a command may be used for the next one."""
        return self.service is None or not isinstance(error, redis.ReadOnlyError)

    def connections(self, moved: Callable[[], None], *, asynchronous: bool) -> Callable[[], Any]:
        """Return what makes connections, which connect when they are told to.

        The driver itself repeats nothing: it would also repeat an increment whose answer was lost.

        Args:
            moved: called when the sentinels name another server than the last time.
            asynchronous: whether they are of ``redis.asyncio``.
        """
        driver: Any = redis.asyncio if asynchronous else redis
        base = driver.UnixDomainSocketConnection if "path" in self.arguments else driver.Connection
        base = driver.SSLConnection if self.tls else base
        if self.service is not None:
            base = (_async_located if asynchronous else _located)(base, self, moved)
        base = (async_timed if asynchronous else timed)(base)
        return partial(base, **self.arguments, retry=_no_retry(driver))

    def codec(self, *, asynchronous: bool) -> Any:
        """Return a client of the driver that makes no connections, and reads answers only."""
        driver: Any = redis.asyncio if asynchronous else redis
        arguments = {name: value for name, value in self.arguments.items() if name in {"db", "protocol"}}
        return driver.Redis(connection_pool=driver.ConnectionPool(**arguments))

    def sentinels(self, *, asynchronous: bool) -> Any:
        """Return a new manager of the sentinels."""
        driver: Any = redis.asyncio if asynchronous else redis
        return driver.sentinel.Sentinel(self.hosts, sentinel_kwargs={**self.sentinel, "retry": _no_retry(driver)})

    def cluster_client(self, *, asynchronous: bool = False) -> Any:
        """Return a new client of the cluster. A sync one connects here, an async one with its first call."""
        driver: Any = redis.asyncio if asynchronous else redis
        arguments = {name: value for name, value in self.arguments.items() if name not in {"host", "port", "db"}}
        if not asynchronous:
            arguments["connection_pool_class"] = _NodePool
        return driver.RedisCluster(
            startup_nodes=[driver.cluster.ClusterNode(host, port) for host, port in self.hosts],
            ssl=self.tls,
            retry=_no_retry(driver),
            max_connections=self.max_size,
            **arguments,
        )

    def check(self) -> None:
        """Have the driver check its arguments, those of the URL among them, which it otherwise does when connecting.

        Raises:
            ConfigurationError: it does not know one.
        """
        base: Any = redis.SSLConnection if self.tls else redis.Connection
        if "path" in self.arguments:
            base = redis.UnixDomainSocketConnection
        # Without this the driver reads the version of its distribution from a file.
        quiet = (
            {"driver_info": None}
            if "driver_info" in signature(redis.connection.AbstractConnection.__init__).parameters
            else {}
        )
        try:
            base(**{**quiet, **self.arguments})
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigurationError(f"the Redis client refuses a parameter: {error}") from error


def _no_retry(driver: Any) -> Any:
    return driver.retry.Retry(redis.backoff.NoBackoff(), 0)


_BlockingPool: Any = redis.BlockingConnectionPool


class _NodePool(_BlockingPool):  # type: ignore[misc]
    """The connections to a node of a cluster. One whose answer was not read is not lent again."""

    def __init__(self, **arguments: Any) -> None:
        base = arguments.pop("connection_class", redis.Connection)
        super().__init__(connection_class=owing(timed(base)), **arguments)

    def get_connection(self, *arguments: Any, **options: Any) -> Any:
        connection = super().get_connection(*arguments, **options)
        try:
            if connection.owed:
                connection.disconnect()
                connection.connect()
        except BaseException:
            self.release(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        if connection.owed:
            connection.disconnect()
        super().release(connection)


def _located(base: Any, settings: Settings, moved: Callable[[], None]) -> Any:
    """Return a connection class that asks the sentinels where the server is, each time that it connects."""
    last: tuple[Any, Any] | None = None

    class Located(base):  # type: ignore[misc]
        def connect(self) -> None:
            nonlocal last
            manager = settings.sentinels(asynchronous=False)
            try:
                found = manager.discover_master(settings.service)
            finally:
                for each in manager.sentinels:
                    each.close()
            if found != last:
                last = found
                moved()
            self.host, self.port = found
            super().connect()

    return Located


def _async_located(base: Any, settings: Settings, moved: Callable[[], None]) -> Any:
    last: tuple[Any, Any] | None = None

    class Located(base):  # type: ignore[misc]
        async def connect(self) -> None:
            nonlocal last
            manager = settings.sentinels(asynchronous=True)
            try:
                found = await manager.discover_master(settings.service)
            finally:
                for each in manager.sentinels:
                    await each.aclose()
            if found != last:
                last = found
                moved()
            self.host, self.port = found
            await super().connect()

    return Located


def settings(
    url: str | None,
    address: dict[str, Any],
    *,
    cluster: bool | None,
    max_size: int,
    pool_timeout: float,
    connect_timeout: float,
    timeout: float | None,
    client_options: dict[str, Any],
) -> Settings:
    """Return the checked settings.

    Args:
        url: ``redis://user:password@host:port/db?parameter=value`` and its kin, or None.
        address: host, port, db, username, password; what is None is not given.
        cluster: whether the server is a cluster; None: by the URL.
        max_size: connections at a time.
        pool_timeout: seconds to wait for one.
        connect_timeout: seconds to wait for a connection, with its handshake.
        timeout: seconds to wait for an answer; None: for ever.
        client_options: more arguments of the driver's connections.

    Raises:
        ConfigurationError: one that cannot be.
    """
    if max_size < 1:
        raise ConfigurationError("max_size must be 1 or more")
    arguments: dict[str, Any] = {
        "host": "localhost",
        "port": 6379,
        "db": 0,
        "protocol": 2,
        "socket_connect_timeout": check_seconds(connect_timeout, "connect_timeout"),
        "socket_timeout": None if timeout is None else check_seconds(timeout, "timeout"),
    }
    tls, variant, hosts, service, sentinel = False, "", [], None, {}
    if url is not None:
        tls, variant, more, service, found = _parse(url)
        sentinel = {
            name.removeprefix("sentinel_"): found.pop(name) for name in list(found) if name.startswith("sentinel_")
        }
        hosts = more
        arguments |= found
    arguments |= {name: value for name, value in address.items() if value is not None}
    arguments |= client_options
    arguments["db"] = _database(arguments["db"])
    if "path" in arguments:
        del arguments["host"], arguments["port"]
    else:
        arguments.setdefault("socket_keepalive", True)
        hosts = [(arguments["host"], arguments["port"]), *hosts]
    # All sentinels together get the time that a connection has.
    share = arguments["socket_connect_timeout"] / max(1, len(hosts))
    made = Settings(
        arguments,
        hosts,
        tls,
        service,
        {"socket_timeout": share, "socket_connect_timeout": share, **sentinel, **({"ssl": True} if tls else {})},
        variant == "cluster" if cluster is None else bool(cluster),
        max_size,
        check_seconds(pool_timeout, "pool_timeout"),
    )
    if made.cluster and arguments["db"]:
        raise ConfigurationError("a Redis cluster has one database only, 0; separate stores by table_prefix")
    if len(hosts) > 1 and not made.cluster and service is None:
        raise ConfigurationError("several hosts need redis+sentinel://... or redis+cluster://...")
    made.check()
    return made


_Parsed = tuple[bool, str, list[tuple[str, int]], "str | None", dict[str, Any]]


def _parse(url: str) -> _Parsed:
    """Return whether TLS is wanted, the variant, further hosts, the sentinels' service, and the driver's arguments."""
    match = _AUTHORITY.match(str(url))
    if match is None or match[1].lower() not in _TLS:
        parse_url(url)  # has better words for what is no URL at all
        raise ConfigurationError(f"{mask(url)!r} has none of the schemes {', '.join(sorted(_TLS))}")
    scheme, variant, authority, rest = match.groups()
    user, at, hosts = authority.rpartition("@")
    first, *others = hosts.split(",")
    parsed = parse_url(f"{scheme}://{user}{at}{first}{rest}")
    variant, default = (variant or "").lower(), 26379 if (variant or "").lower() == "sentinel" else 6379
    more = [parse_url(f"{scheme}://{other}") for other in others]
    found: dict[str, Any] = {}
    readers: dict[str, Any] = redis.connection.URL_QUERY_ARGUMENT_PARSERS
    for name, value in parsed.query.items():
        try:
            found[name] = readers.get(name, str)(value)
        except (TypeError, ValueError):
            raise ConfigurationError(f"the URL's parameter {name!r} cannot have that value") from None
    service, path = None, parsed.path.strip("/")
    if parsed.scheme == "unix":
        if not path:
            raise ConfigurationError(f"{mask(url)!r} names no socket: unix:///path/of/the/socket?db=0")
        found["path"], path = parsed.path, ""
    elif variant == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ConfigurationError(f"{mask(url)!r} names no service: redis+sentinel://host:26379/service/0")
    if path:
        found["db"] = path
    given = {"host": parsed.host, "username": parsed.username, "password": parsed.password}
    found |= {name: value for name, value in given.items() if value}
    found["port"] = parsed.port or default
    extra = [(other.host or "localhost", other.port or default) for other in more]
    return _TLS[parsed.scheme], variant, extra, service, found


def _database(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError("the database of a Redis server is a number: redis://host:6379/0")
    return int(text)
