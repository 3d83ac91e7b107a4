"""The filter language: what it refuses, and what it selects, against an evaluation that is written another way."""

import operator
from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from praisonai_persistence.errors import FilterError
from praisonai_persistence.filters import COMPARISONS, MAX_DEPTH, And, Compare, Not, Or, matches, parse


def shown(value):
    """Return the id of a parameter: the same in every process."""
    return ascii(value).partition(" at 0x")[0][:40]


NAN, INF = float("nan"), float("inf")


def selects(filters, metadata):
    return matches(parse(filters), metadata)


# ------------------------------------------------------------------------------------------------- the second opinion


def shape(value):
    """Return a form in which two values are the same exactly if they are equal as JSON."""
    if value is None or isinstance(value, (bool, str)):
        return type(value).__name__, value
    if isinstance(value, (int, float)):
        return "number", Fraction(value)
    if isinstance(value, list):
        return "list", tuple(shape(item) for item in value)
    return "object", frozenset((key, shape(item)) for key, item in value.items())


def ordered(sign, stored, wanted):
    (kind, a), (other, b) = shape(stored), shape(wanted)
    if kind != other or kind not in {"number", "str"}:
        return False
    if kind == "str":
        a, b = [ord(character) for character in a], [ord(character) for character in b]
    return {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}[sign](a, b)


def on_value(name, wanted, there, stored):
    """Decide one operator of one key on raw data, negations spelled out."""
    if name == "$not":
        return any(not on_value(inner, item, there, stored) for inner, item in wanted.items())
    if name == "$exists":
        return there == wanted
    if name == "$ne":
        return not there or shape(stored) != shape(wanted)
    if name == "$nin":
        return not there or shape(stored) not in {shape(item) for item in wanted}
    if not there:
        return False
    if name == "$eq":
        return shape(stored) == shape(wanted)
    if name == "$in":
        return shape(stored) in {shape(item) for item in wanted}
    if name == "$contains":
        return type(stored) is list and shape(wanted) in {shape(item) for item in stored}
    if name == "$startswith":
        return type(stored) is str and stored[: len(wanted)] == wanted
    return ordered(name, stored, wanted)


def second_opinion(filters, metadata):
    for key, wanted in filters.items():
        if key == "$and":
            if sum(second_opinion(part, metadata) for part in wanted) < len(wanted):
                return False
        elif key == "$or":
            if not sum(second_opinion(part, metadata) for part in wanted):
                return False
        elif key == "$not":
            if second_opinion(wanted, metadata):
                return False
        else:
            name = key[1:] if key.lstrip("\\").startswith("$") else key
            there, stored = name in metadata, metadata.get(name)
            operators = wanted if isinstance(wanted, dict) and any(k[:1] == "$" for k in wanted) else {"$eq": wanted}
            if not all(on_value(sign, item, there, stored) for sign, item in operators.items()):
                return False
    return True


# A small world, so that filters and metadata meet.
NAMES = st.sampled_from(["a", "b", "", "a.b", "$a", "\\$a", "\\", 'q"', "A", "a "])
TEXTS = st.sampled_from(["", "a", "A", "ab", "1", "\0", "\ud800", "\x1a", "\uffff", "\U00010000", "%", "_"])
NUMBERS = st.sampled_from([0, 1, -1, 1.0, -0.0, 0.5, 2**53, 2**53 + 1, 2.0**53, 10**30, 1e30, 1e308, -1e308])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    max_leaves=4,
)
METADATA = st.dictionaries(NAMES, VALUES, max_size=4)


def written(name):
    return "\\" + name if name.lstrip("\\").startswith("$") else name


OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), VALUES),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS | TEXTS),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$startswith"), TEXTS),
)
CONDITIONS = st.recursive(
    st.lists(OPERATORS, min_size=1, max_size=2).map(dict),
    lambda inner: inner.map(lambda condition: {"$not": condition}),
    max_leaves=3,
)
FIELDS = st.dictionaries(NAMES.map(written), VALUES | CONDITIONS, max_size=2)
FILTERS = st.recursive(
    FIELDS,
    lambda inner: st.tuples(
        FIELDS,
        st.one_of(
            st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)),
            st.tuples(st.just("$not"), inner),
        ),
    ).map(lambda pair: {**pair[0], pair[1][0]: pair[1][1]}),
    max_leaves=4,
)


@given(FILTERS, METADATA)
@example({"a": {"$lt": 2**53 + 1}}, {"a": 2.0**53})
@example({"a": {"$gt": "\uffff"}}, {"a": "\U00010000"})
@example({"a": {"$not": {"$gt": 1, "$lt": 3}}}, {"a": 5})
@example({"a": {"$not": {"$gt": 1}}}, {})
@example({"$and": [{}]}, {})
@example({"$not": {}}, {})
def test_filters_select_what_the_second_opinion_selects(filters, metadata):
    assert selects(filters, metadata) == second_opinion(filters, metadata)


