"""Translation of filters to an engine's language: never widened without saying so, never narrowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from praisonai_persistence.filters import COMPARISONS, And, Compare, Compiled, Compiler, Not, Or, matches, parse
from praisonai_persistence.testing._filter_cases import FILTERS, POOL

Documents = frozenset[int]
EVERYTHING = frozenset(range(len(POOL)))
MODES = ("exact", "more", "nothing said", "everything said")


def selection(select: Callable[[Mapping[str, Any]], bool]) -> Documents:
    """The numbers of the pool's documents that are selected."""
    return frozenset(number for number, metadata in enumerate(POOL) if select(metadata or {}))


class Sets(Compiler[Documents]):
    """A language whose expressions are the documents that they select, so that they can be compared."""

    def __init__(self, modes: Mapping[str, str]) -> None:
        self.modes = modes

    def compare(self, part: Compare) -> Compiled[Documents]:
        found = selection(lambda metadata: matches(part, metadata))
        mode = self.modes[part.operator]
        if mode == "exact":
            return Compiled(found)
        if mode == "more":
            return Compiled(found | selection(lambda metadata: part.key in metadata), exact=False)
        if mode == "everything said" and found == EVERYTHING:
            return Compiled(None)
        return Compiled(None, exact=False)

    def all_of(self, parts: Sequence[Documents]) -> Documents:
        assert len(parts) >= 2
        return frozenset.intersection(*parts)

    def any_of(self, parts: Sequence[Documents]) -> Documents:
        assert len(parts) >= 2
        return frozenset.union(*parts)

    def negate(self, part: Documents) -> Documents:
        return EVERYTHING - part

    def nothing(self) -> Documents:
        return frozenset()


class Refuting(Sets):
    """One that can say of some negations more than nothing, though it cannot say the comparison."""

    def refute(self, part: Compare) -> Compiled[Documents]:
        if self.modes[part.operator] == "more":
            return Compiled(selection(lambda metadata: not matches(part, metadata)))
        return super().refute(part)


def check(compiler: Sets, tree: Any) -> Compiled[Documents]:
    compiled = compiler.compile(tree)
    found = EVERYTHING if compiled.expression is None else compiled.expression
    wanted = selection(lambda metadata: matches(tree, metadata))
    assert found >= wanted, "narrowed"
    if compiled.exact:
        assert found == wanted, "widened, and called exact"
    return compiled


@settings(max_examples=300)
@given(
    filters=FILTERS,
    modes=st.fixed_dictionaries({operator: st.sampled_from(MODES) for operator in COMPARISONS}),
    kind=st.sampled_from([Sets, Refuting]),
)
def test_what_is_selected_holds_what_matches(filters, modes, kind):
    check(kind(modes), parse(filters))


@settings(max_examples=150)
@given(filters=FILTERS)
def test_a_language_that_says_all_is_exact(filters):
    assert check(Sets(dict.fromkeys(COMPARISONS, "exact")), parse(filters)).exact


MIXED = Sets(
    {**dict.fromkeys(COMPARISONS, "nothing said"), "$eq": "exact", "$gt": "more", "$exists": "everything said"}
)


@pytest.mark.parametrize(
    ("filters", "said", "exact"),
    [
        (None, False, True),
        ({}, False, True),
        ({"v": 1}, True, True),
        ({"v": {"$ne": 1}}, True, True),
        ({"v": {"$gt": 1}}, True, False),
        ({"v": {"$not": {"$gt": 1}}}, False, False),
        ({"v": {"$startswith": "a"}}, False, False),
        # A part of a conjunction that says nothing leaves what the others say ...
        ({"v": {"$startswith": "a", "$eq": "ab"}}, True, False),
        # ... of an alternative nothing is left,
        ({"$or": [{"v": {"$startswith": "a"}}, {"v": 1}]}, False, False),
        # ... and under a negation the two change places.
        ({"$not": {"v": {"$startswith": "a", "$eq": "ab"}}}, False, False),
        ({"$not": {"$or": [{"v": {"$startswith": "a"}}, {"v": 1}]}}, True, False),
        ({"$not": {"$not": {"v": 1}}}, True, True),
        ({"$not": {}}, True, True),
        ({"$or": [{"v": 1}, {}]}, False, True),
    ],
)
def test_what_is_said_and_whether_it_is_all(filters, said, exact):
    compiled = check(MIXED, parse(filters))
    assert (compiled.expression is not None, compiled.exact) == (said, exact)


def test_an_alternative_that_matches_everything_makes_up_for_one_of_which_nothing_is_known():
    class Always(Sets):
        def compare(self, part: Compare) -> Compiled[Documents]:
            return Compiled(None, exact=part.operator == "$exists")

    compiler = Always({})
    one, other = Compare("$exists", "v", True), Compare("$eq", "v", 1)
    assert compiler.compile(Or((one, other))) == Compiled(None)
    assert compiler.compile(And((one, other))) == Compiled(None, exact=False)
    assert compiler.compile(Not(one)) == Compiled(frozenset())
    assert compiler.compile(Or(())) == Compiled(frozenset())
    assert compiler.compile(Not(Or(()))) == Compiled(None)
