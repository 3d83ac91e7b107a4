"""LightRAG in one SQLite file: run it twice, and it has read the document already."""

import asyncio

from lightrag import LightRAG, QueryParam
from lightrag_stand_ins import stand_ins

from praisonai_persistence import open_knowledge_store, open_state_store
from praisonai_persistence_lightrag import storages


async def main(url: str) -> None:
    """Let LightRAG read, and ask it."""
    async with open_state_store(url, "async") as state, open_knowledge_store(url, "async") as knowledge:
        rag = LightRAG(**stand_ins, **storages(state, knowledge))
        await rag.initialize_storages()
        await rag.ainsert(["Cats sleep all day."])
        print(await rag.aquery("When do cats sleep?", QueryParam(mode="naive", enable_rerank=False)))
        print(await rag.get_graph_labels(), await knowledge.count("lightrag_chunks"))
        await rag.finalize_storages()


asyncio.run(main("sqlite:///lightrag.db"))
