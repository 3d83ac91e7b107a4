"""Knowledge in MongoDB against the conformance kit, and what is particular to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from lifecycles import Networked

from praisonai_persistence.testing import KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_mongodb:MongoDBVectorKnowledgeStore",
    "async_": "praisonai_persistence_mongodb:AsyncMongoDBVectorKnowledgeStore",
}


class _Server(Networked, KnowledgeStoreSuite):
    """A server whose tests take the fixture of this name."""

    __test__ = False
    engine = "mongodb"
    more: ClassVar[dict[str, object]] = {}

    @pytest.fixture
    def _engine(self, request):
        return request.getfixturevalue(self.engine)

    @pytest.fixture
    def spec(self, _engine) -> Iterator[StoreSpec]:
        with _engine.space() as options:
            yield StoreSpec("knowledge", **STORES, options={**options, **self.more})

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "mongodb://127.0.0.1:9", "connect_timeout": 0.2})

    @pytest.fixture
    def server(self, _engine):
        if not _engine.restartable:
            pytest.skip("the server of the environment's URL is not ours to restart")
        return _engine


class TestMongoDBVector(_Server):
    """Without vector search: the store compares every vector."""

    __test__ = True
    backend = "mongodb_vector"


class TestAtlas(_Server):
    """With vector search, by which all is found."""

    __test__ = True
    backend = "mongodb_vector (Atlas)"
    engine = "atlas"
    more: ClassVar[dict[str, object]] = {"vector_search": "atlas", "index_from": 1}
