"""Records of ``praisonaiagents.session`` that are this project's for whoever imports them, and its own for itself.

What session stores return is of this project's classes, so the names by which programs ask ``isinstance`` have to be
these. PraisonAI's own code in the same module goes on with its own ones: it finds them in the module's ``__dict__``.
"""

from __future__ import annotations

import dataclasses
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from praisonai_persistence import sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["inside", "show"]

_inside = threading.local()


@contextmanager
def inside() -> Iterator[None]:
    """Let everybody see PraisonAI's own records: its modules that derive from them are being loaded."""
    before = getattr(_inside, "loading", False)
    _inside.loading = True
    try:
        yield
    finally:
        _inside.loading = before


class _Shown:
    """A name of a module: this project's class, unless the program itself has put something else there."""

    def __init__(self, name: str, theirs: Any, ours: Any) -> None:
        self._name, self._theirs, self._ours = name, theirs, ours

    def __get__(self, module: Any, owner: Any = None) -> Any:
        if module is None:
            return self
        try:
            found = vars(module)[self._name]
        except KeyError:
            raise AttributeError(f"module {module.__name__!r} has no attribute {self._name!r}") from None
        return self._ours if found is self._theirs and not getattr(_inside, "loading", False) else found

    def __set__(self, module: Any, value: Any) -> None:
        vars(module)[self._name] = value

    def __delete__(self, module: Any) -> None:
        vars(module).pop(self._name, None)


def show(module: ModuleType, names: Iterable[str]) -> None:
    """Let importers of a module find this project's records; one that lacks a field of PraisonAI's is left out."""
    if type(module) is not ModuleType:  # it was done, or somebody else has a class for it
        return
    shown = {}
    for name in names:
        theirs, ours = vars(module).get(name), getattr(sessions, name)
        if theirs is not None and theirs is not ours and _fields(theirs) <= _fields(ours):
            shown[name] = _Shown(name, theirs, ours)
    if shown:
        module.__class__ = type("ShownModule", (ModuleType,), shown)


def _fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
