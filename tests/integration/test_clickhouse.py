"""ClickHouse against the conformance kit."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from engines import PASSWORD, USER

from praisonai_persistence.testing import Endpoint, KnowledgeStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_clickhouse:ClickHouseKnowledgeStore",
    "async_": "praisonai_persistence_clickhouse:AsyncClickHouseKnowledgeStore",
}


class TestClickHouse(KnowledgeStoreSuite):
    backend = "clickhouse"

    @pytest.fixture
    def spec(self, clickhouse) -> Iterator[StoreSpec]:
        with clickhouse.space() as options:
            yield StoreSpec("knowledge", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec:
        return StoreSpec("knowledge", **STORES, options={"url": "clickhouse://127.0.0.1:9", "connect_timeout": 2})

    @pytest.fixture
    def server(self, clickhouse):
        return clickhouse

    @pytest.fixture
    def spec_through(self, spec: StoreSpec) -> Endpoint:
        server = urlsplit(spec.options["url"])

        def spec_at(host: str, port: int) -> StoreSpec:
            return spec.with_options(url=f"clickhouse://{USER}:{PASSWORD}@{host}:{port}{server.path}")

        return Endpoint(server.hostname, server.port, spec_at)
