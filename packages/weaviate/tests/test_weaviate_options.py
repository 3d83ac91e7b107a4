"""Addresses and options, for which no server is needed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from weaviate.exceptions import WeaviateConnectionError

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SchemaError,
    UnsupportedOperationError,
)
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.stores.knowledge import encode_document
from praisonai_persistence.stores.vector_engine import Collection, GoneError
from praisonai_persistence_weaviate import WeaviateOptions
from praisonai_persistence_weaviate._driver import WeaviateDriver
from praisonai_persistence_weaviate.knowledge import WeaviateSteps


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"url": "weaviate://db"}, ("db", 8080, False, "db", 50051)),
        ({"url": "weaviate://:k@a1b2.c0.weaviate.cloud"}, ("a1b2.c0.weaviate.cloud", 443, True, None, 443)),
        ({"url": "https://a1b2.c0.weaviate.cloud"}, ("a1b2.c0.weaviate.cloud", 443, True, None, 443)),
        ({"url": "https://db.example"}, ("db.example", 443, True, "db.example", 50051)),
        ({"url": "http://db.example:8080"}, ("db.example", 8080, False, "db.example", 50051)),
        ({"host": "db", "https": True, "port": 8080, "grpc_port": 1}, ("db", 8080, True, "db", 1)),
    ],
)
def test_addresses(given, wanted):
    found = WeaviateOptions(**given)
    host, port, https, grpc_host, grpc_port = wanted
    assert (found.host, found.port, found.https, found.grpc_port) == (host, port, https, grpc_port)
    assert found.grpc_host == (grpc_host or f"grpc-{host}")


def test_one_port_for_both_interfaces_is_refused():
    with pytest.raises(ConfigurationError, match="grpc_port"):
        WeaviateOptions("weaviate://db:8080?grpc_port=8080")


@pytest.mark.parametrize("headers", ["X-Key: a", {"X-Key": 1}, [("a", "b")]])
def test_headers_are_text(headers):
    with pytest.raises(ConfigurationError, match="additional_headers"):
        WeaviateOptions("weaviate://db", additional_headers=headers)


class Nodes:
    """What a server says of its nodes, with the lengths of their queues of batches."""

    def __init__(self, *lengths, status=200):
        self.status_code = status
        self._stats = [{} if length is None else {"queueLength": length} for length in lengths]

    def json(self):
        return {"nodes": [{"batchStats": stats} for stats in self._stats]}


def told(version, nodes):
    """What a driver does with a server that says this, or (an error) does not say how its nodes are."""
    driver = WeaviateDriver(WeaviateOptions("weaviate://db"), asynchronous=False)
    steps = driver.probe()
    next(steps)
    steps.send({"version": version})
    with pytest.raises(StopIteration):
        steps.throw(nodes) if isinstance(nodes, Exception) else steps.send(nodes)
    return driver


@pytest.mark.parametrize("version", ["1.32.9", "1.9.0-rc.1"])
def test_a_server_whose_filters_cannot_be_negated_is_refused(version):
    with pytest.raises(UnsupportedOperationError, match=r"Weaviate 1\.\d+; 1\.33 or later is needed"):
        told(version, Nodes(0))


@pytest.mark.parametrize("version", ["1.33.0-rc.1", "1.39.0", "2.0.0", "preview"])
def test_other_servers_are_used(version):
    assert not told(version, Nodes(0)).lags


@pytest.mark.parametrize(
    ("nodes", "lags"),
    [
        (Nodes(0, 3), False),
        (Nodes(None), True),
        (Nodes(0, None), True),
        (Nodes(status=500), True),
        (ConnectionFailedError("this key may not see the nodes"), True),
    ],
)
def test_a_server_that_may_index_later_is_known(nodes, lags):
    assert told("1.39.0", nodes).lags is lags


def test_what_a_lost_connection_says_is_no_reason_of_the_server():
    driver = WeaviateDriver(WeaviateOptions("weaviate://db"), asynchronous=False)
    found = driver.translate(WeaviateConnectionError("connect to readonly-1.internal failed"))
    assert isinstance(found, ConnectionFailedError)


@pytest.mark.parametrize(
    ("refused", "kind", "says"),
    [
        ({0: "vector index not found for default", 1: "vector index not found for default"}, SchemaError, "dropped"),
        ({0: "could not find class X in schema", 1: "could not find class X in schema"}, GoneError, "no such"),
        ({1: "s3cret"}, BackendError, r"1 of 2 documents: a reason that may quote .* \(1\)"),
        ({0: "s3cret", 1: "s3cret"}, BackendError, r"2 of 2 documents: a reason .* \(2\)"),
        ({0: "vector index not found for x", 1: "s3cret"}, BackendError, r"no index .* \(1\); a reason .* \(1\)"),
        ({1: "could not find class X"}, BackendError, r"1 of 2 documents: there is no such collection \(1\)"),
        ({0: "store is read-only due to: x", 1: "store is read-only due to: y"}, BackendError, r"read-only: .* \(2\)"),
    ],
)
def test_each_object_that_a_batch_did_not_take_is_looked_at(refused, kind, says, caplog):
    """As the client's connection says it: the number of the object, and why."""
    options = WeaviateOptions("weaviate://db", timeout=7)
    driver, sent = WeaviateDriver(options, asynchronous=False), []
    steps = WeaviateSteps(options, driver)

    def batch(request, *, timeout, max_retries):
        sent.append((request, timeout))
        return refused

    client = SimpleNamespace(_connection=SimpleNamespace(grpc_batch_objects=batch))
    rows = [encode_document(KnowledgeDocument(name, "x", [1.0, 0.0], {"a": 1})) for name in "ab"]
    work = steps._store(Collection(CollectionInfo("docs", 2, "cosine", None), "mark_1"), rows)

    def drive():
        request = next(work)
        while True:
            try:
                answer = request(client)
            except Exception as error:
                raise driver.translate(error) from error
            request = work.send(answer)

    with pytest.raises(kind, match=says) as found:
        drive()
    assert "s3cret" not in str(found.value) + caplog.text
    ((request, timeout),) = sent
    assert timeout == 7
    assert [item.collection for item in request.objects] == ["Ppraison___0docs"] * 2
    texts = request.objects[0].properties.non_ref_properties.fields
    assert (texts["key"].string_value, texts["mark_1"].string_value) == ("a", "document")
