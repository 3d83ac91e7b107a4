"""Addresses, options and the meaning of errors, for which no server is needed."""

from __future__ import annotations

import cassandra
import pytest
from cassandra import cluster, protocol

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SchemaError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores.vector_errors import GoneError
from praisonai_persistence_cassandra import CassandraKnowledgeStore, CassandraOptions
from praisonai_persistence_cassandra._driver import CassandraDriver, UndecidedError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, (["localhost"], 9042, "praisonai", None)),
        ({"url": "cassandra://a:9043/own"}, (["a"], 9043, "own", None)),
        ({"url": "cassandra://me:pw@a/own", "hosts": ["b", "a"]}, (["a", "b"], 9042, "own", "me")),
        ({"hosts": ["b", "c"], "keyspace": "own"}, (["b", "c"], 9042, "own", None)),
    ],
)
def test_addresses(given, wanted):
    found = CassandraOptions(**given)
    assert (found.contacts, found.port, found.keyspace, found.username) == wanted


@pytest.mark.parametrize("hosts", ["a,b", [], [1], [""]])
def test_hosts_are_a_list_of_names(hosts):
    with pytest.raises(ConfigurationError, match="hosts"):
        CassandraOptions(hosts=hosts)


@pytest.mark.parametrize("keyspace", ["a-b", "a" * 49, 'a"; DROP', "ä"])
def test_keyspaces_are_identifiers(keyspace):
    with pytest.raises(ConfigurationError, match="keyspace"):
        CassandraOptions(keyspace=keyspace)


def test_a_bundle_is_a_place():
    assert CassandraOptions(secure_connect_bundle="x.zip").host is None
    with pytest.raises(ConfigurationError, match="secure_connect_bundle"):
        CassandraOptions(secure_connect_bundle="x.zip", host="a")


def test_secrets_are_not_shown():
    with CassandraKnowledgeStore("cassandra://me:s3cret@a/own") as store:
        assert "s3cret" not in repr(store)
    with pytest.raises(ConfigurationError, match="password"):
        CassandraOptions(username="me")


UNKNOWN = "safe to repeat"
LOGIN = cassandra.AuthenticationFailed("s3cret")


@pytest.mark.parametrize(
    ("error", "wanted", "words"),
    [
        (cluster.NoHostAvailable("s3cret", {"a": LOGIN}), ConnectionFailedError, "username and password"),
        (cassandra.Unauthorized("s3cret"), ConnectionFailedError, "keyspace own"),
        (cluster.NoHostAvailable("s3cret", {"a": OSError()}), ConnectionFailedError, "does not answer"),
        (cassandra.Unavailable("s3cret"), ConnectionFailedError, "replicas"),
        (cassandra.OperationTimedOut({}, "a"), ConnectionFailedError, UNKNOWN),
        (cassandra.WriteTimeout("s3cret", write_type=0), UndecidedError, UNKNOWN),
        (protocol.WriteFailureMessage(0, "s3cret", {}), UndecidedError, UNKNOWN),
        (protocol.ErrorMessage(0x1700, "s3cret", None), UndecidedError, UNKNOWN),
        (cassandra.ReadTimeout("s3cret"), UndecidedError, "does not answer"),
        (cassandra.InvalidRequest("table t does not exist s3cret"), GoneError, "no such collection"),
        (cassandra.InvalidRequest("Undefined column name s3cret"), SchemaError, "another keyspace"),
        (protocol.SyntaxException(0, "s3cret", {}), UnsupportedOperationError, "Cassandra 5.0"),
        (cassandra.InvalidRequest("Unknown type vector s3cret"), UnsupportedOperationError, "Cassandra 5.0"),
        (cassandra.InvalidRequest("s3cret"), BackendError, "InvalidRequest"),
    ],
)
def test_what_errors_mean(error, wanted, words):
    found = CassandraDriver(CassandraOptions("cassandra://a/own")).translate(error)
    assert type(found) is wanted
    assert words in str(found)
    assert "s3cret" not in str(found)
