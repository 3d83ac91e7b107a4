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
    from praisonai_persistence.stores.document_conversation import DocumentConversationSteps
    from praisonai_persistence.stores.document_engine import DocumentEngine, MovedError
    from praisonai_persistence.stores.document_state import DocumentStateSteps
    from praisonai_persistence.stores.knowledge import AsyncStepKnowledgeStore, KnowledgeSteps, StepKnowledgeStore
    from praisonai_persistence.stores.runners import AsyncRunner, DirectRunner, Runner, ThreadRunner
    from praisonai_persistence.stores.state import AsyncStepStateStore, StateSteps, StepStateStore

_MODULES = {
    "conversation": ("AsyncStepConversationStore", "ConversationSteps", "StepConversationStore"),
    "document_conversation": ("DocumentConversationSteps",),
    "document_engine": ("DocumentEngine", "MovedError"),
    "document_state": ("DocumentStateSteps",),
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
    "DocumentConversationSteps",
    "DocumentEngine",
    "DocumentStateSteps",
    "KnowledgeSteps",
    "MovedError",
    "Runner",
    "StateSteps",
    "StepConversationStore",
    "StepKnowledgeStore",
    "StepStateStore",
    "ThreadRunner",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)
