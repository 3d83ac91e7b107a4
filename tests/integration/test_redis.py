"""Redis against the conformance kit, and what the kit does not ask of a server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import engines
import pytest
import redis as driver
import redis.asyncio as async_driver
from lifecycles import Networked
from proxy import Proxy
from redis_use import both, in_loop, url_with, use_knowledge, use_state

from praisonai_persistence import KnowledgeDocument, open_knowledge_store, open_state_store
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
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


@pytest.mark.quick_operations
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


@pytest.mark.quick_operations
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
