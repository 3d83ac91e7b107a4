"""Redis against the conformance kit, and what the kit does not ask of a server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import engines
import pytest
import redis as driver
import redis.asyncio as async_driver
from lifecycles import Networked
from proxy import Proxy

from praisonai_persistence import KnowledgeDocument, open_knowledge_store, open_state_store
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence.testing import KnowledgeStoreSuite, StateStoreSuite, StoreSpec
from praisonai_persistence_redis import (
    AsyncRedisKnowledgeStore,
    AsyncRedisStateStore,
    RedisKnowledgeStore,
    RedisStateStore,
)

MODULE = "praisonai_persistence_redis"


def spec_of(kind: str, url: str, **options: Any) -> StoreSpec:
    name = f"Redis{kind.capitalize()}Store"
    return StoreSpec(kind, sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options={"url": url, **options})


class OnRedis(Networked):
    backend = "redis"
    kind: str

    @pytest.fixture
    def spec(self, redis):
        with redis.space() as options:
            yield spec_of(self.kind, **options, retry_timeout=1)

    @pytest.fixture
    def unreachable_spec(self):
        url = f"redis://u:p4ssw0rd-x@127.0.0.1:{engines.free_port()}/0"
        return spec_of(self.kind, url, connect_timeout=1, retry_timeout=1)

    @pytest.fixture
    def server(self, redis):
        return redis


class TestRedisState(OnRedis, StateStoreSuite):
    pass


class TestRedisKnowledge(OnRedis, KnowledgeStoreSuite):
    """Vector sets: these databases are not the first one."""


class OnRedisSearch(OnRedis):
    index: str

    @pytest.fixture
    def spec(self, redis_search):
        with redis_search.space() as options:
            yield spec_of(self.kind, **options, retry_timeout=1, index=self.index)

    @pytest.fixture
    def server(self, redis_search):
        return redis_search


class TestRedisSearchGraph(OnRedisSearch, KnowledgeStoreSuite):
    backend = "redis (search, hnsw)"
    index = "auto"


class TestRedisSearchFlat(OnRedisSearch, KnowledgeStoreSuite):
    backend = "redis (search, flat)"
    index = "flat"


# ------------------------------------------------------------------------------------------------- beside the kit


@pytest.fixture
def options(redis):
    with redis.space() as options:
        yield options


@pytest.fixture
def open_sync(options):
    """Opens sync state stores on the data of the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **more: stack.enter_context(RedisStateStore(**{**options, **more}))


@pytest.fixture
def admin(redis):
    """A plain client for what an administrator does; it puts back what was configured."""
    with driver.Redis.from_url(redis.url) as client:
        before = client.config_get("maxmemory*")
        yield client
        for name in ("maxmemory", "maxmemory-policy"):
            client.config_set(name, before[name])


def in_loop(body: Callable[[Any], Awaitable[Any]], store: type[Any] = AsyncRedisStateStore, **options: Any) -> Any:
    """Run a coroutine function with an async store."""

    async def main() -> Any:
        async with store(**options) as opened:
            return await body(opened)

    return asyncio.run(main())


def url_with(url: str, **changes: Any) -> str:
    parts = urlsplit(url)
    found = {name: changes.get(name, getattr(parts, name)) for name in ("username", "password", "hostname", "port")}
    user = f"{found['username'] or ''}:{found['password']}@" if found["password"] else ""
    return f"{changes.get('scheme', 'redis')}://{user}{found['hostname']}:{found['port']}{parts.path}"


def both(options: dict[str, Any], expected: type[Exception], words: str, secret: str | None = None) -> None:
    """Both modes: connecting, and writing, raise an error of that type with those words and without the secret."""

    async def body(store: Any) -> list[Exception]:
        errors = []
        for call in (lambda: store.connect(), lambda: store.set("k", "t0p-s3cret")):
            with pytest.raises(expected) as caught:
                await call()
            errors.append(caught.value)
        return errors

    errors = in_loop(body, **options)
    with RedisStateStore(**options) as store:
        for call in (store.connect, lambda: store.set("k", "t0p-s3cret")):
            with pytest.raises(expected) as caught:
                call()
            errors.append(caught.value)
    for error in errors:
        assert words in str(error), str(error)
        assert "t0p-s3cret" not in str(error)
        assert secret is None or secret not in str(error)


