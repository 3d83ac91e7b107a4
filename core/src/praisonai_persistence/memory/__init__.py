"""All three kinds in memory: the reference that every other backend is compared with, and the ``memory`` backend.

Without a name, a store has its data to itself and they go with it. Stores of one name (``memory://name``) share their
data inside the process, for as long as one of them lives.

Each name is loaded on first use: a store of one kind does without the others.
"""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from praisonai_persistence.memory.conversation import (
        AsyncMemoryConversationStore,
        MemoryConversationSteps,
        MemoryConversationStore,
    )
    from praisonai_persistence.memory.knowledge import (
        AsyncMemoryKnowledgeStore,
        MemoryKnowledgeSteps,
        MemoryKnowledgeStore,
    )
    from praisonai_persistence.memory.state import AsyncMemoryStateStore, MemoryStateSteps, MemoryStateStore

__all__ = [
    "AsyncMemoryConversationStore",
    "AsyncMemoryKnowledgeStore",
    "AsyncMemoryStateStore",
    "MemoryConversationSteps",
    "MemoryConversationStore",
    "MemoryKnowledgeSteps",
    "MemoryKnowledgeStore",
    "MemoryStateSteps",
    "MemoryStateStore",
]

__getattr__, __dir__ = lazy(
    globals(),
    {
        name: kind.lower()
        for kind in ("Conversation", "Knowledge", "State")
        for name in (f"AsyncMemory{kind}Store", f"Memory{kind}Steps", f"Memory{kind}Store")
    },
)
