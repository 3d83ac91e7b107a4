"""Weaviate against the conformance kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lifecycles import Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_weaviate:WeaviateKnowledgeStore",
    "async_": "praisonai_persistence_weaviate:AsyncWeaviateKnowledgeStore",
}


class TestWeaviate(Networked, KnowledgeStoreSuite):
    backend = "weaviate"

    @pytest.fixture
    def spec(self, weaviate) -> Iterator[StoreSpec]:
        with weaviate.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "weaviate://127.0.0.1:9", "timeout": 2})

    @pytest.fixture
    def server(self, weaviate):
        return weaviate
