"""Knowledge stores over steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence.errors import CollectionExistsError, DocumentExistsError, InvalidValueError
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import AsyncKnowledgeStore, CollectionInfo, KnowledgeStore
from praisonai_persistence.payload import (
    MAX_BYTES,
    check_bound,
    check_count,
    check_id,
    check_identifier,
    check_many,
    check_record,
    check_size,
    check_time,
    decode_text,
    dumps,
    encode_text,
    equal,
    loads,
    plain,
)
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.stores.runners import AsyncStepStore, StepStore
from praisonai_persistence.vectors import DISTANCES, pack

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.knowledge import Distance
    from praisonai_persistence.steps import Steps

__all__ = [
    "AsyncStepKnowledgeStore",
    "DocumentRow",
    "KnowledgeSteps",
    "Search",
    "StepKnowledgeStore",
    "decode_document",
    "encode_document",
    "same_collection",
]


class DocumentRow(NamedTuple):
    """A document as engines store it: text is encoded, ``metadata`` is JSON text or None."""

    id: str
    content: str
    embedding: array[float]
    metadata: str | None
    content_hash: str | None
    created_at: float


class Search(NamedTuple):
    """What ``search`` wants, checked; the query is rounded to 32-bit floats, ``limit`` is 0 or more."""

    query: array[float]
    limit: int
    filters: Filter | None
    score_threshold: float | None
    with_embeddings: bool


def encode_document(document: KnowledgeDocument, limit: int = MAX_BYTES) -> DocumentRow:
    """Check a document and return its row; its dimension is checked by the engine, which knows the collection.

    Raises:
        InvalidValueError: an id, a time or a number that cannot be one.
        DimensionError: the embedding is missing or empty.
        SerializationError: metadata that are not JSON, or a document of more than ``limit`` bytes.
    """
    check_record(document, KnowledgeDocument)
    if not isinstance(document.content, str):
        raise InvalidValueError(f"content must be text, not {type(document.content).__name__}")
    if document.metadata is not None and not isinstance(document.metadata, dict):
        raise InvalidValueError("metadata must be a JSON object or None")
    if document.content_hash is not None and not isinstance(document.content_hash, str):
        raise InvalidValueError("content_hash must be text or None")
    row = DocumentRow(
        check_id(document.id, "document id"),
        encode_text(plain(document.content)),
        pack(document.embedding),
        None if document.metadata is None else dumps(document.metadata, "metadata", limit),
        None if document.content_hash is None else encode_text(plain(document.content_hash)),
        check_time(document.created_at, "created_at"),
    )
    check_size("the document", limit, row.content, row.metadata, row.content_hash)
    return row


def decode_document(
    id: str,  # noqa: A002
    content: str,
    embedding: array[float] | None,
    metadata: str | None,
    content_hash: str | None,
    created_at: float,
    score: float | None = None,
) -> KnowledgeDocument:
    """Return the record of a row's fields."""
    return KnowledgeDocument(
        id,
        decode_text(content),
        None if embedding is None else embedding.tolist(),
        None if metadata is None else loads(metadata),
        None if content_hash is None else decode_text(content_hash),
        created_at,
        score,
    )


def same_collection(stored: CollectionInfo, info: CollectionInfo) -> None:
    """Accept a collection that is created again with the same arguments.

    Raises:
        CollectionExistsError: they differ.
    """
    if (stored.dimension, stored.distance) != (info.dimension, info.distance):
        raise CollectionExistsError(
            f"collection {info.name!r} exists with dimension {stored.dimension} and distance {stored.distance}"
        )
    if not equal(stored.metadata, info.metadata):
        raise CollectionExistsError(f"collection {info.name!r} exists with other metadata")


class KnowledgeSteps(ABC):
    """The operations of a knowledge engine, as generators marked ``@reads`` or ``@writes``.

    Arguments are checked and encoded; results are finished records. The clauses that a method has to keep stand in
    ``KnowledgeStore``. Every method but ``create_collection`` raises ``CollectionNotFoundError`` where there is none.
    """

    @abstractmethod
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        """Create, or raise ``CollectionExistsError``; ``metadata`` is that of ``info`` as JSON text."""

    @abstractmethod
    def delete_collection(self, name: str) -> Steps[None]:
        """Remove."""

    @abstractmethod
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        """Read."""

    @abstractmethod
    def list_collections(self) -> Steps[list[str]]:
        """Read all names, sorted."""

    @abstractmethod
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Add rows with distinct ids, or raise ``DocumentExistsError`` or ``DimensionError``."""

    @abstractmethod
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Add or replace rows with distinct ids, or raise ``DimensionError``."""

    @abstractmethod
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        """Find, or raise ``DimensionError`` or ``FilterError``."""

    @abstractmethod
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        """Read documents with their embeddings, in the order of ``ids``, an id as often as it is asked for."""

    @abstractmethod
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        """Count."""

    @abstractmethod
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        """Read the ids of all documents that match, each once, in any order."""

    @abstractmethod
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        """Remove what is named (each id once) and matches; with None and None: everything."""


_MOST_DIMENSIONS = 2**31 - 1
"""What engines can count; most take far fewer, and say so themselves."""


def _collection(name: Any) -> str:
    return check_identifier(name, "collection")


def _info(name: Any, dimension: Any, distance: Any, metadata: Any) -> tuple[CollectionInfo, str | None]:
    dimension, distance = plain(dimension), plain(distance)
    if type(dimension) is not int or not 1 <= dimension <= _MOST_DIMENSIONS:
        raise InvalidValueError(f"dimension must be a whole number from 1 to {_MOST_DIMENSIONS}")
    known = isinstance(distance, str) and distance in DISTANCES
    if not known:
        raise InvalidValueError(f"distance must be one of {', '.join(DISTANCES)}")
    if metadata is not None and not isinstance(metadata, dict):
        raise InvalidValueError("metadata must be a JSON object or None")
    text = None if metadata is None else dumps(metadata, "metadata")
    return CollectionInfo(_collection(name), dimension, distance, None if text is None else loads(text)), text


