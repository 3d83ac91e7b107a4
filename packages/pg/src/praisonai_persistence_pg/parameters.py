"""Parameters of PostgreSQL URLs: which there are, what each may say, and what asyncpg makes of them.

Both drivers are given the same, or a ``ConfigurationError`` says what is possible, before anything is connected.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SECURE", "check_files", "checked", "for_asyncpg", "keep_alive"]

SECURE = frozenset({"require", "verify-ca", "verify-full"})
"""Values of ``sslmode`` that never speak in the clear."""
_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_SWITCH = ("0", "1")
_VALUES: dict[str, tuple[str, ...]] = {
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "keepalives": _SWITCH,
    "load_balance_hosts": ("disable", "random"),
    "ssl_max_protocol_version": _VERSIONS,
    "ssl_min_protocol_version": _VERSIONS,
    "sslcompression": _SWITCH,
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslsni": _SWITCH,
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_NUMBERS = ("keepalives_count", "keepalives_idle", "keepalives_interval", "tcp_user_timeout")
_FILES = ("sslcert", "sslcrl", "sslkey", "sslrootcert")
_TEXTS = ("application_name", "fallback_application_name", "options", "passfile", "sslpassword", *_FILES)
_OURS = ("connect_timeout", "timeout", "pooler", "pgbouncer")
_ADDRESS = ("host", "port", "user", "password", "dbname")
_ALLOWED = sorted({*_VALUES, *_NUMBERS, *_TEXTS, *_OURS, *_ADDRESS, "client_encoding"})
_PSYCOPG_ONLY = {("gssencmode", "require"), ("sslsni", "0"), ("load_balance_hosts", "random")}
# What asyncpg does without: it neither binds channels nor encrypts by Kerberos, and has no compression.
_NOTHING = frozenset({"channel_binding", "gssencmode", "sslcompression", "sslsni", "load_balance_hosts"})
_SOCKET = {  # names in the module socket; of some, several systems have different ones
    "keepalives_idle": ("TCP_KEEPIDLE", "TCP_KEEPALIVE"),
    "keepalives_interval": ("TCP_KEEPINTVL",),
    "keepalives_count": ("TCP_KEEPCNT",),
    "tcp_user_timeout": ("TCP_USER_TIMEOUT",),
}


def checked(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of a URL that are left for the drivers.

    Raises:
        ConfigurationError: there is no such parameter, or it cannot have that value.
    """
    found = dict(parameters)
    for name, value in parameters.items():
        if name not in _ALLOWED:
            raise ConfigurationError(
                f"a PostgreSQL URL has no parameter {name!r}; it takes {', '.join(_ALLOWED)}. Settings of the server "
                "go into options: options=-c%20work_mem%3D64MB"
            )
        if name in _VALUES and value not in _VALUES[name]:
            raise ConfigurationError(f"the URL's parameter {name} must be {' or '.join(_VALUES[name])}")
        if name in _NUMBERS and not (value.isascii() and value.isdecimal() and len(value) <= 9):
            raise ConfigurationError(f"the URL's parameter {name} must be a whole number")
        if name == "client_encoding" and value.lower().replace("-", "") not in {"utf8", "unicode"}:
            raise ConfigurationError("the URL's parameter client_encoding must be UTF8: leave it out")
        if "\0" in value:
            raise ConfigurationError(f"the URL's parameter {name} holds a NUL")
    found.pop("client_encoding", None)
    if found.get("sslrootcert") == "system" and found.setdefault("sslmode", "verify-full") != "verify-full":
        raise ConfigurationError("sslrootcert=system needs sslmode=verify-full")
    return found


def check_files(parameters: Mapping[str, str]) -> None:
    """See whether the files of certificates are there, which one driver ignores and the other stumbles over.

    Raises:
        ConfigurationError: one is missing.
    """
    for name in (*_FILES, "passfile"):
        path = parameters.get(name)
        if path and (name, path) != ("sslrootcert", "system") and not os.path.isfile(path):
            raise ConfigurationError(f"the URL's parameter {name}: there is no file {path!r}")
    if parameters.get("sslmode") in {"verify-ca", "verify-full"} and not parameters.get("sslrootcert"):
        usual = os.environ.get("PGSSLROOTCERT") or os.path.expanduser("~/.postgresql/root.crt")
        if usual != "system" and not os.path.isfile(usual):
            raise ConfigurationError(
                f"sslmode={parameters['sslmode']} needs the certificates to trust, and there is no file {usual!r}: add "
                "sslrootcert=/path/of/the/file to the URL, or sslmode=verify-full&sslrootcert=system for those of the "
                "operating system"
            )


def for_asyncpg(parameters: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Return what is for asyncpg's DSN, settings of the session, and further arguments of ``asyncpg.connect``.

    Raises:
        ConfigurationError: something that asyncpg has not.
    """
    if beyond := [f"{name}={value}" for name, value in parameters.items() if (name, value) in _PSYCOPG_ONLY]:
        raise ConfigurationError(
            f"asyncpg has no {', '.join(beyond)}: leave it out of the URL, or open the store with mode='sync'"
        )
    dsn = {
        name: value
        for name, value in parameters.items()
        if name not in _NOTHING and not name.startswith("keepalives") and name != "tcp_user_timeout"
    }
    usual = dsn.pop("fallback_application_name", "praisonai-persistence")
    server = {"application_name": dsn.pop("application_name", usual)}
    if "options" in dsn:
        server["options"] = dsn.pop("options")
    more: dict[str, Any] = {}
    if dsn.get("sslrootcert") == "system":
        import ssl

        more["ssl"] = context = ssl.create_default_context()
        if "sslcert" in dsn:
            context.load_cert_chain(dsn["sslcert"], dsn.get("sslkey"), dsn.get("sslpassword"))
        if "ssl_min_protocol_version" in dsn:
            context.minimum_version = ssl.TLSVersion[dsn["ssl_min_protocol_version"].replace(".", "_")]
        if "ssl_max_protocol_version" in dsn:
            context.maximum_version = ssl.TLSVersion[dsn["ssl_max_protocol_version"].replace(".", "_")]
        dsn = {name: value for name, value in dsn.items() if not name.startswith("ssl")}
    return dsn, server, more


def keep_alive(channel: Any, parameters: Mapping[str, str]) -> None:
    """Set the options of a socket that the parameters name, as libpq does."""
    import socket

    if channel is None or channel.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    on = parameters.get("keepalives", "1") == "1"
    if any(name.startswith("keepalives") for name in parameters):
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(on))
    for name, options in _SOCKET.items():
        number = int(parameters.get(name, "0"))
        option = next((getattr(socket, one) for one in options if hasattr(socket, one)), None)
        if number and option is not None and (on or name == "tcp_user_timeout"):
            channel.setsockopt(socket.IPPROTO_TCP, option, number)
