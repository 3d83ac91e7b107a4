"""The vector storage: when entries are embedded and written, what is found, and errors."""

from __future__ import annotations

import asyncio

import pytest
from lightrag.utils import compute_mdhash_id

from praisonai_persistence.errors import ConfigurationError, DimensionError, InvalidValueError
from praisonai_persistence_lightrag import PersistentVectorStorage

RELATION = {"src_id", "tgt_id", "content"}


def entry(content, **fields):
    return {"content": content, "entity_name": content.upper(), "unknown": 1, **fields}


def made(stores, workspace=""):
    return stores.make(PersistentVectorStorage, "entities", workspace, meta_fields={"entity_name", "content"})


def test_entries_are_embedded_and_written_together(run):
    async def work(stores):
        vectors = made(stores)
        assert await vectors.query("a", 5) == []
        await vectors.upsert({"1": entry("a"), "2": entry("b")})
        await vectors.upsert({"1": entry("aac"), "3": entry("c"), "4": entry("cc")})
        assert stores.embedded == [["a"]]  # the question
        await vectors.index_done_callback()
        await vectors.index_done_callback()
        assert stores.embedded[1:] == [["aac", "b", "c"], ["cc"]]  # by embedding_batch_num
        found = await made(stores).get_by_id("1")
        assert isinstance(found.pop("created_at"), int)
        assert found == {"id": "1", "entity_name": "AAC", "content": "aac"}

    run(work)


def test_reading_sees_what_was_written_before(run):
    async def work(stores):
        vectors = made(stores)
        await vectors.upsert({"1": entry("a"), "2": entry("ab"), "3": entry("c")})
        assert [(item["id"], round(item["distance"], 3)) for item in await vectors.query("a", 5)] == [
            ("1", 1.0),
            ("2", 0.707),
        ]  # nothing below the threshold
        assert [item["id"] for item in await vectors.query("not asked", 1, [0.0, 0.0, 2.0])] == ["3"]
        await vectors.delete(["1", "never"])
        assert [item and item["id"] for item in await vectors.get_by_ids(["3", "1", "2"])] == ["3", None, "2"]
        await vectors.upsert({"1": entry("b")})
        await vectors.delete(["2"])
        assert await vectors.get_vectors_by_ids(["1", "2", "3"]) == {"1": [0.0, 1.0, 0.0], "3": [0.0, 0.0, 1.0]}
        await vectors.upsert({"5": entry("a")})
        await vectors.drop_pending_index_ops()
        assert await vectors.get_by_id("5") is None
        assert (await vectors.drop())["status"] == "success"
        assert await vectors.get_by_ids(["1", "3"]) == [None, None]

    run(work)


def test_entities_and_their_relations_are_removed(run):
    async def work(stores):
        vectors = stores.make(PersistentVectorStorage, "relationships", meta_fields=RELATION)
        entities = made(stores)
        await entities.upsert({compute_mdhash_id(name, prefix="ent-"): entry(name) for name in ("a", "b")})
        pairs = [("A", "B"), ("C", "A"), ("B", "C")]
        await vectors.upsert({f"{s}{t}": {"src_id": s, "tgt_id": t, "content": "a"} for s, t in pairs})
        await vectors.delete_entity_relation("A")
        await entities.delete_entity("a")
        assert [item and item["id"] for item in await vectors.get_by_ids(["AB", "CA", "BC"])] == [None, None, "BC"]
        assert [item["entity_name"] for item in await entities.query("ab", 5)] == ["B"]

    run(work)


def test_what_fails_is_not_lost(run):
    async def work(stores):
        vectors = made(stores)
        await vectors.upsert({"1": entry("a")})
        stores.fails = True
        with pytest.raises(RuntimeError, match="no answer"):
            await vectors.index_done_callback()
        stores.fails = False
        await vectors.finalize()
        assert (await made(stores).get_by_id("1"))["entity_name"] == "A"

    run(work)


def test_workspaces_are_apart_whatever_their_names(run):
    names = ["", "a", "A-b", "x" * 60, "ä", "entities", "_"]

    async def work(stores):
        for number, name in enumerate(names):
            await (one := made(stores, name)).upsert({"1": entry("a" * (number + 1))})
            await one.finalize()
        found = [(await made(stores, name).get_by_id("1"))["content"] for name in names]
        assert found == ["a" * (number + 1) for number in range(len(names))]

    run(work)


def test_bad_input(run):
    async def short(texts, **_):
        return [[1.0, 2.0, 3.0]]

    async def other(texts, **_):
        return [[1.0] for _ in texts]

    async def work(stores):
        with pytest.raises(ConfigurationError, match="embedding_func="):
            stores.make(PersistentVectorStorage, "chunks", embedding_func=None)
        vectors = made(stores)
        with pytest.raises(InvalidValueError, match="must be text"):
            await vectors.upsert({"1": entry("a"), "2": {"content": None}})
        assert await vectors.get_by_ids(["1"]) == [None]
        few = stores.make(PersistentVectorStorage, "entities", embedding_func=short)
        await few.upsert({"1": entry("a"), "2": entry("b")})
        with pytest.raises(InvalidValueError, match="1 vectors for 2 texts"):
            await few.index_done_callback()
        await vectors.upsert({"1": entry("a")})
        await vectors.finalize()
        changed = stores.make(PersistentVectorStorage, "entities", embedding_func=other)
        await changed.upsert({"2": entry("b")})
        with pytest.raises(DimensionError):
            await changed.finalize()

    run(work)


def test_64_tasks_lose_nothing(run):
    async def work(stores):
        vectors = made(stores)

        async def write(writer):
            for number in range(3):
                await vectors.upsert({f"{writer}-{number}": entry("a")})
                await vectors.index_done_callback()

        await asyncio.gather(*map(write, range(64)))
        ids = [f"{writer}-{number}" for writer in range(64) for number in range(3)]
        assert len(await made(stores).get_vectors_by_ids(ids)) == 192

    run(work)
