"""State in Upstash Redis, by its REST interface."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepStateStore, StepStateStore
from praisonai_persistence_upstash._driver import UpstashDriver, UpstashOptions
from praisonai_persistence_upstash.state import UpstashStateSteps

__all__ = ["AsyncUpstashStateStore", "UpstashOptions", "UpstashStateStore"]


class _Store(OptionsStore):
    options_class = UpstashOptions
    backend: ClassVar[str] = "upstash"
    capabilities: ClassVar[frozenset[str]] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: UpstashOptions) -> tuple[UpstashStateSteps, UpstashDriver]:
        return UpstashStateSteps(options.table_prefix), UpstashDriver(options, asynchronous=self._asynchronous)


class UpstashStateStore(_Store, StepStateStore):
    """State in Upstash Redis, on ``upstash_redis.Redis``."""


class AsyncUpstashStateStore(_Store, AsyncStepStateStore):
    """State in Upstash Redis, on ``upstash_redis.asyncio.Redis``."""

    _asynchronous = True