class TestTrouble:
    """Each a typed error with the way out, within the timeout."""

    def test_wrong_password(self, options):
        url = url_with(options["url"], password="wr0ng-Pa55")
        both({"url": url}, ConnectionFailedError, "check user and password", "wr0ng-Pa55")

    def test_no_password(self, options):
        both({"url": url_with(options["url"], password=None)}, ConnectionFailedError, "give a password")

    def test_a_database_that_is_not_there(self, redis):
        url = f"{redis.url.rpartition('/')[0]}/99999"
        both({"url": url}, ConnectionFailedError, "no database of that number", engines.PASSWORD)

    def test_refused_port(self, options):
        port = engines.free_port()
        start = time.monotonic()
        both({"url": url_with(options["url"], port=port)}, ConnectionFailedError, str(port), engines.PASSWORD)
        assert time.monotonic() - start < 5, "refused at once"

    def test_a_host_that_never_answers(self):
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(16)
            url = f"redis://u:s3cr3t@127.0.0.1:{deaf.getsockname()[1]}/0"
            start = time.monotonic()
            both({"url": url, "connect_timeout": 1, "command_timeout": 1}, ConnectionFailedError, "imeout", "s3cr3t")
            assert time.monotonic() - start < 20

    def test_a_server_that_evicts_is_refused(self, options, admin):
        admin.config_set("maxmemory", "1gb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        both(options, ConfigurationError, "allow_eviction=True")
        with RedisKnowledgeStore(**options) as store, pytest.raises(ConfigurationError, match="noeviction"):
            store.connect()
        with RedisStateStore(**options, allow_eviction=True) as store:
            store.set("k", 1)
            assert store.get("k") == 1
        admin.config_set("maxmemory-policy", "volatile-lru")
        with RedisStateStore(**options) as store:
            assert store.get("k") == 1

    def test_a_full_server_refuses_and_keeps_what_it_has(self, options, open_sync, admin):
        store = open_sync()
        store.set_many({"a": "before", "n": 1})
        store.hset("h", "f", 1)
        knowledge = RedisKnowledgeStore(**options)
        knowledge.create_collection("docs", 2)
        document = KnowledgeDocument(content="x", embedding=[1.0, 0.0])

        async def body(store):
            for call in (lambda: store.set("a", "lost"), lambda: store.incr("n"), lambda: store.hset("h", "f", 2)):
                with pytest.raises(BackendError, match="maxmemory"):
                    await call()

        with knowledge:
            admin.config_set("maxmemory-policy", "noeviction")
            admin.config_set("maxmemory", 1)
            for call in (
                lambda: store.set("a", "lost"),
                lambda: store.set_many({"a": 1, "b": 2}),
                lambda: store.set_if_absent("b", 1),
                lambda: store.compare_and_set("a", "before", "lost"),
                lambda: store.incr("n"),
                lambda: store.hset("h", "f", 2),
                lambda: knowledge.insert("docs", [document]),
            ):
                with pytest.raises(BackendError, match="maxmemory"):
                    call()
            in_loop(body, **options)
            assert store.get_many(["a", "b", "n"]) == {"a": "before", "n": 1}
            assert store.hgetall("h") == {"f": 1}
            assert knowledge.count("docs") == 0
            assert store.delete("a") is True, "what makes room works"
            admin.config_set("maxmemory", 0)
            store.set("a", "after")
            knowledge.insert("docs", [document])
            assert knowledge.search("docs", [1.0, 0.0])[0].content == "x"

    def test_a_replica_takes_no_writes(self, redis, options, open_sync, admin):
        if not redis.restartable:
            pytest.skip("the server of the environment's URL is not ours to reconfigure")
        store = open_sync()
        store.set("k", 1)
        admin.replicaof("127.0.0.1", 1)
        try:
            assert store.get("k") == 1

            async def body(store):
                with pytest.raises(BackendError, match="primary"):
                    await store.set("k", 2)
                with pytest.raises(BackendError, match="primary"):
                    await store.hset("h", "f", 2)

            in_loop(body, **options)
            for call in (lambda: store.set("k", 2), lambda: store.incr("k"), lambda: store.clear()):
                with pytest.raises(BackendError, match="primary"):
                    call()
        finally:
            admin.replicaof("NO", "ONE")
        assert store.incr("k") == 2

    def test_a_user_with_few_rights(self, options, admin):
        try:
            admin.execute_command("ACL", "SETUSER", "reader", "on", ">r34d", "~*", "+get", "+select", "+client|setinfo")
            url = url_with(options["url"], username="reader", password="r34d")
            with RedisStateStore(url) as store:
                assert store.get("k") is None, "the probe is not allowed, and that is no obstacle"
                with pytest.raises(BackendError, match="grant the user"):
                    store.set("k", 1)
                with pytest.raises(BackendError, match="grant the user"):
                    store.hset("k", "f", "t0p-s3cret")
            wide = ("%R~{praison_state}:*", "%W~{praison_state}:*", "+@all", "-config")
            admin.execute_command("ACL", "SETUSER", "writer", "on", ">wr1te", *wide)
            with RedisStateStore(url_with(options["url"], username="writer", password="wr1te")) as store:
                store.set_many({"k": 1, "l": 2})
                assert store.incr("k") == 2
                assert sorted(store.keys()) == ["k", "l"]
                assert store.clear() == 2
        finally:
            admin.execute_command("ACL", "DELUSER", "reader", "writer")

    def test_a_foreign_type_under_our_key(self, open_sync, admin, options):
        with driver.Redis.from_url(options["url"]) as plain:
            plain.rpush("{praison_state}:list", 1)
        store = open_sync()
        for call in (store.get, store.hgetall, lambda key: store.set(key, 1), lambda key: store.get_many([key])):
            with pytest.raises(WrongTypeError):
                call("list")

    def test_clear_leaves_what_is_not_ours(self, open_sync, options):
        with driver.Redis.from_url(options["url"]) as plain:
            foreign = [
                "praison_state:a",
                "{praison_state",
                "{praison_statex}:a",
                "{praison_*}:a",
                "x{praison_state}:a",
                "y",
            ]
            for key in foreign:
                plain.set(key, "theirs")
            store = open_sync()
            store.set_many({"a": 1, "b*": 2})
            assert sorted(store.keys()) == ["a", "b*"]
            assert store.clear() == 2
            assert sorted(key.decode() for key in plain.scan_iter()) == sorted(foreign)


class TestResilience:
    @pytest.mark.slow
    def test_restarts_under_eight_writers(self, redis, open_sync):
        """No increment is lost or doubled that was acknowledged, and the same store goes on."""
        if not redis.restartable:
            pytest.skip("the server is not ours to restart")
        store = open_sync(retry_timeout=60)
        store.set("n", 0)
        done = threading.Event()
        counts = [[0, 0] for _ in range(8)]  # acknowledged, unknown

        def write(worker: int) -> None:
            while not done.is_set():
                try:
                    store.incr("n")
                    store.get("n")
                    counts[worker][0] += 1
                except ConnectionFailedError:
                    counts[worker][1] += 1

        with ThreadPoolExecutor(8) as pool:
            writers = [pool.submit(write, worker) for worker in range(8)]
            for _ in range(3):
                seen = store.get("n")
                while store.get("n") < seen + 200:
                    pass
                redis.restart()
            done.set()
            for writer in writers:
                writer.result(60)
        acknowledged, unknown = (sum(column) for column in zip(*counts, strict=True))
        assert acknowledged <= store.get("n") <= acknowledged + unknown

    def test_a_killed_server_with_an_append_only_file_loses_nothing(self, redis, open_sync):
        """The file is written before the answer; only a crash of the whole machine needs appendfsync always."""
        if not redis.restartable:
            pytest.skip("the server is not ours to kill")
        store = open_sync(retry_timeout=30)
        acknowledged = 0
        killer = threading.Thread(target=redis.kill)
        try:
            while True:
                acknowledged = store.incr("n")
                store.hset("h", str(acknowledged), acknowledged)
                if acknowledged == 300:
                    killer.start()
        except ConnectionFailedError:
            killer.join()
        finally:
            redis.start()
        assert acknowledged >= 300
        assert store.get("n") in {acknowledged, acknowledged + 1}
        assert set(store.hgetall("h")) >= {str(number) for number in range(1, acknowledged)}

    def test_a_connection_that_died_while_idle_is_not_used(self, open_sync, admin, options):
        store = open_sync()
        store.set("n", 1)
        admin.client_kill_filter(_type="normal", skipme=True)
        assert store.incr("n") == 2, "an operation that may not be repeated works at once"

        async def body(store):
            await store.set("n", 1)
            await asyncio.to_thread(admin.client_kill_filter, _type="normal", skipme=True)
            assert await store.incr("n") == 2

        in_loop(body, **options)

    def test_an_answer_that_is_lost_is_no_second_increment(self, options, admin):
        """The connection is cut after the server has the command: the caller hears of it, and nothing is repeated."""
        target = urlsplit(options["url"])
        with Proxy(target.hostname, target.port) as proxy:
            url = url_with(options["url"], hostname="127.0.0.1", port=proxy.port)
            with RedisStateStore(url, max_size=1) as store:
                store.set("n", 1)
                proxy.lose_next_answer()
                with pytest.raises(ConnectionFailedError):
                    store.incr("n")
                assert store.get("n") == 2

            async def body(store):
                await store.connect()
                proxy.lose_next_answer()
                with pytest.raises(ConnectionFailedError):
                    await store.incr("n")
                assert await store.get("n") == 3

            in_loop(body, url=url, max_size=1)

    def test_an_answer_that_is_lost_to_many_at_once(self, options):
        """Commands that went together fail together: a read is repeated, a write is told of."""
        target = urlsplit(options["url"])
        with Proxy(target.hostname, target.port) as proxy:
            url = url_with(options["url"], hostname="127.0.0.1", port=proxy.port)

            async def body(store):
                await store.set("kept", "here")
                proxy.hold()
                tasks = [asyncio.create_task(store.get("kept"))]  # is alone under way, and the others wait for it
                tasks += [asyncio.create_task(store.incr(f"n{number}")) for number in range(8)]
                tasks += [asyncio.create_task(store.get("kept")) for _ in range(8)]
                tasks[0].add_done_callback(lambda _: proxy.lose_next_answer())  # before the others can have gone
                await asyncio.sleep(0)
                proxy.release()
                found = await asyncio.gather(*tasks, return_exceptions=True)
                assert [type(answer) for answer in found[1:9]] == [ConnectionFailedError] * 8
                assert found[9:] == ["here"] * 8
                assert await store.get_many([f"n{number}" for number in range(8)]) == dict.fromkeys(
                    (f"n{number}" for number in range(8)), 1
                )

            in_loop(body, url=url, max_size=1)

    def test_scripts_survive_that_the_server_forgets_them(self, open_sync, admin):
        store = open_sync()
        store.set_many({"k": 1})
        admin.script_flush()
        store.set_many({"k": 2, "long": "x" * 10_000})
        store.set("long", "y" * 10_000)
        assert store.get_many(["k", "long"]) == {"k": 2, "long": "y" * 10_000}

    def test_many_callers_on_a_small_pool(self, open_sync, options):
        store = open_sync(max_size=3)
        with ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(lambda _: store.incr("n"), range(400))) == list(range(1, 401))

        async def body(store):
            return await asyncio.gather(*(store.incr("m") for _ in range(400)))

        assert sorted(in_loop(body, **options, max_size=3)) == list(range(1, 401))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_of_commands_that_go_together_each_has_its_own_outcome(self, options, admin):
        async def body(store):
            await store.hset("hash", "field", 1)
            await store.set("n", 0)
            commands = admin.info("stats")["total_reads_processed"]
            found = await asyncio.gather(
                *(store.incr("hash" if number % 4 == 0 else "n") for number in range(100)), return_exceptions=True
            )
            trips = admin.info("stats")["total_reads_processed"] - commands
            assert [type(answer) for answer in found[::4]] == [WrongTypeError] * 25
            assert sorted(answer for answer in found if type(answer) is int) == list(range(1, 76))
            assert trips < 20, "they did not go together"

            waiting = [asyncio.create_task(store.incr("n")) for _ in range(100)]
            await asyncio.sleep(0)
            for task in waiting[1:50]:
                task.cancel()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            done = [answer for answer in found if type(answer) is int]
            assert len(done) == 51, "a cancelled caller takes nobody along"
            assert await store.get("n") == 75 + 51, "what waited for its turn was not sent"

        in_loop(body, **options)

    def test_a_forked_child_has_connections_of_its_own(self, open_sync):
        store = open_sync()
        store.set("n", 0)
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                for _ in range(50):
                    store.incr("n")
                store.close()
                status = 0
            os._exit(status)
        for _ in range(50):
            store.incr("n")
        assert os.waitpid(child, 0)[1] == 0
        assert store.incr("n") == 101

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
    def test_one_loop_after_the_other(self, options):
        async def use(store: AsyncRedisStateStore) -> int:
            return await store.incr("n")

        store = AsyncRedisStateStore(**options)
        assert asyncio.run(use(store)) == 1
        assert asyncio.run(use(store)) == 2
        asyncio.run(store.close())
        gc.collect()  # a loop that is closed cannot close its sockets; Python says so here, not in another test


