"""Knowledge in Couchbase: documents under keys, and a search index for each collection."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from contextlib import suppress
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.drivers import Pauses, ThrottledError
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConnectionFailedError,
    PersistenceError,
)
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.projection import (
    bounded_query,
    project_rows,
    ranked_candidates,
)
from praisonai_persistence.stores.ranking import Candidate, selected
from praisonai_persistence.stores.selecting import Selecting, Selection
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence.stores.versioned import Entry, VersionedSteps
from praisonai_persistence.vectors import unpack
from praisonai_persistence_couchbase._driver import Each, UnseenError
from praisonai_persistence_couchbase._filters import QueryCompiler
from praisonai_persistence_couchbase._indexes import definition

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_couchbase._driver import CouchbaseOptions

__all__ = ["CouchbaseSteps"]

_MOST_DIMENSION = 4_096
_MOST_DOCUMENT = 20 * 1024 * 1024  # bytes of JSON
_SMALL = 200_000  # characters of text and metadata that always fit: with tokens, one is 40 bytes of JSON at the most
_MATCHES = 10_000  # hits of one query
_ALL: dict[str, Any] = {"match_all": {}}
_ABSENT, _CHANGED, _EXISTS = "DocumentNotFoundException", "CasMismatchException", "DocumentExistsException"
_REMOVED = {_ABSENT: None, _CHANGED: False}


T = TypeVar("T")
_Selection = Selection[dict[str, Any]]


class CouchbaseSteps(VersionedSteps[Collection, _Selection]):
    """Knowledge in Couchbase.

    The Search service says which documents are near, or have what a filter asks for. What is returned, or removed, is
    read by key, as it is now, and checked again. One document, the catalog, knows the collections.

    A query of the index can wait for writes. So each query waits for those of this store, or each write waits until the
    index has it, and then all stores see it.

    Args:
        options: of the store.
    """

    most_ids = 500
    most_bytes = 4_000_000
    most_rows = 500

    def __init__(self, options: CouchbaseOptions) -> None:
        super().__init__(Selecting(QueryCompiler(), checked=True))
        self._options = options
        self._written: dict[str, dict[int, Any]] = {}
        self._lock = threading.Lock()

    # ----------------------------------------------------------------------------------------------------- collections

    def _catalog(self) -> Steps[tuple[dict[str, Any], int | None]]:
        """Return the catalog, and the version of its document; None: there is none.

        It has the ``collections``, facts by name; and ``dropped``, by place the names of those that may have left some.
        """
        key = f"{self._options.table_prefix}collections"
        found = (yield Each("get", {key: None}, expected=(_ABSENT,)))[key]
        if isinstance(found, Exception):
            return {"collections": {}, "dropped": {}}, None
        return {"dropped": {}, **found.content_as[dict]}, found.cas

    def _change(self, change: Callable[[dict[str, Any]], None]) -> Steps[None]:
        """Change the catalog."""
        key, pauses = f"{self._options.table_prefix}collections", Pauses(self._options.timeout, 0.02)
        while True:
            catalog, version = yield from self._catalog()
            change(catalog)
            value = {key: catalog}
            try:
                yield Each("insert", value) if version is None else Each("replace", value, {key: version})
                return
            except TakenError:
                yield from pauses.wait(ThrottledError("too many others make and delete collections: try again later"))

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted((yield from self._catalog())[0]["collections"])

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        facts = (yield from self._catalog())[0]["collections"].get(name)
        return None if facts is None else Collection(documents.collection_info(name, facts), facts["place"])

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        documents.check_dimension("Couchbase", info, _MOST_DIMENSION)
        place = f"c{uuid.uuid4().hex}"
        facts = {**documents.collection_facts(info, metadata), "place": place}

        def add(catalog: dict[str, Any]) -> None:
            there = catalog["collections"].setdefault(info.name, facts)
            if there["place"] != place:  # else this very change was done, and then sent again
                raise TakenError("somebody else was first")

        try:
            yield from self._make_index(place, info)
        except Exception:
            with suppress(PersistenceError):
                yield from self._drop_index(place)
            raise
        try:
            yield from self._change(add)
        except TakenError:  # after another error the collection may be there
            yield from self._drop_index(place)
            raise
        with suppress(PersistenceError):  # the next one ends it
            yield from self._end_drops(info.name)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        """Also end what a deletion of before has left, when it failed."""
        try:
            yield from super().delete_collection(name)
        except CollectionNotFoundError:
            if not (yield from self._end_drops(name)):
                raise

    def _drop(self, opened: Collection) -> Steps[None]:
        name, tried = opened.info.name, False

        def remove(catalog: dict[str, Any]) -> None:
            nonlocal tried
            if catalog["collections"].get(name, {}).get("place") == opened.engine:
                del catalog["collections"][name]
                catalog["dropped"][opened.engine] = name
            elif not tried:  # else this very change may have been done, and then sent again
                raise GoneError("somebody else was first")
            tried = True

        yield from self._change(remove)
        yield from self._end_drops(name)

    def _end_drops(self, name: str) -> Steps[bool]:
        """Remove what deletions of a collection have left; return whether there was something."""
        dropped = (yield from self._catalog())[0]["dropped"]
        places = [place for place, whose in dropped.items() if whose == name]
        for place in places:
            yield from self._end_drop(place)
        return bool(places)

    def _end_drop(self, place: str) -> Steps[None]:
        """Remove the documents of a collection that is in the catalog no more, which its index knows, and the index."""
        with suppress(GoneError):  # else somebody else has done it
            keys = yield from self._keys(place, _ALL)
            for some in documents.pages(keys, self.most_rows):
                yield Each("remove", dict.fromkeys(some), expected=(_ABSENT,))
        self._written.pop(place, None)
        yield from self._drop_index(place)
        yield from self._change(lambda catalog: catalog["dropped"].pop(place, None))

    # --------------------------------------------------------------------------------------------------------- indexes

    def _index(self, place: str) -> str:
        return f"{self._options.index_name}-{place}"

    def _make_index(self, place: str, info: CollectionInfo) -> Steps[None]:
        index = definition(self._options, self._index(place), place, info)
        yield from self._wait_for(lambda client: client.scope.search_indexes().upsert_index(index))
        pauses = Pauses(self._options.index_timeout, 0.05)
        while True:
            try:
                yield from self._ask(place, _ALL, 0, patience=0)
                return
            except (GoneError, ThrottledError):
                yield from pauses.wait(
                    ThrottledError("the index is not ready: try again later, or raise index_timeout")
                )

    def _drop_index(self, place: str) -> Steps[None]:
        name = self._index(place)
        with suppress(GoneError):
            yield from self._wait_for(lambda client: client.scope.search_indexes().drop_index(name))

    def _wait_for(self, request: Callable[[Any], Any], patience: float | None = None) -> Steps[Any]:
        """Make a request to the Search service, again while it is too busy.

        Args:
            request: given a client.
            patience: seconds for which it may be busy; None: ``timeout``.
        """
        return Pauses(self._options.timeout if patience is None else patience).ask(request)

    def _ask(
        self, place: str, query: dict[str, Any], size: int, *, patience: float | None = None, **raw: Any
    ) -> Steps[tuple[list[str], int]]:
        """Return ids of hits, and how many there are, when the index has what this store wrote."""
        from couchbase import search
        from couchbase.mutation_state import MutationState
        from couchbase.options import SearchOptions

        with self._lock:
            tokens = list(self._written.get(place, {}).values())
        state = MutationState()
        for token in tokens:
            state.add_mutation_token(token)
        options = SearchOptions(
            limit=size,
            timeout=timedelta(seconds=self._options.freshness_timeout if tokens else self._options.timeout),
            disable_scoring="knn" not in raw,
            raw=raw,
            **({"consistent_with": state} if tokens else {}),
        )
        asked = search.SearchRequest.create(search.RawQuery(query))
        # By its whole name: a search of a scope warns about an option of its own.
        name = f"{self._options.bucket_name}.{self._options.scope_name}.{self._index(place)}"
        try:
            ids, count, whole = yield from self._wait_for(
                lambda client: _hits(client.cluster.search(name, asked, options)), patience
            )
            if not whole:  # a node is away, which takes longer than a store should wait
                raise ThrottledError("a part of the index does not answer: try again later")
        except GoneError:
            raise
        except ConnectionFailedError as error:
            if not tokens:
                raise
            further = "and the next queries wait until its index shows it"
            if isinstance(error, UnseenError):  # no index may ever have them, as after a failover
                self._forget(place, tokens)
                further = "but its index does not show it, and queries wait for it no longer; see freshness_timeout"
            raise type(error)(f"{error}. What was written is stored, {further}") from error.__cause__
        self._forget(place, tokens)  # the index has these now, for good
        return ids, count

    def _forget(self, place: str, tokens: Sequence[Any]) -> None:
        """Wait for these writes no longer."""
        with self._lock:
            written = self._written.get(place, {})
            for part, token in [(token.partition_id, token) for token in tokens]:
                if written.get(part) is token:
                    del written[part]

    def _keys(self, place: str, query: dict[str, Any]) -> Steps[list[str]]:
        """Return the keys of all that a query selects."""
        keys: list[str] = []
        after: dict[str, Any] = {}
        while True:
            found, _ = yield from self._ask(place, query, _MATCHES, sort=["_id"], **after)
            keys += found
            if len(found) < _MATCHES:
                return keys
            after = {"search_after": [found[-1]]}

    # ---------------------------------------------------------------------------------------------------------- writes

    def _key(self, opened: Collection, id: str) -> str:  # noqa: A002
        return f"{self._options.table_prefix}{opened.engine}-{blake2b(id.encode(), digest_size=16).hexdigest()}"

    def _portions(self, opened: Collection, rows: Sequence[DocumentRow]) -> list[list[Any]]:
        """Return keys and documents, as many together as go into one request; what is too large is refused before."""
        return [list(self._documents(opened, some)) for some in super()._portions(opened, rows)]

    def _documents(self, opened: Collection, rows: Sequence[DocumentRow]) -> Iterator[tuple[str, dict[str, Any]]]:
        for row, vector, projection in project_rows(opened.info.distance, rows):
            document = {
                "id": row.id,
                "place": opened.engine,
                "tokens": projection.tokens,
                "numbers": projection.numbers,
                "facts": documents.document_facts(row, vector),
                self._options.text_field: row.content,
                self._options.vector_field: base64.b64encode(documents.vector_bytes(vector)).decode("ascii"),
            }
            if len(row.content) + len(row.metadata or "") > _SMALL:
                size = len(json.dumps(document, ensure_ascii=False).encode())
                documents.check_size("Couchbase", row.id, size, _MOST_DOCUMENT)
            yield self._key(opened, row.id), document

    def _note(self, opened: Collection, answers: Mapping[str, Any]) -> None:
        """Remember writes: the last one of each part of the bucket."""
        tokens: list[Any] = [one.mutation_token() for one in answers.values() if not isinstance(one, Exception)]
        with self._lock:
            written = self._written.setdefault(opened.engine, {})
            for token in filter(None, tokens):
                known = written.get(token.partition_id)
                if known is None or known.sequence_number < token.sequence_number:
                    written[token.partition_id] = token

    def _settle(self, opened: Collection) -> Steps[None]:
        if self._options.freshness == "all" and self._written.get(opened.engine):
            yield from self._ask(opened.engine, _ALL, 0)

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        for some in self._portions(opened, rows):
            self._note(opened, (yield Each("upsert", dict(some))))
        yield from self._settle(opened)

    def _add(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from super()._add(opened, rows)
        yield from self._settle(opened)

    def _insert(self, opened: Collection, rows: Sequence[Any]) -> Steps[list[tuple[str, int]]]:
        made = dict(rows)
        found = yield Each("insert", made, expected=(_EXISTS,))
        self._note(opened, found)
        return [(made[key]["id"], one.cas) for key, one in found.items() if not isinstance(one, Exception)]

    def _unstore(self, opened: Collection, written: Sequence[tuple[str, int]]) -> Steps[list[bool | None]]:
        done: list[bool | None] = []
        for some in documents.pages(written, self.most_rows):
            versions = {self._key(opened, name): version for name, version in some}
            found = yield Each("remove", dict.fromkeys(versions), versions, expected=(_ABSENT, _CHANGED))
            self._note(opened, found)
            done += [_REMOVED.get(type(found[key]).__name__, True) for key in versions]
        return done

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: _Selection | None) -> Steps[int]:
        gone = yield from super()._remove(opened, ids, expression)
        yield from self._settle(opened)
        return gone

    # ----------------------------------------------------------------------------------------------------------- reads

    def _places(self, opened: Collection, ids: Sequence[str] | None, expression: _Selection | None) -> Steps[list[str]]:
        """Return the keys of these ids (None: of all that an expression selects, and maybe of more)."""
        if ids is not None:
            return [self._key(opened, one) for one in ids]
        return (yield from self._keys(opened.engine, _query(expression)))

    def _entries(
        self, opened: Collection, ids: Sequence[str] | None, expression: _Selection | None
    ) -> Steps[list[Entry]]:
        keys = yield from self._places(opened, ids, expression)
        return (yield from self._read(keys, expression, lambda one, cas: Entry(one.id, one.metadata, cas)))

    def _read(
        self, keys: Sequence[str], expression: _Selection | None, make: Callable[[Candidate, int], T]
    ) -> Steps[list[T]]:
        """Return what is made of documents and versions as they are now, in the order of the keys, if a filter fits."""
        kept: list[T] = []
        for some in documents.pages(keys, self.most_ids):
            found = yield Each("get", dict.fromkeys(some), expected=(_ABSENT,))
            for answer in [one for one in found.values() if not isinstance(one, Exception)]:
                candidate = self._candidate(answer.content_as[dict])
                if expression is None or selected(expression.filters, candidate.metadata):
                    kept.append(make(candidate, answer.cas))
        return kept

    def _candidate(self, stored: dict[str, Any]) -> Candidate:
        vector, content = (stored[name] for name in (self._options.vector_field, self._options.text_field))
        return documents.document_candidate(
            stored["id"], content, stored["facts"], lambda: unpack(base64.b64decode(vector))
        )

    def _whole(self, keys: Sequence[str], expression: _Selection | None) -> Steps[list[Candidate]]:
        return (yield from self._read(keys, expression, lambda one, _: one))

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: _Selection | None) -> Ranked:
        near = {"field": self._options.vector_field, "vector": bounded_query(opened.info.distance, query)}
        if expression is not None and expression.expression is not None:
            near["filter"] = expression.expression
        asked = limit
        keys: list[str] = []
        kept: list[Candidate] = []
        while asked <= _MATCHES:
            best = [{**near, "k": asked}]
            keys, _ = yield from self._ask(opened.engine, {"match_none": {}}, asked, knn=best)
            kept = yield from self._whole(keys, expression)
            if len(kept) >= limit:
                return kept[:limit]
            if len(keys) < asked:
                break
            asked *= 4
        # The index has looked into some clusters of vectors only, so there may be more.
        every = yield from self._keys(opened.engine, _query(expression))
        if set(every) <= set(keys):
            return kept
        return ranked_candidates(opened.info.distance, query, (yield from self._whole(every, expression)))[:limit]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        return (yield from self._whole([self._key(opened, one) for one in ids], None))

    def _count(self, opened: Collection, expression: _Selection | None) -> Steps[int]:
        if expression is None or expression.exact:
            _, count = yield from self._ask(opened.engine, _query(expression), 0)
            return count
        return len((yield from self._entries(opened, None, expression)))


def _query(expression: _Selection | None) -> dict[str, Any]:
    return _ALL if expression is None or expression.expression is None else expression.expression


def _hits(result: Any) -> tuple[list[str], int, bool]:
    """Return the ids of the hits of a search, how many it has in all, and whether all of the index has answered."""
    ids = [row.id for row in result.rows()]
    metrics = result.metadata().metrics()
    return ids, int(metrics.total_rows() or 0), not metrics.error_partition_count()
