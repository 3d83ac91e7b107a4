"""Upstash Vector against the conformance kit, and what the kit does not ask; on a fake, or on the service itself."""

from __future__ import annotations

import math
from typing import ClassVar

import engines
import pytest
from services import OnService, RefusalTests, ids, make, space_of, told

from praisonai_persistence.errors import (
    ConfigurationError,
    ConnectionFailedError,
    DocumentExistsError,
    SerializationError,
)
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.testing import KnowledgeStoreSuite
from praisonai_persistence.vectors import scorer
from praisonai_persistence_upstash import AsyncUpstashVectorKnowledgeStore, UpstashVectorKnowledgeStore


class TestUpstashVector(OnService, KnowledgeStoreSuite):
    backend = "upstash_vector"
    largest_dimension = 1_536
    stores: ClassVar[dict[str, str]] = {
        "sync": "praisonai_persistence_upstash:UpstashVectorKnowledgeStore",
        "async_": "praisonai_persistence_upstash:AsyncUpstashVectorKnowledgeStore",
    }
    away = "http://:t0ken-s3cret@127.0.0.1:{port}"


options = space_of("upstash_vector")
fake = told(
    "upstash_vector",
    {
        "delay": 0.01,
        "busy": 0,
        "busily": None,
        "spent": False,
        "budget": 200,
        "sparse": False,
        "function": "COSINE",
        "dimension": 1536,
    },
)


class TestFreshness:
    """K11 with each setting, where queries find a write some time after it was stored."""

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_a_write_is_visible_to_the_next_read_of_the_same_store(self, fake, options, freshness):
        with UpstashVectorKnowledgeStore(**options, freshness=freshness) as store:
            store.create_collection("docs", 2)
            fake.order("delay", 0.3)
            store.insert("docs", [make(f"n{number}", (1.0, float(number)), n=number) for number in range(30)])
            assert ids(store.search("docs", [1.0, 0.0], 2)) == ["n0", "n1"]
            store.upsert("docs", [make("n0", (-1.0, 0.0), n=0), make("a", (1.0, 0.001))])
            assert ids(store.search("docs", [1.0, 0.0], 2)) == ["a", "n1"]
            assert store.delete("docs", ["a"]) == 1
            assert ids(store.search("docs", [1.0, 0.0], 2)) == ["n1", "n2"]
            assert (ids(store.get("docs", ["a", "n3"])), store.count("docs"), store.count("docs", {"n": 3})) == (
                ["n3"],
                30,
                1,
            )
            with pytest.raises(DocumentExistsError):
                store.insert("docs", [make("n3")])

    def test_who_else_finds_it(self, fake, options):
        with (
            UpstashVectorKnowledgeStore(**options) as reader,
            UpstashVectorKnowledgeStore(**options, freshness="own") as own,
        ):
            reader.create_collection("docs", 2)
            reader.insert("docs", [make(f"n{number}", (1.0, 1.0 + number)) for number in range(20)])
            fake.order("delay", 1.0)
            own.upsert("docs", [make("a", (1.0, 0.0))])
            assert ids(reader.search("docs", [1.0, 0.0], 1)) == ["n0"]
            assert ids(reader.get("docs", ["a"])) == ["a"]
            assert ids(own.search("docs", [1.0, 0.0], 1)) == ids(reader.search("docs", [1.0, 0.0], 1)) == ["a"]
            reader.upsert("docs", [make("b", (1.0, -0.001))])
            with UpstashVectorKnowledgeStore(**options) as third:
                assert ids(third.search("docs", [1.0, -0.001], 1)) == ["b"]

    @pytest.mark.parametrize("freshness", ["all", "own"])
    def test_waiting_has_an_end_and_the_error_says_that_it_is_stored(self, fake, options, freshness):
        with UpstashVectorKnowledgeStore(**options, freshness=freshness, freshness_timeout=0.2) as store:
            store.create_collection("docs", 2)
            fake.order("delay", 1.5)
            with pytest.raises(ConnectionFailedError, match=r"is stored, but not visible.*freshness_timeout"):
                store.upsert("docs", [make("a")])
                store.search("docs", [1.0, 0.0])
            assert ids(store.get("docs", ["a"])) == ["a"]

    def test_nobody_waits_for_what_another_store_has_overwritten_or_deleted(self, fake, options):
        with (
            UpstashVectorKnowledgeStore(**options, freshness="own", freshness_timeout=5) as one,
            UpstashVectorKnowledgeStore(**options, freshness="own") as other,
        ):
            one.create_collection("docs", 2)
            fake.order("delay", 0.2)
            one.upsert("docs", [make("a"), make("b"), make("c")])
            other.upsert("docs", [make("a", (2.0, 0.0))])
            other.delete("docs", ["b"])
            assert sorted(ids(one.search("docs", [1.0, 0.0]))) == ["a", "c"]


