"""Compares what was found with what was expected, and says in a few lines how they differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

__all__ = ["Comparison", "call", "differences", "explain", "identical", "model_call", "name_of", "shorten"]

LENGTH = 200
"""Characters that one value may take in a message."""
SHORT = 80
"""The same of a value among others."""
SHOWN = 5
"""Items of a list, or fields of an object, that a message shows."""


class Comparison:
    """The answer of [identical][]: true or false, and as text the differences.

    ``assert identical(found, expected)`` prints them, because pytest shows what was false.
    """

    __slots__ = ("_expected", "_found", "_same")

    def __init__(self, found: Any, expected: Any) -> None:
        self._found = found
        self._expected = expected
        self._same = _same(found, expected)

    def __bool__(self) -> bool:
        return self._same

    def __repr__(self) -> str:
        if self._same:
            return "the same"
        # pytest cuts it after 240 characters, in the middle.
        first, *rest = differences(self._found, self._expected, length=SHORT)
        return f"different: {first}" + (f"; and {len(rest)} more differences" if rest else "")


def model_call(model: Any, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the reference returned or raised."""
    try:
        return "returned", getattr(model, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


async def call(store: Any, name: str, *arguments: Any) -> tuple[str, Any]:
    """Return what the store returned or raised."""
    try:
        return "returned", await getattr(store, name)(*arguments)
    except PersistenceError as error:
        return "raised", type(error)


def identical(found: Any, expected: Any) -> Comparison:
    """Whether two JSON values are the same in every respect but the order of keys.

    Stricter than ``==``: 1, 1.0 and True differ, and so do 0.0 and -0.0.
    """
    return Comparison(found, expected)


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(item, b[key]) for key, item in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)


# ------------------------------------------------------------------------------------------------------------- values


def name_of(value: Any) -> str | None:
    """Return the name that the hostile corpus has for a value, or None."""
    from praisonai_persistence.testing import corpus

    if isinstance(value, str):
        return corpus.TEXT_NAMES.get(value)
    return next((name for name, entry in corpus.JSON_NAMES.items() if _same(entry, value)), None)


def shorten(value: Any, length: int = LENGTH) -> str:
    """Return ``value`` in ASCII for a message, with its name in the corpus, cut to a readable length."""
    try:
        text = ascii(value)
        named = isinstance(value, str) or len(text) > 20
        name = name_of(value) if named else None
    except Exception as error:  # a value may be nested deeper than Python goes
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
    prefix = f"<{name}> " if name else ""
    # Who knows the name needs no more than a glimpse.
    room = max((100 if name else length) - len(prefix) - 24, 24)
    if len(text) > room:
        text = f"{text[: room // 2]} ... {text[-room // 2 :]} ({len(text):,} characters)"
    return prefix + text


# -------------------------------------------------------------------------------------------------------- differences


def differences(found: Any, expected: Any, where: str = "", length: int = LENGTH) -> Iterator[str]:
    """Yield the differences of two JSON values, one in a text, with the place; ``length`` is that of each value."""
    if isinstance(found, dict) and isinstance(expected, dict):
        yield from _of_objects(found, expected, where, length)
    elif isinstance(found, list) and isinstance(expected, list):
        if len(found) == len(expected):
            for number, (one, other) in enumerate(zip(found, expected, strict=True)):
                yield from differences(one, other, f"{where}[{number}]", length)
        elif not _same(found, expected):
            yield from (f"{where}: {line}" if where else line for line in _of_lists(found, expected))
    elif not _same(found, expected):
        place = f"{where}: " if where else ""
        both = f"expected {shorten(expected, length)}, found {shorten(found, length)}"
        yield f"{place}{both}{_first_difference(found, expected)}"


def _of_objects(found: dict[Any, Any], expected: dict[Any, Any], where: str, length: int) -> Iterator[str]:
    place = f" in {where}" if where else ""
    if missing := [key for key in expected if key not in found]:
        yield f"missing{place}: {_items(missing)}"
    if extra := [key for key in found if key not in expected]:
        yield f"not expected{place}: {_items(extra)}"
    for key in expected:
        if key in found:
            yield from differences(found[key], expected[key], f"{where}.{key}" if where else _field(key), length)


