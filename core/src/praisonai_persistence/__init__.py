"""The persistence layer for AI agents: conversations, knowledge and state, one contract on every backend.

Nothing is imported, read or connected by ``import praisonai_persistence``; each name is loaded on first use.
"""

from __future__ import annotations

from praisonai_persistence._lazy import lazy

TYPE_CHECKING = False  # type checkers take it for True; importing typing would double the import time
if TYPE_CHECKING:
    from praisonai_persistence.adapter import AsyncDb, Db, FileMemoryWarning, db
    from praisonai_persistence.bridge import as_async, as_sync
    from praisonai_persistence.config import PersistenceConfig
    from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
    from praisonai_persistence.embed import AsyncEmbedder, Embedder
    from praisonai_persistence.errors import (
        AmbiguousBackendError,
        BackendError,
        BackendNotInstalledError,
        BrokenPluginError,
        CollectionExistsError,
        CollectionNotFoundError,
        ConfigurationError,
        ConflictError,
        ConnectionFailedError,
        DimensionError,
        DimensionLimitError,
        DocumentExistsError,
        DuplicateMessageError,
        FilterError,
        InvalidIdentifierError,
        InvalidValueError,
        PersistenceError,
        SchemaError,
        SerializationError,
        SessionExistsError,
        SessionNotFoundError,
        StoreClosedError,
        StoreNotFoundError,
        UnknownBackendError,
        UnknownOptionError,
        UnsupportedOperationError,
        WrongTypeError,
    )
    from praisonai_persistence.knowledge import AsyncKnowledgeStore, CollectionInfo, KnowledgeStore
    from praisonai_persistence.opening import (
        Stores,
        create_conversation_store,
        create_knowledge_store,
        create_state_store,
        create_stores_from_config,
        open_conversation_store,
        open_knowledge_store,
        open_state_store,
    )
    from praisonai_persistence.orchestrator import PersistenceOrchestrator
    from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
    from praisonai_persistence.registry import (
        CONVERSATION_STORES,
        KNOWLEDGE_STORES,
        STATE_STORES,
        BackendInfo,
        StoreRegistry,
        get_default_registry,
    )
    from praisonai_persistence.state import AsyncStateStore, StateStore

_MODULES = {
    "adapter": ("AsyncDb", "Db", "FileMemoryWarning", "db"),
    "bridge": ("as_async", "as_sync"),
    "config": ("PersistenceConfig",),
    "conversation": ("AsyncConversationStore", "ConversationStore"),
    "embed": ("AsyncEmbedder", "Embedder"),
    "errors": (
        "AmbiguousBackendError",
        "BackendError",
        "BackendNotInstalledError",
        "BrokenPluginError",
        "CollectionExistsError",
        "CollectionNotFoundError",
        "ConfigurationError",
        "ConflictError",
        "ConnectionFailedError",
        "DimensionError",
        "DimensionLimitError",
        "DocumentExistsError",
        "DuplicateMessageError",
        "FilterError",
        "InvalidIdentifierError",
        "InvalidValueError",
        "PersistenceError",
        "SchemaError",
        "SerializationError",
        "SessionExistsError",
        "SessionNotFoundError",
        "StoreClosedError",
        "StoreNotFoundError",
        "UnknownBackendError",
        "UnknownOptionError",
        "UnsupportedOperationError",
        "WrongTypeError",
    ),
    "knowledge": ("AsyncKnowledgeStore", "CollectionInfo", "KnowledgeStore"),
    "opening": (
        "Stores",
        "create_conversation_store",
        "create_knowledge_store",
        "create_state_store",
        "create_stores_from_config",
        "open_conversation_store",
        "open_knowledge_store",
        "open_state_store",
    ),
    "orchestrator": ("PersistenceOrchestrator",),
    "records": ("ConversationMessage", "ConversationSession", "KnowledgeDocument"),
    "registry": (
        "CONVERSATION_STORES",
        "KNOWLEDGE_STORES",
        "STATE_STORES",
        "BackendInfo",
        "StoreRegistry",
        "get_default_registry",
    ),
    "state": ("AsyncStateStore", "StateStore"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "CONVERSATION_STORES",
    "KNOWLEDGE_STORES",
    "STATE_STORES",
    "AmbiguousBackendError",
    "AsyncConversationStore",
    "AsyncDb",
    "AsyncEmbedder",
    "AsyncKnowledgeStore",
    "AsyncStateStore",
    "BackendError",
    "BackendInfo",
    "BackendNotInstalledError",
    "BrokenPluginError",
    "CollectionExistsError",
    "CollectionInfo",
    "CollectionNotFoundError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "ConversationMessage",
    "ConversationSession",
    "ConversationStore",
    "Db",
    "DimensionError",
    "DimensionLimitError",
    "DocumentExistsError",
    "DuplicateMessageError",
    "Embedder",
    "FileMemoryWarning",
    "FilterError",
    "InvalidIdentifierError",
    "InvalidValueError",
    "KnowledgeDocument",
    "KnowledgeStore",
    "PersistenceConfig",
    "PersistenceError",
    "PersistenceOrchestrator",
    "SchemaError",
    "SerializationError",
    "SessionExistsError",
    "SessionNotFoundError",
    "StateStore",
    "StoreClosedError",
    "StoreNotFoundError",
    "StoreRegistry",
    "Stores",
    "UnknownBackendError",
    "UnknownOptionError",
    "UnsupportedOperationError",
    "WrongTypeError",
    "as_async",
    "as_sync",
    "create_conversation_store",
    "create_knowledge_store",
    "create_state_store",
    "create_stores_from_config",
    "db",
    "get_default_registry",
    "open_conversation_store",
    "open_knowledge_store",
    "open_state_store",
]

__getattr__, __dir__ = lazy(globals(), _HOMES)
