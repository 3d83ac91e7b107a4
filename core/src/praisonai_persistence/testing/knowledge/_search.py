"""K04, K09, K10, K11: search, its scores, its recall and what it returns."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import (
    InvalidValueError,
    SerializationError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._filter_cases import (
    POOL,
    VALUES,
)
from praisonai_persistence.testing.corpus import (
    HOSTILE_OBJECTS,
    REFUSED_NUMBERS,
    identical,
    nested,
    shorten,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
from praisonai_persistence.testing.knowledge._common import (
    ALL,
    DISTANCES,
    MANY,
    NO_COUNTS,
    TOLERANCE,
    assert_best,
    ids,
    make,
    rounded,
    same,
)

__all__ = ["Search"]


class Search:
    """K04, K09, K10, K11: search, its scores, its recall and what it returns."""

    # ------------------------------------------------------------------------------------------------------- K04 search

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_scores_mean_the_same_everywhere(self, store: Any, distance: str) -> None:
        """Higher is better: cosine similarity, inner product, or 1/(1+distance)."""
        await store.create_collection("docs", 3, distance)
        vectors: dict[str, Sequence[float]] = {
            "same": [1.0, 2.0, 3.0],
            "longer": [10.0, 20.0, 30.0],
            "shorter": [0.01, 0.02, 0.03],
            "opposite": [-1.0, -2.0, -3.0],
            "orthogonal": [3.0, 0.0, -1.0],
            "near": [1.1, 2.0, 2.9],
            "far": [100.0, -50.0, 3.0],
            "zero": [0.0, 0.0, 0.0],
            "small": [1e-4, 1e-4, 0.0],
            "negative": [-0.5, 0.1, 0.0],
            "unrounded": [0.1, 0.2, 0.3],
        }
        await store.insert("docs", [make(name, vector) for name, vector in vectors.items()])
        for query in ([1.0, 2.0, 3.0], [-1.0, 0.0, 0.5], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1000.0, 1.0, 0.0]):
            for limit in (ALL, 4, 1):
                found = await store.search("docs", query, limit)
                assert_best(distance, query, vectors, found, limit)
        scores = {item.id: item.score for item in await store.search("docs", [1.0, 2.0, 3.0], ALL)}
        assert all(type(score) is float for score in scores.values())
        if distance == "cosine":
            assert scores["same"] == pytest.approx(1, abs=TOLERANCE)
            assert scores["longer"] == pytest.approx(1, abs=TOLERANCE)
            assert scores["opposite"] == pytest.approx(-1, abs=TOLERANCE)
            assert scores["orthogonal"] == pytest.approx(0, abs=TOLERANCE)
            assert scores["zero"] == 0
        elif distance == "dot":
            assert scores["same"] == pytest.approx(14, abs=1e-4)
            assert scores["longer"] == pytest.approx(140, abs=1e-3)
            assert scores["opposite"] == pytest.approx(-14, abs=1e-4)
            assert scores["zero"] == 0
        else:
            assert scores["same"] == 1
            assert scores["opposite"] == pytest.approx(1 / (1 + 2 * math.sqrt(14)), abs=TOLERANCE)
            assert scores["zero"] == pytest.approx(1 / (1 + math.sqrt(14)), abs=TOLERANCE)

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_many_dimensions(self, store: Any, distance: str) -> None:
        """As many as today's models give."""
        chance = random.Random(distance)
        vectors = {f"d{number}": [chance.gauss(0, 0.05) for _ in range(1536)] for number in range(12)}
        await store.create_collection("docs", 1536, distance)
        await store.insert("docs", [make(name, vector) for name, vector in vectors.items()])
        query = [chance.gauss(0, 0.05) for _ in range(1536)]
        assert_best(distance, query, vectors, await store.search("docs", query, 7), 7)
        assert (await store.get("docs", ["d3"]))[0].embedding == rounded(vectors["d3"])

    async def test_k04_equal_scores_come_by_id(self, store: Any) -> None:
        """So that a limit cuts at the same place every time."""
        names = ["b", "a", "B", "aa", "\U0001f600", "\uffff", "0", "\u00e9", "z", "_"]
        for distance in DISTANCES:
            await store.create_collection(distance, 3, distance)
            await store.insert(distance, [make(name, [1.0, 2.0, 3.0]) for name in names])
            await store.insert(distance, [make("best", [5.0, 10.0, 14.9])])
            await store.insert(distance, [make("worst", [-1.0, -2.0, -3.0])])
            query = [5.0, 10.0, 14.9]
            found = await store.search(distance, query, ALL)
            assert ids(found) == ["best", *sorted(names), "worst"], distance
            for limit in range(len(found) + 1):
                assert ids(await store.search(distance, query, limit)) == ids(found)[:limit], distance

    async def test_k04_a_zero_query_matches_everything_alike(self, store: Any) -> None:
        """By cosine and by inner product its score is 0."""
        for distance in ("cosine", "dot"):
            await store.create_collection(distance, 3, distance)
            await store.insert(distance, [make("b", [1, 2, 3]), make("c", [0, 0, 0]), make("a", [-1, 0, 0])])
            found = await store.search(distance, [0.0, 0.0, 0.0])
            assert [(item.id, item.score) for item in found] == [("a", 0.0), ("b", 0.0), ("c", 0.0)]
            assert len(await store.search(distance, [0.0, 0.0, 0.0], score_threshold=0.0)) == 3

    async def test_k04_limit(self, docs: Any) -> None:
        """Five unless told otherwise; never more than there are."""
        await docs.insert("docs", [make(f"d{number}", [float(number), 0.0, 0.0]) for number in range(9)])
        query = [1.0, 0.0, 0.0]
        assert ids(await docs.search("docs", query)) == ["d8", "d7", "d6", "d5", "d4"]
        for limit in (0, 1, 3, 9):
            assert ids(await docs.search("docs", query, limit)) == [f"d{8 - number}" for number in range(limit)]
        assert len(await docs.search("docs", query, 10)) == 9
        assert len(await docs.search("docs", query, limit=ALL)) == 9
        for limit in NO_COUNTS:
            with pytest.raises(InvalidValueError):
                await docs.search("docs", query, limit)
                pytest.fail(f"search took limit={limit!r}; an error was expected")

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k04_the_threshold_is_inclusive(self, store: Any, distance: str) -> None:
        """A document with exactly that score is in, one just below is out; negative thresholds too."""
        await store.create_collection("docs", 3, distance)
        chance = random.Random(7)
        await store.insert("docs", [make(f"d{n}", [chance.uniform(-1, 1) for _ in range(3)]) for n in range(12)])
        query = [0.3, -0.5, 0.8]
        everyone = await store.search("docs", query, ALL)
        assert len(everyone) == 12
        for item in everyone:
            found = await store.search("docs", query, ALL, score_threshold=item.score)
            assert ids(found) == [other.id for other in everyone if other.score >= item.score]
            found = await store.search("docs", query, ALL, None, math.nextafter(item.score, math.inf))
            assert ids(found) == [other.id for other in everyone if other.score > item.score]
            found = await store.search("docs", query, 2, score_threshold=item.score)
            assert ids(found) == [other.id for other in everyone if other.score >= item.score][:2]
        assert await store.search("docs", query, ALL, score_threshold=everyone[0].score + 0.1) == []
        assert len(await store.search("docs", query, ALL, score_threshold=-1000)) == 12
        for threshold in [*REFUSED_NUMBERS, "1", True, [1]]:
            with pytest.raises(InvalidValueError):
                await store.search("docs", query, score_threshold=threshold)
                pytest.fail(f"search took score_threshold={threshold!r}; an error was expected")

    async def test_k04_the_threshold_comes_before_the_limit_and_after_no_filter(self, docs: Any) -> None:
        """All conditions hold together."""
        await docs.insert("docs", [make(f"d{n}", [float(n), 0, 0], metadata={"even": n % 2 == 0}) for n in range(10)])
        found = await docs.search("docs", [1.0, 0.0, 0.0], 3, {"even": True}, 3.0)
        assert ids(found) == ["d8", "d6", "d4"]
        found = await docs.search("docs", [1.0, 0.0, 0.0], 10, {"even": False}, 3.0)
        assert ids(found) == ["d9", "d7", "d5", "d3"]

    async def test_k04_embeddings_come_on_request(self, docs: Any) -> None:
        """As 32-bit floats keep them."""
        vector = [0.1, 1 / 3, 2.0**20 + 0.3]
        await docs.insert("docs", [make("a", vector)])
        query = [1.0, 0.0, 0.0]
        assert (await docs.search("docs", query))[0].embedding is None
        assert (await docs.search("docs", query, with_embeddings=False))[0].embedding is None
        found = (await docs.search("docs", query, with_embeddings=True))[0].embedding
        assert type(found) is list, f"with_embeddings=True returned {found!r}, not a list of numbers"
        assert found == rounded(vector)
        assert (await docs.get("docs", ["a"]))[0].embedding == rounded(vector)

    async def test_k04_content_and_metadata_come_back(self, docs: Any) -> None:
        """And created_at and the hash."""
        wanted = make("a", content="text", metadata={"n": [1.0, None]}, content_hash="h", created_at=12.5)
        await docs.insert("docs", [wanted])
        for with_embeddings in (False, True):
            found = await docs.search("docs", [1.0, 0.0, 0.0], with_embeddings=with_embeddings)
            assert same(found[0], wanted, embedding=with_embeddings)
            assert found[0].score == 1.0

    async def test_k04_an_empty_collection(self, docs: Any) -> None:
        """Has nothing to find."""
        assert await docs.search("docs", [1.0, 0.0, 0.0]) == []
        assert await docs.search("docs", [1.0, 0.0, 0.0], 3, {"a": 1}, 0.5, with_embeddings=True) == []

    # ------------------------------------------------------------------------------------------------------- K09 recall

    @pytest.mark.parametrize("distance", DISTANCES)
    async def test_k09_the_true_nearest_are_found(self, store: Any, distance: str) -> None:
        """Of 1,000 documents the top 10, in clusters and not, after changes too."""
        chance = random.Random(distance)
        dimension = 24

        def somewhere(number: int) -> list[float]:
            center = 3 * (number % 4) if number % 3 else 0
            return [chance.gauss(center if axis % 4 == number % 4 else 0, 1) for axis in range(dimension)]

        vectors: dict[str, Sequence[float]] = {f"d{number}": somewhere(number) for number in range(MANY)}
        await store.create_collection("docs", dimension, distance)

        def documents(names: Iterable[str]) -> list[KnowledgeDocument]:
            return [make(name, vectors[name], metadata={"group": int(name[1:]) % 10}) for name in names]

        await store.insert("docs", documents(vectors))
        queries = [somewhere(number) for number in range(12)]
        for query in queries:
            assert_best(distance, query, vectors, await store.search("docs", query, 10), 10)
        for query in queries[:4]:
            group = {name: vector for name, vector in vectors.items() if int(name[1:]) % 10 == 3}
            found = await store.search("docs", query, 10, {"group": 3})
            assert_best(distance, query, group, found, 10)
        gone = [f"d{number}" for number in range(0, MANY, 3)]
        assert await store.delete("docs", gone) == len(gone)
        for name in gone:
            del vectors[name]
        moved = list(vectors)[::4]
        for name in moved:
            vectors[name] = somewhere(int(name[1:]) + 1)
        await store.upsert("docs", documents(moved))
        for query in queries:
            assert_best(distance, query, vectors, await store.search("docs", query, 10), 10)

    async def test_k09_each_document_is_nearest_to_itself(self, store: Any) -> None:
        """None is out of reach of an index."""
        chance = random.Random(3)
        vectors = {f"d{number}": [chance.gauss(0, 1) for _ in range(8)] for number in range(300)}
        await store.create_collection("docs", 8, "euclidean")
        for start in range(0, 300, 50):  # in several batches, as documents come
            await store.insert("docs", [make(name, vectors[name]) for name in list(vectors)[start : start + 50]])
        for name, vector in vectors.items():
            found = await store.search("docs", vector, 1)
            assert (ids(found), found[0].score) == ([name], 1.0)

    # ----------------------------------------------------------------------------------------------------- K10 metadata

    async def test_k10_metadata_come_back_equal(self, docs: Any) -> None:
        """The hostile corpus, types of numbers included, from get and from search."""
        objects = [
            *HOSTILE_OBJECTS,
            {"deep": nested(49)},
            *({"v": value} for value in VALUES),
            *(m or {} for m in POOL),
        ]
        await docs.insert("docs", [make(str(number), metadata=value) for number, value in enumerate(objects)])
        searched = await docs.search("docs", [1.0, 0.0, 0.0], ALL)
        read = await docs.get("docs", [str(number) for number in range(len(objects))])
        assert len(searched) == len(read) == len(objects)
        for found in itertools.chain(searched, read):
            wanted = objects[int(found.id)]
            assert identical(found.metadata, wanted), f"{shorten(wanted)} came back as {shorten(found.metadata)}"

    async def test_k10_none_and_empty_metadata_stay_what_they_are(self, docs: Any) -> None:
        """Both from get and from search."""
        await docs.insert("docs", [make("none", metadata=None), make("empty", metadata={})])
        assert [item.metadata for item in await docs.get("docs", ["none", "empty"])] == [None, {}]
        found = {item.id: item.metadata for item in await docs.search("docs", [1.0, 0.0, 0.0])}
        assert found == {"none": None, "empty": {}}

    async def test_k10_deep_metadata_come_back_or_are_refused(self, docs: Any) -> None:
        """50 levels are promised."""
        for depth in (60, 100, 190, 250):
            try:
                await docs.upsert("docs", [make("a", metadata={"x": nested(depth, depth)})])
            except SerializationError:
                break
            assert identical((await docs.get("docs", ["a"]))[0].metadata, {"x": nested(depth, depth)})

    # --------------------------------------------------------------------------------------------------- K11 visibility

    async def test_k11_a_write_is_visible_to_the_next_search(self, docs: Any) -> None:
        """Every kind of write, every time."""
        query = [1.0, 0.0, 0.0]
        for turn in range(25):
            name = f"d{turn}"
            await docs.insert("docs", [make(name, [float(turn), 0, 0], metadata={"turn": turn})])
            assert ids(await docs.search("docs", query, 1)) == [name]
            assert await docs.count("docs") == turn + 1
            await docs.upsert("docs", [make(name, [turn + 0.5, 0, 0], metadata={"turn": -turn})])
            found = (await docs.search("docs", query, 1, {"turn": -turn}))[0]
            assert (found.id, found.score) == (name, turn + 0.5)
            await docs.insert("docs", [make("best", [1000.0, 0, 0])])
            assert ids(await docs.search("docs", query, 1)) == ["best"]
            assert await docs.delete("docs", ["best"]) == 1
            assert ids(await docs.search("docs", query, 1)) == [name]
        await docs.clear_collection("docs")
        assert await docs.search("docs", query) == []
