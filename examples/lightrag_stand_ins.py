"""What LightRAG needs besides storages, as stand-ins without a network: a tokenizer, embeddings and a model."""

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
from lightrag.utils import EmbeddingFunc, Tokenizer

logging.getLogger("lightrag").setLevel(logging.ERROR)


async def embed(texts: list[str]) -> Any:
    """Stand for an embedding model: count letters."""
    return np.array([[1.0 + text.count(letter) for letter in "abcd"] for text in texts])


async def model(_prompt: str, system_prompt: str | None = None, **_options: Any) -> str:
    """Stand for a language model."""
    if "<|#|>" in (system_prompt or ""):  # it is to find entities and relations
        return "entity<|#|>Cats<|#|>animal<|#|>Cats sleep all day.\n<|COMPLETE|>"
    return "All day." if "Cats sleep" in (system_prompt or "") else "Nobody knows."


characters = SimpleNamespace(encode=lambda text: [*map(ord, text)], decode=lambda codes: "".join(map(chr, codes)))
stand_ins: dict[str, Any] = {
    "tokenizer": Tokenizer("characters", characters),
    "embedding_func": EmbeddingFunc(embedding_dim=4, func=embed),
    "llm_model_func": model,
}
