"""LightRAG as a knowledge store, against the conformance kit."""

from __future__ import annotations

from pathlib import Path

import pytest

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {"sync": "lightrag_stores:store", "async_": "lightrag_stores:async_store"}


class TestLightRAG(KnowledgeStoreSuite):
    backend = "lightrag"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"working_dir": str(tmp_path / "rag")})
