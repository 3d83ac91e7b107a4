"""Knowledge in Upstash Vector: a namespace for each collection, and one that says which there are."""

from __future__ import annotations

import json
import sys
import threading
import uuid
from array import array
from contextlib import suppress
from itertools import islice
from operator import methodcaller
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Pauses
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.fields import copies
from praisonai_persistence.stores.namespaced import NamespacedSteps, Record, filled, record_key
from praisonai_persistence.stores.projection import ranked, ranked_vector
from praisonai_persistence.stores.vector_engine import Collection, GoneError
from praisonai_persistence_upstash._vector_filters import Chosen, FilterCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence_upstash._options import UpstashVectorOptions

    _Take = Callable[[list[Record]], Any]

__all__ = ["UpstashVectorSteps"]

_INDEXED = {"COSINE": {"cosine"}, "DOT_PRODUCT": {"cosine"}, "EUCLIDEAN": {"cosine", "euclidean"}}
"""Which distances an index of a similarity function ranks; its dot product is one of unit vectors only."""
_MOST_NEAR = 1_000  # records of one query, and of one page of a range
_MOST_FILTER = 8_000  # characters; the documentation has no limit
_MOST_METADATA, _MOST_DATA = 48_000, 1_000_000
_ANSWER = 8_000_000  # bytes of one answer; the documentation has no limit
_MOST_UNSEEN = 10_000


class _Place(NamedTuple):
    """Where a collection is: a namespace, how many numbers a vector has there, and the index's function."""

    namespace: str
    size: int
    function: str