class TestHandedIn:
    @pytest.mark.parametrize("decode", [False, True])
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_a_client(self, options, decode, protocol):
        with driver.Redis.from_url(options["url"], decode_responses=decode, protocol=protocol) as client:
            with RedisStateStore(client=client) as store:
                use_state(store)
            with RedisKnowledgeStore(client=client) as store:
                use_knowledge(store)
            assert client.ping(), "it is not closed"

    @pytest.mark.parametrize("decode", [False, True])
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_an_async_client(self, options, decode, protocol):
        async def main():
            async with async_driver.Redis.from_url(
                options["url"], decode_responses=decode, protocol=protocol
            ) as client:
                async with AsyncRedisStateStore(client=client) as store:
                    await store.set("k", {"a": "é"})
                    await store.hset("h", "f", 1)
                    assert await store.get_many(["k"]) == {"k": {"a": "é"}}
                    assert await store.hgetall("h") == {"f": 1}
                    assert sorted(await store.keys()) == ["h", "k"]
                async with AsyncRedisKnowledgeStore(client=client) as store:
                    await store.create_collection("docs", 2)
                    await store.insert("docs", [KnowledgeDocument(id="é", content="x", embedding=[3.0, 4.0])])
                    found = await store.search("docs", [3.0, 4.0], with_embeddings=True)
                    assert [(item.id, item.embedding, item.score) for item in found] == [("é", [3.0, 4.0], 1.0)]
                assert await client.ping(), "it is not closed"

        asyncio.run(main())

    def test_a_client_of_the_other_mode_is_refused(self, options):
        with (
            driver.Redis.from_url(options["url"]) as client,
            pytest.raises(ConfigurationError, match=r"redis\.asyncio"),
        ):
            AsyncRedisStateStore(client=client)
        with pytest.raises(ConfigurationError, match="redis, not"):
            RedisStateStore(client=async_driver.Redis())


