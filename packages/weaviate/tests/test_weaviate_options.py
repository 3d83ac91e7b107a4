"""Addresses and options, for which no server is needed."""

from __future__ import annotations

import pytest

from praisonai_persistence.errors import ConfigurationError, UnsupportedOperationError
from praisonai_persistence_weaviate import WeaviateOptions
from praisonai_persistence_weaviate._driver import WeaviateDriver


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


def told(version):
    steps = WeaviateDriver(WeaviateOptions("weaviate://db"), asynchronous=False).probe()
    next(steps)
    steps.send({"version": version})


@pytest.mark.parametrize("version", ["1.32.9", "1.9.0-rc.1"])
def test_a_server_whose_filters_cannot_be_negated_is_refused(version):
    with pytest.raises(UnsupportedOperationError, match=r"Weaviate 1\.\d+; 1\.33 or later is needed"):
        told(version)


@pytest.mark.parametrize("version", ["1.33.0-rc.1", "1.39.0", "2.0.0", "preview"])
def test_other_servers_are_used(version):
    with pytest.raises(StopIteration):
        told(version)