class TestFilters:
    """The service returns fewer than match; the store does not."""

    def test_more_match_than_the_service_compares(self, fake, options):
        fake.order("delay", 0)
        fake.order("budget", 20)
        documents = [
            make(f"{number:03}", (1.0, number / 100), n=number, kind="rare" if number % 100 == 99 else "usual")
            for number in range(500)
        ]
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.upsert("docs", documents)
            for filters, wanted in (
                ({"kind": "rare"}, ["099", "199", "299", "399", "499"]),
                ({"n": {"$gte": 400}}, ["400", "401", "402", "403", "404"]),
                ({"kind": {"$ne": "usual"}, "n": {"$lt": 250}}, ["099", "199"]),
                ({"other": {"$exists": True}}, []),
            ):
                assert ids(store.search("docs", [1.0, 0.0], filters=filters)) == wanted, filters
                assert store.count("docs", filters) == sum(
                    matches(parse(filters), document.metadata) for document in documents
                )
            assert store.delete("docs", filters={"kind": "rare"}) == 5
            assert (store.count("docs"), store.search("docs", [1.0, 0.0], filters={"kind": "rare"})) == (495, [])

    def test_metadata_whose_copies_have_no_room(self, options):
        wide = {f"k{number}": number for number in range(1_000)}
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("wide", (9.0, 0.0), **wide), make("a", (2.0, 1.0), k1=1), make("b", k1=2)])
            assert store.get("docs", ["wide"])[0].metadata == wide
            for filters, wanted in (
                ({"k1": 1}, ["wide", "a"]),
                ({"k1": 2}, ["b"]),
                ({"k1": {"$ne": 1}}, ["b"]),
                ({"k999": 999}, ["wide"]),
                ({"k999": {"$exists": False}}, ["a", "b"]),
                ({"k1": {"$gt": 1}}, ["b"]),
                ({"k1": {"$in": []}}, []),
            ):
                assert ids(store.search("docs", [1.0, 0.0], filters=filters)) == wanted, filters
                assert ids(store.search("docs", [1.0, 0.0], 1, filters=filters)) == wanted[:1], filters
                assert store.count("docs", filters) == len(wanted), filters
            assert store.delete("docs", filters={"k1": {"$ne": 2}}) == 2

    def test_embeddings_of_zeros_have_the_score_zero(self, options):
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make(f"n{number:02}", (-1.0, number / 10)) for number in range(30)])
            store.insert("docs", [make("zero", (0.0, 0.0))])
            found = store.search("docs", [1.0, 0.0], 2, with_embeddings=True)
            assert (found[0].id, found[0].score, found[0].embedding) == ("zero", 0.0, [0.0, 0.0])
            assert ids(found)[1] == "n29"


