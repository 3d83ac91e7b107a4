"""Pinecone against the conformance kit, and what the kit does not ask; on a fake, or on the service itself."""

from __future__ import annotations

import uuid
from typing import ClassVar

import engines
import pytest
from services import FreshnessTests, OnService, RefusalTests, ids, make, space_of, told

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite
from praisonai_persistence_pinecone import AsyncPineconeKnowledgeStore, PineconeKnowledgeStore
from praisonai_persistence_pinecone.knowledge import PineconeSteps


class TestPinecone(OnService, KnowledgeStoreSuite):
    backend = "pinecone"
    largest_dimension = 20_000
    stores: ClassVar[dict[str, str]] = {
        "sync": "praisonai_persistence_pinecone:PineconeKnowledgeStore",
        "async_": "praisonai_persistence_pinecone:AsyncPineconeKnowledgeStore",
    }
    away = "pinecone://:k3y-s3cret@127.0.0.1:{port}?https=false"
    connections_per_caller = 2  # to the control plane, and to an index


options = space_of("pinecone")
fake = told("pinecone", {"delay": 0.01, "busy": 0, "busily": None, "quota": 20, "starting": 0})


@pytest.fixture
def named(fake):
    """Makes an index of a name, and removes it."""
    names = []

    def create(dimension=2, metric="dotproduct", deployment=None):
        deployment = deployment or {"deployment_type": "managed", "cloud": "aws", "region": "us-east-1"}
        fields = {"_values": {"type": "dense_vector", "dimension": dimension, "metric": metric}}
        with fake.client() as client:
            names.append(f"own-{uuid.uuid4().hex[:8]}")
            return client.indexes.create(name=names[-1], schema={"fields": fields}, deployment=deployment, timeout=-1)

    yield create
    with fake.client() as client:
        for name in names:
            client.indexes.delete(name)


class TestFreshness(FreshnessTests):
    sync = PineconeKnowledgeStore
    late = r"is stored, but not visible.*freshness_timeout"

    def test_who_else_sees_it(self, fake, options):
        with PineconeKnowledgeStore(**options) as reader, PineconeKnowledgeStore(**options, freshness="own") as own:
            reader.create_collection("docs", 2, "dot")
            fake.order("delay", 1.0)
            own.upsert("docs", [make("a")])
            assert reader.search("docs", [1.0, 0.0]) == []
            assert ids(own.search("docs", [1.0, 0.0])) == ids(reader.search("docs", [1.0, 0.0])) == ["a"]
            reader.upsert("docs", [make("b")])
            with PineconeKnowledgeStore(**options) as third:
                assert ids(third.get("docs", ["b"])) == ["b"]


