"""What the fake keeps of its documentation (``fakes/atlas.md``), asked over its socket."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import pymongo
import pytest
from bson import Decimal128
from bson.binary import Binary, BinaryVectorDtype


class TestAtlas:
    """The facts of ``fakes/atlas.md``."""

    FIELDS: ClassVar[list[dict[str, Any]]] = [
        {"type": "vector", "path": "v", "numDimensions": 2, "similarity": "dotProduct"},
        {"type": "filter", "path": "tags"},
        {"type": "filter", "path": "n"},
    ]

    @pytest.fixture
    def documents(self, atlas):
        if not atlas.restartable:
            pytest.skip("the facts are those of the fake, and this is the service itself")
        atlas.order("delay", 0)
        with atlas.space() as options, pymongo.MongoClient(options["url"]) as client:
            documents = client.get_default_database()["docs"]
            documents.insert_many(
                [
                    {"_id": "a", "v": [1.0, 0.0], "tags": ["x", "y"], "n": 1},
                    {"_id": "b", "v": Binary.from_vector([0.6, 0.8], BinaryVectorDtype.FLOAT32), "tags": ["x"], "n": 2},
                    {"_id": "c", "v": [0.0, 1.0], "tags": [], "n": 2.5},
                    {"_id": "wrong", "v": [1.0, 0.0, 0.0], "tags": ["x"]},
                    {"_id": "none", "tags": ["x"]},
                ]
            )
            yield documents
        for name, value in {"delay": 0.02, "starting": 0, "quota": 100_000, "busy": 0}.items():
            atlas.order(name, value)

    @pytest.fixture
    def search(self, documents):
        documents.create_search_index(self._index())

        def search(*, more=({"$project": {"_id": 1}},), **stage):
            stage = {"index": "i", "path": "v", "queryVector": [1.0, 0.0], "limit": 10, "exact": True, **stage}
            stage = {name: value for name, value in stage.items() if value is not None}
            return [one["_id"] for one in documents.aggregate([{"$vectorSearch": stage}, *more])]

        return search

    def _index(self, fields=None, **more):
        return {"name": "i", "type": "vectorSearch", "definition": {"fields": fields or self.FIELDS}, **more}

    def refused(self, call, words, code=2):
        with pytest.raises(pymongo.errors.OperationFailure, match=words) as caught:
            call()
        assert caught.value.code == code

    def test_definitions(self, documents):
        vector, tags, n = self.FIELDS
        for fields, words in (
            ([tags, n], "must be a vector field"),
            ([vector, tags, tags], "indexed twice"),
            ([{**vector, "numDimensions": 8_193}], "1 to 8192"),
            ([{**vector, "numDimensions": 0}], "1 to 8192"),
            ([{**vector, "similarity": "dot"}], "similarity is one of"),
            ([{**vector, "kind": 1}], "unknown option"),
            ([vector, {"type": "token", "path": "n"}], "vector or filter"),
            ([vector, {"type": "filter"}], "has a path"),
        ):
            self.refused(lambda fields=fields: documents.create_search_index(self._index(fields)), words)
        self.refused(lambda: documents.create_search_index(self._index(type="search")), "only vectorSearch")
        self.refused(lambda: documents.database.other.create_search_index(self._index()), "no such collection", 26)
        assert documents.create_search_index(self._index()) == "i"
        self.refused(lambda: documents.create_search_index(self._index()), "exists already", 68)
        documents.drop_search_index("i")
        assert documents.list_search_indexes().to_list() == []

    def test_quota_and_readiness(self, atlas, documents):
        atlas.order("quota", 0)
        self.refused(lambda: documents.create_search_index(self._index()), "maximum number of FTS indexes", 8000)
        atlas.order("quota", 100_000)
        atlas.order("starting", 0.5)
        documents.create_search_index(self._index())
        (found,) = documents.list_search_indexes("i").to_list()
        assert (found["status"], found["queryable"], found["type"]) == ("BUILDING", False, "vectorSearch")
        assert documents.list_search_indexes("other").to_list() == []
        end = time.monotonic() + 10
        while not found["queryable"] and time.monotonic() < end:
            (found,) = documents.list_search_indexes("i").to_list()
        assert (found["status"], found["latestDefinition"]) == ("READY", {"fields": self.FIELDS})

    def test_stages(self, search, documents):
        assert search() == ["a", "b", "c"]
        assert search(limit=2) == ["a", "b"]
        assert search(index="other") == []
        assert search(exact=None, numCandidates=10) == ["a", "b", "c"]
        for stage, words in (
            ({"limit": 0}, "positive int"),
            ({"limit": 1.0}, "positive int"),
            ({"limit": None}, "are required"),
            ({"path": None}, "are required"),
            ({"path": "n"}, "not indexed as vector"),
            ({"queryVector": [1.0]}, "another number of dimensions"),
            ({"exact": None}, "numCandidates is required"),
            ({"exact": False}, "numCandidates is required"),
            ({"exact": True, "numCandidates": 10}, "numCandidates is required unless"),
            ({"exact": None, "numCandidates": 10_001}, "at most 10000"),
            ({"exact": None, "numCandidates": 9}, "limit is at most numCandidates"),
            ({"k": 1}, "unknown field"),
        ):
            self.refused(lambda stage=stage: search(**stage), words)
        later = [{"$match": {}}, {"$vectorSearch": {}}]
        self.refused(lambda: documents.aggregate(later), "first stage", 40602)

    @pytest.mark.parametrize(
        ("chosen", "found"),
        [
            ({"tags": "x"}, ["a", "b"]),
            ({"tags": {"$eq": "y"}}, ["a"]),
            ({"tags": {"$ne": "y"}}, ["b", "c"]),
            ({"tags": {"$in": ["y", "z"]}}, ["a"]),
            ({"tags": {"$nin": ["y", "z"]}}, ["b", "c"]),
            ({"tags": {"$not": {"$eq": "x"}}}, ["c"]),
            ({"n": {"$gt": 1, "$lt": 2.5}}, ["b"]),
            ({"n": {"$gte": 2}}, ["b", "c"]),
            ({"n": {"$lte": 1}}, ["a"]),
            ({"$and": [{"tags": "x"}, {"n": 2}]}, ["b"]),
            ({"$or": [{"tags": "y"}, {"n": 2.5}]}, ["a", "c"]),
            ({"$nor": [{"tags": "y"}, {"n": 2.5}]}, ["b"]),
        ],
    )
    def test_filters(self, search, chosen, found):
        assert search(filter=chosen) == found

    @pytest.mark.parametrize(
        ("chosen", "words"),
        [
            ({"v": [1.0]}, "Path 'v' needs to be indexed as filter"),
            ({"other": 1}, "Path 'other' needs to be indexed as filter"),
            ({"tags": {"$all": ["x"]}}, "not supported"),
            ({"tags": {"$regex": "x"}}, "not supported"),
            ({"$expr": {}}, "not supported"),
            ({"tags": {"$in": []}}, "not empty"),
            ({"$and": []}, "not empty"),
            ({}, "not empty"),
            ({"n": None}, "booleans, dates"),
            ({"n": {"$eq": Decimal128("1")}}, "booleans, dates"),
        ],
    )
    def test_filters_that_are_refused(self, search, chosen, words):
        self.refused(lambda: search(filter=chosen), words)

    @pytest.mark.parametrize(
        ("similarity", "scores"),
        [("dotProduct", [1.0, 0.8, 0.5]), ("cosine", [1.0, 0.8, 0.5]), ("euclidean", [1.0, 0.5279, 0.4142])],
    )
    def test_scores(self, documents, similarity, scores):
        vector = {**self.FIELDS[0], "similarity": similarity}
        documents.create_search_index(self._index([vector]))
        stage = {"index": "i", "path": "v", "queryVector": [1.0, 0.0], "limit": 10, "exact": True}
        fields = {"n": 1, "score": {"$meta": "vectorSearchScore"}}
        found = documents.aggregate([{"$vectorSearch": stage}, {"$project": fields}]).to_list()
        assert [one["score"] for one in found] == pytest.approx(scores, abs=1e-4)
        assert [one["n"] for one in found] == [1, 2, 2.5]

    def test_a_write_is_seen_later_and_a_deletion_at_once(self, atlas, search, documents):
        atlas.order("delay", 0.5)
        documents.replace_one({"_id": "d"}, {"_id": "d", "v": [2.0, 0.0], "n": 9}, upsert=True)
        documents.update_one({"_id": "a"}, {"$set": {"v": [-1.0, 0.0]}})
        documents.delete_one({"_id": "b"})
        assert search(limit=3) == ["a", "c"]
        assert search(limit=2) == ["a"]  # there was one more, which is gone
        end = time.monotonic() + 10
        while search() != ["d", "c", "a"]:
            assert time.monotonic() < end

    def test_too_many_searches(self, atlas, search):
        atlas.order("busy", 1)
        self.refused(search, "too many", 489)
        assert search() == ["a", "b", "c"]

    def test_indexes_outlive_the_program(self, atlas, search, documents):
        atlas.restart()
        assert search() == ["a", "b", "c"]
        documents.drop()
        documents.insert_one({"_id": "a", "v": [1.0, 0.0]})
        assert search() == []
