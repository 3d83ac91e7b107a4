"""LlamaIndex's vector stores as knowledge stores of this project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery

from praisonai_persistence.drivers import option
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, wrapped
from praisonai_persistence.vectors import DISTANCES
from praisonai_persistence_llamaindex.vector_store import PersistentVectorStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import KnowledgeDocument

__all__ = ["AsyncLlamaIndexKnowledgeStore", "LlamaIndexKnowledgeStore", "LlamaIndexOptions"]


class LlamaIndexOptions(wrapped.WrappedOptions):
    """What the stores can be given."""

    title = "LlamaIndex"
    clients = ("vector_store", "vector_store_cls")
    base = BasePydanticVectorStore
    volatile = (SimpleVectorStore,)
    instance = "vector_store"

    vector_store = option(None, "object", "a vector store of LlamaIndex; it stays open")
    vector_store_cls = option(None, "object", "or its class")
    vector_store_kwargs = option(None, "object", "with which the class is called when the store is first used")
    distance = option(None, DISTANCES, "by which it ranks")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if self.distance is None and issubclass(self.cls, SimpleVectorStore):
            self.distance = "cosine"
        elif self.distance is None and isinstance(self.owner, PersistentVectorStore):
            self.distance = self.owner.distance
        if self.distance is None:
            raise ConfigurationError(
                f"{self.cls.__name__} does not say by which distance it ranks: give distance='cosine', 'dot' or "
                "'euclidean'"
            )

    def wrap(self, store: BasePydanticVectorStore) -> _Wrapped:
        return _Wrapped(store, self.distance)


class _Wrapped(wrapped.Wrapped):
    def __init__(self, store: BasePydanticVectorStore, distance: str) -> None:
        self._store, self.distance = store, distance

    def add(self, documents: Sequence[KnowledgeDocument]) -> None:
        self._store.add(
            [
                TextNode(
                    id_=document.id,
                    text=wrapped.plain_text(document.content),
                    embedding=document.embedding,
                    metadata=wrapped.plain_metadata(document.metadata),
                    # Each its own source document, which all stores can delete.
                    relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document.id)},
                )
                for document in documents
            ]
        )

    def remove(self, ids: Sequence[str]) -> None:
        try:
            self._store.delete_nodes(list(ids))
        except NotImplementedError:
            for item in ids:
                self._store.delete(item)

    def nearest(self, query: Sequence[float], limit: int) -> Sequence[str]:
        found = self._store.query(VectorStoreQuery(query_embedding=list(query), similarity_top_k=limit))
        return found.ids or [node.node_id for node in found.nodes or ()]


class LlamaIndexKnowledgeStore(wrapped.WrappedStore, StepKnowledgeStore):
    """Knowledge in a vector store of LlamaIndex, and in a sidecar."""

    options_class = LlamaIndexOptions
    backend: ClassVar[str] = "llamaindex"


class AsyncLlamaIndexKnowledgeStore(wrapped.WrappedStore, AsyncStepKnowledgeStore):
    """[LlamaIndexKnowledgeStore][] for async callers: operations run on threads."""

    options_class = LlamaIndexOptions
    backend: ClassVar[str] = "llamaindex"
    _asynchronous = True
