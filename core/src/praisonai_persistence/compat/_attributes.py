"""The public attributes of PraisonAI's stores, on the stores in their places.

There they are what the constructor was given, or its defaults. Here the same can be read; to set one is an error,
because a store that is made does not change.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from praisonai_persistence._praisonai import ATTRIBUTES, Backend
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["attributes", "keep"]

_KEPT = "_as_praisonai"
_VERSION = "1.0.0"
"""Of the tables, in all of PraisonAI's stores."""


class _Kept:
    """The arguments of a store, by their names there. Not shown: there may be a password."""

    __slots__ = ("values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values


def keep(store: Any, row: Backend, given: Mapping[str, Any]) -> None:
    """Keep what the attributes of a new store return.

    Args:
        store: the store.
        row: its backend.
        given: the arguments of its constructor, by name, without those that are None.
    """
    values = {**row.parameters, **given}
    if "path" in row.parameters and "url" not in row.parameters:
        values["path"] = _path(values["path"] if "path" in given else given.get("url", values["path"]))
        if row.name == "json":
            values["path"] = Path(values["path"])
    values["kwargs"] = {name: value for name, value in given.items() if name not in row.parameters}
    prefix = values.get("table_prefix")
    schema = f"{values['schema']}." if "schema" in row.parameters else ""
    values.update({f"{name}_table": f"{schema}{prefix}{name}" for name in ("sessions", "messages")})
    vars(store)[_KEPT] = _Kept(values)


def _path(value: Any) -> Any:
    """Return the file of a URL; anything else as it is."""
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        path = parse_url(value).path
    except ConfigurationError:
        return value
    return path.removeprefix("/") or None


def attributes(row: Backend, base: Any) -> dict[str, Any]:
    """Return the attributes for a class over ``base``: what that has itself is left as it is there."""
    pairs = (item.partition("=") for item in ATTRIBUTES.get(row.store, "").split())
    named = {name: parameter or name for name, _, parameter in pairs if not hasattr(base, name)}
    return {
        name: _VERSION if name == "SCHEMA_VERSION" else property(_reader(parameter), doc=f"The {parameter} given.")
        for name, parameter in named.items()
    }


def _reader(parameter: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        kept: _Kept | None = vars(self).get(_KEPT)
        return None if kept is None else kept.values.get(parameter)

    return read
