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

from praisonai_persistence._closing import Single
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import mask, parse_url, socket_path
from praisonai_persistence_redis._connections import async_timed, owing, timed
from praisonai_persistence_redis._parameters import check_arguments, read_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "address", "settings"]

_TLS = {"redis": False, "valkey": False, "unix": False, "rediss": True, "valkeys": True}
LIMITS: dict[str, Any] = {"max_size": 10, "pool_timeout": 30.0, "connect_timeout": 10.0, "timeout": 30.0}
"""The defaults of what an option and a URL's parameter can say."""
_AUTHORITY = re.compile(r"([A-Za-z]+)(?:\+([A-Za-z]+))?://([^/?]*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, repr=False)
class Settings(Single):
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
            return f"{self.service!r} of the sentinels {', '.join(address(*each) for each in self.hosts)}"
        if "path" in self.arguments:
            return f"{self.arguments['path']}, database {self.arguments['db']}"
        return address(*self.hosts[0]) + ("" if self.cluster else f", database {self.arguments['db']}")

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

        Those for sync and those for async connections must be the same.

        Raises:
            ConfigurationError: it does not know one.
        """
        # Without this the driver reads the version of its distribution from a file.
        quiet = (
            {"driver_info": None}
            if "driver_info" in signature(redis.connection.AbstractConnection.__init__).parameters
            else {}
        )
        for driver in (redis, redis.asyncio):
            base: Any = driver.SSLConnection if self.tls else driver.Connection
            if "path" in self.arguments:
                base = driver.UnixDomainSocketConnection
            try:
                base(**{**quiet, **self.arguments})
            except (TypeError, ValueError, redis.RedisError) as error:
                raise ConfigurationError(f"the Redis client refuses a parameter: {error}") from error


def address(host: str, port: int) -> str:
    """Return host and port as one text."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    given: dict[str, Any],
    *,
    cluster: bool | None,
    limits: dict[str, Any],
    client_options: dict[str, Any],
) -> Settings:
    """Return the checked settings.

    Args:
        url: ``redis://user:password@host:port/db?parameter=value`` and its kin, or None.
        given: host, port, db, username, password; what is None is not given.
        cluster: whether the server is a cluster; None: by the URL.
        limits: ``max_size``, connections at a time; ``pool_timeout``, seconds to wait for one; ``connect_timeout``,
            seconds to wait for a connection, with its handshake; ``timeout``, seconds to wait for an answer, or None
            for ever. What is not in it comes from the URL, or is the default.
        client_options: more arguments of the driver's connections.

    Raises:
        ConfigurationError: one that cannot be.
    """
    arguments: dict[str, Any] = {"host": "localhost", "port": 6379, "db": 0, "protocol": 2}
    tls, variant, service = False, "", None
    hosts: list[tuple[str, int]] = []
    sentinel: dict[str, Any] = {}
    limits = dict(limits)
    if url is not None:
        tls, variant, hosts, service, found = _parse(url)
        sentinel = {name.removeprefix("sentinel_"): found[name] for name in found if name.startswith("sentinel_")}
        limits = {**{name: found[name] for name in LIMITS if name in found}, **limits}
        arguments |= {name: found[name] for name in found if not name.startswith("sentinel_") and name not in LIMITS}
    limits = {**LIMITS, **limits}
    max_size = limits["max_size"]
    if not isinstance(max_size, int) or isinstance(max_size, bool) or max_size < 1:
        raise ConfigurationError("max_size must be a whole number, 1 or more")
    arguments["socket_connect_timeout"] = check_seconds(limits["connect_timeout"], "connect_timeout")
    timeout = limits["timeout"]
    arguments["socket_timeout"] = None if timeout is None else check_seconds(timeout, "timeout")
    arguments |= {name: value for name, value in given.items() if value is not None}
    check_arguments(client_options, tls=tls)
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
        check_seconds(limits["pool_timeout"], "pool_timeout"),
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
    found = read_parameters(parsed.query, tls=_TLS[parsed.scheme], sentinels=variant == "sentinel")
    service, path, host = None, parsed.path.strip("/"), parsed.host
    if socket := socket_path(parsed):
        found["path"], host = socket, None
        if variant or _TLS[parsed.scheme] or parsed.port is not None:
            raise ConfigurationError(f"{mask(url)!r}: a socket has no port, no TLS, no cluster and no sentinels")
    if parsed.scheme == "unix":
        if not path or host or parsed.port is not None or socket:
            raise ConfigurationError(f"{mask(url)!r} names no socket: unix:///path/of/the/socket?db=0")
        found["path"], path = parsed.path, ""
    elif variant == "sentinel":
        service, _, path = path.partition("/")
        if not service:
            raise ConfigurationError(f"{mask(url)!r} names no service: redis+sentinel://host:26379/service/0")
    for name, value in (("db", path), ("username", parsed.username), ("password", parsed.password)):
        if value and str(found.get(name, value)) != value:
            raise ConfigurationError(f"the URL says twice what {name} is, once as a parameter")
        if value:
            found[name] = value
    if host:
        found["host"] = host
    found["port"] = parsed.port or default
    extra = [(other.host or "localhost", other.port or default) for other in more]
    return _TLS[parsed.scheme], variant, extra, service, found


def _database(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit()):
        raise ConfigurationError("the database of a Redis server is a number: redis://host:6379/0")
    return int(text)