@given(FILTERS, METADATA)
def test_not_is_the_exact_complement(filters, metadata):
    assert selects({"$not": filters}, metadata) != selects(filters, metadata)


# ----------------------------------------------------------------------------------------------------------- semantics


@pytest.mark.parametrize(
    ("filters", "selected", "others"),
    [
        ({"a": 1}, [1, 1.0], ["1", True, [1], None]),
        ({"a": "1"}, ["1"], [1, "1 ", "١"]),
        ({"a": True}, [True], [1, 1.0, "true", False]),
        ({"a": None}, [None], [0, "", False, []]),
        ({"a": []}, [[]], [None, {}, ""]),
        ({"a": {}}, [{}], [None, []]),
        ({"a": {"x": 1}}, [{"x": 1}, {"x": 1.0}], [{"x": True}, {"x": 1, "y": 2}]),
        ({"a": {"$eq": {"$x": 1}}}, [{"$x": 1}], [{"x": 1}]),
        ({"a": {"$ne": 1}}, [True, "1", None, 2], [1, 1.0]),
        ({"a": {"$gt": 1}}, [1.5, 10**30], [1, 1.0, True, "2", None, [2]]),
        ({"a": {"$gte": 10}}, [10, 10.0], [9, "9"]),
        ({"a": {"$lt": "b"}}, ["", "a", "B"], ["b", 1, None]),
        ({"a": {"$lte": 0}}, [0, -0.0, -1], [1, False, "-1"]),
        ({"a": {"$gt": 9, "$lt": 11}}, [10], [9, 11]),
        ({"a": {"$in": []}}, [], [None, []]),
        ({"a": {"$in": [1, "x", [2]]}}, [1.0, "x", [2.0]], [2, True, "1"]),
        ({"a": {"$nin": []}}, [None, 1], []),
        ({"a": {"$nin": [1, "x"]}}, [True, "1", None], [1.0, "x"]),
        ({"a": {"$exists": True}}, [None, 0, ""], []),
        ({"a": {"$exists": False}}, [], [None, 0, ""]),
        ({"a": {"$contains": 1}}, [[1], [0, 1.0]], [1, [True], ["1"], "1", {"1": 1}]),
        ({"a": {"$contains": "x"}}, [["x"]], ["x", "axb", {"x": 1}]),
        ({"a": {"$contains": [1]}}, [[[1]]], [[1]]),
        ({"a": {"$startswith": "a%"}}, ["a%", "a%b"], ["ab", "A%", 1, ["a%"]]),
        ({"a": {"$startswith": ""}}, ["", "x"], [None, 1, []]),
        ({"a": {"$not": {"$in": [1]}}}, [2, True], [1]),
    ],
    ids=str,
)
def test_examples(filters, selected, others):
    assert [value for value in selected if not selects(filters, {"a": value})] == []
    assert [value for value in others if selects(filters, {"a": value})] == []


@pytest.mark.parametrize("name", ["$ne", "$nin", "$not", "$exists"])
def test_a_missing_key_matches_negations(name):
    operand = {"$ne": 1, "$nin": [1], "$not": {"$eq": 1}, "$exists": False}[name]
    assert selects({"a": {name: operand}}, {})
    assert selects({"a": {name: operand}}, None)


def test_a_missing_key_matches_nothing_else():
    operands = {"$eq": None, "$in": [None], "$gt": 0, "$gte": 0, "$lt": 0, "$lte": 0, "$contains": None}
    operands |= {"$exists": True, "$startswith": ""}
    assert set(operands) == set(COMPARISONS)
    for name, operand in operands.items():
        assert not selects({"a": {name: operand}}, {"b": 0})
        assert selects({"a": {"$not": {name: operand}}}, {"b": 0})


def test_keys_are_taken_whole():
    metadata = {"a.b": 1, "a": {"b": 2}, "$where": 3, "\\$where": 4, "\\": 5, "\\x": 6, "": 7, "__proto__": 8}
    for written_key, value in [
        ("a.b", 1),
        ("\\$where", 3),
        ("\\\\$where", 4),
        ("\\", 5),
        ("\\x", 6),
        ("", 7),
        ("__proto__", 8),
    ]:
        assert selects({written_key: value}, metadata)
        assert not selects({written_key: value}, {"other": value})
    assert not selects({"a.b": 2}, metadata)


def test_nothing_given_selects_everything():
    assert parse(None) is None
    assert parse({}) is None
    assert matches(None, None)
    assert matches(None, {"a": 1})


def test_the_tree_is_typed():
    tree = parse({"a": 1, "$or": [{"\\$b": {"$ne": 2}}, {"c": {"$nin": [3], "$exists": True}}]})
    assert tree == And(
        (
            Compare("$eq", "a", 1),
            Or(
                (
                    Not(Compare("$eq", "$b", 2)),
                    And((Not(Compare("$in", "c", [3])), Compare("$exists", "c", True))),
                )
            ),
        )
    )
    assert parse({"a": 1}) == Compare("$eq", "a", 1)
    assert parse({"$not": {"a": 1}}) == Not(Compare("$eq", "a", 1))


