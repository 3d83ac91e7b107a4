r"""The metadata filter language: one on every backend.

A filter is a mapping; its entries are ANDed:

* ``{"lang": "en"}``: the value under the key equals this one.
* ``{"year": {"$gte": 2020, "$lt": 2030}}``: operators, ANDed: ``$eq $ne $gt $gte $lt $lte $in $nin $exists $contains
  $startswith``, and ``$not`` around operators.
* ``{"$and": [filter, ...]}``, ``{"$or": [filter, ...]}``, ``{"$not": filter}``.

Typed: ``"1"`` is not ``1`` and True is not ``1``; numbers compare by value (``1`` equals ``1.0``). ``$gt`` and its kin
compare number with number or text with text (by code point), else they match nothing. ``$contains``: the stored list
holds the value. ``$startswith``: literal, case-sensitive. ``$not``, ``$ne`` and ``$nin`` are exact negations, so a
missing key matches them, and ``$exists: False``, and nothing else.

Keys are any text, taken whole: ``a.b`` is one key, not a path. A key that starts with ``$`` is written with a backslash
before it (``\$where``), and one of backslashes and ``$`` with one more backslash.

[parse][] makes a typed tree and refuses everything else; [matches][] evaluates the tree in memory, and is what every
engine's own translation is tested against. [Compiler][] is the base of such a translation.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from praisonai_persistence.errors import FilterError, SerializationError
from praisonai_persistence.payload import copy, dumps, equal, plain

__all__ = [
    "COMPARISONS",
    "And",
    "Compare",
    "Compiled",
    "Compiler",
    "Filter",
    "Not",
    "ObjectCompiler",
    "Or",
    "SQLCompiler",
    "joined",
    "matches",
    "parse",
]

COMPARISONS = ("$eq", "$in", "$gt", "$gte", "$lt", "$lte", "$exists", "$contains", "$startswith")
"""The operators that a [Compare][] may have; ``$ne`` and ``$nin`` are parsed into [Not][]."""
MAX_DEPTH = 50
"""Deepest nesting of ``$and``, ``$or`` and ``$not``."""


@dataclass(frozen=True, slots=True)
class And:
    """Every part matches; without a part: always."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part matches."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match."""

    part: Filter


@dataclass(frozen=True, slots=True)
class Compare:
    """One operator on one key.

    Attributes:
        operator: one of ``COMPARISONS``.
        key: the metadata key, unescaped.
        value: any JSON value for ``$eq`` and ``$contains``, a list for ``$in``, a number or text for ``$gt`` and its
            kin, a bool for ``$exists``, text for ``$startswith``.
    """

    operator: str
    key: str
    value: Any


Filter = And | Or | Not | Compare

_ESCAPED_KEY = re.compile(r"\\+\$", re.ASCII)


def parse(filters: Mapping[str, Any] | None) -> Filter | None:
    """Return the typed tree of a filter, or None for one that matches everything: None, ``{}``, ``{"$and": [{}]}``.

    Raises:
        FilterError: an unknown operator, or a value of the wrong shape.
    """
    if filters is None:
        return None
    tree = _mapping(filters, 1)
    return None if tree == _ALWAYS else tree


def _mapping(filters: Any, depth: int) -> Filter:
    if not isinstance(filters, Mapping):
        raise FilterError(f"a filter must be a mapping, not {type(filters).__name__}")
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may nest {MAX_DEPTH} levels deep")
    parts: list[Filter] = []
    for name, value in filters.items():
        key = plain(name)
        if not isinstance(key, str):
            raise FilterError(f"a filter's keys must be text, not {type(key).__name__}")
        if key in {"$and", "$or"}:
            if not isinstance(value, (list, tuple)) or not value:
                raise FilterError(f"{key} takes a list of one filter or more")
            branches = [_mapping(item, depth + 1) for item in value]
            parts.append(_all(branches) if key == "$and" else _any(branches))
        elif key == "$not":
            parts.append(Not(_mapping(value, depth + 1)))
        elif key.startswith("$"):
            raise FilterError(f"unknown operator {key!r}; a metadata key that starts with '$' is written '\\$...'")
        else:
            parts.append(_field(key[1:] if _ESCAPED_KEY.match(key) else key, value, depth + 1))
    return _all(parts)


_ALWAYS = And(())


def _all(parts: list[Filter]) -> Filter:
    kept = tuple(part for part in parts if part != _ALWAYS)
    return kept[0] if len(kept) == 1 else And(kept)


def _any(parts: list[Filter]) -> Filter:
    return _ALWAYS if _ALWAYS in parts else Or(tuple(parts))


def _field(key: str, value: Any, depth: int) -> Filter:
    if isinstance(value, Mapping) and value:
        operators = [isinstance(name, str) and str.startswith(name, "$") for name in value]
        if all(operators):
            return _operators(key, value, depth)
        if any(operators):
            raise FilterError(f"the value of {key!r} mixes operators and plain keys")
    return Compare("$eq", key, _json(value, "$eq"))


def _operators(key: str, value: Mapping[str, Any], depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may nest {MAX_DEPTH} levels deep")
    parts = tuple(_operator(key, name, operand, depth) for name, operand in value.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _operator(key: str, name: str, operand: Any, depth: int) -> Filter:
    name, operand = plain(name), plain(operand)
    if name == "$ne":
        return Not(Compare("$eq", key, _json(operand, name)))
    if name == "$nin":
        return Not(Compare("$in", key, _list(operand, name)))
    if name == "$not":
        if (
            not isinstance(operand, Mapping)
            or not operand
            or not all(str(plain(item)).startswith("$") for item in operand)
        ):
            raise FilterError("$not inside a key takes a mapping of operators")
        return Not(_operators(key, operand, depth + 1))
    if name in {"$eq", "$contains"}:
        return Compare(name, key, _json(operand, name))
    if name == "$in":
        return Compare(name, key, _list(operand, name))
    if name in {"$gt", "$gte", "$lt", "$lte"}:
        number = isinstance(operand, (int, float)) and not isinstance(operand, bool)
        if not number and not isinstance(operand, str):
            raise FilterError(f"{name} takes a number or text, not {type(operand).__name__}")
        return Compare(name, key, _json(operand, name))
    if name == "$exists":
        if not isinstance(operand, bool):
            raise FilterError(f"$exists takes True or False, not {type(operand).__name__}")
        return Compare(name, key, operand)
    if name == "$startswith":
        if not isinstance(operand, str):
            raise FilterError(f"$startswith takes text, not {type(operand).__name__}")
        return Compare(name, key, operand)
    raise FilterError(f"unknown operator {name!r}; there are $ne, $nin, $not, {', '.join(COMPARISONS)}")


def _json(value: Any, name: str) -> Any:
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"{name} takes a finite number")
    try:
        dumps(value, f"the value of {name}")
    except SerializationError as error:
        raise FilterError(str(error)) from None
    return copy(value)


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise FilterError(f"{name} takes a list, not {type(value).__name__}")
    return [_json(item, name) for item in value]


_MISSING = object()


def matches(tree: Filter | None, metadata: Mapping[str, Any] | None) -> bool:
    """Whether a document's metadata (None counts as empty) match the tree of [parse][]."""
    if tree is None:
        return True
    return _matches(tree, metadata or {})


