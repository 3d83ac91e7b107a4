"""Knowledge in ClickHouse."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_clickhouse._driver import ClickHouseDriver, ClickHouseOptions
from praisonai_persistence_clickhouse.knowledge import ClickHouseSteps

__all__ = ["AsyncClickHouseKnowledgeStore", "ClickHouseKnowledgeStore", "ClickHouseOptions"]


class _Store(OptionsStore):
    options_class = ClickHouseOptions
    backend: ClassVar[str] = "clickhouse"
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 16 * 1024 * 1024

    def _make(self, options: ClickHouseOptions) -> tuple[ClickHouseSteps, ClickHouseDriver]:
        return ClickHouseSteps(options), ClickHouseDriver(options, asynchronous=self._asynchronous)


class ClickHouseKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in ClickHouse."""


class AsyncClickHouseKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in ClickHouse, for async callers."""

    _asynchronous = True
