"""Weaviate against the conformance kit."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import weaviate as client_library
from engines import PASSWORD, free_port
from weaviate.classes.init import Auth
from weaviate.connect import ConnectionParams

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConnectionFailedError,
    SchemaError,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import Endpoint, KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_weaviate import AsyncWeaviateKnowledgeStore, WeaviateKnowledgeStore

STORES = {
    "sync": "praisonai_persistence_weaviate:WeaviateKnowledgeStore",
    "async_": "praisonai_persistence_weaviate:AsyncWeaviateKnowledgeStore",
}


class OnePort:
    """Listens for both of a server's interfaces, which tests reach through one proxy: gRPC begins with ``PRI``."""

    def __init__(self, host: str, rest: int, grpc: int) -> None:
        self._targets = {True: (host, grpc), False: (host, rest)}
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                accepted, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(accepted,), daemon=True).start()

    def _connect(self, accepted: socket.socket) -> None:
        with contextlib.suppress(OSError), accepted:
            begin = accepted.recv(3, socket.MSG_PEEK | socket.MSG_WAITALL)
            if not begin:
                return
            with socket.create_connection(self._targets[begin == b"PRI"]) as server:
                back = threading.Thread(target=self._copy, args=(server, accepted), daemon=True)
                back.start()
                self._copy(accepted, server)
                back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                target.sendall(part)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class TestWeaviate(KnowledgeStoreSuite):
    backend = "weaviate"
    largest_dimension = 65_535
    connections_per_caller = 2  # by REST and by gRPC

    @pytest.fixture
    def spec(self, weaviate) -> Iterator[StoreSpec]:
        with weaviate.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "weaviate://127.0.0.1:9", "timeout": 2})

    @pytest.fixture
    def server(self, weaviate):
        return weaviate

    @pytest.fixture
    def spec_through(self, spec: StoreSpec) -> Iterator[Endpoint]:
        server = urlsplit(spec.options["url"])
        both = OnePort(server.hostname, server.port, int(parse_qs(server.query)["grpc_port"][0]))

        def spec_at(host: str, port: int) -> StoreSpec:
            # The client does not take one port for both, so gRPC has another name of the host.
            url = f"weaviate://:{PASSWORD}@{host}:{port}?grpc_port={port}&grpc_host=localhost"
            return spec.with_options(url=url)

        yield Endpoint("127.0.0.1", both.port, spec_at)
        both.close()


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


@pytest.fixture
def options(weaviate):
    with weaviate.space() as options:
        yield options


@pytest.fixture
def parts(weaviate):
    """Of the server's address."""
    parts = urlsplit(weaviate.url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "api_key": PASSWORD,
        "grpc_port": int(parse_qs(parts.query)["grpc_port"][0]),
    }


