"""Where the server is and how to talk to it: URLs and options become [Settings][]."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from praisonai_persistence._closing import Single
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import check_parameters, mask, parse_url, socket_path

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SCHEMES", "Settings", "settings_of"]

SCHEMES = ("mysql", "mariadb", "aiomysql")
_TIMES = ("connect_timeout", "pool_timeout", "timeout", "write_timeout", "statement_timeout")
_OLD_NAMES = {"read_timeout": "timeout"}
_TEXTS = ("unix_socket", "tls_ca", "tls_cert", "tls_key", "tls_key_password", "program_name")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_COLD_STARTS = ("psdb.cloud", "tidbcloud.com")  # serverless: asleep at times, and only with TLS
_MODES = {
    "disable": "disable", "disabled": "disable", "false": "disable", "0": "disable",
    "prefer": "prefer", "preferred": "prefer",
    "require": "require", "required": "require",
    "verify": "verify", "verify_ca": "verify", "verify_identity": "verify", "strict": "verify",
    "true": "verify", "1": "verify", '{"rejectunauthorized":true}': "verify",
}  # fmt: skip
_LONGEST_NAME = 100  # the drivers have 255 bytes for all that they tell the server about themselves
_STRICTNESS = ("prefer", "require", "verify")
_TLS_NAMES = ("tls", "ssl", "ssl_mode", "sslmode", "sslaccept", "use_ssl", "usessl")
_VERIFYING = ("ssl_verify_cert", "ssl_verify_identity", "ssl_check_hostname")
"""Flags of PyMySQL, mysqlclient and others, each of which asks for ``verify``."""
_SAME = {
    "socket": "unix_socket", "read_timeout": "timeout",
    "ssl_ca": "tls_ca", "sslcert": "tls_ca", "ssl_cert": "tls_cert", "ssl_key": "tls_key",
    "ssl_key_password": "tls_key_password",
}  # fmt: skip
"""How drivers and providers write our options."""
_PARAMETERS = (*_TIMES, "max_size", *_TEXTS, "tls", "charset")
_MEANT = {
    **dict.fromkeys(("pool_size", "maxsize", "connection_limit", "max_connections"), "did you mean 'max_size'?"),
    **dict.fromkeys(("minsize", "pool_recycle", "max_overflow", "echo"), "the store has a pool of its own"),
    **dict.fromkeys(
        ("autocommit", "init_command", "sql_mode", "time_zone", "servertimezone", "client_flag", "local_infile",
         "isolation_level", "cursorclass", "conv", "compress"),
        "the store sets up its connections itself",
    ),
    **dict.fromkeys(
        ("read_default_file", "read_default_group", "bind_address", "auth_plugin", "server_public_key", "ssl_capath",
         "ssl_cipher"),
        "for more than that, give connection_factory=",
    ),
    **dict.fromkeys(("user", "password", "passwd", "host", "port", "db", "database"),
                    "it stands before the parameters: mysql://user:password@host:3306/database"),
}  # fmt: skip


@dataclass(frozen=True)
class Settings(Single):
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
        tls_cert: path of a certificate to show, with its key, or None.
        tls_key: path of the key, where that is another file.
        tls_key_password: of the key; never shown.
        program_name: what the server lists the connections under, or None.
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
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_key_password: str | None = field(default=None, repr=False)
    program_name: str | None = None
    connect_timeout: float | None = None  # by host
    pool_timeout: float = 30.0
    timeout: float = 30.0
    write_timeout: float | None = None
    statement_timeout: float | None = None
    max_size: int = 10

    @property
    def place(self) -> str:
        """The server, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.unix_socket or f"{host}:{self.port}"

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context; reads certificates, so it is made by the first connection.

        Raises:
            ConfigurationError: they cannot be read.
        """
        if isinstance(self.tls, ssl.SSLContext):
            return self.tls
        if self.tls == "disable":
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert is not None:
                context.load_cert_chain(self.tls_cert, self.tls_key, self.tls_key_password or "")
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"tls_ca, tls_cert or tls_key cannot be used: {error.strerror or type(error).__name__}"
            ) from error
        if self.tls != "verify":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def tls_required(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.tls not in {"disable", "prefer"}


def settings_of(url: str | None, options: dict[str, Any], schemes: Sequence[str] = SCHEMES) -> Settings:
    """Check what a store was given; touches no network and no file.

    Args:
        url: ``mysql://user:password@host:port/database?option=value``, or None.
        options: fields of [Settings][]; None counts as not given. They win over the URL.
        schemes: that the URL may have.

    Raises:
        ConfigurationError: something cannot be used; secrets are masked.
    """
    given = {} if url is None else _from_url(url, schemes)
    given.update({_OLD_NAMES.get(name, name): value for name, value in options.items() if value is not None})
    if given.get("timeout") is None and given.get("statement_timeout") is not None:
        given["timeout"] = check_seconds(given["statement_timeout"], "statement_timeout") + 5
    settings = _checked(replace(Settings(), **given))
    serverless = settings.host.endswith(_COLD_STARTS)
    if settings.tls == "":
        local = settings.unix_socket is not None or _is_loopback(settings.host)
        by_host = "disable" if local else "verify" if serverless else "prefer"
        # Who names the certificates to trust wants them checked, and who has one to show wants to show it.
        settings = replace(settings, tls="verify" if settings.tls_ca else "require" if settings.tls_cert else by_host)
    elif serverless and not settings.tls_required:
        raise ConfigurationError(f"{settings.host} takes connections with TLS only: leave tls out, or give tls=True")
    if settings.write_timeout is None:
        settings = replace(settings, write_timeout=settings.timeout)
    if settings.connect_timeout is None:
        settings = replace(settings, connect_timeout=30.0 if serverless else 10.0)
    return settings


def _from_url(url: str, schemes: Sequence[str]) -> dict[str, Any]:
    parsed = parse_url(url)
    if parsed.scheme not in schemes:
        raise ConfigurationError(f"{mask(url)!r} has the scheme {parsed.scheme!r}, not {' or '.join(schemes[:2])}")
    if parsed.path.strip("/") == "" or "/" in parsed.path[1:]:
        raise ConfigurationError(f"{mask(url)!r} must name one database: {schemes[0]}://user@host/database")
    found: dict[str, Any] = {"database": parsed.path[1:], "host": parsed.host, "port": parsed.port}
    if socket := socket_path(parsed):
        found |= {"unix_socket": socket, "host": None, "port": None}
    found |= {"user": parsed.username, "password": parsed.password}
    given = {_plain(key): value for key, value in parsed.query.items()}
    own = {*_TLS_NAMES, *_VERIFYING, *_SAME, *_PARAMETERS, "ssl_disabled", "collation", "use_unicode"}
    check_parameters("MySQL", [name for name in given if name not in own], _PARAMETERS, _MEANT)
    _check_encoding(given)
    for written, value in given.items():
        name = _SAME.get(written, written)
        if name in {*_TIMES, *_TEXTS, "max_size"}:
            if name in found and found[name] != value:
                raise ConfigurationError(f"the URL says twice what {name} is")
            found[name] = int(value) if name == "max_size" and value.isdecimal() else value
    if tls := _tls_of(given):
        found["tls"] = tls
    return {name: value for name, value in found.items() if value is not None}


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _check_encoding(given: dict[str, str]) -> None:
    """Refuse encodings other than the one that connections have anyway."""
    fits = {
        "charset": {"utf8mb4", "utf8mb3", "utf8", "utf_8"},
        "collation": {given.get("collation", "")} if _plain(given.get("collation", "")).startswith("utf8") else set(),
        "use_unicode": {name for name, flag in _FLAGS.items() if flag},
    }
    for name, values in fits.items():
        if name in given and _plain(given[name]) not in {*map(_plain, values)}:
            raise ConfigurationError(f"connections use utf8mb4, so the parameter {name} of a URL cannot say otherwise")


def _tls_of(given: dict[str, str]) -> str | None:
    """Return the strictest of the modes that the parameters ask for.

    Raises:
        ConfigurationError: one wants TLS, and another one does not.
    """
    modes = [_mode(value) for name, value in given.items() if name in _TLS_NAMES]
    flags = {name: _flag(name, value) for name, value in given.items() if name in {*_VERIFYING, "ssl_disabled"}}
    modes += ["disable" if name == "ssl_disabled" else "verify" for name, wanted in flags.items() if wanted]
    if len(set(modes)) > 1 and "disable" in modes:
        raise ConfigurationError("one parameter of the URL asks for TLS, and another one disables it")
    return max(modes, key=("disable", *_STRICTNESS).index, default=None)


def _flag(name: str, value: str) -> bool:
    if value.lower() not in _FLAGS:
        raise ConfigurationError(f"{name} in the URL must be true or false")
    return _FLAGS[value.lower()]


def _mode(text: str) -> str:
    mode = _MODES.get(text.lower().replace(" ", ""))
    if mode is None:
        raise ConfigurationError("tls must be disable, prefer, require or verify, True, False or an SSLContext")
    return mode


def _checked(settings: Settings) -> Settings:
    for name in ("host", "user", "password", "database", *_TEXTS):
        value = getattr(settings, name)
        empty = value == "" and "password" not in name
        if value is not None and (not isinstance(value, str) or "\0" in value or empty):
            raise ConfigurationError(f"{name} must be text, not empty and without NUL")
    if settings.tls_cert is None and (settings.tls_key or settings.tls_key_password) is not None:
        raise ConfigurationError("tls_key and tls_key_password belong to a tls_cert, which is missing")
    if len((settings.program_name or "").encode(errors="replace")) > _LONGEST_NAME:
        raise ConfigurationError(f"program_name may have {_LONGEST_NAME} bytes")
    port: Any = settings.port
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigurationError("port must be a whole number from 1 to 65535")
    times = {name: getattr(settings, name) for name in _TIMES}
    times = {name: value if value is None else check_seconds(value, name) for name, value in times.items()}
    tls: Any = settings.tls
    if isinstance(tls, bool):
        tls = "verify" if tls else "disable"
    if isinstance(tls, str) and tls != "":
        tls = _mode(tls)
    elif not isinstance(tls, (str, ssl.SSLContext)):
        raise ConfigurationError("tls must be disable, prefer, require or verify, True, False or an SSLContext")
    return replace(settings, tls=tls, **times)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
