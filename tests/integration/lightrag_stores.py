"""Stores over LightRAG, which specs name by a text. They have no models: the suites ask LightRAG nothing."""

from __future__ import annotations

from typing import Any

from praisonai_persistence_lightrag import AsyncLightRAGKnowledgeStore, LightRAGKnowledgeStore


async def nothing(*_: Any, **__: Any) -> Any:
    raise AssertionError("a model was asked")


MODELS: dict[str, Any] = {"llm_model_func": nothing, "embedding_func": nothing, "tokenizer": nothing}


def store(**options: Any) -> LightRAGKnowledgeStore:
    return LightRAGKnowledgeStore(**MODELS, **options)


def async_store(**options: Any) -> AsyncLightRAGKnowledgeStore:
    return AsyncLightRAGKnowledgeStore(**MODELS, **options)
