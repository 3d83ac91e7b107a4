"""LangChain on the stores of this project: its chat history and its vector store."""

from __future__ import annotations

from praisonai_persistence_langchain.history import PersistentChatMessageHistory
from praisonai_persistence_langchain.knowledge import AsyncLangChainKnowledgeStore, LangChainKnowledgeStore
from praisonai_persistence_langchain.vectorstore import PersistentVectorStore

__all__ = [
    "AsyncLangChainKnowledgeStore",
    "LangChainKnowledgeStore",
    "PersistentChatMessageHistory",
    "PersistentVectorStore",
]
