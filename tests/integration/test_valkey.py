"""Valkey against the conformance kit, and what its search module would be asked, of which Redis' own stands in."""

from __future__ import annotations

import asyncio
import random

import engines
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

STORES = {
    "sync": f"{MODULE}:ValkeyVectorKnowledgeStore",
    "async_": f"{MODULE}:AsyncValkeyVectorKnowledgeStore",
}


def _away():
    url = f"valkey://u:p4ssw0rd-x@127.0.0.1:{engines.free_port()}/0"
    return {"url": url, "connect_timeout": 1, "retry_timeout": 1}


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


@pytest.mark.quick_operations
class TestValkeyKnowledge(_OnValkey, KnowledgeStoreSuite):
    """Without the module: the store compares every vector."""

    @pytest.fixture
    def spec(self, valkey):
        with valkey.space() as options:
            yield StoreSpec("knowledge", **STORES, options={**options, "retry_timeout": 1})

    @pytest.fixture
    def unreachable_spec(self):
        return StoreSpec("knowledge", **STORES, options=_away())


@pytest.fixture
def module(valkey_search):
    """Options of a server with the module."""
    with valkey_search.space() as options:
        yield options


class OnModule(OnRedis):
    index: str

    @pytest.fixture
    def spec(self, module):
        return StoreSpec("knowledge", **STORES, options={**module, "retry_timeout": 1, "index": self.index})

    @pytest.fixture
    def unreachable_spec(self):
        return StoreSpec("knowledge", **STORES, options=_away())

    @pytest.fixture
    def server(self, valkey_search):
        return valkey_search


@pytest.mark.quick_operations
class TestValkeySearchFlat(OnModule, KnowledgeStoreSuite):
    backend = "valkey (search, flat; on Redis)"
    largest_dimension = 32_768
    index = "auto"


@pytest.mark.quick_operations
class TestValkeySearchGraph(OnModule, KnowledgeStoreSuite):
    backend = "valkey (search, hnsw; on Redis)"
    largest_dimension = 32_768
    index = "hnsw"


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


def test_an_index_of_the_module_leaves_nothing(module):
    with ValkeyVectorKnowledgeStore(**module) as store, driver.Redis.from_url(module["url"]) as client:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number)) for number in range(50)])
        assert store.index == "valkey_flat"
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


def test_a_graph_is_asked_where_there_are_many_documents(module, monkeypatch):
    numbers = random.Random(7)
    vectors = [[numbers.gauss(0, 1) for _ in range(8)] for _ in range(1_200)]
    best = sorted(range(1_200), key=lambda number: -score("cosine", vectors[0], pack(vectors[number])))
    asked = []
    rank = _indexes._ValkeyGraph.rank
    monkeypatch.setattr(_indexes._ValkeyGraph, "rank", lambda *given: asked.append(given[4]) or rank(*given))
    with ValkeyVectorKnowledgeStore(**module, index="hnsw") as store:
        store.create_collection("docs", 8)
        store.insert("docs", [make(str(number), vector, n=number % 3) for number, vector in enumerate(vectors[:1_000])])
        assert ids(store.search("docs", vectors[0]))[0] == "0"
        assert asked == []
        store.insert("docs", [make(str(n + 1_000), vector, n=n % 3) for n, vector in enumerate(vectors[1_000:])])
        found = ids(store.search("docs", vectors[0], 10))
        assert len({*found} & {str(number) for number in best[:10]}) >= 9
        assert asked
        third = [str(number) for number in best if (number if number < 1_000 else number - 1_000) % 3 == 1]
        assert ids(store.search("docs", vectors[0], 500, filters={"n": 1})) == third


def test_a_filter_of_many_terms_is_checked_here(module):
    with ValkeyVectorKnowledgeStore(**module) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number), (1.0, number), n=number) for number in range(60)])
        for wide in (30, 600):
            found = store.search("docs", [1.0, 0.0], 100, filters={"n": {"$in": list(range(wide))}})
            assert ids(found) == [str(number) for number in range(min(wide, 60))]


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
