"""How documents with embeddings are stored in MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import SerializationError
from praisonai_persistence.stores.projection import project, ranked_vectors
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.scanned import Entry, What
from praisonai_persistence.stores.vector_documents import vector_bytes
from praisonai_persistence.vectors import pack, unpack
from praisonai_persistence_mongodb._engine import Bulk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow

__all__ = ["MOST_DIMENSION", "BulkOf", "Opened", "ask", "documents_of", "read", "sibling"]

_DOCUMENT = 16 * 1024 * 1024
MOST_DIMENSION = 1_000_000
"""Without an index, of 4 bytes each: beside them there is room for 12 MB of a document."""


class Opened(NamedTuple):
    """A collection of ours: that of MongoDB which has its documents, and how these are stored.

    Attributes:
        info: what it was created with.
        engine: the name of MongoDB's collection.
        search_index: the name of its vector search index, if it has one.
        embedding: the field of embeddings.
        text: the field of contents.
        kind: of an index of Azure's (``cosmosSearch``); None: it is one of Atlas.
    """

    info: CollectionInfo
    engine: str
    search_index: str | None
    embedding: str
    text: str
    kind: str | None = None


class BulkOf(Bulk):
    """Many writes to the documents of a collection of ours.

    Args:
        name: of MongoDB's collection.
        writes: PyMongo's.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str, writes: list[Any]) -> None:
        super().__init__(writes)
        self._name = name

    def __call__(self, collection: Any) -> Any:
        return super().__call__(sibling(collection, self._name))


def sibling(collection: Any, name: str) -> Any:
    """Return another collection, which reads and writes as this one."""
    return collection.database.get_collection(
        name,
        collection.codec_options,
        collection.read_preference,
        collection.write_concern,
        collection.read_concern,
    )


def ask(opened: Opened, request: Callable[[Any], Any]) -> Steps[Any]:
    """Make a request to the collection with the documents; return its answer."""
    return (yield lambda collection: request(sibling(collection, opened.engine)))


def read(opened: Opened, what: What, found: dict[str, Any]) -> Any:
    """Return what is made of a document of MongoDB."""
    if what == "ids":
        return found["_id"]
    if what == "writers":
        return Entry(found["_id"], found["metadata"], found["writer"])
    stored = found.get("given") or found[opened.embedding]
    packed = vector_bytes(pack(stored)) if isinstance(stored, list) else bytes(stored)
    embedding = packed[-4 * opened.info.dimension :]
    if what == "vectors":
        return Entry(found["_id"], found["metadata"], embedding)
    return Candidate(
        found["_id"],
        found[opened.text],
        unpack(embedding),
        found["metadata"],
        found["content_hash"],
        found["created_at"],
    )


def documents_of(opened: Opened, rows: Sequence[DocumentRow], writer: str) -> Iterable[dict[str, Any]]:
    """Return the documents of MongoDB.

    Raises:
        SerializationError: one would be too large.
    """
    from bson.binary import Binary, BinaryVectorDtype

    vectors = [row.embedding for row in rows]
    ranked = ranked_vectors(opened.info.distance, vectors) if opened.search_index else vectors
    head = BinaryVectorDtype.FLOAT32.value + b"\0"
    # Bytes of a number: in binary data, and again where another vector is indexed; in a list with its place as text.
    number = 18 if opened.kind is not None else 8 if opened.search_index else 4

    def indexed(packed: bytes, vector: Any) -> Any:
        """Return an embedding as its index takes it."""
        if opened.kind is not None:
            return vector.tolist()  # of no other kind, or the document would not be in the index
        return Binary(head + packed, 9) if opened.search_index else packed

    for row, vector in zip(rows, ranked, strict=True):
        tokens = project(row.metadata).tokens
        text = len(row.content.encode()) + len((row.metadata or "").encode())
        if text + number * len(vector) + 48 * len(tokens) + 2_000 > _DOCUMENT:
            raise SerializationError(
                f"document {row.id!r} has {len(tokens)} keys and items in its metadata; with what filters need of "
                f"each, it is larger than MongoDB's documents, which end at 16 MiB"
            )
        packed = vector_bytes(vector)
        yield {
            "_id": row.id,
            opened.text: row.content,
            opened.embedding: indexed(packed, vector),
            **({} if vector is row.embedding else {"given": vector_bytes(row.embedding)}),
            "metadata": row.metadata,
            "content_hash": row.content_hash,
            "created_at": row.created_at,
            "tokens": tokens,
            "writer": writer,
        }