class TestAServer:
    """What the kit does not ask."""

    @pytest.mark.parametrize("key", [None, "s3cret-but-wr0ng"])
    def test_without_the_right_key_nobody_gets_in(self, parts, key):
        parts["api_key"] = key
        with WeaviateKnowledgeStore(**parts) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(ConnectionFailedError, match="API key") as caught:
                    call()
                assert "s3cret" not in str(caught.value)

    def test_a_port_without_grpc_is_named(self, parts):
        parts["grpc_port"] = free_port()
        with (
            WeaviateKnowledgeStore(**parts, connect_timeout=2) as store,
            pytest.raises(
                ConnectionFailedError, match=f"by gRPC at 127.0.0.1:{parts['grpc_port']}: check grpc_port|gRPC"
            ),
        ):
            store.connect()

    def test_what_somebody_else_made_is_not_touched(self, weaviate, options):
        weaviate.execute("POST /v1/schema", {"class": "Ppraison___0docs", "description": "theirs"})
        with WeaviateKnowledgeStore(**options) as store:
            assert store.list_collections() == []
            for call in (store.get_collection, store.delete_collection, lambda name: store.create_collection(name, 2)):
                with pytest.raises(SchemaError, match="table_prefix"):
                    call("docs")
        assert weaviate.tables("") == ["Ppraison___0docs"]

    def test_a_class_with_a_vectorizer_is_somebody_elses(self, weaviate, options):
        given = {"class": "Ppraison___0docs", "vectorConfig": {"default": {"vectorizer": {"none": {}}}}}
        given["vectorConfig"]["default"]["vectorIndexType"] = "flat"
        weaviate.execute("POST /v1/schema", given)
        with WeaviateKnowledgeStore(**options) as store:
            assert store.list_collections() == []
            for call in (store.count, lambda name: store.search(name, [1.0, 2.0])):
                with pytest.raises(SchemaError, match="table_prefix"):
                    call("docs")

    def test_a_collection_whose_index_somebody_dropped_is_told(self, weaviate, options):
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            weaviate.execute("DELETE /v1/schema/Ppraison___0docs/vectors/default/index")
            for call in (
                lambda: store.search("docs", [1.0, 2.0]),
                lambda: store.upsert("docs", [make("b")]),
                lambda: store.insert("docs", [make("b")]),
            ):
                with pytest.raises(SchemaError, match="no index of this collection's vectors"):
                    call()
            assert [found.embedding for found in store.get("docs", ["a", "b"])] == [[1.0, 2.0]]
            store.delete_collection("docs")

    def test_of_each_document_that_is_refused_the_reason_is_told(self, weaviate, options):
        """Somebody made the collection anew, with contents that have to be UUIDs."""
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            made, _ = weaviate.execute("GET /v1/schema/Ppraison___0docs"), store.delete_collection("docs")
            (content,) = [one for one in made[0][0]["properties"] if one["name"] == "content"]
            content.update(dataType=["uuid"], tokenization="")
            weaviate.execute("POST /v1/schema", made[0][0])
            documents = [make("a", content=str(uuid.uuid4())), make("b", content="s3cret"), make("c", content="s3cret")]
            with pytest.raises(BackendError, match=r"refused 2 of 3 documents: a property .* its schema \(2\)$"):
                store.upsert("docs", documents)
            with pytest.raises(SchemaError, match="refused 2 of 2 documents: a property") as caught:
                store.upsert("docs", documents[1:])
            assert "s3cret" not in str(caught.value)
            assert store.count("docs") == 1

    def test_a_shard_that_is_read_only_is_told(self, weaviate, options):
        """Of four, so that the claim, which is written first, may be in another one."""
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            made, _ = weaviate.execute("GET /v1/schema/Ppraison___0docs"), store.delete_collection("docs")
            weaviate.execute("POST /v1/schema", {**made[0][0], "shardingConfig": {"desiredCount": 4}})
            shards = weaviate.execute("GET /v1/schema/Ppraison___0docs/shards")[0][0]
            weaviate.execute(f"PUT /v1/schema/Ppraison___0docs/shards/{shards[0]['name']}", {"status": "READONLY"})
            for _ in range(20):
                words = r"refused \d+ of (1|40) documents: a shard of this collection is read-only"
                with pytest.raises(BackendError, match=words) as caught:
                    store.upsert("docs", [make(str(number)) for number in range(40)])
                if "of 40 documents" in str(caught.value):
                    return
            pytest.fail("each claim was refused")

    def test_what_weaviate_makes_of_a_write_behind_a_deletion_is_removed(self, weaviate, options):
        """A server makes a collection for an object that has none."""
        weaviate.execute("POST /v1/objects", {"class": "Ppraison___0docs", "properties": {"facts": "x", "key": "y"}})
        with WeaviateKnowledgeStore(**options) as store:
            with pytest.raises(CollectionNotFoundError):
                store.count("docs")
            store.create_collection("docs", 2)
            assert store.count("docs") == 0

    def test_a_collection_that_another_made_anew_is_not_the_one_that_was_opened(self, options):
        with WeaviateKnowledgeStore(**options) as one, WeaviateKnowledgeStore(**options) as two:
            for dimension in (2, 3, 4):
                one.create_collection("docs", dimension)
                vector = [1.0] * dimension
                two.upsert("docs", [make(f"{dimension}", vector)])
                assert [found.id for found in two.search("docs", vector)] == [f"{dimension}"]
                assert two.count("docs") == two.delete("docs", filters={"x": {"$exists": False}}) == 1
                assert two.get("docs", [f"{dimension}"]) == []
                one.delete_collection("docs")
                with pytest.raises(CollectionNotFoundError):
                    two.count("docs")
                with pytest.raises(CollectionNotFoundError):
                    two.upsert("docs", [make("late", vector)])

    def test_a_claim_holds_back_who_writes_its_ids_and_nobody_else(self, weaviate, options):
        """Somebody died with it, after he had said that he renews it within a second."""
        claim = str(uuid.UUID(f"{time.time_ns() // 1_000_000:012x}{'a' * 16}0001"))

        def stands():
            found = weaviate.execute("GET /v1/objects?class=Ppraison___0docs")[0][0]["objects"]
            return claim in [one["id"] for one in found]

        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.upsert("docs", [make("a"), make("b")])
            (b,) = [
                one["id"]
                for one in weaviate.execute("GET /v1/objects?class=Ppraison___0docs")[0][0]["objects"]
                if one["properties"]["key"] == "b"
            ]
            made = {"class": "Ppraison___0docs", "id": claim, "properties": {"claims": [b]}}
            weaviate.execute("POST /v1/objects", made)
            store.upsert("docs", [make("a", x=1)])
            assert stands()
            store.upsert("docs", [make("b", x=1)])
            assert not stands()
            assert store.count("docs", {"x": 1}) == store.count("docs") == 2

    def test_racing_writers_leave_filters_that_are_right(self, options):
        """Weaviate by itself leaves entries of writes that were overtaken in its indexes."""
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)

            def body(worker: int) -> None:
                for turn in range(6):
                    store.upsert("docs", [make(f"{number}", by=worker * 10 + turn) for number in range(3)])

            threads = [threading.Thread(target=body, args=(worker,)) for worker in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found = store.get("docs", ["0", "1", "2"])
            assert len({item.metadata["by"] for item in found}) == 1
            for by in (worker * 10 + turn for worker in range(4) for turn in range(6)):
                assert store.count("docs", {"by": by}) == (3 if by == found[0].metadata["by"] else 0)
            assert store.delete("docs", ["0", "1", "2"]) == 3
            assert store.count("docs") == 0

    def test_batches_are_split_by_their_bytes(self, options):
        text = "\N{GRINNING FACE}" * 3_000_000
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(str(n), content=text) for n in range(3)])
            assert store.count("docs") == 3
            assert store.get("docs", ["2"])[0].content == text

    def test_clients_of_the_callers_own_stay_open(self, parts):
        where = ConnectionParams.from_params(
            parts["host"], parts["port"], False, parts["host"], parts["grpc_port"], False
        )
        arguments = {"auth_client_secret": Auth.api_key(PASSWORD), "skip_init_checks": True}
        with client_library.WeaviateClient(where, **arguments) as client:
            with WeaviateKnowledgeStore(client=client) as store:
                assert store.list_collections() == []

            async def main(given):
                async with AsyncWeaviateKnowledgeStore(client=given) as store:
                    assert await store.list_collections() == []

            asyncio.run(main(client))
            assert client.is_ready()

        async def with_async_client():
            async with client_library.WeaviateAsyncClient(where, **arguments) as client:
                await main(client)
                assert await client.is_ready()

        asyncio.run(with_async_client())


