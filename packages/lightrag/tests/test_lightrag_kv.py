"""The key-value storage, and how LightRAG is given the stores."""

from __future__ import annotations

import asyncio
import copy

import pytest
from lightrag.kg.factory import get_storage_class
from lightrag.kg.json_kv_impl import JsonKVStorage

from praisonai_persistence.errors import ConfigurationError, InvalidValueError, SerializationError
from praisonai_persistence.knowledge import MemoryKnowledgeStore
from praisonai_persistence.state import MemoryStateStore
from praisonai_persistence_lightrag import (
    PersistentDocStatusStorage,
    PersistentGraphStorage,
    PersistentKVStorage,
    PersistentVectorStorage,
    storages,
)


def test_lightrag_finds_the_classes_and_copies_its_configuration():
    state, knowledge = MemoryStateStore(), MemoryKnowledgeStore()
    options = copy.deepcopy(storages(state, knowledge))
    assert options["vector_db_storage_cls_kwargs"]["praisonai_persistence"].state is state
    wanted = [PersistentKVStorage, PersistentVectorStorage, PersistentGraphStorage, PersistentDocStatusStorage]
    names = ("kv_storage", "vector_storage", "graph_storage", "doc_status_storage")
    assert [get_storage_class(options[name]) for name in names] == wanted
    with pytest.raises(ConfigurationError, match="state store"):
        storages(knowledge, state)
    with pytest.raises(ConfigurationError, match="knowledge store"):
        storages(state, "sqlite:///x.db")
    with pytest.raises(ConfigurationError, match="storages\\(state, knowledge\\)"):
        PersistentKVStorage(namespace="x", workspace="", global_config={}, embedding_func=None)


def test_entries(run):
    async def work(stores):
        kv = stores.make(PersistentKVStorage, "text_chunks")
        assert await kv.is_empty()
        assert await kv.get_by_id("a") is None
        given = {"content": "x\x00", "n": [1, None, {"y": 1.5}]}
        await kv.upsert({"a": given, "b": {"llm_cache_list": ["z"]}})
        await kv.upsert({})
        assert given == {"content": "x\x00", "n": [1, None, {"y": 1.5}]}  # the caller's is as it was
        found = await kv.get_by_id("a")
        assert {**found, "create_time": 0, "update_time": 0} == {
            **given,
            "llm_cache_list": [],
            "_id": "a",
            "create_time": 0,
            "update_time": 0,
        }
        assert await kv.get_by_id_strict("a") == found
        rows = await kv.get_by_ids(["b", "?", "a", "b"])
        assert [row and row["_id"] for row in rows] == ["b", None, "a", "b"]
        assert await kv.filter_keys({"a", "b", "c"}) == {"c"}
        await kv.delete(["a", "never"])
        assert await kv.filter_keys({"a", "b"}) == {"a"}
        assert not await kv.is_empty()
        assert await kv.drop() == {"status": "success", "message": "data dropped"}
        assert await kv.is_empty()

    run(work)


def test_an_entry_stays_as_old_as_it_is(run):
    async def work(stores):
        kv = stores.make(PersistentKVStorage)
        await kv.upsert({"a": {"n": 1}})
        key = next(iter(await kv._keys()))
        await kv._write({key: {"n": 1, "create_time": 5, "update_time": 5, "_id": "a"}})
        await kv.upsert({"a": {"n": 2}})
        found = await kv.get_by_id("a")
        assert (found["n"], found["create_time"]) == (2, 5)
        assert found["update_time"] > 5

    run(work)


def test_workspaces_namespaces_and_ids_are_apart_whatever_their_names(run):
    names = ["", "a", "a/b", "a%2Fb", "*", "[a]", "a?", "\\", "é"]
    ids = ["x", "x/y", "*", "k/x", "é" * 600, "é" * 601, " "]

    async def work(stores):
        made = [stores.make(PersistentKVStorage, space, name) for name in names for space in ("full_docs", "docs")]
        for number, kv in enumerate(made):
            await kv.upsert({id_: {"n": number} for id_ in ids})
        await made[0].drop()
        for number, kv in enumerate(made[1:], 1):
            rows = await kv.get_by_ids(ids)
            assert [(row["n"], row["_id"]) for row in rows] == [(number, id_) for id_ in ids]
        assert await made[0].is_empty()

    run(work)


def test_what_cannot_be_stored_is_refused_as_a_whole(run):
    async def work(stores):
        kv = stores.make(PersistentKVStorage)
        with pytest.raises(SerializationError):
            await kv.upsert({"a": {"n": 1}, "b": {"n": float("nan")}})
        with pytest.raises(InvalidValueError):
            await kv.upsert({"a": {"n": 1}, "\x00": {}})
        with pytest.raises(InvalidValueError):
            await kv.get_by_id(1)
        assert await kv.is_empty()

    run(work)


def test_64_tasks_lose_nothing(run):
    async def work(stores):
        one, two = stores.make(PersistentKVStorage), stores.make(PersistentKVStorage)

        async def write(writer):
            for number in range(5):
                await (one if writer % 2 else two).upsert({f"{writer}/{number}": {"n": number}})

        await asyncio.gather(*map(write, range(64)))
        assert len(await one._keys()) == 320

    run(work)


def test_the_same_answers_as_the_storage_in_files(run, tmp_path):
    from lightrag.kg.shared_storage import finalize_share_data, initialize_share_data

    async def answers(kv):
        await kv.initialize()
        await kv.upsert({"a": {"n": 1}, "b": {"n": 2}})
        await kv.upsert({"b": {"n": 3}})
        await kv.delete(["a"])
        rows = await kv.get_by_ids(["a", "b"])
        return [row and (row["n"], row["_id"]) for row in rows], await kv.filter_keys({"a", "b"}), await kv.is_empty()

    async def work(stores):
        initialize_share_data()
        try:
            config = {"working_dir": str(tmp_path)}
            theirs = JsonKVStorage(namespace="x", workspace="", global_config=config, embedding_func=None)
            assert await answers(theirs) == await answers(stores.make(PersistentKVStorage))
        finally:
            finalize_share_data()

    run(work)
