"""Knowledge in Chroma: in a folder, on a server, or in memory."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_chroma._driver import ChromaDriver, ChromaOptions
from praisonai_persistence_chroma.knowledge import ChromaSteps

__all__ = ["AsyncChromaKnowledgeStore", "ChromaKnowledgeStore", "ChromaOptions"]


class _Store(OptionsStore):
    options_class = ChromaOptions
    backend: ClassVar[str] = "chroma"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    one_process = True

    def _make(self, options: ChromaOptions) -> tuple[ChromaSteps, ChromaDriver]:
        return ChromaSteps(options), ChromaDriver(options)


class ChromaKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Chroma."""


class AsyncChromaKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Chroma, for async callers: operations run on threads."""

    _asynchronous = True
