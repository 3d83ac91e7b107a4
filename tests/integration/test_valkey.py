"""Valkey against the conformance kit: state only, it has no vector sets."""

from __future__ import annotations

import asyncio

import pytest
from test_redis import OnRedis, spec_of

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.testing import StateStoreSuite
from praisonai_persistence_redis import AsyncRedisKnowledgeStore, RedisKnowledgeStore


class TestValkeyState(OnRedis, StateStoreSuite):
    backend = "valkey"

    @pytest.fixture
    def spec(self, valkey):
        with valkey.space() as options:
            yield spec_of(self.kind, **options, retry_timeout=1)

    @pytest.fixture
    def server(self, valkey):
        return valkey


def test_knowledge_needs_vector_sets(valkey):
    with valkey.space() as options:
        with RedisKnowledgeStore(**options) as store:
            for call in (store.connect, store.list_collections, lambda: store.create_collection("docs", 2)):
                with pytest.raises(UnsupportedOperationError, match="Redis 8 or later"):
                    call()

        async def main() -> None:
            async with AsyncRedisKnowledgeStore(**options) as store:
                with pytest.raises(UnsupportedOperationError, match="Redis 8 or later"):
                    await store.create_collection("docs", 2)

        asyncio.run(main())
