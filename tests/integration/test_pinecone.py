"""Pinecone against the conformance kit, and what the kit does not ask; on a fake, or on the service itself."""

from __future__ import annotations

from collections.abc import Iterator

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_pinecone:PineconeKnowledgeStore",
    "async_": "praisonai_persistence_pinecone:AsyncPineconeKnowledgeStore",
}


class TestPinecone(Networked, KnowledgeStoreSuite):
    backend = "pinecone"
    connections_per_caller = 2  # to the control plane, and to an index

    @pytest.fixture
    def spec(self, pinecone) -> Iterator[StoreSpec]:
        with pinecone.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        url = f"pinecone://:k3y-s3cret@127.0.0.1:{engines.free_port()}?https=false"
        return StoreSpec("knowledge", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, pinecone):
        return pinecone