def use_state(store: Any) -> None:
    """Every operation, once."""
    keys = {f"key-{number}": [number, "é"] for number in range(1500)}
    store.set_many(keys)
    assert store.get_many([*keys, "unknown"]) == keys
    assert store.set_if_absent("key-0", 1) is False
    assert store.compare_and_set("key-0", [0.0, "é"], 1.0) is True
    assert store.compare_and_set("key-0", 1, 7) is True
    assert store.incr("key-0") == 8
    assert store.incr("key-0", 2**70) == 8 + 2**70
    store.hset("hash", "f", {"x": None})
    store.hset("hash", "g", 1)
    assert store.hget("hash", "f") == {"x": None}
    assert store.hgetall("hash") == {"f": {"x": None}, "g": 1}
    assert store.hdel("hash", "f", "h") == 1
    for call in (
        store.get,
        store.incr,
        lambda key: store.set_many({"a": 1, key: 2}),
        lambda key: store.get_many([key]),
    ):
        with pytest.raises(WrongTypeError):
            call("hash")
    assert store.expire("hash", 100) is True
    assert 0 < store.ttl("hash") <= 100
    assert store.exists("hash") is True
    assert set(store.keys()) == {*keys, "hash"}
    assert store.keys("key-149[0-4]") == [] or len(store.keys("key-149[0-4]")) == 5
    assert store.delete_many(["key-1", "key-2", "unknown"]) == 2
    assert store.delete("hash") is True
    assert store.clear() == 1498
    assert store.keys() == []


def use_knowledge(store: Any) -> None:
    """Every operation, once."""
    for distance in ("cosine", "dot", "euclidean"):
        store.create_collection(distance, 3, distance, {"made": "here"})
        store.create_collection(distance, 3, distance, {"made": "here"})
        documents = [
            KnowledgeDocument(
                id=f"d{n}", content=f"document {n}", embedding=[1.0, n, 0.5], metadata={"n": n, "odd": n % 2 == 1}
            )
            for n in range(700)
        ]
        store.insert(distance, documents)
        store.upsert(distance, documents[:3])
        found = store.search(distance, [1.0, 5.0, 0.5], filters={"odd": True, "n": {"$lt": 100}}, with_embeddings=True)
        assert [item.metadata["odd"] for item in found] == [True] * 5
        if distance != "dot":
            assert found[0].id == "d5"
        assert [item.id for item in store.get(distance, ["d9", "unknown", "d3"])] == ["d9", "d3"]
        assert store.count(distance, {"odd": False}) == 350
        assert store.delete(distance, filters={"odd": False}) == 350
        assert store.delete(distance, ["d1", "d2"]) == 1
        assert store.clear_collection(distance) == 349
    assert store.list_collections() == ["cosine", "dot", "euclidean"]
    for name in store.list_collections():
        store.delete_collection(name)


def test_the_graph_of_a_large_collection_finds_nearly_all(options, monkeypatch):
    """Beyond the number of documents that are all compared; here that is lowered."""
    chance = random.Random(7)
    vectors = {f"d{n}": [chance.gauss(0, 1) for _ in range(24)] for n in range(2000)}
    queries = [[chance.gauss(0, 1) for _ in range(24)] for _ in range(20)]
    with RedisKnowledgeStore(**options) as store:
        store.create_collection("docs", 24)
        for start in range(0, 2000, 500):
            part = list(vectors.items())[start : start + 500]
            store.insert("docs", [KnowledgeDocument(id=name, content="x", embedding=vector) for name, vector in part])
        exact = [[item.id for item in store.search("docs", query, 10)] for query in queries]
        monkeypatch.setattr("praisonai_persistence_redis._indexes.EXACT", 100)
        walked = [[item.id for item in store.search("docs", query, 10)] for query in queries]
    shared = sum(len({*a} & {*b}) for a, b in zip(exact, walked, strict=True))
    assert shared >= 190, f"{shared} of 200"


