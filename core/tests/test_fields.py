"""Metadata as typed fields, and filters on them, against the reference evaluator."""

from __future__ import annotations

import math

from hypothesis import given, settings

from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import dumps
from praisonai_persistence.stores.fields import FieldCompiler, copies
from praisonai_persistence.testing._filter_cases import FILTERS, POOL, single_filters


class Predicates(FieldCompiler):
    """Expressions are functions of copies."""

    most_parts = 50
    most_values = 3

    def one_of(self, name, tokens):
        assert name.startswith("v")
        assert 0 < len(tokens) <= self.most_values
        return lambda found: found.get(name) in tokens

    def none_of(self, name, tokens):
        assert tokens
        return lambda found: found.get(name) not in tokens

    def holds(self, name, items):
        assert name.startswith("i")
        return lambda found: not set(items).isdisjoint(found.get(name, []))

    def exists(self, name, *, wanted):
        return lambda found: (name in found) is wanted

    def bound(self, name, number, *, upper):
        assert name.startswith("n")
        assert math.isfinite(number)
        if upper:
            return lambda found: name in found and found[name] <= number
        return lambda found: name in found and found[name] >= number

    def all_of(self, parts):
        return lambda found: all(part(found) for part in parts)

    def any_of(self, parts):
        return lambda found: any(part(found) for part in parts)

    def nothing(self):
        return lambda found: False


COPIES = [copies(None if metadata is None else dumps(metadata)) for metadata in POOL]


def assert_selects(filters):
    tree = parse(filters)
    compiled = Predicates().compile(tree)
    for metadata, found in zip(POOL, COPIES, strict=True):
        selected = compiled.expression is None or compiled.expression(found)
        wanted = matches(tree, metadata)
        assert selected == wanted if compiled.exact else selected or not wanted, (filters, metadata)


def test_every_operator_selects_what_it_should_or_more():
    for filters in single_filters():
        assert_selects(filters)
        assert_selects({"$not": filters})


@settings(max_examples=300)
@given(filters=FILTERS)
def test_filters_of_all_shapes_select_what_they_should_or_more(filters):
    assert_selects(filters)


def test_what_is_exact():
    for filters in (
        {"a": 1},
        {"a": {"$in": [1, "x"]}},
        {"a": {"$nin": [1]}},
        {"a": {"$ne": 1}},
        {"a": {"$exists": False}},
    ):
        assert Predicates().compile(parse(filters)).exact
        assert Predicates().compile(parse({"$not": filters})).exact
    assert Predicates().compile(parse({"a": {"$contains": 1}})).exact
    for filters in ({"a": {"$gt": 1}}, {"a": {"$startswith": "x"}}, {"$not": {"a": {"$contains": 1}}}):
        assert not Predicates().compile(parse(filters)).exact
    for filters in ({"a": {"$in": [1, 2, 3, 4]}}, {"a": {"$nin": [1, 2, 3, 4]}}):
        assert not Predicates().compile(parse(filters)).exact


def test_copies_are_flat_and_typed():
    found = copies(dumps({"a": [1, 1.0, "x", None], "b": None, "c": 10**400, "d": {"e": []}, "f": [], "g": True}))
    assert sorted(name[0] for name in found) == ["i", "n", *"vvvvvv"]
    for name, value in found.items():
        if name.startswith("i"):
            assert len(value) == len(set(value)) == 3
        elif name.startswith("n"):
            assert math.isfinite(value)
        else:
            assert len(value) == 32
    assert copies(None) == copies("{}") == {}
