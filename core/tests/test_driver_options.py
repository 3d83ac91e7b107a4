"""What a store can be given: places, URLs, values of the wrong kind, unknown names, signatures and tables."""

from __future__ import annotations

import inspect
import os

import pytest

from praisonai_persistence.drivers import ApiKeyOptions, Driver, Options, OptionsStore, client_option, option
from praisonai_persistence.errors import ConfigurationError, InvalidIdentifierError
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.memory.state import MemoryStateSteps
from praisonai_persistence.stores import StepStateStore


class ToyOptions(Options):
    title = "Toy"
    schemes = ("toy", "async_toy")
    servers = folders = memory = True
    default_port = 7000
    clients = ("client",)
    password_is = "api_key"
    hint = "; a key is written toy://:key@host"

    api_key = option(None, "text", "the server's", server=True, secret=True)
    tls = option(False, "flag", "use TLS", url=True, server=True)
    timeout = option(30.0, "seconds", "seconds for an answer", url=True)
    size = option(8, "count", "how many")
    mode = option("fast", ("fast", "slow"), "how", url=True)
    client = option(None, "object", "a client of yours")


def test_a_server():
    found = ToyOptions("toy://:k%2Fey@Host:1?tls=true&timeout=2.5&mode=slow")
    assert (found.host, found.port, found.api_key, found.tls) == ("host", 1, "k/ey", True)
    assert (found.timeout, found.mode, found.size, found.path) == (2.5, "slow", 8, None)
    assert found.where == "the Toy server at host:1"
    assert "k/ey" not in repr(found)


def test_keywords_win_over_the_url():
    found = ToyOptions("toy://host?timeout=2", timeout=3, port=9)
    assert (found.timeout, found.port) == (3, 9)


def test_folders_and_memory():
    assert ToyOptions("toy:///a/b").path == os.path.abspath("a/b")
    assert ToyOptions("async_toy:////a/b").path == "/a/b"
    assert ToyOptions(path="~/x").path == os.path.expanduser("~/x")
    assert ToyOptions("toy://").path == ToyOptions(path=":memory:").path == ":memory:"


def test_a_client_stands_for_the_place():
    client = object()
    assert ToyOptions(client=client, timeout=1).client is client


def test_a_default_host():
    class Local(ToyOptions):
        default_host = "localhost"

    assert (Local().host, Local().port, Local(port=3).port) == ("localhost", 7000, 3)


@pytest.mark.parametrize(
    ("url", "given", "says"),
    [
        (None, {}, "say where Toy is"),
        ("toy://host", {"path": "a"}, "say where Toy is"),
        (None, {"path": "a", "host": "b"}, "say where Toy is"),
        (None, {"path": "a", "tls": True}, "tls: for a server"),
        (None, {"path": "a", "port": 5}, "port: for a server"),
        (None, {"path": ""}, "path is empty"),
        (None, {"path": "a\0b"}, "path holds NUL"),
        (None, {"path": 5}, "path must be a path: text or an os.PathLike, not int"),
        (None, {"path": "s3://bucket"}, "path must be a local path"),
        (None, {"host": ""}, "host must be text"),
        (None, {"host": 5}, "host must be text"),
        (None, {"host": "h", "port": 0}, "port must be a number from 1 to 65535"),
        (None, {"host": "h", "port": True}, "port must be"),
        (None, {"host": "h", "tls": 1}, "tls must be True or False"),
        (None, {"host": "h", "timeout": 0}, "timeout must be a number of seconds above 0"),
        (None, {"host": "h", "timeout": float("inf")}, "timeout must be"),
        (None, {"host": "h", "size": 1.5}, "size must be a whole number above 0"),
        (None, {"host": "h", "mode": "other"}, "mode must be one of fast, slow"),
        (None, {"host": "h", "api_key": ""}, "api_key must be text, not empty"),
        (None, {"client": object(), "host": "h"}, "client knows its place: host"),
        ("toy://host", {"client": object()}, "client knows its place: url"),
        ("https://host", {}, "has the scheme 'https', not toy"),
        ("toy://host?tls=perhaps", {}, "tls in the URL must be true or false"),
        ("toy://host?timeout=soon", {}, "timeout in the URL must be a number of seconds above 0"),
        ("toy://host?size=3", {}, "takes tls, timeout, mode, not 'size'"),
        ("toy://user:s3cret@host", {}, "which Toy has not; a key is written"),
        ("toy://host/path", {}, "a path behind the server"),
    ],
)
def test_what_cannot_be_is_told_with_what_can(url, given, says):
    with pytest.raises(ConfigurationError) as caught:
        ToyOptions(url, **given)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_unknown_option_is_told_with_the_nearest():
    with pytest.raises(TypeError, match="Toy has no option 'tiemout'; did you mean 'timeout'"):
        ToyOptions("toy://host", tiemout=3)
    with pytest.raises(TypeError, match="Toy has no option 'xyz': path, host, port"):
        ToyOptions("toy://host", xyz=3)


def test_engines_that_have_no_server_or_no_folder_say_so():
    class Embedded(Options):
        title = "Embedded"
        schemes = ("embedded",)
        folders = True

    with pytest.raises(TypeError, match="no option 'host'"):
        Embedded(host="h")
    with pytest.raises(ConfigurationError, match="cannot be in memory"):
        Embedded(path=":memory:")
    assert Embedded("embedded://name/x").path == os.path.abspath("name/x")

    class Remote(Options):
        title = "Remote"
        schemes = ("remote",)
        servers = True

    with pytest.raises(ConfigurationError, match="cannot be in a folder"):
        Remote("remote:///x")


