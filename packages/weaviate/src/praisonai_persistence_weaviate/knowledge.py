"""Knowledge in Weaviate: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import BackendError, SchemaError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import (
    bounded_query,
    product_distance,
    project_rows,
    rank_all,
)
from praisonai_persistence.stores.vector_documents import (
    batches,
    collection_facts,
    collection_info,
    derived_uuids,
    document_candidate,
    encoded_facts,
    pages,
)
from praisonai_persistence.stores.vector_engine import Collection, GoneError
from praisonai_persistence_weaviate._filters import FilterCompiler, filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate

__all__ = ["WeaviateSteps"]

_ANY = "document"  # stands in the mark of every document, and of no claim
_FACTS = "facts"  # the property that holds what has to come back of a document
_RESULT = ["key", "content", _FACTS]
_PAGE = 1_000
_MOST = 10_000  # objects in one answer, unless a server is told otherwise
_REQUEST = 16 * 1024 * 1024  # bytes of documents in one request; a server takes 100 MB
_object = derived_uuids(uuid.UUID("0c9a3d66-0c55-5f0e-8a5b-7f7e5b0d9b42"))  # the document's id stands in the object


class _Place(NamedTuple):
    """Weaviate's name of a collection, and the property that tells it from another one of its name."""

    name: str
    mark: str


