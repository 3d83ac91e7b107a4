"""Knowledge in Azure DocumentDB (Cosmos DB for MongoDB vCore), by its own indexes; on a fake, or on the service."""

from __future__ import annotations

from typing import ClassVar

import pymongo
import pytest
from services import OwnFreshness, ids, make
from test_mongodb_vector import _Server, draw

from praisonai_persistence.errors import BackendError, ConnectionFailedError, UnsupportedOperationError
from praisonai_persistence.vectors import pack, score
from praisonai_persistence_mongodb import MongoDBVectorKnowledgeStore

KINDS = ("vector-diskann", "vector-hnsw", "vector-ivf")


@pytest.mark.quick_operations
class TestDocumentDB(OwnFreshness, _Server):
    """With the service's index, by which all is found."""

    __test__ = True
    backend = "mongodb_vector (Azure DocumentDB)"
    engine = "documentdb"
    more: ClassVar[dict[str, object]] = {"vector_search": "cosmos", "index_from": 1}


@pytest.fixture
def options(documentdb):
    with documentdb.space() as options:
        yield {**options, "vector_search": "cosmos"}


@pytest.fixture
def fake(documentdb):
    """The fake, told what to do by a test; afterwards as it was."""
    if not documentdb.restartable:
        pytest.skip("this is the service itself, which nobody can tell to be slow, busy or small")
    yield documentdb
    for name, value in {"delay": 0.02, "busy": 0, "small": False}.items():
        documentdb.order(name, value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_what_an_index_is_asked(fake, options, kind, distance):
    vectors = draw(1_300)
    query = draw(1_301)[-1]
    best = sorted(range(1_300), key=lambda number: -score(distance, query, pack(vectors[number])))
    best = [str(number) for number in best]
    with MongoDBVectorKnowledgeStore(**options, cosmos_index=kind) as store:
        store.create_collection("docs", 8, distance)
        store.upsert("docs", [make(str(number), vector, part=number % 2) for number, vector in enumerate(vectors)])
        fake.order("asked")
        found = store.search("docs", query, limit=10, with_embeddings=True)
        assert ids(found) == best[:10]
        assert found[0].embedding == list(pack(vectors[int(best[0])]))
        (asked,) = fake.order("asked")
        breadth = {"vector-diskann": {"lSearch": 1_000}, "vector-hnsw": {"efSearch": 1_000}, "vector-ivf": {}}[kind]
        assert asked == {"path": "embedding", "k": 100, **breadth}
        odd = [key for key in best if int(key) % 2]
        assert ids(store.search("docs", query, limit=10, filters={"part": {"$gte": 1}})) == odd[:10]
        assert {tuple(one["filter"]) for one in fake.order("asked")} == {("tokens",)}
        # What is not documented of filters is left out, and checked by the store.
        assert ids(store.search("docs", query, limit=10, filters={"part": {"$ne": 0}})) == odd[:10]
        assert not [one for one in fake.order("asked") if "filter" in one]
        assert ids(store.search("docs", query, limit=990)) == best[:990]
        assert [one["k"] for one in fake.order("asked")] == [1_000]
        # With what there is to spare more than one search returns: every vector is compared.
        assert ids(store.search("docs", query, limit=991)) == best[:991]
        assert fake.order("asked") == []
        store.delete("docs", best[:200])
        assert ids(store.search("docs", query, limit=10)) == best[200:210]
    with MongoDBVectorKnowledgeStore(**{**options, "vector_search": "auto"}) as store:  # it is as it was made
        assert ids(store.search("docs", query, limit=10)) == best[200:210]
        assert "k" in fake.order("asked")[0]


def test_embeddings_are_stored_as_the_index_takes_them(documentdb, options):
    with MongoDBVectorKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a", (3.0, 4.0)), make("zero", (0.0, 0.0))])
        with pymongo.MongoClient(documentdb.url) as client:
            database = client[options["url"].rpartition("/")[2]]
            entry = database.praison_vectors.find_one()
            stored = database[entry["documents"]].find_one({"_id": "a"})
        assert (entry["index"], entry["kind"]) == ("vector_index", "vector-diskann")
        assert stored["embedding"] == list(pack([0.6, 0.8]))
        assert [one.embedding for one in store.get("docs", ["a", "zero"])] == [[3, 4], [0, 0]]


def test_a_cluster_that_is_too_small(fake, options):
    fake.order("small", True)
    with MongoDBVectorKnowledgeStore(**options) as store:
        with pytest.raises(BackendError, match=r"vector-diskann was refused.*cosmos_index='vector-ivf'"):
            store.create_collection("docs", 2)
        assert store.list_collections() == []
    with MongoDBVectorKnowledgeStore(**options, cosmos_index="vector-ivf", index_from=1) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a"), make("b")])
        assert len(store.search("docs", [1.0, 0.0])) == 2


def test_dot_and_many_dimensions_have_none(fake, options):
    with MongoDBVectorKnowledgeStore(**options, index_from=1) as store:
        store.create_collection("docs", 2, "dot")
        store.create_collection("long", 2_001)
        store.insert("docs", [make("a", (9.0, 9.0)), make("b", (1.0, 0.0))])
        store.insert("long", [make("a", [1.0] * 2_001), make("b", [0.0] * 2_001)])
        fake.order("asked")
        assert ids(store.search("docs", [1.0, 0.0])) == ids(store.search("long", [1.0] * 2_001)) == ["a", "b"]
        assert fake.order("asked") == []


def test_what_is_made_where_nobody_says(documentdb, options):
    """The service knows the stage of Atlas, but not that one; the store compares the vectors itself."""
    with MongoDBVectorKnowledgeStore(**{**options, "vector_search": "auto"}, index_from=1) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a"), make("b", (2.0, 1.0))])
        assert ids(store.search("docs", [1.0, 0.0])) == ["b", "a"]
    with MongoDBVectorKnowledgeStore(**{**options, "vector_search": "atlas"}) as store:
        with pytest.raises(UnsupportedOperationError, match="vector_search='cosmos'"):
            store.create_collection("more", 2)
        assert store.list_collections() == ["docs"]


def test_throttling(fake, options):
    with MongoDBVectorKnowledgeStore(**options, index_from=1, timeout=2) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make("a"), make("b")])
        fake.order("busy", 3)
        assert len(store.search("docs", [1.0, 0.0])) == 2
    with MongoDBVectorKnowledgeStore(**options, index_from=1, timeout=0.3) as store:
        fake.order("busy", 1_000)
        with pytest.raises(ConnectionFailedError, match="too many requests"):
            store.search("docs", [1.0, 0.0])


