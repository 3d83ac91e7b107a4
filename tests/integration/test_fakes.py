"""What the fakes of services keep of their documentation (``fakes/*.md``), asked over their sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import struct
import time
import urllib.error
import urllib.request
import uuid
from typing import Any, ClassVar
from urllib.parse import quote, urlencode, urlsplit

import pinecone as client_library
import pymongo
import pytest
import redis
from azure.cosmos import exceptions as cosmos_errors
from bson import Decimal128
from bson.binary import Binary, BinaryVectorDtype
from engines import PASSWORD


class Asking:
    """Asks a fake by plain HTTP.

    Args:
        url: of the fake.
        headers: of every request.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._address = f"http://{parts.hostname}:{parts.port}"
        self.headers = headers

    def __call__(self, request: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Return the status, the body, and the headers of an answer."""
        method, path = request.split()
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        made = urllib.request.Request(f"{self._address}{path}", data, {**self.headers, **headers}, method=method)
        try:
            with urllib.request.urlopen(made, timeout=30) as answer:
                status, text, found = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                status, text, found = error.code, error.read(), error.headers
        kind = found.get("content-type", "")
        read = json.loads(text) if "json" in kind else text.decode()
        return status, read, {name.lower(): value for name, value in found.items()}


class TestPinecone:
    """The facts of ``fakes/pinecone.md``."""

    @pytest.fixture
    def ask(self, pinecone):
        if not pinecone.restartable:
            pytest.skip("the facts are those of the fake, and this is the service itself")
        pinecone.order("delay", 0)
        yield Asking(pinecone.url, {"Api-Key": PASSWORD, "X-Pinecone-Api-Version": "2026-07"})
        pinecone.order("delay", 0.01)

    @pytest.fixture
    def index(self, ask):
        """The path of an index of two dimensions."""
        name = f"facts-{uuid.uuid4().hex[:8]}"
        assert self.create(ask, name)[0] == 201
        yield f"/data/{name}"
        assert ask(f"DELETE /indexes/{name}")[0] == 202

    def create(self, ask, name, dimension: Any = 2, metric="dotproduct", **more):
        field = {"type": "dense_vector", "dimension": dimension, "metric": metric}
        return ask("POST /indexes", {"name": name, "schema": {"fields": {"_values": field}}, **more})

    def upsert(self, ask, index, *vectors, namespace="n", **more):
        return ask(f"POST {index}/vectors/upsert", {"vectors": list(vectors), "namespace": namespace, **more})

    def found(self, ask, index, **more):
        body = {"topK": 100, "vector": [1, 0], "namespace": "n", **more}
        status, answer, _ = ask(f"POST {index}/query", body)
        return [match["id"] for match in answer["matches"]] if status == 200 else (status, answer["message"])

    def test_keys_versions_and_the_format_of_errors(self, ask, index):
        for request in ("GET /indexes", f"GET {index}/vectors/list"):
            assert ask(request, **{"Api-key": "another"})[0] == 401
        assert ask("GET /indexes", **{"Api-key": "another"})[1]["error"]["code"] == "UNAUTHENTICATED"
        assert ask(f"GET {index}/vectors/list", **{"Api-key": "another"})[1] == "Unauthorized"
        assert ask("GET /indexes", **{"X-pinecone-api-version": "none"})[0] == 400
        status, body, _ = ask(f"POST {index}/query", {"topK": 0, "vector": [1, 0]})
        assert (status, body["code"], sorted(body)) == (400, 3, ["code", "details", "message"])
        status, body, _ = ask("GET /indexes/none")
        assert (status, body["error"]["code"], body["status"]) == (404, "NOT_FOUND", 404)

    def test_what_is_not_documented_is_refused(self, ask, index):
        vector = {"id": "a", "values": [1, 2]}
        assert self.upsert(ask, index, vector, more=1)[0] == 400
        assert self.upsert(ask, index, {**vector, "payload": {}})[0] == 400
        assert self.upsert(ask, index, {**vector, "values": "1"})[0] == 400
        assert self.found(ask, index, include_values=True)[0] == 400
        assert self.found(ask, index, topK=True)[0] == 400
        assert ask(f"GET {index}/vectors/list?size=1")[0] == 400
        assert ask(f"POST {index}/vectors/drop", {})[0] == 404
        assert ask(f"POST {index}/vectors/upsert", b'{"vectors": [{"id": "a", "values": [NaN, 1]}]}')[0] == 400

    def test_indexes(self, ask, index, pinecone):
        name = index.rpartition("/")[2]
        assert self.create(ask, name)[0] == 409
        for wrong in ("Upper", "under_score", "-x", "x" * 46, ""):
            assert self.create(ask, wrong)[0] == 400, wrong
        for more in ({"dimension": 0}, {"dimension": 20_001}, {"metric": "manhattan"}, {"spec": {}}):
            assert self.create(ask, "facts-wrong", **more)[0] == 400
        nowhere = {"deployment_type": "managed", "cloud": "aws", "region": "mars-1"}
        assert self.create(ask, "facts-wrong", deployment=nowhere)[0] == 404
        try:
            pinecone.order("quota", 0)
            assert self.create(ask, "facts-wrong")[0] == 403
            pinecone.order("quota", 20)
            pinecone.order("starting", 0.2)
            status, body, _ = self.create(ask, "facts-late")
            assert (status, body["status"]["ready"]) == (201, False)
            assert self.found(ask, "/data/facts-late")[0] == 503
            end = time.monotonic() + 10
            while not ask("GET /indexes/facts-late")[1]["status"]["ready"]:
                assert time.monotonic() < end
            assert self.found(ask, "/data/facts-late") == []
        finally:
            pinecone.order("quota", 20)
            pinecone.order("starting", 0)
            ask("DELETE /indexes/facts-late")

    def test_an_upsert(self, ask, index):
        def status(*vectors, **more):
            return self.upsert(ask, index, *vectors, **more)[0]

        many = [{"id": str(number), "values": [1, 2]} for number in range(1_001)]
        assert (status(), status(*many), status(*many[:1_000])) == (400, 400, 200)
        text = {"content": "x" * 30_000}
        assert status(*({**vector, "metadata": text} for vector in many[:70])) == 413
        for key in ("", "x" * 513, "\u00e9", "a\0b", 1):
            assert status({"id": key, "values": [1, 2]}) == 400, key
        assert status({"id": "x" * 512, "values": [1, 2]}) == 200
        for values in ([1], [1, 2, 3], [0, 0], [1, None], [1, "2"], [1e39, 1], []):
            assert status({"id": "a", "values": values}) == 400, values
        for namespace, wanted in (("\u00e9", 400), ("x" * 513, 400), ("x" * 512, 200)):
            assert status(many[0], namespace=namespace) == wanted

    def test_metadata(self, ask, index):
        def status(metadata):
            return self.upsert(ask, index, {"id": "a", "values": [1, 2], "metadata": metadata})[0]

        assert status({"a": "x", "b": 1, "c": 1.5, "d": True, "e": ["x", "y"], "f": []}) == 200
        for value in (None, {"b": 1}, [1], [["x"]], [None]):
            assert status({"a": value}) == 400, value
        assert status({"$a": 1}) == 400
        room = 40_960 - len('{"a":""}')
        assert (status({"a": "x" * room}), status({"a": "x" * (room + 1)})) == (200, 400)

    def test_a_query(self, ask, index):
        for key, values in (("a", [2, 0]), ("b", [1, 5]), ("c", [3, 0])):
            self.upsert(ask, index, {"id": key, "values": values, "metadata": {"key": key}})
        assert self.found(ask, index) == ["c", "a", "b"]
        assert self.found(ask, index, topK=1) == ["c"]
        assert self.found(ask, index, namespace="other") == []
        body = {"topK": 1, "namespace": "n", "id": "b", "includeValues": True, "includeMetadata": True}
        match = ask(f"POST {index}/query", body)[1]["matches"][0]
        assert match == {"id": "b", "score": 26.0, "values": [1.0, 5.0], "metadata": {"key": "b"}}
        for more in ({"topK": 0}, {"topK": 10_001}, {"vector": [1]}, {"vector": [0, 0]}, {"id": "a"}):
            assert self.found(ask, index, **more)[0] == 400, more

    def test_the_size_of_a_result(self, ask, index):
        for start in range(0, 120, 40):
            vectors = [
                {"id": str(number), "values": [1, 2], "metadata": {"a": "x" * 40_000}}
                for number in range(start, start + 40)
            ]
            self.upsert(ask, index, *vectors)
        assert len(self.found(ask, index)) == 100
        assert self.found(ask, index, topK=120, includeMetadata=True)[0] == 400
        assert len(self.found(ask, index, topK=90, includeMetadata=True)) == 90

    def test_euclidean_scores_are_squared_distances(self, ask):
        assert self.create(ask, "facts-e", metric="euclidean")[0] == 201
        try:
            for key, values in (("a", [1, 0]), ("b", [4, 4])):
                self.upsert(ask, "/data/facts-e", {"id": key, "values": values})
            matches = ask("POST /data/facts-e/query", {"topK": 2, "vector": [1, 0], "namespace": "n"})[1]["matches"]
            assert matches == [{"id": "a", "score": 0.0}, {"id": "b", "score": 25.0}]
        finally:
            ask("DELETE /indexes/facts-e")

    def test_filters(self, ask, index):
        records = {
            "n1": {"n": 1, "t": "x"},
            "n2": {"n": 2.5, "t": ["x", "y"]},
            "b": {"n": True},
            "t": {"n": "1"},
            "o": {},
        }
        for key, metadata in records.items():
            self.upsert(ask, index, {"id": key, "values": [1, 2], "metadata": metadata})
        for chosen, wanted in (
            ({"n": 1}, ["n1"]),
            ({"n": {"$eq": "1"}}, ["t"]),
            ({"n": {"$eq": True}}, ["b"]),
            ({"n": {"$gt": 1}}, ["n2"]),
            ({"n": {"$gte": 1, "$lt": 2}}, ["n1"]),
            ({"n": {"$in": [1, "1"]}}, ["n1", "t"]),
            ({"t": "x"}, ["n1", "n2"]),
            ({"t": {"$in": ["y", "z"]}}, ["n2"]),
            ({"t": {"$ne": "y"}}, ["n1"]),
            ({"t": {"$nin": ["x"]}}, []),
            ({"t": {"$exists": False}}, ["b", "o", "t"]),
            ({"$or": [{"n": 1}, {"$and": [{"t": "y"}, {"n": 2.5}]}]}, ["n1", "n2"]),
        ):
            assert sorted(self.found(ask, index, filter=chosen)) == wanted, chosen
        for wrong in (
            {"n": {"$gt": "1"}},
            {"n": {"$gt": True}},
            {"n": {"$in": []}},
            {"n": {"$in": [True]}},
            {"n": {"$in": [1] * 10_001}},
            {"n": {"$eq": None}},
            {"n": {"$eq": [1]}},
            {"n": {"$exists": 1}},
            {"n": {"$contains": "x"}},
            {"n": {}},
            {"n": None},
            {"$not": {"n": 1}},
            {"$and": []},
            {"$or": {"n": 1}},
            {"$gt": 1},
        ):
            assert self.found(ask, index, filter=wrong)[0] == 400, wrong

    def test_fetches_and_pages(self, ask, index):
        self.upsert(
            ask, index, *({"id": f"{number:03}", "values": [1, 2], "metadata": {"a": 1}} for number in range(150))
        )
        found = ask(f"GET {index}/vectors/fetch?" + urlencode({"ids": ["001", "none"], "namespace": "n"}, doseq=True))[
            1
        ]
        assert found["vectors"] == {"001": {"id": "001", "values": [1.0, 2.0], "metadata": {"a": 1}}}
        assert ask(f"GET {index}/vectors/fetch?namespace=n")[0] == 400
        assert ask(f"GET {index}/vectors/fetch?" + urlencode({"ids": ["x"] * 1_001}, doseq=True))[0] == 400
        first = ask(f"GET {index}/vectors/list?namespace=n")[1]
        token = urlencode({"paginationToken": first["pagination"]["next"]})
        second = ask(f"GET {index}/vectors/list?namespace=n&{token}")[1]
        assert [len(first["vectors"]), len(second["vectors"]), "pagination" in second] == [100, 50, False]
        assert [
            item["id"] for item in ask(f"GET {index}/vectors/list?namespace=n&prefix=00&limit=2")[1]["vectors"]
        ] == [
            "000",
            "001",
        ]
        assert ask(f"GET {index}/vectors/list?namespace=n&limit=101")[0] == 400
        body = {"namespace": "n", "filter": {"a": 1}}
        first = ask(f"POST {index}/vectors/fetch_by_metadata", body)[1]
        body["paginationToken"] = first["pagination"]["next"]
        second = ask(f"POST {index}/vectors/fetch_by_metadata", body)[1]
        assert sorted([*first["vectors"], *second["vectors"]]) == [f"{number:03}" for number in range(150)]
        for wrong in ({"filter": {}}, {"limit": 0}, {"limit": 10_001}, {"paginationToken": "?"}):
            assert ask(f"POST {index}/vectors/fetch_by_metadata", {**body, **wrong})[0] == 400

    def test_deletions(self, ask, index):
        def delete(**body):
            return ask(f"POST {index}/vectors/delete", {"namespace": "n", **body})[0]

        assert delete(ids=["a"]) == 404
        self.upsert(ask, index, *({"id": key, "values": [1, 2], "metadata": {"a": key}} for key in "abcd"))
        assert (delete(), delete(ids=["a"], deleteAll=True), delete(ids=["x"] * 1_001)) == (400, 400, 400)
        assert (delete(ids=["a", "none"]), self.found(ask, index)) == (200, ["b", "c", "d"])
        assert (delete(filter={"a": "b"}), self.found(ask, index)) == (200, ["c", "d"])
        assert (delete(deleteAll=True), self.found(ask, index)) == (200, [])

    def test_namespaces(self, ask, index):
        assert ask(f"POST {index}/namespaces", {"name": "made"})[1] == {"name": "made", "record_count": "0"}
        assert ask(f"POST {index}/namespaces", {"name": "made"})[0] == 409
        self.upsert(ask, index, {"id": "a", "values": [1, 2]})
        assert [item["name"] for item in ask(f"GET {index}/namespaces")[1]["namespaces"]] == ["made", "n"]
        assert ask(f"GET {index}/namespaces/n")[1]["record_count"] == "1"
        assert [ask(f"{method} {index}/namespaces/n")[0] for method in ("DELETE", "GET", "DELETE")] == [200, 404, 404]
        stats = ask(f"POST {index}/describe_index_stats", {})[1]
        assert (stats["dimension"], stats["metric"], stats["namespaces"]) == (
            2,
            "dotproduct",
            {"made": {"vectorCount": 0}},
        )
        assert ask(f"POST {index}/describe_index_stats", {"filter": {"a": 1}})[0] == 400

    def test_pods_have_no_namespaces_to_name_no_lists_and_no_numbers_of_writes(self, ask):
        pods = {"deployment_type": "pod", "environment": "us-east1-gcp", "pod_type": "p1.x1"}
        assert self.create(ask, "facts-pod", deployment=pods)[0] == 201
        try:
            assert "x-pinecone-request-lsn" not in self.upsert(ask, "/data/facts-pod", {"id": "a", "values": [1, 2]})[2]
            for request in ("GET /data/facts-pod/namespaces", "GET /data/facts-pod/vectors/list?namespace=n"):
                assert ask(request)[0] == 400
            assert self.found(ask, "/data/facts-pod") == ["a"]
        finally:
            ask("DELETE /indexes/facts-pod")

    def test_a_write_is_seen_later_and_numbers_say_when(self, ask, index, pinecone):
        assert self.upsert(ask, index, {"id": "a", "values": [1, 2]})[2]["x-pinecone-request-lsn"] == "1"
        pinecone.order("delay", 0.3)
        assert self.upsert(ask, index, {"id": "b", "values": [1, 2]})[2]["x-pinecone-request-lsn"] == "2"
        body, end = {"topK": 9, "vector": [1, 0], "namespace": "n"}, time.monotonic() + 10
        seen = set()
        while "2" not in {number for number, _ in seen}:
            _, answer, headers = ask(f"POST {index}/query", body)
            seen.add((headers["x-pinecone-max-indexed-lsn"], tuple(match["id"] for match in answer["matches"])))
            assert time.monotonic() < end
        assert seen == {("1", ("a",)), ("2", ("a", "b"))}
        other = self.upsert(ask, index, {"id": "b", "values": [1, 2]}, namespace="other")
        assert other[2]["x-pinecone-request-lsn"] == "1"
        assert "x-pinecone-max-indexed-lsn" not in ask(f"GET {index}/vectors/list?namespace=n")[2]

    def test_throttling_on_demand(self, ask, index, pinecone):
        pinecone.order("busy", 1)
        status, body, headers = ask(f"POST {index}/query", {"topK": 1, "vector": [1, 0]})
        assert (status, body["code"], headers["retry-after"]) == (429, 8, "1")
        assert self.found(ask, index) == []

    def test_what_was_written_outlives_a_restart(self, ask, index, pinecone):
        self.upsert(ask, index, {"id": "a", "values": [1, 2], "metadata": {"a": "\u00e9"}})
        self.upsert(ask, index, {"id": "b", "values": [1, 2]})
        ask(f"POST {index}/vectors/delete", {"ids": ["b"], "namespace": "n"})
        pinecone.kill()
        pinecone.start()
        assert self.found(ask, index, filter={"a": "\u00e9"}) == self.found(ask, index) == ["a"]

    def test_the_sdk_reads_the_answers(self, ask, index, pinecone):
        with pinecone.client() as client, pinecone.index(index.rpartition("/")[2]) as opened:
            assert index.rpartition("/")[2] in [one.name for one in client.indexes.list()]
            written = opened.upsert(vectors=[("a", [1.0, 2.0], {"n": 1})], namespace="n")
            assert (written.upserted_count, written.response_info.lsn_committed) == (1, 1)
            found = opened.query(vector=[1.0, 0.0], top_k=1, namespace="n", include_values=True, include_metadata=True)
            assert found.response_info.is_reconciled(1)
            assert (found.matches[0].values, found.matches[0].metadata) == ([1.0, 2.0], {"n": 1})
            assert opened.describe_index_stats().namespaces["n"].vector_count == 1
            assert [item.id for page in opened.list(namespace="n") for item in page.vectors] == ["a"]
            with pytest.raises(client_library.errors.NotFoundError):
                client.indexes.describe("none")


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


class TestValkeySearch:
    """The facts of ``fakes/valkey_search.md``."""

    VECTOR = ("v", "VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", 2, "DISTANCE_METRIC", "IP")
    CREATE = ("FT.CREATE", "i", "ON", "HASH", "PREFIX", 1, "d:", "SCHEMA", "t", "TAG", *VECTOR)
    ONE = struct.pack("<2f", 1.0, 0.0)

    @pytest.fixture
    def client(self, valkey_search):
        if not valkey_search.restartable:
            pytest.skip("the facts are those of the front, and this is the service itself")
        with valkey_search.space() as options, redis.Redis.from_url(options["url"], protocol=2) as client:
            yield client
            with contextlib.suppress(redis.ResponseError):
                client.execute_command("FT.DROPINDEX", "i")

    def search(self, client, query, *more):
        given = ("FT.SEARCH", "i", query, "NOCONTENT", "PARAMS", 2, "q", self.ONE, "LIMIT", 0, 9, "DIALECT", 2, *more)
        return client.execute_command(*given)[1:]

    def refused(self, call, *words):
        with pytest.raises(redis.ResponseError, match="FT.REFUSED"):
            call(*words)

    def test_who_it_is(self, client):
        about = client.execute_command("HELLO")
        assert about[about.index(b"server") + 1] == b"valkey"

    def test_indexes(self, client):
        ask = client.execute_command
        self.refused(ask, *self.CREATE[:7], "SKIPINITIALSCAN", *self.CREATE[7:])
        self.refused(ask, *self.CREATE, "EPSILON", 1)
        ask(*self.CREATE)
        assert ask("FT._LIST") == [b"i"]
        client.hset("d:a", mapping={"t": "x", "v": self.ONE})
        self.refused(ask, "FT.DROPINDEX", "i", "DD")
        self.refused(ask, "FT.AGGREGATE", "i", "*")
        self.refused(ask, "FT.INFO", "i", "LOCAL")
        ask("FT.DROPINDEX", "i")
        assert client.keys() == [b"d:a"]

    def test_searches(self, client):
        client.execute_command(*self.CREATE)
        for key, tags, vector in (("a", "x", (0.5, 0.5)), ("b", "x,y", (1.0, 0.0)), ("c", "z", (0.0, 1.0))):
            client.hset(f"d:{key}", mapping={"t": tags, "v": struct.pack("<2f", *vector)})
        for chosen, found in (
            ("*", [b"d:b", b"d:a", b"d:c"]),
            ("@t:{x}", [b"d:b", b"d:a"]),
            ("@t:{y | z}", [b"d:b", b"d:c"]),
            ("(-@t:{x})", [b"d:c"]),
            ("(@t:{x} (-@t:{y}))", [b"d:a"]),
            ("(@t:{y}|@t:{z})", [b"d:b", b"d:c"]),
        ):
            assert sorted(self.search(client, f"{chosen}=>[KNN 9 @v $q EF_RUNTIME 100 AS s]")) == sorted(found), chosen
        for query in (
            "@t:{x}",
            "*=>[KNN 129 @v $q]",
            "*=>[KNN 9 @v $q EF_RUNTIME 4097]",
            "*=>[KNN 9 @v $q HYBRID_POLICY ADHOC_BF]",
            "@t:{a\\+b}=>[KNN 9 @v $q]",
            "@t:[0 1]=>[KNN 9 @v $q]",
            f"({'|'.join(['@t:{x}'] * 17)})=>[KNN 9 @v $q]",
        ):
            self.refused(self.search, client, query)
        self.refused(self.search, client, "*=>[KNN 9 @v $q AS s]", "SORTBY", "s")


class TestSingleStore:
    """The facts of ``fakes/singlestore.md`` that are refusals, asked of the proxy."""

    @pytest.fixture
    def table(self, singlestore):
        if not singlestore.restartable:
            pytest.skip("the facts are those of the proxy, and this is the service itself")
        name = f"`facts_{uuid.uuid4().hex[:8]}`"
        yield name
        singlestore.execute(f"DROP TABLE IF EXISTS {name}")

    @pytest.mark.parametrize(
        ("statement", "said"),
        [
            ("CREATE TABLE {t} (a INT, b INT, SHARD KEY (a), UNIQUE KEY (b) USING HASH)", "shard key"),
            ("CREATE TABLE {t} (a INT, SHARD KEY (a), KEY (a))", "hash keys"),
            ("CREATE ROWSTORE TABLE {t} (a INT, SHARD KEY (a), SORT KEY (a))", "sort key"),
            ("CREATE ROWSTORE TABLE {t} (a INT, v VECTOR(2, F32) NOT NULL, VECTOR INDEX n (v))", "vector index"),
            ("CREATE TABLE {t} (a INT, FOREIGN KEY (a) REFERENCES b (a))", "FOREIGN KEY"),
            ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "READ COMMITTED"),
            ("SELECT 1 FROM {t} FOR UPDATE", "FOR UPDATE"),
            ("SELECT GET_LOCK('a', 1)", "GET_LOCK"),
            ("SELECT LAST_INSERT_ID(3)", "LAST_INSERT_ID"),
            ("SELECT VEC_DISTANCE_EUCLIDEAN(a, b)", "VEC_"),
        ],
    )
    def test_what_singlestore_has_not(self, singlestore, table, statement, said):
        with pytest.raises(Exception, match=said):
            singlestore.execute(statement.replace("{t}", table))

    def test_columns_of_keys_are_not_updated(self, singlestore, table):
        keys = "SHARD KEY (a), UNIQUE KEY (a) USING HASH"
        singlestore.execute(f"CREATE TABLE {table} (a INT NOT NULL, b INT, {keys})")
        singlestore.execute(f"INSERT INTO {table} (a, b) VALUES (1, 1)")
        singlestore.execute(f"UPDATE {table} SET b = 2 WHERE a = 1")
        upsert = f"INSERT INTO {table} (a, b) VALUES (1, 3) ON DUPLICATE KEY UPDATE"
        singlestore.execute(f"{upsert} b = VALUES(b)")
        for statement in (f"UPDATE {table} SET a = 2 WHERE a = 1", f"{upsert} a = VALUES(a)"):
            with pytest.raises(Exception, match="part of a key"):
                singlestore.execute(statement)
        assert singlestore.execute(f"SELECT a, b FROM {table}") == [(1, 3)]

    def test_distances(self, singlestore, table):
        singlestore.execute(f"CREATE TABLE {table} (a INT NOT NULL, ranked VECTOR(2, F32) NOT NULL, SHARD KEY (a))")
        singlestore.execute(f"INSERT INTO {table} (a, ranked) VALUES (1, ('[3,4]' :> VECTOR(2)))")
        for operator, query, distance in (("<*>", "[2,1]", 10), ("<*>", "[0,0]", 0), ("<->", "[0,0]", 5)):
            found = singlestore.execute(f"SELECT ranked {operator} ('{query}' :> VECTOR(2)) FROM {table}")
            assert found[0][0] == pytest.approx(distance, rel=1e-5)


class TestUpstashVector:
    """The facts of ``fakes/upstash_vector.md``."""

    @pytest.fixture
    def ask(self, upstash_vector):
        """Asks an index of two dimensions, by a path and a body."""
        if not upstash_vector.restartable:
            pytest.skip("the facts are those of the fake, and this is the service itself")
        for name, value in {"delay": 0, "dimension": 2}.items():
            upstash_vector.order(name, value)
        asking = Asking(upstash_vector.url, {"Authorization": f"Bearer {PASSWORD}"})

        def ask(path, body=None, **headers):
            status, answer, _ = asking(f"POST /{path}", body, **headers)
            return answer["result"] if status == 200 else status

        ask.whole = asking
        yield ask
        asking("POST /delete-namespace/n")
        defaults = {"delay": 0.01, "dimension": 1536, "function": "COSINE", "budget": 200, "sparse": False}
        for name, value in {**defaults, "spent": False, "busy": 0}.items():
            upstash_vector.order(name, value)

    def fill(self, ask, **records):
        made = [{"id": key, "vector": [1, 0], "metadata": metadata} for key, metadata in records.items()]
        assert ask("upsert/n", made) == "Success"

    def chosen(self, ask, text, **more):
        found = ask("query/n", {"vector": [1, 0], "topK": 100, "filter": text, **more})
        return sorted(one["id"] for one in found) if isinstance(found, list) else found

    def test_tokens_and_the_format_of_errors(self, ask):
        status, body, _ = ask.whole("POST /info", None, Authorization="Bearer another")
        assert (status, body) == (401, {"error": "Unauthorized: Invalid auth token", "status": 401})
        assert (ask("nothing"), ask("query/n/m", {}), ask("query/n", b"{")) == (404, 404, 400)

    def test_what_is_not_documented_is_refused(self, ask):
        vector = {"id": "a", "vector": [1, 2]}
        assert ask("upsert/n", {**vector, "sparseVector": None, "metadata": None, "data": None}) == "Success"
        for wrong in ({"values": []}, {"vector": "1"}, {"metadata": "{}"}, {"metadata": []}, {"data": 1}, {"id": 1.5}):
            assert ask("upsert/n", {**vector, **wrong}) == 400, wrong
        assert ask("upsert/n", {**vector, "sparseVector": {"indices": [1], "values": [1]}}) == 422
        assert ask("query/n", {"vector": [1, 2], "limit": 1}) == 400

    def test_vectors(self, ask, upstash_vector):
        def status(*values):
            found = ask("upsert/n", {"id": "a", "vector": list(values)})
            return found if isinstance(found, int) else 200

        assert (status(1), status(1, 2, 3), status(1, None), status(1, 1e39), status(0, 0)) == (422, 422, 400, 400, 422)
        assert status(0.1, 124) == 200
        assert ask("fetch/n", {"ids": ["a"], "includeVectors": True}) == [{"id": "a", "vector": [0.1, 124]}]
        upstash_vector.order("function", "DOT_PRODUCT")
        assert (status(0.6, 0.8), status(1, 1)) == (200, 422)
        upstash_vector.order("function", "EUCLIDEAN")
        assert status(0, 0) == 200

    def test_sizes(self, ask):
        def status(**more):
            found = ask("upsert/n", {"id": "a", "vector": [1, 2], **more})
            return found if isinstance(found, int) else 200

        room = 48_000 - len('{"a":""}')
        assert (status(metadata={"a": "x" * room}), status(metadata={"a": "x" * (room + 1)})) == (200, 400)
        assert (status(data="x" * 1_000_000), status(data="x" * 1_000_001), status(id="")) == (200, 400, 400)
        many = [{"id": str(number), "vector": [1, 2]} for number in range(1_001)]
        assert (ask("upsert/n", many), ask("upsert/n", []), ask("upsert/n", many[:-1])) == (400, 400, "Success")
        assert [ask("query/n", {"vector": [1, 2], "topK": limit}) for limit in (0, 1_001)] == [400, 400]
        assert (len(ask("query/n", {"vector": [1, 2]})), len(ask("query/n", {"vector": [1, 2], "topK": 1_000}))) == (
            10,
            1_000,
        )
        assert ask("fetch/n", {"ids": ["1"] * 1_001}) == ask("range/n", {"cursor": "0", "limit": 1_001}) == 400

    @pytest.mark.parametrize(
        ("function", "scores"),
        [
            ("COSINE", [("a", 1.0), ("b", 0.8), ("c", 0.5)]),
            ("EUCLIDEAN", [("b", 1 / 1.8), ("a", 0.5), ("c", 1 / 3)]),
        ],
    )
    def test_scores(self, ask, upstash_vector, function, scores):
        upstash_vector.order("function", function)
        for key, vector in (("a", [2, 0]), ("b", [0.6, 0.8]), ("c", [0, 1])):
            ask("upsert/n", {"id": key, "vector": vector})
        found = [(one["id"], pytest.approx(one["score"])) for one in ask("query/n", {"vector": [1, 0]})]
        assert found == scores
        batch = ask("query/n", [{"vector": [1, 0], "topK": 1}, {"vector": [0, 1], "topK": 1}])
        assert [len(one) for one in batch] == [1, 1]

    def test_filters(self, ask):
        self.fill(
            ask,
            n1={"n": 1, "t": "x"},
            n2={"n": 2.5, "t": ["x", "y"]},
            b={"n": True, "o": {"p": [{"q": "z"}, "end"]}},
            t={"n": "1", "t": "xyz"},
            o={},
        )
        for text, wanted in (
            ("n = 2.5", ["n2"]),
            ("n = '1'", ["t"]),
            ("n = true", ["b"]),
            ("n = 1", ["b", "n1"]),
            ("n != 2.5", ["b", "n1", "t"]),
            ("n > 1 or t = 'x'", ["n1", "n2"]),
            ("n >= 1 AND n < 2", ["n1"]),
            ("n <= -1", []),
            ("t GLOB 'x*'", ["n1", "t"]),
            ("t GLOB '[a-z]?[^abc]'", ["t"]),
            ("t NOT GLOB '*z'", ["n1"]),
            ("t IN ('x', 'z')", ["n1"]),
            ('t NOT IN ("x")', ["t"]),
            ("t CONTAINS 'y'", ["n2"]),
            ("t NOT CONTAINS 'y'", []),
            ("o.p[0].q = 'z' AND o.p[#-1] = 'end'", ["b"]),
            ("n = '1' AND t = 'no' OR n = 2.5", ["n2"]),
            ("n = '1' AND (t = 'xyz' OR n = 2.5)", ["t"]),
        ):
            assert self.chosen(ask, text) == wanted, text
        for wrong in ("n", "n =", "= 1", "n == 1", "n > 'x'", "n = 1e3", "9n = 1", "t GLOB 1", "t IN 'x'", "t IN ()"):
            assert self.chosen(ask, wrong) == 400, wrong
        for wrong in ("(n = 1", "n = 1)", "n = 1 AND", "NOT n = 1", "t = 'a'b'", "n NOT = 1", "n IS NULL"):
            assert self.chosen(ask, wrong) == 400, wrong

    def test_a_filter_has_a_budget(self, ask, upstash_vector):
        self.fill(ask, **{f"k{number:03}": {"n": number % 50} for number in range(300)})
        upstash_vector.order("budget", 100)
        assert len(self.chosen(ask, "n = 7")) == 2
        assert len(self.chosen(ask, "n = 7", topK=1)) == 1
        upstash_vector.order("budget", 1_000)
        assert len(self.chosen(ask, "n = 7")) == 6

    def test_fetches_and_ranges(self, ask):
        self.fill(ask, **{f"k{number}": {"n": number} for number in range(5)})
        assert ask("fetch/n", {"ids": ["k3", "none", "k1"]}) == [{"id": "k3"}, None, {"id": "k1"}]
        assert ask("fetch/n", {"prefix": "k4", "includeMetadata": True}) == [{"id": "k4", "metadata": {"n": 4}}]
        assert (ask("fetch/n", {}), ask("fetch/n", {"ids": ["a"], "prefix": "a"})) == (400, 400)
        found, cursor = [], "0"
        while cursor:
            page = ask("range/n", {"cursor": cursor, "limit": 2})
            cursor = page["nextCursor"]
            found.append([one["id"] for one in page["vectors"]])
        assert found == [["k0", "k1"], ["k2", "k3"], ["k4"]]
        assert len(ask("range/n", {"cursor": "", "limit": 9, "prefix": "k2"})["vectors"]) == 1
        assert (ask("range/n", {"limit": 1}), ask("range/n", {"cursor": "?", "limit": 1})) == (400, 400)

    def test_deletions_and_updates(self, ask):
        self.fill(ask, **{f"k{number}": {"n": number} for number in range(5)})
        assert ask("delete/n", {"ids": ["k0", "none"]}) == {"deleted": 1}
        assert ask("delete/n", {"prefix": "k1"}) == {"deleted": 1}
        assert ask("delete/n", {"filter": "n >= 4"}) == {"deleted": 1}
        assert (ask("delete/n", {}), ask("delete/n", {"ids": [], "prefix": "k"})) == (400, 400)
        assert ask("update/n", {"id": "k2", "metadata": {"m": 1, "n": None}, "metadataUpdateMode": "PATCH"}) == {
            "updated": 1
        }
        assert ask("update/n", {"id": "none", "data": "x"}) == {"updated": 0}
        found = ask("range/n", {"cursor": "0", "limit": 9, "includeMetadata": True})["vectors"]
        assert found == [{"id": "k2", "metadata": {"m": 1}}, {"id": "k3", "metadata": {"n": 3}}]
        assert (ask("reset/n"), ask("range/n", {"cursor": "0", "limit": 9})["vectors"]) == ("Success", [])

    def test_namespaces(self, ask):
        assert ask("query/n", {"vector": [1, 2]}) == []
        assert {"", "n"} <= set(ask("list-namespaces"))
        assert [ask("delete-namespace/n"), ask("delete-namespace/n"), ask("delete-namespace")] == ["Success", 404, 400]
        assert ask("upsert/n", {"id": "a", "vector": [1, 2]}) == "Success"
        assert ask("info")["namespaces"]["n"] == {"vectorCount": 1, "pendingVectorCount": 0}

    def test_queries_see_a_write_later(self, ask, upstash_vector):
        upstash_vector.order("delay", 0.3)
        self.fill(ask, a={})
        assert (ask("fetch/n", {"ids": ["a"]}), ask("query/n", {"vector": [1, 0]})) == ([{"id": "a"}], [])
        assert ask("info")["namespaces"]["n"]["pendingVectorCount"] == 1
        end = time.monotonic() + 10
        while not ask("query/n", {"vector": [1, 0]}):
            assert time.monotonic() < end
        assert ask("delete/n", {"ids": ["a"]}) == {"deleted": 1}
        assert (ask("fetch/n", {"ids": ["a"]}), len(ask("query/n", {"vector": [1, 0]}))) == ([None], 1)

    def test_throttling_and_quotas_on_demand(self, ask, upstash_vector):
        upstash_vector.order("busy", 1)
        status, _, headers = ask.whole("POST /info")
        assert (status, headers["retry-after"], ask("info")["dimension"]) == (429, "1", 2)
        upstash_vector.order("spent", True)
        assert ask("info") == 429

    def test_what_was_written_outlives_a_restart(self, ask, upstash_vector):
        self.fill(ask, a={"a": "\u00e9"}, b={})
        ask("delete/n", {"ids": ["b"]})
        upstash_vector.kill()
        upstash_vector.start()
        upstash_vector.order("dimension", 2)
        assert self.chosen(ask, "a = '\u00e9'") == self.chosen(ask, "") == ["a"]

    def test_the_sdk_reads_the_answers(self, ask, upstash_vector):
        with upstash_vector.client() as client:
            client.upsert([("a", [0.1, 0.2], {"n": 1}, "text")], namespace="n")
            found = client.query([0.1, 0.2], 1, True, True, "n = 1", include_data=True, namespace="n")
            assert [(one.id, one.score, one.vector, one.metadata, one.data) for one in found] == [
                ("a", 1.0, [0.1, 0.2], {"n": 1}, "text")
            ]
            assert client.fetch(["a", "b"], namespace="n")[1] is None
            assert client.range("0", 5, namespace="n").next_cursor == ""
            assert client.delete("a", namespace="n").deleted == 1
            info = client.info()
            assert (info.dimension, info.similarity_function, info.sparse_index) == (2, "COSINE", None)


class TestCosmosDB:
    """The facts of ``fakes/cosmosdb.md``."""

    VECTORS: ClassVar = {"path": "/v", "dataType": "float32", "dimensions": 2, "distanceFunction": "dotproduct"}

    @pytest.fixture
    def ask(self, cosmosdb):
        """Asks the account, with a signature; in a database of its own."""
        if not cosmosdb.restartable:
            pytest.skip("the facts are those of the fake, and this is the service itself")
        asking = Asking(cosmosdb.url, {"x-ms-version": "2020-07-15"})

        def ask(request, body=None, key=PASSWORD, **headers):
            method, path = request.split()
            parts = path.strip("/").split("/") if path != "/" else []
            even = bool(parts) and len(parts) % 2 == 0
            link, kind = ("/".join(parts), parts[-2]) if even else ("/".join(parts[:-1]), (parts or [""])[-1])
            date = "thu, 01 jan 2026 00:00:00 gmt"
            text = f"{method.lower()}\n{kind}\n{link}\n{date}\n\n"
            made = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()
            signed = {"Authorization": quote(f"type=master&ver=1.0&sig={made}", safe=""), "x-ms-date": date}
            status, answer, found = asking(request, body, **signed, **headers)
            ask.headers = found
            return answer if status < 300 else status

        cosmosdb.order("delay", 0)
        ask("DELETE /dbs/facts")
        assert ask("POST /dbs", {"id": "facts"})["id"] == "facts"
        made = {"id": "c", "partitionKey": {"paths": ["/p"], "kind": "Hash"}}
        assert ask("POST /dbs/facts/colls", {**made, "vectorEmbeddingPolicy": {"vectorEmbeddings": [self.VECTORS]}})
        yield ask
        for name, value in {"delay": 0.01, "busy": 0, "quota": 500, "consistency": "Session"}.items():
            cosmosdb.order(name, value)
        ask("DELETE /dbs/facts")

    def write(self, ask, *, partition="x", upsert=False, **item):
        headers = {"x-ms-documentdb-partitionkey": json.dumps([partition])}
        headers.update({"x-ms-documentdb-is-upsert": "True"} if upsert else {})
        return ask("POST /dbs/facts/colls/c/docs", {"p": partition, **item}, **headers)

    def on(self, ask, request, body=None, **headers):
        method, key = request.split()
        partition = {"x-ms-documentdb-partitionkey": '["x"]'}
        return ask(f"{method} /dbs/facts/colls/c/docs/{key}", body, **partition, **headers)

    def batch(self, ask, *operations):
        headers = {"x-ms-documentdb-partitionkey": '["x"]', "x-ms-cosmos-is-batch-request": "True"}
        found = ask("POST /dbs/facts/colls/c/docs", list(operations), **headers)
        return [one["statusCode"] for one in found] if isinstance(found, list) else found

    def found(self, ask, text, size="100", token="", kind="application/query+json", **parameters):
        body = {"query": text, "parameters": [{"name": f"@{key}", "value": one} for key, one in parameters.items()]}
        headers = {"x-ms-documentdb-partitionkey": '["x"]', "x-ms-documentdb-isquery": "True", "Content-Type": kind}
        headers.update({"x-ms-max-item-count": size, "x-ms-continuation": token})
        answer = ask("POST /dbs/facts/colls/c/docs", body, **headers)
        return answer["Documents"] if isinstance(answer, dict) else answer

    def test_signatures_and_the_format_of_errors(self, ask, cosmosdb):
        assert (ask("GET /", key="another"), ask("GET /dbs/facts", key="another")) == (401, 401)
        assert ask("GET /")["userConsistencyPolicy"] == {"defaultConsistencyLevel": "Session"}
        status, body, _ = Asking(cosmosdb.url, {"x-ms-version": "1"})("GET /dbs/facts")
        assert (status, sorted(body)) == (401, ["code", "message"])
        assert (ask("GET /dbs/none"), ask("GET /dbs/none/colls/c")) == (404, 404)
        assert ask.headers["x-ms-substatus"] == "1003"

    def test_databases_and_containers(self, ask, cosmosdb):
        key = {"partitionKey": {"paths": ["/p"], "kind": "Hash"}}
        assert (ask("POST /dbs", {"id": "facts"}), ask("POST /dbs", {"id": "a/b"})) == (409, 400)
        assert ask("POST /dbs/facts/colls", {"id": "c", **key}) == 409
        for wrong in ({"id": "x" * 256, **key}, {"id": "d"}, {"id": "d", **key, "colour": 1}):
            assert ask("POST /dbs/facts/colls", wrong) == 400, wrong
        for change in ({"dimensions": 0}, {"dimensions": 4_097}, {"distanceFunction": "hamming"}, {"dataType": "text"}):
            policy = {"vectorEmbeddings": [{**self.VECTORS, **change}]}
            assert ask("POST /dbs/facts/colls", {"id": "d", **key, "vectorEmbeddingPolicy": policy}) == 400, change
        for kind, dimensions, path, wanted in (
            ("flat", 505, "/v", True),
            ("flat", 506, "/v", False),
            ("diskANN", 4_096, "/v", True),
            ("tree", 2, "/v", False),
            ("diskANN", 2, "/w", False),
        ):
            made = {
                "vectorEmbeddingPolicy": {"vectorEmbeddings": [{**self.VECTORS, "dimensions": dimensions}]},
                "indexingPolicy": {"vectorIndexes": [{"path": path, "type": kind}]},
            }
            answer = ask("POST /dbs/facts/colls", {"id": f"{kind}{dimensions}{path[1:]}", **key, **made})
            assert isinstance(answer, dict) is wanted, (kind, dimensions, path)
        cosmosdb.order("quota", 0)
        assert ask("POST /dbs/facts/colls", {"id": "e", **key}) == 403
        assert (ask("DELETE /dbs/facts/colls/c"), ask("GET /dbs/facts/colls/c")) == ("", 404)

    def test_items(self, ask):
        found = self.write(ask, id="a", n=2**53 + 1, f=1.0)
        assert (found["n"], found["f"], sorted(set(found) - {"id", "p", "n", "f"})) == (
            float(2**53),
            1,
            ["_etag", "_rid", "_self"],
        )
        assert (self.write(ask, id="a"), self.write(ask, id="a", upsert=True)["id"]) == (409, "a")
        for wrong in ("", "a/b", "a?b", "a#b", "a\\b", "x" * 256, 1):
            assert self.write(ask, id=wrong) == 400, wrong
        assert (
            ask("POST /dbs/facts/colls/c/docs", {"id": "b", "p": "y"}, **{"x-ms-documentdb-partitionkey": '["x"]'})
            == 400
        )
        assert ask("POST /dbs/facts/colls/c/docs", {"id": "b", "p": "y"}) == 400
        assert (self.write(ask, id="big", t="x" * 2_097_000)["id"], self.write(ask, id="b", t="x" * 2_097_153)) == (
            "big",
            413,
        )
        deep = {}
        for _ in range(130):
            deep = {"a": deep}
        assert self.write(ask, id="deep", d=deep) == 400
        etag = self.on(ask, "GET a")["_etag"]
        assert self.on(ask, "PUT a", {"id": "a", "p": "x", "m": 1}, **{"If-Match": etag})["m"] == 1
        assert (self.on(ask, "DELETE a", **{"If-Match": etag}), self.on(ask, "DELETE a")) == (412, "")
        assert (self.on(ask, "GET a"), self.on(ask, "DELETE a")) == (404, 404)

    def test_a_batch_is_done_whole_or_not_at_all(self, ask):
        def create(key):
            return {"operationType": "Create", "resourceBody": {"id": key, "p": "x"}}

        assert self.batch(ask, create("a"), create("b")) == [201, 201]
        assert self.batch(ask, create("c"), create("a"), create("d")) == [424, 409, 424]
        assert self.batch(ask, {"operationType": "Delete", "id": "a"}, create("a")) == [204, 201]
        assert self.batch(ask, {"operationType": "Delete", "id": "b"}, {"operationType": "Delete", "id": "c"}) == [
            424,
            404,
        ]
        assert self.found(ask, "SELECT VALUE c.id FROM c ORDER BY c.id") == ["a", "b"]
        many = [create(f"n{number}") for number in range(101)]
        assert (self.batch(ask), self.batch(ask, *many), self.batch(ask, *many[:100])) == (400, 400, [201] * 100)
        large = [
            {"operationType": "Upsert", "resourceBody": {"id": f"l{n}", "p": "x", "t": "x" * 1_100_000}} for n in (1, 2)
        ]
        assert self.batch(ask, *large) == 413

    def test_queries(self, ask):
        for key, item in {
            "n": {"a": 1, "l": ["x", 1]},
            "t": {"a": "1"},
            "b": {"a": True},
            "z": {"a": None},
            "o": {},
        }.items():
            self.write(ask, id=key, **item)
        self.write(ask, id="other", partition="y", a=1)
        for where, wanted in (
            ("c.a = 1", "n"),
            ("c.a = 1.0", "n"),
            ("c.a = '1'", "t"),
            ("c.a = true", "b"),
            ("c.a = null", "z"),
            ("c.a != 1", "btz"),
            ("NOT (c.a = 1)", "btz"),
            ("c.a < 2", "n"),
            ("c.a >= '0'", "t"),
            ("c.a IN (1, '1')", "nt"),
            ("NOT (c.a IN (1, '1'))", "bz"),
            ("IS_DEFINED(c.a)", "bntz"),
            ("NOT IS_DEFINED(c.a)", "o"),
            ("NOT IS_DEFINED(c.a) OR c.a = 1", "no"),
            ("ARRAY_CONTAINS(c.l, 'x') AND NOT ARRAY_CONTAINS(c.l, '1')", "n"),
            ("STARTSWITH(c.id, @start)", "n"),
            ("c['id'] = 'o' OR false", "o"),
        ):
            assert "".join(sorted(self.found(ask, f"SELECT VALUE c.id FROM c WHERE {where}", start="n"))) == wanted, (
                where
            )
        assert self.found(ask, "SELECT VALUE COUNT(1) FROM c WHERE c.a != 1") == [3]
        assert self.found(ask, "SELECT TOP 1 c.id, c.a FROM c ORDER BY c.id DESC") == [{"id": "z", "a": None}]
        for wrong in (
            "SELECT",
            "SELECT * FROM d",
            "SELECT * FROM c WHERE c.a ==",
            "SELECT * FROM c WHERE LENGTH(c.id) = 1",
            "SELECT TOP 0 * FROM c",
            "SELECT * FROM c WHERE c.a = @none",
            "SELECT * FROM c GROUP BY c.a",
            "SELECT * FROM c WHERE c.a = '" + "x" * 524_288 + "'",
        ):
            assert self.found(ask, wrong) == 400, wrong[:80]
        assert self.found(ask, "SELECT * FROM c", kind="application/json") == 400

    def test_vector_distances(self, ask):
        for key, item in {"a": {"v": [1, 0]}, "b": {"v": [3, 1]}, "c": {"v": [1]}, "d": {}}.items():
            self.write(ask, id=key, **item)
        near = "ORDER BY VectorDistance(c.v, @q)"
        found = self.found(ask, f"SELECT TOP @k c.id, VectorDistance(c.v, @q) AS s FROM c {near}", q=[1, 1], k=9)
        assert found == [{"id": "b", "s": 4}, {"id": "a", "s": 1}]
        assert self.found(ask, f"SELECT TOP 1 VALUE c.id FROM c WHERE c.id != 'b' {near}", q=[1, 1]) == ["a"]
        assert self.found(ask, f"SELECT VALUE c.id FROM c {near}", q=[1, 1]) == 400
        assert self.found(ask, f"SELECT TOP 1 VALUE c.id FROM c {near}", q=[1, 1, 1]) == 400
        assert self.found(ask, "SELECT TOP 1 * FROM c ORDER BY VectorDistance(c.w, @q)", q=[1, 1]) == 400

    def test_pages(self, ask):
        for number in range(5):
            self.write(ask, id=f"k{number}", t="x" * 1_500_000)
        pages, token = [], ""
        while not pages or token:
            pages.append(self.found(ask, "SELECT VALUE c.id FROM c ORDER BY c.id", size="2", token=token))
            token = ask.headers.get("x-ms-continuation", "")
        assert pages == [["k0", "k1"], ["k2", "k3"], ["k4"]]
        assert len(self.found(ask, "SELECT * FROM c", size="-1")) == 2
        assert ask.headers["x-ms-continuation"]

    def test_reads_see_a_write_later_unless_they_have_its_session_token(self, ask, cosmosdb):
        cosmosdb.order("delay", 0.3)
        self.write(ask, id="a")
        token = ask.headers["x-ms-session-token"]
        assert float(ask.headers["x-ms-request-charge"]) > 0
        assert (self.on(ask, "GET a"), self.on(ask, "GET a", **{"x-ms-session-token": token})["id"]) == (404, "a")
        assert self.on(ask, "GET a", **{"x-ms-session-token": "0:-1#99999"}) == 404
        assert ask.headers["x-ms-substatus"] == "1002"
        end = time.monotonic() + 10
        while self.on(ask, "GET a") == 404:
            assert time.monotonic() < end
        cosmosdb.order("consistency", "Strong")
        self.write(ask, id="b")
        assert self.on(ask, "GET b")["id"] == "b"

    def test_throttling_on_demand(self, ask, cosmosdb):
        cosmosdb.order("busy", 1)
        assert (ask("GET /dbs/facts"), ask.headers["x-ms-retry-after-ms"]) == (429, "20")
        assert ask("GET /dbs/facts")["id"] == "facts"

    def test_what_was_written_outlives_a_restart(self, ask, cosmosdb):
        self.write(ask, id="a", t="\u00e9")
        self.write(ask, id="b")
        self.on(ask, "DELETE b")
        cosmosdb.kill()
        cosmosdb.start()
        assert self.found(ask, "SELECT VALUE c.t FROM c") == ["\u00e9"]

    def test_the_sdk_reads_the_answers(self, ask, cosmosdb):
        with cosmosdb.client() as client:
            container = client.get_database_client("facts").get_container_client("c")
            assert container.upsert_item({"id": "a", "p": "x", "v": [1, 2]}).get_response_headers()[
                "x-ms-session-token"
            ]
            assert container.read_item("a", "x")["v"] == [1, 2]
            batch = [("create", ({"id": "b", "p": "x"},)), ("create", ({"id": "a", "p": "x"},))]
            with pytest.raises(cosmos_errors.CosmosBatchOperationError) as caught:
                container.execute_item_batch(batch, "x")
            assert (caught.value.status_code, caught.value.error_index) == (409, 1)
            near = "SELECT TOP 1 VALUE c.id FROM c ORDER BY VectorDistance(c.v, @q)"
            found = container.query_items(near, parameters=[{"name": "@q", "value": [1, 1]}], partition_key="x")
            assert list(found) == ["a"]
            with pytest.raises(cosmos_errors.CosmosResourceNotFoundError):
                container.read_item("none", "x")
