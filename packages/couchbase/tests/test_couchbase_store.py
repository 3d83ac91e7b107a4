"""What the stores in Couchbase do without it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from couchbase import exceptions

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.filters import parse
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence_couchbase import AsyncCouchbaseKnowledgeStore, CouchbaseKnowledgeStore, CouchbaseOptions
from praisonai_persistence_couchbase._driver import CouchbaseDriver, UnseenError
from praisonai_persistence_couchbase._filters import QueryCompiler


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_couchbase as p; p.CouchbaseKnowledgeStore(); "
        "assert 'couchbase' not in sys.modules, sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_it_is():
    found = CouchbaseOptions()
    assert (found.connection_string, found.username, found.password) == ("couchbase://localhost", "Administrator", "")
    assert (found.bucket_name, found.scope_name, found.collection_name) == ("praisonai", "_default", "vectors")
    assert (found.index_name, found.vector_field, found.text_field) == ("vector_index", "embedding", "content")
    found = CouchbaseOptions("couchbases://me:s3cret@cb.example.com/agents?scope_name=s&durability=none")
    assert (found.connection_string, found.username, found.password) == ("couchbases://cb.example.com", "me", "s3cret")
    assert (found.bucket_name, found.scope_name, found.durability) == ("agents", "s", "none")
    assert "s3cret" not in repr(found) + found.where
    assert CouchbaseOptions("couchbase://host:12000/agents").connection_string == "couchbase://host:12000"
    for own, host in (("couchbase://one,two?network=external", "one"), ("couchbase://[fd00::1]:12000,two", "fd00::1")):
        found = CouchbaseOptions(connection_string=own)
        assert (found.connection_string, found.host) == (own, host)


def test_addresses_of_ipv6_are_in_brackets():
    for given in ({"host": "::1"}, {"host": "[::1]"}, {"url": "couchbase://[::1]/agents"}):
        assert CouchbaseOptions(**given).connection_string == "couchbase://[::1]", given
    assert CouchbaseOptions("couchbases://[fd00::1]:12000").connection_string == "couchbases://[fd00::1]:12000"
    assert CouchbaseOptions("COUCHBASES://me:s3cret@h/agents").connection_string == "couchbases://h"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connection_string": "couchbase://h", "url": "couchbase://h"}, "beside it"),
        ({"connection_string": "couchbase://me:s3cret@h"}, "without a password"),
        ({"connection_string": "http://h"}, "couchbase://HOST"),
        ({"connection_string": 7}, "couchbase://HOST"),
        ({"bucket_name": "a b"}, "bucket_name"),
        ({"scope_name": "_x"}, "scope_name"),
        ({"collection_name": ""}, "collection_name"),
        ({"index_name": "1"}, "index_name"),
        ({"vector_field": "content"}, "must differ"),
        ({"text_field": "facts"}, "cannot be"),
        ({"durability": "all"}, "one of none, majority"),
        ({"url": "redis://me:s3cret@host"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        CouchbaseKnowledgeStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", [CouchbaseKnowledgeStore, AsyncCouchbaseKnowledgeStore])
def test_what_is_on_no_disk_is_not_called_durable(kind):
    assert "durable" in kind().capabilities
    assert "durable" in kind(durability="persist_to_majority").capabilities
    for level in ("none", "majority"):
        assert "durable" not in kind(durability=level).capabilities
    assert "durable" in kind.capabilities


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("AuthenticationException", ConnectionFailedError, "check username and password"),
        ("SearchIndexNotFoundException", GoneError, "no such"),
        ("DocumentExistsException", TakenError, "first"),
        ("CasMismatchException", TakenError, "first"),
        ("BucketNotFoundException", ConfigurationError, "make it first"),
        ("TemporaryFailException", ThrottledError, "try again"),
        ("QuotaLimitedException", BackendError, "delete a collection"),
        ("DurabilityImpossibleException", BackendError, "another durability"),
        ("DurabilitySyncWriteAmbiguousException", ConnectionFailedError, "may have been done"),
        ("AmbiguousTimeoutException", ConnectionFailedError, "may have been done"),
        ("UnAmbiguousTimeoutException", ConnectionFailedError, "does not answer"),
        ("FeatureUnavailableException", UnsupportedOperationError, "7.6.4"),
        ("ValueFormatException", SerializationError, "20 MB"),
    ],
)
def test_what_the_client_says(error, kind, words):
    made = getattr(exceptions, error)(message="s3cret")
    found = CouchbaseDriver(CouchbaseOptions()).translate(made)
    assert type(found) is kind
    assert words in str(found)
    assert "s3cret" not in str(found)


_ASKED = {"ctl": {"consistency": {"level": "at_plus"}}, "query": {"term": "pindex s3cret index not found"}}


def _answered(status, said, error=exceptions.InternalServerFailureException):
    """An error of the client after an answer of the Search service, which has the request in it."""
    body = None if said is None else json.dumps({"error": said, "request": _ASKED, "status": "fail"})
    context = exceptions.SearchErrorContext(http_status=status, http_body=body, parameters=json.dumps(_ASKED))
    return error(message=f"parameters: {_ASKED}", context=context)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (_answered(429, "query request rejected"), ThrottledError, "no memory"),
        (_answered(429, "num_concurrent_requests", exceptions.RateLimitedException), ThrottledError, "no memory"),
        (_answered(400, "no planPIndexes for indexName"), ThrottledError, "not ready"),
        (_answered(400, "err: pindex not available"), ThrottledError, "not ready"),
        (_answered(400, "rest_auth: index not found"), GoneError, "no such"),
        (_answered(400, "pindex_consistency mismatched partition, uuid: 7, cwr: &"), UnseenError, "does not show"),
        (_answered(400, "pindex_consistency mismatched partition, uuid: , cwr: &"), ThrottledError, "not ready"),
        (_answered(412, '{"status": "cancelled"}'), UnseenError, "does not show"),
        (_answered(0, None, exceptions.AmbiguousTimeoutException), UnseenError, "did not answer a query"),
        (_answered(0, None, exceptions.UnAmbiguousTimeoutException), UnseenError, "did not answer a query"),
        (_answered(0, None, exceptions.RequestCanceledException), ConnectionFailedError, "does not answer"),
        (exceptions.CouchbaseException(error_code=104), SerializationError, "20 MB"),
    ],
)
def test_what_the_server_says_is_told_from_what_it_was_asked(error, kind, words):
    found = CouchbaseDriver(CouchbaseOptions()).translate(error)
    assert type(found) is kind
    assert words in str(found)
    assert "s3cret" not in str(found)


def test_an_unknown_error_is_not_guessed_from_the_request():
    assert CouchbaseDriver(CouchbaseOptions()).translate(_answered(500, "internal error")) is None


def test_filters_are_queries_of_the_search_service():
    found = QueryCompiler().compile(
        parse({"a": 1, "b": {"$in": [1, "x"]}, "c": {"$gt": 1}, "$not": {"d": {"$contains": "y"}}})
    )
    assert not found.exact
    kinds = sorted(tuple(sorted(part)) for part in found.expression["conjuncts"])
    assert kinds == [
        ("disjuncts", "min"),
        ("field", "inclusive_min", "min"),
        ("field", "term"),
        ("must", "must_not"),
    ]


def test_wide_filters_are_checked_here():
    found = QueryCompiler().compile(parse({"a": {"$in": list(range(501))}}))
    assert not found.exact
    assert set(found.expression) == {"field", "term"}
    refuted = QueryCompiler().compile(parse({"a": {"$nin": list(range(501))}}))
    assert (refuted.expression, refuted.exact) == (None, False)
