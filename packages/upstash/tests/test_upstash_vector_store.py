"""What the stores in Upstash Vector do without it."""

from __future__ import annotations

import httpx
import pytest

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError, SerializationError
from praisonai_persistence.filters import matches, parse
from praisonai_persistence.payload import dumps
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.vector_errors import GoneError
from praisonai_persistence_upstash import UpstashVectorKnowledgeStore, UpstashVectorOptions
from praisonai_persistence_upstash._vector_driver import UpstashVectorDriver, _RefusedError
from praisonai_persistence_upstash._vector_filters import FilterCompiler


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in UpstashVectorOptions.variables:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_where_the_index_is(environment):
    found = UpstashVectorOptions("upstash_vector://:s3cret@Name.upstash.io?freshness=own")
    assert (found.host, found.port, found.https, found.token) == ("name.upstash.io", 443, True, "s3cret")
    assert found.freshness == "own"
    assert "s3cret" not in repr(found) + found.where
    assert UpstashVectorOptions("http://:t@localhost:8080").https is False
    environment.setenv("UPSTASH_VECTOR_REST_URL", "https://name.upstash.io")
    environment.setenv("UPSTASH_VECTOR_REST_TOKEN", "of-the-environment")
    assert (UpstashVectorOptions().host, UpstashVectorOptions().token) == ("name.upstash.io", "of-the-environment")


def test_an_address_of_ipv6_is_asked():
    with (
        UpstashVectorKnowledgeStore("http://:t@[::1]:1", connect_timeout=1) as store,
        pytest.raises(ConnectionFailedError, match=r"does not answer \(Connect"),
    ):
        store.list_collections()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "url='upstash_vector://host:443'"),
        ({"url": "https://name.upstash.io"}, "UPSTASH_VECTOR_REST_TOKEN"),
        ({"url": "https://:s3cret@name.upstash.io", "namespace": "a/b"}, "letters, digits"),
        ({"url": "https://:s3cret@name.upstash.io", "freshness": "none"}, "one of all, own"),
        ({"url": "upstash://:s3cret@name.upstash.io"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        UpstashVectorKnowledgeStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (_RefusedError(401, "Unauthorized: s3cret"), ConnectionFailedError, "check its token"),
        (_RefusedError(404, "Namespace s3cret does not exist"), GoneError, "no such"),
        (_RefusedError(413, ""), SerializationError, "fewer documents"),
        (_RefusedError(422, "Invalid vector dimension: 2, expected: 3"), ConfigurationError, "another dimension"),
        (_RefusedError(429, "Too many requests"), ThrottledError, "try again later"),
        (_RefusedError(429, "Exceeded daily limit"), ConnectionFailedError, "raise the plan"),
        (_RefusedError(400, "Metadata size exceeds the limit"), SerializationError, "limit"),
        (_RefusedError(400, "s3cret"), BackendError, "400"),
        (_RefusedError(503, ""), ConnectionFailedError, "does not answer"),
        (httpx.ReadTimeout("s3cret"), ConnectionFailedError, "does not answer"),
        (KeyError("result"), ConnectionFailedError, "check the URL"),
    ],
)
def test_what_the_service_says(error, kind, words):
    driver = UpstashVectorDriver(UpstashVectorOptions("https://:t@host"), lambda: iter(()), asynchronous=False)
    found = driver.translate(error)
    assert type(found) is kind
    assert words in str(found)
    assert "s3cret" not in str(found)


@pytest.mark.parametrize(
    ("filters", "text", "exact"),
    [
        ({"a": 1}, "= '", True),
        ({"a": {"$in": [1, 2]}}, " IN ('", True),
        ({"a": {"$exists": True}}, " GLOB '*'", True),
        ({"a": {"$contains": 1}}, " CONTAINS '", True),
        ({"a": {"$gt": 1}}, " >= 0.9999999999999999", True),
        ({"a": {"$gt": 1e300}}, "", False),
        ({"a": {"$ne": 1}}, "", False),
        ({"a": {"$exists": False}}, "", False),
        ({"$or": [{"a": 1}, {"b": {"$ne": 1}}]}, "", False),
        ({"a": 1, "b": {"$ne": 1}}, "= '", False),
    ],
)
def test_filters_say_only_what_is_documented(filters, text, exact):
    """Of missing fields nothing is asked, and numbers have no exponents; what is left is checked here."""
    found = FilterCompiler().compile(parse(filters)).expression
    assert text in found.text
    assert (bool(found.text), found.exact) == (bool(text), exact)
    for metadata in ({"a": 1}, {"a": 2, "b": 1}, {"a": [1]}, {"a": 1e301}, {}):
        selected = matches(parse(filters), metadata)
        assert found.test(copies(dumps(metadata))) or not selected, metadata


def test_wide_filters_are_checked_here():
    compiled = FilterCompiler().compile(parse({"a": {"$in": list(range(1_001))}}))
    assert (compiled.exact, "GLOB" in compiled.expression.text) == (False, True)
