"""What the stores in MongoDB are given; nothing is connected."""

from __future__ import annotations

import pytest
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores import MovedError
from praisonai_persistence.stores.document_state import new_document
from praisonai_persistence_mongodb import MongoDBStateStore, MongoOptions
from praisonai_persistence_mongodb._driver import MongoDriver
from praisonai_persistence_mongodb._engine import field_name, fields_of, key_range

SECRET = "s3cret"


def test_the_place_is_localhost_by_default():
    options = MongoOptions()
    assert options.uri == "mongodb://localhost:27017/"
    assert options.database == "praisonai"


def test_a_replica_set_keeps_its_hosts_and_parameters():
    options = MongoOptions(f"mongodb://me:{SECRET}@one:1,two:2/agents?replicaSet=rs0&timeout=7&socketTimeoutMS=9000")
    assert options.uri == f"mongodb://me:{SECRET}@one:1,two:2/agents?replicaSet=rs0"
    assert options.database == "agents"
    assert options.timeout == 7
    assert SECRET not in options.where + repr(options)


def test_the_names_of_our_schemes_are_not_the_clients():
    assert MongoOptions("motor://db/x").uri == "mongodb://db/x?"
    assert MongoOptions("mongodb+srv://cluster.example.net/x").uri == "mongodb+srv://cluster.example.net/x?"


def test_the_clients_timeouts_are_ours():
    options = MongoOptions("mongodb://db/?connectTimeoutMS=2000&socketTimeoutMS=3000")
    assert (options.connect_timeout, options.timeout) == (2, 3)


@pytest.mark.parametrize(
    "parameters",
    [
        "unknown=1",
        "readPreference=secondary",
        "w=0",
        "tls=perhaps",
        f"authMechanismProperties={SECRET}",
        f"tls=true&tlsCertificateKeyFile=/nowhere/{SECRET}.pem",
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters):
    """Among them a file that is not there."""
    with pytest.raises(ConfigurationError) as caught:
        MongoDBStateStore(f"mongodb://me:{SECRET}@db/x?{parameters}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OperationFailure(SECRET, 18), ConnectionFailedError, "refuses the login: check user, password and authSource"),
        (OperationFailure(SECRET, 8000), ConnectionFailedError, "refuses the login"),
        (OperationFailure(SECRET, 13), ConnectionFailedError, "needs the role readWrite on the database 'agents'"),
        (OperationFailure(SECRET, 112), MovedError, "written meanwhile"),
        (OperationFailure(SECRET, 50), ConnectionFailedError, "did not answer within 30 seconds"),
        (OperationFailure(SECRET, 10334), SerializationError, "end at 16 MiB"),
        (OperationFailure(SECRET, 462), ThrottledError, "too many requests"),
        (OperationFailure(SECRET, 2), BackendError, "failed: OperationFailure 2"),
        (
            OperationFailure(SECRET, 59, {"codeName": "CommandNotFound", "errmsg": "no such command: 'x'"}),
            UnsupportedOperationError,
            "lacks what the store asks for (CommandNotFound x)",
        ),
        (FileNotFoundError(SECRET), ConfigurationError, "cannot be read"),
        (ServerSelectionTimeoutError(SECRET), ConnectionFailedError, "is it running, and are host, port and TLS right"),
        (AutoReconnect(SECRET), ConnectionFailedError, "cannot be reached"),
    ],
)
def test_what_the_server_says(error, kind, words):
    """Among it a user that may only read (13)."""
    options = MongoOptions(f"mongodb://me:{SECRET}@db/agents")
    found = MongoDriver(options, "praison_state", [], asynchronous=False).translate(error)
    assert type(found) is kind
    assert words in str(found)
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("code", "labels", "unsure"),
    [
        (462, ["SystemOverloadedError", "RetryableError", "NoWritesPerformed"], False),
        (462, ["SystemOverloadedError", "RetryableError"], True),
        (462, [], True),
        (473, [], True),
        (91, ["SystemOverloadedError"], True),
        (489, [], False),
    ],
)
def test_whether_a_busy_server_may_have_written(code, labels, unsure):
    """The error is that of the client's last attempt; one before may have been done. A search (489) writes nothing."""
    driver = MongoDriver(MongoOptions(), "praison_state", [], asynchronous=False)
    found = driver.translate(OperationFailure("busy", code, {"errmsg": "busy", "errorLabels": labels}))
    assert type(found) is ThrottledError
    assert ("a write may have been done all the same" in str(found)) is unsure