def test_the_tree_does_not_share_the_callers_values():
    wanted = {"a": {"$in": [[1]]}, "b": {"x": [1]}}
    tree = parse(wanted)
    wanted["a"]["$in"][0].append(2)
    wanted["b"]["x"].append(2)
    assert matches(tree, {"a": [1], "b": {"x": [1]}})


def test_any_mapping_is_a_filter():
    assert selects(MappingProxyType({"a": MappingProxyType({"$gt": 1})}), {"a": 2})
    assert selects({"$or": ({"a": 1}, {"a": 2})}, {"a": 2})
    assert selects({"a": {"$in": (1, 2)}}, {"a": 2})


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "filters",
    [
        [],
        "a",
        5,
        [("a", 1)],
        {1: 1},
        {None: 1},
        {"$foo": 1},
        {"$": 1},
        {"$eq": 1},
        {"$where": "x"},
        {"$and": []},
        {"$or": []},
        {"$and": {}},
        {"$or": {"a": 1}},
        {"$and": [1]},
        {"$or": [None]},
        {"$and": [[]]},
        {"$or": "ab"},
        {"$not": []},
        {"$not": None},
        {"$not": [{"a": 1}]},
        {"$and": [{"$foo": 1}]},
        {"a": {"$foo": 1}},
        {"a": {"$regex": "x"}},
        {"a": {"$and": [{"$gt": 1}]}},
        {"a": {"$gt": 1, "b": 2}},
        {"a": {"b": 2, "$gt": 1}},
        {"a": {"$gt": 1, 2: 3}},
        {"a": {1: 2}},
        {"a": (1, 2)},
        {"a": {1, 2}},
        {"a": b"x"},
        {"a": NAN},
        {"a": [INF]},
        {"a": object()},
        {"a": {"$eq": NAN}},
        {"a": {"$eq": (1,)}},
        {"a": {"$ne": -INF}},
        {"a": {"$in": 1}},
        {"a": {"$in": "ab"}},
        {"a": {"$in": None}},
        {"a": {"$in": {"x": 1}}},
        {"a": {"$in": [NAN]}},
        {"a": {"$nin": 1}},
        {"a": {"$nin": [object()]}},
        *({"a": {name: wrong}} for name in ("$gt", "$gte", "$lt", "$lte") for wrong in (None, True, [1], {}, NAN, INF)),
        {"a": {"$exists": 1}},
        {"a": {"$exists": None}},
        {"a": {"$exists": "true"}},
        {"a": {"$contains": NAN}},
        {"a": {"$contains": {1, 2}}},
        {"a": {"$startswith": 1}},
        {"a": {"$startswith": None}},
        {"a": {"$startswith": ["a"]}},
        {"a": {"$not": 1}},
        {"a": {"$not": {}}},
        {"a": {"$not": {"b": 1}}},
        {"a": {"$not": {"$gt": 1, "b": 1}}},
        {"a": {"$not": [{"$gt": 1}]}},
        {"a": {"$not": {"$foo": 1}}},
        {"a": {"$not": {"$in": 1}}},
    ],
    ids=shown,
)
def test_refusals(filters):
    with pytest.raises(FilterError) as caught:
        parse(filters)
    assert isinstance(caught.value, ValueError)


def test_depth_limit():
    def deep(levels):
        filters = {"a": 1}
        for level in range(levels):
            filters = {"$not": filters} if level % 2 else {"$and": [filters]}
        return filters

    for levels in range(MAX_DEPTH - 1):
        negations = levels // 2
        assert selects(deep(levels), {"a": 1}) == (negations % 2 == 0)
    for levels in (MAX_DEPTH, 10 * MAX_DEPTH):
        with pytest.raises(FilterError, match="levels deep"):
            parse(deep(levels))
    operators = {"$eq": 1}
    for _ in range(MAX_DEPTH):
        operators = {"$not": operators}
    with pytest.raises(FilterError, match="levels deep"):
        parse({"a": operators})
    endless = {"$and": []}
    endless["$and"].append(endless)
    with pytest.raises(FilterError, match="levels deep"):
        parse(endless)
    value = []
    value.append(value)
    with pytest.raises(FilterError):
        parse({"a": value})


def test_a_refusal_does_not_quote_the_value():
    for filters in ({"a": b"hunter2"}, {"a": {"$gt": ["hunter2"]}}, {"a": {"$in": "hunter2"}}):
        with pytest.raises(FilterError) as caught:
            parse(filters)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "everything", [None, {}, {"$and": [{}]}, {"$or": [{"a": 1}, {}]}, {"$and": [{"$and": [{}, {}]}]}]
)
def test_a_filter_that_matches_everything_is_none(everything):
    """So that ``delete`` does not take it for a choice."""
    assert parse(everything) is None


def test_parts_that_match_everything_fall_away():
    assert parse({"$and": [{}, {"a": 1}]}) == parse({"a": 1})
    assert parse({"$not": {}}) is not None
