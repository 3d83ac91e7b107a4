"""What the stores in DynamoDB do without it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores.document_state import new_document
from praisonai_persistence_dynamodb import (
    AsyncDynamoDBConversationStore,
    AsyncDynamoDBStateStore,
    DynamoDBConversationStore,
    DynamoDBOptions,
    DynamoDBStateStore,
)
from praisonai_persistence_dynamodb._items import item_of, stored_of


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing of the machine says who we are, or where."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


def test_importing_the_package_imports_no_client():
    code = (
        "import sys, praisonai_persistence_dynamodb as p; p.DynamoDBStateStore(); p.AsyncDynamoDBStateStore(); "
        "p.DynamoDBConversationStore(); p.AsyncDynamoDBConversationStore(); "
        "assert not {'boto3', 'botocore', 'aiobotocore'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_the_items_are():
    assert DynamoDBOptions().table_name == DynamoDBOptions("dynamodb://").table_name == "praisonai_state"
    assert DynamoDBOptions("dynamodb://My_Table.1").table_name == "My_Table.1"
    assert DynamoDBConversationStore.options_class().table_name == "praisonai_conversation"
    assert DynamoDBConversationStore.options_class("dynamodb://abc").table_name == "abc"
    found = DynamoDBOptions("dynamodb://abc?region=eu-central-1&profile=p&auto_create_table=false")
    assert (found.region, found.profile, found.auto_create_table) == ("eu-central-1", "p", False)
    assert "http://h:1" in DynamoDBOptions("dynamodb://abc?endpoint_url=http://h:1").where


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "dynamodb://abc", "table_name": "def"}, "cannot be given beside it"),
        ({"url": "dynamodb://a"}, "3 to 255"),
        ({"table_name": "a/b/c"}, "3 to 255"),
        ({"url": "dynamodb://user:s3cret@table"}, "profile"),
        ({"url": "dynamodb://localhost:8000"}, "endpoint_url"),
        ({"url": "dynamodb://abc", "endpoint_url": "http://u:s3cret@h:1"}, "http://host:port"),
        ({"url": "s3://abc"}, "scheme"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(options, words):
    with pytest.raises(ConfigurationError) as caught:
        DynamoDBStateStore(**options)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs a region: give region="),
        ({"region": "eu-central-1"}, "needs credentials"),
        ({"region": "eu-central-1", "profile": "nobody"}, "no such profile"),
    ],
)
def test_a_machine_without_region_credentials_or_profile(options, words):
    async def main():
        async with AsyncDynamoDBStateStore(**options) as store:
            with pytest.raises(ConfigurationError, match=words):
                await store.get("a")
        async with AsyncDynamoDBConversationStore(**options) as conversations:
            with pytest.raises(ConfigurationError, match=words):
                await conversations.get_session("a")

    begin = time.monotonic()
    with DynamoDBStateStore(**options) as store, pytest.raises(ConfigurationError, match=words):
        store.get("a")
    asyncio.run(main())
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    "text",
    ["0", "-1", "-0", "1.0", "01", str(10**35), str(10**36), str(-(10**60)), "null", '""', '"1"', "true", "1e5"],
)
def test_a_value_comes_back_from_its_item(text):
    for document in (
        new_document("key", "value", text, None),
        new_document("key", "value", text, time.time() + 0.123456),
        {**new_document("key", "none", text, None), "pending": "x", "held": 17.5},
        new_document("key", "hash", text, None),
        {"text": text, "created_at": 1e300, "updated_at": 5.0, "user_id": None, "session_id": "é", "seq": 7},
    ):
        for sk in ("key", "another"):  # the sort key says it, or does not
            found, version = stored_of({"sk": {"S": sk}, **item_of(document, "1", sk)})
            assert version == "1"
            assert {name: found[name] for name in document} == document