class ToyStore(OptionsStore, StepStateStore):
    options_class = ToyOptions

    def _make(self, options):
        driver = Driver()
        driver.open = lambda deadline: object()
        return MemoryStateSteps(open_data(None, None), options.table_prefix), driver


def test_the_signature_comes_from_the_options():
    parameters = inspect.signature(ToyStore).parameters
    assert list(parameters)[:4] == ["url", "path", "host", "port"]
    assert parameters["timeout"].default == 30.0
    assert parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY
    with pytest.raises(TypeError):
        inspect.signature(ToyStore).bind(tiemout=3)
    with ToyStore("toy://host") as store:
        store.set("a", 1)
        assert store.get("a") == 1


def test_the_table_comes_from_the_options():
    rows = list(ToyOptions.table())
    assert rows[0] == "| option | default | meaning |"
    assert "| `timeout` | 30 | seconds for an answer (also in the URL) |" in rows
    assert "| `api_key` | none | the server's |" in rows
    assert len(rows) == 3 + len(ToyOptions.declared)


def test_a_prefix_is_checked():
    assert ToyOptions("toy://host", table_prefix="").table_prefix == ""
    for prefix in ("a;b", "Upper", 5):
        with pytest.raises(InvalidIdentifierError, match="table_prefix"):
            ToyOptions("toy://host", table_prefix=prefix)


class KeyedOptions(ApiKeyOptions):
    title = "Keyed"
    schemes = ("keyed", "async_keyed")
    default_port = 7001
    clients = ("client",)

    more = option({}, "headers", "sent with every request", server=True, secret=True)
    client = client_option("a `Client`", "AsyncClient")
    lock_timeout = option(60.0, "seconds", "seconds to wait")


def test_a_server_with_an_api_key():
    found = KeyedOptions("keyed://:s3cret@host", timeout=3)
    assert found.arguments("host", "port", "api_key") == {"host": "host", "port": 7001, "api_key": "s3cret"}
    assert (found.connect_timeout, found.timeout) == (10.0, 3)
    with pytest.raises(ConfigurationError, match="keyed://:KEY@host") as caught:
        KeyedOptions("keyed://ann:s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_headers_are_text():
    assert KeyedOptions("keyed://host", more={"X-Key": "a"}).more == {"X-Key": "a"}
    for more in ("X-Key: a", {"X-Key": 1}, {1: "a"}, [("a", "b")]):
        with pytest.raises(ConfigurationError, match="more must be a mapping of text to text"):
            KeyedOptions("keyed://host", more=more)


def test_a_client_of_the_callers_own_is_documented():
    meaning = "a `Client` (`AsyncClient` for the async store) of yours instead of a place; it stays open"
    assert f"| `client` | none | {meaning} |" in KeyedOptions.table()


def test_a_driver_takes_from_the_options_what_all_drivers_have():
    driver = Driver(KeyedOptions("keyed://host", timeout=3, connect_timeout=2, lock_timeout=1))
    assert driver.where == "the Keyed server at host:7001"
    assert (driver.timeout, driver.connect_timeout, driver.lock_timeout, driver.given) == (3, 2, 1, None)
    client = object()
    assert Driver(KeyedOptions(client=client)).given is client
    fewer = Driver(ToyOptions("toy://host", timeout=3))  # has neither of the other two
    assert (fewer.timeout, fewer.connect_timeout, fewer.lock_timeout) == (3, 10.0, 60.0)


@pytest.mark.parametrize(
    ("host", "authority"), [("h", "h:7"), ("::1", "[::1]:7"), ("[::1]", "[::1]:7"), ("a:1,b:2", "a:1,b:2:7")]
)
def test_a_host_and_a_port_as_they_stand_in_a_url(host, authority):
    assert ToyOptions(host=host, port=7).authority == authority


class SecureOptions(ToyOptions):
    schemes = ("toy", "https", "http")
    tls_is = "secure"
    tls_port = 7443
    clouds = (".toy.example",)

    secure = option(None, "flag", "use TLS", url=True, server=True)


@pytest.mark.parametrize(
    ("given", "secure", "port"),
    [
        ({"url": "toy://db"}, False, 7000),
        ({"url": "https://db"}, True, 7443),
        ({"url": "HTTPS://db:7000"}, True, 7000),
        ({"url": "http://db?secure=false"}, False, 7000),
        ({"url": "http://db"}, False, 7000),
        ({"url": "http://A.toy.example"}, True, 7443),
        ({"url": "toy://db?secure=true", "port": 7000}, True, 7000),
        ({"host": "db", "secure": True}, True, 7443),
        ({"host": "A.toy.example"}, True, 7443),
        ({"path": "/a"}, None, 7000),
    ],
)
def test_tls(given, secure, port):
    found = SecureOptions(**given)
    assert (found.secure, found.port) == (secure, port)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("scheme", "secure", "words"),
    [
        ("https", False, "https:// is with TLS, and secure=False without it"),
        ("HTTP", True, "http:// is without TLS, and secure=True with it"),
    ],
)
def test_a_url_and_an_option_that_contradict_each_other(scheme, secure, words, inside):
    given = {"url": f"{scheme}://db?secure={secure}"} if inside else {"url": f"{scheme}://db", "secure": secure}
    with pytest.raises(ConfigurationError, match=words):
        SecureOptions(**given)
