"""What the stores in Cosmos DB do without it."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pytest
from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosClientTimeoutError, CosmosHttpResponseError

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError, SerializationError
from praisonai_persistence.filters import parse
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence_cosmosdb import CosmosDBOptions, CosmosDBVectorKnowledgeStore
from praisonai_persistence_cosmosdb._driver import CosmosDBDriver
from praisonai_persistence_cosmosdb._filters import FilterCompiler
from praisonai_persistence_cosmosdb._tokens import newer
from praisonai_persistence_cosmosdb.knowledge import CosmosDBSteps, _Place

KEY = "czNjcmV0"
STRING = f"AccountEndpoint=https://Name.documents.azure.com:443/;AccountKey={KEY}==;"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("COSMOS_CONNECTION_STRING", raising=False)
    return monkeypatch


def test_importing_the_package_imports_no_client():
    code = (
        f"import sys, praisonai_persistence_cosmosdb as p; p.CosmosDBVectorKnowledgeStore('https://:{KEY}@localhost'); "
        "assert not {'azure', 'aiohttp', 'requests'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_the_account_is(environment):
    found = CosmosDBOptions(f"cosmosdb://:{KEY}@name.documents.azure.com?database=d&freshness=own")
    assert (found.host, found.port, found.https, found.api_key) == ("name.documents.azure.com", 443, True, KEY)
    assert (found.database, found.collection, found.freshness) == ("d", "vectors", "own")
    assert KEY not in repr(found) + found.where
    key = "c2VjcmV0cw=="
    string = f"AccountEndpoint=https://name.documents.azure.com:443/;AccountKey={key};"
    found = CosmosDBOptions(connection_string=string)
    assert (found.host, found.port, found.api_key) == ("name.documents.azure.com", 443, key)
    environment.setenv("COSMOS_CONNECTION_STRING", string)
    assert CosmosDBOptions().api_key == key
    assert CosmosDBOptions(f"http://:{KEY}@localhost:8081").https is False


def test_an_address_of_ipv6_is_asked():
    with (
        CosmosDBVectorKnowledgeStore(f"http://:{KEY}@[::1]:1", connect_timeout=1) as store,
        pytest.raises(ConnectionFailedError, match=r"does not answer \(ServiceRequestError"),
    ):
        store.list_collections()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "url='cosmosdb://host:443'"),
        ({"url": "https://localhost"}, "needs a key"),
        ({"url": "https://localhost", "api_key": "no base64, czNjcmV0"}, "needs a key"),
        ({"connection_string": f"AccountKey={KEY}"}, "AccountEndpoint"),
        ({"url": f"https://:{KEY}@localhost", "connection_string": STRING}, "no url and no host"),
        ({"url": f"https://:{KEY}@localhost", "api_mode": "mongodb"}, "mongodb_vector"),
        ({"url": f"https://:{KEY}@localhost?api_mode=mongodb"}, "mongodb_vector"),
        ({"url": f"https://:{KEY}@localhost", "text_field": "a.b"}, "text_field"),
        ({"url": f"https://:{KEY}@localhost", "embedding_field": "id"}, "embedding_field"),
        ({"url": f"https://:{KEY}@localhost", "embedding_field": "content"}, "must differ"),
        ({"url": f"https://:{KEY}@localhost", "embedding_field": "Value"}, "word of the query language"),
        ({"url": f"https://:{KEY}@localhost", "collection": "a/b"}, "collection"),
        ({"url": f"https://:{KEY}@localhost", "vector_index": "hnsw"}, "one of diskANN"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        CosmosDBVectorKnowledgeStore(**options)
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


def made(status, message="s3cret", sub_status=None):
    error = CosmosHttpResponseError(status_code=status, message=message)
    error.sub_status = sub_status
    return error


def made_in_batch(status, sub_status=None):
    """What the client raises where a batch was answered, and one of its operations refused."""
    responses = [{"statusCode": status, "subStatusCode": sub_status, "resourceBody": {"content": "s3cret"}}]
    return CosmosBatchOperationError(0, {}, status, "s3cret", responses)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (made(401), ConnectionFailedError, "check its key"),
        (made(403), ConnectionFailedError, "check its key"),
        (made(403, "Your account has reached the maximum number of containers"), BackendError, "quotas"),
        (made(403, sub_status=1005), BackendError, "quotas"),
        (made(403, sub_status=1014), BackendError, "no more room in this collection"),
        (made(403, sub_status=3), ConnectionFailedError, "no writes"),
        (
            made(403, "Request originated from client IP {...} through public internet"),
            ConnectionFailedError,
            "firewall",
        ),
        (made(400, "Vector Indexing is not supported for shared throughput offer."), ConfigurationError, "database="),
        (made(400, "the maximum is s3cret"), BackendError, "failed"),
        (made(404), GoneError, "no such"),
        (made(404, sub_status=1003), GoneError, "no such"),
        (made(404, sub_status=1013), ThrottledError, "making"),
        (made(404, sub_status=1002), ThrottledError, "behind"),
        (made(409), TakenError, "already"),
        (made(412), TakenError, "another version"),
        (made(413), SerializationError, "fewer documents"),
        (made(429), ThrottledError, "request units"),
        (made(449), ThrottledError, "one item"),
        (made(503), ConnectionFailedError, "does not answer"),
        (made(400), BackendError, "400"),
        (made_in_batch(403, 1014), BackendError, "no more room in this collection"),
        (made_in_batch(404), GoneError, "no such"),
        (made_in_batch(409), TakenError, "already"),
        (made_in_batch(412), TakenError, "another version"),
        (made_in_batch(413), SerializationError, "fewer documents"),
        (made_in_batch(429), ThrottledError, "request units"),
        (made_in_batch(449), ThrottledError, "one item"),
        (made_in_batch(400), BackendError, "400"),
        (ServiceRequestError("s3cret"), ConnectionFailedError, "does not answer"),
        (ServiceResponseError("s3cret"), ConnectionFailedError, "does not answer"),
        (CosmosClientTimeoutError(), ConnectionFailedError, "does not answer"),
        (DecodeError("s3cret"), ConnectionFailedError, "check the URL"),
        (KeyError("s3cret"), ConnectionFailedError, "check the URL"),
    ],
)
def test_what_the_service_says(error, kind, words):
    driver = CosmosDBDriver(CosmosDBOptions(f"https://:{KEY}@host"), lambda: iter(()), asynchronous=False)
    found = driver.translate(error)
    assert type(found) is kind
    assert words in str(found)
    assert "s3cret" not in str(found)
    if isinstance(error, (CosmosHttpResponseError, CosmosBatchOperationError)):  # it is printed with ours
        assert "s3cret" not in "".join(traceback.format_exception(error))


def test_no_condition_is_ever_undefined():
    """What is not there is asked for first: a comparison with it is undefined, and so is its negation."""
    compiled = FilterCompiler().compile(
        parse(
            {
                "a": 1,
                "b": {"$nin": [1, "x"]},
                "c": {"$gt": 1},
                "$not": {"$or": [{"d": {"$exists": True}}, {"e": "x"}]},
                "f": {"$contains": "y"},
            }
        )
    )
    text = compiled.expression
    assert not compiled.exact
    for word in ("c.v", "c.n", "c.i"):
        assert all(
            "IS_DEFINED(" in text[max(0, place - 70) : place + 3]
            for place in range(len(text))
            if text.startswith(word, place)
        )


def test_wide_filters_are_checked_here():
    compiled = FilterCompiler().compile(parse({"a": {"$in": list(range(1_001))}}))
    assert (compiled.exact, compiled.expression.startswith("IS_DEFINED")) == (False, True)
    wide = parse({"$or": [{"a": {"$in": list(range(900))}, "b": {"$in": list(range(900))}} for _ in range(10)]})
    assert FilterCompiler().compile(wide).expression is None


def answered(steps, answer):
    """Give operations that wait for their request its answer; return what they return, if they end with it."""
    with pytest.raises(StopIteration) as ended:
        steps.send(answer)
    return ended.value.value


@pytest.fixture
def make():
    """Return steps, and one of their places."""

    def make(freshness):
        steps = CosmosDBSteps(CosmosDBOptions(f"https://:{KEY}@host", freshness=freshness))
        return steps, _Place("vectors-2-dotproduct", "one")

    return make


def test_a_late_answer_is_not_taken_for_the_newest_write(make):
    steps, place = make("own")
    first, second = steps._batch(place, []), steps._batch(place, [])
    next(first), next(second)
    answered(second, ("0:-1#11", []))
    answered(first, ("0:-1#10", []))
    with pytest.raises(StopIteration) as ended:
        next(steps._fresh(place))
    assert ended.value.value == "0:-1#11"


def test_a_read_of_all_has_the_token_of_its_own_request(make):
    steps, place = make("all")
    first, second = steps._fresh(place), steps._fresh(place)
    next(first), next(second)
    assert answered(second, "0:-1#12") == "0:-1#12"
    assert answered(first, "0:-1#11") == "0:-1#11"
    assert steps._tokens == {place: "0:-1#12"}


@pytest.mark.parametrize(
    ("kept", "found", "newest"),
    [
        (None, "0:-1#3", "0:-1#3"),
        ("0:-1#3", None, "0:-1#3"),
        ("0:-1#9", "0:-1#10", "0:-1#10"),
        ("0:-1#10", "0:-1#9", "0:-1#10"),
        ("0:1#10#3=8", "0:1#9#3=9", "0:1#10#3=8"),
        ("0:1#10#3=8", "0:2#9", "0:2#9"),
        ("0:2#9", "0:1#10#3=8", "0:2#9"),
        ("10", "0:9", "0:9"),
        ("0:10", "0:9", "0:10"),
        ("0:-1#10", "1:-1#11", "1:-1#11"),
        ("1:-1#11", "0:-1#10", "1:-1#11"),
        ("1:1#11", "0:2#10", "1:1#11"),
        ("0:-1#10", "of another format", "of another format"),
    ],
)
def test_which_token_is_the_newest(kept, found, newest):
    assert newer(kept, found) == newest