def _matches(tree: Filter, metadata: Mapping[str, Any]) -> bool:
    if isinstance(tree, And):
        return all(_matches(part, metadata) for part in tree.parts)
    if isinstance(tree, Or):
        return any(_matches(part, metadata) for part in tree.parts)
    if isinstance(tree, Not):
        return not _matches(tree.part, metadata)
    return _compare(tree.operator, metadata.get(tree.key, _MISSING), tree.value)


def _compare(operator: str, stored: Any, value: Any) -> bool:
    if operator == "$exists":
        return (stored is not _MISSING) is value
    if stored is _MISSING:
        return False
    if operator == "$eq":
        return equal(stored, value)
    if operator == "$in":
        return any(equal(stored, item) for item in value)
    if operator == "$contains":
        return isinstance(stored, list) and any(equal(item, value) for item in stored)
    if operator == "$startswith":
        return isinstance(stored, str) and stored.startswith(value)
    return _ordered(operator, stored, value)


def _ordered(operator: str, stored: Any, value: Any) -> bool:
    if isinstance(value, str):
        if not isinstance(stored, str):
            return False
    elif not isinstance(stored, (int, float)) or isinstance(stored, bool):
        return False
    if operator == "$gt":
        return bool(stored > value)
    if operator == "$gte":
        return bool(stored >= value)
    if operator == "$lt":
        return bool(stored < value)
    return bool(stored <= value)


# ------------------------------------------------------------------------------------------------------- translation

E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Compiled(Generic[E]):
    """A filter in an engine's language.

    Attributes:
        expression: what the engine is to select by; None selects everything.
        exact: whether it selects just what the filter does. Otherwise it selects more, never less, and what the engine
            finds has to go through [matches][].
    """

    expression: E | None
    exact: bool = True


