"""State in LMDB."""

from __future__ import annotations

from typing import Any, ClassVar

from praisonai_lmdb._driver import LMDBDriver, LMDBOptions
from praisonai_lmdb.state import LMDBStateSteps
from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores import AsyncStepStateStore, StepStateStore

__all__ = [
    "AsyncLMDBStateStore",
    "LMDBOptions",
    "LMDBStateStore",
]


class _State(OptionsStore):
    options_class = LMDBOptions
    backend: ClassVar[str] = "lmdb"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: Any) -> tuple[LMDBStateSteps, LMDBDriver]:
        prefix = check_prefix(options.table_prefix)
        steps = LMDBStateSteps(prefix)
        return steps, LMDBDriver(options)


class LMDBStateStore(_State, StepStateStore):
    """State in LMDB."""


class AsyncLMDBStateStore(_State, AsyncStepStateStore):
    """State in LMDB, for async callers: operations run on threads."""

    _asynchronous = True
