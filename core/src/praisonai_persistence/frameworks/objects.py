"""Objects of frameworks as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["class_named", "has"]


def class_named(base: type[Any], name: Any, name_of: Callable[[type[Any]], str]) -> type[Any] | None:
    """Return the class derived from ``base`` that has a name, or None.

    Only classes that somebody has imported are found: nothing is imported for a name that stands in a database.

    Args:
        base: the framework's class.
        name: as it was stored, whatever it is.
        name_of: returns the name under which a class is stored.
    """
    return next((cls for cls in _below(base) if name_of(cls) == name), None)


def _below(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        yield cls
        yield from _below(cls)


def has(made: Any, stored: Any) -> bool:
    """Whether JSON has everything that other JSON has; it may have more, such as fields with their defaults.

    So an adapter learns whether the installed release of a framework knows all fields of what another one has stored.
    """
    if isinstance(stored, dict):
        return isinstance(made, dict) and all(key in made and has(made[key], stored[key]) for key in stored)
    if isinstance(stored, list):
        return isinstance(made, list) and len(made) == len(stored) and all(map(has, made, stored))
    return bool(made == stored)
