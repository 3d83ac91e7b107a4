"""Knowledge steps for engines that hold vectors and a projection of metadata: what is the same on all of them."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError
from praisonai_persistence.payload import copy
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores.knowledge import KnowledgeSteps, decode_document, same_collection
from praisonai_persistence.stores.projection import ranked_vector
from praisonai_persistence.stores.ranking import SPARE, nearest, selected
from praisonai_persistence.stores.vector_documents import batches, pages
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence.vectors import check_dimension

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from praisonai_persistence.filters import Compiled, Filter
    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow, Search
    from praisonai_persistence.stores.ranking import Candidate

    Ranked = Steps[Sequence[Candidate]]
    """Documents with their embeddings; for annotations only, as the next one is."""
    Scanned = Steps[Sequence[tuple[str, str | None]]]
    """Ids, and metadata as JSON text."""

__all__ = ["Collection", "GoneError", "MarkedSteps", "Opened", "TakenError", "VectorSteps"]


class Opened(Protocol):
    """An engine's collection, ready for use."""

    @property
    def info(self) -> CollectionInfo:
        """What it was created with."""
        raise NotImplementedError


class Collection(NamedTuple):
    """An opened collection, for engines that need no more.

    Attributes:
        info: what it was created with.
        engine: what the client is told to work on: a name, or an object of the client's own.
    """

    info: CollectionInfo
    engine: Any


C = TypeVar("C", bound=Opened)
E = TypeVar("E")
T = TypeVar("T")


class Compiles(Protocol[E]):
    """Translates filters: a ``Compiler``, or what says in other ways what the engine is to select by."""

    def compile(self, tree: Filter | None) -> Compiled[E]:
        """See ``Compiler.compile``."""
        raise NotImplementedError


