"""Knowledge in Azure Cosmos DB for NoSQL."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_cosmosdb._driver import CosmosDBDriver, CosmosDBOptions
from praisonai_persistence_cosmosdb.knowledge import CosmosDBSteps

__all__ = ["AsyncCosmosDBVectorKnowledgeStore", "CosmosDBOptions", "CosmosDBVectorKnowledgeStore"]


class _Store(OptionsStore):
    options_class = CosmosDBOptions
    backend: ClassVar[str] = "cosmosdb"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 1_000_000  # an item has 2 MB, with the embedding and all that filters need

    def _make(self, options: CosmosDBOptions) -> tuple[CosmosDBSteps, CosmosDBDriver]:
        steps = CosmosDBSteps(options)
        return steps, CosmosDBDriver(options, steps.look, asynchronous=self._asynchronous)


class CosmosDBVectorKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Azure Cosmos DB, on ``azure.cosmos.CosmosClient``."""


class AsyncCosmosDBVectorKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Azure Cosmos DB, on ``azure.cosmos.aio.CosmosClient``."""

    _asynchronous = True
