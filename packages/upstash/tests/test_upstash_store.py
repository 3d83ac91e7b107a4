"""What the stores in Upstash Redis do without a server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from upstash_redis.errors import UpstashError

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence_upstash import UpstashOptions, UpstashStateStore
from praisonai_persistence_upstash._driver import UpstashDriver


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_upstash as p; p.UpstashStateStore('upstash://:t@localhost'); "
        "p.UpstashVectorKnowledgeStore('https://:t@localhost'); "
        "assert not {'upstash_redis', 'upstash_vector', 'httpx'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_the_server_is():
    found = UpstashOptions("upstash://:s3cret@Name.upstash.io")
    assert (found.host, found.port, found.https, found.token) == ("name.upstash.io", 443, True, "s3cret")
    assert "s3cret" not in repr(found) + found.where
    assert UpstashOptions("https://name.upstash.io", token="t").https
    found = UpstashOptions("http://localhost:8080", token="t")
    assert (found.port, found.https) == (8080, False)
    assert UpstashOptions("upstash://:t@localhost:8080?https=false&timeout=2").timeout == 2


def test_an_address_of_ipv6_is_asked():
    with (
        UpstashStateStore("http://:t@[::1]:1", connect_timeout=1) as store,
        pytest.raises(ConnectionFailedError, match=r"does not answer \(Connect"),
    ):
        store.get("a")


def test_the_variables_of_the_console(environment):
    environment.setenv("UPSTASH_REDIS_REST_URL", "https://name.upstash.io")
    environment.setenv("UPSTASH_REDIS_REST_TOKEN", "s3cret")
    found = UpstashOptions()
    assert (found.host, found.token) == ("name.upstash.io", "s3cret")
    assert UpstashOptions("upstash://:other@elsewhere").token == "other"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "url='upstash://host:443'"),
        ({"url": "upstash://name.upstash.io"}, "UPSTASH_REDIS_REST_TOKEN"),
        ({"url": "upstash://user:s3cret@name.upstash.io"}, "user"),
        ({"url": "redis://name.upstash.io", "token": "s3cret"}, "scheme"),
        ({"url": "http://name.upstash.io", "token": "s3cret"}, "needs a port"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        UpstashStateStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("WRONGTYPE Operation against a key holding the wrong kind of value", WrongTypeError),
        ("ERR max request size exceeded. Limit: 1048576 bytes", SerializationError),
        ("ERR max single record size exceeded", SerializationError),
        ("ERR DB capacity quota exceeded", BackendError),
        ("WRONGPASS invalid or missing auth token", ConnectionFailedError),
        ("ERR max requests limit exceeded. Limit: 500000", ConnectionFailedError),
        ("ERR max daily request limit exceeded. Limit: 10000", ConnectionFailedError),
        ("NOPERM this user has no permissions to run the 'set' command", ConnectionFailedError),
        ("ERR unknown command, with args beginning with: 's3cret'", UnsupportedOperationError),
    ],
)
def test_what_the_server_says(said, kind):
    driver = UpstashDriver(UpstashOptions("upstash://:t0ken@host"), asynchronous=False)
    cause = UpstashError(said)
    error = driver.translate(cause)
    assert type(error) is kind
    assert "s3cret" not in f"{error}{cause}"
    assert "t0ken" not in str(error)
