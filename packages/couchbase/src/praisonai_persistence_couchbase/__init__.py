"""Knowledge in Couchbase."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_couchbase._driver import DURABLE, CouchbaseDriver, CouchbaseOptions
from praisonai_persistence_couchbase.knowledge import CouchbaseSteps

__all__ = ["AsyncCouchbaseKnowledgeStore", "CouchbaseKnowledgeStore", "CouchbaseOptions"]


class _Store(OptionsStore):
    options_class = CouchbaseOptions
    backend: ClassVar[str] = "couchbase"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 8 * 1024 * 1024

    def _make(self, options: CouchbaseOptions) -> tuple[CouchbaseSteps, CouchbaseDriver]:
        if options.durability not in DURABLE:
            self.capabilities -= {"durable"}
        return CouchbaseSteps(options), CouchbaseDriver(options)


class CouchbaseKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Couchbase, on ``couchbase.cluster.Cluster``."""


class AsyncCouchbaseKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Couchbase, for async callers: by the same client, on threads."""

    _asynchronous = True