def _distinct(documents: Sequence[KnowledgeDocument], limit: int) -> tuple[list[str], list[DocumentRow]]:
    rows = [encode_document(document, limit) for document in check_many(documents, "documents")]
    ids = [row.id for row in rows]
    if len(set(ids)) != len(ids):
        raise DocumentExistsError("a document id stands twice in the batch; nothing was written")
    return ids, rows


def _last(documents: Sequence[KnowledgeDocument], limit: int) -> tuple[list[str], list[DocumentRow]]:
    rows = [encode_document(document, limit) for document in check_many(documents, "documents")]
    return [row.id for row in rows], list({row.id: row for row in rows}.values())


def _ids(ids: Sequence[str]) -> list[str]:
    return [check_id(item, "document id") for item in check_many(ids, "ids")]


def _search(query: Any, limit: Any, filters: Any, threshold: Any, with_embeddings: bool) -> Search:
    if threshold is not None:
        threshold = check_bound(threshold, "score_threshold")
    return Search(
        pack(query, what="query_embedding"), check_count(limit, "limit"), parse(filters), threshold, with_embeddings
    )


def _deletion(ids: Sequence[str] | None, filters: Any) -> tuple[list[str] | None, Filter | None]:
    tree = parse(filters)
    if ids is None and tree is None:
        raise InvalidValueError("delete needs ids or a filter; clear_collection removes everything")
    return None if ids is None else list(dict.fromkeys(_ids(ids))), tree


class _Declared:
    """What both modes declare."""

    max_document_bytes: ClassVar[int] = MAX_BYTES
    """Largest document without its embedding, in bytes of UTF-8."""


class StepKnowledgeStore(_Declared, StepStore[KnowledgeSteps], KnowledgeStore):
    """A knowledge store made of steps and a runner.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def create_collection(
        self, name: str, dimension: int, distance: Distance = "cosine", metadata: dict[str, Any] | None = None
    ) -> None:
        self._runner.run(self._steps.create_collection, *_info(name, dimension, distance, metadata))

    def delete_collection(self, name: str) -> None:
        self._runner.run(self._steps.delete_collection, _collection(name))

    def get_collection(self, name: str) -> CollectionInfo:
        return self._runner.run(self._steps.get_collection, _collection(name))

    def list_collections(self) -> list[str]:
        return self._runner.run(self._steps.list_collections)

    def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids, rows = _distinct(documents, self.max_document_bytes)
        self._runner.run(self._steps.insert, _collection(collection), rows)
        return ids

    def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids, rows = _last(documents, self.max_document_bytes)
        self._runner.run(self._steps.upsert, _collection(collection), rows)
        return ids

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
        search = _search(query_embedding, limit, filters, score_threshold, with_embeddings)
        return self._runner.run(self._steps.search, _collection(collection), search)

    def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        return self._runner.run(self._steps.get, _collection(collection), _ids(ids))

    def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        return self._runner.run(self._steps.count, _collection(collection), parse(filters))

    def document_ids(self, collection: str, filters: Mapping[str, Any] | None = None) -> list[str]:
        return sorted(self._runner.run(self._steps.document_ids, _collection(collection), parse(filters)))

    def delete(
        self, collection: str, ids: Sequence[str] | None = None, filters: Mapping[str, Any] | None = None
    ) -> int:
        return self._runner.run(self._steps.delete, _collection(collection), *_deletion(ids, filters))

    def clear_collection(self, collection: str) -> int:
        return self._runner.run(self._steps.delete, _collection(collection), None, None)


class AsyncStepKnowledgeStore(_Declared, AsyncStepStore[KnowledgeSteps], AsyncKnowledgeStore):
    """[StepKnowledgeStore][] for async callers.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    async def create_collection(
        self, name: str, dimension: int, distance: Distance = "cosine", metadata: dict[str, Any] | None = None
    ) -> None:
        await self._runner.run(self._steps.create_collection, *_info(name, dimension, distance, metadata))

    async def delete_collection(self, name: str) -> None:
        await self._runner.run(self._steps.delete_collection, _collection(name))

    async def get_collection(self, name: str) -> CollectionInfo:
        return await self._runner.run(self._steps.get_collection, _collection(name))

    async def list_collections(self) -> list[str]:
        return await self._runner.run(self._steps.list_collections)

    async def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids, rows = _distinct(documents, self.max_document_bytes)
        await self._runner.run(self._steps.insert, _collection(collection), rows)
        return ids

    async def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids, rows = _last(documents, self.max_document_bytes)
        await self._runner.run(self._steps.upsert, _collection(collection), rows)
        return ids

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
        search = _search(query_embedding, limit, filters, score_threshold, with_embeddings)
        return await self._runner.run(self._steps.search, _collection(collection), search)

    async def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        return await self._runner.run(self._steps.get, _collection(collection), _ids(ids))

    async def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        return await self._runner.run(self._steps.count, _collection(collection), parse(filters))

    async def document_ids(self, collection: str, filters: Mapping[str, Any] | None = None) -> list[str]:
        return sorted(await self._runner.run(self._steps.document_ids, _collection(collection), parse(filters)))

    async def delete(
        self, collection: str, ids: Sequence[str] | None = None, filters: Mapping[str, Any] | None = None
    ) -> int:
        return await self._runner.run(self._steps.delete, _collection(collection), *_deletion(ids, filters))

    async def clear_collection(self, collection: str) -> int:
        return await self._runner.run(self._steps.delete, _collection(collection), None, None)
