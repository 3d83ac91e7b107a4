"""Knowledge in Weaviate."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_weaviate._driver import WeaviateDriver, WeaviateOptions
from praisonai_persistence_weaviate.knowledge import WeaviateSteps

__all__ = ["AsyncWeaviateKnowledgeStore", "WeaviateKnowledgeStore", "WeaviateOptions"]


class _Store(OptionsStore):
    options_class = WeaviateOptions
    backend: ClassVar[str] = "weaviate"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 16 * 1024 * 1024

    def _make(self, options: WeaviateOptions) -> tuple[WeaviateSteps, WeaviateDriver]:
        driver = WeaviateDriver(options, asynchronous=self._asynchronous)
        return WeaviateSteps(options, driver), driver


class WeaviateKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Weaviate."""


class AsyncWeaviateKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Weaviate, for async callers."""

    _asynchronous = True
