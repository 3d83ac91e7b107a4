"""Where a store's data are: in memory, in a folder, or on a server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.urls import mask, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Location", "locate"]

_PORT = 8000
_SCHEMES = ("chroma", "async_chroma", "chromadb")
_PARAMETERS = ("database", "ssl", "tenant")


class Location(NamedTuple):
    """What a client is made of.

    Attributes:
        path: the folder, absolute; None: in memory, or on a server.
        host: the server's; None: embedded.
        port: the server's.
        ssl: whether the server is spoken to by HTTPS.
        headers: sent with every request; they may hold a secret.
        tenant: Chroma's tenant.
        database: its database.
    """

    path: str | None = None
    host: str | None = None
    port: int = _PORT
    ssl: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    tenant: str = "default_tenant"
    database: str = "default_database"

    @property
    def name(self) -> str:
        """What errors call it; holds no secret."""
        if self.host is not None:
            return f"the Chroma server at {self.host}:{self.port}"
        return "Chroma in memory" if self.path is None else f"Chroma in {self.path}"


def locate(
    url: str | None,
    path: str | os.PathLike[str] | None,
    host: str | None,
    headers: Mapping[str, str] | None,
    **options: Any,
) -> Location:
    """Check what a store was given; touches nothing.

    Args:
        url: see the stores.
        path: a folder, or ``:memory:``.
        host: a server's.
        headers: for the server.
        options: ``port``, ``ssl``, ``tenant``, ``database``; None: not given.

    Raises:
        ConfigurationError: not exactly one of url, path and host, or an option that cannot be.
    """
    if sum(given is not None for given in (url, path, host)) != 1:
        raise ConfigurationError("give one of url='chroma://host:8000' (or 'chroma:///folder'), path and host")
    found = {name: value for name, value in options.items() if value is not None}
    if url is not None:
        path, host, parameters = _parse(url)
        found = {**parameters, **found}
    unused = [name for name in ("port", "ssl") if name in found] + (["headers"] if headers else [])
    if host is None and unused:
        raise ConfigurationError(f"{', '.join(unused)}: options of a server, but there is no host")
    for name, value in (("host", host), ("tenant", found.get("tenant")), ("database", found.get("database"))):
        if value is not None and not (isinstance(value, str) and value):
            raise ConfigurationError(f"{name} must be text, not empty")
    port = found.get("port", _PORT)
    if type(port) is not int or not 0 < port < 65536:
        raise ConfigurationError("port must be a number from 1 to 65535")
    if not isinstance(found.get("ssl", False), bool):
        raise ConfigurationError("ssl must be True or False")
    pairs = tuple(sorted((headers or {}).items()))
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise ConfigurationError("headers must be a mapping of text to text")
    return Location(None if path is None else _folder(path), host, headers=pairs, **found)


def _parse(url: str) -> tuple[str | None, str | None, dict[str, Any]]:
    parsed = parse_url(url)
    if parsed.scheme not in _SCHEMES:
        raise ConfigurationError(f"{mask(url)!r} has the scheme {parsed.scheme!r}, not chroma")
    if parsed.username is not None:
        raise ConfigurationError(f"{mask(url)!r} names a user; Chroma takes its token as a header: headers={{...}}")
    parameters: dict[str, Any] = dict(parsed.query)
    if unknown := sorted(set(parameters) - set(_PARAMETERS)):
        raise ConfigurationError(f"a chroma URL takes {', '.join(_PARAMETERS)}, not {', '.join(unknown)}")
    if "ssl" in parameters:
        spelled = {"true": True, "1": True, "false": False, "0": False}
        if parameters["ssl"].lower() not in spelled:
            raise ConfigurationError("ssl in the URL must be true or false")
        parameters["ssl"] = spelled[parameters["ssl"].lower()]
    if parsed.host is None:
        return parsed.path[1:] or ":memory:", None, parameters
    if parsed.path not in {"", "/"}:
        raise ConfigurationError(f"{mask(url)!r} has a path behind the server; a folder is chroma:///folder")
    if parsed.port is not None:
        parameters["port"] = parsed.port
    return None, parsed.host, parameters


def _folder(path: Any) -> str | None:
    place = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(place, str) or not place or "\0" in place:
        raise ConfigurationError("path must be a folder's path as text, not empty, without NUL")
    return None if place == ":memory:" else os.path.abspath(place)
