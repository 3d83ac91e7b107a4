"""What the fake keeps of its documentation (``fakes/couchbase.md``), asked over its sockets."""

from __future__ import annotations

import base64
import socket
import struct
import uuid
from urllib.parse import urlsplit

import pytest
from asking import Asking
from couchbase import durability, exceptions
from engines import PASSWORD


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
        usual = {
            "delay": 0.01,
            "busy": 0,
            "quota": 1_000,
            "starting": 0,
            "impossible": False,
            "probed": 0,
            "resent": "",
        }
        for name, value in usual.items():
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

    def test_a_write_that_arrives_twice_is_refused_though_it_was_done(self, couchbase, collection):
        key = uuid.uuid4().hex
        couchbase.order("resent", key)
        with pytest.raises(exceptions.DocumentExistsException):
            collection.insert(key, {"a": 1})
        found = collection.get(key)
        assert found.content_as[dict] == {"a": 1}
        couchbase.order("resent", key)
        with pytest.raises(exceptions.CasMismatchException):
            collection.replace(key, {"a": 2}, cas=found.cas)
        assert collection.get(key).content_as[dict] == {"a": 2}

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

    def test_a_search_service_without_memory(self, couchbase, ask, index):
        couchbase.order("rejecting", ["query request rejected"])
        status, body = ask(f"POST {self.INDEX}/{index}/query", {"query": {"match_all": {}}})[:2]
        assert (status, body["error"]) == (429, "query request rejected")
        assert body["request"] == {"query": {"match_all": {}}}
        assert ask(f"POST {self.INDEX}/{index}/query", {"query": {"match_all": {}}})[0] == 200

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
        assert self.found(ask, index, **control(token.sequence_number, 50))[0] == 400
        couchbase.order("delay", 0)
        couchbase.order("failover", True)
        before, after = (self.put(collection, index, "a").mutation_token() for _ in range(2))
        for token, shown in ((before, 400), (after, "a")):
            part = f"{token.partition_id}/{token.partition_uuid}"
            assert self.found(ask, index, **control(token.sequence_number, 50))[0] == shown

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

    def test_vectors(self, couchbase, ask, collection, index):
        for key, vector, token in (("a", (1.0, 0.0), "x"), ("b", (3.0, 0.0), "y"), ("c", (2.0, 5.0), "x")):
            self.put(collection, index, key, vector, [token])

        def near(**more):
            best = [{"field": "v", "vector": [1.0, 0.0], "k": 2, **more}]
            return self.found(ask, index, query={"match_none": {}}, knn=best)

        assert near() == ["b", "c"]
        assert near(filter={"field": "tokens", "term": "x"}) == ["c", "a"]
        couchbase.order("probed", 1)
        assert near() == ["b"]
        couchbase.order("probed", 0)
        assert near(vector=[1.0]) == []
        assert near(k=0)[0] == near(k=10_001)[0] == near(field="w")[0] == 400
        whole = ask(f"POST /api/index/praisonai._default.{index}/query", {"query": {"match_all": {}}, "size": 0})
        assert (whole[0], whole[1]["total_hits"]) == (200, 3)
