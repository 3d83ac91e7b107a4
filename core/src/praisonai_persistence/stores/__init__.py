"""Optional bases for stores: public methods that validate, connect once, and drive a backend's steps.

A backend writes the steps of its kind (``ConversationSteps``, ``StateSteps``, ``KnowledgeSteps``) once, as generators,
and a runner for its driver. The stores here put both together, for sync and for async callers.

As in the package itself, each name is loaded on first use: a store of one kind does without the others.
"""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from praisonai_persistence.stores.conversation import (
        AsyncStepConversationStore,
        ConversationSteps,
        StepConversationStore,
    )
    from praisonai_persistence.stores.knowledge import AsyncStepKnowledgeStore, KnowledgeSteps, StepKnowledgeStore
    from praisonai_persistence.stores.runners import AsyncRunner, DirectRunner, Runner, ThreadRunner
    from praisonai_persistence.stores.state import AsyncStepStateStore, StateSteps, StepStateStore

_MODULES = {
    "conversation": ("AsyncStepConversationStore", "ConversationSteps", "StepConversationStore"),
    "knowledge": ("AsyncStepKnowledgeStore", "KnowledgeSteps", "StepKnowledgeStore"),
    "runners": ("AsyncRunner", "DirectRunner", "Runner", "ThreadRunner"),
    "state": ("AsyncStepStateStore", "StateSteps", "StepStateStore"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AsyncRunner",
    "AsyncStepConversationStore",
    "AsyncStepKnowledgeStore",
    "AsyncStepStateStore",
    "ConversationSteps",
    "DirectRunner",
    "KnowledgeSteps",
    "Runner",
    "StateSteps",
    "StepConversationStore",
    "StepKnowledgeStore",
    "StepStateStore",
    "ThreadRunner",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)
