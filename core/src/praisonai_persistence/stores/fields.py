"""Metadata as typed fields, for engines whose filters compare the fields of a document with values.

Beside the metadata as text stand copies of them, a field for each key and type: ``v...`` holds the token of the value,
``i...`` those of a list's items, ``n...`` a number as the nearest double. What follows the first letter is the
[field][praisonai_persistence.stores.projection.field] of the key. See ``projection`` for why tokens.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.filters import Compiled, Compiler
from praisonai_persistence.payload import loads
from praisonai_persistence.stores.projection import field, nearest_double, project, token

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.filters import Compare

__all__ = ["FieldCompiler", "copies"]

E = TypeVar("E")


def copies(metadata: str | None) -> dict[str, str | float | list[str]]:
    """Return the copies of metadata, which are JSON text, by the names of their fields; no list is empty."""
    if metadata is None:
        return {}
    found: dict[str, Any] = loads(metadata)
    projection = project(metadata)
    made: dict[str, str | float | list[str]] = {
        f"v{field(key)}": value for key, value in zip(found, projection.values, strict=True)
    }
    made.update({f"n{name}": number for name, number in projection.numbers.items()})
    for key, value in found.items():
        if isinstance(value, list) and value:
            made[f"i{field(key)}"] = list(dict.fromkeys(token(key, item, item=True) for item in value))
    return made


class FieldCompiler(Compiler[E]):
    """Translates filters for engines that hold the [copies][] of metadata.

    A negation needs no more of an engine than to say of a field that it is not there, or that its value is none of
    some: what engines make of lists there, and of missing fields, is not always documented.
    """

    most_values: float = math.inf
    """How many values ``one_of`` takes."""

    @abstractmethod
    def one_of(self, name: str, tokens: Sequence[str]) -> E:
        """Return what selects the documents whose field holds one of the tokens, which are one or more."""

    @abstractmethod
    def none_of(self, name: str, tokens: Sequence[str]) -> E:
        """Return what selects the documents that lack the field, or where it holds none of the tokens."""

    @abstractmethod
    def holds(self, name: str, items: Sequence[str]) -> E:
        """Return what selects the documents whose field is a list with one of the tokens, which are one or more."""

    @abstractmethod
    def exists(self, name: str, *, wanted: bool) -> E:
        """Return what selects the documents that have the field, or that lack it."""

    @abstractmethod
    def bound(self, name: str, number: float, *, upper: bool) -> E:
        """Return what selects the documents whose field holds a number ``>= number``, or ``<=`` (upper)."""

    def negate(self, part: E) -> E:
        """Not called, see ``refute``."""
        raise NotImplementedError

    def compare(self, part: Compare) -> Compiled[E]:
        """See [Compiler.compare][]."""
        key, value, operator, name = part.key, part.value, part.operator, field(part.key)
        if operator in {"$eq", "$in"}:
            tokens = _tokens(part)
            if not tokens:
                return Compiled(self.nothing())
            if len(tokens) > self.most_values:
                return Compiled(self.exists(f"v{name}", wanted=True), exact=False)
            return Compiled(self.one_of(f"v{name}", tokens))
        if operator == "$contains":
            return Compiled(self.holds(f"i{name}", [token(key, value, item=True)]))
        if operator == "$exists":
            return Compiled(self.exists(f"v{name}", wanted=value))
        if isinstance(value, str):
            return Compiled(self.exists(f"v{name}", wanted=True), exact=False)
        # The next double: an engine may have read the stored one from JSON, and missed it by one.
        upper = operator in {"$lt", "$lte"}
        number = math.nextafter(nearest_double(value), math.inf if upper else -math.inf)
        return Compiled(self.bound(f"n{name}", number, upper=upper), exact=False)

    def refute(self, part: Compare) -> Compiled[E]:
        """See [Compiler.refute][]."""
        name = f"v{field(part.key)}"
        if part.operator == "$exists":
            return Compiled(self.exists(name, wanted=not part.value))
        if part.operator not in {"$eq", "$in"}:
            return Compiled(None, exact=False)
        tokens = _tokens(part)
        if len(tokens) > self.most_values:
            return Compiled(None, exact=False)
        return Compiled(self.none_of(name, tokens) if tokens else None)


def _tokens(part: Compare) -> list[str]:
    values = part.value if part.operator == "$in" else [part.value]
    return list(dict.fromkeys(token(part.key, value) for value in values))
