"""What the tests of LightRAG's storages share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from lightrag.utils import EmbeddingFunc

from praisonai_persistence.knowledge import (
    AsyncMemoryKnowledgeStore,
    AsyncSQLiteKnowledgeStore,
    MemoryKnowledgeStore,
    SQLiteKnowledgeStore,
)
from praisonai_persistence.state import (
    AsyncMemoryStateStore,
    AsyncSQLiteStateStore,
    MemoryStateStore,
    SQLiteStateStore,
)
from praisonai_persistence_lightrag import storages

STORES: dict[str, Any] = {
    "memory": lambda path: (MemoryStateStore(), MemoryKnowledgeStore()),
    "sqlite": lambda path: (SQLiteStateStore(path=path), SQLiteKnowledgeStore(path=path)),
    "async memory": lambda path: (AsyncMemoryStateStore(), AsyncMemoryKnowledgeStore()),
    "async sqlite": lambda path: (AsyncSQLiteStateStore(path=path), AsyncSQLiteKnowledgeStore(path=path)),
}


@dataclass
class Stores:
    """Two open stores, and how a storage is made on them, as LightRAG makes it."""

    state: Any
    knowledge: Any
    embedded: list[list[str]]
    fails: bool = False

    def make(self, cls: Any, namespace: str = "things", workspace: str = "", **given: Any) -> Any:
        options = storages(self.state, self.knowledge, cosine_better_than_threshold=0.2)
        config = {**options, "embedding_batch_num": 3, "max_graph_nodes": 1000}
        given.setdefault("embedding_func", EmbeddingFunc(embedding_dim=3, func=self._embed))
        return cls(namespace=namespace, workspace=workspace, global_config=config, **given)

    async def _embed(self, texts: list[str], **_: Any) -> Any:
        if self.fails:
            raise RuntimeError("no answer")
        self.embedded.append(list(texts))
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)


@pytest.fixture(params=STORES)
def run(request, tmp_path):
    """Run a coroutine function that is called with open stores."""

    def run(work: Any) -> Any:
        async def main() -> Any:
            state, knowledge = STORES[request.param](tmp_path / "x.db")
            try:
                return await work(Stores(state, knowledge, []))
            finally:
                for store in (state, knowledge):
                    closed = store.close()
                    if closed is not None:
                        await closed

        return asyncio.run(main())

    return run
