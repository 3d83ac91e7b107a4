"""Cosmos DB against the conformance kit, and what the kit does not ask; on a fake, or on the service itself."""

from __future__ import annotations

import threading
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from services import OnService, RefusalTests, assert_own_writes_are_seen, ids, make, space_of, told

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConfigurationError,
    ConnectionFailedError,
    DocumentExistsError,
    SerializationError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite
from praisonai_persistence_cosmosdb import AsyncCosmosDBVectorKnowledgeStore, CosmosDBVectorKnowledgeStore
from praisonai_persistence_cosmosdb._driver import Clients


class TestCosmosDB(OnService, KnowledgeStoreSuite):
    backend = "cosmosdb"
    largest_dimension = 4_096
    stores: ClassVar[dict[str, str]] = {
        "sync": "praisonai_persistence_cosmosdb:CosmosDBVectorKnowledgeStore",
        "async_": "praisonai_persistence_cosmosdb:AsyncCosmosDBVectorKnowledgeStore",
    }
    away = "http://:a2V5LXMzY3JldA==@127.0.0.1:{port}"


def in_a_thread(call):
    """Let another store do something while an operation is under way."""
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


options = space_of("cosmosdb")
fake = told(
    "cosmosdb",
    {"delay": 0.01, "busy": 0, "busily": None, "inside": [], "quota": 500, "consistency": "Session"}
    | {"refusing": "", "making": 0},
)


class TestFreshness:
    """K11 with each setting, where reads without a session token see a write some time later."""

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_write_is_visible_to_the_next_read_of_the_same_store(self, fake, options, freshness):
        fake.order("delay", 30.0)
        with CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2, "dot")
            assert_own_writes_are_seen(store)

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_collection_that_was_deleted_is_not_there(self, fake, options, freshness):
        fake.order("delay", 30.0)
        with CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2)
            store.delete_collection("docs")
            assert store.list_collections() == []
            store.create_collection("docs", 3)
            store.upsert("docs", [make("a", (1.0, 2.0, 3.0))])
            assert store.count("docs") == 1

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_container_that_was_removed_and_made_anew_counts_from_the_beginning(self, fake, options, freshness):
        fake.order("delay", 30.0)
        with CosmosDBVectorKnowledgeStore(**options, freshness=freshness, timeout=2) as store:
            store.create_collection("docs", 2)
            for name in ("a", "b", "c"):
                store.upsert("docs", [make(name)])
                store.create_collection(name, 2)
            with fake.client() as client:
                client.delete_database(options["database"])
            store.create_collection("docs", 2)
            assert store.list_collections() == ["docs"]

    def test_who_else_sees_it(self, fake, options):
        with (
            CosmosDBVectorKnowledgeStore(**options) as everything,
            CosmosDBVectorKnowledgeStore(**options, freshness="own") as own,
        ):
            fake.order("delay", 0)
            everything.create_collection("docs", 2)
            assert own.count("docs") == 0
            fake.order("delay", 30.0)
            everything.insert("docs", [make("a")])
            assert ids(own.get("docs", ["a"])) == []
            own.upsert("docs", [make("b")])
            assert ids(own.get("docs", ["a", "b"])) == ids(everything.get("docs", ["a", "b"])) == ["a", "b"]

    def test_where_all_reads_are_strong_nothing_is_written_for_them(self, fake, options):
        fake.order("consistency", "Strong")
        fake.order("delay", 30.0)
        with CosmosDBVectorKnowledgeStore(**options) as store, CosmosDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            other.upsert("docs", [make("a")])
            fake.order("asked")
            assert ids(store.get("docs", ["a"])) == ["a"]
            assert len(fake.order("asked")) == 2

    @pytest.mark.parametrize("level", ["Eventual", "ConsistentPrefix"])
    def test_an_account_that_knows_no_sessions(self, fake, options, level):
        fake.order("consistency", level)
        with (
            CosmosDBVectorKnowledgeStore(**options) as store,
            pytest.raises(ConfigurationError, match=f"{level}.*set Session"),
        ):
            store.connect()