class TestIndexes:
    """Which ones there are, and which are refused."""

    def test_one_for_each_dimension_and_metric(self, pinecone, options):
        with PineconeKnowledgeStore(**options) as store:
            for name, dimension, distance in (
                ("a", 2, "cosine"),
                ("b", 3, "dot"),
                ("c", 129, "dot"),
                ("d", 2, "euclidean"),
            ):
                store.create_collection(name, dimension, distance)
                store.upsert(name, [make("x", [1.0] * dimension)])
                assert ids(store.search(name, [1.0] * dimension)) == ["x"]
            assert store.list_collections() == ["a", "b", "c", "d"]
            places = pinecone.spaces(options["namespace"])
            assert sorted({index for index, _ in places}) == [
                "praisonai-128-dotproduct",
                "praisonai-128-euclidean",
                "praisonai-256-dotproduct",
            ]
            for name in "abcd":
                store.delete_collection(name)
        assert [name for _, name in pinecone.spaces(options["namespace"])] == [
            f"{options['namespace']}praison_collections"
        ]

    def test_one_that_is_there_by_name_and_by_host(self, fake, options, named):
        index = named(2)
        host = index.host.removeprefix("https://")
        with (
            PineconeKnowledgeStore(**options, index_name=index.name) as by_name,
            PineconeKnowledgeStore(**options, index_host=host) as by_host,
        ):
            by_name.create_collection("docs", 2)
            by_host.insert("docs", [make("zero", (0.0, 0.0)), make("one", (5.0, 0.0))])
            found = by_name.search("docs", [1.0, 0.0], with_embeddings=True)
            assert [(item.id, item.score, item.embedding) for item in found] == [
                ("one", 1.0, [5.0, 0.0]),
                ("zero", 0.0, [0.0, 0.0]),
            ]
            for store in (by_name, by_host):
                for dimension, distance in ((3, "cosine"), (2, "euclidean"), (1, "dot")):
                    with pytest.raises(ConfigurationError, match=r"dimension 2 and the metric dotproduct.*index_name"):
                        store.create_collection("other", dimension, distance)
                assert store.list_collections() == ["docs"]
            fake.order("asked", None)
            by_host.search("docs", [1.0, 0.0])
            assert not [request for request in fake.order("asked") if "/indexes" in request]

    @pytest.mark.parametrize("metric", ["cosine", "euclidean"])
    def test_one_of_another_metric(self, options, named, metric):
        with (
            PineconeKnowledgeStore(**options, index_name=named(2, metric).name) as store,
            pytest.raises(ConfigurationError, match="dotproduct"),
        ):
            store.create_collection("docs", 2)

    def test_pods(self, fake, options, named):
        pods = {
            "deployment_type": "pod",
            "environment": "us-east1-gcp",
            "pod_type": "p1.x1",
            "replicas": 1,
            "shards": 1,
        }
        index = named(2, deployment=pods)
        fake.order("delay", 0)
        with PineconeKnowledgeStore(**options, index_name=index.name, environment="us-east1-gcp") as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a", n=1), make("b", n=2)])
            assert ids(store.search("docs", [1.0, 0.0], filters={"n": {"$ne": 1}})) == ["b"]
            assert (store.delete("docs", filters={"n": 1}), store.count("docs")) == (1, 1)
            store.delete_collection("docs")
            assert store.list_collections() == []

    def test_an_index_that_is_not_ready(self, fake, options):
        with fake.client() as client:
            client.indexes.delete("praisonai-128-dotproduct")
        fake.order("starting", 1.0)
        with (
            PineconeKnowledgeStore(**options, index_timeout=0.3) as hasty,
            PineconeKnowledgeStore(**options) as patient,
        ):
            with pytest.raises(ConnectionFailedError, match=r"not ready.*index_timeout"):
                hasty.create_collection("docs", 2)
            patient.create_collection("docs", 2)
            assert patient.list_collections() == ["docs"]

    def test_no_room_and_no_such_region(self, fake, options):
        fake.order("quota", 0)
        with (
            PineconeKnowledgeStore(**options, region="mars-1") as store,
            pytest.raises(ConfigurationError, match="no region 'mars-1'"),
        ):
            store.create_collection("docs", 1_000, "euclidean")
        with PineconeKnowledgeStore(**options) as store:
            with pytest.raises(BackendError, match=r"delete one.*index_name"):
                store.create_collection("docs", 1_000, "euclidean")
            with pytest.raises(ConfigurationError, match="20,000"):
                store.create_collection("docs", 20_001)


class TestBadWeather(RefusalTests):
    sync, async_ = PineconeKnowledgeStore, AsyncPineconeKnowledgeStore
    key, refused, busy = "api_key", "check its API key", "too many requests"

    @pytest.fixture
    def wrong_url(self, pinecone):
        return pinecone.url.replace(engines.PASSWORD, "wr0ng-k3y"), "wr0ng"


