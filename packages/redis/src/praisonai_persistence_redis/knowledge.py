"""Knowledge in Redis: the operations. ``_layout`` tells where everything lies, ``_indexes`` how it is found.

Engines rank in 32-bit floats, and vector sets by the cosine only. Scores are computed here, in doubles, from the
embeddings as they were given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    DocumentExistsError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import KnowledgeSteps
from praisonai_persistence.stores.knowledge import decode_document, same_collection
from praisonai_persistence.stores.ranking import nearest, selected
from praisonai_persistence.vectors import check_dimension, score, unpack
from praisonai_persistence_redis._indexes import LostIndexError, TooWideError, available, choose
from praisonai_persistence_redis._layout import ABOUT, DELETE, EMPTY, READ, WRITE, Layout, candidate, document
from praisonai_persistence_redis._scripts import look
from praisonai_persistence_rediscore import Command, RawCommand, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.stores.knowledge import DocumentRow, Search
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence_redis._layout import Collection

__all__ = ["RedisKnowledgeSteps"]

_MANY = 500
"""Documents of one reading command."""


class RedisKnowledgeSteps(KnowledgeSteps):
    """Knowledge in Redis.

    Args:
        prefix: the ``table_prefix``.
        allow_eviction: whether the server may throw data away when it is full.
        index: what new collections are found by; see ``check_index``, or ``valkey``.
    """

    def __init__(self, prefix: str, *, allow_eviction: bool = False, index: str = "auto") -> None:
        self._layout = Layout(prefix)
        self._allow_eviction = allow_eviction
        self._wanted = index
        self._available: set[str] = set()
        self.index: str | None = None

    def probe(self) -> Steps[None]:
        """Look at the server, with the first connection.

        Raises:
            ConfigurationError: it throws data away when it is full.
            UnsupportedOperationError: it has no index of the kind that is wanted.
        """
        self._available = {"exact", *(yield from available(self._layout.head))}
        self.index = choose(self._wanted, self._available).name
        yield from look(self._layout.head, allow_eviction=self._allow_eviction)

    def _about(self, name: str) -> Steps[Collection]:
        """Find a collection."""
        found, size = yield from ABOUT(self._layout.hashes(name)[:2], name)
        if found is None:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        collection = self._layout.collection(name, text(found), size)
        if collection.found_by.name not in self._available:
            raise UnsupportedOperationError(
                f"collection {name!r} has an index of the kind {collection.found_by.name!r}, which this server lacks"
            )
        return collection

    # ------------------------------------------------------------------------------------------------------ collections

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        index = choose(self._wanted, self._available)
        while True:
            found = yield Command("HGET", self._layout.collections, info.name)
            if found is not None:
                return same_collection(self._layout.collection(info.name, text(found), 0).info, info)
            # A description never stands without its index; an index that nobody describes is in nobody's way.
            said, key = self._layout.new(info, metadata, index)
            yield from index.create(key, info.distance, info.dimension)
            if (yield Command("HSETNX", self._layout.collections, info.name, said)):
                return None
            yield from index.drop(key)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        while True:
            found = yield from self._about(name)
            if (yield from EMPTY(found.keys, name, found.said, "")) >= 0:
                return (yield from found.found_by.drop(found.keys[4]))

    def _clear(self, name: str) -> Steps[int]:
        while True:
            found = yield from self._about(name)
            info, index = found.info, found.found_by
            said, key = self._layout.new(info, json.loads(found.said)[2], index)
            yield from index.create(key, info.distance, info.dimension)
            count = yield from EMPTY(found.keys, name, found.said, said)
            yield from index.drop(found.keys[4] if count >= 0 else key)
            if count >= 0:
                return int(count)

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield from self._about(name)).info

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted(text(name) for name in (yield Command("HKEYS", self._layout.collections)))

    # ---------------------------------------------------------------------------------------------------------- writing

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, insert=True)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, insert=False)

    def _write(self, collection: str, rows: Sequence[DocumentRow], *, insert: bool) -> Steps[None]:
        while True:
            found = yield from self._about(collection)
            for row in rows:
                check_dimension(len(row.embedding), found.info.dimension)
            arguments = [part for row in rows for part in document(row, found.info.distance, found.found_by)]
            write = WRITE[found.found_by.name]
            answer = yield from write(found.keys, collection, found.said, int(insert), *arguments)
            if answer == 0:
                return (yield from found.found_by.settle(found.keys[4]))
            if answer != -1:
                raise DocumentExistsError(f"document {text(answer)!r} exists already; nothing was written")

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        if ids is None and filters is None:
            return (yield from self._clear(collection))
        opened = yield from self._about(collection)
        delete = DELETE[opened.found_by.name]
        count, pending = 0, ids
        while True:
            if filters is None:
                found = dict.fromkeys(pending or (), "*")
            elif pending is None:
                found = yield from self._matching(opened, filters)
            else:
                found = yield from self._matching_of(opened, filters, pending)
            if not found:
                return count
            named = [part for pair in found.items() for part in pair]
            answer = yield from delete(opened.keys, collection, opened.said, *named)
            if answer == -1:
                return int(count + (yield from self.delete(collection, pending, filters)))
            count += int(answer[0])
            yield from opened.found_by.settle(opened.keys[4])
            if not answer[1]:
                return count
            pending = [text(item) for item in answer[1]]  # their metadata have changed meanwhile: look again

    # ---------------------------------------------------------------------------------------------------------- reading

    def _scan(self, key: str, take: Callable[[str, bytes], None]) -> Steps[None]:
        """Hand over every field of a hash, in parts and perhaps twice; one that comes or goes meanwhile, or not."""
        cursor: Any = 0
        while True:
            cursor, part = yield RawCommand("HSCAN", key, cursor, "COUNT", _MANY)
            for field, value in part.items():
                take(field.decode(), value)
            if not int(cursor):
                return

    def _matching(self, opened: Collection, filters: Filter | None) -> Steps[dict[str, str]]:
        """Return the metadata of all documents that match, by id."""
        found: dict[str, str] = {}

        def take(item: str, metadata: bytes) -> None:
            said = metadata.decode()
            if selected(filters, said or None):
                found[item] = said

        yield from self._scan(opened.keys[2], take)
        return found

    def _matching_of(self, opened: Collection, filters: Filter, ids: Sequence[str]) -> Steps[dict[str, str]]:
        found: dict[str, str] = {}
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            values = yield Command("HMGET", opened.keys[2], *part)
            for item, value in zip(part, values, strict=True):
                if value is not None and selected(filters, text(value) or None):
                    found[item] = text(value)
        return found

    def _read(self, opened: Collection, ids: Sequence[str]) -> Steps[list[Candidate]]:
        """Read documents; those that are gone are left out."""
        found = []
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            values = iter((yield from READ(opened.keys, *part)))
            found += [
                candidate(item, *parts)
                for item, *parts in zip(part, values, values, values, strict=True)
                if None not in parts
            ]
        return found

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        said = None
        while True:
            opened = yield from self._about(collection)
            check_dimension(len(search.query), opened.info.dimension, "query_embedding")
            try:
                return (yield from self._search(opened, search))
            except LostIndexError as error:
                if opened.said == said:  # twice, so it is not that the collection was emptied meanwhile
                    raise BackendError(
                        f"the server has lost the index of collection {collection!r}: read its documents with get, "
                        f"and insert them into a new one"
                    ) from error
                said = opened.said

    def _search(self, opened: Collection, search: Search) -> Steps[list[KnowledgeDocument]]:
        distance, count = opened.info.distance, max(opened.size, 1)
        # What the server selected may have changed by the time that it is read here: every filter is checked again.
        exact = search.filters is None
        best: list[str] = []
        ordered = not opened.found_by.ranks(distance)

        def fetch(wanted: int) -> Steps[list[Candidate]]:
            limit = min(wanted, count)
            found_by = opened.found_by
            if not ordered and limit <= found_by.most and count > found_by.least:
                try:
                    ids = yield from found_by.rank(opened.keys[4], distance, search.query, limit, search.filters, count)
                    if len(ids) == limit or not found_by.least:
                        return (yield from self._read(opened, ids))
                except TooWideError:
                    pass
            if not best:
                scores = yield from self._scores(opened, search)
                best.extend(sorted(scores, key=lambda item: (-scores[item], item)))
            return (yield from self._read(opened, best[:wanted]))

        return (yield from nearest(search, distance, fetch, exact=exact, ordered=ordered))

    def _scores(self, opened: Collection, search: Search) -> Steps[dict[str, float]]:
        """Return the scores of all documents that match the filter, computed here."""
        matching = None if search.filters is None else (yield from self._matching(opened, search.filters))
        scores: dict[str, float] = {}

        def take(item: str, vector: bytes) -> None:
            if matching is None or item in matching:
                scores[item] = score(opened.info.distance, search.query, unpack(vector))

        yield from self._scan(opened.keys[3], take)
        return scores

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        opened = yield from self._about(collection)
        found = {row.id: row for row in (yield from self._read(opened, list(dict.fromkeys(ids))))}
        return [decode_document(*found[item][:6]) for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        opened = yield from self._about(collection)
        if filters is None:
            return opened.size
        return len((yield from self._matching(opened, filters)))

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        return list((yield from self._matching((yield from self._about(collection)), filters)))
