"""The projection of metadata against the reference evaluator."""

from __future__ import annotations

import itertools
import math
import random
from array import array
from importlib.util import find_spec

import pytest
from hypothesis import given, settings

from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import dumps, equal
from praisonai_persistence.stores.projection import (
    Expression,
    ExpressionCompiler,
    TokenCompiler,
    bounded_query,
    field,
    product_distance,
    project,
    rank_all,
    rank_embeddings,
    ranked_vector,
    ranked_vectors,
    required_tokens,
    token,
)
from praisonai_persistence.stores.vector_documents import vector_bytes
from praisonai_persistence.testing._filter_cases import FILTERS, KEYS, POOL, VALUES, single_filters
from praisonai_persistence.vectors import norm, score

needs_numpy = pytest.mark.skipif(find_spec("numpy") is None, reason="needs NumPy, which comes with vector backends")

UNCHANGED = [array("f", [0.6, 0.8]), array("f", [0.0, 0.0])]
VECTORS = [array("f", [a, b, 1e-3]) for a in (-2.0, 0.0, 1e-12, 7.0) for b in (-1.0, 0.0, 1e-12, 5.0)]
VECTORS.append(array("f", [0.0, 0.0, 0.0]))


class Predicates(TokenCompiler):
    """Expressions are functions of a projection."""

    def has(self, tokens):
        assert tokens
        return lambda found: not set(tokens).isdisjoint([*found.values, *found.items, *found.keys])

    def bound(self, name, number, *, upper):
        assert math.isfinite(number)
        if upper:
            return lambda found: name in found.numbers and found.numbers[name] <= number
        return lambda found: name in found.numbers and found.numbers[name] >= number

    def all_of(self, parts):
        return lambda found: all(part(found) for part in parts)

    def any_of(self, parts):
        return lambda found: any(part(found) for part in parts)

    def negate(self, part):
        return lambda found: not part(found)

    def nothing(self):
        return lambda found: False


PROJECTIONS = [project(None if metadata is None else dumps(metadata)) for metadata in POOL]


def assert_selects(filters):
    tree = parse(filters)
    compiled = Predicates().compile(tree)
    for metadata, projection in zip(POOL, PROJECTIONS, strict=True):
        found = compiled.expression is None or compiled.expression(projection)
        wanted = matches(tree, metadata)
        assert found == wanted if compiled.exact else found or not wanted, (filters, metadata)
        has = {*projection.values, *projection.items, *projection.keys}
        if tree is not None:
            tokens, exact = required_tokens(tree)
            assert has.issuperset(tokens) == wanted if exact else has.issuperset(tokens) or not wanted


def test_values_have_one_token_exactly_if_they_are_equal():
    for one, other in itertools.product(VALUES, VALUES):
        assert (token("k", one) == token("k", other)) == equal(one, other), (one, other)


def test_keys_items_and_values_have_different_tokens():
    tokens = [field(key) for key in KEYS]
    tokens += [token(key, 1) for key in KEYS] + [token(key, 1, item=True) for key in KEYS]
    assert len(set(tokens)) == 3 * len(KEYS)
    assert token("a", "bc") != token("ab", "c")
    found = project(dumps({"a": [1, 1.0, 2], "b": "x", "c": {"b": "x"}}))
    assert [len(found.values), len(found.items), len(found.keys)] == [3, 2, 4]
    assert len({*found.values, *found.items, *found.keys}) == 9
    assert all(len(item) == 32 and set(item) <= set("0123456789abcdef") for item in tokens)


def test_every_operator_selects_what_it_should_or_more():
    for filters in single_filters():
        assert_selects(filters)


@settings(max_examples=300)
@given(filters=FILTERS)
def test_filters_of_all_shapes_select_what_they_should_or_more(filters):
    assert_selects(filters)


def test_tokens_are_exact_where_they_can_be():
    for filters in ({"a": 1}, {"a": {"$in": [1, "x"]}}, {"a": {"$contains": 1}}, {"a": {"$exists": False}}):
        assert Predicates().compile(parse(filters)).exact
        assert Predicates().compile(parse({"$not": filters})).exact
    for filters in ({"a": {"$gt": 1}}, {"a": {"$startswith": "x"}}):
        assert not Predicates().compile(parse(filters)).exact


