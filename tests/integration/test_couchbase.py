"""Couchbase against the conformance kit, and what the kit does not ask; on a fake, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import engines
import pytest
from lifecycles import Networked

from praisonai_persistence.testing import Endpoint, KnowledgeStoreSuite, StoreSpec

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

    @pytest.fixture
    def spec_through(self, couchbase, spec) -> Endpoint:
        """Through a proxy, of which the cluster must know, because its clients go where it says that it is."""
        server = urlsplit(couchbase.url)

        def spec_at(host: str, port: int) -> StoreSpec:
            couchbase.order("outside", port)
            return spec.with_options(
                url=None,
                connection_string=f"couchbase://{host}:{port}?network=n{port}",
                username=server.username,
                password=server.password,
                bucket_name=server.path.strip("/"),
            )

        return Endpoint(server.hostname, server.port, spec_at)
