"""A knowledge store as LangChain's vector store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from praisonai_persistence.errors import ConfigurationError, FilterError, InvalidValueError
from praisonai_persistence.filters import parse
from praisonai_persistence.frameworks import Call, Calls, ask, both, need_store, put
from praisonai_persistence.payload import check_identifier
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.vectors import DISTANCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Self

    from praisonai_persistence.knowledge import AsyncKnowledgeStore, Distance, KnowledgeStore

__all__ = ["PersistentVectorStore"]


def _check(filters: Any) -> None:
    """Refuse what is no filter, also before there is a collection."""
    if callable(filters):
        raise FilterError("filter must be a mapping, not a function: see praisonai_persistence.filters")
    parse(filters)


def _documents(found: Iterable[KnowledgeDocument]) -> list[Document]:
    return [Document(item.content, id=item.id, metadata=item.metadata or {}) for item in found]


def _scored(found: Sequence[KnowledgeDocument]) -> list[tuple[Document, float]]:
    return list(zip(_documents(found), (item.score or 0.0 for item in found), strict=True))


class PersistentVectorStore(VectorStore):
    """One collection of a knowledge store, for sync and async callers.

    The collection is created by the first documents. Every search takes ``filter``, in the filter language of the
    stores, and ``score_threshold``; any other keyword is a ``TypeError``, so no filter is ever ignored. The store stays
    open: it is whoever opened it that closes it.

    Args:
        store: a knowledge store, sync or async.
        embedding: makes the vectors.
        collection: the collection's name.
        distance: of a collection that is created here: ``cosine``, ``dot`` or ``euclidean``.
    """

    def __init__(
        self,
        store: KnowledgeStore | AsyncKnowledgeStore,
        embedding: Embeddings,
        *,
        collection: str = "langchain",
        distance: Distance = "cosine",
    ) -> None:
        if not isinstance(embedding, Embeddings):
            raise ConfigurationError(
                f"embedding must be a langchain_core Embeddings, not {type(embedding).__name__}: the model that makes "
                "the vectors, for example DeterministicFakeEmbedding(size=8) in a test"
            )
        if distance not in DISTANCES:
            raise InvalidValueError(f"distance must be one of {', '.join(DISTANCES)}")
        self.store = need_store(store, "knowledge")
        self.collection = check_identifier(collection, "collection")
        self._embedding = embedding
        self._distance = distance

    @property
    def embeddings(self) -> Embeddings:
        """The model that makes the vectors."""
        return self._embedding

    def _add(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
    ) -> Calls[list[str]]:
        """Add or replace documents, and return their ids; an id that is None is made up."""
        contents = list(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given and len(given) != len(contents):
                raise InvalidValueError(f"{name} must be as many as the texts: {len(given)}, not {len(contents)}")
        if not contents:
            return []
        vectors = yield Call(self._embedding, "embed_documents", (contents,), amethod="aembed_documents")
        documents = [
            KnowledgeDocument(content=content, embedding=list(vector), metadata=dict(metadata or {}))
            for content, vector, metadata in zip(contents, vectors, metadatas or [{}] * len(contents), strict=True)
        ]
        for document, id_ in zip(documents, ids or (), strict=False):
            document.id = document.id if id_ is None else id_
        return (yield from put(self.store, self.collection, documents, self._distance))

    def _delete(self, ids: Sequence[str] | None = None, *, filter: Any = None) -> Calls[bool]:  # noqa: A002
        """Remove documents by id and ``filter``; without either, all of the collection."""
        _check(filter)
        if ids is None and filter is None:
            yield from ask(self.store, self.collection, "clear_collection")
        else:
            yield from ask(self.store, self.collection, "delete", ids, filter)
        return True

    def _get(self, ids: Sequence[str], /) -> Calls[list[KnowledgeDocument]]:
        """Return documents in the order asked; unknown ids are skipped."""
        return ask(self.store, self.collection, "get", list(ids), nothing=[])

    def _search(
        self,
        query: str | Sequence[float],
        k: int = 4,
        *,
        filter: Any = None,  # noqa: A002 - LangChain's name for it
        score_threshold: float | None = None,
        with_embeddings: bool = False,
    ) -> Calls[list[KnowledgeDocument]]:
        """Return the documents nearest to a text or a vector, best first; a higher score is better."""
        _check(filter)
        if isinstance(query, str):
            query = yield Call(self._embedding, "embed_query", (query,), amethod="aembed_query")
        wanted = {"with_embeddings": True} if with_embeddings else {}
        arguments = (list(query), k, filter, score_threshold)
        return (yield from ask(self.store, self.collection, "search", *arguments, nothing=[], **wanted))  # type: ignore[no-any-return]

    def _by_vector(self, embedding: Sequence[float], k: int = 4, **chosen: Any) -> Calls[list[KnowledgeDocument]]:
        """Return the documents nearest to a vector, best first."""
        return self._search(embedding, k, **chosen)

    def _diverse(
        self, query: str | Sequence[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **chosen: Any
    ) -> Calls[list[KnowledgeDocument]]:
        """Of the ``fetch_k`` documents nearest to a text or a vector, return ``k`` that differ from each other."""
        if isinstance(query, str):
            query = yield Call(self._embedding, "embed_query", (query,), amethod="aembed_query")
        found = yield from self._search(query, max(k, fetch_k), **chosen, with_embeddings=True)
        vectors = [list(document.embedding or ()) for document in found]
        best = maximal_marginal_relevance(np.asarray(query, dtype=np.float64), vectors, lambda_mult, k)
        return [found[number] for number in best]

    def _diverse_by_vector(self, embedding: Sequence[float], *places: Any, **chosen: Any) -> Calls[Any]:
        """Of the documents nearest to a vector, return some that differ from each other."""
        return self._diverse(embedding, *places, **chosen)

    add_texts, aadd_texts = both(_add)
    delete, adelete = both(_delete)
    get_by_ids, aget_by_ids = both(_get, _documents)
    similarity_search, asimilarity_search = both(_search, _documents)
    similarity_search_with_score, asimilarity_search_with_score = both(_search, _scored)
    similarity_search_by_vector, asimilarity_search_by_vector = both(_by_vector, _documents)
    max_marginal_relevance_search, amax_marginal_relevance_search = both(_diverse, _documents)
    max_marginal_relevance_search_by_vector, amax_marginal_relevance_search_by_vector = both(
        _diverse_by_vector, _documents
    )

    @classmethod
    def from_texts(
        cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, *, ids: Any = None, **kwargs: Any
    ) -> Self:
        """Make a vector store (``store=...`` is needed) and add documents to it."""
        made = cls(kwargs.pop("store", None), embedding, **kwargs)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    @classmethod
    async def afrom_texts(
        cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, *, ids: Any = None, **kwargs: Any
    ) -> Self:
        """See ``from_texts``."""
        made = cls(kwargs.pop("store", None), embedding, **kwargs)
        await made.aadd_texts(texts, metadatas, ids=ids)
        return made

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        # Of cosine and euclidean, 1 is the best there is; what a product says depends on the lengths of the vectors.
        return float if self._distance == "dot" else lambda score: min(1.0, max(0.0, score))