@pytest.mark.parametrize("database", ["a.b", "a b", "x" * 64, "$a"])
def test_names_that_no_database_has_are_refused(database):
    with pytest.raises(ConfigurationError, match="database must have"):
        MongoDBStateStore(database=database)


def test_a_name_behind_srv_has_no_port():
    with pytest.raises(ConfigurationError, match="no port"):
        MongoDBStateStore("mongodb+srv://cluster.example.net:27017/x")


def test_names_of_fields_are_told_apart():
    names = ["", "a.b", "a%2eb", "$a", "%", "0", "a\0b", "_id"]
    written = [field_name(name) for name in names]
    assert len(set(written)) == len(names)
    assert not any(set(name) & set(".$\0") or not name for name in written)


@pytest.mark.parametrize(
    ("text", "is_number"),
    [("1", True), (str(2**63 - 1), True), (str(-(2**63)), True), (str(2**63), False), ("-0", False), ("1.0", False)],
)
def test_whole_numbers_of_64_bits_are_stored_as_numbers(text, is_number):
    assert ("_n" in fields_of(new_document("key", "value", text, None))) is is_number


def test_the_server_expires_what_is_in_no_batch_and_has_no_parts():
    document = new_document("key", "value", '"text"', 1_000.5)
    assert int(fields_of(document)["_expires"]) == 1_000_500
    assert "_expires" not in fields_of({**document, "owner": "somebody"})
    assert "_expires" not in fields_of({**document, "pending": "batch"})


def test_a_range_of_keys_ends_with_the_prefix():
    assert key_range("state/keys/a", "state/keys/") == {"$gte": "state/keys/a", "$lt": "state/keys/b"}
    assert key_range("state/keys/a", "state/keys/ab") == {"$gt": "state/keys/ab", "$lt": "state/keys/b"}


@pytest.mark.parametrize(
    ("url", "given", "w"),
    [
        ("mongodb://db/x", {}, "majority"),
        ("mongodb://db/x?w=2", {}, 2),
        ("mongodb://db/x?w=majority&journal=true", {}, "majority"),
        ("mongodb://db/x", {"client_options": {"w": 3}}, 3),
    ],
)
def test_the_majority_acknowledges_writes_unless_the_user_says_otherwise(url, given, w):
    driver = MongoDriver(MongoOptions(url, **given), "praison_state", [], asynchronous=False)
    client = driver.open(None)
    try:
        with driver.begin(client, write=True) as collection:
            assert collection.write_concern.document["w"] == w
            assert collection.read_preference.name == "Primary"
            assert collection.full_name == "x.praison_state"
    finally:
        driver.close(client)


@pytest.mark.parametrize(
    ("url", "given", "mechanism", "user", "source"),
    [
        (f"mongodb://me:{SECRET}@db/x", {}, "DEFAULT", "me", "x"),
        (f"mongodb://me:{SECRET}@db/x?authSource=admin", {}, "DEFAULT", "me", "admin"),
        (f"mongodb://me:{SECRET}@db/x?authMechanism=SCRAM-SHA-256", {}, "SCRAM-SHA-256", "me", "x"),
        (f"mongodb://me:{SECRET}@db/x?authMechanism=SCRAM-SHA-1", {}, "SCRAM-SHA-1", "me", "x"),
        ("mongodb://db/x?tls=true&authMechanism=MONGODB-X509", {}, "MONGODB-X509", None, "$external"),
        (
            "mongodb://db/x",
            {"client_options": {"tls": True, "authMechanism": "MONGODB-X509"}},
            "MONGODB-X509",
            None,
            "$external",
        ),
    ],
)
def test_how_a_user_is_told_to_the_server(url, given, mechanism, user, source):
    options = MongoOptions(url, **given)
    driver = MongoDriver(options, "praison_state", [], asynchronous=False)
    client = driver.open(None)
    try:
        found = client.options._options  # the client's own reading of it
        assert found.get("authmechanism", "DEFAULT") == mechanism
        login = client.options.pool_options._credentials
        assert (login.username, login.source) == (user, source)
    finally:
        driver.close(client)
    assert SECRET not in repr(options) + options.where


def test_a_database_is_named_by_the_url_or_by_the_option():
    assert MongoOptions("mongodb://db/agents").database == "agents"
    assert MongoOptions("mongodb+srv://cluster.example.net/agents").database == "agents"
    assert MongoOptions("mongodb://db").database == MongoOptions("mongodb://db/").database == "praisonai"
    assert MongoOptions(host="db", database="agents").database == "agents"
