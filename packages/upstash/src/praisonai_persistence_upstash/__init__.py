"""State in Upstash Redis, and knowledge in Upstash Vector, by their REST interfaces."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence_upstash._driver import UpstashDriver
from praisonai_persistence_upstash._options import UpstashOptions, UpstashVectorOptions
from praisonai_persistence_upstash._vector_driver import UpstashVectorDriver
from praisonai_persistence_upstash.knowledge import UpstashVectorSteps
from praisonai_persistence_upstash.state import UpstashStateSteps

__all__ = [
    "AsyncUpstashStateStore",
    "AsyncUpstashVectorKnowledgeStore",
    "UpstashOptions",
    "UpstashStateStore",
    "UpstashVectorKnowledgeStore",
    "UpstashVectorOptions",
]


class _State(OptionsStore):
    options_class = UpstashOptions
    backend: ClassVar[str] = "upstash"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: UpstashOptions) -> tuple[UpstashStateSteps, UpstashDriver]:
        return UpstashStateSteps(options.table_prefix), UpstashDriver(options, asynchronous=self._asynchronous)


class UpstashStateStore(_State, StepStateStore):
    """State in Upstash Redis, on ``upstash_redis.Redis``."""


class AsyncUpstashStateStore(_State, AsyncStepStateStore):
    """State in Upstash Redis, on ``upstash_redis.asyncio.Redis``."""

    _asynchronous = True


class _Knowledge(OptionsStore):
    options_class = UpstashVectorOptions
    backend: ClassVar[str] = "upstash_vector"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 800_000  # a record has 1 MB of text, with the document's embedding

    def _make(self, options: UpstashVectorOptions) -> tuple[UpstashVectorSteps, UpstashVectorDriver]:
        steps = UpstashVectorSteps(options)
        return steps, UpstashVectorDriver(options, steps.look, asynchronous=self._asynchronous)


class UpstashVectorKnowledgeStore(_Knowledge, StepKnowledgeStore):
    """Knowledge in Upstash Vector, on ``upstash_vector.Index``."""


class AsyncUpstashVectorKnowledgeStore(_Knowledge, AsyncStepKnowledgeStore):
    """Knowledge in Upstash Vector, on ``upstash_vector.AsyncIndex``."""

    _asynchronous = True
