"""What the stores in Google Cloud Storage do without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from praisonai_persistence.drivers import ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores import MovedError
from praisonai_persistence_gcs import AsyncGCSStateStore, GCSOptions, GCSStateStore
from praisonai_persistence_gcs._driver import GCSDriver, MissingError

pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status:ImportWarning")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    return monkeypatch


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_gcs as p; p.GCSStateStore('gcs://bucket'); "
        "assert not {'google.cloud.storage', 'requests'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_the_objects_are(environment):
    found = GCSOptions("gcs://my-bucket")
    assert (found.bucket_name, found.prefix, found.emulator_host) == ("my-bucket", "praisonai_state/", None)
    assert GCSOptions("gs://my_bucket/a/b").prefix == "a/b/"
    assert GCSOptions(bucket_name="b", prefix="x").prefix == GCSOptions(bucket="b", prefix="/x/").prefix == "x/"
    environment.setenv("STORAGE_EMULATOR_HOST", "localhost:4443")
    assert GCSOptions("gcs://b").emulator_host == "http://localhost:4443"
    assert "localhost:4443" in GCSOptions("gcs://b").where
    assert GCSOptions("gcs://b", emulator_host="https://127.0.0.1:1").emulator_host == "https://127.0.0.1:1"
    found = GCSOptions("gcs://b", emulator_host="[::1]:4443")
    assert found.emulator_host == "http://[::1]:4443"
    assert "[::1]:4443" in found.where


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "url='gcs://bucket'"),
        ({"url": "gcs://b", "bucket_name": "c"}, "cannot be given beside it"),
        ({"bucket_name": "a/b"}, "name of a bucket"),
        ({"url": "gcs://user:s3cret@bucket"}, "credentials_path"),
        ({"url": "gcs://b/x", "prefix": "y"}, "in the URL already"),
        ({"url": "gcs://b", "prefix": "x" * 300}, "at most 200 bytes"),
        ({"url": "gcs://b", "emulator_host": "http://u:s3cret@h:1"}, "http://host:port"),
        ({"url": "gcs://b", "emulator_host": "::1:4443"}, "in brackets"),
        ({"url": "s3://b"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        GCSStateStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "no JSON", '{"type": "service_account"}'])
def test_a_file_that_holds_no_credentials(tmp_path, text):
    file = tmp_path / "key.json"
    if text is not None:
        file.write_text(text)
    with (
        GCSStateStore("gcs://b", credentials_path=str(file)) as store,
        pytest.raises(ConfigurationError, match="credentials_path"),
    ):
        store.connect()


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("NotFound", "The specified bucket does not exist.", MissingError),
        ("PreconditionFailed", "x", MovedError),
        ("TooManyRequests", "x", ThrottledError),
        ("Forbidden", "s3cret", ConnectionFailedError),
        ("ServiceUnavailable", "s3cret", ConnectionFailedError),
        ("BadRequest", "s3cret", BackendError),
        ("MethodNotImplemented", "s3cret", UnsupportedOperationError),
    ],
)
def test_what_the_service_says(name, said, kind):
    from google.api_core import exceptions  # here, where its warning is ignored

    error = getattr(exceptions, name)(said)
    driver = GCSDriver(GCSOptions("gcs://b"), lambda: None)
    found = driver.translate(error)
    assert type(found) is kind
    assert "s3cret" not in str(found)


def test_a_machine_without_credentials(environment, tmp_path):
    environment.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    environment.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    environment.setenv("NO_GCE_CHECK", "true")

    async def later():
        async with AsyncGCSStateStore("gcs://b") as store:
            await store.get("a")

    with pytest.raises(ConfigurationError, match="needs credentials: give credentials_path="):
        asyncio.run(later())
    with (
        GCSStateStore("gcs://b") as store,
        pytest.raises(ConfigurationError, match="needs credentials: give credentials_path="),
    ):
        store.set("a", 1)


def test_credentials_that_are_out_of_date():
    from google.auth.exceptions import RefreshError

    driver = GCSDriver(GCSOptions("gcs://b"), lambda: None)
    found = driver.translate(RefreshError("invalid_grant: s3cret"))
    assert type(found) is ConnectionFailedError
    assert "Storage Object User" in str(found)
    assert "s3cret" not in str(found)
