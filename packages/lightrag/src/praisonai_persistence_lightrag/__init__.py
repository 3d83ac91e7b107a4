"""LightRAG on the stores of this project: its key-value, vector, document status and graph storages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence._lazy import lazy

if TYPE_CHECKING:
    from praisonai_persistence_lightrag._storage import storages
    from praisonai_persistence_lightrag.doc_status import PersistentDocStatusStorage
    from praisonai_persistence_lightrag.graph import PersistentGraphStorage
    from praisonai_persistence_lightrag.knowledge import AsyncLightRAGKnowledgeStore, LightRAGKnowledgeStore
    from praisonai_persistence_lightrag.kv import PersistentKVStorage
    from praisonai_persistence_lightrag.vector import PersistentVectorStorage

__all__ = [
    "AsyncLightRAGKnowledgeStore",
    "LightRAGKnowledgeStore",
    "PersistentDocStatusStorage",
    "PersistentGraphStorage",
    "PersistentKVStorage",
    "PersistentVectorStorage",
    "storages",
]

# LightRAG takes seconds to import, which a knowledge store needs only when it is asked a question.
_HOMES = {
    "AsyncLightRAGKnowledgeStore": "knowledge",
    "LightRAGKnowledgeStore": "knowledge",
    "PersistentDocStatusStorage": "doc_status",
    "PersistentGraphStorage": "graph",
    "PersistentKVStorage": "kv",
    "PersistentVectorStorage": "vector",
    "storages": "_storage",
}
__getattr__, __dir__ = lazy(globals(), _HOMES)
