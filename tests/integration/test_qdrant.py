"""Qdrant's local mode against the conformance kit: in a folder, and in the memory of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_qdrant:QdrantKnowledgeStore",
    "async_": "praisonai_persistence_qdrant:AsyncQdrantKnowledgeStore",
}


class TestQdrantFolder(KnowledgeStoreSuite):
    backend = "qdrant (local mode)"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge")})
