"""Knowledge in Apache Cassandra."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_cassandra._driver import CassandraDriver, CassandraOptions
from praisonai_persistence_cassandra.knowledge import CassandraSteps

__all__ = ["AsyncCassandraKnowledgeStore", "CassandraKnowledgeStore", "CassandraOptions"]


class _Store(OptionsStore):
    options_class = CassandraOptions
    backend: ClassVar[str] = "cassandra"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 8 * 1024 * 1024

    def _make(self, options: CassandraOptions) -> tuple[CassandraSteps, CassandraDriver]:
        prefix = check_prefix(options.table_prefix)
        steps = CassandraSteps(prefix, options.keyspace, ranked=options.vector_index)
        return steps, CassandraDriver(options, prefix)


class CassandraKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Cassandra."""


class AsyncCassandraKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Cassandra, for async callers: by the same client, on threads."""

    _asynchronous = True