class TestIndexes:
    """What an index can rank, and what it cannot hold."""

    @pytest.mark.parametrize("function", ["COSINE", "EUCLIDEAN", "DOT_PRODUCT"])
    @pytest.mark.parametrize("distance", ["cosine", "euclidean", "dot"])
    def test_every_distance_on_every_index(self, fake, options, function, distance):
        fake.order("function", function)
        fake.order("delay", 0)
        vectors = {f"{n}": (math.cos(n), math.sin(n * n) * n) for n in range(40)}
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2, distance)
            store.insert("docs", [make(name, vector) for name, vector in vectors.items()])
            fake.order("asked")
            found = store.search("docs", [0.5, 2.0], 3, with_embeddings=True)
            asked = [request.split("/")[1] for request in fake.order("asked")]
        score = scorer(distance, [0.5, 2.0])
        wanted = sorted(vectors, key=lambda name: -score(vectors[name]))[:3]
        assert ids(found) == wanted
        assert found[0].embedding == pytest.approx(vectors[wanted[0]])
        ranked = distance == "cosine" or (distance, function) == ("euclidean", "EUCLIDEAN")
        assert asked == (["fetch", "query", "fetch"] if ranked else ["fetch", "range"])

    def test_one_that_does_not_fit(self, fake, options):
        with UpstashVectorKnowledgeStore(**options) as store:
            with pytest.raises(ConfigurationError, match=r"at most 1,536 numbers, not 1,537.*give its URL"):
                store.create_collection("docs", 1_537)
            store.create_collection("docs", 1_536)
            fake.order("dimension", 100)
            with pytest.raises(ConfigurationError, match="another dimension"):
                store.upsert("docs", [make("a", [1.0] * 1_536)])
        fake.order("sparse", True)
        with UpstashVectorKnowledgeStore(**options) as store, pytest.raises(ConfigurationError, match="dense"):
            store.connect()

    def test_a_document_that_is_too_large(self, options):
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            large = make("large", content='"' * 600_000)
            for write in (store.insert, store.upsert):
                with pytest.raises(SerializationError, match=r"'large' has \d+ bytes.*1000000.*split"):
                    write("docs", [make("small"), large])
            assert store.count("docs") == 0
            store.insert("docs", [make("largest", content="x" * 790_000)])
            assert len(store.get("docs", ["largest"])[0].content) == 790_000

    def test_a_deleted_collection_leaves_no_namespace(self, upstash_vector, options):
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            store.insert("docs", [make("a")])
            assert len(upstash_vector.spaces(options["namespace"])) == 4
            store.delete_collection("docs")
        left = [name for _, name in upstash_vector.spaces(options["namespace"])]
        assert sorted(left) == [f"{options['namespace']}praison_collections{end}" for end in ("", "-claims")]


class TestBadWeather(RefusalTests):
    sync, async_ = UpstashVectorKnowledgeStore, AsyncUpstashVectorKnowledgeStore
    key, refused, busy = "token", "check its token", "too many requests"

    @pytest.fixture
    def wrong_url(self, upstash_vector):
        return upstash_vector.url.replace(engines.PASSWORD, "wr0ng-t0ken"), "wr0ng"

    def test_a_quota_that_is_spent(self, fake, options):
        with UpstashVectorKnowledgeStore(**options) as store:
            store.create_collection("docs", 2)
            fake.order("spent", True)
            with pytest.raises(ConnectionFailedError, match="raise the plan"):
                store.count("docs")
            fake.order("spent", False)

    def test_a_client_that_is_handed_in_stays_open(self, upstash_vector, options):
        namespace = options["namespace"]
        with upstash_vector.client() as client:
            with UpstashVectorKnowledgeStore(client=client, namespace=namespace) as store:
                store.create_collection("docs", 2)
                store.insert("docs", [make("a")])
                assert ids(store.search("docs", [1.0, 0.0])) == ["a"]
            assert client.info().dimension == 1536


def test_requests_of_each_call(fake, options):
    """The table in the README."""
    fake.order("delay", 0)
    with UpstashVectorKnowledgeStore(**options) as store:
        store.create_collection("docs", 2)
        store.insert("docs", [make(str(number), (number, 1.0), n=number % 2) for number in range(30)])

        def requests_of(call):
            fake.order("asked")
            call()
            return len(fake.order("asked"))

        assert {
            "insert": requests_of(lambda: store.insert("docs", [make("new")])),
            "upsert": requests_of(lambda: store.upsert("docs", [make("new", n=2)])),
            "search": requests_of(lambda: store.search("docs", [1.0, 0.0])),
            "search with a filter": requests_of(lambda: store.search("docs", [1.0, 0.0], filters={"n": 1})),
            "search with a filter that few match": requests_of(
                lambda: store.search("docs", [1.0, 0.0], filters={"n": 2})
            ),
            "get": requests_of(lambda: store.get("docs", ["1", "2"])),
            "count": requests_of(lambda: store.count("docs")),
            "count with a filter": requests_of(lambda: store.count("docs", {"n": 1})),
            "delete": requests_of(lambda: store.delete("docs", ["1"])),
            "create": requests_of(lambda: store.create_collection("another", 2)),
        } == {
            "insert": 9,
            "upsert": 3,
            "search": 3,
            "search with a filter": 3,
            "search with a filter that few match": 4,
            "get": 2,
            "count": 2,
            "count with a filter": 3,
            "delete": 3,
            "create": 8,
        }
