"""LangChain's vector stores as knowledge stores of this project."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from praisonai_persistence.drivers import option
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import wrapped
from praisonai_persistence_langchain.vectorstore import PersistentVectorStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import KnowledgeDocument

__all__ = ["AsyncLangChainKnowledgeStore", "LangChainKnowledgeStore", "LangChainOptions"]

_KEY = "praison_key"


class LangChainOptions(wrapped.WrappedOptions):
    """What the stores can be given."""

    title = "LangChain"
    clients = ("vectorstore", "vectorstore_cls")
    base = VectorStore
    volatile = (InMemoryVectorStore,)
    instance = "vectorstore"

    vectorstore = option(None, "object", "a vector store of LangChain; it stays open")
    vectorstore_cls = option(None, "object", "or its class")
    vectorstore_kwargs = option(None, "object", "with which the class is called when the store is first used")
    scores = option(None, ("similarity", "distance"), "what `similarity_search_with_score` returns")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if self.scores is None and issubclass(self.cls, (InMemoryVectorStore, PersistentVectorStore)):
            self.scores = "similarity"
        if self.scores is None:
            raise ConfigurationError(
                f"{self.cls.__name__} does not say what its scores are: give scores='similarity', if higher is "
                "nearer, or scores='distance'"
            )

    def wrap(self, store: VectorStore) -> _Wrapped:
        return _Wrapped(store, self.scores)


class _Wrapped(wrapped.Wrapped):
    def __init__(self, store: VectorStore, scores: str) -> None:
        self._store, self._scores = store, scores

    @contextlib.contextmanager
    def _embedding(self) -> Any:
        try:
            yield
        except Exception as error:
            if self._store.embeddings is None:
                raise ConfigurationError(
                    f"{type(self._store).__name__} has no embedding function: make it with one, for example "
                    "InMemoryVectorStore(embedding)"
                ) from error
            raise

    def add(self, documents: Sequence[KnowledgeDocument]) -> None:
        texts = [wrapped.plain_text(document.content) for document in documents]
        metadatas = [{**wrapped.plain_metadata(document.metadata), _KEY: document.id} for document in documents]
        with self._embedding():
            self._store.add_texts(texts, metadatas, ids=[document.id for document in documents])

    def remove(self, ids: Sequence[str]) -> None:
        with contextlib.suppress(NotImplementedError):  # then they stay, and are not found
            self._store.delete(ids=list(ids))

    def similar(self, text: str, limit: int) -> Sequence[tuple[str | None, float]]:
        with self._embedding():
            found = self._store.similarity_search_with_score(text, k=limit)
        if self._scores == "distance":
            found = [(document, 1.0 / (1.0 + value)) for document, value in found]
        return [(document.metadata.get(_KEY), float(value)) for document, value in found]


class LangChainKnowledgeStore(wrapped.TextStore):
    """Knowledge in a vector store of LangChain, and in a sidecar."""

    options_class = LangChainOptions
    backend: ClassVar[str] = "langchain"


class AsyncLangChainKnowledgeStore(wrapped.AsyncTextStore):
    """[LangChainKnowledgeStore][] for async callers: operations run on threads."""

    options_class = LangChainOptions
    backend: ClassVar[str] = "langchain"
