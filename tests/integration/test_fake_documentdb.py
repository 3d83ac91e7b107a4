"""What the fake keeps of its documentation (``fakes/documentdb.md``), asked with PyMongo."""

from __future__ import annotations

import time
import uuid

import pymongo
import pytest
from pymongo.errors import OperationFailure


@pytest.fixture
def collection(documentdb):
    """A collection of the test's own."""
    if not documentdb.restartable:
        pytest.skip("the facts are those of the fake, and this is the service itself")
    with pymongo.MongoClient(documentdb.url) as client:
        database = client[f"facts_{uuid.uuid4().hex[:8]}"]
        yield database.create_collection("docs")
        client.drop_database(database)
    for name, value in {"delay": 0.02, "busy": 0, "small": False}.items():
        documentdb.order(name, value)


def make(collection, path="v", filters=("f",), **options):
    how = {"kind": "vector-diskann", "similarity": "COS", "dimensions": 2, **options}
    vectors = {"name": f"of_{path}", "key": {path: "cosmosSearch"}, "cosmosSearchOptions": how}
    plain = [{"name": f"of_{name}", "key": {name: 1}} for name in filters]
    return collection.database.command({"createIndexes": collection.name, "indexes": [vectors, *plain]})


def search(collection, **more):
    asked = {"vector": [1.0, 0.0], "path": "v", "k": 2, **more}
    stages = [{"$search": {"cosmosSearch": asked, "returnStoredSource": True}}]
    return list(collection.aggregate([*stages, {"$project": {"_id": 1, "score": {"$meta": "searchScore"}}}]))


def shown(collection, count):
    """Wait until the index has so many documents."""
    end = time.monotonic() + 10
    while len(found := search(collection, k=10, exact=True)) != count:
        assert time.monotonic() < end, found
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "vector-tree"},
        {"similarity": "cosine"},
        {"dimensions": 0},
        {"dimensions": 2_001},
        {"numLists": 1},
        {"kind": "vector-ivf", "lBuild": 50},
    ],
)
def test_definitions(documentdb, collection, wrong):
    with pytest.raises(OperationFailure):
        make(collection, **wrong)
    make(collection)
    with pytest.raises(OperationFailure):
        make(collection)
    assert {"of_f"} <= set(collection.index_information())


@pytest.mark.parametrize("kind", ["vector-diskann", "vector-hnsw", "vector-ivf"])
def test_small_clusters_have_one_kind(documentdb, collection, kind):
    documentdb.order("small", True)
    if kind == "vector-ivf":
        make(collection, kind=kind, numLists=1)
        return
    with pytest.raises(OperationFailure, match="M30"):
        make(collection, kind=kind)


def test_searches(documentdb, collection):
    with pytest.raises(OperationFailure, match="Similarity index was not found"):
        search(collection)
    make(collection)
    collection.insert_many(
        [
            {"_id": 1, "v": [1.0, 0.0], "f": "x"},
            {"_id": 2, "v": [0.0, 1.0], "f": "y"},
            {"_id": 3, "v": b"no list of numbers", "f": "x"},
            {"_id": 4, "v": [1.0], "f": "x"},
        ]
    )
    assert [one["_id"] for one in shown(collection, 2)] == [1, 2]
    assert search(collection, k=1)[0]["score"] == pytest.approx(1.0)
    assert [one["_id"] for one in search(collection, filter={"f": {"$nin": ["x"]}})] == [2]
    assert [one["_id"] for one in search(collection, filter={"$and": [{"f": {"$eq": "x"}}]}, lSearch=10)] == [1]
    for wrong in (
        {"k": 0},
        {"k": 41},
        {"k": 11, "lSearch": 10},
        {"lSearch": 1_001},
        {"efSearch": 40},
        {"path": "w"},
        {"filter": {"g": "x"}},
        {"filter": {"$nor": [{"f": "x"}]}},
        {"vector": [1.0]},
    ):
        with pytest.raises(OperationFailure):
            search(collection, **wrong)


def test_a_write_is_seen_late(documentdb, collection):
    make(collection)
    documentdb.order("delay", 60.0)
    collection.insert_one({"_id": 1, "v": [1.0, 0.0]})
    assert search(collection, exact=True) == []


def test_atlas_has_its_own(documentdb, collection):
    with pytest.raises(OperationFailure):
        collection.create_search_index({"name": "x", "definition": {"fields": []}})
    stage = {"queryVector": [1.0, 0.0], "path": "v", "limit": 1, "index": "i"}
    with pytest.raises(OperationFailure, match="Similarity index"):
        collection.aggregate([{"$vectorSearch": stage}])
    with pytest.raises(OperationFailure, match=r"\$vectorSearch\.exact"):
        collection.aggregate([{"$vectorSearch": {**stage, "exact": True}}])
