"""What drivers and options of hosted services have in common."""

from __future__ import annotations

import asyncio
import os
import select
import warnings

import pytest

from praisonai_persistence.drivers import (
    Driver,
    DriverRunner,
    FreshOptions,
    Options,
    ServiceOptions,
    ThrottledError,
    check_fields,
    matching,
    option,
    then,
)
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError
from praisonai_persistence.steps import reads


class CloudOptions(ServiceOptions, FreshOptions):
    title = "the cloud"
    schemes = ("cloud", "https", "http")
    clients = ("client",)
    password_is = "key"
    variables = ("CLOUD_URL", "CLOUD_KEY")

    key = option(None, "text", "a key", server=True, secret=True)
    client = option(None, "object", "a client")
    space = option("one", matching("[a-z]{1,5}", "at most 5 letters"), "a name", url=True)
    title_field = option("title", "text", "a field")
    body_field = option("body", "text", "another one")

    def __init__(self, url=None, **given):
        super().__init__(url, **given)
        check_fields(self, ("title_field", "body_field"), ("id", "meta"))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in CloudOptions.variables:
        monkeypatch.delenv(name, raising=False)


def test_the_place_and_the_secret_may_stand_in_the_environment(monkeypatch):
    monkeypatch.setenv("CLOUD_URL", "https://there.example")
    monkeypatch.setenv("CLOUD_KEY", "of the environment")
    found = CloudOptions()
    assert (found.address, found.key) == ("https://there.example:443", "of the environment")
    assert CloudOptions("cloud://:own@here.example").key == "own"
    assert CloudOptions(host="here.example", key="own").address == "https://here.example:443"


def test_a_client_needs_no_secret(monkeypatch):
    monkeypatch.setenv("CLOUD_URL", "https://there.example")
    assert CloudOptions(client=object()).host is None


@pytest.mark.parametrize(
    ("url", "given", "address"),
    [
        ("http://localhost:80", {}, "http://localhost:80"),
        ("cloud://localhost:80?https=no", {}, "http://localhost:80"),
        ("http://localhost", {"port": 80}, "http://localhost:80"),
        ("http://localhost:80", {"https": False}, "http://localhost:80"),
        ("https://localhost:80?https=true", {}, "https://localhost:80"),
        ("cloud://localhost", {}, "https://localhost:443"),
    ],
)
def test_tls_is_used_unless_the_url_says_otherwise(url, given, address):
    assert CloudOptions(url, key="k", **given).address == address


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"url": "cloud://h"}, "needs its key: give key=..., or set CLOUD_KEY"),
        ({"url": "http://h", "key": "k"}, "needs a port; the cloud itself is asked by https://"),
        ({"url": "cloud://:k@h", "space": "toolong"}, "space must be at most 5 letters"),
        ({"url": "cloud://:k@h", "space": 5}, "space must be at most 5 letters"),
        ({"url": "cloud://:k@h?space=A"}, "space in the URL must be at most 5 letters"),
        (
            {"url": "cloud://:k@h", "body_field": "title"},
            "title_field and body_field must differ, and cannot be id",
        ),
        ({"url": "cloud://:k@h", "body_field": "meta"}, "must differ, and cannot be id, meta"),
        ({"url": "cloud://:k@h", "freshness": "some"}, "freshness must be one of all, own"),
    ],
)
def test_what_cannot_be_is_refused(given, words):
    with pytest.raises(ConfigurationError) as raised:
        CloudOptions(**given)
    assert words in str(raised.value)


def test_a_write_that_is_not_visible_in_time():
    error = CloudOptions("cloud://:k@h", freshness_timeout=2.5).unseen()
    assert isinstance(error, ThrottledError)
    assert "is stored, but not visible within 2.5 seconds: raise freshness_timeout" in str(error)


class Toy(Driver):
    where = "the toy"

    def __init__(self, look):
        super().__init__(None, look)
        self.closed = []

    def open(self, deadline):
        return object()

    def close(self, client):
        self.closed.append(client)

    abandon = close


@reads
def ask():
    return (yield id)


def test_the_first_look_is_that_of_the_steps():
    seen = []

    def look():
        seen.append((yield id))

    runner = DriverRunner(Toy(look))
    assert runner.run(ask) == runner.run(ask) == seen[0]
    assert len(seen) == 1
    assert Toy(None).probe() is None


def test_a_look_that_fails():
    def look():
        yield id
        raise ConnectionFailedError("nobody there")

    with pytest.raises(ConnectionFailedError, match="nobody there"):
        DriverRunner(Toy(look)).run(ask)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a fork")
def test_a_client_of_the_parent_is_neither_closed_nor_abandoned_in_the_child_by_the_call_that_forks():
    driver = Toy(None)
    runner = DriverRunner(driver)
    reading, writing = os.pipe()
    children = []

    @reads
    def forking():
        yield id
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            children.append(os.fork())
        if children == [0]:
            os.write(writing, b"x")
        yield id

    parent = os.getpid()
    try:
        runner.run(forking)
    finally:
        if os.getpid() != parent:
            os.write(writing, str(len(driver.closed)).encode())
            os._exit(0)
    assert select.select([reading], [], [], 10)[0]
    os.waitpid(children[0], 0)  # and no other child of this process
    assert os.read(reading, 10) == b"x0"
    assert driver.closed == []
    runner.close()
    assert len(driver.closed) == 1


def test_options_without_a_secret_or_variables():
    class PlainOptions(ServiceOptions):
        schemes = ("plain", "http")

    assert PlainOptions("plain://h").address == "https://h:443"
    assert issubclass(PlainOptions, Options)


def test_an_answer_is_read_and_awaited_where_the_client_is_async():
    async def answer():
        return [3]

    assert then([3], len) == 1
    assert asyncio.run(then(answer(), len)) == 1
