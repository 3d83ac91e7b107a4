"""Valkey against the conformance kit, and what its search module would be asked, of which Redis' own stands in."""

from __future__ import annotations

import asyncio
import random

import pytest
import redis as driver
from test_redis import MODULE, OnRedis, spec_of

from praisonai_persistence.errors import ConnectionFailedError, UnsupportedOperationError
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence.vectors import pack, score
from praisonai_persistence_redis import (
    AsyncRedisKnowledgeStore,
    RedisKnowledgeStore,
    ValkeyVectorKnowledgeStore,
    _indexes,
)
from praisonai_persistence_redis import knowledge as knowledge_module

STORES = {
    "sync": f"{MODULE}:ValkeyVectorKnowledgeStore",
    "async_": f"{MODULE}:AsyncValkeyVectorKnowledgeStore",
}


class _OnValkey(OnRedis):
    backend = "valkey"

    @pytest.fixture
    def spec(self, valkey):
        with valkey.space() as options:
            yield spec_of(self.kind, **options, retry_timeout=1)

    @pytest.fixture
    def server(self, valkey):
        return valkey


class TestValkeyState(_OnValkey, StateStoreSuite):
    pass


class TestValkeyKnowledge(_OnValkey, KnowledgeStoreSuite):
    """Without the module: the store compares every vector."""

    @pytest.fixture
    def spec(self, valkey):
        with valkey.space() as options:
            yield StoreSpec("knowledge", **STORES, options={**options, "retry_timeout": 1})


def _as_valkey(key):
    """What a server of Valkey with its module answers."""
    yield from ()
    return {"valkey_hnsw", "valkey_flat"}


@pytest.fixture
def module(redis_search, monkeypatch):
    """Options of a server that has the commands of Valkey's module, and some more."""
    monkeypatch.setattr(knowledge_module, "available", _as_valkey)
    with redis_search.space() as options:
        yield options


class OnModule(OnRedis):
    index: str

    @pytest.fixture
    def spec(self, module):
        return StoreSpec("knowledge", **STORES, options={**module, "retry_timeout": 1, "index": self.index})

    @pytest.fixture
    def server(self, redis_search):
        return redis_search


class TestValkeySearchGraph(OnModule, KnowledgeStoreSuite):
    backend = "valkey (search, hnsw; on Redis)"
    index = "auto"


class TestValkeySearchFlat(OnModule, KnowledgeStoreSuite):
    backend = "valkey (search, flat; on Redis)"
    index = "flat"


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


def ids(documents):
    return [document.id for document in documents]


def test_the_stores_of_redis_need_vector_sets(valkey):
    with valkey.space() as options:
        with RedisKnowledgeStore(**options) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(UnsupportedOperationError, match="Redis 8 or later"):
                    call()

        async def main() -> None:
            async with AsyncRedisKnowledgeStore(**options) as store:
                with pytest.raises(UnsupportedOperationError, match="Redis 8 or later"):
                    await store.create_collection("docs", 2)

        asyncio.run(main())


def test_exact_search_is_what_valkey_has_and_redis_can_be_told(valkey):
    with (
        valkey.space() as options,
        ValkeyVectorKnowledgeStore(**options) as store,
        RedisKnowledgeStore(**options, index="exact") as other,
    ):
        store.create_collection("docs", 2, "euclidean")
        store.insert("docs", [make("a", (0.0, 0.0), n=1), make("b", (3.0, 4.0), n=2)])
        assert (store.index, ids(other.search("docs", [3.0, 3.0], filters={"n": {"$lt": 3}}))) == ("exact", ["b", "a"])
        with (
            ValkeyVectorKnowledgeStore(**options, index="hnsw") as third,
            pytest.raises(UnsupportedOperationError, match="Valkey with its own"),
        ):
            third.connect()


def commands_of(url):
    """Start to record the commands that a server gets; returns a function that ends it and returns them."""
    client = driver.Redis.from_url(url)
    monitor = client.monitor().__enter__()

    def end():
        client_2 = driver.Redis.from_url(url)
        client_2.echo("the end")
        client_2.close()
        found = []
        for one in monitor.listen():
            if "the end" in one["command"]:
                break
            found.append(one["command"])
        monitor.__exit__(None, None, None)
        client.close()
        return found

    return end


