"""From an engine's candidates to the documents of a search: nothing that belongs there is left out."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import MAX_INTEGER, dumps
from praisonai_persistence.steps import Steps, run
from praisonai_persistence.stores.knowledge import Search
from praisonai_persistence.stores.ranking import SPARE, TOLERANCE, Candidate, nearest, selected
from praisonai_persistence.vectors import norm, score


class Engine:
    """One that ranks a little wrongly, and knows no filters.

    Args:
        documents: their vectors and metadata, by id.
        distance: of the collection.
        query: what is searched for.
        error: how far a rank may be off, in units of what scores are measured in.
        scores: whether it tells them, and in the final order.
    """

    def __init__(
        self,
        documents: dict[str, tuple[list[float], dict[str, Any] | None]],
        distance: str,
        query: Sequence[float],
        *,
        error: float = 0.0,
        scores: bool = False,
    ) -> None:
        chance = random.Random(5)
        self.asked: list[int] = []
        ranked = []
        for name, (vector, metadata) in documents.items():
            packed = array("f", vector)
            true = score(distance, query, packed)
            unit = max(1.0, norm(query) * norm(packed)) if distance == "dot" else 1.0
            rank = true + chance.choice((-error, error)) * unit
            text = None if metadata is None else dumps(metadata)
            told = (None, true) if scores else (packed, None)
            ranked.append((-rank, name, Candidate(name, f"text of {name}", told[0], text, None, 1.0, told[1])))
        self.ranked = [candidate for *_, candidate in sorted(ranked)]

    def fetch(self, number: int) -> Steps[Sequence[Candidate]]:
        self.asked.append(number)
        return (yield self.ranked[:number])


def ask(engine: Engine, search: Search, distance: str, *, exact: bool, ordered: bool = False) -> list[Any]:
    return run(nearest(search, distance, engine.fetch, exact=exact, ordered=ordered), lambda found: found)


def search(query: Sequence[float], limit: int, filters: Any = None, threshold: float | None = None) -> Search:
    return Search(array("f", query), limit, parse(filters), threshold, False)


def truth(documents: Any, wanted: Search, distance: str) -> list[tuple[str, float]]:
    scored = [
        (name, score(distance, wanted.query, array("f", vector)))
        for name, (vector, metadata) in documents.items()
        if matches(wanted.filters, metadata)
    ]
    if wanted.score_threshold is not None:
        scored = [pair for pair in scored if pair[1] >= wanted.score_threshold]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[: wanted.limit]


# Many are alike, or so nearly that the engine changes their places.
_numbers = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 1.000001, 1.000003, 3.0])
_documents = st.dictionaries(
    st.text("abAB\U0001f600", min_size=1, max_size=3),
    st.tuples(st.lists(_numbers, min_size=2, max_size=2), st.none() | st.fixed_dictionaries({"n": st.integers(0, 2)})),
    max_size=40,
)


@settings(max_examples=300)
@given(
    documents=_documents,
    distance=st.sampled_from(["cosine", "dot", "euclidean"]),
    query=st.lists(_numbers, min_size=2, max_size=2),
    limit=st.sampled_from([0, 1, 2, 5, 100, MAX_INTEGER]),
    filters=st.sampled_from([None, {"n": 1}, {"n": {"$ne": 1}}, {"n": 7}]),
    threshold=st.sampled_from([None, None, 0.5, -1.0]),
)
def test_the_true_nearest_from_ranks_that_are_off(documents, distance, query, limit, filters, threshold):
    wanted = search(query, limit, filters, threshold)
    engine = Engine(documents, distance, wanted.query, error=0.99 * TOLERANCE)
    found = ask(engine, wanted, distance, exact=filters is None)
    assert [(item.id, item.score) for item in found] == truth(documents, wanted, distance)


@settings(max_examples=150)
@given(documents=_documents, limit=st.sampled_from([0, 1, 5]), filters=st.sampled_from([None, {"n": 1}, {"n": 7}]))
def test_the_true_nearest_from_scores_in_order(documents, limit, filters):
    wanted = search([1.0, 0.5], limit, filters)
    engine = Engine(documents, "dot", wanted.query, scores=True)
    found = ask(engine, wanted, "dot", exact=filters is None, ordered=True)
    assert [(item.id, item.score) for item in found] == truth(documents, wanted, "dot")
    assert filters is not None or engine.asked == ([limit] if limit else []), "once, for no more than is wanted"


def spread(number: int) -> dict[str, tuple[list[float], dict[str, Any] | None]]:
    return {f"{n:04d}": ([math.cos(n / number), math.sin(n / number)], {"n": n}) for n in range(number)}


def test_the_engine_is_asked_for_no_more_than_is_needed():
    documents = spread(1_000)
    wanted = search([1.0, 0.0], 5)
    engine = Engine(documents, "euclidean", wanted.query)
    assert [item.id for item in ask(engine, wanted, "euclidean", exact=True)] == [f"{n:04d}" for n in range(5)]
    assert engine.asked == [5 + SPARE]


def test_an_inexact_filter_asks_on_until_enough_match():
    documents = spread(1_000)
    wanted = search([1.0, 0.0], 5, {"n": {"$gte": 300}})
    engine = Engine(documents, "euclidean", wanted.query)
    assert [item.id for item in ask(engine, wanted, "euclidean", exact=False)] == [f"{n:04d}" for n in range(300, 305)]
    assert engine.asked == sorted(engine.asked)
    assert engine.asked[-2] < 305 <= engine.asked[-1]


def test_below_the_threshold_nothing_is_asked_for():
    documents = spread(1_000)
    wanted = search([1.0, 0.0], 50, {"n": {"$lt": 3}}, threshold=0.999)
    engine = Engine(documents, "cosine", wanted.query)
    assert [item.id for item in ask(engine, wanted, "cosine", exact=False)] == ["0000", "0001", "0002"]
    assert len(engine.asked) < 3


def test_a_thousand_that_are_alike_come_by_id():
    documents = {f"{n:04d}": ([1.0, 0.0], None) for n in range(1_000)}
    wanted = search([1.0, 0.0], 3)
    engine = Engine(documents, "cosine", wanted.query)
    engine.ranked.reverse()
    assert [item.id for item in ask(engine, wanted, "cosine", exact=True)] == ["0000", "0001", "0002"]


def test_what_comes_back():
    engine = Engine({"a": ([1.0, 2.0], {"x": [1.0, None]})}, "dot", [1.0, 0.0])
    wanted = search([1.0, 0.0], 1)
    (item,) = ask(engine, wanted, "dot", exact=True)
    assert (item.content, item.metadata, item.created_at, item.score) == ("text of a", {"x": [1.0, None]}, 1.0, 1.0)
    assert item.embedding is None
    (item,) = ask(engine, wanted._replace(with_embeddings=True), "dot", exact=True)
    assert item.embedding == [1.0, 2.0]


def test_a_candidate_needs_its_score_or_its_embedding():
    engine = Engine({"a": ([1.0, 2.0], None)}, "dot", [1.0, 0.0])
    engine.ranked[0] = engine.ranked[0]._replace(embedding=None)
    with pytest.raises(ValueError, match="score or its embedding"):
        ask(engine, search([1.0, 0.0], 1), "dot", exact=True)


def test_selected():
    assert selected(None, None)
    assert selected(parse({"a": 1}), '{"a":1.0}')
    assert not selected(parse({"a": 1}), None)
    assert selected(parse({"a": {"$ne": 1}}), None)
