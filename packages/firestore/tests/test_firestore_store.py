"""What the stores in Firestore do without it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from praisonai_persistence import ConversationSession
from praisonai_persistence.errors import (
    ConfigurationError,
    ConnectionFailedError,
    PersistenceError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores import MovedError
from praisonai_persistence_firestore import (
    AsyncFirestoreStateStore,
    FirestoreConversationStore,
    FirestoreOptions,
    FirestoreStateStore,
)
from praisonai_persistence_firestore._driver import FirestoreDriver
from praisonai_persistence_firestore.engine import FirestoreEngine


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing of the machine says who we are, or where."""
    for name in ("FIRESTORE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return monkeypatch


@pytest.fixture
def driver():
    return FirestoreDriver(FirestoreOptions("firestore://p"), FirestoreEngine("c", 1))


@pytest.fixture
def service():
    """A service that answers each request with the status and text in the list that this returns beside its address."""
    import grpc

    answer = ["UNIMPLEMENTED", ""]

    class Refusing(grpc.GenericRpcHandler):
        def service(self, details):
            def refuse(request, context):
                context.abort(grpc.StatusCode[answer[0]], answer[1])

            one = details.method.endswith("/Commit")
            return (grpc.unary_unary_rpc_method_handler if one else grpc.unary_stream_rpc_method_handler)(refuse)

    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, [Refusing()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield answer, f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_firestore as p; p.FirestoreStateStore('firestore://a'); "
        "p.AsyncFirestoreConversationStore('firestore://a'); "
        "assert not {'google.cloud.firestore', 'grpc'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_the_documents_are(environment):
    found = FirestoreOptions("firestore://my-project/my-database?collection=c&emulator_host=h:1")
    assert (found.project, found.database, found.collection, found.emulator_host) == (
        "my-project",
        "my-database",
        "c",
        "h:1",
    )
    assert (FirestoreOptions().project, FirestoreOptions("firestore://p").database) == (None, "(default)")
    assert "h:1" in found.where
    assert FirestoreOptions(emulator_host="http://h:1/").emulator_host == "h:1"
    assert FirestoreOptions(emulator_host="[::1]:8080").emulator_host == "[::1]:8080"
    environment.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    assert FirestoreOptions("firestore://p").emulator_host == "127.0.0.1:9"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "firestore://p", "project": "q"}, "cannot be given beside it"),
        ({"url": "firestore://user:s3cret@p"}, "credentials_path"),
        ({"url": "firestore://localhost:8080"}, "a user or a port"),
        ({"url": "firestore://p/a/b"}, "id of a database"),
        ({"project": "p", "collection": "a/b"}, "without '/'"),
        ({"project": "p", "collection": "__a__"}, "none of"),
        ({"project": "p", "emulator_host": "http://u:s3cret@h:1"}, "host:port"),
        ({"project": "p", "emulator_host": "::1:8080"}, "in brackets"),
        ({"url": "s3://abc"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        FirestoreStateStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def fails(error, words, **options):
    """Each kind of store, and of caller, gets this error of its first call."""

    async def later():
        async with AsyncFirestoreStateStore(**options) as store:
            with pytest.raises(error, match=words):
                await store.get("a")

    begin = time.monotonic()
    with FirestoreStateStore(**options) as store, pytest.raises(error, match=words):
        store.set("a", 1)
    with FirestoreConversationStore(**options) as store, pytest.raises(error, match=words):
        store.create_session(ConversationSession("s"))
    asyncio.run(later())
    assert time.monotonic() - begin < 30


def test_a_machine_without_credentials():
    fails(ConfigurationError, "needs credentials: give credentials_path=", url="firestore://my-project")


@pytest.mark.parametrize("text", [None, "", "s3cret", "[]", "{}", '{"private_key": "s3cret", "client_email": "a@b"}'])
def test_a_file_that_is_no_key_of_a_service_account(tmp_path, text):
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)
    with (
        FirestoreStateStore("firestore://p", credentials_path=str(file)) as store,
        pytest.raises(ConfigurationError, match="the file of credentials_path is not the key") as caught,
    ):
        store.get("a")
    assert "s3cret" not in str(caught.value)


def test_credentials_of_the_environment_without_a_project(environment, tmp_path):
    file = tmp_path / "user.json"
    words = {"type": "authorized_user", "client_id": "a", "client_secret": "s3cret", "refresh_token": "s3cret"}
    file.write_text(json.dumps(words))
    environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    fails(ConfigurationError, "name no project; give project=")


@pytest.mark.parametrize(
    ("status", "text", "error", "words"),
    [
        ("PERMISSION_DENIED", "s3cret", ConnectionFailedError, "Cloud Datastore User"),
        ("UNAUTHENTICATED", "s3cret", ConnectionFailedError, "check its credentials"),
        (
            "NOT_FOUND",
            "The database (default) does not exist for project p",
            ConfigurationError,
            "gcloud firestore databases create",
        ),
        ("FAILED_PRECONDITION", "not for Firestore in Datastore Mode s3cret", ConfigurationError, "native mode"),
        ("RESOURCE_EXHAUSTED", "s3cret", ConnectionFailedError, "too many requests"),
        ("ABORTED", "s3cret", ConnectionFailedError, "too many requests"),
        ("NOT_FOUND", "The project p does not exist or it has no active database", ConfigurationError, "project="),
        ("NOT_FOUND", "s3cret", ConfigurationError, "check project= and database="),
        ("UNIMPLEMENTED", "s3cret", UnsupportedOperationError, "lacks a feature .*UNIMPLEMENTED"),
    ],
)
def test_a_service_that_refuses(service, status, text, error, words):
    answer, address = service
    answer[:] = status, text
    options = {"url": "firestore://my-project", "emulator_host": address, "connect_timeout": 1, "timeout": 1}
    fails(error, words, **options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Getting metadata from plugin failed with error: ('invalid_grant: s3cret', {})", "check its credentials"),
        ("Getting metadata from plugin failed with error: HTTPSConnectionPool s3cret", "does not answer"),
        ("failed to connect to all addresses", "does not answer"),
    ],
)
def test_what_unavailable_means(driver, text, words):
    from google.api_core.exceptions import from_grpc_status
    from grpc import StatusCode

    found = driver.translate(from_grpc_status(StatusCode.UNAVAILABLE, text))
    assert type(found) is ConnectionFailedError
    assert words in str(found)
    assert "s3cret" not in str(found)


def test_what_is_said_about_documents(driver):
    from google.api_core.exceptions import InvalidArgument, from_grpc_status
    from grpc import StatusCode

    for status, text in (
        ("NOT_FOUND", "No document to update: projects/p/databases/(default)/documents/s3cret"),
        ("ALREADY_EXISTS", "Document already exists: projects/p/databases/(default)/documents/s3cret"),
        ("FAILED_PRECONDITION", "the stored version (1) does not match the required base version (2)"),
    ):
        assert type(driver.translate(from_grpc_status(StatusCode[status], text))) is MovedError
    text = "Document 's3cret' cannot be written because its size exceeds the maximum allowed size of 1,048,576 bytes."
    found = driver.translate(from_grpc_status(StatusCode.INVALID_ARGUMENT, text))
    assert type(found) is SerializationError
    assert isinstance(driver.translate(InvalidArgument("s3cret")), PersistenceError)
