"""What the stores are given: URLs, options, hosts; no server needed."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from praisonai_persistence.errors import ConfigurationError, InvalidIdentifierError
from praisonai_persistence_redis import (
    AsyncRedisKnowledgeStore,
    AsyncRedisStateStore,
    RedisKnowledgeStore,
    RedisStateStore,
)
from praisonai_persistence_redis._settings import Settings, settings

STORES = (RedisStateStore, AsyncRedisStateStore, RedisKnowledgeStore, AsyncRedisKnowledgeStore)


def made(url: str | None = None, address: dict[str, Any] | None = None, **options: Any) -> Settings:
    defaults: dict[str, Any] = {
        "cluster": None,
        "max_size": 10,
        "pool_timeout": 1,
        "connect_timeout": 2,
        "timeout": None,
        "client_options": {},
    }
    return settings(url, address or {}, **{**defaults, **options})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"host": "h", "port": 6379, "db": 0}),
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        ("valkey://h:1/2", {"host": "h", "port": 1, "db": 2}),
        ("redis://h/?db=3", {"host": "h", "port": 6379, "db": 3}),
        ("redis://:p%40ss@h", {"host": "h", "password": "p@ss"}),
        ("redis://ada:p@h", {"username": "ada", "password": "p"}),
        ("redis://h?socket_timeout=1.5&health_check_interval=3", {"socket_timeout": 1.5, "health_check_interval": 3}),
        ("REDIS+ASYNC://h", {"host": "h"}),
        ("unix:///run/redis.sock?db=4", {"path": "/run/redis.sock", "db": 4}),
        ("redis+cluster://h:7000,other", {"host": "h", "port": 7000, "db": 0}),
    ],
)
def test_urls(url, expected):
    found = made(url).arguments
    assert {name: found.get(name) for name in expected} == expected
    assert ("path" in found) != ("host" in found)


def test_what_is_given_beside_a_url_wins():
    how = made("redis://a:p@h:1/2", {"host": "other", "db": 5, "password": None}, client_options={"client_name": "n"})
    assert how.hosts == [("other", 1)]
    assert how.arguments["db"] == 5
    assert how.arguments["password"] == "p"
    assert how.arguments["client_name"] == "n"
    assert how.arguments["socket_connect_timeout"] == 2
    assert how.arguments["socket_timeout"] is None


def test_tls_and_variants():
    assert [made(f"{scheme}://h").tls for scheme in ("redis", "valkey", "rediss", "valkeys")] == [0, 0, 1, 1]
    how = made("rediss+sentinel://u:p@h1,h2:5/agents/3?sentinel_password=s")
    assert (how.service, how.hosts, how.tls) == ("agents", [("h1", 26379), ("h2", 5)], True)
    assert how.arguments["db"] == 3
    assert how.sentinel == {"socket_timeout": 1.0, "socket_connect_timeout": 1.0, "password": "s", "ssl": True}
    how = made("redis+cluster://h1,h2:5")
    assert (how.cluster, how.hosts) == (True, [("h1", 6379), ("h2", 5)])
    assert made("redis://h", cluster=True).cluster
    assert not made("redis+cluster://h", cluster=False).cluster


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"url": "mysql://h"},
        {"url": "h:6379"},
        {"url": "redis://h:x"},
        {"url": "redis://h/agents"},
        {"url": "redis://h/-1"},
        {"url": "redis://h?db=x"},
        {"url": "redis://h?socket_timeout=soon"},
        {"url": "redis://h?no_such_parameter=1"},
        {"url": "redis://h1,h2"},
        {"url": "redis+cluster://h/1"},
        {"url": "redis+sentinel://h"},
        {"url": "unix://"},
        {"host": "h", "db": -1},
        {"host": "h", "max_size": 0},
        {"host": "h", "pool_timeout": 0},
        {"host": "h", "connect_timeout": 0},
        {"host": "h", "command_timeout": "soon"},
        {"host": "h", "retry_timeout": -1},
        {"host": "h", "client_options": {"no_such_option": 1}},
        {"client": redis.Redis(), "host": "h"},
    ],
)
@pytest.mark.parametrize("store", STORES)
def test_options_that_cannot_be(store, wrong):
    with pytest.raises(ConfigurationError):
        store(**wrong)


@pytest.mark.parametrize(
    "url", ["redis://u:s3cr3t@h/x", "redis://u:s3cr3t@h?db=x", "mysql://u:s3cr3t@h", "redis+sentinel://:s3cr3t@h"]
)
def test_no_secret_in_messages(url):
    with pytest.raises(ConfigurationError) as caught:
        RedisStateStore(url)
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in made("redis://u:s3cr3t@h").where


@pytest.mark.parametrize("prefix", ["A", "a-b", "a}b", "{", "*", "1", "x" * 32, None])
def test_prefixes_that_cannot_be(prefix):
    for store in STORES:
        with pytest.raises(InvalidIdentifierError):
            store("redis://h", table_prefix=prefix)


def test_addresses_for_messages():
    assert made("redis://u:p@h:1/2").where == "h:1, database 2"
    assert made("unix:///s").where == "/s, database 0"
    assert made("redis+cluster://h:1").where == "h:1"
    assert made("redis+sentinel://h:1,i:2/agents").where == "'agents' of the sentinels h:1, i:2"
