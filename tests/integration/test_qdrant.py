"""Qdrant against the conformance kit: a server, and the local mode in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from lifecycles import Embedded, Networked
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConnectionFailedError,
    DocumentExistsError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec
from praisonai_persistence.testing._filter_cases import POOL, single_filters
from praisonai_persistence_qdrant import AsyncQdrantKnowledgeStore, QdrantKnowledgeStore, knowledge

STORES = {
    "sync": "praisonai_persistence_qdrant:QdrantKnowledgeStore",
    "async_": "praisonai_persistence_qdrant:AsyncQdrantKnowledgeStore",
}


INSECURE = pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection")


@INSECURE  # the client says so on every connection; the servers of these tests are on this machine
class TestQdrantServer(Networked, KnowledgeStoreSuite):
    backend = "qdrant (server)"
    largest_dimension = 65_536

    @pytest.fixture
    def spec(self, qdrant) -> Iterator[StoreSpec]:
        with qdrant.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "qdrant://127.0.0.1:9", "timeout": 2})

    @pytest.fixture
    def server(self, qdrant):
        if not qdrant.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return qdrant


class TestQdrantFolder(Embedded, KnowledgeStoreSuite):
    backend = "qdrant (local mode)"
    largest_dimension = 65_536

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge")})


def make(name, vector=(1.0, 2.0), content="", **metadata):
    return KnowledgeDocument(name, content, list(vector), metadata)


@pytest.fixture
def options(qdrant):
    with qdrant.space() as options:
        yield options


@INSECURE
class TestAServer:
    """What the kit does not ask."""

    @pytest.mark.parametrize("key", [None, "s3cret-but-wr0ng"])
    def test_without_the_right_key_nobody_gets_in(self, qdrant, key):
        parts = httpx.URL(qdrant.url)
        where = {"host": parts.host, "port": parts.port, "api_key": key}
        with QdrantKnowledgeStore(**where) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(ConnectionFailedError, match="API key") as caught:
                    call()
                assert "s3cret" not in str(caught.value)

        async def main():
            async with AsyncQdrantKnowledgeStore(**where) as store:
                with pytest.raises(ConnectionFailedError, match="API key"):
                    await store.connect()

        asyncio.run(main())
        with QdrantKnowledgeStore(qdrant.url) as store:
            assert store.list_collections() == []

    def test_a_server_that_says_nothing_is_given_up(self):
        """It takes the connection, and the request, and is silent."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            where = {"host": "127.0.0.1", "port": silent.getsockname()[1], "timeout": 1}
            begin = time.monotonic()
            with QdrantKnowledgeStore(**where) as store:
                for call in (store.connect, lambda: store.upsert("docs", [make("a")])):
                    with pytest.raises(ConnectionFailedError, match="does not answer"):
                        call()

            async def main():
                async with AsyncQdrantKnowledgeStore(**where) as store:
                    with pytest.raises(ConnectionFailedError, match="does not answer|did not answer within 1 second"):
                        await store.search("docs", [1.0, 2.0])

            asyncio.run(main())
            assert time.monotonic() - begin < 30

    def test_all_filters_with_payload_indexes(self, options):
        """A server's indexes select what the reference selects, before and after documents came and went."""
        with QdrantKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            documents = [make(str(n), [n % 7, 1.0], f"c{n}") for n in range(len(POOL))]
            for item, metadata in zip(documents, POOL, strict=True):
                item.metadata = metadata
            store.insert("docs", documents[::2])
            store.create_payload_index("docs", "v", "k")
            store.create_payload_index("docs", "v")
            store.insert("docs", documents[1::2])
            for filters in single_filters()[::3]:
                tree = parse(filters)
                wanted = {item.id for item in documents if matches(tree, item.metadata)}
                assert {item.id for item in store.search("docs", [1, 0], 500, filters)} == wanted, filters
                assert store.count("docs", filters) == len(wanted), filters
            gone = store.count("docs", {"v": {"$gt": 0}})
            assert store.delete("docs", filters={"v": {"$gt": 0}}) == gone > 3
            assert store.count("docs") == len(documents) - gone

    def test_batches_are_split_by_their_bytes(self, options):
        """A server takes 32 MiB in a request; these have nine million characters, of four bytes each."""
        text = "\N{GRINNING FACE}" * 3_000_000
        with QdrantKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(str(n), content=text) for n in range(3)])
            assert store.count("docs") == 3
            assert store.get("docs", ["2"])[0].content == text

    def test_scores_beyond_single_precision(self, options):
        """The interface has no infinity: a server that found one could not say so."""
        with QdrantKnowledgeStore(**options) as store:
            for distance in ("dot", "cosine"):
                store.create_collection(distance, 3, distance)
                store.insert(distance, [make("huge", [3e38] * 3), make("one", [1.0] * 3), make("minus", [-3e38] * 3)])
                found = store.search(distance, [3e38] * 3, 3, with_embeddings=True)
                assert [item.id for item in found] == ["huge", "one", "minus"], distance
                assert found[0].embedding == pytest.approx([3e38] * 3, rel=1e-6)
            assert store.search("dot", [3e38] * 3, 1)[0].score == pytest.approx(27e76, rel=1e-6)

    def test_an_insert_that_came_second_takes_its_part_back(self, options):
        with QdrantKnowledgeStore(**options) as one, QdrantKnowledgeStore(**options) as other:
            one.create_collection("docs", 2)
            look = one._steps._taken

            def look_and_be_overtaken(opened, ids):
                found = yield from look(opened, ids)
                other.insert("docs", [make("common", content="first")])
                return found

            one._steps._taken = look_and_be_overtaken
            with pytest.raises(DocumentExistsError):
                one.insert("docs", [make("mine", content="second"), make("common", content="second")])
            assert [item.content for item in other.get("docs", ["mine", "common"])] == ["first"]

    def test_an_interrupt_within_the_lock_of_the_client(self, options):
        """The client closes itself when it is collected: that must not wait for a lock that nobody will give back."""
        code = textwrap.dedent(
            """
            import json, sys
            from httpcore import _synchronization
            from praisonai_persistence_qdrant import QdrantKnowledgeStore

            ready = _synchronization.ThreadLock.__enter__

            def interrupted(lock):
                _synchronization.ThreadLock.__enter__ = ready
                ready(lock)
                raise KeyboardInterrupt

            store = QdrantKnowledgeStore(**json.loads(sys.argv[1]))
            store.create_collection("docs", 2)
            _synchronization.ThreadLock.__enter__ = interrupted
            try:
                store.count("docs")
            except KeyboardInterrupt:
                print(store.list_collections())
            """
        )
        command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(options)]
        ended = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
        assert (ended.stdout, ended.stderr, ended.returncode) == ("['docs']\n", "", 0)

    def test_clients_that_were_handed_in_keep_their_connections(self, qdrant, options):
        """By themselves the clients keep none to this machine; here one breaks with the server and is replaced."""
        if not qdrant.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        parts = httpx.URL(qdrant.url)
        where = {"host": parts.host, "port": parts.port, "api_key": parts.password, "https": False}
        kept = {"limits": httpx.Limits(max_keepalive_connections=4), "check_compatibility": False}

        async def main():
            client = AsyncQdrantClient(**where, **kept)
            async with AsyncQdrantKnowledgeStore(client=client) as store:
                await store.create_collection("docs", 2)
                await store.insert("docs", [make("a")])
                qdrant.kill()
                with pytest.raises(ConnectionFailedError):
                    await store.count("docs")
                qdrant.start()
                assert await store.count("docs") == 1
            assert (await client.count("praison_.docs")).count == 1, "it is open"
            await client.close()

        client = QdrantClient(**where, **kept)
        with QdrantKnowledgeStore(client=client) as store:
            assert store.list_collections() == []
            asyncio.run(main())
            with contextlib.suppress(ConnectionFailedError):  # if this is the first to notice that its connection broke
                store.list_collections()
            assert [item.id for item in store.get("docs", ["a"])] == ["a"]
            with pytest.raises(CollectionNotFoundError):
                store.count("others")
        client.close()

    @pytest.mark.parametrize("mode", ["sync", "async"])
    def test_a_server_that_stops_in_a_batch(self, qdrant, options, monkeypatch, mode):
        """What was acknowledged is there; the batch in between is reported, and can be repeated."""
        if not qdrant.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        monkeypatch.setattr(knowledge.QdrantSteps, "most_bytes", 1_000)  # so that a batch is some forty requests
        written, begun = [], threading.Event()

        def batch(number):
            return [make(f"{number}-{n}", content="x" * 300, batch=number) for n in range(120)]

        async def go_on(upsert):
            for number in range(1_000):
                await upsert("docs", batch(number))
                written.append(number)
                begun.set()

        async def in_loop():
            async with AsyncQdrantKnowledgeStore(**options) as store:
                await go_on(store.upsert)

        async def waited(store):
            async def upsert(*arguments):
                store.upsert(*arguments)

            await go_on(upsert)

        def work():
            with pytest.raises(ConnectionFailedError):
                asyncio.run(in_loop() if mode == "async" else waited(store))
            ended.append(True)

        ended = []
        with QdrantKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            thread = threading.Thread(target=work)
            thread.start()
            assert begun.wait(60)
            qdrant.kill()
            thread.join(60)
            assert ended, "the writer was told"
            qdrant.start()
            assert [store.count("docs", {"batch": number}) for number in written] == [120] * len(written)
            following = len(written)
            assert store.count("docs") - 120 * following == store.count("docs", {"batch": following})
            store.upsert("docs", batch(following))
            assert store.count("docs") == 120 * (following + 1)

    def test_the_stand_in_is_strict(self, qdrant, options):
        """So every write of the stores waits for its end, and every filter is allowed: the suite passes on it."""
        if not qdrant.stands_in:
            pytest.skip("this is Qdrant's own server")
        parts = httpx.URL(qdrant.url)
        client = QdrantClient(
            host=parts.host, port=parts.port, api_key=parts.password, https=False, check_compatibility=False
        )
        with contextlib.closing(client):
            client.create_collection("plain", models.VectorParams(size=2, distance=models.Distance.DOT))
            point = models.PointStruct(id=1, vector=[1.0, 2.0], payload={"a": "b"})
            chosen = models.Filter(must=[models.FieldCondition(key="a", match=models.MatchValue(value="b"))])
            with pytest.raises(UnexpectedResponse, match="do not wait"):
                client.upsert("plain", [point], wait=False)
            client.upsert("plain", [point], wait=True)
            with pytest.raises(UnexpectedResponse, match="Index required"):
                client.count("plain", chosen)
            client.create_payload_index("plain", "a", models.PayloadSchemaType.KEYWORD, wait=True)
            assert client.count("plain", chosen).count == 1
            with pytest.raises(UnexpectedResponse, match="larger than allowed"):
                client.upsert("plain", [point.model_copy(update={"payload": {"a": "x" * 2**25}})], wait=True)

    def test_a_document_that_no_request_takes_is_refused(self, options):
        """It has less than 16 MiB, but some characters take six bytes in JSON."""
        with QdrantKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            with pytest.raises(BackendError, match="400") as caught:
                store.insert("docs", [make("a", content="\x01" * 6_000_000)])
            assert len(str(caught.value)) < 200
            assert store.count("docs") == 0