class TestSearchModule:
    """What the kit does not ask of the indexes of the search module."""

    @pytest.fixture
    def options(self, redis_search):
        with redis_search.space() as options:
            yield options

    @pytest.fixture
    def admin(self, options):
        with driver.Redis.from_url(options["url"], protocol=2) as client:
            yield client

    @pytest.fixture
    def store(self, options):
        with RedisKnowledgeStore(**options, retry_timeout=1) as store:
            yield store

    @staticmethod
    def indexes(admin: Any) -> int:
        return len(admin.execute_command("FT._LIST"))

    def test_it_is_chosen_and_the_choice_is_declared(self, options, store):
        assert store.index is None, "nobody has asked the server yet"
        store.connect()
        assert store.index == "hnsw"
        with RedisKnowledgeStore(**options, index="flat") as flat:
            flat.connect()
            assert flat.index == "flat"

        async def body(opened):
            await opened.connect()
            return opened.index

        assert in_loop(body, AsyncRedisKnowledgeStore, **options) == "hnsw"

    def test_another_database_has_no_search_module(self, options):
        url = f"{options['url'].rpartition('/')[0]}/1"
        for index in ("hnsw", "flat"):
            with RedisKnowledgeStore(url, index=index) as store:
                with pytest.raises(UnsupportedOperationError, match="database 0"):
                    store.create_collection("docs", 2)
                assert store.index is None

    def test_a_collection_keeps_its_index(self, options, admin):
        """Whatever a store would make: what is there is used as it is."""
        with contextlib.ExitStack() as stack:
            kinds = ("hnsw", "flat", "vectorset")
            stores = [stack.enter_context(RedisKnowledgeStore(**options, index=kind)) for kind in kinds]
            try:
                stores[2].connect()
            except UnsupportedOperationError:
                pytest.skip("this server has no vector sets beside the search module")
            for kind, store in zip(kinds, stores, strict=True):
                store.create_collection(kind, 2)
            for number, store in enumerate(stores):
                for kind in kinds:
                    store.create_collection(kind, 2)
                    store.insert(kind, [KnowledgeDocument(id=f"d{number}", content=kind, embedding=[1.0, number])])
                    assert store.search(kind, [1.0, number])[0].id == f"d{number}"
            assert self.indexes(admin) == 2
            assert admin.execute_command("VCARD", "{praison_knowledge}:vectorset:index") == 3
            for kind in kinds:
                assert stores[0].clear_collection(kind) == 3
                assert stores[0].search(kind, [1.0, 0.0]) == []
            assert self.indexes(admin) == 2
            for kind in kinds:
                stores[1].delete_collection(kind)
        assert self.indexes(admin) == 0
        assert admin.dbsize() == 0

    @pytest.mark.parametrize("decode", [False, True])
    @pytest.mark.parametrize("protocol", [2, 3])
    @pytest.mark.parametrize("index", ["hnsw", "flat"])
    def test_a_client_that_is_handed_in(self, options, admin, decode, protocol, index):
        with driver.Redis.from_url(options["url"], decode_responses=decode, protocol=protocol) as client:
            with RedisKnowledgeStore(client=client, index=index) as store:
                use_knowledge(store)
            assert client.ping(), "it is not closed"
        assert admin.dbsize() == self.indexes(admin) == 0, "nothing is left over"

        async def main() -> None:
            async with (
                async_driver.Redis.from_url(options["url"], decode_responses=decode, protocol=protocol) as client,
                AsyncRedisKnowledgeStore(client=client, index=index) as store,
            ):
                await store.create_collection("docs", 2)
                await store.insert("docs", [KnowledgeDocument(id="é", content="x", embedding=[3.0, 4.0])])
                found = await store.search("docs", [3.0, 4.0], with_embeddings=True)
                assert [(item.id, item.embedding, item.score) for item in found] == [("é", [3.0, 4.0], 1.0)]

        asyncio.run(main())

    @pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
    def test_the_graph_of_a_large_collection_finds_nearly_all(self, store, monkeypatch, distance):
        """Beyond the number of documents that are all compared; here that is lowered. With a filter, too."""
        chance = random.Random(7)
        documents = [
            KnowledgeDocument(
                id=f"d{n}",
                content="x",
                embedding=[chance.gauss(0, 1) for _ in range(24)],
                metadata={"fifth": n % 5 == 0},
            )
            for n in range(2000)
        ]
        queries = [[chance.gauss(0, 1) for _ in range(24)] for _ in range(20)]
        store.create_collection("docs", 24, distance)
        for start in range(0, 2000, 500):
            store.insert("docs", documents[start : start + 500])

        def search(filters: Any) -> list[list[str]]:
            return [[item.id for item in store.search("docs", query, 10, filters)] for query in queries]

        for filters in (None, {"fifth": True}, {"fifth": {"$ne": False}}):
            exact = search(filters)
            with monkeypatch.context() as patch:
                patch.setattr("praisonai_persistence_redis._indexes.EXACT", 100)
                walked = search(filters)
            shared = sum(len({*a} & {*b}) for a, b in zip(exact, walked, strict=True))
            assert shared >= 190, f"{shared} of 200"

    def test_unit_vectors_are_kept_once(self, store, admin):
        store.create_collection("docs", 2)
        vectors = {"unit": [0.6, 0.8], "long": [6.0, 8.0], "zero": [0.0, 0.0], "short": [6e-30, 8e-30]}
        store.insert("docs", [KnowledgeDocument(id=name, content="x", embedding=v) for name, v in vectors.items()])
        kept = admin.hgetall("{praison_knowledge}:docs:vectors")
        sizes = {name.decode(): len(value) for name, value in kept.items()}
        assert sizes == {"unit": 0, "long": 8, "zero": 0, "short": 8}
        found = {item.id: item for item in store.search("docs", [0.6, 0.8], with_embeddings=True)}
        scores = {name: item.score for name, item in found.items()}
        assert scores == pytest.approx({"unit": 1, "long": 1, "zero": 0, "short": 1}, abs=1e-6)
        for item in (*found.values(), *store.get("docs", [*vectors])):
            assert item.embedding == pytest.approx(vectors[item.id], rel=1e-6)

    def test_a_lost_index_is_reported(self, store, admin):
        store.create_collection("docs", 2)
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        admin.execute_command("FT.DROPINDEX", admin.execute_command("FT._LIST")[0])
        with pytest.raises(BackendError, match="lost the index"):
            store.search("docs", [1.0, 0.0])
        assert [item.embedding for item in store.get("docs", ["a"])] == [[1.0, 0.0]]

    def test_searches_while_it_is_emptied(self, store, options, admin):
        """What was found is whole, whichever index it came from; nobody sees that there was another one."""
        store.create_collection("docs", 2)
        documents = [KnowledgeDocument(id=f"d{n}", content="x", embedding=[1.0, n]) for n in range(50)]
        done = threading.Event()

        def read() -> int:
            searches = 0
            while not done.is_set():
                found = store.search("docs", [1.0, 0.0], 100, with_embeddings=True)
                assert all(item.embedding == [1.0, float(item.id[1:])] for item in found)
                searches += 1
            return searches

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            try:
                with RedisKnowledgeStore(**options) as other:
                    for _ in range(30):
                        other.insert("docs", documents)
                        assert other.clear_collection("docs") == 50
            finally:
                done.set()
            assert all(reader.result(60) for reader in readers)
        assert self.indexes(admin) == 1

    def test_of_many_creators_one_makes_the_index(self, store, admin):
        store.connect()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.create_collection("docs", 2), range(8)))
        assert self.indexes(admin) == 1
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        assert [item.id for item in store.search("docs", [1.0, 0.0])] == ["a"]

    def test_a_full_server(self, store, admin):
        store.create_collection("docs", 2)
        store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 0.0])])
        before = admin.config_get("maxmemory*")
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", 1)
        try:
            for call in (
                lambda: store.insert("docs", [KnowledgeDocument(id="b", content="x", embedding=[1.0, 0.0])]),
                lambda: store.create_collection("more", 2),
                lambda: store.clear_collection("docs"),
            ):
                with pytest.raises(BackendError, match="maxmemory"):
                    call()
            assert store.list_collections() == ["docs"]
            assert [item.id for item in store.search("docs", [1.0, 0.0])] == ["a"]
            assert store.delete("docs", ["a"]) == 1, "what makes room works"
            store.delete_collection("docs")
        finally:
            for name in ("maxmemory", "maxmemory-policy"):
                admin.config_set(name, before[name])
        assert admin.dbsize() == self.indexes(admin) == 0

    def test_a_user_with_few_rights(self, options, admin):
        rights = ("~{praison_knowledge}:*", "+@all", "-@admin", "-@dangerous")
        try:
            admin.execute_command("ACL", "SETUSER", "writer", "on", ">wr1te", *rights)
            with RedisKnowledgeStore(url_with(options["url"], username="writer", password="wr1te")) as store:
                use_knowledge(store)
                assert store.index == "hnsw"
        finally:
            admin.execute_command("ACL", "DELUSER", "writer")


