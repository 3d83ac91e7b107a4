"""Knowledge steps for services whose namespaces hold vectors with flat metadata, and whose reads see a write later."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from praisonai_persistence.drivers.throttling import Pauses
from praisonai_persistence.errors import BackendError, DocumentExistsError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.projection import bounded_query, ranked, ranked_vectors
from praisonai_persistence.stores.ranking import selected
from praisonai_persistence.stores.selecting import Selecting, Selection
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.fields import FieldCompiler
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned

__all__ = ["NamespacedSteps", "Record", "filled", "record_key"]

E = TypeVar("E")

_CLAIMED = 500  # ids in one record of a claim
_TINY = 1e-30  # in place of zeros only, which services refuse; products with it are nothing in 32-bit floats


class Record(NamedTuple):
    """What a namespace holds under an id: a vector, and flat metadata. Answers without them have them empty."""

    id: str
    vector: Sequence[float]
    metadata: Mapping[str, Any]


class NamespacedSteps(ClaimedSteps[Collection, Selection[E]]):
    """For services with namespaces, in which a query that comes after a write can be made to see it.

    One namespace, the catalog, has a document for each collection; the collection's own namespace has a name that is
    never used again. A document is a record with its text, its metadata as text, and [copies][] of these for filters.
    A document whose copies have no room is marked as ``loose``, and checked here.

    What is inserted is claimed first. An upsert is not: of two, the one that the service gets last wins, whole.

    Args:
        compiler: translates filters.
        timeout: seconds that one request may take.
    """

    most_ids: int = 1_000
    most_rows: ClassVar[int] = 1_000
    """How many records one request writes or deletes."""
    most_matches: int = 10_000
    """How many records one query returns without their vectors and metadata."""
    most_bytes: ClassVar[int]
    """How many bytes one request writes."""
    most_metadata: ClassVar[int]
    """How many bytes the metadata of one record have, as JSON."""

    def __init__(self, compiler: FieldCompiler[E], timeout: float) -> None:
        super().__init__(Selecting(compiler, checked=False), timeout)
        self._filters = compiler
        self._timeout = timeout

    def _ask(self, request: Any) -> Steps[Any]:
        """Make a request, and return its answer; again as long as the service is too busy."""
        return Pauses(self._timeout).ask(request)

    # What a service does.

    @abstractmethod
    def _catalog(self) -> Steps[Collection | None]:
        """Return the namespace of the collections' documents, of which only the dimension 1 is used; None: none yet."""

    @abstractmethod
    def _new_place(self, info: CollectionInfo) -> Steps[list[Any]]:
        """Return where a new collection is, as JSON; the catalog is there then."""

    @abstractmethod
    def _open_place(self, info: CollectionInfo, place: list[Any]) -> Collection:
        """Return the collection at a place."""

    @abstractmethod
    def _drop_place(self, opened: Collection) -> Steps[None]:
        """Remove a namespace, which may not be there."""

    @abstractmethod
    def _query(
        self, opened: Collection, chosen: E, limit: int, vector: list[float] | None = None, *, whole: bool = False
    ) -> Steps[list[Record]]:
        """Return the nearest records that an expression selects. They are as all writes of this store have left them.

        Args:
            opened: the collection.
            chosen: the expression.
            limit: how many at most.
            vector: which they are near to; None: any.
            whole: with their vectors and metadata.
        """

    @abstractmethod
    def _all(self, opened: Collection, chosen: E) -> Steps[list[Record]]:
        """Return all records that an expression selects, whole, where they are more than ``most_matches``."""

    @abstractmethod
    def _upsert(self, opened: Collection, records: Sequence[Record]) -> Steps[None]:
        """Write records, in one request."""

    @abstractmethod
    def _delete(self, opened: Collection, ids: Sequence[str]) -> Steps[None]:
        """Remove records by id, in one request."""

    @abstractmethod
    def _settle(self, opened: Collection) -> Steps[None]:
        """Wait until all stores see what this one has written, if that is wanted."""

    @abstractmethod
    def _whole(self, opened: Collection) -> int:
        """Return how many whole records one answer has room for."""

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        catalog = yield from self._catalog()
        found = [] if catalog is None else (yield from self._walk(catalog, self._base(None)))
        return sorted(record.metadata["id"] for record in found)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        catalog = yield from self._catalog()
        found = [] if catalog is None else (yield from self._read(catalog, [record_key(name)]))
        if not found:
            return None
        facts = loads(found[0].metadata["content"])
        return self._open_place(documents.collection_info(name, facts), facts["place"])

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        place = yield from self._new_place(info)
        catalog = yield from self._catalog()
        if catalog is None:
            raise BackendError("the index that was made a moment ago is not there")
        facts = dumps({**documents.collection_facts(info, metadata), "place": place})
        try:
            yield from self._add(catalog, [DocumentRow(info.name, facts, array("f", [1.0]), None, None, 0.0)])
        except DocumentExistsError:
            raise TakenError("somebody else was first") from None

    def _drop(self, opened: Collection) -> Steps[None]:
        catalog = yield from self._catalog()
        if catalog is None or not (yield from self._remove(catalog, [opened.info.name], None)):
            raise GoneError("somebody else was first")
        yield from self._drop_place(opened)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        parts = documents.pages([record_key(key) for key in ids], _CLAIMED)
        made = [Record(f"c-{claim}-{n}", [_TINY], {"claim": claim, "claims": some}) for n, some in enumerate(parts)]
        for some in documents.pages(made, 20):
            yield from self._upsert(opened, some)

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        chosen = self._filters.holds("claims", [record_key(key) for key in ids])
        found = yield from self._query(opened, chosen, self.most_matches)
        return sorted({record.id[2:34] for record in found})

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        found = yield from self._query(opened, self._filters.one_of("claim", [claim]), self.most_matches)
        for some in documents.pages([record.id for record in found], self.most_rows):
            yield from self._delete(opened, some)

    # ---------------------------------------------------------------------------------------------------------- writes

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        for some in self._portions(opened, rows):
            yield from self._store(opened, some)
        yield from self._settle(opened)

    def _add(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from super()._add(opened, rows)
        yield from self._settle(opened)

    def _portions(self, opened: Collection, rows: Sequence[DocumentRow]) -> Iterable[Sequence[Any]]:
        """Return records in place of rows, after all of them were made: what is too large is refused before."""
        vectors = ranked_vectors(opened.info.distance, [row.embedding for row in rows])
        made = [
            self._made(opened, row, vector if any(vector) else array("f", [_TINY, *vector[1:]]))
            for row, vector in zip(rows, vectors, strict=True)
        ]
        return documents.packed(made, self.most_bytes, self.most_rows)

    def _made(self, opened: Collection, row: DocumentRow, vector: array[float]) -> tuple[Record, int]:
        """Return a document's record, and how many bytes it has at most in a request."""
        facts = {name: value for name, value in documents.document_facts(row, vector).items() if value is not None}
        own = {"key": record_key(row.id), "id": row.id, "content": row.content, **facts}
        metadata = {**own, **copies(row.metadata)}
        if (size := _size(metadata)) > self.most_metadata:
            metadata = {**own, "loose": True}
            size = _size(metadata)
            documents.check_size("the service", row.id, size, self.most_metadata)
        return Record(f"d-{own['key']}", vector.tolist(), metadata), size + 26 * len(vector) + 100

    def _store(self, opened: Collection, rows: Sequence[Any]) -> Steps[None]:
        yield from self._upsert(opened, rows)

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Selection[E] | None) -> Steps[int]:
        gone, more = 0, True
        while more:
            found, more = yield from self._matching(opened, ids, expression)
            for some in documents.pages(found, self.most_rows):
                yield from self._delete(opened, some)
            gone += len(found)
        if gone:
            yield from self._settle(opened)
        return gone

    # ----------------------------------------------------------------------------------------------------------- reads

    def _base(self, keys: Sequence[str] | None) -> E:
        """Return what selects the documents with these keys; None: all of them."""
        return self._filters.exists("key", wanted=True) if keys is None else self._filters.one_of("key", keys)

    def _chosen(self, base: E, chosen: Selection[E] | None) -> E:
        """Return what selects the documents of a filter, and all loose ones."""
        if chosen is None or chosen.expression is None:
            return base
        loose = self._filters.exists("loose", wanted=True)
        return self._filters.all_of([base, self._filters.any_of([loose, chosen.expression])])

    def _matching(
        self, opened: Collection, ids: Sequence[str] | None, chosen: Selection[E] | None
    ) -> Steps[tuple[list[str], bool]]:
        """Return the ids of records that a filter selects exactly, and whether there are more."""
        base = self._base(None if ids is None else [record_key(key) for key in ids])
        if chosen is None:
            found = yield from self._query(opened, base, self.most_matches)
            return [record.id for record in found], len(found) == self.most_matches
        strict = [base, self._filters.exists("loose", wanted=False)]
        strict += [] if chosen.expression is None else [chosen.expression]
        found = yield from self._query(opened, self._filters.all_of(strict), self.most_matches)
        loose = yield from self._walk(opened, self._filters.all_of([base, self._filters.exists("loose", wanted=True)]))
        ids = [record.id for record in [*found, *(record for record in loose if _fits(record, chosen))]]
        return list(ids), len(found) == self.most_matches

    def _walk(self, opened: Collection, chosen: E) -> Steps[list[Record]]:
        """Return all records of an expression, whole."""
        size = self._whole(opened)
        found = yield from self._query(opened, chosen, size, whole=True)
        if len(found) < size:
            return found
        keys = [record.id[2:] for record in (yield from self._query(opened, chosen, self.most_matches))]
        if len(keys) == self.most_matches:
            return (yield from self._all(opened, chosen))
        return (yield from self._read(opened, keys))

    def _read(self, opened: Collection, keys: Sequence[str]) -> Steps[list[Record]]:
        """Return the documents of these keys, whole."""
        found: list[Record] = []
        for some in documents.pages(keys, self._whole(opened)):
            found += yield from self._query(opened, self._base(some), len(some), whole=True)
        return found

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Selection[E] | None) -> Ranked:
        asked = limit
        while True:
            found = yield from self._best(opened, query, asked, self._chosen(self._base(None), expression))
            kept = [record for record in found if _fits(record, expression)]
            if len(kept) >= limit or len(found) < asked:
                return [_candidate(opened, record) for record in kept[:limit]]
            asked *= 4

    def _best(self, opened: Collection, query: array[float], limit: int, chosen: E) -> Steps[list[Record]]:
        near = bounded_query(opened.info.distance, query) if any(query) else [_TINY]
        if limit <= self._whole(opened):
            return (yield from self._query(opened, chosen, limit, near, whole=True))
        if limit <= self.most_matches:
            keys = [record.id[2:] for record in (yield from self._query(opened, chosen, limit, near))]
            found = {record.id[2:]: record for record in (yield from self._read(opened, keys))}
            return [found[key] for key in keys if key in found]
        records = yield from self._walk(opened, chosen)
        return ranked(opened.info.distance, query, records, [_vector(opened, record) for record in records])[:limit]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        found = yield from self._read(opened, [record_key(key) for key in ids])
        return [_candidate(opened, record) for record in found]

    def _taken(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        names = {f"d-{record_key(key)}": key for key in ids}
        found = yield from self._query(opened, self._base([name[2:] for name in names]), len(names))
        return [names[record.id] for record in found]

    def _scan(self, opened: Collection, ids: Sequence[str] | None, expression: Selection[E] | None) -> Scanned:
        if ids is not None:
            found = yield from self._read(opened, [record_key(key) for key in ids])
        else:
            found = yield from self._walk(opened, self._chosen(self._base(None), expression))
        texts = ((record.metadata["id"], record.metadata.get("metadata")) for record in found)
        return [(key, text) for key, text in texts if expression is None or selected(expression.filters, text)]

    def _count(self, opened: Collection, expression: Selection[E] | None) -> Steps[int]:
        found, more = yield from self._matching(opened, None, expression)
        if not more:
            return len(found)
        records = yield from self._walk(opened, self._chosen(self._base(None), expression))
        return sum(_fits(record, expression) for record in records)


def filled(vector: Sequence[float], size: int) -> list[float]:
    """Return a vector with zeros up to the dimension of an index, which change no rank."""
    return [*vector, *[0] * (size - len(vector))]  # shorter in JSON than 0.0


def record_key(id: str) -> str:  # noqa: A002
    """Return what stands for an id, which may be any text."""
    return blake2b(id.encode(), digest_size=16).hexdigest()


def _size(metadata: Mapping[str, Any]) -> int:
    return len(dumps(metadata).encode())


def _fits(record: Record, chosen: Selection[Any] | None) -> bool:
    """Whether a record that the service found is one of the filter's, as far as its expression is."""
    return chosen is None or "loose" not in record.metadata or selected(chosen.filters, record.metadata.get("metadata"))


def _vector(opened: Collection, record: Record) -> array[float]:
    return array("f", record.vector[: opened.info.dimension])


def _candidate(opened: Collection, record: Record) -> Candidate:
    found = record.metadata
    return documents.document_candidate(found["id"], found["content"], found, lambda: _vector(opened, record))