class WeaviateSteps(ClaimedSteps[Collection, Any]):
    """Knowledge in Weaviate.

    Claims stand beside the documents, without a vector and without tokens.

    Args:
        prefix: the ``table_prefix``.
        consistency: how many replicas take part in each request.
        replicas: of new collections.
        timeout: seconds that one request may take.
    """

    spare = 2  # a server takes 0.2 to 0.4 ms to return a vector

    def __init__(self, prefix: str, consistency: str, replicas: int, timeout: float) -> None:
        super().__init__(FilterCompiler(), timeout)
        self._prefix = f"P{_encoded(prefix)}_0"
        self._consistency = consistency
        self._replicas = replicas
        self._opened: dict[str, Collection] = {}

    # ----------------------------------------------------------------------------------------------------- collections

    def _name(self, name: str) -> str:
        return self._prefix + _encoded(name)

    @reads
    def list_collections(self) -> Steps[list[str]]:
        found = yield lambda client: client.collections.list_all(simple=True)
        own = [config for name, config in found.items() if name.startswith(self._prefix)]
        return sorted(facts["name"] for facts in map(_facts, own) if facts is not None)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        # A collection that is made anew has a property of another name in the place of `mark`, and Weaviate refuses
        # filters by properties that are not there. So what was opened before will do.
        opened = None if fresh else self._opened.get(name)
        if opened is None:
            own = self._name(name)
            config = yield lambda client: client.collections.use(own).config.get(simple=True)
            facts = _facts(config)
            if (
                facts is None
                and "auto-schema" in (config.description or "")
                and _FACTS in [p.name for p in config.properties]
            ):
                # Somebody deleted it while somebody wrote, so that Weaviate made it anew for what came last.
                yield lambda client: client.collections.delete(own)
                return None
            if facts is None:
                raise SchemaError(
                    f"Weaviate's collection {own} was not made by this store: choose another table_prefix; "
                    "'praisonai-persistence doctor --knowledge-url URL' tells what is there"
                )
            opened = self._opened[name] = Collection(collection_info(name, facts), _Place(own, facts["mark"]))
        return opened

    def _on_client(self, client: Any, opened: Collection) -> Any:
        from weaviate.classes.config import ConsistencyLevel

        return client.collections.use(opened.engine.name).with_consistency_level(ConsistencyLevel(self._consistency))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        from weaviate.classes import config

        by_product = product_distance(info.distance) == "dot"
        metric = config.VectorDistances.DOT if by_product else config.VectorDistances.L2_SQUARED
        index = config.Configure.VectorIndex.hnsw(distance_metric=metric)
        field = config.Tokenization.FIELD

        def text(name: str, *, searched: bool, many: bool = False) -> Any:
            kind = config.DataType.TEXT_ARRAY if many else config.DataType.TEXT
            token: dict[str, Any] = {"tokenization": field} if searched else {}
            return config.Property(
                name=name, data_type=kind, index_filterable=searched, index_searchable=False, **token
            )

        mark = f"mark_{uuid.uuid4().hex}"
        yield lambda client: client.collections.create(
            self._name(info.name),
            description=json.dumps({**collection_facts(info, metadata), "mark": mark}),
            vector_config=config.Configure.Vectors.self_provided(vector_index_config=index),
            replication_config=config.Configure.replication(factor=self._replicas),
            properties=[
                text("key", searched=False),
                text("content", searched=False),
                text(_FACTS, searched=False),
                text("at", searched=True),
                text(mark, searched=True),
                text("tokens", searched=True, many=True),
                text("claims", searched=True, many=True),
            ],
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        yield lambda client: client.collections.delete(opened.engine.name)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        # A server would give a new collection the properties that it lacks, so it is looked at.
        if (yield from self._need(opened.info.name, fresh=True)).engine != opened.engine:
            raise GoneError("another collection stands there")
        properties = {"claims": [_object(key) for key in ids]}
        yield lambda client: self._on_client(client, opened).data.insert(properties, uuid=str(uuid.UUID(claim)))

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        found: list[str] = []
        for some in pages(ids, _PAGE):
            chosen = filters().by_property("claims").contains_any([_object(key) for key in some])
            answer = yield lambda client, chosen=chosen: self._on_client(client, opened).query.fetch_objects(
                filters=chosen, limit=_PAGE, return_properties=[]
            )
            found += [item.uuid.hex for item in answer.objects]
        return found

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        yield lambda client: self._on_client(client, opened).data.delete_by_id(str(uuid.UUID(claim)))

    # ------------------------------------------------------------------------------------------------------- documents

    def _taken(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        return [item.properties["key"] for item in (yield from self._walk(opened, ids, None, ["key"]))]

    def _scan(
        self, opened: Collection, ids: Sequence[str] | None, expression: Any | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        found = yield from self._walk(opened, ids, expression, ["key", "facts"])
        return [(item.properties["key"], loads(item.properties["facts"])["metadata"]) for item in found]

    def _walk(
        self,
        opened: Collection,
        ids: Sequence[str] | None,
        expression: Any | None,
        properties: list[str],
        *,
        vectors: bool = False,
        size: int = _PAGE,
    ) -> Steps[list[Any]]:
        """Return all objects of a filter, a page after the other: Weaviate's own cursors take no filters.

        A page may have fewer objects than were asked for, because indexes keep entries of objects that are gone.
        """
        from weaviate.classes.query import Sort

        def page(where: Any, limit: int, order: Any) -> Steps[list[Any]]:
            answer = yield lambda client: self._on_client(client, opened).query.fetch_objects(
                filters=where, sort=order, limit=limit, include_vector=vectors, return_properties=["at", *properties]
            )
            return answer.objects  # type: ignore[no-any-return]

        found: list[Any] = []
        if ids is not None:
            for some in pages(ids, _PAGE):
                found += yield from page(_where(opened, some, expression), _MOST, None)
            return found
        chosen = where = _where(opened, None, expression)
        while objects := (yield from page(where, size, Sort.by_property("at", ascending=True))):
            found += objects
            where = _all(chosen, filters().by_property("at").greater_than(objects[-1].properties["at"]))
        return found

    def _portions(self, opened: Collection, rows: Sequence[DocumentRow]) -> Iterable[Sequence[DocumentRow]]:
        return batches(rows, _REQUEST, opened.info.dimension, _PAGE)

    def _store(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        objects = [_made(opened.engine.mark, *parts) for parts in project_rows(opened.info.distance, rows)]
        answer = yield lambda client: self._on_client(client, opened).data.insert_many(objects)
        if answer.has_errors:
            raise BackendError(f"Weaviate refused {len(answer.errors)} of {len(objects)} documents")

    def _rank(
        self, opened: Collection, query: array[float], limit: int, expression: Any | None
    ) -> Steps[Sequence[Candidate]]:
        # A filter, if only of the token that all have: it is then exact in collections of up to 40,000 documents.
        chosen, asked = _where(opened, None, expression), min(limit, _MOST)
        while True:
            found = yield lambda client, asked=asked: self._on_client(client, opened).query.near_vector(
                bounded_query(opened.info.distance, query),
                limit=asked,
                filters=chosen,
                include_vector=True,
                return_properties=_RESULT,
            )
            best = found.objects
            if len(best) >= limit:
                return [_candidate(item) for item in best[:limit]]
            entries = yield from self._entries(opened, chosen)
            if entries <= max(len(best), asked):
                return [_candidate(item) for item in best]
            # Entries of objects that are gone took their places, or it is more than a server returns at once.
            if asked == _MOST:
                break
            asked = min(entries, _MOST)
        objects = yield from self._walk(opened, None, expression, _RESULT, vectors=True)
        order = rank_all(opened.info.distance, query, [_vector(item) for item in objects]) if objects else []
        return [_candidate(objects[number]) for number in order[:limit]]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        return [_candidate(item) for item in (yield from self._walk(opened, ids, None, _RESULT, vectors=True))]

    def _entries(self, opened: Collection, chosen: Any) -> Steps[int]:
        """Return how many objects a filter selects, or more: Weaviate counts what its indexes hold."""
        found = yield lambda client: self._on_client(client, opened).aggregate.over_all(
            filters=chosen, total_count=True
        )
        return int(found.total_count or 0)

    def _count(self, opened: Collection, expression: Any | None) -> Steps[int]:
        return len((yield from self._walk(opened, None, expression, [], size=_MOST)))

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Steps[int]:
        gone = 0
        for some in [None] if ids is None else pages(ids, _PAGE):
            chosen = _where(opened, some, expression)
            while True:
                answer = yield lambda client, chosen=chosen: self._on_client(client, opened).data.delete_many(chosen)
                if answer.failed:
                    raise BackendError(f"Weaviate did not delete {answer.failed} of {answer.matches} documents")
                gone += answer.successful
                if answer.matches < _PAGE:  # a server deletes so many at a time, 10,000 unless told otherwise
                    break
        return gone


def _facts(config: Any) -> dict[str, Any] | None:
    """Return what a collection was created with; None: somebody else made it."""
    try:
        facts = loads(config.description or "")
        return facts if {"name", "dimension", "distance", "metadata", "mark"} <= facts.keys() else None
    except (ValueError, AttributeError):
        return None


def _encoded(name: str) -> str:
    """Return a name that stays what it is where the case of letters is lost, as in Weaviate's folders."""
    return "".join(
        "__" if char == "_" else "_1" if char == "-" else f"_{char.lower()}" if char.isupper() else char
        for char in name
    )


def _all(*parts: Any) -> Any:
    return filters().all_of(list(parts))


def _where(opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Any:
    parts = [filters().by_property(opened.engine.mark).equal(_ANY)]
    if ids is not None:
        parts = [filters().by_id().contains_any([_object(key) for key in ids]), *parts]
    if expression is not None:
        parts.append(expression)
    return parts[0] if len(parts) == 1 else _all(*parts)


def _made(mark: str, row: DocumentRow, vector: array[float], projection: Any) -> Any:
    from weaviate.classes.data import DataObject

    values, items, keys, _ = projection
    key = _object(row.id)
    properties = {
        "key": row.id,
        "content": row.content,
        _FACTS: encoded_facts(row, vector),
        "at": key,
        "tokens": [*values, *items, *keys],
        mark: _ANY,
    }
    return DataObject(properties=properties, uuid=key, vector=vector.tolist())


def _vector(item: Any) -> array[float]:
    return array("f", item.vector["default"])


def _candidate(item: Any) -> Candidate:
    found = item.properties
    return document_candidate(found["key"], found["content"], loads(found["facts"]), lambda: _vector(item))
