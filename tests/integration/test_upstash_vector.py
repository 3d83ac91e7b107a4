"""Upstash Vector against the conformance kit, and what the kit does not ask; on a fake, or on the service itself."""

from __future__ import annotations

from collections.abc import Iterator

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_upstash:UpstashVectorKnowledgeStore",
    "async_": "praisonai_persistence_upstash:AsyncUpstashVectorKnowledgeStore",
}


class TestUpstashVector(Networked, KnowledgeStoreSuite):
    backend = "upstash_vector"

    @pytest.fixture
    def spec(self, upstash_vector) -> Iterator[StoreSpec]:
        with upstash_vector.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        url = f"http://:t0ken-s3cret@127.0.0.1:{engines.free_port()}"
        return StoreSpec("knowledge", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, upstash_vector):
        return upstash_vector
