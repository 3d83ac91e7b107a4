"""Upstash Redis against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import engines
import pytest
import upstash_redis
from lifecycles import Networked
from writers import RaceTests, assert_a_child_is_refused

from praisonai_persistence.errors import ConnectionFailedError, WrongTypeError
from praisonai_persistence.testing import StateStoreSuite, StoreSpec
from praisonai_persistence_upstash import AsyncUpstashStateStore, UpstashStateStore

STORES = {
    "sync": "praisonai_persistence_upstash:UpstashStateStore",
    "async_": "praisonai_persistence_upstash:AsyncUpstashStateStore",
}


class TestUpstashState(Networked, StateStoreSuite):
    backend = "upstash"

    @pytest.fixture
    def spec(self, upstash):
        with upstash.space() as options:
            yield StoreSpec("state", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"upstash://:t0ken-s3cret@127.0.0.1:{engines.free_port()}?https=false"
        return StoreSpec("state", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, upstash):
        return upstash


@pytest.fixture
def options(upstash):
    with upstash.space() as options:
        yield options


@pytest.fixture
def counted(options):
    """A store, and the requests that it has made."""
    with UpstashStateStore(**options) as store:
        store.connect()
        asked = []
        http = store._runner._held().client._http._client
        http.event_hooks = {**http.event_hooks, "request": [lambda request: asked.append(request.url.path)]}
        yield store, asked


def test_requests_of_each_call(counted):
    """The table in the README."""
    store, asked = counted

    def requests_of(call):
        asked.clear()
        call()
        return len(asked)

    calls = {
        "set": lambda: store.set("a", 1),
        "set a long text": lambda: store.set("a", "x" * 5000),
        "set with ttl": lambda: store.set("a", 1, ttl=60),
        "get": lambda: store.get("a"),
        "exists": lambda: store.exists("a"),
        "ttl": lambda: store.ttl("a"),
        "expire": lambda: store.expire("a", 60),
        "incr": lambda: store.incr("a"),
        "compare_and_set": lambda: store.compare_and_set("a", 2, 3),
        "set_if_absent": lambda: store.set_if_absent("a", 1),
        "set_many": lambda: store.set_many({f"k{number}": number for number in range(500)}),
        "get_many": lambda: store.get_many([f"k{number}" for number in range(500)]),
        "get_many of more": lambda: store.get_many([f"k{number}" for number in range(2500)]),
        "delete_many": lambda: store.delete_many([f"k{number}" for number in range(500)]),
        "hset": lambda: store.hset("h", "f", 1),
        "hget": lambda: store.hget("h", "f"),
        "hgetall": lambda: store.hgetall("h"),
        "keys": lambda: store.keys("a*"),
        "hdel": lambda: store.hdel("h", "f"),
        "delete": lambda: store.delete("a"),
    }
    for call in calls.values():  # scripts are sent with their first use
        call()
    store.set("a", 1)
    store.set_many({f"k{number}": number for number in range(500)})
    found = {name: requests_of(call) for name, call in calls.items()}
    assert found == dict.fromkeys(calls, 1)
    assert requests_of(lambda: store.get_many([f"k{number}" for number in range(2500)])) == 1
    assert asked == ["/pipeline"]
    store.set("n", 1)
    assert requests_of(lambda: store.compare_and_set("n", 1.0, 2)) == 2
    assert requests_of(lambda: store.incr("n", 2**63 - 1)) == 3


def test_a_wrong_token(options):
    url = options["url"].replace(engines.PASSWORD, "wr0ng-t0ken")

    async def main():
        async with AsyncUpstashStateStore(url) as store:
            with pytest.raises(ConnectionFailedError, match="check its token") as caught:
                await store.get("a")
            return caught.value

    with UpstashStateStore(url) as store:
        for call in (store.connect, lambda: store.set("a", 1)):
            with pytest.raises(ConnectionFailedError, match="check its token") as caught:
                call()
            assert "wr0ng" not in str(caught.value)
        assert "wr0ng" not in repr(store)
    assert "wr0ng" not in str(asyncio.run(main()))


def test_a_server_of_another_kind(gcs):
    with UpstashStateStore(gcs.url, token="t0ken") as store:
        with pytest.raises(ConnectionFailedError, match="check the URL|no such") as caught:
            store.connect()
        assert "t0ken" not in str(caught.value)


def test_a_client_that_is_handed_in_stays_open(options):
    parts = urlsplit(options["url"])
    client = upstash_redis.Redis(
        f"http://{parts.hostname}:{parts.port}", engines.PASSWORD, rest_encoding=None, allow_telemetry=False
    )
    with client:
        with UpstashStateStore(client=client) as store:
            store.set("a", 1)
            assert store.incr("a") == 2
            assert_a_child_is_refused(store)
            assert store.incr("a") == 3
        assert client.ping() == "PONG"


def test_large_increments_are_exact(options):
    with UpstashStateStore(**options) as store:
        for start in (2**53, 2**62, -(2**62), 2**63 - 1, 10**30):
            store.set("n", start)
            assert store.incr("n") == start + 1
            assert store.get("n") == start + 1


def test_a_wrong_type_in_every_script(options):
    with UpstashStateStore(**options) as store:
        store.hset("h", "f", 1)
        store.set("a", 1)
        for call in (
            lambda: store.incr("h"),
            lambda: store.get_many(["a", "h"]),
            lambda: store.get_many(["h", *(f"k{number}" for number in range(1500))]),
            lambda: store.set("h", "x" * 5000),
            lambda: store.set_many({"a": 2, "h": 2}),
        ):
            with pytest.raises(WrongTypeError):
                call()
        assert (store.get("a"), store.hgetall("h")) == (1, {"f": 1})


class TestRaces(RaceTests):
    backend, state = "async_upstash", UpstashStateStore

    @pytest.fixture
    def place(self, options):
        return options
