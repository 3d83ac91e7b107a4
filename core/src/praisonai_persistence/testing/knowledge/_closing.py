"""K12: durable, closed, connected, apart by prefixes, as conversations."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import (
    ConnectionFailedError,
    InvalidIdentifierError,
    StoreClosedError,
)
from praisonai_persistence.testing._filter_cases import (
    POOL,
)
from praisonai_persistence.testing._prefixes import has_prefix, refuses_prefixes
from praisonai_persistence.testing._schema import check_schema
from praisonai_persistence.testing._watch import constructs_quietly
from praisonai_persistence.testing.corpus import (
    REFUSED_IDENTIFIERS,
)
from praisonai_persistence.testing.harness import (
    OpenStore,
    Race,
    Unsupported,
    declares,
    full_only,
    needs_fixture,
    only,
    raw,
    split,
)
from praisonai_persistence.testing.spec import StoreSpec

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing.knowledge._common import COLLECTION_CALLS, everything, ids, make, same

__all__ = ["Closing"]


class Closing:
    """K12: durable, closed, connected, apart by prefixes, as conversations."""

    async def test_k12_data_outlive_their_store(
        self, docs: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Closing and opening again finds all of it, where the engine persists."""
        await docs.create_collection("other", 2, "euclidean", {"a": [1, None, "\0"]})
        await docs.insert(
            "docs", [make(str(n), [n, 0.1, 0], metadata=m, content="\0\ud800") for n, m in enumerate(POOL)]
        )
        before = await everything(docs)
        await docs.close()
        again = open_store()
        if not declares(docs, "durable"):
            await again.create_collection("another", 1)
            assert await again.collection_exists("another") is True
            unsupported("durable")
            return
        assert await again.list_collections() == ["docs", "other"]
        info = await again.get_collection("other")
        assert (info.dimension, info.distance, info.metadata) == (2, "euclidean", {"a": [1, None, "\0"]})
        after = await everything(again)
        assert after.keys() == before.keys()
        assert all(same(after[name], before[name]) for name in before)
        assert ids(await again.search("docs", [1.0, 0.0, 0.0], 1)) == [str(len(POOL) - 1)]
        assert await again.count("docs", {"v": 1}) == await again.count("docs", {"v": 1.0}) > 0

    async def test_k12_a_closed_store_says_so(self, docs: Any, open_store: OpenStore) -> None:
        """Whatever is asked of it."""
        unused = open_store()
        for closed in (docs, unused):
            await closed.close()
            await closed.close()
            calls: list[tuple[str, tuple[Any, ...]]] = [
                ("connect", ()),
                ("list_collections", ()),
                ("create_collection", ("new", 3)),
                ("collection_exists", ("docs",)),
            ]
            calls += [(method, ("docs", *arguments)) for method, arguments in COLLECTION_CALLS]
            for method, arguments in calls:
                with pytest.raises(StoreClosedError):
                    await getattr(closed, method)(*arguments)
                    pytest.fail(f"{method}{arguments} worked on a closed store; StoreClosedError was expected")
            await closed.close()

    async def test_k12_closing_one_store_leaves_the_others_open(self, docs: Any, open_store: OpenStore) -> None:
        """Each closes what it opened itself."""
        other = open_store()
        await other.insert("docs", [make("a")])
        await other.close()
        assert await docs.count("docs") == 1
        await docs.insert("docs", [make("b")])
        assert len(await docs.search("docs", [1.0, 0.0, 0.0])) == 2

    async def test_k12_a_store_is_a_context_manager(self, open_store: OpenStore) -> None:
        """It is closed at the end, also by an exception."""
        one, other = open_store(), open_store()
        async with one as entered:
            assert raw(entered) is raw(one)
            await entered.create_collection("docs", 1)
        with pytest.raises(ZeroDivisionError):
            async with other:
                raise ZeroDivisionError
        for closed in (one, other):
            with pytest.raises(StoreClosedError):
                await closed.list_collections()

    async def test_k12_connecting_is_harmless(self, store: Any, race: Race) -> None:
        """As often as one likes, and by many at once."""

        async def body(worker: int) -> None:
            await store.connect()

        split(await race(body, workers=4))
        await store.create_collection("docs", 3)
        await store.connect()
        assert await store.list_collections() == ["docs"]

    @only("async")
    async def test_k12_cancelled_calls_leave_the_store_working(self, docs: Any) -> None:
        """A call is done or not done, and the ones after it get their own answers."""
        query = [1.0, 0.0, 0.0]
        await docs.insert("docs", [make("best", [1000.0, 0, 0])])
        acknowledged = set()
        for turn in range(24):
            batch = [make(f"d{turn}-{part}", [turn, 0, 0], metadata={"turn": turn}) for part in range(3)]
            task = asyncio.ensure_future(docs.insert("docs", batch))
            for _ in range(turn % 6):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
                acknowledged.add(turn)
            except asyncio.CancelledError:
                pass
            assert ids(await docs.search("docs", query, 1)) == ["best"]
            assert ids(await docs.get("docs", ["best", "unknown"])) == ["best"]
        written = [(item.metadata or {})["turn"] for item in (await everything(docs)).values() if item.id != "best"]
        assert acknowledged <= set(written)
        assert all(written.count(turn) == 3 for turn in acknowledged)
        if declares(docs, "atomic_batch"):
            assert all(written.count(turn) == 3 for turn in written)
        await docs.clear_collection("docs")
        assert await docs.insert("docs", [make("a")]) == ["a"]

    async def test_k12_prefixes_see_nothing_of_each_other(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Not even where prefix and collection together read the same."""
        if not has_prefix(open_store, unsupported):
            return
        prefixes = ["", "a_", "a_b_", "aa_", "a"]
        stores = [open_store(table_prefix=prefix) for prefix in prefixes]
        names = ["docs", "b_docs", "_docs", "a_docs"]
        for one, prefix in zip(stores, prefixes, strict=True):
            assert await one.list_collections() == []
            for name in names:
                await one.create_collection(name, 1, "dot", {"prefix": prefix})
                await one.insert(name, [make("d", [1.0], content=f"{prefix}|{name}")])
        for one, prefix in zip(stores, prefixes, strict=True):
            assert await one.list_collections() == sorted(names)
            for name in names:
                assert (await one.get_collection(name)).metadata == {"prefix": prefix}
                assert [item.content for item in await one.search(name, [1.0])] == [f"{prefix}|{name}"]
                assert await one.count(name) == 1
        await stores[0].delete_collection("a_docs")
        await stores[1].clear_collection("b_docs")
        await stores[2].delete("docs", ["d"])
        await stores[4].delete_collection("_docs")
        wanted: list[list[int | None]] = [[1, 1, 1, None], [1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [1, 1, None, 1]]
        for one, numbers in zip(stores, wanted, strict=True):
            for name, number in zip(names, numbers, strict=True):
                assert await one.collection_exists(name) is (number is not None)
                assert number is None or await one.count(name) == number

    async def test_k12_prefixes_may_differ_in_case_alone(
        self, store: Any, open_store: OpenStore, unsupported: Unsupported
    ) -> None:
        """Or the second is refused, rather than mixed up with the first."""
        if not has_prefix(open_store, unsupported):
            return
        await open_store(table_prefix="kit_").create_collection("docs", 1)
        try:
            upper = open_store(table_prefix="KIT_")
            found = await upper.list_collections()
        except InvalidIdentifierError:
            return
        assert found == []

    async def test_k12_identifiers_are_validated_before_connecting(
        self, store: Any, open_store: OpenStore, unreachable_spec: StoreSpec | None, unsupported: Unsupported
    ) -> None:
        """The constructor refuses a prefix, and a call refuses a collection, that must not reach DDL."""
        names = [*REFUSED_IDENTIFIERS, "", "-a", "a" * 49]
        one = open_store(unreachable_spec) if unreachable_spec else open_store()
        for name in names:
            with pytest.raises(InvalidIdentifierError):
                await one.create_collection(name, 3)
        refuses_prefixes(open_store, unsupported)

    def test_k12_constructing_touches_nothing(self, spec: StoreSpec, mode: str) -> None:
        """No connection, no file, no folder."""
        constructs_quietly(spec, mode)

    @needs_fixture("unreachable_spec")
    async def test_k12_an_engine_out_of_reach_is_reported(
        self, unreachable_spec: StoreSpec, open_store: OpenStore
    ) -> None:
        """By every call, in time; constructing and closing say nothing."""
        one = open_store(unreachable_spec)
        begin = time.monotonic()
        for method, arguments in (
            ("connect", ()),
            ("list_collections", ()),
            ("create_collection", ("docs", 3)),
            ("insert", ("docs", [make("a")])),
            ("search", ("docs", [1.0, 0.0, 0.0])),
            ("count", ("docs",)),
            ("connect", ()),
        ):
            with pytest.raises(ConnectionFailedError) as caught:
                await getattr(one, method)(*arguments)
                pytest.fail(f"{method} worked on an engine out of reach")
            assert isinstance(caught.value, ConnectionError)
        assert time.monotonic() - begin < 90
        await one.close()
        with pytest.raises(StoreClosedError):
            await one.list_collections()

    @full_only
    @needs_fixture("server")
    async def test_k12_the_same_store_works_after_a_restart(self, docs: Any, server: Any) -> None:
        """Nothing of it has to be opened again."""
        await docs.insert("docs", [make("a")])
        server.stop()
        for method, arguments in (("count", ()), ("insert", ([make("b")],)), ("search", ([1.0, 0.0, 0.0],))):
            with pytest.raises(ConnectionFailedError):
                await getattr(docs, method)("docs", *arguments)
                pytest.fail(f"{method} worked without a server")
        server.start()
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0])) == ["a"]
        await docs.insert("docs", [make("b")])
        assert await docs.count("docs") == 2

    async def test_k12_the_schema_is_told_and_changed(self, store: Any) -> None:
        """Without losing anything."""

        async def write() -> None:
            await store.create_collection("docs", 3)

        await check_schema(store, write, lambda: store.collection_exists("docs"))