def test_names_and_schemes_lead_here(options):
    for scheme in ("redis", "valkey"):
        store = open_state_store(url_with(options["url"], scheme=scheme))
        with store:
            assert isinstance(store, RedisStateStore)
            store.set("k", scheme)
            assert store.get("k") == scheme
    for scheme in ("rediss", "valkeys", "redis+cluster", "redis+sentinel", "rediss+sentinel"):
        assert isinstance(open_state_store(f"{scheme}://h/0" + "/0" * ("sent" in scheme)), RedisStateStore)
    assert isinstance(open_state_store("unix:///run/redis.sock?db=1"), RedisStateStore)
    assert isinstance(open_state_store("redis+async://h"), AsyncRedisStateStore)
    assert isinstance(open_knowledge_store("redis://h", mode="async"), AsyncRedisKnowledgeStore)


def test_one_round_trip_for_get_and_set(open_sync, admin):
    """What the server sees of them is one command each."""
    store = open_sync(max_size=1)
    store.set("k", 1)
    before = admin.info("commandstats")
    for number in range(10):
        store.set("k", number)
        store.get("k")
        store.get_many(["k"])
        store.incr("k")
    after = admin.info("commandstats")
    calls = {name: after[name]["calls"] - before.get(name, {}).get("calls", 0) for name in after}
    outside = {name: count for name, count in calls.items() if count and name != "cmdstat_info"}
    assert outside == {"cmdstat_set": 10, "cmdstat_get": 10, "cmdstat_mget": 10, "cmdstat_incrby": 10}


# ------------------------------------------------------------------- servers of another make-up: TLS, cluster, sentinel


