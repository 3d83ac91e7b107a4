"""DynamoDB against the conformance kit, and what the kit does not ask."""

from __future__ import annotations

from urllib.parse import urlsplit

import engines
import pytest

from praisonai_persistence.testing import Endpoint, StateStoreSuite, StoreSpec

STORES = {
    "sync": "praisonai_persistence_dynamodb:DynamoDBStateStore",
    "async_": "praisonai_persistence_dynamodb:AsyncDynamoDBStateStore",
}


class TestDynamoDBState(StateStoreSuite):
    backend = "dynamodb"

    @pytest.fixture
    def spec(self, dynamodb):
        with dynamodb.space() as options:
            yield StoreSpec("state", **STORES, options=options)

    @pytest.fixture
    def unreachable_spec(self, dynamodb):
        at = f"http://127.0.0.1:{engines.free_port()}"
        options = {"url": "dynamodb://nowhere", "endpoint_url": at, "region": "us-east-1", "connect_timeout": 1}
        return StoreSpec("state", **STORES, options=options)

    @pytest.fixture
    def server(self, dynamodb):
        return dynamodb

    @pytest.fixture
    def spec_through(self, spec):
        server = urlsplit(spec.options["endpoint_url"])
        return Endpoint(
            server.hostname,
            server.port,
            lambda host, port: spec.with_options(endpoint_url=f"http://{host}:{port}"),
        )
