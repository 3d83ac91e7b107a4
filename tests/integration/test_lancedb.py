"""LanceDB, in folders of this machine, against the conformance kit."""

from __future__ import annotations

from pathlib import Path

import pytest
from lifecycles import Embedded, Volume

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_lancedb:LanceDBKnowledgeStore",
    "async_": "praisonai_persistence_lancedb:AsyncLanceDBKnowledgeStore",
}


class TestLanceDB(Embedded, KnowledgeStoreSuite):
    backend = "lancedb"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge")})

    @pytest.fixture
    def server(self, tmp_path: Path) -> Volume:
        return Volume(tmp_path / "knowledge")
