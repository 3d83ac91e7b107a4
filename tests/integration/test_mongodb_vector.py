"""Knowledge in MongoDB against the conformance kit, and what is particular to it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar
from urllib.parse import urlsplit

import pymongo
import pytest
from lifecycles import Networked
from proxy import Proxy
from pymongo.collection import Collection
from services import OwnFreshness, ids, make
from test_mongodb import Commands

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec
from praisonai_persistence.vectors import pack, score
from praisonai_persistence_mongodb import MongoDBVectorKnowledgeStore
from praisonai_persistence_mongodb.knowledge import MongoVectorSteps

STORES = {
    "sync": "praisonai_persistence_mongodb:MongoDBVectorKnowledgeStore",
    "async_": "praisonai_persistence_mongodb:AsyncMongoDBVectorKnowledgeStore",
}


class _Server(Networked, KnowledgeStoreSuite):
    """A server whose tests take the fixture of this name."""

    __test__ = False
    engine = "mongodb"
    largest_dimension = 1_000_000
    more: ClassVar[dict[str, object]] = {}

    @pytest.fixture
    def _engine(self, request):
        return request.getfixturevalue(self.engine)

    @pytest.fixture
    def spec(self, _engine) -> Iterator[StoreSpec]:
        with _engine.space() as options:
            yield StoreSpec("knowledge", **STORES, options={**options, **self.more})

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "mongodb://127.0.0.1:9", "connect_timeout": 0.2})

    @pytest.fixture
    def server(self, _engine):
        if not _engine.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return _engine


class TestMongoDBVector(_Server):
    """Without vector search: the store compares every vector."""

    __test__ = True
    backend = "mongodb_vector"


@pytest.mark.quick_operations
class TestAtlas(OwnFreshness, _Server):
    """With vector search, by which all is found."""

    __test__ = True
    backend = "mongodb_vector (Atlas)"
    engine = "atlas"
    more: ClassVar[dict[str, object]] = {"vector_search": "atlas", "index_from": 1}


class _LosesAnswer(Commands):
    """Has a proxy lose the answer to the first insert."""

    def __init__(self, proxy):
        super().__init__()
        self._proxy = proxy

    def started(self, event):
        if event.command_name == "insert" and "insert" not in self.names:
            self._proxy.lose_next_answer()
        super().started(event)


@pytest.fixture
def options(mongodb):
    with mongodb.space() as options:
        yield options


@pytest.fixture
def atlas_options(atlas):
    with atlas.space() as options:
        yield options


@pytest.fixture
def fake(atlas):
    """The fake, told what to do by a test; afterwards as it was."""
    if not atlas.restartable:
        pytest.skip("this is the service itself, which nobody can tell to be slow, busy or full")
    yield atlas
    for name, value in {"delay": 0.02, "starting": 0, "quota": 100_000, "busy": 0, "failing": False}.items():
        atlas.order(name, value)


def draw(count, dimension=8):
    numbers = random.Random(7)
    return [[numbers.gauss(0, 1) for _ in range(dimension)] for _ in range(count)]


class TestExactSearch:
    """Where the server has no vector search."""

    def test_it_ends_at_a_documented_size(self, options):
        with MongoDBVectorKnowledgeStore(**options, exact_documents=2_500) as store:
            store.create_collection("docs", 2)
            store.upsert("docs", [make(str(number), (number, 1.0), half=number % 2) for number in range(2_500)])
            assert ids(store.search("docs", [1.0, 0.0], limit=1)) == ["2499"]
            store.upsert("docs", [make(str(number), (number, 1.0), half=number % 2) for number in range(2_500, 4_500)])
            with pytest.raises(UnsupportedOperationError, match=r"more than 2500 documents.*raise exact_documents"):
                store.search("docs", [1.0, 0.0], limit=1)
            assert ids(store.search("docs", [1.0, 0.0], limit=1, filters={"half": 1})) == ["4499"]
            assert (store.count("docs"), store.delete("docs", filters={"half": 1})) == (4_500, 2_250)

    def test_atlas_can_be_demanded(self, mongodb, options):
        with MongoDBVectorKnowledgeStore(**options, vector_search="atlas") as store:
            with pytest.raises(UnsupportedOperationError, match=r"no vector search.*vector_search='exact'"):
                store.create_collection("docs", 2)
            assert store.list_collections() == []
            with pymongo.MongoClient(mongodb.url) as client:
                names = client[options["url"].rpartition("/")[2]].list_collection_names()
            assert [name for name in names if name != "praison_vectors"] == []

    def test_fields_have_the_names_that_were_given(self, mongodb, options):
        with MongoDBVectorKnowledgeStore(**options, text_field="page", embedding_field="numbers") as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a", content="text")])
        with MongoDBVectorKnowledgeStore(**options) as other:  # the collection says how it was made
            other.insert("docs", [make("b", content="more")])
            assert [one.content for one in other.get("docs", ["a", "b"])] == ["text", "more"]
        with pymongo.MongoClient(mongodb.url) as client:
            database = client[options["url"].rpartition("/")[2]]
            found = database[database.praison_vectors.find_one()["documents"]].find_one({"_id": "a"})
        assert (found["page"], len(found["numbers"])) == ("text", 8)

    def test_a_write_to_a_collection_that_was_deleted_leaves_nothing(self, mongodb, options, monkeypatch):
        with MongoDBVectorKnowledgeStore(**options) as store, MongoDBVectorKnowledgeStore(**options) as other:
            store.create_collection("docs", 2)
            check = MongoVectorSteps._check

            def late(steps, opened):
                if other.collection_exists("docs"):
                    other.delete_collection("docs")
                return check(steps, opened)

            monkeypatch.setattr(MongoVectorSteps, "_check", late)
            with pytest.raises(CollectionNotFoundError):
                store.upsert("docs", [make("a")])
        with pymongo.MongoClient(mongodb.url) as client:
            names = client[options["url"].rpartition("/")[2]].list_collection_names()
        assert [name for name in names if name != "praison_vectors"] == []

    def test_a_collection_whose_entry_was_written_is_whole_also_if_the_answer_was_lost(self, mongodb, options):
        server, database = urlsplit(options["url"]), options["url"].rpartition("/")[2]
        with Proxy(server.hostname, server.port) as proxy:
            client_options = {"event_listeners": [_LosesAnswer(proxy)], "heartbeatFrequencyMS": 60_000}
            url = f"mongodb://127.0.0.1:{proxy.port}/{database}"
            with MongoDBVectorKnowledgeStore(url, client_options=client_options) as store:
                with pytest.raises(ConnectionFailedError):
                    store.create_collection("docs", 2)
                assert store.list_collections() == ["docs"]
                store.create_collection("docs", 2)  # as it is there, nothing is made
                store.insert("docs", [make("a")])
                assert ids(store.search("docs", [1.0, 0.0])) == ["a"]
        with pymongo.MongoClient(mongodb.url) as client:
            own = client[database].praison_vectors.find_one()["documents"]
            assert sorted(client[database].list_collection_names()) == sorted(["praison_vectors", own])
            assert "tokens" in client[database][own].index_information()

    @pytest.mark.parametrize("first", ["own", "other"])
    def test_an_entry_that_is_there_already(self, mongodb, options, monkeypatch, first):
        """Of a request that was made twice, or of another store, which was first."""
        insert_one, database = Collection.insert_one, options["url"].rpartition("/")[2]

        def second(collection, entry):
            monkeypatch.undo()
            if first == "own":
                insert_one(collection, entry)
            else:
                with MongoDBVectorKnowledgeStore(**options) as other:
                    other.create_collection("docs", 2)
            return insert_one(collection, entry)

        with MongoDBVectorKnowledgeStore(**options) as store:
            store.connect()
            monkeypatch.setattr(Collection, "insert_one", second)
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            assert ids(store.get("docs", ["a"])) == ["a"]
        with pymongo.MongoClient(mongodb.url) as client:
            own = client[database].praison_vectors.find_one()["documents"]
            assert sorted(client[database].list_collection_names()) == sorted(["praison_vectors", own])
            assert "tokens" in client[database][own].index_information()

    def test_metadata_whose_tokens_have_no_room(self, options):
        with MongoDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            with pytest.raises(SerializationError, match=r"'wide' has \d+ keys and items"):
                store.insert("docs", [make("small"), make("wide", items=list(range(400_000)))])
            assert store.count("docs") == 0

    def test_the_largest_document_has_room_for_the_largest_embedding(self, options):
        with MongoDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 1_000_000, "dot")
            store.insert("docs", [make("a", [1.0] * 1_000_000, content="x" * 11_999_000)])
            assert store.count("docs") == 1

    def test_racing_deletes_count_a_document_once(self, options):
        with MongoDBVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(str(number)) for number in range(50)])
            with ThreadPoolExecutor(4) as pool:
                counts = pool.map(lambda _: store.delete("docs", [str(number) for number in range(50)]), range(4))
                assert sum(counts) == 50

    def test_commands_of_each_call(self, options):
        """The table in the README."""
        commands = Commands()
        with MongoDBVectorKnowledgeStore(**options, client_options={"event_listeners": [commands]}) as store:
            store.create_collection("docs", 2)

            def commands_of(call):
                commands.names.clear()
                call()
                return len(commands.names)

            many = [make(str(number), vector, n=number % 2) for number, vector in enumerate(draw(100, 2))]
            assert {
                "create": commands_of(lambda: store.create_collection("another", 2)),
                "delete collection": commands_of(lambda: store.delete_collection("another")),
                "insert": commands_of(lambda: store.insert("docs", many)),
                "upsert": commands_of(lambda: store.upsert("docs", many)),
                "search": commands_of(lambda: store.search("docs", [1.0, 0.0])),
                "search with a filter": commands_of(lambda: store.search("docs", [1.0, 0.0], filters={"n": 1})),
                "get": commands_of(lambda: store.get("docs", ["1", "2"])),
                "count": commands_of(lambda: store.count("docs", {"n": 1})),
                "delete": commands_of(lambda: store.delete("docs", ["1", "2"])),
            } == {
                "create": 4,
                "delete collection": 3,
                "insert": 4,
                "upsert": 3,
                "search": 3,
                "search with a filter": 3,
                "get": 2,
                "count": 2,
                "delete": 3,
            }


class TestFreshness:
    """K11 with each setting, where an index has a write some time after it was stored."""

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_write_is_visible_to_the_next_search_of_the_same_store(self, fake, atlas_options, freshness):
        with MongoDBVectorKnowledgeStore(**atlas_options, freshness=freshness, index_from=1) as store:
            store.create_collection("docs", 2)
            fake.order("delay", 0.3)
            store.insert("docs", [make("a", (1.0, 0.1), n=1), make("b", (1.0, 0.5), n=1)])
            assert ids(store.search("docs", [1.0, 0.0])) == ["a", "b"]
            store.upsert("docs", [make("a", (0.0, 1.0), n=2), make("c", (1.0, 0.3), n=2)])
            assert ids(store.search("docs", [1.0, 0.0], 1)) == ["c"]
            assert ids(store.search("docs", [1.0, 0.0], filters={"n": {"$ne": 1}})) == ["c", "a"]
            assert store.delete("docs", ["c"]) == 1
            assert ids(store.search("docs", [1.0, 0.0])) == ["b", "a"]

    def test_who_else_finds_it(self, fake, atlas_options):
        with (
            MongoDBVectorKnowledgeStore(**atlas_options, index_from=1) as reader,
            MongoDBVectorKnowledgeStore(**atlas_options, index_from=1, freshness="own") as own,
        ):
            reader.create_collection("docs", 2)
            reader.insert("docs", [make("a", (1.0, 1.0)), make("b", (1.0, 2.0))])
            reader.insert("docs", [make(str(number), (-1.0, number)) for number in range(30)])
            fake.order("delay", 2.0)
            own.upsert("docs", [make("d", (1.0, 0.0))])
            assert ids(reader.search("docs", [1.0, 0.0], 2)) == ["a", "b"]
            assert ids(own.search("docs", [1.0, 0.0], 2)) == ids(reader.search("docs", [1.0, 0.0], 2)) == ["d", "a"]

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_waiting_has_an_end_and_the_error_says_that_it_is_stored(self, fake, atlas_options, freshness):
        given = {**atlas_options, "index_from": 1}
        with MongoDBVectorKnowledgeStore(**given, freshness=freshness, freshness_timeout=0.2) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a"), make("b")])
            store.search("docs", [1.0, 0.0])
            fake.order("delay", 1.5)
            with pytest.raises(ConnectionFailedError, match=r"is stored, but not visible.*freshness_timeout"):
                store.upsert("docs", [make("c")])
                store.search("docs", [1.0, 0.0])
            assert ids(store.get("docs", ["c"])) == ["c"]

    def test_small_collections_are_compared_by_the_store_and_are_fresh_for_all(self, fake, atlas_options):
        with MongoDBVectorKnowledgeStore(**atlas_options, freshness="own") as store:
            store.create_collection("docs", 2)
            fake.order("delay", 5.0)
            store.upsert("docs", [make("a")])
            with MongoDBVectorKnowledgeStore(**atlas_options) as other:
                assert ids(other.search("docs", [1.0, 0.0])) == ["a"]


class TestIndexes:
    """Of Atlas."""

    def test_it_is_made_and_waited_for(self, fake, atlas_options):
        fake.order("starting", 1.0)
        with (
            MongoDBVectorKnowledgeStore(**atlas_options, index_timeout=0.3) as hasty,
            MongoDBVectorKnowledgeStore(**atlas_options, index_name="mine") as patient,
        ):
            with pytest.raises(ConnectionFailedError, match=r"not ready.*index_timeout"):
                hasty.create_collection("docs", 3)
            assert hasty.list_collections() == []
            patient.create_collection("docs", 3, "euclidean")
            with pymongo.MongoClient(fake.url) as client:
                database = client[atlas_options["url"].rpartition("/")[2]]
                documents = database[database.praison_vectors.find_one()["documents"]]
                (index,) = documents.list_search_indexes().to_list()
            assert (index["name"], index["queryable"]) == ("mine", True)
            assert index["latestDefinition"]["fields"] == [
                {"type": "vector", "path": "embedding", "numDimensions": 3, "similarity": "euclidean"},
                {"type": "filter", "path": "tokens"},
                {"type": "filter", "path": "batch"},
            ]

    def test_no_room_and_one_that_fails(self, fake, atlas_options):
        with MongoDBVectorKnowledgeStore(**atlas_options) as store:
            fake.order("quota", 0)
            with pytest.raises(BackendError, match=r"no room.*delete one.*vector_search='exact'"):
                store.create_collection("docs", 2)
            fake.order("quota", 100)
            fake.order("starting", 100.0)
            fake.order("failing", True)
            with pytest.raises(BackendError, match="could not be built"):
                store.create_collection("docs", 2)
            assert store.list_collections() == []

    def test_searches_that_are_too_many_are_made_again(self, fake, atlas_options):
        with MongoDBVectorKnowledgeStore(**atlas_options, index_from=1) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a"), make("b")])
            fake.order("busy", 3)
            assert len(store.search("docs", [1.0, 0.0])) == 2
        with MongoDBVectorKnowledgeStore(**atlas_options, index_from=1, timeout=0.3) as store:
            fake.order("busy", 1_000)
            with pytest.raises(ConnectionFailedError, match="too many searches"):
                store.search("docs", [1.0, 0.0])

    def test_dot_and_many_dimensions_have_none(self, fake, atlas_options):
        with MongoDBVectorKnowledgeStore(**atlas_options, index_from=1) as store:
            store.create_collection("docs", 2, "dot")
            store.create_collection("long", 8_193)
            store.insert("docs", [make("a", (9.0, 9.0)), make("b", (1.0, 0.0))])
            store.insert("long", [make("a", [1.0] * 8_193), make("b", [0.0] * 8_193)])
            fake.order("asked")
            assert ids(store.search("docs", [1.0, 0.0])) == ids(store.search("long", [1.0] * 8_193)) == ["a", "b"]
            assert fake.order("asked") == []

    @pytest.mark.parametrize("distance", ["cosine", "euclidean"])
    def test_what_it_is_asked(self, fake, atlas_options, distance):
        vectors = draw(1_300)
        documents = [make(str(number), vector, part=number % 2) for number, vector in enumerate(vectors)]
        query = draw(1_301)[-1]
        best = sorted(range(1_300), key=lambda number: -score(distance, query, pack(vectors[number])))
        best = [str(number) for number in best]
        with MongoDBVectorKnowledgeStore(**atlas_options, num_candidates=5_000) as store:
            store.create_collection("docs", 8, distance)
            store.upsert("docs", documents)
            fake.order("asked")
            found = store.search("docs", query, limit=10, with_embeddings=True)
            assert ids(found) == best[:10]
            assert found[0].embedding == list(pack(vectors[int(best[0])]))
            (asked,) = fake.order("asked")
            assert (asked["limit"], asked["numCandidates"], "filter" in asked) == (100, 5_000, False)
            # 650 documents have the tokens: every vector is compared.
            odd = [key for key in best if int(key) % 2]
            assert ids(store.search("docs", query, limit=10, filters={"part": 1})) == odd[:10]
            assert fake.order("asked") == []
            # All have the key, and the index selects by what it knows: the rest is checked here.
            assert ids(store.search("docs", query, limit=10, filters={"part": {"$ne": 0}})) == odd[:10]
            assert ids(store.search("docs", query, limit=600, filters={"part": {"$gte": 1}})) == odd[:600]
            filters = [one.get("filter") for one in fake.order("asked")]
            assert list(filters[0]) == ["$nor"]
            assert [list(one) for one in filters[1:]] == [["tokens"]] * len(filters[1:])
            store.upsert("docs", [make("zero", [0.0] * 8)])
            assert store.get("docs", ["zero"])[0].embedding == [0.0] * 8
            # What the index has still, of what was deleted, is passed over.
            fake.order("delay", 60.0)
            assert store.delete("docs", ["zero", *best[:200]]) == 201
            assert ids(store.search("docs", query, limit=10)) == best[200:210]

    def test_a_collection_is_searched_as_it_was_made(self, fake, atlas_options):
        with MongoDBVectorKnowledgeStore(**atlas_options, index_from=1) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a"), make("b", (5.0, 0.1))])
        with MongoDBVectorKnowledgeStore(**atlas_options, index_from=1, vector_search="exact") as store:
            store.create_collection("plain", 2)
            store.insert("plain", [make("a"), make("b", (5.0, 0.1))])
            fake.order("asked")
            assert ids(store.search("plain", [1.0, 0.0])) == ["b", "a"]
            assert fake.order("asked") == []
            assert ids(store.search("docs", [1.0, 0.0])) == ["b", "a"]
            assert fake.order("asked")
