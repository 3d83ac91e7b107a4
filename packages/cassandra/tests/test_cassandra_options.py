"""Addresses, options and the meaning of errors, for which no server is needed."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

import cassandra
import pytest
from cassandra import cluster, connection, protocol
from cassandra.policies import FallthroughRetryPolicy

from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SchemaError,
    UnsupportedOperationError,
)
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.stores.vector_errors import GoneError
from praisonai_persistence_cassandra import CassandraKnowledgeStore, CassandraOptions
from praisonai_persistence_cassandra._driver import Ask, Batches, CassandraDriver, Each, UndecidedError, _table_id
from praisonai_persistence_cassandra.knowledge import CassandraSteps


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
        (cassandra.InvalidRequest("table t does not exist s3cret"), GoneError, "no such table"),
        (cassandra.InvalidRequest("Keyspace 'x' doesn't exist s3cret"), GoneError, "open the store anew"),
        (cassandra.InvalidRequest("Undefined column name s3cret"), SchemaError, "another keyspace"),
        (protocol.SyntaxException(0, "s3cret", {}), UnsupportedOperationError, "Cassandra 5.0"),
        (cassandra.InvalidRequest("Unknown type vector s3cret"), UnsupportedOperationError, "Cassandra 5.0"),
        (cassandra.InvalidRequest("Guardrail tables violated: s3cret"), UnsupportedOperationError, "guardrail tables"),
        (protocol.ConfigurationException(0, "no class s3cret", {}), UnsupportedOperationError, "Cassandra 5.0"),
        (cassandra.InvalidRequest("s3cret"), BackendError, "InvalidRequest"),
    ],
)
def test_what_errors_mean(error, wanted, words):
    found = CassandraDriver(CassandraOptions("cassandra://a/own")).translate(error)
    assert type(found) is wanted
    assert words in str(found)
    assert "s3cret" not in str(found)


@pytest.fixture
def server_of_protocol_4():
    """The port of what answers as servers do that speak version 4 at the most, such as ScyllaDB and Cassandra 3."""
    says = b"Invalid or unsupported protocol version (5); the lowest supported version is 3 and the greatest is 4"
    body = struct.pack(">iH", 0x000A, len(says)) + says
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with suppress(OSError):  # closed
                while True:
                    client, _ = listening.accept()
                    with client, suppress(OSError, struct.error):
                        _, _, stream, _, size = struct.unpack(">BBhBi", client.recv(9, socket.MSG_WAITALL))
                        client.recv(size, socket.MSG_WAITALL)
                        client.sendall(struct.pack(">BBhBi", 0x84, 0, stream, 0, len(body)) + body)

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_server_of_an_older_protocol_is_named(server_of_protocol_4):
    url = f"cassandra://127.0.0.1:{server_of_protocol_4}/own"
    with CassandraKnowledgeStore(url, connect_timeout=5) as store, pytest.raises(UnsupportedOperationError) as found:
        store.list_collections()
    assert "Cassandra 4.0 or later" in str(found.value)
    assert "ScyllaDB" in str(found.value)


def test_vectors_too_long_for_the_index_are_refused_before_anything_is_asked():
    steps = CassandraSteps(CassandraOptions(vector_index=True))
    with pytest.raises(ConfigurationError, match="8,192"):
        next(steps._create(CollectionInfo("docs", 8_193, "cosine", None), None))
    for options, dimension in (CassandraOptions(vector_index=True), 8_192), (CassandraOptions(), 65_535):
        asked = next(CassandraSteps(options)._create(CollectionInfo("docs", dimension, "cosine", None), None))
        assert asked.cql.startswith("CREATE TABLE")


@pytest.mark.parametrize(
    ("error", "connected"),
    [
        (cassandra.ReadTimeout("x"), True),
        (cassandra.WriteTimeout("x", write_type=0), True),
        (connection.ConnectionShutdown("x"), False),
    ],
)
def test_only_a_broken_connection_counts_as_lost(error, connected):
    assert CassandraDriver(CassandraOptions("cassandra://a/own")).translate(error).connected is connected


class Statement:
    retry_policy = None

    def bind(self, _values):
        return Statement()


class Session:
    """Stands for the client's, and keeps what it was given."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.sent: list[Statement] = []

    def prepare(self, _cql):
        return Statement()

    def execute_async(self, statement):
        self.sent.append(statement)
        return self

    def execute(self, statement, **_options):
        self.sent.append(statement)
        return self.result()

    def result(self):
        if self.failure is not None:
            raise self.failure
        return self

    current_rows, paging_state = (), None

    def one(self):
        return None

    def all(self):
        return []


IF, PLAIN = "DELETE FROM t WHERE id = ? IF v = ?", "DELETE FROM t WHERE id = ?"
CONDITIONAL = [Ask(IF, [1, 2]), Each(IF, [[1, 2]]), Batches([[(IF, [1, 2])]])]


def performed(request, session):
    driver = CassandraDriver(CassandraOptions("cassandra://a/own"))
    driver._prepared[session] = {}
    return driver.perform(session, request)


@pytest.mark.parametrize("request_", CONDITIONAL)
def test_the_client_repeats_no_conditional_write(request_):
    session = Session()
    performed(request_, session)
    assert [type(one.retry_policy) for one in session.sent] == [FallthroughRetryPolicy]


@pytest.mark.parametrize("request_", [Ask(PLAIN, [1]), Each(PLAIN, [[1]])])
def test_the_client_repeats_other_writes(request_):
    session = Session()
    performed(request_, session)
    assert [one.retry_policy for one in session.sent] == [None]


GIVEN_UP = [
    cassandra.Unavailable("s3cret"),
    protocol.OverloadedErrorMessage(0x1001, "s3cret", {}),
    protocol.ServerError(0, "s3cret", {}),
]


@pytest.mark.parametrize("error", GIVEN_UP)
@pytest.mark.parametrize("request_", CONDITIONAL)
def test_a_server_that_gives_up_may_have_written(request_, error):
    with pytest.raises(UndecidedError, match="what became of a write") as found:
        performed(request_, Session(error))
    assert "s3cret" not in str(found.value)


@pytest.mark.parametrize("error", GIVEN_UP)
@pytest.mark.parametrize("request_", [Each(PLAIN, [[1]]), Ask("DROP TABLE IF EXISTS t")])
def test_a_server_that_gives_up_another_request(request_, error):
    with pytest.raises(type(error)):
        performed(request_, Session(error))


def test_statements_that_another_thread_forgets():
    class Forgotten(dict):
        def __setitem__(self, key, value):
            super().__setitem__(key, value)
            self.clear()

    session = Session()
    driver = CassandraDriver(CassandraOptions("cassandra://a/own"))
    driver._prepared[session] = Forgotten()
    assert driver._statement(session, PLAIN) is not None


@pytest.mark.parametrize(("write", "repeated"), [(False, True), (True, False)])
def test_a_read_that_waited_for_a_replica_that_is_gone_is_repeated(write, repeated):
    driver = CassandraDriver(CassandraOptions())
    error = driver.translate(cassandra.ReadTimeout("x"))
    error.__cause__ = cassandra.ReadTimeout("x")
    assert driver.repeats(error, write=write) is repeated
    error.__cause__ = cassandra.OperationTimedOut()
    assert not driver.repeats(error, write=write)


def test_tables_have_ids_that_do_not_change():
    assert str(_table_id("praisonai", "praisonai_state")) == "b68ead76-89ee-5da0-8154-4b148dfa2fc4"
    assert _table_id("other", "praisonai_state") != _table_id("praisonai", "praisonai_state")
