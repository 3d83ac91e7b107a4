"""SurrealDB against the conformance kit: embedded in a folder and in memory, and on a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycles import Embedded, Networked

from praisonai_persistence.testing import ConversationStoreSuite, KnowledgeStoreSuite, StateStoreSuite, StoreSpec

PACKAGE = "praisonai_persistence_surrealdb"


def stores(name: str) -> dict[str, str]:
    return {"sync": f"{PACKAGE}:{name}", "async_": f"{PACKAGE}:Async{name}"}


CONVERSATION = stores("SurrealDBConversationStore")
KNOWLEDGE = stores("SurrealDBVectorKnowledgeStore")
STATE = stores("SurrealDBStateStore")


class _Folder(Embedded):
    """A folder, which a file may stand in the way of."""

    kind: str
    stores: dict[str, str]

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec(self.kind, **self.stores, options={"path": str(tmp_path / "data")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec(self.kind, **self.stores, options={"path": str(in_the_way / "data")})


class _Memory:
    """Memory, which is one store's own."""

    kind: str
    stores: dict[str, str]
    modes = ("async",)

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec(self.kind, async_=self.stores["async_"], options={"path": ":memory:"})


class TestConversationFolder(_Folder, ConversationStoreSuite):
    backend = "surrealdb (folder)"
    kind, stores = "conversation", CONVERSATION


class TestConversationMemory(_Memory, ConversationStoreSuite):
    backend = "surrealdb (memory)"
    kind, stores = "conversation", CONVERSATION


class TestKnowledgeFolder(_Folder, KnowledgeStoreSuite):
    backend = "surrealdb_vector (folder)"
    kind, stores = "knowledge", KNOWLEDGE


class TestStateFolder(_Folder, StateStoreSuite):
    backend = "surrealdb (folder)"
    kind, stores = "state", STATE


class _Server(Networked):
    """A server, by WebSockets or by HTTP."""

    kind: str
    stores: dict[str, str]
    transport = "ws"

    @pytest.fixture
    def spec(self, surrealdb) -> Iterator[StoreSpec]:
        with surrealdb.space() as options:
            yield StoreSpec(self.kind, **self.stores, options={**options, "transport": self.transport})

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        options = {"url": "ws://127.0.0.1:9/rpc", "connect_timeout": 1, "transport": self.transport}
        return StoreSpec(self.kind, **self.stores, options=options)

    @pytest.fixture
    def server(self, surrealdb):
        if not surrealdb.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return surrealdb


class TestConversationServer(_Server, ConversationStoreSuite):
    backend = "surrealdb"
    kind, stores = "conversation", CONVERSATION


class TestStateHttp(_Server, StateStoreSuite):
    backend = "surrealdb (HTTP)"
    kind, stores, transport = "state", STATE, "http"


class TestKnowledgeServer(_Server, KnowledgeStoreSuite):
    backend = "surrealdb_vector"
    kind, stores = "knowledge", KNOWLEDGE
