"""The search module of Redis: what the kit does not ask of its indexes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as driver
import redis.asyncio as async_driver
from redis_use import in_loop, url_with, use_knowledge

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.errors import (
    BackendError,
    UnsupportedOperationError,
)
from praisonai_persistence_redis import (
    AsyncRedisKnowledgeStore,
    RedisKnowledgeStore,
)


class TestSearchModule:
    """What the kit does not ask of the indexes of the search module."""

    @pytest.fixture
    def options(self, redis_search):
        with redis_search.space() as options:
            yield options

    @pytest.fixture
    def admin(self, options):
        with driver.Redis.from_url(options["url"], protocol=2) as client:
            yield client

    @pytest.fixture
    def store(self, options):
        with RedisKnowledgeStore(**options, retry_timeout=1) as store:
            yield store

    @staticmethod
    def indexes(admin: Any) -> int:
        return len(admin.execute_command("FT._LIST"))

    def test_it_is_chosen_and_the_choice_is_declared(self, options, store):
        assert store.index is None, "nobody has asked the server yet"
        store.connect()
        assert store.index == "hnsw"
        with RedisKnowledgeStore(**options, index="flat") as flat:
            flat.connect()
            assert flat.index == "flat"

        async def body(opened):
            await opened.connect()
            return opened.index

        assert in_loop(body, AsyncRedisKnowledgeStore, **options) == "hnsw"

    def test_another_database_has_no_search_module(self, options):
        url = f"{options['url'].rpartition('/')[0]}/1"
        for index in ("hnsw", "flat"):
            with RedisKnowledgeStore(url, index=index) as store:
                with pytest.raises(UnsupportedOperationError, match="database 0"):
                    store.create_collection("docs", 2)
                assert store.index is None

    def test_a_collection_keeps_its_index(self, options, admin):
        """Whatever a store would make: what is there is used as it is."""
        with contextlib.ExitStack() as stack:
            kinds = ("hnsw", "flat", "vectorset")
            stores = [stack.enter_context(RedisKnowledgeStore(**options, index=kind)) for kind in kinds]
            try:
                stores[2].connect()
            except UnsupportedOperationError:
                pytest.skip("this server has no vector sets beside the search module")
            for kind, store in zip(kinds, stores, strict=True):
                store.create_collection(kind, 2)
            for number, store in enumerate(stores):
                for kind in kinds:
                    store.create_collection(kind, 2)
                    store.insert(kind, [KnowledgeDocument(id=f"d{number}", content=kind, embedding=[1.0, number])])
                    assert store.search(kind, [1.0, number])[0].id == f"d{number}"
            assert self.indexes(admin) == 2
            assert admin.execute_command("VCARD", "{praison_knowledge}:vectorset:index") == 3
            for kind in kinds:
                assert stores[0].clear_collection(kind) == 3
                assert stores[0].search(kind, [1.0, 0.0]) == []
            assert self.indexes(admin) == 2
            for kind in kinds:
                stores[1].delete_collection(kind)
        assert self.indexes(admin) == 0
        assert admin.dbsize() == 0

    @pytest.mark.parametrize("decode", [False, True])
    @pytest.mark.parametrize("protocol", [2, 3])
    @pytest.mark.parametrize("index", ["hnsw", "flat"])
    def test_a_client_that_is_handed_in(self, options, admin, decode, protocol, index):
        with driver.Redis.from_url(options["url"], decode_responses=decode, protocol=protocol) as client:
            with RedisKnowledgeStore(client=client, index=index) as store:
                use_knowledge(store)
            assert client.ping(), "it is not closed"
        assert admin.dbsize() == self.indexes(admin) == 0, "nothing is left over"

        async def main() -> None:
            async with (
                async_driver.Redis.from_url(options["url"], decode_responses=decode, protocol=protocol) as client,
                AsyncRedisKnowledgeStore(client=client, index=index) as store,
            ):
                await store.create_collection("docs", 2)
                await store.insert("docs", [KnowledgeDocument(id="é", content="x", embedding=[3.0, 4.0])])
                found = await store.search("docs", [3.0, 4.0], with_embeddings=True)
                assert [(item.id, item.embedding, item.score) for item in found] == [("é", [3.0, 4.0], 1.0)]

        asyncio.run(main())

    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
    def test_the_graph_of_a_large_collection_finds_nearly_all(self, store, monkeypatch, distance):
        """Beyond the number of documents that are all compared; here that is lowered. With a filter, too."""
        chance = random.Random(7)
        documents = [
            KnowledgeDocument(
                id=f"d{n}",
                content="x",
                embedding=[chance.gauss(0, 1) for _ in range(24)],
                metadata={"fifth": n % 5 == 0},
            )
            for n in range(2000)
        ]
        queries = [[chance.gauss(0, 1) for _ in range(24)] for _ in range(20)]
        store.create_collection("docs", 24, distance)
        for start in range(0, 2000, 500):
            store.insert("docs", documents[start : start + 500])

        def search(filters: Any) -> list[list[str]]:
            return [[item.id for item in store.search("docs", query, 10, filters)] for query in queries]

        for filters in (None, {"fifth": True}, {"fifth": {"$ne": False}}):
            exact = search(filters)
            with monkeypatch.context() as patch:
                patch.setattr("praisonai_persistence_redis._indexes.EXACT", 100)
                walked = search(filters)
            shared = sum(len({*a} & {*b}) for a, b in zip(exact, walked, strict=True))
            assert shared >= 190, f"{shared} of 200"

    def test_unit_vectors_are_kept_once(self, store, admin):
        store.create_collection("docs", 2)
        vectors = {"unit": [0.6, 0.8], "long": [6.0, 8.0], "zero": [0.0, 0.0], "short": [6e-30, 8e-30]}
        store.insert("docs", [KnowledgeDocument(id=name, content="x", embedding=v) for name, v in vectors.items()])
        kept = admin.hgetall("{praison_knowledge}:docs:vectors")
        sizes = {name.decode(): len(value) for name, value in kept.items()}
        assert sizes == {"unit": 0, "long": 8, "zero": 0, "short": 8}
        found = {item.id: item for item in store.search("docs", [0.6, 0.8], with_embeddings=True)}
        scores = {name: item.score for name, item in found.items()}
        assert scores == pytest.approx({"unit": 1, "long": 1, "zero": 0, "short": 1}, abs=1e-6)
        for item in (*found.values(), *store.get("docs", [*vectors])):
            assert item.embedding == pytest.approx(vectors[item.id], rel=1e-6)

    def test_a_lost_index_is_reported(self, store, admin):
        store.create_collection("docs", 2)
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        admin.execute_command("FT.DROPINDEX", admin.execute_command("FT._LIST")[0])
        with pytest.raises(BackendError, match="lost the index"):
            store.search("docs", [1.0, 0.0])
        assert [item.embedding for item in store.get("docs", ["a"])] == [[1.0, 0.0]]

    def test_searches_while_it_is_emptied(self, store, options, admin):
        """What was found is whole, whichever index it came from; nobody sees that there was another one."""
        store.create_collection("docs", 2)
        documents = [KnowledgeDocument(id=f"d{n}", content="x", embedding=[1.0, n]) for n in range(50)]
        done = threading.Event()

        def read() -> int:
            searches = 0
            while not done.is_set():
                found = store.search("docs", [1.0, 0.0], 100, with_embeddings=True)
                assert all(item.embedding == [1.0, float(item.id[1:])] for item in found)
                searches += 1
            return searches

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            try:
                with RedisKnowledgeStore(**options) as other:
                    for _ in range(30):
                        other.insert("docs", documents)
                        assert other.clear_collection("docs") == 50
            finally:
                done.set()
            assert all(reader.result(60) for reader in readers)
        assert self.indexes(admin) == 1

    def test_of_many_creators_one_makes_the_index(self, store, admin):
        store.connect()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.create_collection("docs", 2), range(8)))
        assert self.indexes(admin) == 1
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        assert [item.id for item in store.search("docs", [1.0, 0.0])] == ["a"]

    def test_a_full_server(self, store, admin):
        store.create_collection("docs", 2)
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        before = admin.config_get("maxmemory*")
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        try:
            for call in (
                lambda: store.insert("docs", [KnowledgeDocument(id="b", content="x", embedding=[1.0, 0.0])]),
                lambda: store.create_collection("more", 2),
                lambda: store.clear_collection("docs"),
            ):
                with pytest.raises(BackendError, match="maxmemory"):
                    call()
            assert store.list_collections() == ["docs"]
            assert [item.id for item in store.search("docs", [1.0, 0.0])] == ["a"]
            assert store.delete("docs", ["a"]) == 1, "what makes room works"
            store.delete_collection("docs")
        finally:
            for name in ("maxmemory", "maxmemory-policy"):
                admin.config_set(name, before[name])
        assert admin.dbsize() == self.indexes(admin) == 0

    def test_a_user_with_few_rights(self, options, admin):
        rights = ("~{praison_knowledge}:*", "+@all", "-@admin", "-@dangerous")
        try:
            admin.execute_command("ACL", "SETUSER", "writer", "on", ">wr1te", *rights)
            with RedisKnowledgeStore(url_with(options["url"], username="writer", password="wr1te")) as store:
                use_knowledge(store)
                assert store.index == "hnsw"
        finally:
            admin.execute_command("ACL", "DELUSER", "writer")
