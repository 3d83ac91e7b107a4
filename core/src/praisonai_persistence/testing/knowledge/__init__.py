"""The suite of knowledge stores: the clauses K01 to K12; see ``harness`` for how to use it."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence.testing._subclasses import KnowledgeSubclasses
from praisonai_persistence.testing.knowledge._closing import Closing
from praisonai_persistence.testing.knowledge._collections import Collections
from praisonai_persistence.testing.knowledge._filters import Filters
from praisonai_persistence.testing.knowledge._model import Model
from praisonai_persistence.testing.knowledge._reading import Reading
from praisonai_persistence.testing.knowledge._search import Search
from praisonai_persistence.testing.knowledge._sharing import Sharing
from praisonai_persistence.testing.knowledge._writing import Writing
from praisonai_persistence.testing.lifecycle import LifecycleSuite

__all__ = ["KnowledgeStoreSuite"]


class KnowledgeStoreSuite(
    Collections,
    Writing,
    Search,
    Filters,
    Reading,
    Sharing,
    Closing,
    Model,
    KnowledgeSubclasses,
    LifecycleSuite,
    suite=True,
):
    """What a knowledge store promises; see ``harness`` for how to use it."""

    kind = "knowledge"

    @pytest.fixture
    async def docs(self, store: Any) -> Any:
        """The store, with a collection ``docs`` of three dimensions and inner products."""
        await store.create_collection("docs", 3, "dot")
        return store