@contextlib.contextmanager
def servers(redis: Any, script: str, ports: list[int], files: dict[str, bytes] | None = None) -> Iterator[Path]:
    """Run a shell script that starts servers at these ports of the loopback interface; yields their folder."""
    folder = Path(tempfile.mkdtemp(prefix="persistence-redis-"))
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    try:
        if hasattr(redis._server, "wrapped"):
            from testcontainers.core.container import DockerContainer

            container = DockerContainer(redis._server.wrapped.image.tags[0])
            for port in ports:
                container.with_bind_ports(port, port)
            for name, content in (files or {}).items():
                container.with_env(name.upper().replace(".", "_"), content.decode())
            unpack = "".join(f'printf %s "${name.upper().replace(".", "_")}" > {name}; ' for name in files or {})
            container.with_command(
                ["sh", "-c", f"reach='--protected-mode no'; cd $(mktemp -d); {unpack}{script}\nwait"]
            )
            with container:
                yield folder
        elif redis.program():
            process = subprocess.Popen(
                ["sh", "-c", f"reach='--bind 127.0.0.1'; {script}\nwait"], cwd=folder, start_new_session=True
            )
            try:
                yield folder
            finally:
                os.killpg(process.pid, 9)
                process.wait()
        else:
            pytest.skip("the server of the environment's URL is the only one")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Different ports at which nobody listens now, as they are at port + 10,000, which nodes of a cluster also take.

    Both are below those that systems give to outgoing connections.
    """
    found: set[int] = set()
    while len(found) < count:
        port = random.randrange(20_000, 22_700)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            found.add(port)
    return sorted(found)


def until(question: Callable[[], Any], limit: float = 60) -> Any:
    """Ask until the answer is true."""
    end = time.monotonic() + limit
    while True:
        try:
            if answer := question():
                return answer
        except (PersistenceError, driver.RedisError, driver.exceptions.RedisClusterException) as error:
            if time.monotonic() > end:
                raise AssertionError(f"no answer within {limit:.0f} seconds") from error
        assert time.monotonic() < end, f"no answer within {limit:.0f} seconds"
        time.sleep(0.1)


def certificate() -> dict[str, bytes]:
    """A key, and a certificate of 127.0.0.1 signed with it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no program openssl")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
                *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        return {name: (Path(folder) / name).read_bytes() for name in ("key.pem", "cert.pem")}


def test_parameters_of_a_url(redis, options):
    parameters = "client_name=named&protocol=3&health_check_interval=1&socket_keepalive=yes&timeout=5&max_connections=1"
    url = f"{options['url']}?{parameters}"
    with RedisStateStore(url) as store, driver.Redis.from_url(redis.url) as client:
        use_state(store)
        assert [each["name"] for each in client.client_list() if each["name"] == "named"] == ["named"]

    async def body(store):
        await store.set("k", {"x": 1.5})
        assert await store.get("k") == {"x": 1.5}
        with driver.Redis.from_url(redis.url) as client:
            assert [each["name"] for each in client.client_list() if each["name"] == "named"] == ["named"]

    in_loop(body, url=url)


def test_tls(redis):
    port = engines.free_port()
    files = certificate()
    script = (
        f"chmod 644 key.pem; redis-server $reach --port 0 --tls-port {port} --tls-auth-clients no --save '' "
        "--tls-cert-file cert.pem --tls-key-file key.pem --tls-ca-cert-file cert.pem &"
    )
    with servers(redis, script, [port], files) as folder:
        trusted = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={folder / 'cert.pem'}"

        def connect() -> bool:
            with RedisStateStore(trusted) as store:
                store.connect()
            return True

        until(connect)
        with open_state_store(trusted) as store:
            use_state(store)
        with RedisKnowledgeStore(
            f"rediss://127.0.0.1:{port}", client_options={"ssl_ca_certs": str(folder / "cert.pem")}
        ) as store:
            use_knowledge(store)

        async def body(store):
            await store.set("k", 1)
            assert await store.incr("k") == 2

        in_loop(body, url=trusted)
        for parameters in ("ssl_cert_reqs=CERT_NONE&ssl_min_version=TLSv1.2", "ssl_cert_reqs=none&protocol=3"):
            anyone = f"rediss://localhost:{port}/0?{parameters}"
            with open_state_store(anyone) as store:
                store.clear()
                use_state(store)
            in_loop(body, url=anyone, table_prefix=f"anyone{len(parameters)}_")
        both({"url": f"rediss://127.0.0.1:{port}/0"}, ConnectionFailedError, "certificate")
        both({"url": f"redis://127.0.0.1:{port}/0", "command_timeout": 2}, ConnectionFailedError, str(port))
        both({"url": trusted.replace("127.0.0.1", "localhost")}, ConnectionFailedError, "localhost")


@pytest.mark.slow
def test_cluster(redis):
    ports = free_ports(3)
    start = "".join(
        f"redis-server $reach --port {port} --cluster-enabled yes --cluster-config-file n{port} --save '' "
        f"--cluster-announce-ip 127.0.0.1 --cluster-node-timeout 5000 & "
        for port in ports
    )
    nodes = " ".join(f"127.0.0.1:{port}" for port in ports)
    script = (
        f"{start} until redis-cli -p {ports[0]} ping && redis-cli -p {ports[1]} ping && redis-cli -p {ports[2]} ping; "
        f"do sleep 0.1; done; redis-cli --cluster create {nodes} --cluster-yes"
    )
    with servers(redis, script, ports):
        url = f"redis+cluster://127.0.0.1:{ports[1]}"

        def ready() -> bool:
            with RedisStateStore(url) as store:
                return store.set_if_absent("ready", 1) or store.exists("ready")

        until(ready)
        owners = {}
        for prefix in ("praison_", "a_", "b_", "c_", ""):
            with open_state_store(url, table_prefix=prefix) as store:
                store.clear()
                use_state(store)
                owners[prefix] = store._runner._lender._client.get_node_from_key(f"{{{prefix}state}}:x").port
        assert len(set(owners.values())) > 1, "prefixes spread over the nodes"
        with RedisKnowledgeStore(url) as store:
            use_knowledge(store)
        with RedisStateStore(url) as store, ThreadPoolExecutor(16) as pool:
            assert sorted(pool.map(lambda _: store.incr("n"), range(300))) == list(range(1, 301))
            assert store.clear() == 1

        async def body(store):
            await store.set_many({f"key-{number}": number for number in range(3000)})
            assert len(await store.keys("key-*")) == 3000
            assert sorted(await asyncio.gather(*(store.incr("n") for _ in range(200)))) == list(range(1, 201))
            assert await store.compare_and_set("n", 200.0, {"a": 1})
            with pytest.raises(WrongTypeError):
                await store.hset("n", "f", 1)
            assert await store.clear() == 3001

        in_loop(body, url=url, max_size=5)

        async def knowledge(store):
            await store.create_collection("docs", 2)
            await store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 2.0])])
            assert [item.id for item in await store.search("docs", [1.0, 2.0])] == ["a"]
            assert await store.delete("docs", filters={"x": {"$exists": False}}) == 1

        in_loop(knowledge, AsyncRedisKnowledgeStore, url=url)
        with driver.RedisCluster.from_url(f"redis://127.0.0.1:{ports[0]}") as client:
            with RedisStateStore(client=client) as store:
                use_state(store)
            assert client.ping()
        elsewhere = next(prefix for prefix, port in owners.items() if port != ports[0])
        one = RedisStateStore(f"redis://127.0.0.1:{ports[0]}/0", table_prefix=elsewhere)
        with one, pytest.raises(ConfigurationError, match="cluster=True"):
            one.set("k", 1)
        both(
            {"url": f"redis+cluster://127.0.0.1:{urlsplit(redis.url).port}", "password": engines.PASSWORD},
            ConfigurationError,
            "cluster",
        )


