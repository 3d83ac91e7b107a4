"""Couchbase against the conformance kit, and what the kit does not ask; on a fake, or on a cluster."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import engines
import pytest
from couchbase.exceptions import CasMismatchException, DocumentExistsException
from engines._packages import maven_jar
from services import FreshnessTests, OnService, ids, make, space_of, told

from praisonai_persistence.drivers import Deadline, ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    SerializationError,
)
from praisonai_persistence.stores.vector_errors import TakenError
from praisonai_persistence.testing import Endpoint, KnowledgeStoreSuite, StoreSpec
from praisonai_persistence.testing.proxy import Proxy
from praisonai_persistence_couchbase import (
    AsyncCouchbaseKnowledgeStore,
    CouchbaseKnowledgeStore,
    CouchbaseOptions,
    knowledge,
)
from praisonai_persistence_couchbase._driver import CouchbaseDriver, Each, _Client


def _through(couchbase: Any, host: str, port: int) -> dict[str, Any]:
    """Options of a store that finds the cluster at a proxy, of which the cluster must know: it says where it is."""
    server = urlsplit(couchbase.url)
    couchbase.order("outside", port)
    return {
        "url": None,
        "connection_string": f"couchbase://{host}:{port}?network=n{port}",
        "username": server.username,
        "password": server.password,
        "bucket_name": server.path.strip("/"),
    }


class TestCouchbase(OnService, KnowledgeStoreSuite):
    backend = "couchbase"
    largest_dimension = 4_096
    stores: ClassVar[dict[str, str]] = {
        "sync": "praisonai_persistence_couchbase:CouchbaseKnowledgeStore",
        "async_": "praisonai_persistence_couchbase:AsyncCouchbaseKnowledgeStore",
    }
    away = "couchbase://Administrator:p-s3cret@127.0.0.1:{port}/praisonai"

    @pytest.fixture
    def spec_through(self, couchbase, spec) -> Endpoint:
        """Through a proxy."""
        server = urlsplit(couchbase.url)

        def spec_at(host: str, port: int) -> StoreSpec:
            return spec.with_options(**_through(couchbase, host, port))

        return Endpoint(server.hostname, server.port, spec_at)


USUAL = {
    "delay": 0.01,
    "busy": 0,
    "quota": 1_000,
    "starting": 0,
    "impossible": False,
    "ignoring": False,
    "hanging": False,
    "probed": 0,
    "rejecting": [],
    "resent": "",
    "failover": False,
    "unfed": 0,
}
"""What the fake does unless a test says otherwise."""


options = space_of("couchbase")
fake = told("couchbase", USUAL)


class TestFreshness(FreshnessTests):
    sync = CouchbaseKnowledgeStore
    late = r"is stored.*freshness_timeout"

    def test_who_else_sees_it(self, fake, options):
        with CouchbaseKnowledgeStore(**options) as reader, CouchbaseKnowledgeStore(**options, freshness="own") as own:
            reader.create_collection("docs", 2, "dot")
            fake.order("delay", 1.0)
            own.upsert("docs", [make("a")])
            assert reader.search("docs", [1.0, 0.0]) == []
            assert ids(reader.get("docs", ["a"])) == ["a"]
            assert ids(own.search("docs", [1.0, 0.0])) == ids(reader.search("docs", [1.0, 0.0])) == ["a"]
            fake.order("delay", 0.3)
            reader.upsert("docs", [make("b")])
            with CouchbaseKnowledgeStore(**options) as third:
                assert third.count("docs") == 2

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_writes_that_no_index_can_show_block_nothing(self, fake, options, freshness):
        """After a failover, tokens of before may mean nothing: a query that waits for them is refused for good."""
        with CouchbaseKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("failover", True)
            with pytest.raises(ConnectionFailedError, match=r"is stored.*wait for it no longer"):
                store.upsert("docs", [make("a")])
                store.search("docs", [1.0, 0.0])
            store.upsert("docs", [make("b")])
            assert sorted(ids(store.search("docs", [1.0, 0.0]))) == ["a", "b"]

    @pytest.mark.parametrize(
        "trouble", [("rejecting", ["query request rejected"] * 1_000, []), ("partial", True, False)]
    )
    def test_a_search_service_in_trouble_is_asked_for_own_writes_again(self, fake, options, trouble):
        """It says nothing about what its index has, so the next queries wait all the same."""
        name, value, usual = trouble
        with CouchbaseKnowledgeStore(**options, freshness="own", timeout=0.5) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("delay", 2.0)
            fake.order(name, value)
            store.upsert("docs", [make("a")])
            try:
                for _ in range(2):
                    with pytest.raises(ThrottledError):
                        store.search("docs", [1.0, 0.0])
                    fake.order("delay", 2.0)
                    store.upsert("docs", [make("b")])
            finally:
                fake.order(name, usual)
            assert sorted(ids(store.search("docs", [1.0, 0.0]))) == ["a", "b"]

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_an_index_that_is_not_fed_yet_is_waited_for(self, fake, options, freshness):
        with CouchbaseKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("unfed", 2)
            store.upsert("docs", [make("a")])
            assert ids(store.search("docs", [1.0, 0.0])) == ["a"]

    def test_a_silent_search_service_is_called_silent(self, fake, options):
        with CouchbaseKnowledgeStore(**options, freshness="own", timeout=0.5, freshness_timeout=0.5) as store:
            store.create_collection("docs", 2, "dot")
            fake.order("hanging", True)
            with pytest.raises(ConnectionFailedError, match="did not answer a query in time") as caught:
                store.count("docs")
            assert "written" not in str(caught.value)
            store.upsert("docs", [make("a")])
            with pytest.raises(ConnectionFailedError, match="did not answer a query in time.*is stored"):
                store.count("docs")
            fake.order("hanging", False)
            assert store.count("docs") == 1


class TestIndexes:
    """What is made, and what is left."""

    def test_one_for_each_collection_and_nothing_is_left(self, fake, options):
        own = options["index_name"]
        with CouchbaseKnowledgeStore(**options) as store:
            for name, distance in (("a", "cosine"), ("b", "dot"), ("c", "euclidean")):
                store.create_collection(name, 3, distance)
                store.upsert(name, [make("x", (3.0, 4.0, 0.0)), make("zero", (0.0, 0.0, 0.0))])
                assert store.search(name, [3.0, 4.0, 0.0])[0].id == "x"
                assert store.search(name, [3.0, 4.0, 0.0], with_embeddings=True)[0].embedding == [3.0, 4.0, 0.0]
            assert len([name for name in fake.order("indexes") if name.startswith(own)]) == 3
            for name in "abc":
                store.delete_collection(name)
            assert [name for name in fake.order("indexes") if name.startswith(own)] == []
            assert fake.order("keys", options["collection_name"]) == ["praison_collections"]

    def test_an_index_that_is_not_ready(self, fake, options):
        fake.order("starting", 1.0)
        with (
            CouchbaseKnowledgeStore(**options, index_timeout=0.3) as hasty,
            CouchbaseKnowledgeStore(**options) as patient,
        ):
            with pytest.raises(ConnectionFailedError, match=r"not ready.*index_timeout"):
                hasty.create_collection("docs", 2)
            assert [name for name in fake.order("indexes") if name.startswith(options["index_name"])] == []
            patient.create_collection("docs", 2)
            assert patient.list_collections() == ["docs"]

    def test_an_index_whose_collection_cannot_be_made_is_not_left(self, fake, options):
        fake.order("hanging", True)
        with CouchbaseKnowledgeStore(**options, timeout=1) as store:
            with pytest.raises(ConnectionFailedError, match="did not answer a query in time"):
                store.create_collection("docs", 2)
            assert [name for name in fake.order("indexes") if name.startswith(options["index_name"])] == []
            fake.order("hanging", False)
            assert store.list_collections() == []

    def test_a_change_of_the_catalog_that_arrives_twice(self, fake, options):
        """The second one is refused, because of the first."""
        with CouchbaseKnowledgeStore(**options) as store:
            for name in ("first", "second"):  # the catalog is inserted, and replaced
                fake.order("resent", "collections")
                store.create_collection(name, 2, "dot")
                store.upsert(name, [make("a")])
                assert ids(store.search(name, [1.0, 0.0])) == ["a"]
            fake.order("resent", "collections")
            store.delete_collection("first")
            assert store.list_collections() == ["second"]
            assert len([name for name in fake.order("indexes") if name.startswith(options["index_name"])]) == 1
            assert len(fake.order("keys", options["collection_name"])) == 2  # the catalog, and a document

    @pytest.mark.parametrize("again", ["deleted", "created"])
    def test_a_deletion_that_was_not_ended_is_ended_later(self, fake, options, again):
        """The documents are found by the Search service only, which may be away when a collection is deleted."""
        own = options["index_name"]

        def left():
            indexes = [name for name in fake.order("indexes") if name.startswith(own)]
            return len(indexes), len(fake.order("keys", options["collection_name"]))

        with CouchbaseKnowledgeStore(**options, timeout=0.5) as store:
            store.create_collection("docs", 2, "dot")
            store.upsert("docs", [make("a"), make("b")])
            fake.order("rejecting", ["query request rejected"] * 1_000)
            for _ in range(2):
                with pytest.raises(ThrottledError):
                    store.delete_collection("docs")
                assert store.list_collections() == []
            fake.order("rejecting", [])
            assert left() == (1, 3)
            if again == "created":
                store.create_collection("docs", 3)
                assert store.count("docs") == 0
                assert left() == (1, 1)
            store.delete_collection("docs")
            assert left() == (0, 1)
            with pytest.raises(CollectionNotFoundError):
                store.delete_collection("docs")

    def test_no_room_and_too_many_dimensions(self, fake, options):
        fake.order("quota", 0)
        with CouchbaseKnowledgeStore(**options) as store:
            with pytest.raises(BackendError, match="delete a collection"):
                store.create_collection("docs", 2)
            with pytest.raises(ConfigurationError, match="4,096"):
                store.create_collection("docs", 4_097)


class TestBadWeather:
    """Wrong passwords, places that there are not, throttling, durability that there is not."""

    def test_a_wrong_password(self, couchbase):
        url = couchbase.url.replace(engines.PASSWORD, "wr0ng-k3y")
        with CouchbaseKnowledgeStore(url, connect_timeout=2) as store:
            for call in (store.connect, store.list_collections):
                with pytest.raises(ConnectionFailedError, match="check username and password") as caught:
                    call()
                assert "wr0ng" not in str(caught.value) + repr(store)

    def test_places_that_there_are_not(self, couchbase, options):
        for wrong in ({"bucket_name": "another"}, {"scope_name": "another"}):
            given = {**options, **wrong, "connect_timeout": 2}
            with CouchbaseKnowledgeStore(**given) as store, pytest.raises(PersistenceError) as caught:
                store.connect()
            assert isinstance(caught.value, ConfigurationError), wrong

    def test_servers_whose_loss_is_noticed_during_a_call(self, couchbase, options, monkeypatch):
        """The client says that it is connected when the call begins, and learns the truth while it waits."""
        server = urlsplit(couchbase.url)
        with Proxy(server.hostname, server.port) as proxy:
            given = {**options, **_through(couchbase, "127.0.0.1", proxy.port)}
            with CouchbaseKnowledgeStore(**given, connect_timeout=1, timeout=20) as store:
                store.connect()
                looks = []

                def is_connected(client):
                    looks.append(was(client))
                    return len(looks) == 1 or looks[-1]

                was = _Client.is_connected
                monkeypatch.setattr(_Client, "is_connected", is_connected)
                proxy.close()
                begin = time.monotonic()
                with pytest.raises(ConnectionFailedError, match="does not answer"):
                    store.list_collections()
                assert time.monotonic() - begin < 10
                assert len(looks) == 2

    def test_a_read_that_takes_longer_than_connecting(self, couchbase, options):
        """It is waited for until ``timeout``, where there is a connection."""
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
        server = urlsplit(couchbase.url)
        with Proxy(server.hostname, server.port) as proxy:
            given = {**options, **_through(couchbase, "127.0.0.1", proxy.port)}
            with CouchbaseKnowledgeStore(**given, connect_timeout=2, timeout=20) as store:
                store.connect()
                proxy.hold()
                threading.Timer(3.0, proxy.release).start()
                assert store.list_collections() == ["docs"]

    def test_throttling(self, fake, options):
        """The client itself repeats what a busy node has refused, and a busy search."""
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            fake.order("busy", 3)
            store.insert("docs", [make("a")])
            fake.order("busy", 3)
            assert store.count("docs") == 1
        with CouchbaseKnowledgeStore(**options, timeout=1) as store:
            store.connect()
            fake.order("busy", 1_000)
            with pytest.raises(ConnectionFailedError):
                store.upsert("docs", [make("b")])
            fake.order("busy", 0)
            assert store.count("docs") == 1

    @pytest.mark.parametrize("message", ["query request rejected", "num_concurrent_requests"])
    def test_a_search_service_without_memory(self, fake, options, message):
        """The client does not repeat what that has refused, so the store does."""
        with CouchbaseKnowledgeStore(**options) as store:
            for call in (
                lambda: store.create_collection("docs", 2),
                lambda: store.insert("docs", [make("a")]),
                lambda: store.search("docs", [1.0, 0.0]),
                lambda: store.count("docs"),
                lambda: store.delete_collection("docs"),
            ):
                fake.order("rejecting", [message] * 2)
                call()
            assert fake.order("indexes") == []
        with CouchbaseKnowledgeStore(**options, timeout=0.5) as store:
            store.create_collection("docs", 2)
            fake.order("rejecting", [message] * 1_000)
            with pytest.raises(ThrottledError, match="has no memory.*is stored, and the next queries wait"):
                store.insert("docs", [make("a")])
            with pytest.raises(ThrottledError, match="has no memory"):
                store.count("docs")
            fake.order("rejecting", [])
            assert store.count("docs") == 1

    def test_an_async_store_says_the_same(self, fake, options, couchbase):
        async def main():
            async with AsyncCouchbaseKnowledgeStore(**options) as store:
                await store.create_collection("docs", 2)
                fake.order("busy", 3)
                await store.insert("docs", [make("a")])
                fake.order("busy", 3)
                assert await store.count("docs") == 1
            url = couchbase.url.replace(engines.PASSWORD, "wr0ng-k3y")
            async with AsyncCouchbaseKnowledgeStore(url, connect_timeout=2) as store:
                with pytest.raises(ConnectionFailedError, match="check username and password"):
                    await store.list_collections()

        asyncio.run(main())

    def test_durability(self, fake, options):
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            assert "durable" in store.capabilities
            fake.order("impossible", True)
            with pytest.raises(BackendError, match="another durability"):
                store.upsert("docs", [make("a")])
            with CouchbaseKnowledgeStore(**options, durability="none") as weak:
                weak.upsert("docs", [make("a")])
                assert "durable" not in weak.capabilities
            assert store.count("docs") == 1


class TestDocuments:
    """More than one answer has room for, and what a call costs."""

    def test_more_than_a_query_returns(self, fake, options, monkeypatch):
        monkeypatch.setattr(knowledge, "_MATCHES", 120)
        fake.order("delay", 0)
        documents = [make(str(number), (float(number), 1.0), n=number % 2) for number in range(300)]
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            store.upsert("docs", documents)
            assert (store.count("docs"), store.count("docs", {"n": 1})) == (300, 150)
            assert store.count("docs", {"n": {"$gt": 0}}) == 150
            best = [str(number) for number in reversed(range(300))]
            assert ids(store.search("docs", [1.0, 0.0], 100)) == best[:100]
            assert ids(store.search("docs", [1.0, 0.0], 250)) == best[:250]
            assert ids(store.search("docs", [1.0, 0.0], 130, {"n": 1})) == best[0:260:2]
            assert store.delete("docs", filters={"n": 0}) == 150
            assert store.clear_collection("docs") == 150
            assert store.count("docs") == 0

    def test_a_server_that_ignores_filters_of_vector_queries(self, fake, options):
        """As 7.6.2 does: what it finds is checked, and more is asked for."""
        fake.order("ignoring", True)
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            store.upsert("docs", [make(str(number), (number, 1.0), n=number) for number in range(100)])
            assert ids(store.search("docs", [1.0, 0.0], 2, {"n": {"$lt": 3}})) == ["2", "1"]
            fake.order("probed", 30)
            assert ids(store.search("docs", [1.0, 0.0], 2, {"n": {"$lt": 3}})) == ["2", "1"]

    def test_an_index_that_looks_into_a_part_of_the_vectors_hides_nothing(self, fake, options):
        """As from 1,000 vectors on: what a vector query does not find is looked for without it."""
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            documents = [make(str(n), (n, 1.0), word="a" if n >= 40 else "b", n=n) for n in range(80)]
            store.upsert("docs", documents)
            fake.order("probed", 20)
            best = [str(number) for number in reversed(range(80))]
            for limit, filters, wanted in (
                (50, None, best[:50]),
                (200, None, best),
                (5, {"word": {"$not": {"$startswith": "a"}}}, best[40:45]),
                (50, {"word": {"$startswith": "b"}}, best[40:]),
                (25, {"n": {"$lt": 60}}, best[20:45]),
                (5, {"n": 100}, []),
            ):
                assert ids(store.search("docs", [1.0, 0.0], limit, filters)) == wanted, (limit, filters)

    def test_a_document_that_is_too_large_is_refused_before_anything_is_written(self, fake, options):
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            batch = [make("a"), make("b", content="\x01" * 3_600_000)]  # 6 bytes each, as JSON
            for write in (store.insert, store.upsert):
                with pytest.raises(SerializationError, match=r"'b' has 2\d{7} bytes.*20971520.*split"):
                    write("docs", batch)
                assert store.get("docs", ["a", "b"]) == []
            store.insert("docs", [make("c", content="\x01" * 3_400_000)])
            assert len(store.get("docs", ["c"])[0].content) == 3_400_000

    def test_an_answer_of_a_part_of_the_index_is_none(self, fake, options):
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.upsert("docs", [make("a")])
            fake.order("partial", True)
            try:
                for call in (lambda: store.search("docs", [1.0, 0.0]), lambda: store.count("docs")):
                    with pytest.raises(ConnectionFailedError, match="a part of the index"):
                        call()
            finally:
                fake.order("partial", False)
            assert store.count("docs") == 1

    def test_requests_of_each_call(self, fake, options):
        """The table in the README."""
        fake.order("delay", 0)
        with CouchbaseKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)

            def requests_of(call):
                fake.order("asked")
                call()
                asked = fake.order("asked")
                return sum(not one.startswith("POST") for one in asked), sum(one.startswith("POST") for one in asked)

            ten = [make(str(number), (number, 1.0), n=1) for number in range(10)]
            assert {
                "insert of 10": requests_of(lambda: store.insert("docs", ten)),
                "upsert": requests_of(lambda: store.upsert("docs", [make("a", n=2)])),
                "search": requests_of(lambda: store.search("docs", [1.0, 0.0], 1)),
                "search of few": requests_of(lambda: store.search("docs", [1.0, 0.0], 5)),
                "get of 2": requests_of(lambda: store.get("docs", ["1", "2"])),
                "count": requests_of(lambda: store.count("docs", {"n": 1})),
                "delete": requests_of(lambda: store.delete("docs", ["1"])),
            } == {
                "insert of 10": (21, 1),
                "upsert": (2, 1),
                "search": (12, 1),
                "search of few": (12, 2),
                "get of 2": (3, 0),
                "count": (1, 1),
                "delete": (3, 1),
            }


@pytest.fixture(scope="module")
def vendors_mock() -> Iterator[CouchbaseOptions]:
    """CouchbaseMock, the vendor's own fake of the key-value service; it has no Search service."""
    jar = shutil.which("java") and maven_jar("com.couchbase.mock", "CouchbaseMock", "1.5.27")
    if not jar:
        pytest.skip("CouchbaseMock needs Java, and Maven to fetch it")
    port = engines.free_port()
    arguments = ["--nodes", "1", "--replicas", "0", "--host", "127.0.0.1", "--cccp", "--buckets", "default::couchbase"]
    command = ["java", "-jar", str(jar), "--port", str(port), *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            kv = _wait_for_port(port)
            yield CouchbaseOptions(
                connection_string=f"couchbase://127.0.0.1:{kv}=mcd",
                username="Administrator",
                password="password",
                bucket_name="default",
                collection_name="_default",
                durability="none",
            )
        finally:
            process.kill()


def _wait_for_port(port: int) -> int:
    """The port of the key-value service, as soon as the mock says it."""
    login = base64.b64encode(b"Administrator:password").decode()
    end = time.monotonic() + 60
    while True:
        try:
            found = engines.json_request(
                f"http://127.0.0.1:{port}", "GET /pools/default/buckets/default", {"Authorization": f"Basic {login}"}
            )
            return int(found["nodes"][0]["ports"]["direct"])
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("place", ["fake", "vendor"])
def test_keys_are_the_same_on_the_vendors_own_mock(request, couchbase, place):
    """What the store asks of the key-value service."""
    if place == "vendor":
        options = request.getfixturevalue("vendors_mock")
    else:
        options = CouchbaseOptions(couchbase.url, collection_name="_default", durability="none")
    driver = CouchbaseDriver(options)
    client = driver.open(Deadline(10, options.where))
    one, two, absent = (f"{place}-{uuid.uuid4().hex}" for _ in range(3))

    def kinds(found):
        return [type(found[key]).__name__ for key in (one, two, absent) if key in found]

    try:
        made = driver.perform(client, Each("insert", {one: {"a": "é"}}))
        first = made[one].mutation_token()
        again = driver.perform(client, Each("insert", {one: {}, two: {}}, expected=("DocumentExistsException",)))
        assert kinds(again) == ["DocumentExistsException", "MutationResult"]
        with pytest.raises(DocumentExistsException) as caught:
            driver.perform(client, Each("insert", {one: {}}))
        assert isinstance(driver.translate(caught.value), TakenError)
        found = driver.perform(client, Each("get", {one: None, absent: None}, expected=("DocumentNotFoundException",)))
        assert kinds(found) == ["GetResult", "DocumentNotFoundException"]
        assert (found[one].content_as[dict], found[one].cas) == ({"a": "é"}, made[one].cas)
        expected = ("CasMismatchException", "DocumentNotFoundException")
        wrong = driver.perform(client, Each("remove", {one: None, absent: None}, {one: made[one].cas + 1}, expected))
        assert kinds(wrong) == ["CasMismatchException", "DocumentNotFoundException"]
        with pytest.raises(CasMismatchException):
            driver.perform(client, Each("replace", {one: {}}, {one: made[one].cas + 1}))
        changed = driver.perform(client, Each("replace", {one: {"b": 1}}, {one: made[one].cas}))
        second = changed[one].mutation_token()
        assert (second.partition_id, second.partition_uuid) == (first.partition_id, first.partition_uuid)
        assert second.sequence_number > first.sequence_number
        gone = driver.perform(client, Each("remove", {one: None, two: None}, {one: changed[one].cas}))
        assert kinds(gone) == ["MutationResult", "MutationResult"]
        assert gone[one].mutation_token().sequence_number > second.sequence_number
    finally:
        driver.close(client)
