"""Stores over frameworks' vector stores in memory, which specs name by a text: JSON that other processes read."""

from __future__ import annotations

from typing import Any

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core.vector_stores.simple import SimpleVectorStore

from praisonai_persistence_langchain import AsyncLangChainKnowledgeStore, LangChainKnowledgeStore
from praisonai_persistence_llamaindex import AsyncLlamaIndexKnowledgeStore, LlamaIndexKnowledgeStore

_made: dict[str, Any] = {}


def _langchain(name: str) -> Any:
    return _made.setdefault(name, InMemoryVectorStore(DeterministicFakeEmbedding(size=4)))


def _llamaindex(name: str) -> Any:
    return _made.setdefault(name, SimpleVectorStore())


def langchain(name: str, **options: Any) -> LangChainKnowledgeStore:
    return LangChainKnowledgeStore(vectorstore=_langchain(name), **options)


def async_langchain(name: str, **options: Any) -> AsyncLangChainKnowledgeStore:
    return AsyncLangChainKnowledgeStore(vectorstore=_langchain(name), **options)


def llamaindex(name: str, **options: Any) -> LlamaIndexKnowledgeStore:
    return LlamaIndexKnowledgeStore(vector_store=_llamaindex(name), **options)


def async_llamaindex(name: str, **options: Any) -> AsyncLlamaIndexKnowledgeStore:
    return AsyncLlamaIndexKnowledgeStore(vector_store=_llamaindex(name), **options)
