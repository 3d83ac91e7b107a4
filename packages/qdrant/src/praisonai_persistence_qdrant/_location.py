"""Where a store's data are: on a server, or in the client's local mode."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.urls import mask, parse_url

__all__ = ["Location", "locate"]

_SCHEMES = ("qdrant", "async_qdrant")
_SPELLED = {"true": True, "1": True, "false": False, "0": False}


class Location(NamedTuple):
    """What a client is made of.

    Attributes:
        path: the folder of the local mode, absolute; ``:memory:``; None: a server.
        host: the server's.
        port: of its REST interface.
        grpc_port: of its gRPC interface.
        prefer_grpc: whether to use gRPC where the client can.
        https: whether the server is spoken to by TLS.
        api_key: a secret.
    """

    path: str | None = None
    host: str | None = None
    port: int = 6333
    grpc_port: int = 6334
    prefer_grpc: bool = False
    https: bool = False
    api_key: str | None = None

    @property
    def name(self) -> str:
        """What errors call it; holds no secret."""
        if self.path is None:
            return f"the Qdrant server at {self.host}:{self.port}"
        return "Qdrant's local mode" + ("" if self.path == ":memory:" else f" in {self.path}")

    def __repr__(self) -> str:
        return f"Location({self.name})"


def locate(url: str | None, path: str | os.PathLike[str] | None, host: str | None, **options: Any) -> Location:
    """Check what a store was given; touches nothing.

    Args:
        url: see the stores.
        path: a folder of the local mode, or ``:memory:``.
        host: a server's.
        options: the other fields of [Location][]; None: not given.

    Raises:
        ConfigurationError: not exactly one of url, path and host, or an option that cannot be.
    """
    if sum(given is not None for given in (url, path, host)) != 1:
        raise ConfigurationError("give one of url='qdrant://host:6333' (or 'qdrant:///folder'), path and host")
    found = {name: value for name, value in options.items() if value is not None}
    if url is not None:
        path, host, parameters = _parse(url)
        found = {**parameters, **found}
    if host is None:
        if found:
            raise ConfigurationError(f"{', '.join(sorted(found))}: options of a server, but there is no host")
        return Location(_folder(path))
    for name, value in (("host", host), ("api_key", found.get("api_key"))):
        if value is not None and not (isinstance(value, str) and value):
            raise ConfigurationError(f"{name} must be text, not empty")
    for name in ("port", "grpc_port"):
        if name in found and (type(found[name]) is not int or not 0 < found[name] < 65536):
            raise ConfigurationError(f"{name} must be a number from 1 to 65535")
    for name in ("https", "prefer_grpc"):
        if type(found.get(name, False)) is not bool:
            raise ConfigurationError(f"{name} must be True or False")
    return Location(host=host, **found)


def _parse(url: str) -> tuple[str | None, str | None, dict[str, Any]]:
    parsed = parse_url(url)
    if parsed.scheme not in _SCHEMES:
        raise ConfigurationError(f"{mask(url)!r} has the scheme {parsed.scheme!r}, not qdrant")
    if unknown := sorted(set(parsed.query) - {"grpc_port", "https", "prefer_grpc"}):
        raise ConfigurationError(f"a qdrant URL takes grpc_port, https and prefer_grpc, not {', '.join(unknown)}")
    parameters: dict[str, Any] = {}
    for name, value in parsed.query.items():
        if name == "grpc_port":
            parameters[name] = int(value) if value.isdecimal() else 0
        elif value.lower() in _SPELLED:
            parameters[name] = _SPELLED[value.lower()]
        else:
            raise ConfigurationError(f"{name} in the URL must be true or false")
    if parsed.host is None:
        if parsed.username is not None or parsed.port is not None:
            raise ConfigurationError(f"{mask(url)!r} has no host")
        return parsed.path[1:] or ":memory:", None, parameters
    if parsed.username:
        raise ConfigurationError(f"{mask(url)!r} names a user; an API key is written qdrant://:key@host")
    if parsed.path not in {"", "/"}:
        raise ConfigurationError(f"{mask(url)!r} has a path behind the server; a folder is qdrant:///folder")
    if parsed.port is not None:
        parameters["port"] = parsed.port
    if parsed.password is not None:
        parameters["api_key"] = parsed.password
    return None, parsed.host, parameters


def _folder(path: Any) -> str:
    place = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(place, str) or not place or "\0" in place:
        raise ConfigurationError("path must be a folder's path as text, not empty, without NUL")
    return place if place == ":memory:" else os.path.abspath(place)
