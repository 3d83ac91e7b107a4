"""Knowledge steps for engines that hold vectors and a projection of metadata: what is the same on all of them."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError
from praisonai_persistence.payload import copy
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores.knowledge import KnowledgeSteps, decode_document, same_collection
from praisonai_persistence.stores.projection import ranked_vector
from praisonai_persistence.stores.ranking import nearest, selected
from praisonai_persistence.vectors import check_dimension

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from praisonai_persistence.filters import Compiler, Filter
    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow, Search
    from praisonai_persistence.stores.ranking import Candidate

__all__ = ["Opened", "VectorSteps"]


class Opened(Protocol):
    """An engine's collection, ready for use."""

    @property
    def info(self) -> CollectionInfo:
        """What it was created with."""
        raise NotImplementedError


C = TypeVar("C", bound=Opened)
E = TypeVar("E")


class VectorSteps(KnowledgeSteps, Generic[C, E]):
    """The operations, made of a few that an engine has.

    ``C`` is the engine's opened collection, ``E`` an expression of its filters. Candidates have their embeddings.

    Args:
        compiler: translates filters.
    """

    def __init__(self, compiler: Compiler[E]) -> None:
        self._compiler = compiler

    # What an engine does.

    @abstractmethod
    def _find(self, name: str, *, fresh: bool) -> Steps[C | None]:
        """Open a collection; None when there is none.

        Unless ``fresh``, what was opened before will do, as long as the engine refuses to work on it (and the runner
        then starts the operation again) once the collection has been deleted, even if there is a new one of its name.
        """

    @abstractmethod
    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        """Create a collection that was not there a moment ago."""

    @abstractmethod
    def _drop(self, opened: C) -> Steps[None]:
        """Remove a collection."""

    @abstractmethod
    def _taken(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[str]]:
        """Return those of the ids, which are all different, that exist."""

    @abstractmethod
    def _put(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Write rows with distinct ids, over those that exist."""

    def _add(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Write rows of which none existed a moment ago; engines without a lock make sure that none does now."""
        yield from self._put(opened, rows)

    @abstractmethod
    def _rank(self, opened: C, query: array[float], limit: int, expression: E | None) -> Steps[Sequence[Candidate]]:
        """Return the best candidates, best first, by their [ranked_vector][]s; fewer only when there are no more."""

    @abstractmethod
    def _fetch(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        """Return the documents that there are of ids that are all different, in any order."""

    @abstractmethod
    def _scan(
        self, opened: C, ids: Sequence[str] | None, expression: E | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        """Return ids and metadata of the documents with these ids (None: any) that the expression selects."""

    @abstractmethod
    def _count(self, opened: C, expression: E | None) -> Steps[int]:
        """Count what the expression selects."""

    @abstractmethod
    def _remove(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[int]:
        """Remove the documents with these ids (None: any) that the expression selects; return how many."""

    # What a store promises.

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        opened = yield from self._find(info.name, fresh=True)
        if opened is None:
            yield from self._create(info, metadata)
        else:
            same_collection(opened.info, info)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        yield from self._drop((yield from self._need(name, fresh=True)))

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return _copied((yield from self._need(name, fresh=True)).info)

    def _need(self, name: str, *, fresh: bool = False) -> Steps[C]:
        opened = yield from self._find(name, fresh=fresh)
        if opened is None:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return opened

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        opened = yield from self._need_for(collection, rows)
        if not rows:
            return
        taken = yield from self._taken(opened, [row.id for row in rows])
        if taken:
            raise DocumentExistsError(f"document {taken[0]!r} exists already; nothing was written")
        yield from self._add(opened, rows)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        opened = yield from self._need_for(collection, rows)
        if rows:
            yield from self._put(opened, rows)

    def _need_for(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[C]:
        """Return a collection that takes the rows."""
        opened = yield from self._need(collection)
        if not rows or not all(len(row.embedding) == opened.info.dimension for row in rows):
            # The engine is not asked then, so it must not be one that was opened long ago.
            opened = yield from self._need(collection, fresh=True)
            for row in rows:
                check_dimension(len(row.embedding), opened.info.dimension)
        return opened

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        opened = yield from self._need(collection)
        if not search.limit or len(search.query) != opened.info.dimension:
            opened = yield from self._need(collection, fresh=True)
            check_dimension(len(search.query), opened.info.dimension, "query_embedding")
        distance = opened.info.distance
        compiled = self._compiler.compile(search.filters)
        query = ranked_vector(distance, search.query, query=True)

        def fetch(limit: int) -> Steps[Sequence[Candidate]]:
            return self._rank(opened, query, limit, compiled.expression)

        return (yield from nearest(search, distance, fetch, exact=compiled.exact))

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        opened = yield from self._need(collection, fresh=not ids)
        different = list(dict.fromkeys(ids))
        rows = (yield from self._fetch(opened, different)) if different else ()
        found = {row.id: row for row in rows}
        return [_document(found[item]) for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        opened = yield from self._need(collection)
        compiled = self._compiler.compile(filters)
        if compiled.exact:
            return (yield from self._count(opened, compiled.expression))
        rows = yield from self._scan(opened, None, compiled.expression)
        return sum(selected(filters, metadata) for _, metadata in rows)

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        nothing = ids is not None and not ids
        opened = yield from self._need(collection, fresh=nothing)
        if nothing:
            return 0
        compiled = self._compiler.compile(filters)
        if compiled.exact:
            return (yield from self._remove(opened, ids, compiled.expression))
        rows = yield from self._scan(opened, ids, compiled.expression)
        gone = [item for item, metadata in rows if selected(filters, metadata)]
        return (yield from self._remove(opened, gone, None)) if gone else 0


def _copied(info: CollectionInfo) -> CollectionInfo:
    return replace(info, metadata=copy(info.metadata))


def _document(row: Candidate) -> KnowledgeDocument:
    return decode_document(row.id, row.content, row.embedding, row.metadata, row.content_hash, row.created_at)