class TestAServerThatIndexesLater:
    """The server has not indexed a vector when it acknowledges it; that takes a second."""

    @pytest.fixture
    def options(self, weaviate_indexing_later):
        with weaviate_indexing_later.space() as options:
            yield options

    @staticmethod
    def vectors(turn):
        """For some documents of many; of each turn others, and all of another direction."""
        return {f"{number}": [1.0 + turn, 2.0 + number, 1.0 / (1 + turn + number)] for number in range(5)}

    @pytest.fixture
    def filled(self, options):
        with WeaviateKnowledgeStore(**options) as store:
            store.create_collection("docs", 3)
            store.insert("docs", [make(f"other {number}", [-1.0, -2.0, number]) for number in range(100)])
        return options

    def check(self, store, turn):
        for name, vector in self.vectors(turn).items():
            best = store.search("docs", vector, limit=1)[0]
            assert (best.id, best.score) == (name, pytest.approx(1.0, abs=1e-9))

    def test_all_stores_see_a_write_that_has_returned(self, filled):
        with WeaviateKnowledgeStore(**filled) as one, WeaviateKnowledgeStore(**filled) as two:
            one.insert("docs", [make(name, vector) for name, vector in self.vectors(0).items()])
            self.check(two, 0)
            one.upsert("docs", [make(name, vector) for name, vector in self.vectors(1).items()])
            self.check(two, 1)

    def test_a_store_waits_for_its_own_writes(self, filled):
        with WeaviateKnowledgeStore(**filled, freshness="own") as store:
            for turn in range(3):
                store.upsert("docs", [make(name, vector) for name, vector in self.vectors(turn).items()])
                self.check(store, turn)

    def test_what_is_not_indexed_in_time_is_stored(self, filled):
        with WeaviateKnowledgeStore(**filled, freshness_timeout=0.001) as store:
            names = [f"{number}" for number in range(100)]

            def write():
                for name in names:  # one or the other may come just before the server looks
                    store.upsert("docs", [make(name, [1.0, 1.0, 1.0])])

            with pytest.raises(ThrottledError, match=r"is stored, but not visible within 0\.001 seconds"):
                write()
            assert store.get("docs", names)

    def test_an_async_client_of_the_callers_own(self, filled):
        parts = urlsplit(filled["url"])
        grpc = int(parse_qs(parts.query)["grpc_port"][0])
        where = ConnectionParams.from_params(parts.hostname, parts.port, False, parts.hostname, grpc, False)

        async def main():
            arguments = {"auth_client_secret": Auth.api_key(PASSWORD), "skip_init_checks": True}
            async with (
                client_library.WeaviateAsyncClient(where, **arguments) as client,
                AsyncWeaviateKnowledgeStore(client=client) as store,
            ):
                await store.upsert("docs", [make(name, vector) for name, vector in self.vectors(0).items()])
                return [(await store.search("docs", vector, limit=1))[0].id for vector in self.vectors(0).values()]

        assert asyncio.run(main()) == list(self.vectors(0))
