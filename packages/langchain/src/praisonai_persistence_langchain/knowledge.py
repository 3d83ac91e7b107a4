"""LangChain's vector stores as knowledge stores of this project."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from praisonai_persistence.drivers import OptionsStore, option
from praisonai_persistence.errors import ConfigurationError, InvalidValueError
from praisonai_persistence.filters import parse
from praisonai_persistence.payload import check_count
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, wrapped
from praisonai_persistence_langchain.vectorstore import PersistentVectorStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


class _Store(OptionsStore):
    options_class = LangChainOptions
    backend: ClassVar[str] = "langchain"
    capabilities: frozenset[str] = frozenset({"prefix", "atomic_batch"})

    def _make(self, options: LangChainOptions) -> tuple[wrapped.WrappedSteps, wrapped.WrappedDriver]:
        self.capabilities = options.capabilities_of(self.capabilities)
        return wrapped.WrappedSteps(), options.driver(lambda store: _Wrapped(store, options.scores))


def _text(query_text: Any, limit: Any, filters: Any, collection: str | None) -> tuple[Any, ...]:
    if not isinstance(query_text, str):
        raise InvalidValueError(f"query_text must be text, not {type(query_text).__name__}")
    return wrapped.plain_text(query_text), check_count(limit, "limit"), parse(filters), collection


class LangChainKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in a vector store of LangChain, and in a sidecar."""

    def similarity_search(
        self,
        query_text: str,
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        *,
        collection: str | None = None,
    ) -> list[KnowledgeDocument]:
        """Return the documents nearest to a text, ranked by LangChain's vector store; None: of all collections."""
        steps: Any = self._steps
        return self._runner.run(steps.similar, *_text(query_text, limit, filters, collection))


class AsyncLangChainKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """[LangChainKnowledgeStore][] for async callers: operations run on threads."""

    _asynchronous = True

    async def similarity_search(
        self,
        query_text: str,
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        *,
        collection: str | None = None,
    ) -> list[KnowledgeDocument]:
        """See [LangChainKnowledgeStore.similarity_search][]."""
        steps: Any = self._steps
        return await self._runner.run(steps.similar, *_text(query_text, limit, filters, collection))
