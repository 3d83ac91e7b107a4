"""What the stores are given: URLs, options, hosts; no server needed."""

from __future__ import annotations

import ssl
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
    defaults: dict[str, Any] = {"cluster": None, "limits": {}, "client_options": {}}
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
        ("unix://ada:p@/run/My%20redis.sock", {"path": "/run/My redis.sock", "username": "ada", "password": "p"}),
        ("redis://:p@%2Frun%2FMy.sock/3", {"path": "/run/My.sock", "db": 3, "password": "p"}),
        ("redis://[2001:db8::7]:1/2", {"host": "2001:db8::7", "port": 1, "db": 2}),
        ("redis://h?protocol=3&client_name=agents", {"protocol": 3, "client_name": "agents"}),
        (
            "redis://h?socket_connect_timeout=4&socket_keepalive=no",
            {"socket_connect_timeout": 4, "socket_keepalive": 0},
        ),
        ("redis://h?timeout=1.5", {"socket_timeout": 1.5, "socket_connect_timeout": 10}),
        ("redis://h?username=ada&password=p", {"username": "ada", "password": "p"}),
        (
            "rediss://h?ssl_cert_reqs=CERT_NONE&ssl_min_version=TLSv1.2",
            {"ssl_cert_reqs": "none", "ssl_min_version": ssl.TLSVersion.TLSv1_2},
        ),
        ("rediss://h?ssl_ca_certs=/ca.pem&ssl_min_version=771", {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://h?ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=false", {"ssl_check_hostname": False}),
        ("redis+cluster://h:7000,other", {"host": "h", "port": 7000, "db": 0}),
    ],
)
def test_urls(url, expected):
    found = made(url).arguments
    assert {name: found.get(name) for name in expected} == expected
    assert ("path" in found) != ("host" in found)


def test_what_is_given_beside_a_url_wins():
    how = made(
        "redis://a:p@h:1/2?socket_connect_timeout=7&max_connections=4&pool_timeout=5",
        {"host": "other", "db": 5, "password": None},
        limits={"connect_timeout": 2, "timeout": None, "max_size": 3},
        client_options={"client_name": "n"},
    )
    assert (how.max_size, how.pool_timeout) == (3, 5)
    assert how.hosts == [("other", 1)]
    assert how.arguments["db"] == 5
    assert how.arguments["password"] == "p"
    assert how.arguments["client_name"] == "n"
    assert how.arguments["socket_connect_timeout"] == 2
    assert how.arguments["socket_timeout"] is None


def test_tls_and_variants():
    assert [made(f"{scheme}://h").tls for scheme in ("redis", "valkey", "rediss", "valkeys")] == [0, 0, 1, 1]
    how = made("rediss+sentinel://u:p@h1,h2:5/agents/3?sentinel_password=s&connect_timeout=2")
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
        {"url": "redis://h?socket_timeout=0"},
        {"url": "redis://h?timeout=nan"},
        {"url": "redis://h?timeout=3&socket_timeout=4"},
        {"url": "redis://h?health_check_interval=-1"},
        {"url": "redis://h?protocol=4"},
        {"url": "redis://h?client_name="},
        {"url": "redis://h/1?db=2"},
        {"url": "redis://:p@h/1?password=q"},
        {"url": "rediss://h?ssl_cert_reqs=perhaps"},
        {"url": "rediss://h?ssl_check_hostname=perhaps"},
        {"url": "rediss://h?ssl_min_version=9"},
        {"url": "unix://run/redis.sock"},
        {"url": "rediss://%2Frun%2Fredis.sock"},
        {"url": "redis://%2Frun%2Fredis.sock:6379"},
        {"url": "redis://h?sentinel_password=x"},
        {"host": "h", "client_options": {"ssl_ca_certs": "/ca.pem"}},
        {"host": "h", "client_options": {"decode_responses": True}},
        {"url": "rediss://h", "client_options": {"ssl_validate_ocsp": True}},
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
    assert made("redis://[::1]:1/2").where == "[::1]:1, database 2"
    assert made("redis+sentinel://[::1]:1,i/agents").where == "'agents' of the sentinels [::1]:1, i:26379"
    assert made("unix:///s").where == "/s, database 0"
    assert made("redis+cluster://h:1").where == "h:1"
    assert made("redis+sentinel://h:1,i:2/agents").where == "'agents' of the sentinels h:1, i:2"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://h?socket_timout=1", "did you mean"),
        ("redis://h?client_nam=x", "did you mean 'client_name'?"),
        ("redis://h?decode_responses=true", "needs bytes"),
        ("redis://h?retry_on_timeout=true", "retry_timeout"),
        ("redis://h?ssl_ca_certs=/ca.pem", "rediss://"),
        ("redis://h?ssl=true", "rediss://"),
        ("rediss://h?ssl_validate_ocsp=true", "async connections cannot"),
        ("redis://h?table_prefix=x", "option beside the URL"),
        ("redis://h?nothing_of_the_kind=x", "takes db, .*, not 'nothing_of_the_kind'"),
    ],
)
@pytest.mark.parametrize("store", STORES)
def test_parameters_that_there_are_not(store, url, told):
    with pytest.raises(ConfigurationError, match=told):
        store(url)


def test_parameters_for_sentinels():
    how = made("redis+sentinel://h/agents?sentinel_username=u&sentinel_socket_timeout=3&timeout=4")
    assert how.sentinel == {"socket_timeout": 3.0, "socket_connect_timeout": 10.0, "username": "u"}
    assert how.timeout == 4
