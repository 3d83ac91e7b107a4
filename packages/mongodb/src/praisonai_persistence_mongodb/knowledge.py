"""Knowledge in MongoDB: a collection for each of ours, searched by the store, or by a vector search index of Atlas."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError, UnsupportedOperationError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import MovedError
from praisonai_persistence.stores.scanned import ScannedSteps, Selection, What
from praisonai_persistence.stores.vector_documents import (
    batches,
    check_dimension,
    collection_facts,
    collection_info,
    pages,
)
from praisonai_persistence.stores.vector_engine import GoneError, TakenError
from praisonai_persistence_mongodb._filters import FilterCompiler
from praisonai_persistence_mongodb._search_index import SearchIndexes, most_found, present
from praisonai_persistence_mongodb._vector_documents import MOST_DIMENSION, BulkOf, Opened, ask, documents_of, read

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_mongodb._driver import MongoVectorOptions

__all__ = ["MongoVectorSteps"]

_SPARE = 100
"""What an index is asked for at least: it may still have documents that were deleted."""
_REQUEST = 16_000_000
_ROWS = 1_000
"""Documents of a batch: so many are written, and looked for in the index, at a time."""
_PAGES: dict[What, int] = {"ids": 10_000, "writers": 2_000, "vectors": 2_000, "documents": 100}
"""How many documents one answer has at the most."""


class MongoVectorSteps(ScannedSteps[Opened]):
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
        self._indexes = SearchIndexes(options)

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted(one["_id"] for one in (yield lambda collection: collection.find({}, {"_id": 1}).to_list()))

    def _find(self, name: str, *, fresh: bool) -> Steps[Opened | None]:
        found = yield lambda collection: collection.find_one({"_id": name})
        if found is None:
            return None
        info = collection_info(name, loads(found["facts"]))
        fields = (found[field] for field in ("documents", "index", "embedding", "text"))
        return Opened(info, *fields)._replace(kind=found.get("kind"))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        from pymongo import IndexModel

        check_dimension("MongoDB", info, MOST_DIMENSION)
        options = self._options
        engine = f"{options.table_prefix}{options.collection}_{uuid.uuid4().hex}"
        opened = Opened(info, engine, None, options.embedding_field, options.text_field)
        named = {"_id": info.name, "documents": engine}
        asked = False
        try:
            tokens = IndexModel([("tokens", 1), ("_id", 1)], name="tokens")
            yield from ask(opened, lambda documents: documents.create_indexes([tokens]))
            opened = yield from self._indexes.make(opened)
            entry = {
                **named,
                "facts": json.dumps(collection_facts(info, metadata)),
                "index": opened.search_index,
                "embedding": opened.embedding,
                "text": opened.text,
                **({} if opened.kind is None else {"kind": opened.kind}),
            }
            asked = True
            yield lambda collection: collection.insert_one(entry)
        except MovedError:
            if asked and (yield lambda collection: collection.find_one(named, {"_id": 1})) is not None:
                return  # the entry that is there is this one: the request was made twice
            yield from ask(opened, lambda documents: documents.drop())
            raise TakenError("somebody else made it meanwhile") from None
        except PersistenceError:
            if not asked:  # otherwise the entry may have been written, or still be
                yield from ask(opened, lambda documents: documents.drop())
            raise

    def _drop(self, opened: Opened) -> Steps[None]:
        named = {"_id": opened.info.name, "documents": opened.engine}
        if not (yield lambda collection: collection.delete_one(named)).deleted_count:
            raise GoneError("somebody else deleted it")
        yield from ask(opened, lambda documents: documents.drop())
        self._indexes.forget(opened)

    # --------------------------------------------------------------------------------------------------------- reading

    def _page(
        self, opened: Opened, what: What, ids: Sequence[str] | None, tokens: Sequence[str], place: Any
    ) -> Steps[tuple[Sequence[Any], Any]]:
        size, (after, seen) = _PAGES[what], place or ("", 0)
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
        found = yield from ask(
            opened,
            lambda documents: documents.find(wanted, fields, sort=[("_id", 1)], limit=size, batch_size=size).to_list(),
        )
        more = len(found) == size if left is None else len(left) > size
        seen += len(found) if left is None else size
        if what == "vectors" and more and seen >= self._options.exact_documents:
            raise self._too_many(opened)
        made = [read(opened, what, one) for one in found]
        return made, (found[-1]["_id"] if found else after, seen) if more else None

    def _too_many(self, opened: Opened) -> UnsupportedOperationError:
        if opened.search_index:
            why = "its index finds too few of them"
            instead = f"ask for fewer (up to {most_found(opened) - self.spare:,})"
        else:
            why = "it has no index"
            instead = (
                "make it anew with one (vector_search='atlas' on Atlas, 'cosmos' on Azure DocumentDB; none for 'dot')"
            )
        return UnsupportedOperationError(
            f"more than {self._options.exact_documents} documents of collection {opened.info.name!r} may match, and "
            f"the store would have to compare all their vectors, because {why}: filter by equality, {instead}, or "
            f"raise exact_documents"
        )

    def _count(self, opened: Opened, expression: Selection | None) -> Steps[int]:
        if expression is None or expression.exact:
            return (yield from self._count_some(opened, expression))
        return (yield from super()._count(opened, expression))

    def _count_some(self, opened: Opened, chosen: Selection | None, **limit: int) -> Steps[int]:
        """Count the documents with the tokens of a filter."""
        wanted = {"tokens": {"$all": list(chosen.tokens)}} if chosen is not None and chosen.tokens else {}
        return int((yield from ask(opened, lambda documents: documents.count_documents(wanted, **limit))))

    def _rank(self, opened: Opened, query: array[float], limit: int, expression: Selection | None) -> Ranked:
        most = self._options.index_from
        if (
            opened.search_index
            and limit <= most_found(opened)
            and ((yield from self._count_some(opened, expression, limit=most + 1)) > most)
        ):
            yield from self._indexes.settle(opened)
            found = yield from self._by_index(opened, query, limit, expression)
            if len(found) == limit:
                return found
        return (yield from super()._rank(opened, query, limit, expression))

    def _by_index(
        self, opened: Opened, query: array[float], limit: int, expression: Selection | None
    ) -> Steps[list[Candidate]]:
        """Return the best documents that the index finds; fewer than ``limit`` where it finds no more."""
        chosen = self._filters.compile(None if expression is None else expression.filters).expression
        asked, most = max(_SPARE, 2 * limit), most_found(opened)
        while True:
            asked = min(asked, most)
            candidates = min(most, max(20 * asked, self._options.num_candidates or 0))
            how: dict[str, Any] = {"limit": asked, "numCandidates": candidates}
            if chosen is not None:
                how["filter"] = chosen
            ids = yield from self._indexes.nearest(opened, query.tolist(), how)
            best: list[Candidate] = []
            for some in pages(ids, max(limit, _SPARE)):  # what was changed meanwhile is checked again
                best += yield from self._current(opened, some, expression)
                if len(best) >= limit:
                    return best[:limit]
            if asked == most:
                return best
            asked *= 8

    # --------------------------------------------------------------------------------------------------------- writing

    def _store(self, opened: Opened, rows: Sequence[DocumentRow], writer: str, *, new: bool) -> Steps[Sequence[bool]]:
        from pymongo import InsertOne, ReplaceOne

        made = list(documents_of(opened, rows, writer))  # all are checked before the first is written
        written: dict[str, list[str]] = {}
        mine: set[str] = set()
        start = 0
        for some in batches(rows, _REQUEST, opened.info.dimension, _ROWS):
            part, batch, ids = made[start : start + len(some)], uuid.uuid4().hex, [row.id for row in some]
            start += len(some)
            for one in part:
                one["batch"] = batch
            writes = [InsertOne(one) if new else ReplaceOne({"_id": one["_id"]}, one, upsert=True) for one in part]
            written[batch] = ids
            while True:
                try:
                    yield BulkOf(opened.engine, writes)
                    mine.update(ids)
                    break
                except MovedError:  # somebody else inserted one of them
                    if new:
                        mine.update((yield from present(opened, ids, batch)))
                        break
        yield from self._check(opened)
        if len(mine) == len(rows):
            for batch, ids in written.items():
                yield from self._indexes.wrote(opened, batch, ids)
        return [row.id in mine for row in rows]

    def _check(self, opened: Opened) -> Steps[None]:
        """Make sure that the collection was there still when it was written to."""
        named = {"_id": opened.info.name, "documents": opened.engine}
        if (yield lambda collection: collection.find_one(named, {"_id": 1})) is None:
            yield from ask(opened, lambda documents: documents.drop())
            raise GoneError("somebody else deleted it")

    def _remove(self, opened: Opened, ids: Sequence[str] | None, expression: Selection | None) -> Steps[int]:
        gone = 0
        left = yield from self._entries(opened, ids, expression)
        while left:
            again: list[str] = []
            for some in pages(left, _ROWS):
                count = yield from self._delete(opened, [(entry.id, entry.more) for entry in some])
                gone += count
                # The answer does not say which of them were written meanwhile: all that are there are looked at again.
                again += [entry.id for entry in some] if count < len(some) else []
            left = yield from self._paged(self._entries, opened, again, expression)
        return gone

    def _unstore(self, opened: Opened, written: Sequence[tuple[str, str]]) -> Steps[Sequence[bool | None]]:
        for some in pages(written, _ROWS):
            yield from self._delete(opened, some)
        return [None] * len(written)  # inserts ask for it, and look at nothing

    def _delete(self, opened: Opened, written: Sequence[tuple[str, str]]) -> Steps[int]:
        """Delete documents, each if its writer is this one still; return how many."""
        from pymongo import DeleteOne

        writes = [DeleteOne({"_id": key, "writer": writer}) for key, writer in written]
        return int((yield BulkOf(opened.engine, writes)).deleted_count)