@pytest.mark.slow
def test_cluster_with_the_search_module(redis_search):
    """Each collection lies on one node; the module asks them all."""
    if not redis_search.restartable:
        pytest.skip("the server of the environment's URL is the only one")
    if hasattr(redis_search._server, "wrapped"):
        program = "redis-server --loadmodule /usr/local/lib/redis/modules/redisearch.so"
    else:
        words = redis_search.command(redis_search._server)
        program = " ".join([*words[:3], *words[-2:]])
    ports = free_ports(3)
    script = "".join(
        f"{program} $reach --port {port} --cluster-enabled yes --cluster-config-file n{port} --save '' "
        f"--cluster-announce-ip 127.0.0.1 --cluster-node-timeout 5000 & "
        for port in ports
    )
    with servers(redis_search, script, ports), contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(driver.Redis(port=port, protocol=2)) for port in ports]
        for number, node in enumerate(nodes):
            until(node.ping)
            node.execute_command(
                "CLUSTER", "ADDSLOTSRANGE", 5461 * number, (5461 * (number + 1) - 1, 16383)[number == 2]
            )
        for port in ports[1:]:
            nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port)
        for node in nodes:
            until(lambda node=node: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"))
        url, owners = f"redis+cluster://127.0.0.1:{ports[1]}", set()
        for prefix in ("praison_", "a_", "b_", "c_"):
            with RedisKnowledgeStore(url, table_prefix=prefix, index="hnsw") as store:
                use_knowledge(store)
                owners.add(store._runner._lender._client.get_node_from_key(f"{{{prefix}knowledge}}:").port)
        assert len(owners) > 1, "prefixes spread over the nodes"

        async def body(store):
            assert store.index is None
            await store.create_collection("docs", 2)
            assert store.index == "hnsw", "chosen, also where there are no vector sets"
            await store.insert("docs", [KnowledgeDocument(id="a", content="x", embedding=[1.0, 2.0])])
            assert [item.id for item in await store.search("docs", [1.0, 2.0])] == ["a"]
            assert await store.clear_collection("docs") == 1
            await store.delete_collection("docs")

        in_loop(body, AsyncRedisKnowledgeStore, url=url)
        for node in nodes:
            assert node.dbsize() == len(node.execute_command("FT._LIST")) == 0, "nothing is left over"


@pytest.mark.slow
def test_sentinel(redis):
    first, second, *watchers = free_ports(5)
    common = "--save '' --requirepass s3cr3t --masterauth s3cr3t --repl-diskless-sync-delay 0"
    announce = "--replica-announce-ip 127.0.0.1"
    script = (
        f"redis-server $reach --port {first} {common} {announce} & "
        f"redis-server $reach --port {second} {common} {announce} --replicaof 127.0.0.1 {first} & "
    )
    for port in watchers:
        lines = [
            f"port {port}",
            "sentinel announce-ip 127.0.0.1",
            f"sentinel monitor agents 127.0.0.1 {first} 2",
            "sentinel auth-pass agents s3cr3t",
            "sentinel down-after-milliseconds agents 1000",
            "sentinel failover-timeout agents 5000",
        ]
        script += f"printf '%s\\n' {' '.join(map(json.dumps, lines))} > s{port}.conf; "
        script += f"redis-server s{port}.conf --sentinel $reach & "
    with servers(redis, script, [first, second, *watchers]):
        hosts = ",".join(f"127.0.0.1:{port}" for port in watchers)
        # Sentinels that were held up for two seconds trust nobody for half a minute.
        options = {"url": f"redis+sentinel://:s3cr3t@{hosts}/agents/0", "retry_timeout": 240.0}

        def ready() -> bool:
            with RedisStateStore(**options) as store:
                store.set("k", 1)
            with driver.Redis(port=watchers[0], protocol=2) as client:
                words = iter(client.execute_command("SENTINEL", "MASTER", "agents"))
                state = dict(zip(words, words, strict=True))
                return state[b"num-slaves"] == b"1" and state[b"num-other-sentinels"] == b"2"

        until(ready)
        with driver.Redis(port=second, password="s3cr3t") as client:
            until(lambda: client.get("{praison_state}:k") == b"1")

        async def body(store):
            assert await store.incr("k") == 2
            assert await store.get_many(["k"]) == {"k": 2}

        in_loop(body, **options)
        with RedisStateStore(**options) as store, driver.Redis(port=first, password="s3cr3t") as client:
            assert store.get("k") == 2
            until(lambda: client.execute_command("WAIT", 1, 5000) == 1)
            with pytest.raises(driver.ConnectionError):
                client.execute_command("SHUTDOWN", "NOSAVE")
                client.ping()
            assert store.get("k") == 2, "the other server has taken over"
            assert until(lambda: store.incr("m")) >= 1
        both({"url": f"redis+sentinel://:s3cr3t@{hosts}/nobody/0"}, ConnectionFailedError, "nobody", "s3cr3t")