def test_filters_require_tokens_where_every_match_has_them():
    for filters in ({"a": 1, "b": {"$gt": 1}}, {"$and": [{"a": 1}, {"$or": [{"b": 1}, {"c": 1}]}, {"b": 2}]}):
        tokens, exact = required_tokens(parse(filters))
        assert (token("a", 1) in tokens, len(tokens), exact) == (True, 2, False)
    for filters in ({"$or": [{"a": 1}, {"b": 1}]}, {"$not": {"a": 1}}, {"a": {"$exists": False}}):
        assert required_tokens(parse(filters)) == ([], False)
    for part in (1, {"$contains": 1}, {"$in": [1]}, {"$exists": True}):
        tokens, exact = required_tokens(parse({"a": part, "b": 1}))
        assert (len(tokens), exact) == (2, True)


@needs_numpy
@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_embeddings_are_ranked_as_their_ranked_vectors(distance):
    draw = random.Random(3)
    vectors = [array("f", [draw.gauss(0, 10) for _ in range(4)]) for _ in range(50)] + [array("f", [0.0] * 4)]
    query = ranked_vector(distance, array("f", [1.0, -2.0, 3.0, 0.5]), query=True)
    found = rank_embeddings(distance, query, [vector_bytes(vector) for vector in vectors])
    assert found == rank_all(distance, query, ranked_vectors(distance, vectors))


def test_numbers_are_finite_doubles():
    found = project(dumps({"huge": 10**400, "low": -(10**400), "zero": -0.0, "true": True, "text": "1"}))
    assert set(found.numbers) == {field("huge"), field("low"), field("zero")}
    assert all(math.isfinite(number) for number in found.numbers.values())
    assert math.copysign(1, found.numbers[field("zero")]) == 1


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_ranked_vectors_are_in_the_order_of_the_scores(distance):
    query = array("f", [0.3, -4.0, 1.0])
    ranked = ranked_vector(distance, query, query=True)
    by = product_distance(distance)
    found = sorted(VECTORS, key=lambda v: round(score(by, ranked, ranked_vector(distance, v)), 6))
    wanted = sorted(VECTORS, key=lambda v: score(distance, query, v))
    scores = [score(distance, query, vector) for vector in found]
    assert scores == pytest.approx([score(distance, query, vector) for vector in wanted], abs=1e-4)


def test_a_vector_of_unit_length_or_zero_stays_the_same_object():
    for vector in UNCHANGED:
        assert ranked_vector("cosine", vector) is vector
    assert norm(ranked_vector("cosine", array("f", [3e-20, 4e-20]))) == pytest.approx(1)


@needs_numpy
def test_many_vectors_of_unit_length_or_zero_stay_the_same_objects():
    for vector in UNCHANGED:
        assert [item is vector for item in ranked_vectors("cosine", [vector, array("f", [3.0, 4.0])])] == [True, False]


@needs_numpy
@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_many_vectors_are_ranked_as_each_of_them(distance):
    assert ranked_vectors(distance, VECTORS) == [ranked_vector(distance, vector) for vector in VECTORS]


def test_queries_for_products_are_bounded_by_powers_of_two():
    """So that products with the largest single-precision number are finite, and in proportion."""
    largest = 3.4028234e38
    for query in ([largest] * 5, [3.0, -4.5, 0.1], [1e-40, 0.25], [0.0], [1.0]):
        bounded = bounded_query("dot", array("f", query))
        assert sum(abs(part) for part in bounded) * largest <= largest
        assert len({part / own for part, own in zip(bounded, array("f", query), strict=True) if own}) <= 1
        assert bounded_query("euclidean", array("f", query)) == array("f", query).tolist()


class Text(ExpressionCompiler):
    """To Python's own language."""

    most_parts = 100

    def has(self, tokens):
        return Expression("not tokens.isdisjoint({})", (list(tokens),))

    def nothing(self):
        return Expression("False")


def test_filters_as_text_keep_their_values_in_order():
    """Also those of more parts than are joined at a time."""
    many = {"$or": [{"a": number} for number in range(40)]}
    for filters in ({"a": 1, "b": {"$ne": "x"}}, {"$not": many, "b": "x"}, {"a": {"$in": []}}, many):
        compiled = Text().compile(parse(filters))
        assert compiled.exact
        for metadata in ({"a": 1, "b": "x"}, {"a": 39}, {"a": 50, "b": "x"}, {"b": "y"}, {}):
            tokens = set(project(dumps(metadata)).tokens)
            text = compiled.expression.text.format(*map(repr, compiled.expression.values))
            assert eval(text, {"tokens": tokens}) is matches(parse(filters), metadata)
