"""Where the server is and how to talk to it: what the stores are given, checked, without touching the network."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from praisonai_persistence._closing import Single
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import parse_url

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
_LIBPQ_ONLY = frozenset({"channel_binding", "connect_timeout", "gssencmode", "sslcompression", "sslsni"})
_SECURE = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True, repr=False)
class Settings(Single):
    """How to connect.

    Attributes:
        address: host, port, user, password and dbname, those that were given.
        parameters: of the URL: ``sslmode`` and so on.
        connect_timeout: seconds.
        timeout: seconds for an answer.
        statement_timeout: seconds, or None.
        pooler: the host is a connection pooler that keeps neither prepared statements nor session settings.
        cockroach: the server is CockroachDB.
        session: further settings of the server for each session.
    """

    address: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    connect_timeout: float = 10.0
    timeout: float = 30.0
    statement_timeout: float | None = None
    pooler: bool = False
    cockroach: bool = False
    session: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The address for messages, without secrets."""
        host, port = self.address.get("host", "its default host"), self.address.get("port", 5432)
        return f"{host}:{port}, database {self.address.get('dbname', 'by default')!r}"

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
        arguments: dict[str, Any] = {"application_name": "praisonai-persistence", **self.parameters, **self.address}
        arguments["connect_timeout"] = max(1, math.ceil(self.connect_timeout))
        if self.server_settings:
            ours = " ".join(f"-c {name}={value}" for name, value in self.server_settings.items())
            arguments["options"] = f"{ours} {arguments.get('options', '')}".strip()
        if self.pooler:
            arguments["prepare_threshold"] = None
        return arguments

    def for_asyncpg(self) -> dict[str, Any]:
        """Keyword arguments of ``asyncpg.connect``."""
        parameters = {
            name: value
            for name, value in self.parameters.items()
            if name not in _LIBPQ_ONLY and not name.startswith(("keepalives", "tcp_"))
        }
        arguments: dict[str, Any] = {
            "database" if name == "dbname" else name: value for name, value in self.address.items()
        }
        arguments["dsn"] = f"postgresql://?{urlencode(parameters)}"
        arguments["server_settings"] = {"application_name": "praisonai-persistence", **self.server_settings}
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


def settings(
    url: str | None,
    address: dict[str, Any],
    connect_timeout: float | None,
    statement_timeout: Any,
    cockroach: bool | None,
    session: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Settings:
    """Check what a store was given.

    Args:
        url: or None.
        address: host, port, user, password and dbname; None: not given. They win over the URL.
        connect_timeout: seconds; None: what the URL says, else 10, and 30 for a serverless host.
        statement_timeout: seconds; None: no limit but the server's own; ``FOLLOWS``: a little less than ``timeout``.
        cockroach: whether the server is CockroachDB; None: by scheme, host and port.
        session: further settings of the server for each session.
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
        of_url = {
            "host": parsed.host,
            "port": parsed.port,
            "user": parsed.username,
            "password": parsed.password,
            "dbname": parsed.path[1:] or None,
        }
        for name in of_url:
            of_url[name] = parameters.pop(name, None) or of_url[name]
        found = {name: of_url[name] if address.get(name) is None else address[name] for name in of_url}
    found = {name: value for name, value in found.items() if value is not None}
    host = str(found.get("host", "")).lower()
    serverless = host.endswith(_SERVERLESS)
    if serverless and parameters.setdefault("sslmode", "require") not in _SECURE:
        raise ConfigurationError(f"{host} needs TLS: leave sslmode out, or set it to require or verify-full")
    wait = (
        connect_timeout if connect_timeout is not None else parameters.get("connect_timeout", 30 if serverless else 10)
    )
    if cockroach is None:
        cockroach = scheme in _COCKROACH or host.endswith(".cockroachlabs.cloud") or str(found.get("port")) == "26257"
    answer, limit = _times(timeout if timeout is not None else parameters.pop("timeout", None), statement_timeout)
    return Settings(
        found,
        {name: value for name, value in parameters.items() if name != "timeout"},
        check_seconds(wait, "connect_timeout"),
        answer,
        limit,
        "-pooler." in host or ".pooler." in host,
        cockroach,
        session or {},
    )
