"""Milvus against the conformance kit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lifecycles import Embedded, Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_milvus:MilvusKnowledgeStore",
    "async_": "praisonai_persistence_milvus:AsyncMilvusKnowledgeStore",
}


class TestMilvusServer(Networked, KnowledgeStoreSuite):
    backend = "milvus (server)"

    @pytest.fixture
    def spec(self, milvus) -> Iterator[StoreSpec]:
        with milvus.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "milvus://127.0.0.1:9", "connect_timeout": 1})

    @pytest.fixture
    def server(self, milvus):
        if not milvus.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return milvus


class TestMilvusLite(Embedded, KnowledgeStoreSuite):
    backend = "milvus (lite)"

    @pytest.fixture
    def spec(self, tmp_path: Path) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"path": str(tmp_path / "knowledge.db")})

    @pytest.fixture
    def unreachable_spec(self, tmp_path: Path) -> StoreSpec:
        in_the_way = tmp_path / "file"
        in_the_way.write_text("not a folder")
        return StoreSpec("knowledge", **STORES, options={"path": str(in_the_way / "knowledge.db")})
