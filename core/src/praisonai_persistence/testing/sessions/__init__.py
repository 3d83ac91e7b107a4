"""The suite for session stores: five methods, and what a store declares beyond them.

::

    class TestMySessions(SessionStoreSuite):
        @pytest.fixture
        def spec(self, tmp_path):
            return StoreSpec("session", sync="my_sessions:MyStore", options={"path": str(tmp_path)})

A class with nothing but the five methods is tested for what these promise. What more it does it declares in an
attribute ``capabilities``, whose names stand in ``praisonai_persistence.stores.sessions``. The store of ``spec`` must
give 1,000 messages of a session, so one with a smaller limit is opened with a larger one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from praisonai_persistence.testing._facade import awaitable
from praisonai_persistence.testing.harness import OpenStore, StoreSuite, raw
from praisonai_persistence.testing.sessions._atomic import Atomic
from praisonai_persistence.testing.sessions._hierarchy import Hierarchy
from praisonai_persistence.testing.sessions._methods import Methods
from praisonai_persistence.testing.sessions._tools import Tools
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["SessionStoreSuite"]


class SessionStoreSuite(Methods, Tools, Hierarchy, Atomic, StoreSuite, suite=True):
    """What session stores promise; see the module."""

    kind: ClassVar[str] = "session"
    modes: ClassVar[tuple[str, ...]] = ("sync",)

    @pytest.fixture
    async def open_store(self, spec: StoreSpec, mode: str) -> AsyncIterator[OpenStore]:
        """Open stores; those that can be closed are closed afterwards."""
        opened: list[Any] = []

        def open_store(other: StoreSpec | None = None, **options: Any) -> Any:
            store = awaitable((other or spec).with_options(**options).open(mode))
            opened.append(store)
            return store

        yield open_store
        for store in reversed(opened):
            if hasattr(raw(store), "close"):
                await store.close()