@pytest.mark.parametrize(("index", "algorithm"), [("hnsw", "HNSW"), ("flat", "FLAT")])
def test_the_module_is_asked_only_for_what_its_documentation_has(module, index, algorithm):
    documented = {
        "FT.CREATE": {"ON", "HASH", "PREFIX", "SCHEMA", "TAG", "SEPARATOR", "CASESENSITIVE", "VECTOR", "HNSW", "FLAT"}
        | {"TYPE", "FLOAT32", "DIM", "DISTANCE_METRIC", "IP", "L2", "M", "EF_CONSTRUCTION"},
        "FT.SEARCH": {"NOCONTENT", "PARAMS", "LIMIT", "DIALECT"},
        "FT.DROPINDEX": set(),
        "FT.INFO": set(),
    }
    with ValkeyVectorKnowledgeStore(**module, index=index) as store:
        store.connect()
        end = commands_of(module["url"])
        store.create_collection("docs", 2)
        store.insert("docs", [make("a", n=1, tags=["x"]), make("b", (1.0, 0.0), n=2)])
        for filters in (None, {"n": 1}, {"n": {"$ne": 1}}, {"$or": [{"n": 1}, {"tags": {"$contains": "x"}}]}):
            store.search("docs", [1.0, 0.0], filters=filters)
        store.delete("docs", ["a"])
        store.delete_collection("docs")
        asked = [command.split(" ") for command in end() if command.startswith("FT.")]
    assert {words[0] for words in asked} == set(documented)
    for words in asked:
        capitals = {word for word in words[2:] if word.isupper() and word.replace("_", "").isalnum() and len(word) > 1}
        assert capitals <= documented[words[0]] | {"KNN", "AS"} | {word for word in capitals if word.startswith("EF_R")}
        if words[0] == "FT.CREATE":
            assert algorithm in words
        if words[0] == "FT.SEARCH":
            query = " ".join(words).split('"')[0] + " ".join(words)
            assert "=>[KNN" in query
            assert "HYBRID_POLICY" not in query
            assert "\\" not in query.split("=>")[0]  # no escapes in tags


def test_an_index_of_the_module_leaves_nothing(module):
    with ValkeyVectorKnowledgeStore(**module) as store, driver.Redis.from_url(module["url"]) as client:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number)) for number in range(50)])
        assert store.index == "valkey_hnsw"
        assert store.clear_collection("docs") == 50
        store.insert("docs", [make("a")])
        assert ids(store.search("docs", [1.0, 0.0])) == ["a"]
        store.delete_collection("docs")
        assert client.keys("*") == []
        assert client.execute_command("FT._LIST") == []


def test_more_than_the_module_ranks_is_compared_here(module, monkeypatch):
    monkeypatch.setattr(_indexes._ValkeySearch, "most", 20)
    numbers = random.Random(7)
    vectors = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(100)]
    best = sorted(range(100), key=lambda number: -score("cosine", vectors[0], pack(vectors[number])))
    with ValkeyVectorKnowledgeStore(**module) as store:
        store.create_collection("docs", 8)
        store.insert("docs", [make(str(number), vector) for number, vector in enumerate(vectors)])
        for limit in (5, 50, 100):
            assert ids(store.search("docs", vectors[0], limit)) == [str(number) for number in best[:limit]]


def test_a_write_waits_until_the_module_has_it(module, monkeypatch):
    """Valkey's module has a queue of what scripts have written."""
    queue = [2, 1, 0]
    sent_to = _indexes.sent_to

    def told(key, *arguments):
        if arguments[0] == "FT.INFO":
            return lambda client: [b"mutation_queue_size", str(queue.pop(0) if queue else 0).encode()]
        return sent_to(key, *arguments)

    monkeypatch.setattr(_indexes, "sent_to", told)
    with ValkeyVectorKnowledgeStore(**module) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a")])
        assert queue == []
        queue.extend([1] * 10_000)
        monkeypatch.setattr(_indexes, "_SETTLED", 0.2)
        with pytest.raises(ConnectionFailedError, match="is stored, but not in the index"):
            store.upsert("docs", [make("b")])
        queue.clear()
        assert store.count("docs") == 2
