"""SurrealDB against the conformance kit: embedded in a folder and in memory, and on a server."""

from __future__ import annotations

from pathlib import Path

import pytest
from lifecycles import Embedded

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
