"""LlamaIndex's vector stores as knowledge stores, against the conformance kit."""

from __future__ import annotations

import pytest
from llama_index.core.vector_stores.simple import SimpleVectorStore

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_llamaindex:LlamaIndexKnowledgeStore",
    "async_": "praisonai_persistence_llamaindex:AsyncLlamaIndexKnowledgeStore",
}


class TestSimpleVectorStore(KnowledgeStoreSuite):
    backend = "llamaindex"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"vector_store": SimpleVectorStore()})