class TestContainers:
    """Which ones there are, and which are refused."""

    def test_one_for_each_dimension_and_function(self, cosmosdb, options):
        with CosmosDBVectorKnowledgeStore(**options, vector_index="quantizedFlat", text_field="text") as store:
            for name, dimension, distance in (
                ("a", 2, "cosine"),
                ("b", 2, "dot"),
                ("c", 3, "dot"),
                ("d", 2, "euclidean"),
            ):
                store.create_collection(name, dimension, distance)
                store.upsert(name, [make("x", [1.0] * dimension, "words")])
                assert ids(store.search(name, [1.0] * dimension)) == ["x"]
        with cosmosdb.client() as client:
            database = client.get_database_client(options["database"])
            found = {one["id"]: one for one in database.list_containers()}
            assert sorted(found) == ["vectors", "vectors-2-dotproduct", "vectors-2-euclidean", "vectors-3-dotproduct"]
            assert found["vectors-2-euclidean"]["indexingPolicy"]["vectorIndexes"] == [
                {"path": "/embedding", "type": "quantizedFlat"}
            ]
            container = database.get_container_client("vectors-3-dotproduct")
            items = [item for item in container.read_all_items() if "name" in item] if not cosmosdb.restartable else []
            assert all(item["text"] == "words" for item in items)

    def test_one_that_does_not_fit(self, cosmosdb, options):
        from azure.cosmos import PartitionKey

        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            with cosmosdb.client() as client:
                database = client.get_database_client(options["database"])
                database.create_container("vectors-3-dotproduct", PartitionKey("/other"))
            with pytest.raises(ConfigurationError, match=r"another partition key or vector policy.*collection="):
                store.create_collection("other", 3)
            with pytest.raises(ConfigurationError, match="at most 4,096 numbers, not 4,097"):
                store.create_collection("other", 4_097)
            assert store.list_collections() == ["docs"]

    def test_a_deleted_collection_leaves_no_document(self, cosmosdb, options):
        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(str(number)) for number in range(250)])
            store.delete_collection("docs")
            store.create_collection("docs", 2)
            assert store.count("docs") == 0

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_nothing_stays_in_the_partition_of_a_deleted_collection(self, fake, options, freshness):
        fake.order("delay", 0)

        def found(name, partition, what):
            with fake.client() as client:
                container = client.get_database_client(options["database"]).get_container_client(name)
                return list(container.query_items(f"SELECT VALUE {what} FROM c", partition_key=partition))

        with CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            assert store.count("docs") == 1
            (place,) = found("vectors", "praison_collections", "c.facts.place")
            assert len(found(*place, "c.id")) == (2 if freshness == "all" else 1)
            store.delete_collection("docs")
            assert found(*place, "c.id") == []

    @pytest.mark.parametrize("late", [False, True])
    def test_one_that_was_deleted_and_made_anew_meanwhile(self, options, monkeypatch, late):
        with CosmosDBVectorKnowledgeStore(**options) as store, CosmosDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            asked = []
            found_item = type(store._steps)._found_item

            def anew():
                other.delete_collection("docs")
                other.create_collection("docs", 2)
                other.insert("docs", [make("of the other")])

            def meanwhile(steps, name):
                asked.append(name)
                if len(asked) == 2 and not late:
                    in_a_thread(anew)
                item = yield from found_item(steps, name)
                if len(asked) == 2 and late:
                    in_a_thread(anew)
                return item

            monkeypatch.setattr(store._steps, "_found_item", lambda name: meanwhile(store._steps, name))
            with pytest.raises(CollectionNotFoundError):
                store.delete_collection("docs")
            monkeypatch.undo()
            assert ids(store.get("docs", ["of the other"])) == ["of the other"]

    def test_no_room(self, fake, options):
        fake.order("quota", 0)
        with CosmosDBVectorKnowledgeStore(**options) as store, pytest.raises(BackendError, match="quotas"):
            store.create_collection("docs", 2)

    @pytest.mark.parametrize(
        ("reason", "kind", "words"),
        [
            ("incapable", ConfigurationError, "turn on the feature 'Vector Search for NoSQL API'"),
            ("shared", ConfigurationError, "share their throughput.*database="),
            ("throughput", BackendError, "no throughput left.*serverless"),
            ("firewall", ConnectionFailedError, "Networking"),
        ],
    )
    def test_a_container_that_the_account_does_not_allow(self, fake, options, reason, kind, words):
        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.connect()
            fake.order("refusing", reason)
            with pytest.raises(kind, match=words):
                store.create_collection("docs", 2)
            fake.order("refusing", "")
            assert store.list_collections() == []
            store.create_collection("docs", 2)
            assert store.count("docs") == 0

    def test_a_container_that_is_not_made_to_its_end(self, fake, options):
        """It is no collection that there is not: the store waits."""
        with CosmosDBVectorKnowledgeStore(**options) as store:
            fake.order("making", 2)
            store.create_collection("docs", 2)
            fake.order("making", 2)
            store.insert("docs", [make("a")])
            fake.order("making", 2)
            assert store.count("docs") == 1
        with CosmosDBVectorKnowledgeStore(**options, timeout=0.3) as store:
            fake.order("making", 1_000)
            with pytest.raises(ConnectionFailedError, match="still making a container"):
                store.list_collections()

    @pytest.mark.parametrize(
        ("reason", "kind", "words"),
        [
            ("full", BackendError, "no more room in this collection.*delete"),
            ("region", ConnectionFailedError, "no writes"),
        ],
    )
    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_write_that_the_service_does_not_take(self, fake, options, freshness, reason, kind, words):
        with CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            fake.order("refusing", reason)
            for write in (store.insert, store.upsert):
                with pytest.raises(kind, match=words):
                    write("docs", [make("b"), make("c")])
            if (reason, freshness) == ("full", "own"):
                assert store.delete("docs", ["a"]) == 1
            fake.order("refusing", "")
            assert store.count("docs") == (0 if (reason, freshness) == ("full", "own") else 1)