class Compiler(ABC, Generic[E]):
    """Translates trees to an engine's language, whose expressions are of the type ``E``.

    An engine's language says which of the comparisons it can express, and how: exactly, by an expression that selects
    more, or not at all. What cannot be said exactly stays correct, because the result says so and the store checks what
    the engine found: a filter is never widened. Negations are moved to the leaves first, because the negation of an
    expression that selects more would select less.
    """

    most_parts: ClassVar[float] = math.inf
    """How many parts an expression may have; what is wider selects more, and is checked on what was found."""
    most_levels: ClassVar[float] = math.inf
    """How many conjunctions and disjunctions may stand in each other; what is deeper is checked on what was found."""

    def compile(self, tree: Filter | None) -> Compiled[E]:
        """Return the translation of a tree of [parse][].

        Raises:
            FilterError: this engine's language refuses an operator.
        """
        return Compiled(None) if tree is None else self._compile(tree, negated=False)

    @abstractmethod
    def compare(self, part: Compare) -> Compiled[E]:
        """Translate one comparison; ``Compiled(None, exact=False)`` where nothing can be said."""

    def refute(self, part: Compare) -> Compiled[E]:
        """Translate the negation of one comparison, which a missing key fulfils too unless it asks for existence."""
        found = self.compare(part)
        if not found.exact:
            return Compiled(None, exact=False)
        return Compiled(self.nothing() if found.expression is None else self.negate(found.expression))

    @abstractmethod
    def all_of(self, parts: Sequence[E]) -> E:
        """Return the conjunction of two parts or more."""

    @abstractmethod
    def any_of(self, parts: Sequence[E]) -> E:
        """Return the disjunction of two parts or more."""

    @abstractmethod
    def negate(self, part: E) -> E:
        """Return the exact negation: it selects every document that ``part`` does not."""

    @abstractmethod
    def nothing(self) -> E:
        """Return what selects no document."""

    def _compile(self, tree: Filter, *, negated: bool, level: int = 0) -> Compiled[E]:
        if isinstance(tree, Not):
            return self._compile(tree.part, negated=not negated, level=level)
        if isinstance(tree, Compare):
            return self.refute(tree) if negated else self.compare(tree)
        level += len(tree.parts) > 1
        if level > self.most_levels:
            return Compiled(None, exact=False)
        parts = [self._compile(part, negated=negated, level=level) for part in tree.parts]
        if isinstance(tree, And) is not negated:
            return self._all_of(parts)
        return self._any_of(parts)

    def _all_of(self, parts: Sequence[Compiled[E]]) -> Compiled[E]:
        said = [part.expression for part in parts if part.expression is not None]
        exact = all(part.exact for part in parts) and len(said) <= self.most_parts
        if not exact:
            said = [part for number, part in enumerate(said) if number < self.most_parts]
        if len(said) < 2:
            return Compiled(said[0] if said else None, exact)
        return Compiled(self.all_of(said), exact)

    def _any_of(self, parts: Sequence[Compiled[E]]) -> Compiled[E]:
        if not parts:
            return Compiled(self.nothing())
        everything = [part for part in parts if part.expression is None]
        if everything:
            return Compiled(None, any(part.exact for part in everything))
        said = [part.expression for part in parts if part.expression is not None]
        if len(said) > self.most_parts:
            return Compiled(None, exact=False)
        exact = all(part.exact for part in parts)
        return Compiled(said[0] if len(said) == 1 else self.any_of(said), exact)


def joined(parts: Sequence[E], join: Callable[[Sequence[E]], E], most: int = 16) -> E:
    """Return parts of any number, one or more, joined to one, so many at a time.

    Engines nest the parts of a long row one in the other, and some hundred are too deep for them.
    """
    while len(parts) > 1:
        groups = [parts[start : start + most] for start in range(0, len(parts), most)]
        parts = [join(group) if len(group) > 1 else group[0] for group in groups]
    return parts[0]


class ObjectCompiler(Compiler[dict[str, Any]]):
    """For engines whose filters are objects with ``$and`` and ``$or``, as MongoDB's are."""

    def all_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See [Compiler.all_of][]."""
        return joined(parts, lambda some: {"$and": list(some)})

    def any_of(self, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """See [Compiler.any_of][]."""
        return joined(parts, lambda some: {"$or": list(some)})


class SQLCompiler(Compiler[str]):
    """For engines whose filters are SQL conditions, none of which is ever NULL."""

    def all_of(self, parts: Sequence[str]) -> str:
        """See [Compiler.all_of][]."""
        return joined(parts, lambda some: f"({' AND '.join(some)})")

    def any_of(self, parts: Sequence[str]) -> str:
        """See [Compiler.any_of][]."""
        return joined(parts, lambda some: f"({' OR '.join(some)})")

    def negate(self, part: str) -> str:
        """See [Compiler.negate][]."""
        return f"NOT ({part})"

    def nothing(self) -> str:
        """See [Compiler.nothing][]."""
        return "FALSE"
