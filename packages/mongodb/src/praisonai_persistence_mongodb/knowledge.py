"""Knowledge in MongoDB: a collection for each of ours, searched by the store, or by a vector search index of Atlas."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    PersistenceError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import MovedError
from praisonai_persistence.stores.projection import project, ranked_vectors
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.scanned import Entry, ScannedSteps, Selection, What
from praisonai_persistence.stores.vector_documents import (
    batches,
    collection_facts,
    collection_info,
    pages,
    vector_bytes,
)
from praisonai_persistence.stores.vector_engine import GoneError, TakenError
from praisonai_persistence.vectors import unpack
from praisonai_persistence_mongodb._driver import listed
from praisonai_persistence_mongodb._engine import Bulk
from praisonai_persistence_mongodb._filters import FilterCompiler

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence_mongodb._driver import MongoVectorOptions

__all__ = ["MongoVectorSteps"]

_MOST_CANDIDATES = 10_000
"""The most that a search in an index looks at, and returns."""
_MOST_DIMENSION = 8_192
_SPARE = 100
"""What an index is asked for at least: it may still have documents that were deleted."""
_DOCUMENT = 16 * 1024 * 1024
_REQUEST = 16_000_000
_ROWS = 1_000
"""Documents of a batch: so many are written, and looked for in the index, at a time."""
_UNSETTLED = 100
"""Batches of which a store remembers that it has not looked for them."""
_PAGES: dict[What, int] = {"ids": 10_000, "writers": 2_000, "vectors": 2_000, "documents": 100}
"""How many documents one answer has at the most."""


class _Opened(NamedTuple):
    """A collection of ours: that of MongoDB which has its documents, and how these are stored.

    Attributes:
        info: what it was created with.
        engine: the name of MongoDB's collection.
        index: the name of its vector search index, if it has one.
        embedding: the field of embeddings.
        text: the field of contents.
    """

    info: CollectionInfo
    engine: str
    index: str | None
    embedding: str
    text: str


class _BulkOf(Bulk):
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
        return super().__call__(_sibling(collection, self._name))


def _sibling(collection: Any, name: str) -> Any:
    """Return another collection, which reads and writes as this one."""
    return collection.database.get_collection(
        name,
        collection.codec_options,
        collection.read_preference,
        collection.write_concern,
        collection.read_concern,
    )


class MongoVectorSteps(ScannedSteps[_Opened]):
    """Knowledge in MongoDB.

    The store asks in which of MongoDB's collections the documents are each time: a write to one that was dropped would
    make it anew, so it also asks after each write.

    Args:
        options: of the store.
    """

    most_ids = _ROWS

    def __init__(self, options: MongoVectorOptions) -> None:
        super().__init__()
        self._options = options
        self._filters = FilterCompiler()
        self._unsettled: dict[str, list[tuple[str, list[str]]]] = {}
        self._lock = threading.Lock()

    def _ask(self, opened: _Opened, request: Callable[[Any], Any]) -> Steps[Any]:
        return (yield lambda collection: request(_sibling(collection, opened.engine)))

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted(one["_id"] for one in (yield lambda collection: collection.find({}, {"_id": 1}).to_list()))

    def _find(self, name: str, *, fresh: bool) -> Steps[_Opened | None]:
        found = yield lambda collection: collection.find_one({"_id": name})
        if found is None:
            return None
        info = collection_info(name, loads(found["facts"]))
        return _Opened(info, *(found[field] for field in ("documents", "index", "embedding", "text")))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        from pymongo import IndexModel

        options = self._options
        engine = f"{options.table_prefix}{options.collection}_{uuid.uuid4().hex}"
        opened = _Opened(info, engine, None, options.embedding_field, options.text_field)
        try:
            tokens = IndexModel([("tokens", 1), ("_id", 1)], name="tokens")
            yield from self._ask(opened, lambda documents: documents.create_indexes([tokens]))
            # The inner products of vectors of any length are none of what the indexes of Atlas rank by.
            if options.vector_search != "exact" and info.distance != "dot" and info.dimension <= _MOST_DIMENSION:
                opened = yield from self._indexed(opened)
            entry = {
                "_id": info.name,
                "facts": json.dumps(collection_facts(info, metadata)),
                "documents": engine,
                "index": opened.index,
                "embedding": opened.embedding,
                "text": opened.text,
            }
            yield lambda collection: collection.insert_one(entry)
        except PersistenceError as error:
            yield from self._ask(opened, lambda documents: documents.drop())
            if isinstance(error, MovedError):
                raise TakenError("somebody else made it meanwhile") from None
            raise

    def _indexed(self, opened: _Opened) -> Steps[_Opened]:
        """Give a new collection a vector search index, and wait until it can be used; none where the server has none.

        Raises:
            UnsupportedOperationError: the server has none, and it must.
            BackendError: the index cannot be made.
            ConnectionFailedError: it is not ready in time.
        """
        name, seconds = self._options.index_name, self._options.index_timeout
        made = opened._replace(index=name)
        try:  # a server that has vector search finds nothing; not every other one refuses to make an index
            yield from self._nearest(made, _unit(opened.info.dimension), {"exact": True, "limit": 1})
        except UnsupportedOperationError:
            if self._options.vector_search == "atlas":
                raise
            return opened
        similarity = "dotProduct" if opened.info.distance == "cosine" else "euclidean"
        vector = {
            "type": "vector",
            "path": opened.embedding,
            "numDimensions": opened.info.dimension,
            "similarity": similarity,
        }
        fields = [vector, {"type": "filter", "path": "tokens"}, {"type": "filter", "path": "batch"}]
        model = {"name": name, "type": "vectorSearch", "definition": {"fields": fields}}
        try:
            yield from self._ask(opened, lambda documents: documents.create_search_index(model))
        except BackendError as error:
            raise BackendError(
                f"the vector search index was refused ({error}): a small cluster has room for few of them, and each "
                f"collection has one; delete one, take a larger cluster, or vector_search='exact'"
            ) from error
        end = Pauses(seconds, 0.5)
        while True:
            for index in (yield from self._ask(opened, lambda documents: listed(documents.list_search_indexes(name)))):
                if index.get("queryable"):
                    return made
                if index.get("status") == "FAILED":
                    raise BackendError("the vector search index could not be built: see the console of Atlas")
            yield from end.wait(
                ThrottledError(
                    f"the vector search index was not ready within {seconds:g} seconds: raise index_timeout, or take "
                    f"vector_search='exact'"
                )
            )

    def _drop(self, opened: _Opened) -> Steps[None]:
        named = {"_id": opened.info.name, "documents": opened.engine}
        if not (yield lambda collection: collection.delete_one(named)).deleted_count:
            raise GoneError("somebody else deleted it")
        yield from self._ask(opened, lambda documents: documents.drop())
        with self._lock:
            self._unsettled.pop(opened.engine, None)

    # --------------------------------------------------------------------------------------------------------- reading

    def _page(
        self, opened: _Opened, what: What, ids: Sequence[str] | None, tokens: Sequence[str], place: Any
    ) -> Steps[tuple[Sequence[Any], Any]]:
        size, after, seen = _PAGES[what], *(place or ("", 0))
        left = None if ids is None else ids[seen:]
        wanted: dict[str, Any] = {"_id": {"$gt": after} if left is None else {"$in": left[:size]}}
        if tokens:
            wanted["tokens"] = {"$all": list(tokens)}
        fields = {
            "ids": {"_id": 1},
            "writers": {"metadata": 1, "writer": 1},
            "vectors": {"metadata": 1, "given": 1, opened.embedding: 1},
            "documents": {"tokens": 0, "batch": 0, "writer": 0},
        }[what]
        found = yield from self._ask(
            opened,
            lambda documents: documents.find(wanted, fields, sort=[("_id", 1)], limit=size, batch_size=size).to_list(),
        )
        more = len(found) == size if left is None else len(left) > size
        seen += len(found) if left is None else size
        if what == "vectors" and more and seen >= self._options.exact_documents:
            raise UnsupportedOperationError(
                f"more than {self._options.exact_documents} documents of collection {opened.info.name!r} may match, and "
                f"the store would have to compare all their vectors: filter by equality, make the collection on Atlas, "
                f"where it has an index, or raise exact_documents"
            )
        made = [_read(opened, what, one) for one in found]
        return made, (found[-1]["_id"] if found else after, seen) if more else None

    def _count(self, opened: _Opened, expression: Selection | None) -> Steps[int]:
        if expression is None or expression.exact:
            return (yield from self._count_some(opened, expression))
        return (yield from super()._count(opened, expression))

    def _count_some(self, opened: _Opened, chosen: Selection | None, **limit: int) -> Steps[int]:
        """Count the documents with the tokens of a filter."""
        wanted = {"tokens": {"$all": list(chosen.tokens)}} if chosen is not None and chosen.tokens else {}
        return int((yield from self._ask(opened, lambda documents: documents.count_documents(wanted, **limit))))

    def _rank(
        self, opened: _Opened, query: array[float], limit: int, expression: Selection | None
    ) -> Steps[Sequence[Candidate]]:
        most = self._options.index_from
        if opened.index and limit <= _MOST_CANDIDATES and (
            (yield from self._count_some(opened, expression, limit=most + 1)) > most
        ):
            with self._lock:
                unsettled = self._unsettled.pop(opened.engine, [])
            for batch, ids in unsettled:
                yield from self._wait(opened, batch, ids)
            found = yield from self._by_index(opened, query, limit, expression)
            if len(found) == limit:
                return found
        return (yield from super()._rank(opened, query, limit, expression))

    def _by_index(
        self, opened: _Opened, query: array[float], limit: int, expression: Selection | None
    ) -> Steps[list[Candidate]]:
        """Return the best documents that the index finds; fewer than ``limit`` where it finds no more."""
        chosen = self._filters.compile(None if expression is None else expression.filters).expression
        asked = max(_SPARE, 2 * limit)
        while True:
            asked = min(asked, _MOST_CANDIDATES)
            candidates = min(_MOST_CANDIDATES, max(20 * asked, self._options.num_candidates or 0))
            how: dict[str, Any] = {"limit": asked, "numCandidates": candidates}
            if chosen is not None:
                how["filter"] = chosen
            ids = yield from self._nearest(opened, query.tolist(), how)
            best: list[Candidate] = []
            for some in pages(ids, max(limit, _SPARE)):  # what was changed meanwhile is checked again
                best += yield from self._current(opened, some, expression)
                if len(best) >= limit:
                    return best[:limit]
            if asked == _MOST_CANDIDATES or not ids:
                return best
            asked *= 8

    def _nearest(self, opened: _Opened, query: list[float], how: dict[str, Any]) -> Steps[list[str]]:
        """Return the ids that a search in the index finds."""
        stage = {"index": opened.index, "path": opened.embedding, "queryVector": query, **how}
        pipeline = [{"$vectorSearch": stage}, {"$project": {"_id": 1}}]
        found = yield from self._ask(opened, lambda documents: listed(documents.aggregate(pipeline)))
        return [one["_id"] for one in found]

    # --------------------------------------------------------------------------------------------------------- writing

    def _store(self, opened: _Opened, rows: Sequence[DocumentRow], writer: str, *, new: bool) -> Steps[Sequence[bool]]:
        from pymongo import InsertOne, ReplaceOne

        made = list(_documents(opened, rows, writer))  # all are checked before the first is written
        done: list[bool] = []
        for some in batches(rows, _REQUEST, opened.info.dimension, _ROWS):
            part, batch = made[len(done) : len(done) + len(some)], uuid.uuid4().hex
            ids = [row.id for row in some]
            for one in part:
                one["batch"] = batch
            writes = [InsertOne(one) if new else ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in part]
            mine = set(ids)
            while True:
                try:
                    yield _BulkOf(opened.engine, writes)
                    break
                except MovedError:  # somebody else inserted one of them
                    if new:
                        mine = set((yield from self._ids(opened, ids, batch=batch)))
                        break
            yield from self._check(opened)
            yield from self._settle(opened, batch, ids)
            done += [key in mine for key in ids]
        return done

    def _check(self, opened: _Opened) -> Steps[None]:
        """Make sure that the collection was there still when it was written to."""
        named = {"_id": opened.info.name, "documents": opened.engine}
        if (yield lambda collection: collection.find_one(named, {"_id": 1})) is None:
            yield from self._ask(opened, lambda documents: documents.drop())
            raise GoneError("somebody else deleted it")

    def _ids(self, opened: _Opened, ids: Sequence[str], **having: Any) -> Steps[list[str]]:
        wanted = {"_id": {"$in": list(ids)}, **having}
        found = yield from self._ask(opened, lambda documents: documents.find(wanted, {"_id": 1}).to_list())
        return [one["_id"] for one in found]

    def _settle(self, opened: _Opened, batch: str, ids: list[str]) -> Steps[None]:
        """See to it that what was written is found by the next search."""
        if opened.index is None:
            return
        if self._options.freshness == "own":
            with self._lock:
                unsettled = self._unsettled.setdefault(opened.engine, [])
                unsettled.append((batch, ids))
                if len(unsettled) <= _UNSETTLED:
                    return
                batch, ids = unsettled.pop(0)
        yield from self._wait(opened, batch, ids)

    def _wait(self, opened: _Opened, batch: str, ids: list[str]) -> Steps[None]:
        """Wait until the index has a batch, apart from what others have written over."""
        how = {"exact": True, "filter": {"batch": batch}, "limit": len(ids)}
        end = Pauses(self._options.freshness_timeout, 0.05)
        while True:
            found = len((yield from self._nearest(opened, _unit(opened.info.dimension), how)))
            if found == len(ids) or found >= len((yield from self._ids(opened, ids, batch=batch))):
                return
            yield from end.wait(
                ThrottledError(
                    f"what was written is stored, but not in the index within {self._options.freshness_timeout:g} "
                    f"seconds: raise freshness_timeout"
                )
            )

    def _unstore(self, opened: _Opened, written: Sequence[tuple[str, str]]) -> Steps[Sequence[bool | None]]:
        # Each is claimed first: the answer to a deletion of many does not say which of them were there.
        from pymongo import UpdateOne

        done: list[bool | None] = []
        for some in pages(written, _ROWS):
            mine, ids = uuid.uuid4().hex, [key for key, _ in some]
            claims = [UpdateOne({"_id": key, "writer": old}, {"$set": {"writer": mine}}) for key, old in some]
            claimed = yield _BulkOf(opened.engine, claims)
            there: dict[str, str] = dict.fromkeys(ids, mine)
            if claimed.matched_count < len(some):
                entries, _ = yield from self._page(opened, "writers", ids, (), None)
                there = {entry.id: entry.more for entry in entries}
            wanted = {"_id": {"$in": ids}, "writer": mine}
            yield from self._ask(opened, lambda documents, wanted=wanted: documents.delete_many(wanted))
            done += [there[key] == mine if key in there else None for key in ids]
        return done


def _read(opened: _Opened, what: What, found: dict[str, Any]) -> Any:
    """Return what is made of a document of MongoDB."""
    if what == "ids":
        return found["_id"]
    if what == "writers":
        return Entry(found["_id"], found["metadata"], found["writer"])
    embedding = bytes(found.get("given") or found[opened.embedding])[-4 * opened.info.dimension :]
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


def _documents(opened: _Opened, rows: Sequence[DocumentRow], writer: str) -> Iterable[dict[str, Any]]:
    """Return the documents of MongoDB.

    Raises:
        SerializationError: one would be too large.
    """
    from bson.binary import Binary, BinaryVectorDtype

    vectors = [row.embedding for row in rows]
    ranked = ranked_vectors(opened.info.distance, vectors) if opened.index else vectors
    head = BinaryVectorDtype.FLOAT32.value + b"\0"
    for row, vector in zip(rows, ranked, strict=True):
        tokens = project(row.metadata).tokens
        text = len(row.content.encode()) + len((row.metadata or "").encode())
        if text + 8 * len(vector) + 48 * len(tokens) + 2_000 > _DOCUMENT:
            raise SerializationError(
                f"document {row.id!r} has {len(tokens)} keys and items in its metadata; with what filters need of each, "
                f"it is larger than MongoDB's documents, which end at 16 MiB"
            )
        packed = vector_bytes(vector)
        yield {
            "_id": row.id,
            opened.text: row.content,
            opened.embedding: Binary(head + packed, 9) if opened.index else packed,
            **({} if vector is row.embedding else {"given": vector_bytes(row.embedding)}),
            "metadata": row.metadata,
            "content_hash": row.content_hash,
            "created_at": row.created_at,
            "tokens": tokens,
            "writer": writer,
        }


def _unit(dimension: int) -> list[float]:
    return [1.0] + [0.0] * (dimension - 1)