class TestDocuments:
    """Batches, sizes, pages."""

    def test_an_insert_of_several_batches_that_finds_another_document(self, fake, options, monkeypatch):
        documents = [make(f"{number:03}") for number in range(250)]
        with CosmosDBVectorKnowledgeStore(**options) as store, CosmosDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            taken = type(store._steps)._taken

            def late(steps, opened, ids):
                monkeypatch.undo()
                found = yield from taken(steps, opened, ids)
                in_a_thread(lambda: other.insert("docs", [make("240", content="of the other")]))
                return found

            monkeypatch.setattr(type(store._steps), "_taken", late)
            with pytest.raises(DocumentExistsError, match="nothing was written"):
                store.insert("docs", documents)
            assert store.count("docs") == 1
            assert store.get("docs", ["240"])[0].content == "of the other"
            store.upsert("docs", documents)
            assert (store.count("docs"), store.delete("docs", ids(documents[:150])), store.count("docs")) == (
                250,
                150,
                100,
            )

    def test_an_insert_that_fails_leaves_what_others_wrote_over_it(self, fake, options, monkeypatch):
        with CosmosDBVectorKnowledgeStore(**options) as store, CosmosDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            batch = store._steps._batch

            def late(place, operations):
                found = yield from batch(place, operations)
                monkeypatch.undo()
                in_a_thread(lambda: other.upsert("docs", [make("000", content="of the other"), make("140")]))
                in_a_thread(lambda: other.delete("docs", ["001"]))
                return found

            monkeypatch.setattr(store._steps, "_batch", late)
            with pytest.raises(DocumentExistsError):
                store.insert("docs", [make(f"{number:03}") for number in range(150)])
            assert (store.count("docs"), store.get("docs", ["000"])[0].content) == (2, "of the other")

    @pytest.mark.parametrize("freshness", ["all", "own"])
    @pytest.mark.parametrize("filters", [{"text": "x"}, {"number": 1}], ids=["asked of the service", "checked here"])
    def test_a_delete_that_meets_another_writer(self, fake, options, monkeypatch, freshness, filters):
        """The filters are asked again of what was written meanwhile; of busy requests the conditions stay."""
        fake.order("delay", 30.0)
        matching = {"text": "x", "number": 1}
        with (
            CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store,
            CosmosDBVectorKnowledgeStore(**options) as other,
        ):
            store.create_collection("docs", 2)
            store.insert("docs", [make(name, **matching) for name in "abc"])
            batch = store._steps._batch

            def late(place, operations):
                monkeypatch.undo()
                in_a_thread(lambda: other.upsert("docs", [make("b", text="y", number=2), make("c", **matching)]))
                fake.order("inside", [429])
                return (yield from batch(place, operations))

            monkeypatch.setattr(store._steps, "_batch", late)
            assert store.delete("docs", filters=filters) == 2
            assert ids(store.get("docs", list("abc"))) == ["b"]
            assert store.get("docs", ["b"])[0].metadata == {"text": "y", "number": 2}

    def test_a_delete_of_what_another_removes(self, options, monkeypatch):
        with CosmosDBVectorKnowledgeStore(**options) as store, CosmosDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a"), make("b")])
            batch = store._steps._batch

            def late(place, operations):
                monkeypatch.undo()
                in_a_thread(lambda: other.delete("docs", ["a"]))
                return (yield from batch(place, operations))

            monkeypatch.setattr(store._steps, "_batch", late)
            assert (store.delete("docs", ["a", "b"]), store.count("docs")) == (1, 0)

    def test_a_delete_of_what_others_write_again_and_again(self, fake, options, monkeypatch):
        with (
            CosmosDBVectorKnowledgeStore(**options, timeout=0.5) as store,
            CosmosDBVectorKnowledgeStore(**options) as other,
        ):
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            batch = store._steps._batch

            def late(place, operations):
                in_a_thread(lambda: other.upsert("docs", [make("a")]))
                return (yield from batch(place, operations))

            monkeypatch.setattr(store._steps, "_batch", late)
            with pytest.raises(ConnectionFailedError, match="again and again"):
                store.delete("docs", ["a"])
            assert other.count("docs") == 1

    def test_a_document_that_is_too_large_with_its_embedding(self, options):
        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 4_000)
            large = make("large", [0.123456789] * 4_000, content="\n" * 995_000)
            for write in (store.insert, store.upsert):
                with pytest.raises(SerializationError, match=r"'large' has \d+ bytes.*2000000.*split"):
                    write("docs", [make("small", [1.0] * 4_000), large])
            assert store.count("docs") == 0

    def test_results_of_several_pages(self, options):
        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            store.insert("docs", [make(str(number), (float(number), 1.0), "x" * 900_000) for number in range(12)])
            found = store.search("docs", [1.0, 0.0], 12)
            assert ids(found) == [str(number) for number in reversed(range(12))]
            assert {len(document.content) for document in store.get("docs", ids(found))} == {900_000}


