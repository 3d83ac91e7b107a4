"""Where the server is and how to talk to it: what the stores are given, checked, without touching the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from praisonai_persistence._closing import Single
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import parse_url
from praisonai_persistence_pg import parameters as url_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_TIMEOUT", "FOLLOWS", "SCHEMES", "Settings", "settings"]

DEFAULT_TIMEOUT = 30.0
FOLLOWS: Any = "timeout"
"""The default of ``statement_timeout``: it follows ``timeout``."""

SCHEMES = frozenset(
    {"postgres", "postgresql", "neon", "pgvector", "xata", "supabase", "cockroachdb", "cockroach", "crdb"}
)
"""URL schemes, without what may stand behind ``+``."""
_COCKROACH = frozenset({"cockroachdb", "cockroach", "crdb"})
# Hosted databases that sleep when nobody asks, and are reached over the internet.
_SERVERLESS = (
    ".neon.tech",
    ".xata.sh",
    ".xata.io",
    ".xata.tech",
    ".cockroachlabs.cloud",
    ".supabase.co",
    ".supabase.com",
)
_POOLERS = "-pooler.", ".pooler.", ".proxy-"
"""What the hosts of poolers have in their names: of Neon, of Supabase, of RDS Proxy."""
_POOLER_PORTS = frozenset({"6432", "6543"})
"""Usual ports of PgBouncer, and of Supabase's pooler where it lends connections for a transaction."""
_YES = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


@dataclass(frozen=True, slots=True, repr=False)
class Settings(Single):
    """How to connect.

    Attributes:
        address: host, port, user, password and dbname, those that were given; of several hosts, with commas between.
        parameters: of the URL: ``sslmode`` and so on.
        connect_timeout: seconds.
        timeout: seconds for an answer.
        statement_timeout: seconds, or None.
        pooler: the host is a connection pooler, which lends connections to the server for a transaction: it keeps
            neither prepared statements nor session settings.
        look_for_pooler: whether the first connection finds out, because nobody said.
        cockroach: the server is CockroachDB.
        session: further settings of the server for each session.
    """

    address: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    connect_timeout: float = 10.0
    timeout: float = 30.0
    statement_timeout: float | None = None
    pooler: bool = False
    look_for_pooler: bool = False
    cockroach: bool = False
    session: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> list[tuple[str, str]]:
        """Host and port of each server; empty texts for what was not said."""
        hosts, ports = str(self.address.get("host", "")).split(","), str(self.address.get("port", "")).split(",")
        return list(zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=True))

    @property
    def where(self) -> str:
        """The address for messages, without secrets."""
        places = [
            f"{f'[{host}]' if ':' in host else host or 'its default host'}:{port or 5432}" for host, port in self.places
        ]
        return f"{', '.join(places)}, database {self.address.get('dbname', 'by default')!r}"

    def attempts(self) -> list[Settings]:
        """Return how to try one server after the other; together they have ``connect_timeout``."""
        places, wanted = self.places, self.parameters.get("target_session_attrs", "any")
        if len(places) == 1:
            return [self]
        kinds = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        share = self.connect_timeout / (len(places) * len(kinds))
        return [
            replace(
                self,
                address={**self.address, "host": host, **({"port": port} if port else {})},
                parameters={**self.parameters, "target_session_attrs": kind},
                connect_timeout=share,
            )
            for kind in kinds
            for host, port in places
        ]

    def for_pooler(self) -> Settings:
        """Return the same, for a server that turned out to be a pooler."""
        return replace(self, pooler=True, look_for_pooler=False)

    @property
    def server_settings(self) -> dict[str, str]:
        """Settings for the session, sent with the connection; a pooler refuses them."""
        if self.pooler:
            return {}
        if self.statement_timeout is None:
            return {**self.session}
        return {"statement_timeout": str(math.ceil(self.statement_timeout * 1000)), **self.session}

    def for_psycopg(self) -> dict[str, Any]:
        """Keyword arguments of ``psycopg.connect``."""
        arguments: dict[str, Any] = {**self.parameters, **self.address}
        arguments.setdefault("application_name", arguments.get("fallback_application_name") or "praisonai-persistence")
        arguments["client_encoding"] = "UTF8"  # a database in SQL_ASCII would send bytes of none
        arguments["connect_timeout"] = max(1, math.ceil(self.connect_timeout))
        if self.server_settings:
            ours = " ".join(f"-c {name}={value}" for name, value in self.server_settings.items())
            arguments["options"] = f"{ours} {arguments.get('options', '')}".strip()
        if self.pooler:
            arguments["prepare_threshold"] = None
        return arguments

    def for_asyncpg(self) -> dict[str, Any]:
        """Keyword arguments of ``asyncpg.connect``."""
        dsn, server, more = url_parameters.for_asyncpg(self.parameters)
        arguments: dict[str, Any] = {
            "database" if name == "dbname" else name: value for name, value in self.address.items()
        }
        if "port" in arguments:
            arguments["port"] = int(arguments["port"])
        ours = self.server_settings
        if "options" in server and ours:  # which would win over them
            server["options"] = " ".join([*(f"-c {name}={value}" for name, value in ours.items()), server["options"]])
            ours = {}
        arguments |= {"dsn": f"postgresql://?{urlencode(dsn)}", "server_settings": {**server, **ours}, **more}
        arguments["timeout"] = self.connect_timeout
        if self.pooler:
            arguments["statement_cache_size"] = 0
        return arguments


