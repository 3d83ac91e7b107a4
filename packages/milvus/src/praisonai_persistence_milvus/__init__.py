"""Knowledge in Milvus: on a server, or in a folder with Milvus Lite."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_milvus._driver import MilvusDriver, MilvusOptions
from praisonai_persistence_milvus.knowledge import MilvusSteps

__all__ = ["AsyncMilvusKnowledgeStore", "MilvusKnowledgeStore", "MilvusOptions"]


class _Store(OptionsStore):
    options_class = MilvusOptions
    backend: ClassVar[str] = "milvus"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    one_process = True
    max_document_bytes: ClassVar[int] = 16 * 1024 * 1024

    def _make(self, options: MilvusOptions) -> tuple[MilvusSteps, MilvusDriver]:
        return MilvusSteps(options), MilvusDriver(options, asynchronous=self._asynchronous)


class MilvusKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Milvus."""


class AsyncMilvusKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Milvus, for async callers."""

    _asynchronous = True
