"""Knowledge stores: documents with embeddings, in collections.

``KnowledgeStore`` and ``AsyncKnowledgeStore`` have the same methods and promise the same. Making embeddings is the
caller's part: a store takes vectors, and keeps them as 32-bit floats. Filters are one language on every backend: see
``praisonai_persistence.filters``.

The store classes of installed plugins can be imported from here too.

Capabilities that a knowledge store may declare: ``durable``, ``shared``, ``prefix``, ``schema`` (``schema_status`` and
``migrate_schema``; see ``conversation``), and ``atomic_batch``: a batch of ``insert`` or ``upsert`` is written whole or
not at all, also when the process dies. A class with the abstract methods alone, and without ``with_embeddings`` and the
filters of ``count``, is a store too; what it cannot tell about its collections raises ``UnsupportedOperationError``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from praisonai_persistence._store import AsyncStore, SyncStore
from praisonai_persistence.errors import CollectionNotFoundError, UnsupportedOperationError
from praisonai_persistence.records import KnowledgeDocument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AsyncKnowledgeStore", "CollectionInfo", "Distance", "KnowledgeDocument", "KnowledgeStore"]

Distance = Literal["cosine", "dot", "euclidean"]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection was created with.

    Attributes:
        name: its name.
        dimension: the length of every embedding.
        distance: ``cosine``, ``dot`` or ``euclidean``; decides what ``score`` means.
        metadata: a JSON object, or None.
    """

    name: str
    dimension: int
    distance: Distance = "cosine"
    metadata: dict[str, Any] | None = None


def _any_query(info: CollectionInfo) -> list[float]:
    return [1.0] + [0.0] * (info.dimension - 1)


def _all_ids(collection: str, found: Sequence[KnowledgeDocument], count: int) -> list[str]:
    if len(found) < count:
        raise UnsupportedOperationError(
            f"collection {collection!r} has {count} documents, and a search for all of them finds {len(found)}: the "
            "search of this engine is approximate, and its store has no document_ids() of its own"
        )
    return sorted(document.id for document in found)


class KnowledgeStore(SyncStore):
    """Documents with embeddings, for sync callers.

    Every method that names a collection may raise ``InvalidIdentifierError`` for a name that cannot be one, and all
    but ``create_collection`` and ``collection_exists`` raise ``CollectionNotFoundError`` when there is none of it.
    """

    kind: ClassVar[str] = "knowledge"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import complete

            complete(cls, "knowledge", asynchronous=False)

    @abstractmethod
    def create_collection(
        self, name: str, dimension: int, distance: Distance = "cosine", metadata: dict[str, Any] | None = None
    ) -> None:
        """Create a collection; again with the same arguments does nothing.

        Raises:
            CollectionExistsError: it exists with other arguments.
            DimensionLimitError: the engine takes no vectors of so many numbers; nothing is made.
        """

    @abstractmethod
    def delete_collection(self, name: str) -> None:
        """Remove the collection with all its documents."""

    def get_collection(self, name: str) -> CollectionInfo:
        """Return what the collection was created with.

        Raises:
            UnsupportedOperationError: this store was written for an interface that does not ask for it.
        """
        if name not in self.list_collections():
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        self._unsupported("tell what a collection was created with", "get_collection")

    def collection_exists(self, name: str) -> bool:
        """Whether there is a collection of that name."""
        if type(self).get_collection is KnowledgeStore.get_collection:
            return name in self.list_collections()
        try:
            self.get_collection(name)
        except CollectionNotFoundError:
            return False
        return True

    @abstractmethod
    def list_collections(self) -> list[str]:
        """Return the names of this store's collections, sorted."""

    @abstractmethod
    def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        """Add documents and return their ids in order.

        Raises:
            DocumentExistsError: an id is taken, or stands twice in the batch; nothing of the batch is written.
            DimensionError: an embedding is missing, empty, or of the wrong length; nothing is written.
            InvalidValueError: an embedding holds NaN or an infinity, or what 32-bit floats cannot hold.
        """

    @abstractmethod
    def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        """Add or replace documents and return their ids in order; of an id that stands twice the last one stays."""

    @abstractmethod
    def search(
        self,
        collection: str,
        query_embedding: Sequence[float],
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        score_threshold: float | None = None,
        *,
        with_embeddings: bool = False,
    ) -> list[KnowledgeDocument]:
        """Return the documents nearest to ``query_embedding``, best first, equal scores by id.

        ``score``: higher is better: cosine similarity (0 when a vector is all zeros), inner product, or
        1/(1+distance) for euclidean; computed on 32-bit floats.

        Args:
            collection: the collection.
            query_embedding: as many finite numbers as the collection's dimension.
            limit: at most so many.
            filters: only documents whose metadata match; see ``praisonai_persistence.filters``.
            score_threshold: only documents with ``score >= score_threshold``.
            with_embeddings: also return the stored embeddings.

        Raises:
            DimensionError: the query has the wrong length.
            FilterError: the filter is not of the language, or this engine cannot express it.
        """

    @abstractmethod
    def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        """Return documents, with their embeddings, in the order asked; unknown ids are skipped."""

    @abstractmethod
    def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        """Return how many documents match."""

    def document_ids(self, collection: str, filters: Mapping[str, Any] | None = None) -> list[str]:
        """Return the ids of all documents that match, sorted by code point.

        Raises:
            UnsupportedOperationError: this store does not list them, and its search is approximate and missed some.
        """
        count = self.count(collection, filters)
        if not count:
            return []
        found = self.search(collection, _any_query(self.get_collection(collection)), count, filters)
        return _all_ids(collection, found, count)

    @abstractmethod
    def delete(
        self, collection: str, ids: Sequence[str] | None = None, filters: Mapping[str, Any] | None = None
    ) -> int:
        """Remove the documents with these ids that match the filter; return how many.

        Raises:
            InvalidValueError: neither ids nor a filter (``{}`` is none): there is ``clear_collection``.
        """

    def clear_collection(self, collection: str) -> int:
        """Remove all documents; the collection stays. Return how many there were."""
        found = self.get_collection(collection)
        count = self.count(collection)
        self.delete_collection(collection)
        self.create_collection(collection, found.dimension, found.distance, found.metadata)
        return count


