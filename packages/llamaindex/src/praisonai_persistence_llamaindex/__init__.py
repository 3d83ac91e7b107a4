"""LlamaIndex on the stores of this project: its chat store, its vector store and its key-value store."""

from __future__ import annotations

from praisonai_persistence_llamaindex.chat_store import PersistentChatStore
from praisonai_persistence_llamaindex.knowledge import AsyncLlamaIndexKnowledgeStore, LlamaIndexKnowledgeStore
from praisonai_persistence_llamaindex.kv_store import PersistentKVStore
from praisonai_persistence_llamaindex.vector_store import PersistentVectorStore

__all__ = [
    "AsyncLlamaIndexKnowledgeStore",
    "LlamaIndexKnowledgeStore",
    "PersistentChatStore",
    "PersistentKVStore",
    "PersistentVectorStore",
]