def test_a_server_that_has_none(mongodb):
    with (
        mongodb.space() as options,
        MongoDBVectorKnowledgeStore(**options, vector_search="cosmos") as store,
    ):
        with pytest.raises(UnsupportedOperationError, match=r"no vector search.*vector_search='exact'"):
            store.create_collection("docs", 2)
        assert store.list_collections() == []


def test_atlas_has_another_one(atlas):
    with atlas.space() as options, MongoDBVectorKnowledgeStore(**options, vector_search="cosmos") as store:
        with pytest.raises((BackendError, UnsupportedOperationError), match="take vector_search='auto'"):
            store.create_collection("docs", 2)
        assert store.list_collections() == []


def test_what_to_do_about_too_many_documents(fake, options):
    with MongoDBVectorKnowledgeStore(**options, index_from=10, exact_documents=2_000) as store:
        for name, distance in (("docs", "cosine"), ("dot", "dot")):
            store.create_collection(name, 8, distance)
            store.upsert(name, [make(str(number), vector) for number, vector in enumerate(draw(2_001))])
        assert len(store.search("docs", [1.0] * 8, limit=990)) == 990
        with pytest.raises(UnsupportedOperationError, match=r"ask for fewer \(up to 990\), or raise exact_documents"):
            store.search("docs", [1.0] * 8, limit=991)
        with pytest.raises(UnsupportedOperationError, match="it has no index.*'cosmos' on Azure DocumentDB"):
            store.search("dot", [1.0] * 8)
