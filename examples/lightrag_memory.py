"""LightRAG in one SQLite file: run it twice, and it goes on where it ended.

Run it: `python examples/lightrag_memory.py [FILE.db]`. Tokenizer, embeddings and model are stand-ins without a network.
"""

import asyncio
import logging
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
from lightrag import LightRAG, QueryParam
from lightrag.utils import EmbeddingFunc, Tokenizer

from praisonai_persistence import open_knowledge_store, open_state_store
from praisonai_persistence_lightrag import storages

logging.getLogger("lightrag").setLevel(logging.ERROR)


async def embed(texts: list[str]) -> Any:
    """Stand for an embedding model."""
    return np.array([[1.0 + text.count(letter) for letter in "abcd"] for text in texts])


async def model(_prompt: str, system_prompt: str | None = None, **_options: Any) -> str:
    """Stand for a language model."""
    if "<|#|>" in (system_prompt or ""):  # it is to find entities and relations
        return "entity<|#|>Cats<|#|>animal<|#|>Cats sleep all day.\n<|COMPLETE|>"
    return "All day." if "Cats sleep" in (system_prompt or "") else "Nobody knows."


async def main() -> None:
    """Let LightRAG read, and ask it."""
    url = f"sqlite:///{(sys.argv[1:] or ['lightrag.db'])[0]}"
    characters = SimpleNamespace(encode=lambda text: [*map(ord, text)], decode=lambda codes: "".join(map(chr, codes)))
    async with open_state_store(url, "async") as state, open_knowledge_store(url, "async") as knowledge:
        rag = LightRAG(
            tokenizer=Tokenizer("characters", characters),
            llm_model_func=model,
            embedding_func=EmbeddingFunc(embedding_dim=4, func=embed),
            **storages(state, knowledge),
        )
        await rag.initialize_storages()
        await rag.ainsert(["Cats sleep all day."])
        print(await rag.aquery("When do cats sleep?", QueryParam(mode="naive", enable_rerank=False)))
        print(await rag.get_graph_labels(), await knowledge.count("lightrag_chunks"))
        await rag.finalize_storages()


asyncio.run(main())
