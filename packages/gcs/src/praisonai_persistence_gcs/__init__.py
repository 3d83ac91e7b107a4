"""State in Google Cloud Storage: an object a key."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import AsyncStepStateStore, DocumentStateSteps, StepStateStore
from praisonai_persistence_gcs._driver import GCSDriver, GCSOptions
from praisonai_persistence_gcs.engine import GCSEngine

__all__ = ["AsyncGCSStateStore", "GCSOptions", "GCSStateStore"]


class _Store(OptionsStore):
    options_class = GCSOptions
    backend: ClassVar[str] = "gcs"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: GCSOptions) -> tuple[DocumentStateSteps, GCSDriver]:
        space = f"{options.prefix}{options.table_prefix}state"
        engine = GCSEngine(options.bucket_name, len(options.prefix), options.connect_timeout, options.timeout)
        return DocumentStateSteps(engine, space), GCSDriver(options, engine.look(space))


class GCSStateStore(_Store, StepStateStore):
    """State in Google Cloud Storage."""


class AsyncGCSStateStore(_Store, AsyncStepStateStore):
    """The same for async callers: on threads, as the client is a sync one."""

    _asynchronous = True
