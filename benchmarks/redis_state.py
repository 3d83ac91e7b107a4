"""Measures the Redis state stores beside hand-written programs on the same server, in one run, as ratios.

    python benchmarks/redis_state.py [--url URL] [--rounds N] [--quick] [--check]

Without a URL the server is found as for the integration tests. Ours and theirs take turns. The hand-written program is
redis-py with ``json.dumps`` and ``json.loads``; it checks nothing, and its ``set`` overwrites a hash silently. Both
sides use the same parser, hiredis where that is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import redis
import redis.asyncio
from measuring import Report, clock, interleaved, servers

from praisonai_persistence_redis import AsyncRedisStateStore, RedisStateStore

VALUE = {"step": 7, "plan": ["search", "read", "answer"], "notes": "what an agent keeps between two turns " * 4}
SECTIONS = ("Redis state, sync", "Redis state, async")
MANY = 100
TASKS = 32
PREFIX = f"bench{uuid.uuid4().hex[:8]}_"
THEIRS = f"{PREFIX}bare:"


def timed(body: Callable[[], Any], times: int) -> Callable[[], float]:
    """Return a program that does something so many times and returns the seconds that it took."""

    def program() -> float:
        start = clock()
        for _ in range(times):
            body()
        return clock() - start

    return program


def sync_workloads(report: Report, url: str, rounds: int, times: int) -> None:
    """Measure the sync store."""
    values = {f"key-{number}": VALUE for number in range(MANY)}
    names = [f"{THEIRS}{key}" for key in values]
    with RedisStateStore(url, table_prefix=PREFIX) as store, redis.Redis.from_url(url) as client:
        work: dict[str, tuple[Callable[[], Any], Callable[[], Any], int]] = {
            "set": (lambda: store.set("key", VALUE), lambda: client.set(f"{THEIRS}key", json.dumps(VALUE)), times),
            "get": (lambda: store.get("key"), lambda: json.loads(client.get(f"{THEIRS}key")), times),
            "incr": (lambda: store.incr("n"), lambda: client.incr(f"{THEIRS}n"), times),
            f"set_many of {MANY}": (
                lambda: store.set_many(values),
                lambda: client.mset({f"{THEIRS}{key}": json.dumps(value) for key, value in values.items()}),
                times // 20,
            ),
            f"get_many of {MANY}": (
                lambda: store.get_many(values),
                lambda: {key: json.loads(text) for key, text in zip(values, client.mget(names), strict=True)},
                times // 20,
            ),
        }
        for what, (ours, bare, calls) in work.items():
            ours(), bare()
            taken = interleaved(rounds, {"ours": timed(ours, calls), "bare": timed(bare, calls)}, 5)
            add(report, SECTIONS[0], what, taken, calls)
        store.clear()
        client.delete(*names, f"{THEIRS}key", f"{THEIRS}n")


def add(report: Report, section: str, what: str, taken: dict[str, list[float]], calls: int) -> None:
    """Add a line: rates of single calls, times of those with many keys."""
    if "many" in what:
        milliseconds = {name: [seconds / calls * 1000 for seconds in found] for name, found in taken.items()}
        limit = 1.3 if what.startswith("get") else None
        report.compare(section, what, "ms", milliseconds["ours"], milliseconds["bare"], at_most=limit)
        return
    rates = {name: [calls / seconds for seconds in found] for name, found in taken.items()}
    at_least = 0.85 if what.startswith(("get", "set")) else {"append": 0.8, "resume": 1 / 1.3}.get(what.split()[0])
    report.compare(section, what, "1/s", rates["ours"], rates["bare"], at_least=at_least)


async def async_workloads(report: Report, url: str, rounds: int, times: int) -> None:
    """Measure the async store, one call after the other and many tasks at once."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=10)
    client: Any = redis.asyncio.Redis(connection_pool=pool)
    async with AsyncRedisStateStore(url, table_prefix=PREFIX) as store:

        async def bare_get() -> Any:
            return json.loads(await client.get(f"{THEIRS}key"))

        work: dict[str, tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = {
            "set": (lambda: store.set("key", VALUE), lambda: client.set(f"{THEIRS}key", json.dumps(VALUE))),
            "get": (lambda: store.get("key"), bare_get),
        }

        async def measure(body: Callable[[], Awaitable[Any]], tasks: int) -> float:
            async def worker() -> None:
                for _ in range(times // tasks):
                    await body()

            start = clock()
            await asyncio.gather(*(worker() for _ in range(tasks)))
            return clock() - start

        for what, (ours, bare) in work.items():
            for tasks in (1, TASKS):
                taken: dict[str, list[float]] = {"ours": [], "bare": []}
                await ours()
                await bare()
                for number in range(rounds):
                    for name, body in (("ours", ours), ("bare", bare))[:: -1 if number % 2 else 1]:
                        taken[name].append(await measure(body, tasks))
                label = what if tasks == 1 else f"{what}, {tasks} tasks, 10 connections"
                add(report, SECTIONS[1], label, taken, times // tasks * tasks)
        await store.clear()
        await client.delete(f"{THEIRS}key")
    await client.aclose()
    await pool.disconnect()


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures the Redis state stores beside hand-written programs.")
    parser.add_argument("--url", help="of a server; keys of a prefix of their own are written and removed")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="5 rounds, and less in each")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    arguments = parser.parse_args()
    rounds, times = (5, 320) if arguments.quick else (arguments.rounds, 960)
    engines: Any = None
    if arguments.url is None:
        engines = servers()
        arguments.url = engines.engine("redis").url
    report = Report()
    try:
        with redis.Redis.from_url(arguments.url) as client:
            facts: Any = client.info()
        print(f"Redis {facts['redis_version']}, appendonly {facts['aof_enabled']}, redis-py {redis.__version__}")
        sync_workloads(report, arguments.url, rounds, times)
        asyncio.run(async_workloads(report, arguments.url, rounds, times))
        for section in SECTIONS:
            report.show(section)
    finally:
        if engines is not None:
            engines.shut_down()
    missed = [line.what for line in report.missed]
    print(f"\nmissed: {', '.join(missed) or 'nothing'}; {rounds} rounds")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