class TestBadWeather(RefusalTests):
    sync, async_ = CosmosDBVectorKnowledgeStore, AsyncCosmosDBVectorKnowledgeStore
    key, refused, busy, patience = "api_key", "check its key", "too many requests.*request units", 0.5

    @pytest.fixture
    def wrong_url(self, cosmosdb):
        return cosmosdb.url.replace(urlsplit(cosmosdb.url).password, "d3IwbmcwMDA%3D"), "d3IwbmcwMDA"

    @staticmethod
    def later(seconds, form="seconds"):
        """Cosmos DB has a header of its own only, and a status of its own for writes of one item at once."""
        return 449 if form == "date" else 429, {"x-ms-retry-after-ms": f"{seconds * 1000}"}

    @pytest.mark.parametrize("status", [429, 449])
    def test_a_batch_of_which_one_document_is_throttled(self, fake, options, status):
        with CosmosDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            for write in (store.insert, store.upsert):
                fake.order("inside", [status] * 3)
                write("docs", [make("a"), make("b")])
            fake.order("inside", [status] * 3)
            assert (store.delete("docs", ["a"]), store.count("docs")) == (1, 1)


def test_a_deletion_reads_metadata_only_where_the_store_checks_them(options, monkeypatch):
    """What a query returns is paid for, and metadata may be large."""
    asked, query = [], Clients.query
    monkeypatch.setattr(
        Clients, "query", lambda self, name, text, *more: asked.append(text) or query(self, name, text, *more)
    )
    with CosmosDBVectorKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number), n=number, text=f"{number}") for number in range(6)])

        def read_by(**chosen):
            asked.clear()
            count = store.delete("docs", **chosen)
            return count, ["facts" in text for text in asked if text.startswith("SELECT c.name")]

        assert read_by(ids=["0", "nobody"]) == (1, [False])
        assert read_by(filters={"text": "1"}) == (1, [False])
        assert read_by(filters={"text": {"$startswith": "2"}}) == (1, [True])
        asked.clear()
        assert store.clear_collection("docs") == 3
        store.delete_collection("docs")
        assert not [text for text in asked if "facts" in text]


@pytest.mark.parametrize("freshness", ["all", "own"])
def test_requests_of_each_call(fake, options, freshness):
    """The table in the README."""
    with CosmosDBVectorKnowledgeStore(**options, freshness=freshness) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number), (number, 1.0), n=1) for number in range(10)])

        def requests_of(call):
            fake.order("asked")
            call()
            return len(fake.order("asked"))

        found = {
            "insert": requests_of(lambda: store.insert("docs", [make("new")])),
            "upsert": requests_of(lambda: store.upsert("docs", [make("a", n=2)])),
            "search": requests_of(lambda: store.search("docs", [1.0, 0.0], filters={"n": 1})),
            "get": requests_of(lambda: store.get("docs", ["1", "2"])),
            "count": requests_of(lambda: store.count("docs", {"n": 1})),
            "delete": requests_of(lambda: store.delete("docs", ["1"])),
            "create": requests_of(lambda: store.create_collection("another", 2)),
        }
    own = {"insert": 3, "upsert": 2, "search": 2, "get": 2, "count": 2, "delete": 3, "create": 5}
    more = {"insert": 2, "upsert": 1, "search": 2, "get": 2, "count": 2, "delete": 2, "create": 1}
    assert found == {name: count + (more[name] if freshness == "all" else 0) for name, count in own.items()}
