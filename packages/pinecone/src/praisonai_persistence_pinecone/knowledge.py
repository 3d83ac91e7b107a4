"""Knowledge in Pinecone: a namespace for each collection, and one that says which there are."""

from __future__ import annotations

import threading
import uuid
from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    DocumentExistsError,
    SerializationError,
)
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.steps import Pause, reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.projection import bounded_query, product_distance, ranked, ranked_vectors
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence_pinecone._filters import FilterCompiler

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_pinecone._driver import PineconeOptions

__all__ = ["PineconeSteps"]

_METRICS = {"dot": "dotproduct", "euclidean": "euclidean"}
_STEP = 128  # dimensions of indexes that this store makes are multiples of it, so that few indexes do
_MOST_DIMENSION = 20_000
_METADATA = 40_960  # bytes of one record's
_ANSWER = 4_000_000  # bytes of one answer
_CLAIMED = 1_000  # ids in one record of a claim
_TINY = 1e-30  # in place of zeros only, which Pinecone refuses; products with it are nothing in 32-bit floats


class _Place(NamedTuple):
    """Where a collection is: the host of an index, a namespace, and how many numbers a vector has there."""

    host: str
    namespace: str
    size: int


class _Index(NamedTuple):
    host: str
    dimension: int
    metric: str


