"""Optional bases for stores: public methods that validate, connect once, and drive a backend's steps.

A backend writes the steps of its kind (``ConversationSteps``, ``StateSteps``, ``KnowledgeSteps``) once, as generators,
and a runner for its driver. The stores here put both together, for sync and for async callers.
"""

from praisonai_persistence.stores.conversation import (
    AsyncStepConversationStore,
    ConversationSteps,
    StepConversationStore,
)
from praisonai_persistence.stores.knowledge import AsyncStepKnowledgeStore, KnowledgeSteps, StepKnowledgeStore
from praisonai_persistence.stores.runners import (
    AsyncRunner,
    DirectRunner,
    Runner,
    ThreadRunner,
)
from praisonai_persistence.stores.state import AsyncStepStateStore, StateSteps, StepStateStore

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
