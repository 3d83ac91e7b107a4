"""Milvus against the conformance kit."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lifecycles import Embedded, Networked
from milvus_lite.server_manager import server_manager_instance
from proxy import Proxy
from pymilvus import AsyncMilvusClient, MilvusClient

from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    SchemaError,
    SerializationError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_milvus import AsyncMilvusKnowledgeStore, MilvusKnowledgeStore, knowledge

STORES = {
    "sync": "praisonai_persistence_milvus:MilvusKnowledgeStore",
    "async_": "praisonai_persistence_milvus:AsyncMilvusKnowledgeStore",
}


class TestMilvusServer(Networked, KnowledgeStoreSuite):
    backend = "milvus (server)"

    @pytest.fixture
    def spec(self, milvus) -> Iterator[StoreSpec]:
        with milvus.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "milvus://127.0.0.1:9", "connect_timeout": 1})

    @pytest.fixture
    def server(self, milvus):
        if not milvus.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return milvus


@pytest.mark.quick_lifecycle
class TestMilvusLite(Embedded, KnowledgeStoreSuite):
    backend = "milvus (lite)"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge.db")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge.db")})


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


@pytest.fixture
def options(milvus):
    with milvus.space() as options:
        yield options


def calls(store, vector):
    """Of a store on a collection, reading and writing."""
    return (
        lambda: store.count("docs"),
        lambda: store.search("docs", vector),
        lambda: store.get("docs", ["a"]),
        lambda: store.upsert("docs", [make("late", vector)]),
        lambda: store.insert("docs", [make("late", vector)]),
        lambda: store.delete("docs", ["a"]),
    )


class TestAServer:
    """What the kit does not ask."""

    def test_what_somebody_else_made_is_not_touched(self, milvus, options):
        milvus.execute("create_collection", "Ppraison___0docs", 2)
        with MilvusKnowledgeStore(**options) as store:
            assert store.list_collections() == []
            for call in (store.get_collection, store.delete_collection, lambda name: store.create_collection(name, 2)):
                with pytest.raises(SchemaError, match="table_prefix"):
                    call("docs")
        assert milvus.tables("") == ["Ppraison___0docs"]

    def test_a_database_that_is_not_there_is_named(self, options):
        with MilvusKnowledgeStore(**options, db_name="agents") as store:
            for call in (store.connect, store.list_collections):
                with pytest.raises(ConfigurationError, match="no database 'agents'"):
                    call()

    def test_databases_are_apart(self, milvus, options):
        milvus.execute("create_database", "agents")
        try:
            with (
                MilvusKnowledgeStore(f"{options['url']}/agents") as one,
                MilvusKnowledgeStore(**options) as other,
            ):
                one.create_collection("docs", 2)
                one.insert("docs", [make("a")])
                other.create_collection("docs", 3)
                assert (one.count("docs"), other.count("docs")) == (1, 0)
                one.delete_collection("docs")
                assert other.list_collections() == ["docs"]
            with milvus.client() as client:
                client.use_database("agents")
                for name in client.list_collections():
                    client.drop_collection(name)
        finally:
            milvus.execute("drop_database", "agents")

    def test_a_collection_that_another_made_anew_is_not_the_one_that_was_opened(self, options):
        with MilvusKnowledgeStore(**options) as one, MilvusKnowledgeStore(**options) as two:
            for dimension in (2, 3, 3):
                one.create_collection("docs", dimension)
                vector = [1.0] * dimension
                two.upsert("docs", [make("a", vector)])
                assert [found.id for found in two.search("docs", vector)] == ["a"]
                one.delete_collection("docs")
                for call in calls(two, vector):
                    with pytest.raises(CollectionNotFoundError):
                        call()
                one.create_collection("docs", dimension)  # at once, so that there is one of its name
                two.upsert("docs", [make("b", vector)])
                assert two.count("docs") == two.delete("docs", filters={"x": {"$exists": False}}) == 1
                one.delete_collection("docs")

    def test_collections_that_were_released_are_loaded(self, milvus, options):
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            for call in calls(store, [1.0, 2.0]):
                for name in milvus.tables(""):  # also that of claims
                    milvus.execute("release_collection", name)
                if call() == ["late"]:
                    store.delete("docs", ["late"])
            assert store.count("docs") == 0

    def test_a_collection_that_was_left_half_made_is_completed(self, milvus, options):
        with MilvusKnowledgeStore(**options) as store, MilvusKnowledgeStore(**options) as other:
            steps = store._steps
            steps._ready = lambda *_: iter(())  # the process is killed here
            store.create_collection("docs", 2)
            milvus.execute("release_collection", milvus.tables("Ppraison___0docs")[0])
            other.upsert("docs", [make("a")])
            assert [found.id for found in other.search("docs", [1.0, 2.0])] == ["a"]

    def test_texts_longer_than_milvus_takes(self, options):
        text = "\N{GRINNING FACE}" * 1_000_000
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(str(n), content=text, long=text, few=["a"]) for n in range(5)])  # three requests
            found = store.search("docs", [1.0, 2.0], 1, {"long": text, "few": {"$contains": "a"}})[0]
            assert found.content == found.metadata["long"] == text
            assert store.count("docs", {"long": {"$startswith": text}}) == 5

    @pytest.mark.parametrize(
        "metadata",
        [{str(number): number for number in range(2_850)}, {"many": list(range(2_850))}],
    )
    def test_metadata_with_more_than_milvus_takes_are_refused_before_the_write(self, options, metadata):
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            fits = {"many": list(range(2_849))}
            documents = [make("a"), make("b", **fits), KnowledgeDocument("c", "", [1.0, 2.0], metadata)]
            for write in (store.insert, store.upsert):
                with pytest.raises(SerializationError, match="2,849"):
                    write("docs", documents)
            assert store.count("docs") == 0
            store.insert("docs", documents[:2])
            assert store.get("docs", ["b"])[0].metadata == fits
            assert store.count("docs", {"many": {"$contains": 2_848}}) == 1

    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
    def test_a_graph_finds_the_true_best_of_a_thousand(self, options, distance):
        chance = random.Random(5)
        documents = [make(str(n), [chance.gauss(0, 1) for _ in range(24)], third=n % 3) for n in range(1_000)]
        with (
            MilvusKnowledgeStore(**options, index_type="HNSW") as store,
            MilvusKnowledgeStore(**options, table_prefix="flat_") as exact,
        ):
            for one in (store, exact):
                one.create_collection("docs", 24, distance)
                one.insert("docs", documents)
            for turn in range(20):
                query = [chance.gauss(0, 1) for _ in range(24)]
                filters = {"third": turn % 3} if turn % 2 else None
                found = [
                    [(item.id, item.score) for item in one.search("docs", query, 10, filters)] for one in (store, exact)
                ]
                assert found[0] == found[1]

    def test_more_results_than_a_search_of_milvus_returns(self, options, monkeypatch):
        monkeypatch.setattr(knowledge, "_MOST", 20)
        monkeypatch.setattr(knowledge, "_PAGE", 7)
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "euclidean")
            store.insert("docs", [make(str(n), [float(n), 0.0], even=n % 2 == 0) for n in range(60)])
            assert [item.id for item in store.search("docs", [0.0, 0.0], 30)] == [str(n) for n in range(30)]
            found = store.search("docs", [0.0, 0.0], 30, {"even": True})
            assert [item.id for item in found] == [str(n) for n in range(0, 60, 2)]

    def test_clients_of_the_callers_own_stay_open(self, milvus, options):
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
        uri = options["url"].replace("milvus://", "http://")

        async def main(given):
            async with AsyncMilvusKnowledgeStore(client=given) as store:
                await store.upsert("docs", [make("b", kind="x")])
                assert [found.id for found in await store.search("docs", [1.0, 2.0], 5, {"kind": "x"})] == ["b"]
                assert await store.delete("docs", ["b"]) == 1
                with pytest.raises(CollectionNotFoundError):
                    await store.count("others")

        with milvus.client() as client:
            with MilvusKnowledgeStore(client=client) as store:
                assert store.count("docs") == 1
            asyncio.run(main(client))
            assert client.list_collections()

        async def with_async_client():
            async with AsyncMilvusClient(uri, dedicated=True) as client:
                await main(client)
                assert await client.list_collections()

        asyncio.run(with_async_client())

    def test_a_write_that_is_not_answered_says_what_to_do(self, options):
        """It is taken, and may have been done."""
        with MilvusKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            server = urlsplit(options["url"])
            with Proxy(server.hostname, server.port) as proxy:
                url = f"milvus://127.0.0.1:{proxy.port}"
                with MilvusKnowledgeStore(url, timeout=1) as through:
                    assert through.count("docs") == 0
                    proxy.swallow()
                    with pytest.raises(ConnectionFailedError, match="can be repeated"):
                        through.upsert("docs", [make("a")])
            store.upsert("docs", [make("a")])
            assert store.count("docs") == 1


class TestAFolder:
    """What the kit does not ask."""

    def test_another_process_is_told_that_it_is_in_use(self, tmp_path):
        where = {"path": str(tmp_path / "knowledge.db")}
        with MilvusKnowledgeStore(**where) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            program = (
                "import sys\n"
                "from praisonai_persistence_milvus import MilvusKnowledgeStore\n"
                "try:\n"
                "    MilvusKnowledgeStore(path=sys.argv[1]).count('docs')\n"
                "except Exception as error:\n"
                "    print(type(error).__name__, error)\n"
            )
            done = subprocess.run(
                [sys.executable, "-c", program, where["path"]], capture_output=True, text=True, timeout=60, check=True
            )
            assert done.stdout.startswith("ConnectionFailedError")
            assert "in use by another process" in done.stdout
            assert done.stderr == ""
        with MilvusKnowledgeStore(f"milvus:///{where['path']}") as store:
            assert [found.id for found in store.search("docs", [1.0, 2.0])] == ["a"]

    def test_the_clients_own_way_reads_the_same_folder(self, tmp_path):
        path = str(tmp_path / "knowledge.db")
        with MilvusKnowledgeStore(path=path) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
        with contextlib.closing(MilvusClient(path)) as client:
            assert client.list_collections() == ["Ppraison___0docs"]
        server_manager_instance.release_server(path)