class AsyncKnowledgeStore(AsyncStore):
    """Documents with embeddings, for async callers: every method of [KnowledgeStore][], awaited."""

    kind: ClassVar[str] = "knowledge"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import complete

            complete(cls, "knowledge", asynchronous=True)

    @abstractmethod
    async def create_collection(
        self, name: str, dimension: int, distance: Distance = "cosine", metadata: dict[str, Any] | None = None
    ) -> None:
        """See [KnowledgeStore.create_collection][]."""

    @abstractmethod
    async def delete_collection(self, name: str) -> None:
        """See [KnowledgeStore.delete_collection][]."""

    async def get_collection(self, name: str) -> CollectionInfo:
        """See [KnowledgeStore.get_collection][]."""
        if name not in await self.list_collections():
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        self._unsupported("tell what a collection was created with", "get_collection")

    async def collection_exists(self, name: str) -> bool:
        """See [KnowledgeStore.collection_exists][]."""
        if type(self).get_collection is AsyncKnowledgeStore.get_collection:
            return name in await self.list_collections()
        try:
            await self.get_collection(name)
        except CollectionNotFoundError:
            return False
        return True

    @abstractmethod
    async def list_collections(self) -> list[str]:
        """See [KnowledgeStore.list_collections][]."""

    @abstractmethod
    async def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        """See [KnowledgeStore.insert][]."""

    @abstractmethod
    async def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        """See [KnowledgeStore.upsert][]."""

    @abstractmethod
    async def search(
        self,
        collection: str,
        query_embedding: Sequence[float],
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        score_threshold: float | None = None,
        *,
        with_embeddings: bool = False,
    ) -> list[KnowledgeDocument]:
        """See [KnowledgeStore.search][]."""

    @abstractmethod
    async def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        """See [KnowledgeStore.get][]."""

    @abstractmethod
    async def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        """See [KnowledgeStore.count][]."""

    async def document_ids(self, collection: str, filters: Mapping[str, Any] | None = None) -> list[str]:
        """See [KnowledgeStore.document_ids][]."""
        count = await self.count(collection, filters)
        if not count:
            return []
        found = await self.search(collection, _any_query(await self.get_collection(collection)), count, filters)
        return _all_ids(collection, found, count)

    @abstractmethod
    async def delete(
        self, collection: str, ids: Sequence[str] | None = None, filters: Mapping[str, Any] | None = None
    ) -> int:
        """See [KnowledgeStore.delete][]."""

    async def clear_collection(self, collection: str) -> int:
        """See [KnowledgeStore.clear_collection][]."""
        found = await self.get_collection(collection)
        count = await self.count(collection)
        await self.delete_collection(collection)
        await self.create_collection(collection, found.dimension, found.distance, found.metadata)
        return count


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from praisonai_persistence.registry import plugin_attribute

    return plugin_attribute("knowledge", __name__, name)