def _times(timeout: Any, statement_timeout: Any) -> tuple[float, float | None]:
    """Return ``timeout`` and ``statement_timeout``: the server is to give up first, because it can say what it did."""
    if statement_timeout is None or statement_timeout is FOLLOWS:
        seconds = check_seconds(DEFAULT_TIMEOUT if timeout is None else timeout, "timeout")
        return seconds, None if statement_timeout is None else seconds * 5 / 6
    limit = check_seconds(statement_timeout, "statement_timeout")
    return (limit + 5 if timeout is None else check_seconds(timeout, "timeout")), limit


def _authority(url: str) -> str:
    """Return what stands for the hosts in a URL that was read, which lost the case of folders when it was."""
    rest = url.partition("://")[2]
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    return rest[:end].rpartition("@")[2]


def _hosts(text: str) -> tuple[str, str]:
    """Return the hosts and the ports of a text such as ``one:5432,[::1],%2Frun%2Fpostgresql``, each with commas."""
    hosts, ports = [], []
    for one in text.split(","):
        if one.startswith("["):
            host, _, rest = one[1:].partition("]")
            port = rest.removeprefix(":")
        else:
            host, _, port = one.partition(":")
        host = unquote(host)
        if "," in host:
            raise ConfigurationError("a host, or the folder of a socket, cannot have a comma")
        hosts.append(host if host.startswith(("/", "@")) else host.lower())
        ports.append(port)
    if any(ports):
        ports = [port or "5432" for port in ports]
    return ",".join(hosts), ",".join(ports) if any(ports) else ""


def _checked_address(found: dict[str, Any]) -> dict[str, Any]:
    """Return the address, with ports that are numbers, as many as there are hosts.

    Raises:
        ConfigurationError: they cannot be.
    """
    if (host := found.get("host")) is not None and (not isinstance(host, str) or "\0" in host):
        raise ConfigurationError("host must be text without NUL")
    if (port := found.get("port")) is None:
        return found
    ports = str(port).split(",")
    if isinstance(port, bool) or not all(p.isascii() and p.isdecimal() and 0 < int(p) < 65536 for p in ports):
        raise ConfigurationError("port must be a whole number from 1 to 65535")
    if len(ports) not in {1, len(str(host).split(","))}:
        raise ConfigurationError("give one port, or as many as there are hosts")
    return {**found, "port": int(ports[0]) if len({*ports}) == 1 else ",".join(ports)}


