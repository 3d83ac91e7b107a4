"""Google Cloud Storage against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import json
import time
from urllib.parse import urlsplit

import engines
import pytest
from writers import RaceTests, assert_a_child_is_refused

from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError
from praisonai_persistence.testing import Endpoint, StateStoreSuite, StoreSpec
from praisonai_persistence_gcs import GCSStateStore

pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")
"""The client says so where gRPC is installed, which the stores do not use."""

STORES = {
    "sync": "praisonai_persistence_gcs:GCSStateStore",
    "async_": "praisonai_persistence_gcs:AsyncGCSStateStore",
}


class TestGCSState(StateStoreSuite):
    backend = "gcs"
    many = 1_100  # a page has 1,000, and each key is three requests
    at_once = 200
    overlapping = 5

    @pytest.fixture
    def spec(self, gcs):
        with gcs.space() as options:
            yield StoreSpec("state", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        at = f"http://127.0.0.1:{engines.free_port()}"
        return StoreSpec("state", **STORES, options={"url": "gcs://nowhere", "emulator_host": at, "connect_timeout": 1})

    @pytest.fixture
    def server(self, gcs):
        return gcs

    @pytest.fixture
    def spec_through(self, spec):
        server = urlsplit(spec.options["emulator_host"])
        return Endpoint(
            server.hostname,
            server.port,
            lambda host, port: spec.with_options(emulator_host=f"http://{host}:{port}"),
        )


@pytest.fixture
def options(gcs):
    with gcs.space() as options:
        yield options


@pytest.fixture
def requests_of(gcs, options):
    """Returns how many requests a call makes; the store has been used already."""
    with GCSStateStore(**options) as store:
        store.set("ready", 1, ttl=1000)

        def count(call):
            gcs.execute("GET /count")
            call(store)
            return gcs.execute("GET /count")[0][0]

        yield count


def test_requests_of_each_call(requests_of):
    """The table in the README."""
    assert requests_of(lambda store: store.set("a", 1)) == 2
    assert requests_of(lambda store: store.set("a", 2, ttl=60)) == 1
    for read in (GCSStateStore.get, GCSStateStore.exists, GCSStateStore.ttl):
        assert requests_of(lambda store, read=read: read(store, "a")) == 1
    assert requests_of(lambda store: store.compare_and_set("a", 3, 4)) == 1
    assert requests_of(lambda store: store.set_if_absent("a", 1)) == 1
    for write in (
        lambda store: store.set("a", 1),
        lambda store: store.incr("a"),
        lambda store: store.expire("a", 50),
        lambda store: store.compare_and_set("a", 2, 4),
        lambda store: store.delete("a"),
    ):
        requests_of(lambda store: (store._steps._known.clear(), store.set("a", 2), store._steps._known.clear()))
        assert requests_of(write) == 2
        requests_of(lambda store: store.set("a", 2))
        assert requests_of(write) == 1
    assert requests_of(lambda store: store.hset("h", "f", 1)) == 2
    assert requests_of(lambda store: store.hget("h", "f")) == requests_of(lambda store: store.hgetall("h")) == 1
    assert requests_of(lambda store: store.hset("h", "g", 1)) == requests_of(lambda store: store.hdel("h", "f")) == 1
    many = {f"k{number}": number for number in range(20)}
    assert requests_of(lambda store: store.set_many(many)) == 2 * 20 + 3
    assert requests_of(lambda store: store.set_many(many)) == 3 * 20 + 3
    assert requests_of(lambda store: store.get_many(["k1", "k2"])) == 2
    assert requests_of(lambda store: store.get_many([*many, "unknown"])) == 1 + 20
    assert requests_of(lambda store: store.keys("k*")) == 1
    assert requests_of(lambda store: store.delete_many(list(many))) == 3 * 20 + 3


def test_a_service_that_is_too_busy_is_asked_again(gcs, options):
    with GCSStateStore(**options) as store:
        store.set("a", 1)
        gcs.execute("POST /busy", 2)
        assert store.incr("a") == 2
        gcs.execute("POST /busy", 5)
        store.set_many({"a": 3, "b": 4})
        assert store.get_many(["a", "b"]) == {"a": 3, "b": 4}


def test_a_service_that_stays_too_busy_is_given_up_in_time(gcs, options):
    with GCSStateStore(**options, timeout=2) as store:
        store.set("a", 1)
        gcs.execute("POST /busy", 1000)
        try:
            for call in (lambda: store.set("a", 2), lambda: store.set_many({"a": 2, "b": 2})):
                begin = time.monotonic()
                with pytest.raises(ConnectionFailedError, match="too many requests"):
                    call()
                assert time.monotonic() - begin < 4
        finally:
            gcs.execute("POST /busy", 0)
        assert store.get("a") == 1


def test_a_bucket_that_is_not_there(gcs, options):
    with GCSStateStore("gcs://no-such-bucket", emulator_host=gcs.url) as store:
        for call in (store.connect, lambda: store.set("a", 1), lambda: store.get_many(["a", "b"])):
            with pytest.raises(ConfigurationError, match="gcloud storage buckets create gs://no-such-bucket"):
                call()


def test_a_bucket_that_is_deleted_under_an_open_store(gcs, options):
    with GCSStateStore(**options) as store:
        store.set("a", 1)
        gcs.drop(options["url"].partition("//")[2])
        for call in (lambda: store.get("a"), lambda: store.set("a", 2), store.keys, lambda: store.delete("a")):
            with pytest.raises(ConfigurationError, match="gcloud storage buckets create"):
                call()


def test_objects_are_where_the_readme_says_and_can_be_listed_without_their_content(gcs, options):
    bucket = options["url"].partition("//")[2]
    with GCSStateStore(**options) as store:
        store.set("a/é", "x" * 1000, ttl=3600)
    (found,) = gcs.execute(f"GET /storage/v1/b/{bucket}/o")[0][0]["items"]
    assert found["name"] == "praisonai_state/praison_state/keys/a=2f=c3=a9"
    fields = json.loads(found["metadata"]["fields"])
    assert fields["key"] == "a/é"
    assert abs(fields["ends"] - time.time() - 3600) < 60
    assert found["customTime"] > found["timeCreated"]


def test_a_deletion_that_was_overtaken_deletes_nothing(gcs, options):
    """The emulator ignores this precondition; the proxy in front of it does not."""
    with GCSStateStore(**options) as store, GCSStateStore(**options) as other:
        store.set("a", 1)
        remove = store._steps.engine._remove

        def overtaken(client, key, version):
            if other.get("a") == 1:
                other.set("a", 2)
            return remove(client, key, version)

        store._steps.engine._remove = overtaken
        assert store.delete("a") is True
        assert other.get("a") is None
        assert store.set_if_absent("a", 3) is True


def test_a_value_of_twenty_megabytes(options):
    value = "0123456789" * 2_000_000
    with GCSStateStore(**options) as store:
        store.set("large", value)
        assert store.get("large") == value
        assert store.delete("large") is True


def test_a_client_that_is_handed_in(gcs, options):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    bucket = options["url"].partition("//")[2]
    client = Client("tests", AnonymousCredentials(), client_options={"api_endpoint": gcs.url})
    with GCSStateStore(bucket_name=bucket, client=client) as store:
        store.set("a", 1)
        assert_a_child_is_refused(store)
        assert store.incr("a") == 2
    assert client.bucket(bucket).exists()
    client.close()


class TestRaces(RaceTests):
    backend, state = "async_gcs", GCSStateStore
    increments = 1  # the service takes one write of an object each second

    @pytest.fixture
    def place(self, options):
        return options
