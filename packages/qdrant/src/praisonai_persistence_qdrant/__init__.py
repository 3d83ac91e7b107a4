"""Knowledge in Qdrant: on a server, or in the client's local mode."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.payload import check_identifier
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_qdrant._driver import QdrantDriver, QdrantOptions
from praisonai_persistence_qdrant.knowledge import QdrantSteps

__all__ = ["AsyncQdrantKnowledgeStore", "QdrantKnowledgeStore", "QdrantOptions"]


class _Store(OptionsStore):
    options_class = QdrantOptions
    backend: ClassVar[str] = "qdrant"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    one_process = True
    max_document_bytes: ClassVar[int] = 16 * 1024 * 1024

    def _make(self, options: QdrantOptions) -> tuple[QdrantSteps, QdrantDriver]:
        return QdrantSteps(options), QdrantDriver(options, asynchronous=self._asynchronous)


class QdrantKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Qdrant."""

    _steps: QdrantSteps

    def create_payload_index(self, collection: str, *keys: str) -> None:
        """Have a server index metadata: for equality, ``$in``, ``$exists`` and ``$contains`` under every key.

        Args:
            collection: the collection.
            keys: metadata keys under which numbers are compared with ``$gt`` and its kin; these get an index each.
        """
        self._runner.run(self._steps.create_index, check_identifier(collection, "collection"), keys)


class AsyncQdrantKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Qdrant, for async callers: by the async client on a server, on threads in the local mode."""

    _steps: QdrantSteps
    _asynchronous = True

    async def create_payload_index(self, collection: str, *keys: str) -> None:
        """See [QdrantKnowledgeStore.create_payload_index][]."""
        await self._runner.run(self._steps.create_index, check_identifier(collection, "collection"), keys)
