"""LangChain's vector stores as knowledge stores, against the conformance kit."""

from __future__ import annotations

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_langchain:LangChainKnowledgeStore",
    "async_": "praisonai_persistence_langchain:AsyncLangChainKnowledgeStore",
}


class TestLangChain(KnowledgeStoreSuite):
    backend = "langchain"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        vectors = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
        return StoreSpec("knowledge", **STORES, options={"vectorstore": vectors})
