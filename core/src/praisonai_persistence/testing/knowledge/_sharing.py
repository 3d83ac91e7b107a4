"""K12: what goes in comes out, also beside other threads and processes, and after a kill."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.errors import (
    CollectionNotFoundError,
    DimensionError,
    DocumentExistsError,
    SerializationError,
)
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing._knowledge_bodies import document, script
from praisonai_persistence.testing.corpus import (
    HOSTILE_IDS,
    HOSTILE_TEXTS,
    large_texts,
    shorten,
)
from praisonai_persistence.testing.harness import (
    Child,
    Moments,
    OpenStore,
    Race,
    Spawn,
    Unsupported,
    check_shared,
    declares,
    full_only,
    split,
)

if TYPE_CHECKING:
    pass
from praisonai_persistence.testing.knowledge._common import ALL, BODIES, everything, ids, make, same, survivors

__all__ = ["Sharing"]


class Sharing:
    """K12: what goes in comes out, also beside other threads and processes, and after a kill."""

    # ------------------------------------------------------------------------------------------- K12 as conversations

    async def test_k12_every_text_comes_back(self, docs: Any) -> None:
        """As content and as hash."""
        batch = [
            make(str(n), content=text, content_hash=text, metadata={"n": n}) for n, text in enumerate(HOSTILE_TEXTS)
        ]
        await docs.insert("docs", batch)
        for found in await docs.get("docs", ids(batch)):
            wanted = HOSTILE_TEXTS[int(found.id)]
            assert found.content == wanted, f"{shorten(wanted)} came back as {shorten(found.content)}"
            assert found.content_hash == wanted
        for found in await docs.search("docs", [1.0, 0.0, 0.0], ALL):
            assert found.content == HOSTILE_TEXTS[int(found.id)]

    async def test_k12_large_texts(self, docs: Any) -> None:
        """Megabytes."""
        texts = large_texts(getattr(docs, "max_document_bytes", None), copies=2)
        batch = [make(str(number), content=text, metadata={"copy": text}) for number, text in enumerate(texts)]
        await docs.insert("docs", batch)
        for found, wanted in zip(await docs.get("docs", ids(batch)), batch, strict=True):
            assert found.content == wanted.content
            assert found.metadata == wanted.metadata
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], filters={"copy": texts[0]})) == ["0"]

    @full_only
    async def test_k12_up_to_the_size_limit(self, docs: Any) -> None:
        """10 MB, or what the store declares; more is refused."""
        limit: int | None = getattr(docs, "max_document_bytes", None)
        size = 10_000_000 if limit is None else min(10_000_000, limit - 1_000)
        wide = min(49_000, size // 4)
        content = "x" * (size - 2 * wide - 2_000) + "\u00fc" * wide
        await docs.upsert("docs", [make("a", content=content)])
        assert (await docs.get("docs", ["a"]))[0].content == content
        await docs.upsert("docs", [make("a", content="small")])
        if limit is None:
            return
        for fields in ({"content": "x" * (limit + 1)}, {"metadata": {"a": "x" * limit}}):
            for method in ("insert", "upsert"):
                with pytest.raises(SerializationError):
                    await getattr(docs, method)("docs", [make("b"), make("c", **fields)])
                    pytest.fail(f"{method} took more than {limit} bytes; an error was expected")
        assert sorted(await everything(docs)) == ["a"]

    async def test_k12_any_text_is_an_id_and_all_are_different(self, docs: Any) -> None:
        """For every call."""
        batch = [make(name, content=str(number), metadata={"n": number}) for number, name in enumerate(HOSTILE_IDS)]
        assert await docs.insert("docs", batch) == HOSTILE_IDS
        assert ids(await docs.get("docs", HOSTILE_IDS)) == HOSTILE_IDS
        assert ids(await docs.search("docs", [1.0, 0.0, 0.0], ALL)) == sorted(HOSTILE_IDS)
        for number, name in enumerate(HOSTILE_IDS):
            found = await docs.get("docs", [name])
            assert [item.content for item in found] == [str(number)], shorten(name)
            await docs.upsert("docs", [make(name, content=f"new {number}")])
        assert await docs.count("docs") == len(HOSTILE_IDS)
        for number, name in enumerate(HOSTILE_IDS):  # what one deletes too much, a later one does not find
            assert [item.content for item in await docs.get("docs", [name])] == [f"new {number}"], shorten(name)
            assert await docs.delete("docs", [name]) == 1, shorten(name)
        assert await docs.count("docs") == 0

    async def test_k12_one_store_can_be_shared(self, docs: Any, race: Race) -> None:
        """Every worker finds what it wrote; nothing is lost."""

        async def body(worker: int) -> None:
            own = f"w{worker}"
            for turn in range(8):
                await docs.insert("docs", [document(own, 2 * turn, turn, own), document(own, 2 * turn + 1, turn, own)])
                await docs.upsert("docs", [document(own, 0, turn, own)])
                assert await docs.count("docs", {"own": own}) == 2 * turn + 2
                found = await docs.search("docs", [0.0, 1.0, 0.0], 1, {"own": own})
                assert ids(found) == [f"{own}-{2 * turn + 1}"]
                assert (await docs.get("docs", [f"{own}-0"]))[0].metadata["turn"] == turn
            assert await docs.delete("docs", filters={"own": own, "number": {"$gte": 10}}) == 6

        split(await race(body))
        assert await docs.count("docs") == 8 * 10

    async def test_k12_two_stores_on_the_same_data(self, store: Any, open_store: OpenStore) -> None:
        """Each sees at once what the other wrote."""
        other = open_store()
        assert await other.list_collections() == []
        await store.create_collection("docs", 3, "dot")
        assert await other.list_collections() == ["docs"]
        query = [1.0, 0.0, 0.0]
        for turn in range(5):
            await store.insert("docs", [make(f"s{turn}", [turn, 0, 0])])
            assert ids(await other.search("docs", query, 1)) == [f"s{turn}"]
            await other.upsert("docs", [make(f"s{turn}", [turn + 0.5, 0, 0], metadata={"turn": turn})])
            assert (await store.search("docs", query, 1))[0].score == turn + 0.5
            assert await store.count("docs", {"turn": turn}) == 1
        assert await other.delete("docs", ["s4"]) == 1
        assert ids(await store.search("docs", query, 1)) == ["s3"]
        with pytest.raises(DocumentExistsError):
            await other.insert("docs", [make("s0")])
        await other.delete_collection("docs")
        assert await store.collection_exists("docs") is False
        with pytest.raises(CollectionNotFoundError):
            await store.insert("docs", [make("a")])
        await other.create_collection("docs", 1, "euclidean")
        with pytest.raises(DimensionError):
            await store.insert("docs", [make("a")])
        assert await store.insert("docs", [make("a", [1.0])]) == ["a"]
        assert (await other.search("docs", [0.0]))[0].score == pytest.approx(0.5)

    async def _obeying(self, spawn: Spawn) -> Child:
        """Start a child that does what it is told."""
        child = await spawn(f"{BODIES}:obey")
        child.go()
        return child

    async def _is_shared(self, store: Any, child: Child) -> bool:
        """Whether such a child and the test see each other's writes, tried."""
        await store.create_collection("mine", 1)
        child.send(["create_collection", "theirs", 1])
        await child.report()
        child.send(["collection_exists", "mine"])
        reply = await child.report()
        shared = reply == {"returned": True} and await store.collection_exists("theirs")
        await store.delete_collection("mine")
        if shared:
            await store.delete_collection("theirs")
        return bool(shared)

    async def test_k12_two_processes(self, docs: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Each sees at once what the other wrote."""
        child = await self._obeying(spawn)
        shared = await self._is_shared(docs, child)
        check_shared(docs, shared)
        if not shared:
            unsupported("two processes")
            return

        async def there(method: str, *arguments: Any) -> Any:
            child.send([method, *arguments])
            return await child.report()

        query = [1.0, 0.0, 0.0]
        for turn in range(4):
            await docs.insert("docs", [make(f"s{turn}", [turn, 0, 0])])
            reply = await there("search", "docs", query, 1)
            assert reply["returned"][0]["id"] == f"s{turn}"
            replaced = make(f"s{turn}", [turn + 0.5, 0, 0], metadata={"turn": turn}).to_dict()
            assert await there("upsert", "docs", [replaced]) == {"returned": [f"s{turn}"]}
            found = (await docs.search("docs", query, 1, {"turn": turn}))[0]
            assert (found.id, found.score) == (f"s{turn}", turn + 0.5)
        assert await there("insert", "docs", [make("s0").to_dict()]) == {"raised": "DocumentExistsError"}
        assert await there("delete", "docs", ["s3"]) == {"returned": 1}
        assert ids(await docs.search("docs", query, 1)) == ["s2"]
        await docs.delete_collection("docs")
        assert await there("count", "docs") == {"raised": "CollectionNotFoundError"}
        child.send(None)
        await child.result()

    @full_only
    @pytest.mark.clause("K02")
    async def test_k12_races_between_processes(self, docs: Any, spawn: Spawn, unsupported: Unsupported) -> None:
        """Nothing is lost, and an id is inserted once."""
        if not declares(docs, "shared"):
            assert not await self._is_shared(docs, await self._obeying(spawn))
            unsupported("two processes")
            return
        names = [f"first-{number}" for number in range(20)]
        inserting = [await spawn(f"{BODIES}:insert_first", collection="docs", names=names, number=n) for n in range(2)]
        upserting = [await spawn(f"{BODIES}:upsert_times", collection="docs", name=n, times=20) for n in ("x", "y")]
        for child in itertools.chain(inserting, upserting):
            child.go()
        won = [await child.result() for child in inserting]
        for child in upserting:
            await child.result()
        assert sorted(won[0] + won[1]) == sorted(names)
        for number, mine in enumerate(won):
            for found in await docs.get("docs", [f"{name}-0" for name in mine]):
                assert same(found, document(found.id.removesuffix("-0"), 0, number))
        assert await docs.count("docs") == 20 + 2 * 20 + 1
        common = (await docs.get("docs", ["common-0"]))[0]
        assert same(common, document("common", 0, 19, common.metadata["own"]))

    @full_only
    @pytest.mark.crash
    @pytest.mark.parametrize("writers", [1, 4])
    async def test_k12_what_was_acknowledged_survives_a_kill(
        self, docs: Any, open_store: OpenStore, spawn: Spawn, moments: Moments, unsupported: Unsupported, writers: int
    ) -> None:
        """And a batch that was not is there whole or not at all, where that is declared."""
        await docs.insert("docs", [make("before")])
        if not declares(docs, "durable"):
            child = await spawn(f"{BODIES}:obey")
            child.go()
            child.send(["create_collection", "theirs", 1])
            assert await child.report() == {"returned": None}
            await child.kill_after(0)
            assert await open_store().collection_exists("theirs") is False, "it survives, so declare 'durable'"
            unsupported("durable")
            return
        whole = declares(docs, "atomic_batch")
        await docs.close()
        for trial, (reports, delay) in enumerate(moments):
            child = await spawn(f"{BODIES}:write_forever", name=f"trial-{trial}", writers=writers)
            child.go()
            acknowledged = await child.kill_after(reports, delay)
            one = open_store()
            found = await survivors(one)
            for worker in range(writers):
                done = max((number for who, number in acknowledged if who == worker), default=0)
                self._assert_survived(found, f"trial-{trial}-{worker}", done, whole)
            assert "before" in found
            await one.upsert("docs", [make("before", content=str(trial))])
            await one.close()
        if not whole:
            unsupported("atomic_batch")

    def _assert_survived(
        self, everyone: dict[str, KnowledgeDocument], own: str, acknowledged: int, whole: bool
    ) -> None:
        """The script was followed so far, or one call further, and that one whole or, if it may be, in part."""
        found = {name: item for name, item in everyone.items() if name.startswith(f"{own}:")}
        states = []
        with MemoryKnowledgeStore() as model:
            model.create_collection("docs", 3, "dot")
            calls = script(own)
            for method, arguments in itertools.islice(calls, acknowledged):
                getattr(model, method)(*arguments)
            states.append({item.id: item for item in model.search("docs", [1.0] * 3, ALL, with_embeddings=True)})
            method, arguments = next(calls)
            getattr(model, method)(*arguments)
            states.append({item.id: item for item in model.search("docs", [1.0] * 3, ALL, with_embeddings=True)})

        def right(name: str, state: dict[str, KnowledgeDocument]) -> bool:
            if name not in found or name not in state:
                return name not in found and name not in state
            return bool(same(found[name], state[name]))

        names = {*found, *states[0], *states[1]}
        lost = [name for name in names if not right(name, states[0]) and not right(name, states[1])]
        assert not lost, f"after {acknowledged} acknowledged calls, {method} under way, wrong: {sorted(lost)[:5]}"
        if whole:
            assert any(all(right(name, state) for name in names) for state in states), f"half of a batch ({method})"