def _field(key: Any) -> str:
    """Return a key of an object for the place of a difference."""
    return key if isinstance(key, str) and key.isidentifier() else shorten(key, 60)


def _of_lists(found: Any, expected: Any) -> Iterator[str]:
    found, expected = list(found), list(expected)
    have, want = Counter(map(_key, found)), Counter(map(_key, expected))
    missing = _left(expected, have)
    surplus = _left(found, want)
    extra = [item for item in surplus if _key(item) not in want]
    doubled = [item for item in surplus if _key(item) in want]
    yield f"{len(expected)} items expected, {len(found)} found"
    if missing:
        yield f"missing: {_items(missing)}"
    if extra:
        yield f"not expected: {_items(extra)}"
    if doubled:
        yield f"found more often than expected: {_items(list({_key(item): item for item in doubled}.values()))}"
    if not surplus and not missing:
        pairs = zip(map(_key, found), map(_key, expected), strict=True)
        number = next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
        yield (
            f"the same items in another order: at position {number} expected {shorten(expected[number])}, "
            f"found {shorten(found[number])}"
        )


def _left(items: Iterable[Any], others: Counter[Hashable]) -> list[Any]:
    """Return what is left of ``items`` when those of ``others`` are taken away, each as often as it is there."""
    rest = Counter(others)
    left = []
    for item in items:
        key = _key(item)
        if rest[key] > 0:
            rest[key] -= 1
        else:
            left.append(item)
    return left


def _key(item: Any) -> Hashable:
    if isinstance(item, dict):
        return ("dict", frozenset((key, _key(value)) for key, value in item.items()))
    if isinstance(item, list):
        return ("list", tuple(map(_key, item)))
    if isinstance(item, (bool, int, float)):
        # What == takes for equal is equal here: this explains an == that failed.
        return ("number", item)
    return (type(item).__name__, ascii(item))


def _items(items: list[Any]) -> str:
    return ", ".join([*(shorten(item, 80) for item in items[:SHOWN]), *_more(len(items))])


def _more(length: int) -> list[str]:
    return [f"and {length - SHOWN} more"] if length > SHOWN else []


def _few(lines: Iterable[str]) -> list[str]:
    kept = list(lines)
    return [*kept[:SHOWN], *_more(len(kept))]


def _first_difference(found: Any, expected: Any) -> str:
    if not (isinstance(found, str) and isinstance(expected, str) and max(len(found), len(expected)) > 20):
        return ""
    number = next((n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]), None)
    if number is None:
        return f" (cut, or continued, after {min(len(found), len(expected)):,} characters)"
    return f" (they differ from character {number:,} on)"


# --------------------------------------------------------------------------------------------------------- assertions


def explain(operator: str, found: Any, expected: Any) -> list[str] | None:
    """Return what pytest prints of a failed comparison, the summary first; None leaves it to pytest."""
    if operator == "==" and isinstance(found, (list, tuple)) and isinstance(expected, (list, tuple)):
        first, *rest = _of_lists(found, expected)
        return [f"found == expected: {first}", *rest]
    if operator == "==" and isinstance(found, Set) and isinstance(expected, Set):
        first, *rest = _of_lists(sorted(found, key=ascii), sorted(expected, key=ascii))
        return [f"found == expected: {first}", *rest]
    if hasattr(found, "to_dict") and hasattr(expected, "to_dict"):
        found, expected = found.to_dict(), expected.to_dict()
    if operator == "==" and isinstance(found, dict) and isinstance(expected, dict):
        return ["found == expected", *_few(differences(found, expected))]
    if operator in {"==", "is"} and isinstance(found, str) and isinstance(expected, str):
        return ["found == expected", *differences(found, expected)]
    if operator in {"==", "is"} and isinstance(expected, (bool, int, float, type(None))):
        return [f"found {shorten(found)}, expected {shorten(expected)}"]
    if len(ascii(found)) + len(ascii(expected)) > 2 * LENGTH:
        return [f"{shorten(found)} {operator} {shorten(expected)}"]
    return None
