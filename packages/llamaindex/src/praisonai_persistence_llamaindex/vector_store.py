"""A knowledge store as LlamaIndex's vector store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)

from praisonai_persistence.errors import InvalidValueError, UnsupportedOperationError
from praisonai_persistence.frameworks import Calls, NoCopies, both, documents, need_store
from praisonai_persistence.knowledge import AsyncKnowledgeStore, Distance, KnowledgeStore
from praisonai_persistence.payload import check_identifier
from praisonai_persistence.vectors import DISTANCES
from praisonai_persistence_llamaindex._filters import to_filter
from praisonai_persistence_llamaindex._nodes import SOURCE, from_document, to_document

__all__ = ["PersistentVectorStore"]


class PersistentVectorStore(NoCopies, BasePydanticVectorStore):
    """One collection of a knowledge store, for sync and async callers.

    The collection is created by the first nodes. Filters are exact or refused. The store stays open: it is whoever
    opened it that closes it.

    Args:
        store: a knowledge store, sync or async.
        collection: the collection's name.
        distance: of a collection that is created here: ``cosine``, ``dot`` or ``euclidean``.
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    _place: tuple[Any, str] = PrivateAttr()
    _distance: str = PrivateAttr()

    def __init__(
        self,
        store: KnowledgeStore | AsyncKnowledgeStore,
        *,
        collection: str = "llamaindex",
        distance: Distance = "cosine",
    ) -> None:
        super().__init__(stores_text=True)
        if distance not in DISTANCES:
            raise InvalidValueError(f"distance must be one of {', '.join(DISTANCES)}")
        self._place = need_store(store, "knowledge"), check_identifier(collection, "collection")
        self._distance = distance

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows it by."""
        return "PersistentVectorStore"

    @property
    def client(self) -> Any:
        """The knowledge store."""
        return self._place[0]

    @property
    def distance(self) -> str:
        """That of a collection that is created here."""
        return self._distance

    def _add(self, nodes: Sequence[BaseNode]) -> Calls[list[str]]:
        """Add or replace nodes, all or none where the engine can; return their ids."""
        made = [to_document(node) for node in nodes]
        return (yield from documents.put(*self._place, made, self._distance)) if made else []

    def _delete(self, ref_doc_id: str) -> Calls[None]:
        """Remove the nodes of a source document."""
        yield from documents.ask(*self._place, "delete", None, {SOURCE: ref_doc_id})

    def _delete_nodes(
        self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None
    ) -> Calls[None]:
        """Remove nodes by id and filter; without either it is refused: there is ``clear``."""
        yield from documents.ask(*self._place, "delete", node_ids, to_filter(filters))

    def _clear(self) -> Calls[None]:
        """Remove all nodes."""
        yield from documents.ask(*self._place, "clear_collection")

    def _get_nodes(
        self, node_ids: Sequence[str] | None = None, filters: MetadataFilters | None = None
    ) -> Calls[list[BaseNode]]:
        """Return nodes with their embeddings, by id and filter; without ids in the order of their ids."""
        chosen = to_filter(filters)
        reading = (
            documents.all_documents(*self._place, chosen)
            if node_ids is None
            else documents.named(*self._place, node_ids, chosen)
        )
        return [from_document(document) for document in (yield from reading)]

    def _query(
        self,
        query: VectorStoreQuery,
        *,
        mmr_threshold: float | None = None,
        mmr_prefetch_factor: float = 4.0,
    ) -> Calls[VectorStoreQueryResult]:
        """Return the nodes nearest to an embedding, best first; a higher similarity is better.

        Args:
            query: its modes are ``DEFAULT`` and ``MMR``.
            mmr_threshold: 1: only near, 0: only different from each other; by default that of the query, or 0.5.
            mmr_prefetch_factor: how many times as many nodes as asked for are candidates for ``MMR``, at least 20.

        Raises:
            UnsupportedOperationError: another mode.
            FilterError: a filter that cannot be evaluated exactly.
        """
        diverse = query.mode == VectorStoreQueryMode.MMR
        if not diverse and query.mode != VectorStoreQueryMode.DEFAULT:
            raise UnsupportedOperationError(f"the mode {query.mode} is not there: use DEFAULT or MMR")
        if query.query_embedding is None:
            raise InvalidValueError("the query has no query_embedding: an index makes it with its embedding model")
        parts = [part for part in (to_filter(query.filters),) if part]
        if query.doc_ids is not None:
            parts.append({SOURCE: {"$in": list(query.doc_ids)}})
        chosen = {"$and": parts} if parts else None
        k, embedding = query.similarity_top_k, list(query.query_embedding)
        limit = max(20, round(k * mmr_prefetch_factor)) if diverse else k
        if query.node_ids:  # retrievers give an empty list where no nodes are named
            found = yield from documents.nearest_of(*self._place, query.node_ids, embedding, chosen, limit)
        else:
            searching = documents.ask(
                *self._place, "search", embedding, limit, chosen, nothing=[], with_embeddings=diverse
            )
            found = yield from searching
        scores = [document.score or 0.0 for document in found]
        if diverse:
            threshold = query.mmr_threshold if mmr_threshold is None else mmr_threshold
            vectors = [document.embedding or [] for document in found]
            best, places = get_top_k_mmr_embeddings(embedding, vectors, similarity_top_k=k, mmr_threshold=threshold)
            scores, found = [float(score) for score in best], [found[place] for place in places]
        for document in found:
            document.embedding = None
        nodes = [from_document(document) for document in found]
        return VectorStoreQueryResult(nodes, scores, [node.node_id for node in nodes])

    add, async_add = both(_add)
    delete, adelete = both(_delete)
    delete_nodes, adelete_nodes = both(_delete_nodes)
    clear, aclear = both(_clear)
    get_nodes, aget_nodes = both(_get_nodes)
    query, aquery = both(_query)
