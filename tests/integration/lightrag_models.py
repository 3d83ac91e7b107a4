"""Models for LightRAG that need no network: what is known of cats, of dogs, and letters as embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from lightrag.utils import EmbeddingFunc, Tokenizer

__all__ = ["arguments", "ask"]

logging.getLogger("lightrag").setLevel(logging.ERROR)

_ANIMALS = {"cats": "beds", "dogs": "gardens", "bees": "hives"}


class Characters:
    """Each character is a token."""

    def encode(self, content: str) -> list[int]:
        return [ord(character) for character in content]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(map(chr, tokens))


async def embed(texts: list[str]) -> Any:
    return np.array([[1.0 + text.lower().count(letter) for letter in "abcdefgh"] for text in texts])


async def ask(prompt: str, system_prompt: str | None = None, **_: Any) -> str:
    """Answer as a model would: with keywords, with entities and relations, or with the animals of the context."""
    if "high_level_keywords" in prompt:
        named = [f'"{animal.title()}"' for animal in _ANIMALS if animal in prompt.lower().rpartition("query")[2]]
        return f'{{"high_level_keywords": ["sleep"], "low_level_keywords": [{", ".join(named)}]}}'
    system = system_prompt or ""
    if "<|#|>" in system:
        text = prompt.lower()
        lines = []
        for animal, place in _ANIMALS.items():
            if animal in text:
                lines += [
                    f"entity<|#|>{animal.title()}<|#|>animal<|#|>{animal.title()} sleep in {place}.",
                    f"entity<|#|>{place.title()}<|#|>place<|#|>{place.title()} are soft.",
                    f"relation<|#|>{animal.title()}<|#|>{place.title()}<|#|>sleep<|#|>There they sleep.",
                ]
        return "\n".join([*lines, "<|COMPLETE|>"])
    return " ".join(sorted(animal for animal in _ANIMALS if f"{animal} sleep" in system.lower()))


def arguments() -> dict[str, Any]:
    """Return LightRAG's arguments."""
    return {
        "tokenizer": Tokenizer("characters", Characters()),
        "llm_model_func": ask,
        "embedding_func": EmbeddingFunc(embedding_dim=8, max_token_size=8192, func=embed),
        "entity_extract_max_gleaning": 0,
    }