class UpstashVectorSteps(NamespacedSteps[Chosen]):
    """Knowledge in Upstash Vector.

    Fetches and ranges see each write at once, and are exact. Queries are neither: they find a write some time later,
    and fewer records than a filter selects. So queries only say which documents may be near. These are fetched, checked
    and ranked here; and where they are fewer than was asked for, the whole namespace is read instead.

    Args:
        options: of the store.
    """

    spare = 2  # an answer has some 20 bytes for each number of a vector
    most_bytes = 4_000_000
    most_matches = sys.maxsize
    most_metadata = _MOST_METADATA

    def __init__(self, options: UpstashVectorOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._space = f"{options.namespace}{options.table_prefix}"
        self._catalog_place = _Place(f"{self._space}collections", 0, "")
        self._unseen: dict[str, dict[str, tuple[str, list[float]]]] = {}  # by namespace and id: the writer, the vector
        self._lock = threading.Lock()

    def look(self) -> Steps[None]:
        """Ask the service for the first time."""
        yield from self._index()

    # ----------------------------------------------------------------------------------------------------- collections

    def _index(self) -> Steps[Any]:
        """Return what the service says of the index, which is one of dense vectors."""
        found = yield from self._ask(lambda client: client.info())
        if found.sparse_index is not None or not found.dimension:
            raise ConfigurationError("the index is sparse or hybrid: give the URL of one with dense vectors only")
        return found

    def _catalog(self) -> Steps[Collection | None]:
        if not self._catalog_place.size:
            index = yield from self._index()
            self._catalog_place = _Place(self._catalog_place.namespace, int(index.dimension), "")
        return Collection(CollectionInfo("", 1, "dot", None), self._catalog_place)

    def _new_place(self, info: CollectionInfo) -> Steps[list[Any]]:
        index = yield from self._index()
        instead = "make an index of that dimension in the console, and give its URL"
        documents.check_dimension("the index", info, int(index.dimension), instead)
        namespace = f"{self._space}c-{uuid.uuid4().hex}"
        return [namespace, int(index.dimension), str(index.similarity_function)]

    def _open_place(self, info: CollectionInfo, place: list[Any]) -> Collection:
        return Collection(info, _Place(*place))

    def _drop_place(self, opened: Collection) -> Steps[None]:
        self._unseen.pop(_namespace(opened), None)
        for name in (_namespace(opened), _namespace(opened, claims=True)):
            with suppress(GoneError):  # nothing has been written to it
                yield from self._ask(methodcaller("delete_namespace", name))

    # ---------------------------------------------------------------------------------------------------------- writes

    def _made(self, opened: Collection, row: DocumentRow, vector: array[float]) -> tuple[Record, int]:
        # What the index cannot rank has no direction there, and its embedding among its data.
        stands = not _indexed(opened) or (opened.info.distance == "cosine" and not any(row.embedding))
        vector = array("f", [1.0]) if stands else vector
        facts = {**documents.document_facts(row, vector), "stands": stands or None}
        kept = {name: value for name, value in facts.items() if value is not None}
        data = json.dumps({"id": row.id, "content": row.content, **kept}, ensure_ascii=False)
        length = len(data.encode())
        documents.check_size("the service", row.id, length, _MOST_DATA)
        own = {"key": record_key(row.id), "writer": uuid.uuid4().hex}
        metadata: dict[str, Any] = {**own, **copies(row.metadata)}
        if (size := len(json.dumps(metadata))) > _MOST_METADATA:
            metadata = {**own, "loose": "yes"}
        record = Record(f"d-{own['key']}", vector.tolist(), {**metadata, "data": data})
        return record, size + length + 26 * len(vector) + 100

    def _upsert(self, opened: Collection, records: Sequence[Record]) -> Steps[None]:
        made = []
        for record in records:
            metadata = dict(record.metadata)
            data = metadata.pop("data", None)
            vector = filled([1.0] if data is None else record.vector, opened.engine.size)  # a claim has none
            made.append({"id": record.id, "vector": vector, "metadata": metadata, "data": data})
        name = _namespace(opened, claims=records[0].id.startswith("c-"))
        yield from self._ask(lambda client: client.upsert(made, namespace=name))
        if made[0]["data"] is not None and _indexed(opened):
            written = {one["id"]: (one["metadata"]["writer"], one["vector"]) for one in made}
            with self._lock:
                self._unseen.setdefault(name, {}).update(written)

    def _delete(self, opened: Collection, ids: Sequence[str]) -> Steps[None]:
        name = _namespace(opened, claims=ids[0].startswith("c-"))
        yield from self._ask(lambda client: client.delete(list(ids), namespace=name))
        self._forget(name, dict.fromkeys(ids))

    def _forget(self, name: str, seen: Mapping[str, str | None]) -> None:
        """Forget what has been written, by ids and writers (None: any)."""
        with self._lock:
            left = self._unseen.get(name, {})
            for key, writer in seen.items():
                if key in left and writer in {None, left[key][0]}:
                    del left[key]

    def _settle(self, opened: Collection) -> Steps[None]:
        if self._options.freshness == "all" or len(self._unseen.get(_namespace(opened), ())) > _MOST_UNSEEN:
            yield from self._see(opened)

    def _see(self, opened: Collection) -> Steps[None]:
        """Wait until queries find all that this store has written."""
        name, end = _namespace(opened), Pauses(self._options.freshness_timeout, 0.05)
        while True:
            with self._lock:
                some = dict(islice(self._unseen.get(name, {}).items(), 100))
            if not some:
                return
            key, (writer, near) = next(iter(some.items()))
            text = self._filters.one_of("writer", [one for one, _ in some.values()]).text
            asked = {"top_k": len(some), "filter": text, "include_metadata": True, "namespace": name}
            found = yield from self._ask(methodcaller("query", near, **asked))
            seen = {match.id: match.metadata["writer"] for match in found}
            missing = seen.get(key) != writer
            if missing:
                now = yield from self._fetched(opened, [key])
                if not now or now[0].metadata["writer"] != writer:  # another store was here since
                    seen[key], missing = writer, False
            self._forget(name, seen)
            if missing:
                yield from end.wait(self._options.unseen())

    # ----------------------------------------------------------------------------------------------------------- reads

    def _best(self, opened: Collection, query: array[float], limit: int, chosen: Chosen) -> Steps[list[Record]]:
        cosine = opened.info.distance == "cosine"
        if chosen.keys is None and limit <= _MOST_NEAR and _indexed(opened) and (any(query) or not cosine):
            found = yield from self._near(opened, query, limit, chosen)
            # Embeddings of zeros have the score 0, of which the service does not know.
            if len(found) == limit and not (cosine and _product(_ranks(opened, found[-1]), query) <= 0):
                return found
        best: list[Record] = []

        def take(records: list[Record]) -> None:
            best[:] = _sorted(opened, query, [*best, *records])[:limit]

        yield from self._scanned(opened, chosen, take, whole=True)
        return best

    def _near(self, opened: Collection, query: array[float], limit: int, chosen: Chosen) -> Steps[list[Record]]:
        """Return the nearest of the records that the service finds; they may be fewer."""
        yield from self._see(opened)
        text = chosen.text if len(chosen.text) <= _MOST_FILTER else ""
        asked = limit if chosen.exact and text == chosen.text else min(_MOST_NEAR, 4 * limit)
        near = filled(query, opened.engine.size)
        found = yield from self._ask(
            lambda client: client.query(near, top_k=asked, filter=text, namespace=_namespace(opened))
        )
        kept: list[Record] = []
        if len(found) >= limit:  # else all are read anyway
            yield from self._handed(opened, chosen, [match.id for match in found], kept.extend, whole=True)
        return _sorted(opened, query, kept)[:limit]

    def _query(
        self,
        opened: Collection,
        chosen: Chosen,
        limit: int,
        vector: list[float] | None = None,
        *,
        whole: bool = False,
    ) -> Steps[list[Record]]:
        found: list[Record] = []
        yield from self._scanned(opened, chosen, found.extend, whole=whole)
        return found[:limit]

    def _all(self, opened: Collection, chosen: Chosen) -> Steps[list[Record]]:
        return self._query(opened, chosen, self.most_matches, whole=True)

    _walk = _all

    def _scanned(self, opened: Collection, chosen: Chosen, take: _Take, *, whole: bool) -> Steps[None]:
        """Read all records that are selected, and hand them over page by page."""
        if chosen.keys is not None:
            yield from self._handed(opened, chosen, [f"d-{key}" for key in chosen.keys], take, whole=whole)
            return
        name, cursor = _namespace(opened, claims=chosen.claims), "0"
        at_once = whole and not chosen.text  # where not all are selected, they are fetched afterwards
        limit, vectors = self._whole(opened) if at_once else _MOST_NEAR, at_once and _indexed(opened)
        asked = {"include_metadata": True, "include_data": at_once, "namespace": name}
        while cursor:
            page = yield from self._ask(methodcaller("range", cursor, limit, vectors, **asked))
            cursor = page.next_cursor
            records = [record for record in map(_record, page.vectors) if chosen.test(record.metadata)]
            if at_once or not whole:
                take(records)
            else:
                yield from self._handed(opened, chosen, [record.id for record in records], take, whole=True)

    def _handed(
        self, opened: Collection, chosen: Chosen, ids: Sequence[str], take: _Take, *, whole: bool
    ) -> Steps[None]:
        """Fetch records by id, and hand over those that are selected."""
        for some in documents.pages(ids, self._whole(opened) if whole else _MOST_NEAR):
            found = yield from self._fetched(opened, some, whole=whole)
            take([record for record in found if chosen.test(record.metadata)])

    def _fetched(self, opened: Collection, ids: Sequence[str], *, whole: bool = False) -> Steps[list[Record]]:
        name, vectors = _namespace(opened), whole and _indexed(opened)
        found = yield from self._ask(
            lambda client: client.fetch(list(ids), vectors, include_metadata=True, include_data=whole, namespace=name)
        )
        return [_record(one) for one in found if one is not None]

    def _whole(self, opened: Collection) -> int:
        return max(1, min(_MOST_NEAR, _ANSWER // (4_000 + 22 * int(opened.engine.size))))


def _namespace(opened: Collection, *, claims: bool = False) -> str:
    """Return a collection's namespace, or that of its claims, which queries shall not meet."""
    return f"{opened.engine.namespace}-claims" if claims else str(opened.engine.namespace)


def _indexed(opened: Collection) -> bool:
    """Whether the index ranks by the collection's distance."""
    return opened.info.distance in _INDEXED.get(opened.engine.function, ())


def _record(found: Any) -> Record:
    """Return a record of the client's, with what its data hold among its metadata."""
    facts = json.loads(found.data) if found.data else {}
    return Record(found.id, found.vector or (), {**(found.metadata or {}), **facts})


def _ranks(opened: Collection, record: Record) -> array[float]:
    """Return what a record is ranked by."""
    if "stands" in record.metadata:
        found = documents.document_candidate(record.id, "", record.metadata, lambda: array("f"))
        return ranked_vector(opened.info.distance, found.embedding or array("f"))
    return array("f", record.vector[: opened.info.dimension])


def _sorted(opened: Collection, query: array[float], records: Sequence[Record]) -> list[Record]:
    return ranked(opened.info.distance, query, records, [_ranks(opened, record) for record in records])


def _product(one: Iterable[float], other: Iterable[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=False))
