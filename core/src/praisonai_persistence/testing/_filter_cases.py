"""Documents' metadata and filters for them: exhaustive lists, and a strategy for what lists cannot hold."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

__all__ = ["FILTERS", "KEYS", "POOL", "REFUSED_FILTERS", "VALUES", "escaped", "single_filters"]

SCALARS: list[Any] = [
    None,
    True,
    False,
    0,
    -0.0,
    1,
    1.0,
    -1,
    0.5,
    0.1 + 0.2,
    0.3,
    2**53 - 1,
    2**53,
    2.0**53,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**30,
    1e30,
    1e308,
    -1e308,
    5e-324,
    "",
    "0",
    "1",
    "1.0",
    "true",
    "null",
    "a",
    "A",
    "ab",
    "abc",
    "a ",
    "a%",
    "a_",
    "a*",
    "a'b",
    'a"b',
    "a\\b",
    "[]",
    "{}",
    "\0",
    "\x01",
    "\x1a",
    "\x1a0000",
    "\x1b",
    "\ud7ff",
    "\ud800",
    "\udfff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\u00e9",
    "e\u0301",
    "z",
]
"""Scalars; neighbours in some order, or equal in some engine, that must be told apart or must not."""

VALUES: list[Any] = [
    *SCALARS,
    [],
    [None],
    [1],
    [1.0, "a"],
    [True],
    ["1"],
    [[1]],
    [{"x": 1}],
    ["a", "\0", "a'b"],
    [[]],
    {},
    {"x": 1},
    {"x": 1.0},
    {"x": True},
    {"x": None},
    {"x": 1, "y": 2},
    {"y": 2, "x": 1},
    {"x": {"x": []}},
    {"1": 1},
]
"""Every value under the key ``v`` of the pool, and every operand."""

KEYS: list[str] = [
    "v",
    "V",
    "v ",
    " v",
    "",
    " ",
    "a.b",
    "a",
    "$where",
    "$and",
    "$",
    "\\",
    "\\$where",
    "\\\\$where",
    "\\x",
    "'",
    '"',
    "a'b",
    'a"b',
    "`",
    "a b",
    "[0]",
    "a[0]",
    "*",
    "$.v",
    "#",
    "?",
    ":v",
    "%s",
    "{v}",
    "0",
    "1",
    "-1",
    "__proto__",
    "id",
    "content",
    "metadata",
    "embedding",
    "'; DROP TABLE x; --",
    "x') OR 1=1--",
    "\0",
    "v\0",
    "\x1a",
    "\n",
    "\ud800",
    "\U0001f600",
    "\u00e9",
    "e\u0301",
    "k" * 300,
]
"""Keys of metadata, that are all different; ``v`` first."""


def _pool() -> list[dict[str, Any] | None]:
    pool: list[dict[str, Any] | None] = [None, {}]
    for index, value in enumerate(VALUES):
        metadata = {"v": value}
        for step in (1, 2, 3):  # every key stands in a few documents, with values of all sorts
            key = KEYS[1 + (3 * index + step) % (len(KEYS) - 1)]
            metadata[key] = VALUES[(7 * index + 11 * step) % len(VALUES)]
        pool.append(metadata)
    return pool


POOL = _pool()
"""The metadata of the documents that filters are tried on."""


def escaped(key: str) -> str:
    """Return a metadata key as a filter names it."""
    return "\\" + key if key.lstrip("\\").startswith("$") else key


def single_filters() -> list[dict[str, Any]]:
    """Return filters of one operator on ``v``, for every operator and every operand that it takes."""
    filters: list[dict[str, Any]] = [{"v": value} for value in VALUES]
    for value in VALUES:
        filters += [{"v": {"$eq": value}}, {"v": {"$ne": value}}, {"v": {"$contains": value}}]
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            filters += [{"v": {name: value}} for name in ("$gt", "$gte", "$lt", "$lte")]
        if isinstance(value, str):
            filters.append({"v": {"$startswith": value}})
    for start in range(len(VALUES)):
        some = [VALUES[(start + step) % len(VALUES)] for step in (0, 5, 23)]
        filters += [{"v": {"$in": some}}, {"v": {"$nin": some}}]
    for name in ("$in", "$nin"):
        filters += [{"v": {name: []}}, {"v": {name: VALUES}}, {"v": {name: VALUES * 20}}]
    return filters


_operands = st.sampled_from(VALUES)
_ordered = st.sampled_from(
    [value for value in SCALARS if isinstance(value, (str, int, float)) and not isinstance(value, bool)]
)
_conditions = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne", "$contains"]), _operands),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(_operands, max_size=4)),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), _ordered),
    st.tuples(st.just("$exists"), st.booleans()),
    st.tuples(st.just("$startswith"), st.sampled_from([value for value in SCALARS if isinstance(value, str)])),
)
_operators = st.recursive(
    st.lists(_conditions, min_size=1, max_size=2).map(dict),
    lambda inner: inner.map(lambda condition: {"$not": condition}),
    max_leaves=3,
)
_keys = (st.just("v") | st.sampled_from(KEYS)).map(escaped)
_fields = st.dictionaries(_keys, _operands | _operators, max_size=2)
FILTERS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    _fields,
    lambda inner: st.tuples(
        _fields,
        st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3))
        | st.tuples(st.just("$not"), inner),
    ).map(lambda pair: {**pair[0], pair[1][0]: pair[1][1]}),
    max_leaves=6,
)
"""Filters of all shapes, on keys and values of the pool."""

REFUSED_FILTERS: list[Any] = [
    [],
    "v",
    1,
    [("v", 1)],
    {1: 1},
    {None: 1},
    {"$foo": 1},
    {"$": 1},
    {"$eq": 1},
    {"$where": "1 = 1"},
    {"$and": []},
    {"$or": []},
    {"$and": {"v": 1}},
    {"$or": [1]},
    {"$and": [None]},
    {"$not": [{"v": 1}]},
    {"$not": None},
    {"v": 1, "$or": [{"v": {"$foo": 1}}]},
    {"v": {"$foo": 1}},
    {"v": {"$regex": ".*"}},
    {"v": {"$gt": 1, "x": 2}},
    {"v": {1: 2}},
    {"v": (1, 2)},
    {"v": {1, 2}},
    {"v": b"x"},
    {"v": math.nan},
    {"v": [math.inf]},
    {"v": object()},
    {"v": {"$eq": math.nan}},
    {"v": {"$in": 1}},
    {"v": {"$in": "ab"}},
    {"v": {"$in": None}},
    {"v": {"$in": [object()]}},
    {"v": {"$nin": 1}},
    {"v": {"$gt": None}},
    {"v": {"$gt": True}},
    {"v": {"$gte": [1]}},
    {"v": {"$lt": {}}},
    {"v": {"$lte": math.inf}},
    {"v": {"$exists": 1}},
    {"v": {"$exists": None}},
    {"v": {"$contains": math.nan}},
    {"v": {"$startswith": 1}},
    {"v": {"$startswith": None}},
    {"v": {"$not": 1}},
    {"v": {"$not": {}}},
    {"v": {"$not": {"x": 1}}},
    {"v": {"$not": {"$foo": 1}}},
]
"""What is no filter."""
