"""LangChain's vector stores as knowledge stores, against the conformance kit."""

from __future__ import annotations

import uuid

import pytest

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {"sync": "wrapping:langchain", "async_": "wrapping:async_langchain"}


class TestLangChain(KnowledgeStoreSuite):
    backend = "langchain"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"name": uuid.uuid4().hex})
