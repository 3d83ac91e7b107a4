"""To Upstash Vector's filters, and to what is checked here because those cannot say it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.stores.fields import FieldCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Chosen", "FilterCompiler"]


class Chosen(NamedTuple):
    """What selects records.

    Attributes:
        test: whether it selects the record of a metadata.
        text: a filter of Upstash's that selects these records at least; empty: any.
        exact: whether the filter selects no others.
        keys: of all documents that can be selected; None: any.
        claims: whether it selects claims, not documents.
    """

    test: Callable[[Mapping[str, Any]], bool]
    text: str = ""
    exact: bool = False
    keys: Sequence[str] | None = None
    claims: bool = False


class FilterCompiler(FieldCompiler[Chosen]):
    """To Upstash Vector's filters. Those of absent fields are not documented, so these are checked here."""

    most_parts = 500
    most_values = 1_000

    def one_of(self, name: str, tokens: Sequence[str]) -> Chosen:
        wanted = frozenset(tokens)
        quoted = ", ".join(f"'{token}'" for token in tokens)
        text = f"{name} = {quoted}" if len(tokens) == 1 else f"{name} IN ({quoted})"
        keys = tokens if name == "key" else None
        return Chosen(lambda found: found.get(name) in wanted, text, True, keys, name == "claim")

    def none_of(self, name: str, tokens: Sequence[str]) -> Chosen:
        refused = frozenset(tokens)
        return Chosen(lambda found: found.get(name) not in refused)

    def holds(self, name: str, items: Sequence[str]) -> Chosen:
        wanted = frozenset(items)
        text = " OR ".join(f"{name} CONTAINS '{item}'" for item in items)
        test = lambda found: not wanted.isdisjoint(found.get(name, ()))  # noqa: E731
        return Chosen(test, f"({text})", True, None, name == "claims")

    def exists(self, name: str, *, wanted: bool) -> Chosen:
        if name == "key":  # every document has one
            return Chosen(lambda _: wanted, exact=wanted)
        text = f"{name} GLOB '*'" if wanted else ""  # the values of such fields are texts
        return Chosen(lambda found: (name in found) is wanted, text, wanted)

    def bound(self, name: str, number: float, *, upper: bool) -> Chosen:
        written = repr(number)
        text = "" if "e" in written else f"{name} {'<=' if upper else '>='} {written}"  # exponents are not documented
        if upper:
            return Chosen(lambda found: name in found and found[name] <= number, text, bool(text))
        return Chosen(lambda found: name in found and found[name] >= number, text, bool(text))

    def all_of(self, parts: Sequence[Chosen]) -> Chosen:
        texts = [part.text for part in parts if part.text]
        keys = next((part.keys for part in parts if part.keys is not None), None)
        tests = [part.test for part in parts]
        return Chosen(
            lambda found: all(test(found) for test in tests),
            f"({' AND '.join(texts)})" if len(texts) > 1 else "".join(texts),
            all(part.exact for part in parts),
            keys,
        )

    def any_of(self, parts: Sequence[Chosen]) -> Chosen:
        tests = [part.test for part in parts]
        text = f"({' OR '.join(part.text for part in parts)})" if all(part.text for part in parts) else ""
        exact = bool(text) and all(part.exact for part in parts)
        return Chosen(lambda found: any(test(found) for test in tests), text, exact)

    def nothing(self) -> Chosen:
        return Chosen(lambda _: False, "key = 'none'", True, ())
