"""The conformance kit: what every store promises, as tests.

Needs the extra ``testing``. A backend's tests are a subclass of a suite with one fixture; see ``harness``::

    from praisonai_persistence.testing import ConversationStoreSuite, StoreSpec

Importing this package is cheap; pytest, anyio and Hypothesis are imported with the first suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence._lazy import lazy

if TYPE_CHECKING:
    from praisonai_persistence.testing.conversation import ConversationStoreSuite
    from praisonai_persistence.testing.harness import StoreSuite
    from praisonai_persistence.testing.knowledge import KnowledgeStoreSuite
    from praisonai_persistence.testing.lifecycle import LifecycleSuite
    from praisonai_persistence.testing.sessions import SessionStoreSuite
    from praisonai_persistence.testing.spec import Endpoint, StoreSpec
    from praisonai_persistence.testing.state import StateStoreSuite

__all__ = [
    "ConversationStoreSuite",
    "Endpoint",
    "KnowledgeStoreSuite",
    "LifecycleSuite",
    "SessionStoreSuite",
    "StateStoreSuite",
    "StoreSpec",
    "StoreSuite",
]

_HOMES = {
    "ConversationStoreSuite": "conversation",
    "Endpoint": "spec",
    "KnowledgeStoreSuite": "knowledge",
    "LifecycleSuite": "lifecycle",
    "SessionStoreSuite": "sessions",
    "StateStoreSuite": "state",
    "StoreSpec": "spec",
    "StoreSuite": "harness",
}

__getattr__, __dir__ = lazy(globals(), _HOMES)
