"""Knowledge in Pinecone."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_pinecone._driver import PineconeDriver, PineconeOptions
from praisonai_persistence_pinecone.knowledge import PineconeSteps

__all__ = ["AsyncPineconeKnowledgeStore", "PineconeKnowledgeStore", "PineconeOptions"]


class _Store(OptionsStore):
    options_class = PineconeOptions
    backend: ClassVar[str] = "pinecone"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 32_000  # metadata may have 40 KB, with all that filters need

    def _make(self, options: PineconeOptions) -> tuple[PineconeSteps, PineconeDriver]:
        steps = PineconeSteps(options)
        return steps, PineconeDriver(options, steps.look, asynchronous=self._asynchronous)


class PineconeKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Pinecone, on ``pinecone.Pinecone``."""


class AsyncPineconeKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Pinecone, on ``pinecone.AsyncPinecone``."""

    _asynchronous = True
