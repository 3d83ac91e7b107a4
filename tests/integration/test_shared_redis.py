"""One database, reached by Redis' own protocol and by the REST interface of Upstash: both stores see the same data."""

from __future__ import annotations

import asyncio

import pytest

from praisonai_persistence_redis import RedisStateStore
from praisonai_persistence_upstash import AsyncUpstashStateStore, UpstashStateStore


@pytest.fixture
def stores(upstash):
    with (
        upstash.space() as options,
        RedisStateStore(upstash.redis_url()) as plain,
        UpstashStateStore(**options) as rest,
    ):
        yield plain, rest


VALUES = ["text", "nul \0 and \ud800", 1, 1.0, 10**30, True, None, {"a": [1, {"b": "é"}]}, "x" * 5000]


def test_values_and_hashes(stores):
    for one, other in (stores, stores[::-1]):
        for number, value in enumerate(VALUES):
            one.set(f"k{number}", value)
            assert other.get(f"k{number}") == value
            assert type(other.get(f"k{number}")) is type(value)
            one.hset("h", f"f{number}", value)
        assert other.hgetall("h") == {f"f{number}": value for number, value in enumerate(VALUES)}
        assert sorted(other.keys("k*")) == sorted(one.keys("k*")) == sorted(f"k{n}" for n in range(len(VALUES)))
        assert other.get_many([f"k{n}" for n in range(2000)]) == {f"k{n}": value for n, value in enumerate(VALUES)}
        assert one.clear() == len(VALUES) + 1
        assert other.keys() == []


def test_times_and_atomic_operations(stores):
    for one, other in (stores, stores[::-1]):
        one.set("a", 1, ttl=1000)
        assert 900 < other.ttl("a") <= 1000
        assert other.incr("a") == 2
        assert one.compare_and_set("a", 2, {"x": 1})
        assert not other.compare_and_set("a", 2, 3)
        assert not other.set_if_absent("a", 1)
        assert one.delete("a")
        assert not other.exists("a")


def test_increments_of_both_at_once(stores, upstash):
    plain, rest = stores

    async def main():
        async with AsyncUpstashStateStore(upstash.url) as other:
            await asyncio.gather(
                *(other.incr("n") for _ in range(100)), *(asyncio.to_thread(plain.incr, "n") for _ in range(100))
            )

    asyncio.run(main())
    assert plain.get("n") == rest.get("n") == 200