class TestDocuments:
    """Sizes, filters that Pinecone knows in part, and more than one answer has room for."""

    def test_a_document_that_is_too_large_with_its_embedding(self, options):
        with PineconeKnowledgeStore(**options) as store:
            store.create_collection("docs", 2_000)
            large = make("large", [3.0] * 2_000, content='"' * 31_000)
            for write in (store.insert, store.upsert):
                with pytest.raises(SerializationError, match=r"'large' has \d+ bytes.*40960"):
                    write("docs", [make("small", [1.0] * 2_000), large])
            assert store.count("docs") == 0
            store.insert("docs", [make("small", [1.0] * 2_000)])

    def test_metadata_whose_copies_have_no_room(self, options):
        wide = {f"k{number}": number for number in range(1_000)}
        with PineconeKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            store.insert("docs", [make("wide", (9.0, 0.0), **wide), make("a", (2.0, 0.0), k1=1), make("b", k1=2)])
            assert store.get("docs", ["wide"])[0].metadata == wide
            for filters, wanted in (
                ({"k1": 1}, ["wide", "a"]),
                ({"k1": 2}, ["b"]),
                ({"k1": {"$ne": 1}}, ["b"]),
                ({"k999": 999}, ["wide"]),
                ({"k999": {"$exists": False}}, ["a", "b"]),
                ({"k1": {"$gt": 1}}, ["b"]),
                ({"k1": {"$in": []}}, []),
                ({"$not": {"k1": {"$in": []}}}, ["wide", "a", "b"]),
            ):
                assert ids(store.search("docs", [1.0, 0.0], filters=filters)) == wanted, filters
                assert ids(store.search("docs", [1.0, 0.0], 1, filters=filters)) == wanted[:1], filters
                assert store.count("docs", filters) == len(wanted), filters
            assert store.delete("docs", filters={"k1": {"$ne": 2}}) == 2
            assert store.count("docs") == 1

    def test_more_than_a_query_returns(self, fake, options, monkeypatch):
        monkeypatch.setattr(PineconeSteps, "most_matches", 120)
        fake.order("delay", 0)
        documents = [make(str(number), (float(number), 1.0), n=number % 2) for number in range(300)]
        with PineconeKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, "dot")
            store.upsert("docs", documents)
            assert (store.count("docs"), store.count("docs", {"n": 1})) == (300, 150)
            assert store.count("docs", {"n": {"$gt": 0}}) == 150
            best = [str(number) for number in reversed(range(300))]
            assert ids(store.search("docs", [1.0, 0.0], 100)) == best[:100]
            assert ids(store.search("docs", [1.0, 0.0], 250)) == best[:250]
            assert ids(store.search("docs", [1.0, 0.0], 130, {"n": 1})) == best[0:260:2]
            assert store.delete("docs", filters={"n": 0}) == 150
            assert store.clear_collection("docs") == 150
            assert store.count("docs") == 0

    def test_requests_of_each_call(self, fake, options):
        """The table in the README."""
        fake.order("delay", 0)
        with PineconeKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)

            def requests_of(call):
                fake.order("asked")
                call()
                return len(fake.order("asked"))

            assert {
                "insert": requests_of(
                    lambda: store.insert("docs", [make(str(number), (number, 1.0), n=1) for number in range(10)])
                ),
                "upsert": requests_of(lambda: store.upsert("docs", [make("a", n=2)])),
                "search": requests_of(lambda: store.search("docs", [1.0, 0.0])),
                "search with a filter": requests_of(lambda: store.search("docs", [1.0, 0.0], filters={"n": 1})),
                "get": requests_of(lambda: store.get("docs", ["1", "2"])),
                "count": requests_of(lambda: store.count("docs")),
                "count with a filter": requests_of(lambda: store.count("docs", {"n": 1})),
                "delete": requests_of(lambda: store.delete("docs", ["1"])),
                "create": requests_of(lambda: store.create_collection("another", 2)),
            } == {
                "insert": 9,
                "upsert": 3,
                "search": 2,
                "search with a filter": 2,
                "get": 2,
                "count": 2,
                "count with a filter": 3,
                "delete": 4,
                "create": 9,
            }
