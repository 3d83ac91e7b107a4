"""Knowledge in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence._attempts import ATTEMPTS, overtaken
from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError
from praisonai_persistence.filters import Filter, matches
from praisonai_persistence.knowledge import CollectionInfo, KnowledgeDocument
from praisonai_persistence.memory._data import AsyncDirectRunner, Data, open_data
from praisonai_persistence.payload import check_prefix, copy, loads
from praisonai_persistence.steps import Steps, done, reads, writes
from praisonai_persistence.stores import AsyncStepKnowledgeStore, DirectRunner, KnowledgeSteps, StepKnowledgeStore
from praisonai_persistence.stores.knowledge import DocumentRow, Search, decode_document, same_collection
from praisonai_persistence.vectors import check_dimension, score

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AsyncMemoryKnowledgeStore", "MemoryKnowledgeSteps", "MemoryKnowledgeStore"]


class Collection:
    __slots__ = ("info", "rows")

    def __init__(self, info: CollectionInfo) -> None:
        self.info = info
        self.rows: dict[str, DocumentRow] = {}


class Collections(dict[str, Collection]):
    def need(self, name: str) -> Collection:
        if name not in self:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return self[name]


def selected(row: DocumentRow, filters: Filter | None) -> bool:
    return filters is None or matches(filters, None if row.metadata is None else loads(row.metadata))


class MemoryKnowledgeSteps(KnowledgeSteps):
    """The reference of the knowledge contract: every document is scored and every filter evaluated, exactly."""

    def __init__(self, data: Data, prefix: str) -> None:
        self._data = data
        self._collections = data.table(Collections, prefix)

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        new = Collection(info)
        with self._data.lock:
            stored = self._collections.setdefault(info.name, new)
            if stored is not new:
                same_collection(stored.info, info)
        return done(None)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        with self._data.lock:
            if self._collections.pop(name, None) is None:
                self._collections.need(name)
        return done(None)

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        info = self._collections.need(name).info
        return done(CollectionInfo(info.name, info.dimension, info.distance, copy(info.metadata)))

    @reads
    def list_collections(self) -> Steps[list[str]]:
        with self._data.lock:
            answer = sorted(self._collections)
        return done(answer)

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        self._put(collection, rows, replace=False)
        return done(None)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        self._put(collection, rows, replace=True)
        return done(None)

    def _put(self, collection: str, rows: Sequence[DocumentRow], *, replace: bool) -> None:
        data = self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                target = self._collections.need(collection)
                for row in rows:
                    check_dimension(len(row.embedding), target.info.dimension)
                    if not replace and row.id in target.rows:
                        raise DocumentExistsError(f"document {row.id!r} exists already; nothing was written")
                stored, new = target.rows, {row.id: row for row in rows}
                mine = data.turn is turn and stored.update(new) is None
                if mine:
                    return
        raise overtaken()

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        with self._data.lock:
            target = self._collections.need(collection)
            check_dimension(len(search.query), target.info.dimension, "query_embedding")
            rows = list(target.rows.values())
        scored = [
            (score(target.info.distance, search.query, row.embedding), row)
            for row in rows
            if selected(row, search.filters)
        ]
        if search.score_threshold is not None:
            scored = [pair for pair in scored if pair[0] >= search.score_threshold]
        scored.sort(key=lambda pair: (-pair[0], pair[1].id))
        return done(
            [
                decode_document(
                    row.id, row.content, row.embedding if search.with_embeddings else None, *row[3:], score=value
                )
                for value, row in scored[: search.limit]
            ]
        )

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        with self._data.lock:
            rows = self._collections.need(collection).rows
            found = [rows[item] for item in ids if item in rows]
        return done([decode_document(*row) for row in found])

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        with self._data.lock:
            rows = list(self._collections.need(collection).rows.values())
        return done(sum(1 for row in rows if selected(row, filters)))

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        with self._data.lock:
            rows = list(self._collections.need(collection).rows.items())
        return done([key for key, row in rows if selected(row, filters)])

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        data = self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                target = self._collections.need(collection)
                rows = target.rows
                named = list(rows) if ids is None else [item for item in ids if item in rows]
                gone = {item for item in named if selected(rows[item], filters)}
                left = {item: row for item, row in list(rows.items()) if item not in gone} if gone else rows
                mine, target.rows = (True, left) if data.turn is turn else (False, target.rows)
                if mine:
                    return done(len(gone))
        raise overtaken()


class _KnowledgeOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"prefix", "atomic_batch"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryKnowledgeSteps:
        return MemoryKnowledgeSteps(open_data(url, name), check_prefix(table_prefix))


class MemoryKnowledgeStore(_KnowledgeOptions, StepKnowledgeStore):
    """Knowledge in memory; arguments as [MemoryConversationStore][]."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryKnowledgeStore(_KnowledgeOptions, AsyncStepKnowledgeStore):
    """[MemoryKnowledgeStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), AsyncDirectRunner())
