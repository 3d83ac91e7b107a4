"""What the fake keeps of its documentation (``fakes/pinecone.md``), asked over its socket."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import urlencode

import pinecone as client_library
import pytest
from asking import Asking
from engines import PASSWORD


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