class PineconeSteps(ClaimedSteps[Collection, dict[str, Any]]):
    """Knowledge in Pinecone.

    A write gets a number (LSN) in its namespace, and a query says up to which number it has seen the writes. So each
    query that has not seen this store's last write there is made again. That also makes claims certain: of two writers,
    the one whose claim has the higher number sees both.

    Args:
        options: of the store.
    """

    most_ids = 1_000
    most_rows = 1_000
    most_bytes = 2_000_000
    most_matches = 10_000
    """How many matches a query returns."""

    def __init__(self, options: PineconeOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._space = f"{options.namespace}{options.table_prefix}"
        self._indexes: dict[str, _Index] = {}
        self._written: dict[_Place, int] = {}
        self._lock = threading.Lock()

    def look(self) -> Steps[None]:
        """Ask the service for the first time."""
        yield from self._catalog()

    def _ask(self, request: Any) -> Steps[Any]:
        return Pauses(self._options.timeout).ask(request)

    # --------------------------------------------------------------------------------------------------------- indexes

    def _index(self, dimension: int, metric: str, *, make: bool) -> Steps[_Index | None]:
        """Return the index for vectors; None if there is none, unless it is to be made."""
        options = self._options
        name = options.index_name or f"praisonai-{dimension}-{metric}"
        if options.index_host is not None:
            name = options.index_host
        if name not in self._indexes:
            found = yield from (self._hosted(name) if options.index_host is not None else self._named(name))
            if found is None and make:
                found = yield from self._made(name, dimension, metric)
            if found is None:
                return None
            self._indexes[name] = found
        return self._indexes[name]

    def _hosted(self, host: str) -> Steps[_Index]:
        stats = yield from self._ask(lambda clients: clients.index(host).describe_index_stats())
        return _Index(host, int(stats.dimension), str(stats.metric or ""))

    def _named(self, name: str) -> Steps[_Index | None]:
        """Return an index as soon as it is ready; None if there is none."""
        end = Pauses(self._options.index_timeout, 1.0)
        while True:
            try:
                found = yield from self._ask(lambda clients: clients.control.indexes.describe(name))
            except GoneError:
                return None
            fields = found.schema.fields
            if "_values" not in fields:
                raise ConfigurationError(f"the index {name!r} is none of dense vectors: give another index_name")
            if found.status.ready:
                return _Index(found.host, fields["_values"].dimension, fields["_values"].metric)
            state = found.status.state
            if state in {"InitializationFailed", "Terminating", "Disabled"}:
                raise BackendError(f"the index {name!r} cannot be used, its state is {state}: see Pinecone's console")
            yield from end.wait(ThrottledError(f"the index {name!r} is not ready; try again later or raise index_timeout"))

    def _made(self, name: str, dimension: int, metric: str) -> Steps[_Index | None]:
        options = self._options
        where = {"deployment_type": "managed", "cloud": options.cloud, "region": options.region}
        if options.environment is not None:
            where = {"deployment_type": "pod", "environment": options.environment, "pod_type": options.pod_type}
        fields = {"_values": {"type": "dense_vector", "dimension": dimension, "metric": metric}}
        try:
            yield from self._ask(
                lambda clients: clients.control.indexes.create(
                    name=name, schema={"fields": fields}, deployment=where, timeout=-1
                )
            )
        except TakenError:
            pass  # somebody else was first
        return (yield from self._named(name))

    def _fitting(self, info: CollectionInfo) -> Steps[_Index]:
        """Return the index for a collection, which may have to be made."""
        metric = _METRICS[product_distance(info.distance)]
        if info.dimension > _MOST_DIMENSION:
            raise ConfigurationError(f"Pinecone's vectors have at most {_MOST_DIMENSION} numbers, not {info.dimension}")
        own = self._options.index_name is None and self._options.index_host is None
        wanted = -(-info.dimension // _STEP) * _STEP if own else info.dimension
        found = yield from self._index(wanted, metric, make=True)
        if found is None or found.dimension != wanted or found.metric != metric:
            has = "is gone" if found is None else f"has the dimension {found.dimension} and the metric {found.metric}"
            raise ConfigurationError(
                f"the index {has}, and this collection needs {wanted} and {metric}: give another index_name, or none, so "
                f"that indexes that fit are made"
            )
        return found

    # ----------------------------------------------------------------------------------------------------- collections

    def _catalog(self, first: _Index | None = None) -> Steps[Collection | None]:
        """Return the namespace whose documents are the collections; None if there is no index yet."""
        if first is None or (self._options.index_name is None and self._options.index_host is None):
            first = yield from self._index(_STEP, "dotproduct", make=first is not None)
        if first is None:
            return None
        info = CollectionInfo("", 1, "dot", None)
        return Collection(info, _Place(first.host, f"{self._space}collections", first.dimension))

    @reads
    def list_collections(self) -> Steps[list[str]]:
        self._indexes.clear()
        catalog = yield from self._catalog()
        found = [] if catalog is None else (yield from self._walk(catalog, None, None))
        return sorted(match.metadata["id"] for match in found)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        if fresh:
            self._indexes.clear()
        catalog = yield from self._catalog()
        found = [] if catalog is None else (yield from self._walk(catalog, [name], None))
        if not found:
            return None
        facts = loads(found[0].metadata["content"])
        return Collection(documents.collection_info(name, facts), _Place(*facts["place"]))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        index = yield from self._fitting(info)
        catalog = yield from self._catalog(index)
        assert catalog is not None  # it was to be made
        # The name of a namespace is never used again, so that a writer that comes late writes to none of a new one.
        place = _Place(index.host, f"{self._space}c-{uuid.uuid4().hex}", index.dimension)
        facts = dumps({**documents.collection_facts(info, metadata), "place": list(place)})
        try:
            yield from self._add(catalog, [DocumentRow(info.name, facts, array("f", [1.0]), None, None, 0.0)])
        except DocumentExistsError:
            raise TakenError("somebody else was first") from None

    def _drop(self, opened: Collection) -> Steps[None]:
        catalog = yield from self._catalog()
        if catalog is None or not (yield from self._remove(catalog, [opened.info.name], None)):
            raise GoneError("somebody else was first")
        host, namespace, _ = opened.engine
        try:
            if self._options.environment is None:
                yield from self._ask(lambda clients: clients.index(host).delete_namespace(name=namespace))
            else:
                yield from self._ask(lambda clients: clients.delete(host, {"deleteAll": True, "namespace": namespace}))
        except GoneError:
            pass  # nothing has been written to it

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        values = _filled([_TINY], opened)
        made = [
            {"id": f"c-{claim}-{part}", "values": values, "metadata": {"claim": claim, "claims": list(map(_key, some))}}
            for part, some in enumerate(documents.pages(ids, _CLAIMED))
        ]
        for some in documents.pages(made, 20):
            yield from self._upsert(opened, some)

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        chosen = {"claims": {"$in": [_key(id_) for id_ in ids]}}
        found = yield from self._query(opened, chosen, self.most_matches)
        return sorted({match.id[2:34] for match in found})

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        yield from self._delete(opened, {"filter": {"claim": {"$eq": claim}}})

    # ------------------------------------------------------------------------------------------------------- documents

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        # Of two upserts the last one wins, whole: there is nothing to claim.
        for some in self._portions(opened, rows):
            yield from self._store(opened, some)
        yield from self._settle(opened)

    def _add(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from super()._add(opened, rows)
        yield from self._settle(opened)

    def _portions(self, opened: Collection, rows: Sequence[DocumentRow]) -> Iterable[Sequence[Any]]:
        """Return records in place of rows, after all of them were made: what is too large is refused before."""
        found: list[list[Any]] = [[]]
        total = 0
        vectors = ranked_vectors(opened.info.distance, [row.embedding for row in rows])
        for row, vector in zip(rows, vectors, strict=True):
            given = vector if any(vector) else array("f", [_TINY])
            facts = {name: value for name, value in documents.document_facts(row, given).items() if value is not None}
            metadata = {"key": _key(row.id), "id": row.id, "content": row.content, **facts, **copies(row.metadata)}
            size = len(dumps(metadata).encode())
            if size > _METADATA:
                raise SerializationError(
                    f"document {row.id!r} has {size} bytes with what filters need of its metadata; Pinecone takes "
                    f"{_METADATA}: split its content, or give it fewer metadata"
                )
            size += 26 * opened.engine.size + 100
            if found[-1] and (total + size > self.most_bytes or len(found[-1]) == self.most_rows):
                found.append([])
                total = 0
            total += size
            found[-1].append({"id": f"d-{metadata['key']}", "values": _filled(given, opened), "metadata": metadata})
        return found

    def _store(self, opened: Collection, rows: Sequence[Any]) -> Steps[None]:
        yield from self._upsert(opened, rows)

    def _upsert(self, opened: Collection, made: Sequence[Any]) -> Steps[None]:
        host, namespace, _ = opened.engine
        answer = yield from self._ask(lambda clients: clients.index(host).upsert(vectors=made, namespace=namespace))
        self._note(opened, answer.response_info.lsn_committed)

    def _delete(self, opened: Collection, what: dict[str, Any]) -> Steps[None]:
        host, namespace, _ = opened.engine
        answer = yield from self._ask(lambda clients: clients.delete(host, {**what, "namespace": namespace}))
        number = answer.headers.get("x-pinecone-request-lsn") or answer.headers.get("x-pinecone-lsn-committed")
        self._note(opened, int(number) if number else None)

    def _note(self, opened: Collection, number: int | None) -> None:
        if number is not None:
            with self._lock:
                self._written[opened.engine] = max(number, self._written.get(opened.engine, 0))

    def _settle(self, opened: Collection) -> Steps[None]:
        """Wait until everybody sees what was written, if that is wanted."""
        if self._options.freshness == "all":
            yield from self._query(opened, None, 1)

    def _query(
        self,
        opened: Collection,
        chosen: dict[str, Any] | None,
        limit: int,
        vector: list[float] | None = None,
        *,
        whole: bool = False,
    ) -> Steps[list[Any]]:
        """Return the nearest records that a filter selects, which have seen what this store has written.

        Args:
            opened: the collection.
            chosen: the filter.
            limit: how many at most.
            vector: which they are near to; None: any.
            whole: with their values and metadata.
        """
        host, namespace, _ = opened.engine
        near = _filled(vector or [1.0], opened)
        end = Pauses(self._options.freshness_timeout)
        while True:
            found = yield from self._ask(
                lambda clients: clients.index(host).query(
                    vector=near,
                    top_k=limit,
                    namespace=namespace,
                    filter=chosen,
                    include_values=whole,
                    include_metadata=whole,
                )
            )
            written = self._written.get(opened.engine)
            if written is None or found.response_info.is_reconciled(written):
                return list(found.matches)
            yield from end.wait(
                ThrottledError(
                    f"what was written is stored, but not visible within {self._options.freshness_timeout:g} seconds; "
                    f"raise freshness_timeout"
                )
            )

    def _page(self, opened: Collection) -> int:
        """How many whole records an answer has room for."""
        return max(1, _ANSWER // (_METADATA + 1_000 + 26 * int(opened.engine.size)))

    def _walk(self, opened: Collection, ids: Sequence[str] | None, expression: dict[str, Any] | None) -> Steps[list[Any]]:
        """Return all documents of a filter, whole."""
        size = self._page(opened)
        if ids is None:
            chosen = _where(None, expression)
            found = yield from self._query(opened, chosen, size, whole=True)
            if len(found) < size:
                return found
            matches = yield from self._query(opened, chosen, self.most_matches)
            if len(matches) == self.most_matches:
                return (yield from self._all(opened, chosen))
            keys = [match.id[2:] for match in matches]
        else:
            keys = [_key(id_) for id_ in ids]
        return (yield from self._read(opened, keys, expression))

    def _read(self, opened: Collection, keys: Sequence[str], expression: dict[str, Any] | None) -> Steps[list[Any]]:
        found: list[Any] = []
        for some in documents.pages(keys, self._page(opened)):
            found += yield from self._query(opened, _where(some, expression), len(some), whole=True)
        return found

    def _all(self, opened: Collection, chosen: dict[str, Any]) -> Steps[list[Any]]:
        """Return more documents than a query does. What was written last may be missing."""
        (host, namespace, _), size, token = opened.engine, self._page(opened), None
        found: list[Any] = []
        while True:
            page = yield from self._ask(
                lambda clients, token=token: clients.index(host).fetch_by_metadata(
                    filter=chosen, namespace=namespace, limit=size, pagination_token=token
                )
            )
            found += page.vectors.values()
            token = page.pagination.next if page.pagination else None
            if not token:
                return found

    def _rank(
        self, opened: Collection, query: array[float], limit: int, expression: dict[str, Any] | None
    ) -> Steps[Sequence[Candidate]]:
        chosen, size = _where(None, expression), self._page(opened)
        near = bounded_query(opened.info.distance, query) if any(query) else [_TINY]
        if limit <= size:
            best = yield from self._query(opened, chosen, limit, near, whole=True)
        elif limit <= self.most_matches:
            keys = [match.id[2:] for match in (yield from self._query(opened, chosen, limit, near))]
            found = {match.id[2:]: match for match in (yield from self._read(opened, keys, expression))}
            best = [found[key] for key in keys if key in found]
        else:
            items = [_candidate(opened, match) for match in (yield from self._walk(opened, None, expression))]
            return ranked(opened.info.distance, query, items, ranked_vectors(
                opened.info.distance, [item.embedding for item in items]
            ) if items else [])[:limit]
        return [_candidate(opened, match) for match in best]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        return [_candidate(opened, match) for match in (yield from self._walk(opened, ids, None))]

    def _scan(
        self, opened: Collection, ids: Sequence[str] | None, expression: dict[str, Any] | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        found = yield from self._walk(opened, ids, expression)
        return [(match.metadata["id"], match.metadata.get("metadata")) for match in found]

    def _count(self, opened: Collection, expression: dict[str, Any] | None) -> Steps[int]:
        chosen = _where(None, expression)
        found = len((yield from self._query(opened, chosen, self.most_matches)))
        return found if found < self.most_matches else len((yield from self._all(opened, chosen)))

    def _remove(
        self, opened: Collection, ids: Sequence[str] | None, expression: dict[str, Any] | None
    ) -> Steps[int]:
        chosen, gone = _where(None if ids is None else [_key(id_) for id_ in ids], expression), 0
        while True:
            matches = yield from self._query(opened, chosen, self.most_matches)
            for some in documents.pages(matches, self.most_rows):
                yield from self._delete(opened, {"ids": [match.id for match in some]})
            gone += len(matches)
            if len(matches) < self.most_matches:
                break
        if gone:
            yield from self._settle(opened)
        return gone


def _key(id: str) -> str:  # noqa: A002
    """Return what stands for an id, which may be any text: Pinecone's are ASCII."""
    return blake2b(id.encode(), digest_size=16).hexdigest()


def _where(keys: Sequence[str] | None, expression: dict[str, Any] | None) -> dict[str, Any]:
    chosen = {"key": {"$exists": True}} if keys is None else {"key": {"$in": list(keys)}}
    return chosen if expression is None else {"$and": [chosen, expression]}


def _filled(vector: Sequence[float], opened: Collection) -> list[float]:
    """Return a vector with zeros up to the dimension of the index, which change no rank."""
    return [*vector, *[0.0] * (opened.engine.size - len(vector))]


def _candidate(opened: Collection, match: Any) -> Candidate:
    found = match.metadata
    return documents.document_candidate(
        found["id"], found["content"], found, lambda: array("f", match.values[: opened.info.dimension])
    )
