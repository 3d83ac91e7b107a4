"""Where the server is and how to talk to it: URLs and options become [Settings][]."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field, replace
from typing import Any

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import mask, parse_url

__all__ = ["Settings", "settings_of"]

SCHEMES = ("mysql", "mariadb", "aiomysql")
_TIMES = ("connect_timeout", "pool_timeout", "timeout", "write_timeout", "statement_timeout")
_OLD_NAMES = {"read_timeout": "timeout"}
_COLD_STARTS = ("psdb.cloud", "tidbcloud.com")  # serverless: asleep at times, and only with TLS
_MODES = {
    "disable": "disable", "disabled": "disable", "false": "disable", "0": "disable",
    "prefer": "prefer", "preferred": "prefer",
    "require": "require", "required": "require",
    "verify": "verify", "verify_ca": "verify", "verify_identity": "verify", "strict": "verify",
    "true": "verify", "1": "verify", '{"rejectunauthorized":true}': "verify",
}  # fmt: skip
_TLS_NAMES = ("tls", "ssl", "ssl_mode", "sslmode", "sslaccept")
_CA_NAMES = ("tls_ca", "ssl_ca", "sslcert")


@dataclass(frozen=True)
class Settings:
    """What a pool is told.

    Attributes:
        host: name or address.
        port: of the server.
        user: None: the driver's default, the name of the user of the process.
        password: never shown.
        database: None only beside an injected pool or factory.
        unix_socket: path, instead of host and port.
        tls: ``disable``, ``prefer`` (encrypt where the server can), ``require`` (encrypt), ``verify`` (encrypt, and
            check certificate and name), or a context of your own; the empty text: by host.
        tls_ca: path of the certificates to trust; None: those of the system.
        connect_timeout: seconds for a connection.
        pool_timeout: seconds to wait for a free connection.
        timeout: seconds to wait for an answer.
        write_timeout: seconds to wait until the server takes what it is sent; None: as ``timeout``.
        statement_timeout: seconds after which the server ends a statement; None: its own setting.
        max_size: the most connections at one time.
    """

    host: str = "127.0.0.1"
    port: int = 3306
    user: str | None = None
    password: str = field(default="", repr=False)
    database: str | None = None
    unix_socket: str | None = None
    tls: str | ssl.SSLContext = ""
    tls_ca: str | None = None
    connect_timeout: float | None = None  # by host
    pool_timeout: float = 30.0
    timeout: float = 30.0
    write_timeout: float | None = None
    statement_timeout: float | None = None
    max_size: int = 10

    @property
    def place(self) -> str:
        """The server, for messages."""
        return self.unix_socket or f"{self.host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context; reads certificates, so it is made by the first connection."""
        if isinstance(self.tls, ssl.SSLContext):
            return self.tls
        if self.tls == "disable":
            return None
        context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls != "verify":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def tls_required(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.tls not in {"disable", "prefer"}


def settings_of(url: str | None, options: dict[str, Any]) -> Settings:
    """Check what a store was given; touches no network and no file.

    Args:
        url: ``mysql://user:password@host:port/database?option=value``, or None.
        options: fields of [Settings][]; None counts as not given. They win over the URL.

    Raises:
        ConfigurationError: something cannot be used; secrets are masked.
    """
    given = {} if url is None else _from_url(url)
    given.update({_OLD_NAMES.get(name, name): value for name, value in options.items() if value is not None})
    if given.get("timeout") is None and given.get("statement_timeout") is not None:
        given["timeout"] = check_seconds(given["statement_timeout"], "statement_timeout") + 5
    settings = _checked(replace(Settings(), **given))
    serverless = settings.host.endswith(_COLD_STARTS)
    if settings.tls == "":
        local = settings.unix_socket is not None or _is_loopback(settings.host)
        settings = replace(settings, tls="disable" if local else "verify" if serverless else "prefer")
    elif serverless and not settings.tls_required:
        raise ConfigurationError(f"{settings.host} takes connections with TLS only: leave tls out, or give tls=True")
    if settings.write_timeout is None:
        settings = replace(settings, write_timeout=settings.timeout)
    if settings.connect_timeout is None:
        settings = replace(settings, connect_timeout=30.0 if serverless else 10.0)
    return settings


def _from_url(url: str) -> dict[str, Any]:
    parsed = parse_url(url)
    if parsed.scheme not in SCHEMES:
        raise ConfigurationError(f"{mask(url)!r} has the scheme {parsed.scheme!r}, not mysql or mariadb")
    if parsed.path.strip("/") == "" or "/" in parsed.path[1:]:
        raise ConfigurationError(f"{mask(url)!r} must name one database: mysql://user@host/database")
    found: dict[str, Any] = {"database": parsed.path[1:], "host": parsed.host, "port": parsed.port}
    found |= {"user": parsed.username, "password": parsed.password}
    for key, value in parsed.query.items():
        name = _OLD_NAMES.get(key.replace("-", "_").lower(), key.replace("-", "_").lower())
        if name in _TLS_NAMES:
            found["tls"] = value
        elif name in _CA_NAMES:
            found["tls_ca"] = value
        elif name == "unix_socket" or name in _TIMES:
            found[name] = value
        elif name == "max_size":
            found[name] = int(value) if value.isdecimal() else value
        elif name != "charset" or value.lower() not in {"utf8mb4", "utf8"}:  # it is utf8mb4 anyway
            raise ConfigurationError(
                f"a mysql URL takes the parameters {', '.join(_TIMES)}, max_size, unix_socket, tls and tls_ca, "
                f"not {key!r}"
            )
    return {name: value for name, value in found.items() if value is not None}


def _checked(settings: Settings) -> Settings:
    for name in ("host", "user", "password", "database", "unix_socket", "tls_ca"):
        value = getattr(settings, name)
        if value is not None and (not isinstance(value, str) or "\0" in value or (value == "" and name != "password")):
            raise ConfigurationError(f"{name} must be text, not empty and without NUL")
    port: Any = settings.port
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigurationError("port must be a whole number from 1 to 65535")
    times = {name: getattr(settings, name) for name in _TIMES}
    times = {name: value if value is None else check_seconds(value, name) for name, value in times.items()}
    tls: Any = settings.tls
    if isinstance(tls, bool):
        tls = "verify" if tls else "disable"
    if isinstance(tls, str) and tls != "":
        mode = _MODES.get(tls.lower().replace(" ", ""))
        if mode is None:
            raise ConfigurationError("tls must be disable, prefer, require or verify, True, False or an SSLContext")
        tls = mode
    elif not isinstance(tls, (str, ssl.SSLContext)):
        raise ConfigurationError("tls must be disable, prefer, require or verify, True, False or an SSLContext")
    return replace(settings, tls=tls, **times)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