class VectorSteps(KnowledgeSteps, Generic[C, E]):
    """The operations, made of a few that an engine has.

    ``C`` is the engine's opened collection, ``E`` an expression of its filters. Candidates have their embeddings.

    Every method may raise ``GoneError`` if the collection does not exist. If the collection was opened by an earlier
    call, the operation opens it again and starts from its beginning.

    Args:
        compiler: translates filters.
    """

    spare: ClassVar[int] = SPARE
    """How many candidates beyond the limit a search asks for; fewer where the engine takes long to return them."""
    most_ids: int | None = None
    """How many ids ``_taken``, ``_fetch``, ``_scan`` and ``_remove`` get at a time; None: any number."""
    most_bytes: ClassVar[int | None] = None
    """How many bytes of documents one request of a write has, as [batches][] counts them; None: any number."""
    most_rows: ClassVar[int | None] = None
    """How many documents one request of a write has, where ``most_bytes`` is given; None: any number."""
    remembers: ClassVar[bool] = False
    """Whether opened collections are kept. ``_find`` is then asked for one only if it is to be ``fresh``, or was not
    opened before."""

    def __init__(self, compiler: Compiles[E]) -> None:
        self._compiler = compiler
        self._opened: dict[str, C] = {}

    # What an engine does.

    @abstractmethod
    def _find(self, name: str, *, fresh: bool) -> Steps[C | None]:
        """Open a collection; None, or ``GoneError``, when there is none.

        Unless ``fresh``, what was opened before will do, as long as the engine refuses to work on it (``GoneError``)
        once the collection has been deleted, even if there is a new one of its name.
        """

    @abstractmethod
    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        """Create a collection that was not there a moment ago; ``TakenError`` when there is one now."""

    @abstractmethod
    def _drop(self, opened: C) -> Steps[None]:
        """Remove a collection."""

    def _taken(self, opened: C, ids: Sequence[str]) -> Steps[Sequence[str]]:
        """Return those of the ids, which are all different, that exist; by default ``_scan`` is asked."""
        return [key for key, _ in (yield from self._scan(opened, ids, None))]

    @abstractmethod
    def _put(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Write rows with distinct ids, over those that exist."""

    def _add(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        """Write rows of which none existed a moment ago; engines without a lock make sure that none does now."""
        yield from self._put(opened, rows)

    @abstractmethod
    def _rank(self, opened: C, query: array[float], limit: int, expression: E | None) -> Ranked:
        """Return the best candidates, best first, by their [ranked_vector][]s; fewer only when there are no more."""

    @abstractmethod
    def _fetch(self, opened: C, ids: Sequence[str]) -> Ranked:
        """Return the documents that there are of ids that are all different, in any order."""

    @abstractmethod
    def _scan(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Scanned:
        """Return ids and metadata of the documents with these ids (None: any) that the expression selects."""

    @abstractmethod
    def _count(self, opened: C, expression: E | None) -> Steps[int]:
        """Count what the expression selects."""

    @abstractmethod
    def _remove(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[int]:
        """Remove the documents with these ids (None: any) that the expression selects; return how many."""

    # What is the same for all of them.

    def _portions(self, opened: C, rows: Sequence[DocumentRow]) -> Iterable[Sequence[DocumentRow]]:
        """Return the rows in order, as many at a time as go into one request; one row or more."""
        if self.most_bytes is None:
            return [rows]
        return batches(rows, self.most_bytes, opened.info.dimension, self.most_rows)

    def _paged(
        self, ask: Callable[..., Steps[Sequence[T]]], opened: C, ids: Sequence[str] | None, *more: Any
    ) -> Steps[list[T]]:
        """Return what a method of these steps finds, which is given no more than ``most_ids`` at a time.

        Args:
            ask: the method.
            opened: its first argument.
            ids: its second; None is passed on.
            more: its further ones.
        """
        found: list[T] = []
        for some in [None] if ids is None else pages(ids, self.most_ids):
            found += yield from ask(opened, some, *more)
        return found

    def _remove_all(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Steps[int]:
        """Remove as ``_remove`` does, which is given no more than ``most_ids`` at a time."""
        gone = 0
        for some in [None] if ids is None else pages(ids, self.most_ids):
            gone += yield from self._remove(opened, some, expression)
        return gone

    # What a store promises.

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        opened = yield from self._found(info.name, fresh=True)
        if opened is None:
            try:
                yield from self._create(info, metadata)
                return
            except TakenError:  # somebody else was first
                opened = yield from self._need(info.name, fresh=True)
        same_collection(opened.info, info)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        opened = yield from self._need(name, fresh=True)
        try:
            yield from self._drop(opened)
        except GoneError:
            raise self._missing(name) from None

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return _copied((yield from self._need(name, fresh=True)).info)

    def _found(self, name: str, *, fresh: bool) -> Steps[C | None]:
        if not fresh and name in self._opened:
            return self._opened[name]
        try:
            opened = yield from self._find(name, fresh=fresh)
        except GoneError:
            opened = None
        if opened is not None and self.remembers:
            self._opened[name] = opened
        return opened

    def _need(self, name: str, *, fresh: bool = False) -> Steps[C]:
        opened = yield from self._found(name, fresh=fresh)
        if opened is None:
            raise self._missing(name)
        return opened

    @staticmethod
    def _missing(name: str) -> CollectionNotFoundError:
        return CollectionNotFoundError(f"there is no collection {name!r}")

    def _on(self, name: str, fresh: bool, work: Callable[[C], Steps[T]]) -> Steps[T]:
        """Do something on a collection; once more if an earlier call opened it and it is gone now."""
        if not fresh:
            try:
                return (yield from work((yield from self._need(name))))
            except GoneError:
                pass
        try:
            return (yield from work((yield from self._need(name, fresh=True))))
        except GoneError:
            raise self._missing(name) from None

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        def insert(opened: C) -> Steps[None]:
            if rows:
                taken = yield from self._paged(self._taken, opened, [row.id for row in rows])
                if taken:
                    raise DocumentExistsError(f"document {taken[0]!r} exists already; nothing was written")
                yield from self._add(opened, rows)

        yield from self._write(collection, rows, insert)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        def upsert(opened: C) -> Steps[None]:
            if rows:
                yield from self._put(opened, rows)

        yield from self._write(collection, rows, upsert)

    def _write(self, collection: str, rows: Sequence[DocumentRow], work: Callable[[C], Steps[None]]) -> Steps[None]:
        """Write to a collection that takes the rows."""

        def write(opened: C) -> Steps[None]:
            if not rows or not all(len(row.embedding) == opened.info.dimension for row in rows):
                # The engine is not asked then, so it must not be one that was opened long ago.
                opened = yield from self._need(collection, fresh=True)
                for row in rows:
                    check_dimension(len(row.embedding), opened.info.dimension)
            yield from work(opened)

        yield from self._on(collection, False, write)

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        compiled = self._compiler.compile(search.filters)

        def find(opened: C) -> Steps[list[KnowledgeDocument]]:
            if not search.limit or len(search.query) != opened.info.dimension:
                opened = yield from self._need(collection, fresh=True)
                check_dimension(len(search.query), opened.info.dimension, "query_embedding")
            distance = opened.info.distance
            query = ranked_vector(distance, search.query, query=True)

            def fetch(limit: int) -> Steps[Sequence[Candidate]]:
                return self._rank(opened, query, limit, compiled.expression)

            return (yield from nearest(search, distance, fetch, exact=compiled.exact, spare=self.spare))

        return (yield from self._on(collection, False, find))

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        def read(opened: C) -> Steps[list[KnowledgeDocument]]:
            rows = yield from self._paged(self._fetch, opened, list(dict.fromkeys(ids)))
            found = {row.id: row for row in rows}
            return [_document(found[item]) for item in ids if item in found]

        return (yield from self._on(collection, not ids, read))

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        compiled = self._compiler.compile(filters)

        def count(opened: C) -> Steps[int]:
            if compiled.exact:
                return (yield from self._count(opened, compiled.expression))
            return len((yield from self._ids_of(opened, None, compiled, filters)))

        return (yield from self._on(collection, False, count))

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        compiled = self._compiler.compile(filters)
        return (yield from self._on(collection, False, lambda opened: self._ids_of(opened, None, compiled, filters)))

    def _ids_of(
        self, opened: C, ids: Sequence[str] | None, compiled: Compiled[E], filters: Filter | None
    ) -> Steps[list[str]]:
        """Return those of these ids (None: any) whose documents match."""
        rows = yield from self._paged(self._scan, opened, ids, compiled.expression)
        return [key for key, metadata in rows if compiled.exact or selected(filters, metadata)]

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        nothing = ids is not None and not ids
        compiled = self._compiler.compile(filters)

        def delete(opened: C) -> Steps[int]:
            if nothing:
                return 0
            if compiled.exact:
                return (yield from self._remove_all(opened, ids, compiled.expression))
            gone = yield from self._ids_of(opened, ids, compiled, filters)
            return (yield from self._remove_all(opened, gone, None))

        return (yield from self._on(collection, nothing, delete))


class MarkedSteps(VectorSteps[C, E]):
    """For engines with several writers, whose insert skips ids that exist without saying so.

    Each insert marks its documents, and afterwards reads whose marks they have. If another writer's mark is among them,
    that writer was first with these ids, and the insert removes what it has written itself. The mark is one of the
    [document_facts][] that the engine stores.

    Args:
        compiler: translates filters.
        shared: whether there may be other writers; if not, nothing is marked.
    """

    def __init__(self, compiler: Compiles[E], *, shared: bool) -> None:
        super().__init__(compiler)
        self._shared = shared

    @abstractmethod
    def _store(self, opened: C, rows: Sequence[DocumentRow], mark: str | None, *, new: bool) -> Steps[None]:
        """Write rows with a mark, in one request: over those that exist, or (``new``) passing over those that do."""

    @abstractmethod
    def _entries(
        self, opened: C, ids: Sequence[str] | None, expression: E | None
    ) -> Steps[Sequence[tuple[str, Mapping[str, Any]]]]:
        """Return ids and stored facts of the documents with these ids (None: any) that the expression selects.

        The ids are all different. Of the facts, the metadata and the writer are needed.
        """

    def _put(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._store_all(opened, rows, None, new=False)

    def _scan(self, opened: C, ids: Sequence[str] | None, expression: E | None) -> Scanned:
        return [(key, facts.get("metadata")) for key, facts in (yield from self._entries(opened, ids, expression))]

    def _store_all(self, opened: C, rows: Sequence[DocumentRow], mark: str | None, *, new: bool) -> Steps[None]:
        for some in self._portions(opened, rows):
            yield from self._store(opened, some, mark, new=new)

    def _add(self, opened: C, rows: Sequence[DocumentRow]) -> Steps[None]:
        if not self._shared:
            yield from self._store_all(opened, rows, None, new=True)
            return
        mark = uuid.uuid4().hex
        yield from self._store_all(opened, rows, mark, new=True)
        entries = yield from self._paged(self._entries, opened, [row.id for row in rows], None)
        mine = [key for key, facts in entries if facts.get("writer") == mark]
        if len(mine) < len(rows):
            yield from self._remove_all(opened, mine, None)
            raise DocumentExistsError("another writer inserted one of the documents meanwhile; nothing was written")


def _copied(info: CollectionInfo) -> CollectionInfo:
    return replace(info, metadata=copy(info.metadata))


def _document(row: Candidate) -> KnowledgeDocument:
    return decode_document(row.id, row.content, row.embedding, row.metadata, row.content_hash, row.created_at)
