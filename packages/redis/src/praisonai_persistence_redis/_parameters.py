"""The parameters of a URL, and the arguments of the driver's connections that may be given."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import redis.connection

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_seconds
from praisonai_persistence.urls import check_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["check_arguments", "read_parameters"]

_FLAGS = {"true": True, "1": True, "yes": True, "y": True, "false": False, "0": False, "no": False, "n": False}
_SAME = {
    "command_timeout": "timeout",
    "socket_timeout": "timeout",
    "socket_connect_timeout": "connect_timeout",
    "max_connections": "max_size",
}
"""How the driver, and we ourselves, write our options."""
_REPEATS = "the store repeats what is safe to repeat: see retry_timeout="
_TEXTS = "the store needs bytes, and encodes as UTF-8"
_MEANT = {
    **dict.fromkeys(("retry", "retry_on_timeout", "retry_on_error", "retry_timeout"), _REPEATS),
    **dict.fromkeys(("decode_responses", "encoding", "encoding_errors", "charset", "errors"), _TEXTS),
    **dict.fromkeys(("host", "port", "path"), "it stands before the parameters: redis://host:6379/0"),
    **dict.fromkeys(("ssl", "tls"), "for TLS the URL begins with rediss://"),
    **dict.fromkeys(
        ("ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert"),
        "async connections cannot do that",
    ),
    **dict.fromkeys(("table_prefix", "index", "allow_eviction", "cluster"), "give it as an option beside the URL"),
}
_OURS = frozenset(
    {"retry", "retry_on_timeout", "retry_on_error", "decode_responses", "encoding", "encoding_errors"}
    | {"ssl_validate_ocsp", "ssl_validate_ocsp_stapled", "ssl_ocsp_context", "ssl_ocsp_expected_cert"}
)
"""Arguments of the driver that the store decides about, or that sync connections alone have."""


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def _flag(text: str) -> bool:
    return _FLAGS[text.lower()]


def _seconds(text: str) -> float:
    return check_seconds(text, "it")


def _requirement(text: str) -> str:
    name = text.lower().removeprefix("cert_")
    if name not in {"none", "optional", "required"}:
        raise ValueError(text)
    return name


def _version(text: str) -> ssl.TLSVersion:
    if text.isdigit():
        return ssl.TLSVersion(int(text))
    return ssl.TLSVersion[f"TLSv{text.lower().removeprefix('tlsv').replace('.', '_')}"]


def _protocol(text: str) -> int:
    if text not in {"2", "3"}:
        raise ValueError(text)
    return int(text)


def _name(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


_VERIFY_FLAGS: Any = redis.connection.URL_QUERY_ARGUMENT_PARSERS.get("ssl_include_verify_flags")
_LIMITS: dict[str, Callable[[str], Any]] = {
    "connect_timeout": _seconds,
    "timeout": _seconds,
    "pool_timeout": _seconds,
    "max_size": _whole,
}
_PLAIN: dict[str, Callable[[str], Any]] = {
    "db": _whole,
    "username": str,
    "password": str,
    "client_name": _name,
    "protocol": _protocol,
    "health_check_interval": _whole,
    "socket_keepalive": _flag,
    "socket_read_size": _whole,
}
_TLS: dict[str, Callable[[str], Any]] = {
    "ssl_ca_certs": _name,
    "ssl_ca_path": _name,
    "ssl_ca_data": _name,
    "ssl_cert_reqs": _requirement,
    "ssl_check_hostname": _flag,
    "ssl_certfile": _name,
    "ssl_keyfile": _name,
    "ssl_password": str,
    "ssl_ciphers": _name,
    "ssl_min_version": _version,
    **(
        {}
        if _VERIFY_FLAGS is None
        else dict.fromkeys(("ssl_include_verify_flags", "ssl_exclude_verify_flags"), _VERIFY_FLAGS)
    ),
}


def read_parameters(query: Mapping[str, str], *, tls: bool, sentinels: bool) -> dict[str, Any]:
    """Return the parameters of a URL by name, those of sentinels with ``sentinel_`` before the name.

    Args:
        query: as they stand in the URL.
        tls: whether it is one for TLS.
        sentinels: whether it is one of sentinels.

    Raises:
        ConfigurationError: there is no such parameter, or it cannot have that value.
    """
    own = {**_PLAIN, **_LIMITS, **(_TLS if tls else {})}
    readers = own
    if sentinels:
        of_sentinels = {
            **_PLAIN,
            **(_TLS if tls else {}),
            "socket_timeout": _seconds,
            "socket_connect_timeout": _seconds,
        }
        readers = {**own, **{f"sentinel_{name}": reader for name, reader in of_sentinels.items()}}
    meant = _MEANT if tls else {**_MEANT, **dict.fromkeys(_TLS, "for TLS the URL begins with rediss://")}
    check_parameters("Redis", [name for name in query if name not in {*_SAME, *readers}], own, meant)
    found: dict[str, Any] = {}
    for written, text in query.items():
        name = _SAME.get(written, written)
        try:
            value = readers[name](text)
        except (KeyError, TypeError, ValueError):
            raise ConfigurationError(f"the URL's parameter {written!r} cannot have that value") from None
        if found.get(name, value) != value:
            raise ConfigurationError(f"the URL says twice what {name} is")
        found[name] = value
    return found


def check_arguments(arguments: Mapping[str, Any], *, tls: bool) -> None:
    """Check further arguments of the driver's connections; those that it does not know it refuses itself.

    Raises:
        ConfigurationError: the store decides about that, or sync connections alone have it.
    """
    for name in arguments:
        if name in _OURS:
            raise ConfigurationError(f"client_options cannot have {name!r}: {_MEANT[name]}")
        if name.startswith("ssl_") and not tls:
            raise ConfigurationError(f"client_options have {name!r}, but for TLS the URL begins with rediss://")
