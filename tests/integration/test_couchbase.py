"""Couchbase against the conformance kit, and what the kit does not ask; on a fake, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_couchbase:CouchbaseKnowledgeStore",
    "async_": "praisonai_persistence_couchbase:AsyncCouchbaseKnowledgeStore",
}


class TestCouchbase(Networked, KnowledgeStoreSuite):
    backend = "couchbase"

    @pytest.fixture
    def spec(self, couchbase) -> Iterator[StoreSpec]:
        with couchbase.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        url = f"couchbase://Administrator:p-s3cret@127.0.0.1:{engines.free_port()}/praisonai"
        return StoreSpec("knowledge", **STORES, options={"url": url, "connect_timeout": 1})

    @pytest.fixture
    def server(self, couchbase):
        return couchbase
