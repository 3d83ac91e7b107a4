"""What the fake keeps of its documentation (``fakes/cosmosdb.md``), asked over its socket."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import ClassVar
from urllib.parse import quote

import pytest
from asking import Asking
from azure.cosmos import exceptions as cosmos_errors
from engines import PASSWORD


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
            ask.headers, ask.message = found, answer["message"] if status >= 400 else ""
            return answer if status < 300 else status

        cosmosdb.order("delay", 0)
        ask("DELETE /dbs/facts")
        assert ask("POST /dbs", {"id": "facts"})["id"] == "facts"
        made = {"id": "c", "partitionKey": {"paths": ["/p"], "kind": "Hash"}}
        assert ask("POST /dbs/facts/colls", {**made, "vectorEmbeddingPolicy": {"vectorEmbeddings": [self.VECTORS]}})
        yield ask
        usual = {"delay": 0.01, "busy": 0, "inside": [], "quota": 500, "consistency": "Session"}
        for name, value in {**usual, "refusing": "", "making": 0}.items():
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

    @pytest.mark.parametrize(
        ("reason", "status", "code", "words"),
        [
            ("incapable", 400, None, "capability has not been enabled"),
            ("shared", 400, None, "shared throughput"),
            ("throughput", 400, None, "total throughput limit"),
            ("firewall", 403, None, "through public internet"),
            ("full", 403, "1014", None),
            ("region", 403, "3", None),
        ],
    )
    def test_what_an_account_does_not_allow(self, ask, cosmosdb, reason, status, code, words):
        made = {"id": "d", "partitionKey": {"paths": ["/p"], "kind": "Hash"}}
        cosmosdb.order("refusing", reason)
        if code is None:
            policy = {"vectorEmbeddings": [self.VECTORS]}
            assert ask("POST /dbs/facts/colls", {**made, "vectorEmbeddingPolicy": policy}) == status
        else:
            assert self.write(ask, id="a") == status
        assert ask.headers.get("x-ms-substatus") == code
        assert words is None or words in ask.message

    def test_a_container_that_is_not_made_to_its_end(self, ask, cosmosdb):
        cosmosdb.order("making", 1)
        assert (self.write(ask, id="a"), ask.headers["x-ms-substatus"]) == (404, "1013")
        assert self.write(ask, id="a")["id"] == "a"

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

    def test_a_batch_of_which_one_operation_is_throttled(self, ask, cosmosdb):
        create = [{"operationType": "Create", "resourceBody": {"id": key, "p": "x"}} for key in "ab"]
        cosmosdb.order("inside", [429, 449])
        assert [self.batch(ask, *create) for _ in range(3)] == [[429, 424], [449, 424], [201, 201]]

    def test_a_batch_refuses_another_version(self, ask):
        found = self.write(ask, id="a")["_etag"]
        delete = {"operationType": "Delete", "id": "a", "ifMatch": found}
        assert self.write(ask, id="a", upsert=True)["_etag"] != found
        assert self.batch(ask, delete) == [412]
        assert self.batch(ask, {**delete, "ifMatch": self.on(ask, "GET a")["_etag"]}) == [204]

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

    def test_a_read_with_a_session_token_need_not_see_what_was_written_behind_it(self, ask, cosmosdb):
        cosmosdb.order("delay", 30.0)
        self.write(ask, id="a")
        token = ask.headers["x-ms-session-token"]
        self.write(ask, id="b")
        assert [
            self.on(ask, f"GET {key}", **{"x-ms-session-token": one}) != 404
            for key in "ab"
            for one in (token, ask.headers["x-ms-session-token"])
        ] == [True, True, False, True]

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
