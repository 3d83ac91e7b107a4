"""What the fakes of services keep of their documentation (``fakes/*.md``), asked over their sockets."""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import urlencode, urlsplit

import pinecone as client_library
import pytest
from couchbase import durability, exceptions
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


class TestCouchbase:
    """The facts of ``fakes/couchbase.md``."""

    INDEX = "/api/bucket/praisonai/scope/_default/index"

    @pytest.fixture
    def ask(self, couchbase):
        if not couchbase.restartable:
            pytest.skip("the facts are those of the fake, and this is a cluster")
        couchbase.order("delay", 0)
        login = base64.b64encode(f"Administrator:{PASSWORD}".encode()).decode()
        yield Asking(couchbase.url, {"Authorization": f"Basic {login}", "Content-Type": "application/json"})
        for name, value in {"delay": 0.01, "busy": 0, "quota": 1_000, "starting": 0, "impossible": False}.items():
            couchbase.order(name, value)

    @pytest.fixture
    def collection(self, couchbase, ask):
        """The SDK's collection ``_default``."""
        with couchbase.client() as (_, bucket):
            yield bucket.default_collection()

    def definition(self, name, place, **vector):
        field = {"name": "v", "type": "vector_base64", "dims": 2, "similarity": "dot_product", "index": True, **vector}
        mapping = {"enabled": True, "properties": {"v": {"fields": [field]}}}
        params = {
            "doc_config": {"mode": "scope.collection.type_field", "type_field": "place"},
            "mapping": {"types": {f"_default._default.{place}": mapping}},
        }
        return {"name": name, "type": "fulltext-index", "sourceName": "praisonai", "params": params}

    @pytest.fixture
    def index(self, ask):
        name = f"facts-{uuid.uuid4().hex}"
        assert ask(f"PUT {self.INDEX}/{name}", self.definition(name, name))[0] == 200
        yield name
        assert ask(f"DELETE {self.INDEX}/{name}")[0] == 200

    def put(self, collection, index, key, vector=(1.0, 0.0), tokens=(), numbers=None):
        text = base64.b64encode(struct.pack("<2f", *vector)).decode()
        value = {"place": index, "v": text, "tokens": list(tokens), "numbers": numbers or {}}
        return collection.upsert(f"{index}-{key}", value)

    def found(self, ask, index, **body):
        status, answer, _ = ask(f"POST {self.INDEX}/{index}/query", {"query": {"match_all": {}}, **body})
        if status != 200:
            return status, answer["error"]
        return [hit["id"].rpartition("-")[2] for hit in answer["hits"]]

    def test_logins(self, couchbase, ask):
        assert ask(f"GET {self.INDEX}", Authorization="Basic eDp5")[0] == 401
        with socket.create_connection((urlsplit(couchbase.url).hostname, urlsplit(couchbase.url).port)) as connection:
            connection.sendall(struct.pack("!BBHBBHIIQ", 0x80, 0xB5, 0, 0, 0, 0, 0, 0, 0))
            assert struct.unpack("!BBHBBHIIQ", connection.recv(24))[5] == 0x24

    def test_writes_of_keys(self, collection):
        key = uuid.uuid4().hex
        made = collection.insert(key, {"a": 1})
        with pytest.raises(exceptions.DocumentExistsException):
            collection.insert(key, {})
        again = collection.upsert(key, {"a": 2})
        first, second = made.mutation_token(), again.mutation_token()
        assert first.partition_id == second.partition_id
        assert first.sequence_number < second.sequence_number
        for call in (collection.replace, collection.remove):
            value = [{}] if call == collection.replace else []
            with pytest.raises(exceptions.CasMismatchException):
                call(key, *value, cas=made.cas)
            with pytest.raises(exceptions.DocumentNotFoundException):
                call(f"{key}-absent", *value)
        collection.remove(key, cas=again.cas)
        with pytest.raises(exceptions.DocumentNotFoundException):
            collection.get(key)

    def test_sizes(self, collection):
        with pytest.raises(exceptions.CouchbaseException):
            collection.upsert(uuid.uuid4().hex, "x" * 20 * 1024 * 1024)
        with pytest.raises(exceptions.CouchbaseException):
            collection.upsert("k" * 260, 1)

    def test_durability_and_throttling(self, couchbase, collection):
        level = durability.ServerDurability(durability.Durability.MAJORITY)
        collection.upsert("durable", 1, durability=level)
        couchbase.order("impossible", True)
        with pytest.raises(exceptions.DurabilityImpossibleException):
            collection.upsert("durable", 1, durability=level)
        collection.upsert("durable", 1)
        couchbase.order("busy", 2)
        couchbase.order("asked")
        collection.upsert("durable", 1)  # the SDK asks again
        assert couchbase.order("asked") == ["SET durable"] * 3

    def test_collections(self, couchbase, ask):
        with couchbase.client() as (_, bucket):
            name = f"t{uuid.uuid4().hex}"
            bucket.collections().create_collection("_default", name)
            with pytest.raises(exceptions.CollectionAlreadyExistsException):
                bucket.collections().create_collection("_default", name)
            (scope,) = bucket.collections().get_all_scopes()
            assert {"_default", name} <= {one.name for one in scope.collections}
            bucket.collection(name).upsert("k", 1)
            with pytest.raises(exceptions.DocumentNotFoundException):
                bucket.default_collection().get("k")

    def test_definitions_of_indexes(self, couchbase, ask, index):
        for wrong in ({"dims": 0}, {"dims": 4_097}, {"similarity": "manhattan"}, {"type": "blob"}):
            assert ask(f"PUT {self.INDEX}/wrong", self.definition("wrong", "wrong", **wrong))[0] == 400, wrong
        assert ask(f"PUT {self.INDEX}/{index}", self.definition(index, index))[0] == 400
        assert ask(f"PUT {self.INDEX}/1x", self.definition("1x", "x"))[0] == 400
        assert ask(f"PUT {self.INDEX}/x", {**self.definition("x", "x"), "more": 1})[0] == 400
        couchbase.order("quota", 0)
        assert "num_fts_indexes" in ask(f"PUT {self.INDEX}/x", self.definition("x", "x"))[1]["error"]
        assert ask(f"DELETE {self.INDEX}/absent")[1]["error"].endswith("index not found")

    def test_an_index_that_is_new_does_not_answer_yet(self, couchbase, ask):
        couchbase.order("starting", 60)
        name = f"facts-{uuid.uuid4().hex}"
        assert ask(f"PUT {self.INDEX}/{name}", self.definition(name, name))[0] == 200
        assert self.found(ask, name)[0] == 400
        assert ask(f"DELETE {self.INDEX}/{name}")[0] == 200

    def test_consistency(self, couchbase, ask, collection, index):
        couchbase.order("delay", 0.3)
        token = self.put(collection, index, "a").mutation_token()
        assert self.found(ask, index) == []
        part = f"{token.partition_id}/{token.partition_uuid}"

        def control(number, timeout, name=index):
            wanted = {"level": "at_plus", "vectors": {name: {part: number}}}
            return {"ctl": {"timeout": timeout, "consistency": wanted}}

        assert self.found(ask, index, **control(token.sequence_number, 50))[0] == 412
        assert self.found(ask, index, **control(token.sequence_number, 5_000)) == ["a"]
        assert self.found(ask, index, **control(token.sequence_number, 50, "another"))[0] == 400
        part = f"{token.partition_id}/1"
        assert self.found(ask, index, **control(token.sequence_number, 50))[0] == 412

    def test_queries(self, ask, collection, index):
        self.put(collection, index, "a", tokens=["x", "y"], numbers={"n": 1})
        self.put(collection, index, "b", tokens=["y"], numbers={"n": 2})
        self.put(collection, f"{index}-other", "c", tokens=["y"])
        x, y = ({"field": "tokens", "term": name} for name in "xy")
        number = {"field": "numbers.n"}
        for query, wanted in (
            ({"match_all": {}}, "ab"),
            ({"match_none": {}}, ""),
            (y, "ab"),
            ({"conjuncts": [x, y]}, "a"),
            ({"disjuncts": [x, {"match_none": {}}], "min": 1}, "a"),
            ({"must": {"conjuncts": [y]}, "must_not": {"disjuncts": [x]}}, "b"),
            ({**number, "min": 1}, "ab"),
            ({**number, "max": 1}, ""),
            ({**number, "max": 1, "inclusive_max": True}, "a"),
            ({**number, "min": 1, "inclusive_min": False}, "b"),
        ):
            assert sorted(self.found(ask, index, query=query)) == list(wanted), query
        assert self.found(ask, index, query={"wildcard": "*"})[0] == 400
        assert self.found(ask, index, query={"disjuncts": [x] * 1_025})[0] == 400
        assert self.found(ask, index, more=1)[0] == 400

    def test_pages(self, ask, collection, index):
        for key in "cab":
            self.put(collection, index, key)
        assert self.found(ask, index, sort=["_id"], size=2) == ["a", "b"]
        assert self.found(ask, index, sort=["_id"], size=2, search_after=[f"{index}-b"]) == ["c"]
        assert self.found(ask, index, size=10_001)[0] == self.found(ask, index, size=1, **{"from": 10_000})[0] == 400

    def test_vectors(self, ask, collection, index):
        for key, vector, token in (("a", (1.0, 0.0), "x"), ("b", (3.0, 0.0), "y"), ("c", (2.0, 5.0), "x")):
            self.put(collection, index, key, vector, [token])

        def near(**more):
            best = [{"field": "v", "vector": [1.0, 0.0], "k": 2, **more}]
            return self.found(ask, index, query={"match_none": {}}, knn=best)

        assert near() == ["b", "c"]
        assert near(filter={"field": "tokens", "term": "x"}) == ["c", "a"]
        assert near(vector=[1.0]) == []
        assert near(k=0)[0] == near(k=10_001)[0] == near(field="w")[0] == 400
        whole = ask(f"POST /api/index/praisonai._default.{index}/query", {"query": {"match_all": {}}, "size": 0})
        assert (whole[0], whole[1]["total_hits"]) == (200, 3)
