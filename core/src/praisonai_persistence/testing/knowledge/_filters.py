"""K05, K06: the filter language."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from praisonai_persistence.errors import (
    FilterError,
    InvalidValueError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.testing._filter_cases import (
    FILTERS,
    KEYS,
    POOL,
    REFUSED_FILTERS,
    escaped,
    single_filters,
)
from praisonai_persistence.testing.corpus import (
    shorten,
)
from praisonai_persistence.testing.harness import ByTier, full_only

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing.knowledge._common import ALL, SETTINGS, everything, ids, make

__all__ = ["Filters"]


DEEPEST = 48
"""Levels around a comparison, which itself counts as two."""


class Filters:
    """K05, K06: the filter language."""

    # ------------------------------------------------------------------------------------------------ K05, K06 filters

    async def _fill(self, store: Any) -> None:
        """Store the pool of metadata, once."""
        if await store.collection_exists("docs"):
            return
        await store.create_collection("docs", 3, "dot")
        await store.insert("docs", [make(str(n), [float(n % 5), 1.0, 0.0], metadata=m) for n, m in enumerate(POOL)])

    async def _assert_selects(self, store: Any, filters: Any) -> None:
        """Search and count agree with the reference."""
        tree = parse(filters)
        wanted = {str(number) for number, metadata in enumerate(POOL) if matches(tree, metadata)}
        found = await store.search("docs", [1.0, 0.0, 0.0], ALL, filters)
        names = {item.id for item in found}
        for said, wrong in (("does not find", wanted - names), ("finds, and should not,", names - wanted)):
            assert not wrong, f"{shorten(filters)} {said} {len(wrong)} documents, of the metadata " + ", ".join(
                shorten(POOL[int(number)], 80) for number in sorted(wrong)[:3]
            )
        assert sorted(ids(found)) == sorted(wanted), f"{shorten(filters)} finds documents twice"
        assert await store.count("docs", filters) == len(wanted), f"count of {shorten(filters, 200)}"

    @full_only
    async def test_k05_every_operator_with_every_operand(self, store: Any) -> None:
        """On values of all types, against the reference."""
        await self._fill(store)
        for filters in single_filters():
            await self._assert_selects(store, filters)

    async def test_k05_keys_are_any_text(self, store: Any, by_tier: ByTier) -> None:
        """Taken whole; those of dollars and backslashes are escaped."""
        await self._fill(store)
        step = by_tier(quick=3, full=1)
        for turn, key in enumerate(KEYS):
            name = escaped(key)
            some = [metadata[key] for metadata in POOL if metadata and key in metadata]
            assert some, "the pool has every key"
            every: tuple[dict[str, Any], ...] = (
                {name: {"$exists": True}},
                {name: {"$exists": False}},
                {name: some[0]},
                {name: {"$ne": some[0]}},
                {name: {"$in": some}},
                {name: {"$nin": some[1:]}},
                {name: {"$gt": ""}},
                {name: {"$lte": 1}},
                {name: {"$contains": 1}},
                {name: {"$startswith": "a"}},
                {"$not": {name: {"$lt": "a"}}},
                {"$or": [{name: some[-1]}, {"v": 1}]},
            )
            for filters in every[turn % step :: step]:  # in the tier quick a third of the operators for each key
                await self._assert_selects(store, filters)

    @full_only
    @pytest.mark.clause("K06")
    async def test_k05_combinations(self, store: Any) -> None:
        """Of ``$and``, ``$or`` and ``$not``, one inside the other, and side by side."""
        await self._fill(store)
        some: list[dict[str, Any]] = [
            {"v": {"$gte": 0}},
            {"v": {"$lt": 2}},
            {"V": {"$exists": True}},
            {"v": {"$in": [1, "a", None]}},
        ]
        names = ("$and", "$or")
        for a, b, c in itertools.permutations(some, 3):
            for outer, inner in itertools.product(names, names):
                await self._assert_selects(store, {outer: [a, {inner: [b, c]}]})
                await self._assert_selects(store, {"$not": {outer: [a, {"$not": {inner: [b, {"$not": c}]}}]}})
            await self._assert_selects(store, {"$or": [a, b], "$not": c})
            await self._assert_selects(store, {**a, "$or": [b, c], "$and": [{"$or": [c, a]}]})
            await self._assert_selects(store, {"$not": {"$not": {**a, "$not": {**b, **c}}}})
        conditions: list[dict[str, Any]] = [{"$gte": 0}, {"$lt": 2}, {"$ne": 1}, {"$startswith": "a"}]
        for one, other in itertools.permutations(conditions, 2):
            await self._assert_selects(store, {"v": {**one, "$not": other}})
            await self._assert_selects(store, {"v": {"$not": {**one, **other}}})
            await self._assert_selects(store, {"v": {"$not": {**one, "$not": {"$not": other}}}})
        trivial: list[dict[str, Any]] = [{"$and": [{}]}, {"$or": [{}, {"v": 1}]}, {"$not": {}}, {"v": 1, "$not": {}}]
        for filters in trivial:
            await self._assert_selects(store, filters)

    @pytest.mark.clause("L12")
    @pytest.mark.parametrize("outer", ["$and", "$or", "$not"])
    async def test_k05_as_many_levels_as_there_may_be(self, store: Any, outer: str) -> None:
        """An answer, and the right one: what an engine cannot nest so deep is checked by the store."""
        await self._fill(store)
        deep: dict[str, Any] = {"v": {"$lt": 2}}
        for level in range(DEEPEST):
            inner = "$or" if level % 2 else "$and"
            other = {"V": {"$exists": True}} if level % 3 else {"v": {"$gte": 0}}
            deep = {"$not": deep} if outer == "$not" else {inner if level % 5 == 0 else outer: [deep, other]}
        await self._assert_selects(store, deep)
        with pytest.raises(FilterError):
            await store.count("docs", {"$and": [{"$not": deep}, {"v": 1}]})

    async def test_k05_examples(self, docs: Any) -> None:
        """Spelled out, without the reference."""
        metadata: dict[str, Any] = {
            "none": None,
            "empty": {},
            "int": {"a": 1},
            "float": {"a": 1.0},
            "true": {"a": True},
            "text": {"a": "1"},
            "null": {"a": None},
            "two": {"a": 2, "b": 1},
            "ten": {"a": 10, "b": "x"},
            "Ten": {"a": "10", "b": "X"},
            "list": {"a": [1, "x"]},
            "object": {"a": {"b": 1}},
            "dotted": {"a.b": 1},
        }
        await docs.insert("docs", [make(name, metadata=value) for name, value in metadata.items()])
        examples: list[tuple[Any, str]] = [
            (None, " ".join(metadata)),
            ({}, " ".join(metadata)),
            ({"a": 1}, "int float"),
            ({"a": 1.0}, "int float"),
            ({"a": True}, "true"),
            ({"a": "1"}, "text"),
            ({"a": None}, "null"),
            ({"a": {"b": 1}}, "object"),
            ({"a.b": 1}, "dotted"),
            ({"a": {"$ne": 1}}, "none empty true text null two ten Ten list object dotted"),
            ({"a": {"$gt": 1}}, "two ten"),
            ({"a": {"$gte": 1}}, "int float two ten"),
            ({"a": {"$lt": 10}}, "int float two"),
            ({"a": {"$gt": "1"}}, "Ten"),
            ({"a": {"$lte": "10"}}, "text Ten"),
            ({"a": {"$in": [1, "10"]}}, "int float Ten"),
            ({"a": {"$in": []}}, ""),
            ({"a": {"$nin": [1, None]}}, "none empty true text two ten Ten list object dotted"),
            ({"a": {"$nin": []}}, " ".join(metadata)),
            ({"a": {"$exists": False}}, "none empty dotted"),
            ({"b": {"$exists": True}}, "two ten Ten"),
            ({"a": {"$contains": 1}}, "list"),
            ({"a": {"$contains": "x"}}, "list"),
            ({"a": {"$contains": True}}, ""),
            ({"a": {"$startswith": "1"}}, "text Ten"),
            ({"b": {"$startswith": "x"}}, "ten"),
            ({"a": {"$not": {"$gt": 1}}}, "none empty int float true text null Ten list object dotted"),
            ({"a": {"$gt": 1, "$lt": 10}}, "two"),
            ({"a": 2, "b": 1}, "two"),
            ({"a": 2, "b": 2}, ""),
            ({"$or": [{"a": 2}, {"b": "x"}]}, "two ten"),
            ({"$and": [{"a": {"$gt": 1}}, {"b": {"$exists": True}}]}, "two ten"),
            ({"$not": {"$or": [{"a": {"$exists": True}}, {"a.b": 1}]}}, "none empty"),
        ]
        for filters, wanted in examples:
            found = await docs.search("docs", [1.0, 0.0, 0.0], ALL, filters)
            assert sorted(ids(found)) == sorted(wanted.split()), filters
            assert await docs.count("docs", filters) == len(wanted.split()), filters

    async def test_k05_refused_filters(self, docs: Any) -> None:
        """By every call that takes one; nothing is deleted."""
        await docs.insert("docs", [make("a", metadata={"v": 1})])
        for filters in REFUSED_FILTERS:
            for method, arguments in (
                ("search", ([1.0, 0.0, 0.0], 5, filters)),
                ("search", ([1.0, 0.0, 0.0], 0, filters)),
                ("count", (filters,)),
                ("delete", (None, filters)),
                ("delete", (["a"], filters)),
            ):
                with pytest.raises(FilterError) as caught:
                    await getattr(docs, method)("docs", *arguments)
                    pytest.fail(f"{method} took the filter {shorten(filters)}; an error was expected")
                assert isinstance(caught.value, ValueError)
        assert await docs.count("docs") == 1

    @full_only
    @pytest.mark.clause("K05")
    @settings(SETTINGS, max_examples=150)
    @given(filters=FILTERS)
    async def test_k06_search_and_count_agree_with_the_reference(self, store: Any, filters: dict[str, Any]) -> None:
        """For filters of all shapes."""
        await self._fill(store)
        await self._assert_selects(store, filters)

    @full_only
    @pytest.mark.clause("K05", "K08")
    @settings(SETTINGS, max_examples=40)
    @given(filters=FILTERS, some=st.lists(st.sampled_from([m for m in POOL if m]), min_size=1, max_size=8))
    async def test_k06_delete_agrees_with_the_reference(self, store: Any, filters: Any, some: list[Any]) -> None:
        """It removes exactly what search would find."""
        await store.create_collection("few", 3, "dot")
        await store.clear_collection("few")
        await store.insert("few", [make(str(number), metadata=metadata) for number, metadata in enumerate(some)])
        tree = parse(filters)
        if tree is None:
            with pytest.raises(InvalidValueError):
                await store.delete("few", filters=filters)
        left = [str(number) for number, metadata in enumerate(some) if not matches(tree, metadata)]
        if tree is not None:
            assert await store.delete("few", filters=filters) == len(some) - len(left)
            assert sorted(await everything(store, "few")) == sorted(left)

    async def test_k06_a_filter_selects_before_the_limit_cuts(self, docs: Any) -> None:
        """Also when what matches is far away and rare."""
        await docs.insert("docs", [make(f"near {n}", [100.0 - n, 0, 0], metadata={"kind": "near"}) for n in range(300)])
        await docs.insert("docs", [make(f"far {n}", [-float(n), 0, 0], metadata={"kind": "far"}) for n in range(7)])
        found = await docs.search("docs", [1.0, 0.0, 0.0], 5, {"kind": "far"})
        assert ids(found) == [f"far {n}" for n in range(5)]
        found = await docs.search("docs", [1.0, 0.0, 0.0], 50, {"kind": {"$ne": "near"}})
        assert ids(found) == [f"far {n}" for n in range(7)]
        assert await docs.search("docs", [1.0, 0.0, 0.0], 5, {"kind": "none"}) == []

    async def test_k06_filters_follow_every_write(self, docs: Any) -> None:
        """What was replaced or deleted matches no more."""
        await docs.insert("docs", [make("a", metadata={"n": 1, "tags": ["x"]}), make("b", metadata={"n": 1})])
        await docs.upsert("docs", [make("a", metadata={"n": 2})])
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], filters={"n": 1})) == ["b"]
        assert await docs.count("docs", {"tags": {"$exists": True}}) == 0
        await docs.delete("docs", ["b"])
        assert await docs.count("docs", {"n": 1}) == 0
        await docs.upsert("docs", [make("b")])
        assert await docs.count("docs", {"n": {"$exists": False}}) == 1

    async def test_k06_filters_see_metadata_only(self, docs: Any) -> None:
        """Not the fields of the document."""
        await docs.insert("docs", [make("a", content="text", content_hash="h", metadata={"x": 1})])
        for name in (
            "id",
            "content",
            "content_hash",
            "created_at",
            "embedding",
            "score",
            "metadata",
            "collection",
            "rowid",
        ):
            assert await docs.count("docs", {name: {"$exists": True}}) == 0
            assert await docs.count("docs", {name: "a"}) == 0
        assert await docs.count("docs", {"x": 1}) == 1
