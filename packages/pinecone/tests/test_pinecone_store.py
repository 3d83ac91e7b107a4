"""What the stores in Pinecone do without it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pinecone import errors

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
)
from praisonai_persistence.filters import parse
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence_pinecone import PineconeKnowledgeStore, PineconeOptions
from praisonai_persistence_pinecone._driver import PineconeDriver
from praisonai_persistence_pinecone._filters import FilterCompiler


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("PINECONE_API_KEY", raising=False)
    return monkeypatch


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_pinecone as p; p.PineconeKnowledgeStore(api_key='k'); "
        "assert not {'pinecone', 'httpx'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_it_is(environment):
    found = PineconeOptions(api_key="k3y")
    assert (found.host, found.port, found.https, found.index_name) == ("api.pinecone.io", 443, True, None)
    found = PineconeOptions("pinecone://:k3y@api.pinecone.io?index_name=docs&freshness=own&region=eu-west-1")
    assert (found.api_key, found.index_name, found.freshness, found.region) == ("k3y", "docs", "own", "eu-west-1")
    assert "k3y" not in repr(found) + found.where
    environment.setenv("PINECONE_API_KEY", "of-the-environment")
    assert PineconeOptions().api_key == "of-the-environment"
    assert PineconeOptions("http://localhost:5080").https is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "PINECONE_API_KEY"),
        ({"api_key": "k3y", "index_name": "Docs"}, "lower-case"),
        ({"api_key": "k3y", "index_name": "docs", "index_host": "h.pinecone.io"}, "cannot be given beside it"),
        ({"api_key": "k3y", "namespace": "\u00e9"}, "ASCII"),
        ({"api_key": "k3y", "freshness": "none"}, "one of all, own"),
        ({"url": "redis://:k3y@host"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        PineconeKnowledgeStore(**options)
    assert words in str(caught.value)
    assert "k3y" not in str(caught.value)


def made(kind, status, message="s3cret"):
    return kind(message=message, status_code=status, body=None, reason="", headers={})


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (made(errors.UnauthorizedError, 401), ConnectionFailedError, "check its API key"),
        (made(errors.ForbiddenError, 403), ConnectionFailedError, "check its API key"),
        (made(errors.ForbiddenError, 403, "You've reached the max serverless indexes"), BackendError, "index_name"),
        (made(errors.PaymentRequiredError, 402), ConnectionFailedError, "paid"),
        (made(errors.NotFoundError, 404), GoneError, "no such"),
        (made(errors.NotFoundError, 404, "Resource cloud: aws region: x not found"), ConfigurationError, "'us-east-1'"),
        (made(errors.ConflictError, 409), TakenError, "already"),
        (made(errors.PayloadTooLargeError, 413), SerializationError, "fewer documents"),
        (made(errors.RateLimitError, 429), ThrottledError, "try again later"),
        (made(errors.RateLimitError, 429, "limit for the current month"), ConnectionFailedError, "month"),
        (made(errors.ServiceError, 503), ConnectionFailedError, "does not answer"),
        (made(errors.ApiError, 400), BackendError, "400"),
        (errors.PineconeTimeoutError("s3cret"), ConnectionFailedError, "does not answer"),
        (errors.PineconeConnectionError("s3cret"), ConnectionFailedError, "does not answer"),
        (errors.ResponseParsingError("s3cret"), ConnectionFailedError, "check the URL"),
        (errors.PineconeValueError("The API key is blank"), ConfigurationError, "API key"),
    ],
)
def test_what_the_service_says(error, kind, words):
    driver = PineconeDriver(PineconeOptions(api_key="k3y"), lambda: iter(()), asynchronous=False)
    found = driver.translate(error)
    assert type(found) is kind
    assert words in str(found)
    assert "s3cret" not in str(found)


def test_copies_are_of_types_that_pinecone_holds():
    found = copies('{"a":[1,"x",1],"b":null,"c":1e400,"d":{"e":[]},"f":[]}'.replace("1e400", "12345678901234567890123"))
    assert {type(value) for value in found.values()} == {str, float, list}
    assert sorted(name[0] for name in found) == ["i", "n", "v", "v", "v", "v", "v"]
    assert [len(value) for value in found.values() if isinstance(value, list)] == [2]


def test_filters_say_only_what_is_documented():
    """Of lists and of missing fields no negation is asked."""

    def operators(tree, found):
        for name, value in tree.items():
            if name in {"$and", "$or"}:
                for part in value:
                    operators(part, found)
            else:
                (operator,) = value
                found.add((name[0], operator))
        return found

    compiled = FilterCompiler().compile(
        parse(
            {
                "a": 1,
                "b": {"$nin": [1, "x"]},
                "c": {"$gt": 1, "$exists": True},
                "$not": {"$or": [{"d": {"$contains": 1}}, {"e": "x"}]},
                "f": {"$contains": "y"},
            }
        )
    )
    assert not compiled.exact
    assert operators(compiled.expression, set()) == {
        ("v", "$in"),
        ("v", "$nin"),
        ("v", "$exists"),
        ("n", "$gte"),
        ("i", "$in"),
    }


def test_wide_filters_are_checked_here():
    compiled = FilterCompiler().compile(parse({"a": {"$in": list(range(10_001))}}))
    assert not compiled.exact
    assert list(compiled.expression.values()) == [{"$exists": True}]
    refuted = FilterCompiler().compile(parse({"a": {"$nin": list(range(10_001))}}))
    assert (refuted.expression, refuted.exact) == (None, False)
