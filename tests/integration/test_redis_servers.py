"""Redis behind URLs with parameters, TLS, a cluster, sentinels."""

from __future__ import annotations

import asyncio
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import engines
import pytest
import redis as driver
from redis_use import both, certificate, free_ports, in_loop, servers, until, use_knowledge, use_state

from praisonai_persistence import KnowledgeDocument, open_state_store
from praisonai_persistence.errors import (
    ConfigurationError,
    ConnectionFailedError,
    WrongTypeError,
)
from praisonai_persistence_redis import (
    AsyncRedisKnowledgeStore,
    RedisKnowledgeStore,
    RedisStateStore,
)


@pytest.fixture
def options(redis):
    with redis.space() as options:
        yield options


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
