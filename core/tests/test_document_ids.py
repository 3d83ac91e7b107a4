"""The ids of all documents, for stores that do not list them: a search finds them, or it is said that it did not."""

from __future__ import annotations

from typing import Any

import pytest

from praisonai_persistence import AsyncKnowledgeStore, KnowledgeDocument, KnowledgeStore
from praisonai_persistence.errors import CollectionNotFoundError, UnsupportedOperationError
from praisonai_persistence.memory import AsyncMemoryKnowledgeStore, MemoryKnowledgeStore
from praisonai_persistence.testing._facade import awaitable, drive


class Searching(MemoryKnowledgeStore):
    """Has no listing of its own; its search leaves out the first ``missed``."""

    missed = 0
    document_ids = KnowledgeStore.document_ids

    def search(self, *args: Any, **kwargs: Any) -> list[KnowledgeDocument]:
        return super().search(*args, **kwargs)[self.missed :]


class AsyncSearching(AsyncMemoryKnowledgeStore):
    """The same, async."""

    missed = 0
    document_ids = AsyncKnowledgeStore.document_ids

    async def search(self, *args: Any, **kwargs: Any) -> list[KnowledgeDocument]:
        return (await super().search(*args, **kwargs))[self.missed :]


@pytest.mark.parametrize("kind", [Searching, AsyncSearching])
def test_a_search_finds_the_ids_or_says_that_some_are_missing(kind: Any) -> None:
    async def body() -> None:
        store = awaitable(kind())
        with pytest.raises(CollectionNotFoundError):
            await store.document_ids("c")
        await store.create_collection("c", 2)
        assert await store.document_ids("c") == []
        documents = [KnowledgeDocument(name, "", [1.0, 0.5], {"odd": name in "ac"}) for name in "cab"]
        await store.insert("c", documents)
        assert await store.document_ids("c") == ["a", "b", "c"]
        assert await store.document_ids("c", {"odd": True}) == ["a", "c"]
        kind.missed = 1
        try:
            with pytest.raises(UnsupportedOperationError, match="3 documents, and a search .* finds 2"):
                await store.document_ids("c")
        finally:
            kind.missed = 0
        await store.close()

    drive(body())