def _is_pooler(given: Any, parameters: dict[str, str], hosts: list[str], ports: list[str]) -> tuple[bool, bool]:
    """Return whether there is a pooler, and whether that is still to be found out.

    Raises:
        ConfigurationError: what was given is no yes or no.
    """
    of_url = [parameters.pop(name).lower() for name in ("pgbouncer", "pooler") if name in parameters]
    said = given if given is not None else _YES.get(of_url[-1]) if of_url else None
    if not isinstance(said, bool) and (given is not None or of_url):
        raise ConfigurationError("pooler must be True or False; in a URL: pooler=true")
    if said is not None:
        return bool(said), False
    if any(part in host for part in _POOLERS for host in hosts) or not _POOLER_PORTS.isdisjoint(ports):
        return True, False
    return False, not any(host.endswith(_SERVERLESS) for host in hosts)  # whose proxies look like one


def settings(
    url: str | None,
    address: dict[str, Any],
    connect_timeout: float | None,
    statement_timeout: Any,
    cockroach: bool | None,
    session: Mapping[str, str] | None = None,
    timeout: float | None = None,
    pooler: bool | None = None,
) -> Settings:
    """Check what a store was given.

    Args:
        url: or None.
        address: host, port, user, password and dbname; None: not given. They win over the URL.
        connect_timeout: seconds; None: what the URL says, else 10, and 30 for a serverless host.
        statement_timeout: seconds; None: no limit but the server's own; ``FOLLOWS``: a little less than ``timeout``.
        cockroach: whether the server is CockroachDB; None: by scheme, host and port.
        session: further settings of the server for each session.
        pooler: whether a connection pooler answers; None: what the URL says, else by host and port, else the first
            connection finds out.
        timeout: seconds for an answer; None: what the URL says, else five more than ``statement_timeout``, else 30.

    Raises:
        ConfigurationError: a malformed URL, another scheme, or an option that cannot be.
    """
    scheme, parameters, found = "", {}, dict(address)
    if url is not None:
        parsed = parse_url(url)
        scheme, parameters = parsed.scheme, dict(parsed.query)
        if scheme not in SCHEMES:
            raise ConfigurationError(f"{parsed} has the scheme {scheme!r}, not postgresql")
        parameters = url_parameters.checked(parameters)
        host, port = _hosts(_authority(parsed.text))
        of_url = {
            "host": host or None,
            "port": port or None,
            "user": parsed.username,
            "password": parsed.password,
            "dbname": parsed.path[1:] or None,
        }
        for name in of_url:
            of_url[name] = parameters.pop(name, None) or of_url[name]
        found = {name: of_url[name] if address.get(name) is None else address[name] for name in of_url}
    found = _checked_address({name: value for name, value in found.items() if value is not None})
    hosts, ports = str(found.get("host", "")).lower().split(","), str(found.get("port", "")).split(",")
    serverless = [host for host in hosts if host.endswith(_SERVERLESS)]
    if serverless and parameters.setdefault("sslmode", "require") not in url_parameters.SECURE:
        raise ConfigurationError(f"{serverless[0]} needs TLS: leave sslmode out, or set it to require or verify-full")
    pooled, look = _is_pooler(pooler, parameters, hosts, ports)
    wait = (
        connect_timeout if connect_timeout is not None else parameters.get("connect_timeout", 30 if serverless else 10)
    )
    if cockroach is None:
        cockroach = scheme in _COCKROACH or "26257" in ports
        cockroach = cockroach or any(host.endswith(".cockroachlabs.cloud") for host in hosts)
    answer, limit = _times(timeout if timeout is not None else parameters.pop("timeout", None), statement_timeout)
    return Settings(
        found,
        {name: value for name, value in parameters.items() if name not in {"timeout", "connect_timeout"}},
        check_seconds(wait, "connect_timeout"),
        answer,
        limit,
        pooled,
        look and not cockroach,
        cockroach,
        session or {},
    )
