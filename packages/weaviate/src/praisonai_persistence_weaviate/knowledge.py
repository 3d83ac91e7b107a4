"""Knowledge in Weaviate: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from array import array
from functools import cache
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import BackendError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import (
    TokenCompiler,
    bounded_query,
    product_distance,
    project_rows,
    rank_all,
)
from praisonai_persistence.stores.vector_documents import (
    batches,
    collection_facts,
    collection_info,
    document_candidate,
    document_facts,
    pages,
)
from praisonai_persistence.stores.vector_engine import Collection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate

__all__ = ["WeaviateSteps"]

_ANY = "any"  # a token of every document
_RESULT = ["key", "content", "facts"]
_PAGE = 1_000
_MOST = 10_000  # objects in one answer, unless a server is told otherwise
_REQUEST = 16 * 1024 * 1024  # bytes of documents in one request; a server takes 100 MB
_WORKSPACE = uuid.UUID("0c9a3d66-0c55-5f0e-8a5b-7f7e5b0d9b42")


def _object(key: str) -> str:
    """Return the id of a document's object: a UUID, cut from SHA-1; the document's own id stands in the object."""
    return str(uuid.uuid5(_WORKSPACE, key))


@cache
def _filter() -> Any:
    from weaviate.classes.query import Filter

    return Filter


class FilterCompiler(TokenCompiler[Any]):
    """To Weaviate's filters."""

    most_parts = 1_000

    def has(self, tokens: Sequence[str]) -> Any:
        return _filter().by_property("tokens").contains_any(list(tokens))

    def bound(self, name: str, number: float, *, upper: bool) -> Any:
        return self.has_key(name)  # a server need not take properties that it was not told of: checked afterwards

    def all_of(self, parts: Sequence[Any]) -> Any:
        return _filter().all_of(list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        return _filter().any_of(list(parts))

    def negate(self, part: Any) -> Any:
        return _filter().not_(part)

    def nothing(self) -> Any:
        return self.has(["none"])


class WeaviateSteps(ClaimedSteps[Collection, Any]):
    """Knowledge in Weaviate.

    Claims stand beside the documents, without a vector and without tokens.

    Args:
        prefix: the ``table_prefix``.
        consistency: how many replicas take part in each request.
        replicas: of new collections.
    """

    def __init__(self, prefix: str, consistency: str, replicas: int) -> None:
        super().__init__(FilterCompiler())
        self._prefix = f"P{_encoded(prefix)}_0"
        self._consistency = consistency
        self._replicas = replicas

    # ----------------------------------------------------------------------------------------------------- collections

    def _name(self, name: str) -> str:
        return self._prefix + _encoded(name)

    @reads
    def list_collections(self) -> Steps[list[str]]:
        found = yield lambda client: client.collections.list_all(simple=True)
        own = [config for name, config in found.items() if name.startswith(self._prefix)]
        return sorted(loads(config.description)["name"] for config in own)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        # Always asked for: Weaviate would work on a new collection of the same name without a word.
        from weaviate.classes.config import ConsistencyLevel

        own, level = self._name(name), ConsistencyLevel(self._consistency)
        engine = yield lambda client: client.collections.use(own).with_consistency_level(level)
        config = yield lambda _: engine.config.get(simple=True)
        return Collection(collection_info(name, loads(config.description)), engine)

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        from weaviate.classes import config

        by_product = product_distance(info.distance) == "dot"
        metric = config.VectorDistances.DOT if by_product else config.VectorDistances.L2_SQUARED
        index = config.Configure.VectorIndex.hnsw(distance_metric=metric)
        field = config.Tokenization.FIELD

        def text(name: str, *, searched: bool, many: bool = False) -> Any:
            kind = config.DataType.TEXT_ARRAY if many else config.DataType.TEXT
            token = {"tokenization": field} if searched else {}
            return config.Property(
                name=name, data_type=kind, index_filterable=searched, index_searchable=False, **token
            )

        yield lambda client: client.collections.create(
            self._name(info.name),
            description=json.dumps(collection_facts(info, metadata)),
            vector_config=config.Configure.Vectors.self_provided(vector_index_config=index),
            replication_config=config.Configure.replication(factor=self._replicas),
            properties=[
                text("key", searched=False),
                text("content", searched=False),
                text("facts", searched=False),
                text("at", searched=True),
                text("tokens", searched=True, many=True),
                text("claims", searched=True, many=True),
            ],
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        yield lambda client: client.collections.delete(opened.engine.name)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        properties = {"claims": [_object(key) for key in ids]}
        yield lambda _: opened.engine.data.insert(properties, uuid=str(uuid.UUID(claim)))

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        found: list[str] = []
        for some in pages(ids, _PAGE):
            chosen = _filter().by_property("claims").contains_any([_object(key) for key in some])
            answer = yield lambda _, chosen=chosen: opened.engine.query.fetch_objects(
                filters=chosen, limit=_PAGE, return_properties=[]
            )
            found += [item.uuid.hex for item in answer.objects]
        return found

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        yield lambda _: opened.engine.data.delete_by_id(str(uuid.UUID(claim)))

    # ------------------------------------------------------------------------------------------------------- documents

    def _taken(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        return [key for key, _ in (yield from self._scan(opened, ids, None))]

    def _scan(
        self, opened: Collection, ids: Sequence[str] | None, expression: Any | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        found: list[tuple[str, str | None]] = []
        for some in [None] if ids is None else pages(ids, _PAGE):
            objects = yield from self._walk(opened, _where(some, expression), ["key", "facts"])
            found += [(item.properties["key"], loads(item.properties["facts"])["metadata"]) for item in objects]
        return found

    def _walk(self, opened: Collection, chosen: Any, properties: list[str], vectors: bool = False) -> Steps[list[Any]]:
        """Return all objects of a filter, a page after the other: cursors take no filters."""
        from weaviate.classes.query import Sort

        found: list[Any] = []
        after = ""
        while True:
            beyond = _filter().all_of([chosen, _filter().by_property("at").greater_than(after)]) if after else chosen
            page = yield lambda _, beyond=beyond: opened.engine.query.fetch_objects(
                filters=beyond,
                sort=Sort.by_property("at", ascending=True),
                limit=_PAGE,
                include_vector=vectors,
                return_properties=["at", *properties],
            )
            found += page.objects
            if len(page.objects) < _PAGE:
                return found
            after = page.objects[-1].properties["at"]

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        for some in batches(rows, _REQUEST, opened.info.dimension, _PAGE):
            objects = [_made(*parts) for parts in project_rows(opened.info.distance, some)]
            answer = yield lambda _, objects=objects: opened.engine.data.insert_many(objects)
            if answer.has_errors:
                raise BackendError(f"Weaviate refused {len(answer.errors)} of {len(objects)} documents")

    def _rank(
        self, opened: Collection, query: array[float], limit: int, expression: Any | None
    ) -> Steps[Sequence[Candidate]]:
        # A filter, if only of the token that all have: it is then exact in collections of up to 40,000 documents.
        chosen = _where(None, expression)
        if limit > _MOST:
            limit = min(limit, (yield from self._count(opened, expression)))
        if limit > _MOST:
            objects = yield from self._walk(opened, chosen, _RESULT, vectors=True)
            best = rank_all(opened.info.distance, query, [_vector(item) for item in objects]) if objects else []
            return [_candidate(objects[number]) for number in best[:limit]]
        if not limit:
            return []
        found = yield lambda _: opened.engine.query.near_vector(
            bounded_query(opened.info.distance, query),
            limit=limit,
            filters=chosen,
            include_vector=True,
            return_properties=_RESULT,
        )
        return [_candidate(item) for item in found.objects]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        found: list[Candidate] = []
        for some in pages(ids, _PAGE):
            answer = yield lambda _, some=some: opened.engine.query.fetch_objects(
                filters=_where(some, None), limit=len(some), include_vector=True, return_properties=_RESULT
            )
            found += map(_candidate, answer.objects)
        return found

    def _count(self, opened: Collection, expression: Any | None) -> Steps[int]:
        chosen = _where(None, expression)
        found = yield lambda _: opened.engine.aggregate.over_all(filters=chosen, total_count=True)
        return int(found.total_count or 0)

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Steps[int]:
        gone = 0
        for some in [None] if ids is None else pages(ids, _PAGE):
            chosen = _where(some, expression)
            while True:
                answer = yield lambda _, chosen=chosen: opened.engine.data.delete_many(chosen)
                if answer.failed:
                    raise BackendError(f"Weaviate did not delete {answer.failed} of {answer.matches} documents")
                gone += answer.successful
                if answer.matches < _PAGE:  # a server deletes so many at a time, 10,000 unless told otherwise
                    break
        return gone


def _encoded(name: str) -> str:
    """Return a name that stays what it is where the case of letters is lost, as in Weaviate's folders."""
    return "".join(
        "__" if char == "_" else "_1" if char == "-" else f"_{char.lower()}" if char.isupper() else char
        for char in name
    )


def _where(ids: Sequence[str] | None, expression: Any | None) -> Any:
    parts = [_filter().by_property("tokens").contains_any([_ANY])]
    if ids is not None:
        parts = [_filter().by_id().contains_any([_object(key) for key in ids]), *parts]
    if expression is not None:
        parts.append(expression)
    return parts[0] if len(parts) == 1 else _filter().all_of(parts)


def _made(row: DocumentRow, vector: array[float], projection: Any) -> Any:
    from weaviate.classes.data import DataObject

    values, items, keys, _ = projection
    key = _object(row.id)
    properties = {
        "key": row.id,
        "content": row.content,
        "facts": json.dumps(document_facts(row, vector), ensure_ascii=False),
        "at": key,
        "tokens": [_ANY, *values, *items, *keys],
    }
    return DataObject(properties=properties, uuid=key, vector=vector.tolist())


def _vector(item: Any) -> array[float]:
    return array("f", item.vector["default"])


def _candidate(item: Any) -> Candidate:
    found = item.properties
    return document_candidate(found["key"], found["content"], loads(found["facts"]), lambda: _vector(item))
