"""SingleStore's stores against the conformance kit: its syntax, translated, runs on MariaDB."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pymysql
import pytest
from adoption import AdoptionTests
from engines.singlestore import SingleStore
from lifecycles import Networked

from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StoreSpec
from praisonai_persistence_singlestore import AsyncSingleStoreConversationStore, SingleStoreConversationStore

MODULE = "praisonai_persistence_singlestore"


def _spec(name: str, **options: Any) -> StoreSpec:
    kind = "knowledge" if "Knowledge" in name else "conversation"
    return StoreSpec(kind, sync=f"{MODULE}:{name}", async_=f"{MODULE}:Async{name}", options=options)


NOWHERE = {"url": "singlestore://u:s3cret@127.0.0.1:9/agents", "connect_timeout": 2.0}


@pytest.fixture
def prefix(singlestore: SingleStore) -> Iterator[str]:
    before = set(singlestore.tables(""))
    yield f"t{uuid.uuid4().hex[:10]}_"
    if new := set(singlestore.tables("")) - before:  # also of the prefixes that the kit makes up
        singlestore.execute(f"DROP TABLE {', '.join(new)}")


class OnSingleStore(Networked):
    backend = "singlestore"
    name: str

    @pytest.fixture
    def server(self, singlestore: SingleStore) -> SingleStore:
        return singlestore

    @pytest.fixture
    def spec(self, singlestore: SingleStore, prefix: str) -> StoreSpec:
        return _spec(self.name, url=singlestore.url, table_prefix=prefix, retry_timeout=3.0)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return _spec(self.name, **NOWHERE)


class TestSingleStoreConversation(OnSingleStore, ConversationStoreSuite):
    name = "SingleStoreConversationStore"


class TestSingleStoreVector(OnSingleStore, KnowledgeStoreSuite):
    backend = "singlestore_vector"
    name = "SingleStoreVectorKnowledgeStore"


# ------------------------------------------------------------------------------------------------ what PraisonAI wrote


class TestAdoption(AdoptionTests):
    sync, async_ = SingleStoreConversationStore, AsyncSingleStoreConversationStore
    catalogue = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    types: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("session_id", "id", "user_id", "agent_id", "name", "tool_call_id"), "VARCHAR(255)"),
        **dict.fromkeys(("state", "metadata", "tool_calls"), "JSON"),
        **dict.fromkeys(("created_at", "updated_at"), "DOUBLE"),
        "role": "VARCHAR(50)",
        "content": "LONGTEXT",
    }
    unchecked = "SET FOREIGN_KEY_CHECKS = 0"
    keeps_order = False
    kill_before = (1, 2)

    @pytest.fixture
    def place(self, singlestore: SingleStore) -> Iterator[dict[str, str]]:
        with singlestore.space() as options:
            name = urlsplit(options["url"]).path[1:]
            singlestore.execute(f"ALTER DATABASE `{name}` CHARACTER SET utf8mb4")
            yield options

    @pytest.fixture(autouse=True)
    def _untranslated(self, singlestore: SingleStore) -> None:
        self.server = urlsplit(singlestore.untranslated)

    def connect(self, options: dict[str, str]) -> Any:
        return pymysql.connect(
            host=self.server.hostname,
            port=self.server.port,
            user=self.server.username,
            password=self.server.password,
            database=urlsplit(options["url"]).path[1:],
        )
