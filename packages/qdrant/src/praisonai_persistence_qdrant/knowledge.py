"""Knowledge in Qdrant: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import uuid
from array import array
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import LateModule
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.projection import TokenCompiler, bounded_query, field, product_distance, project_rows
from praisonai_persistence.stores.vector_engine import Collection, MarkedSteps
from praisonai_persistence_qdrant._driver import PAGE, scrolled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.projection import Projection
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_qdrant._driver import QdrantOptions

__all__ = ["QdrantSteps"]

models = LateModule("qdrant_client.models")

_FACTS = "praisonai"  # in the metadata of Qdrant's collection
_RESULT = ["id", "content", "metadata", "content_hash", "created_at", "embedding"]
_ENTRY = ["id", "metadata", "writer"]
_MOST = 2**31 - 1
_MOST_DIMENSION = 65_536
_SCANNED = 1_000
"""In collections of so many documents a server looks at every vector, whatever their length."""
# The document's id stands in the payload.
_point = documents.derived_uuids(uuid.UUID("6f1c1f0a-54d5-5a40-9a37-0d2f0a3b8a11"))


class FilterCompiler(TokenCompiler[Any]):
    """To Qdrant's filters and conditions."""

    def has(self, tokens: Sequence[str]) -> Any:
        match = models.MatchValue(value=tokens[0]) if len(tokens) == 1 else models.MatchAny(any=list(tokens))
        return models.FieldCondition(key="values", match=match)

    # Apart from the values, because the local mode looks at each token of a field.

    def has_item(self, item: str) -> Any:
        return models.FieldCondition(key="items", match=models.MatchValue(value=item))

    def has_key(self, key: str) -> Any:
        return models.FieldCondition(key="keys", match=models.MatchValue(value=key))

    def bound(self, name: str, number: float, *, upper: bool) -> Any:
        limits = models.Range(lte=number) if upper else models.Range(gte=number)
        return models.FieldCondition(key=f"numbers.n{name}", range=limits)

    def all_of(self, parts: Sequence[Any]) -> Any:
        return models.Filter(must=list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        return models.Filter(should=list(parts))

    def negate(self, part: Any) -> Any:
        return models.Filter(must_not=[part])

    def nothing(self) -> Any:
        return models.HasIdCondition(has_id=[])


class QdrantSteps(MarkedSteps[Collection, Any]):
    """Knowledge in Qdrant.

    Args:
        options: of the store.
    """

    most_bytes = 16 * 1024 * 1024  # a server takes 32 MB unless told otherwise

    def __init__(self, options: QdrantOptions) -> None:
        shared = options.path is None
        super().__init__(FilterCompiler(), shared=shared)
        self._options = options
        self._prefix = f"{options.table_prefix or '-'}."  # neither prefixes nor collections hold dots
        self._to_engine = _for_server if shared else _for_local
        self.most_ids = PAGE if shared else None

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        found = (yield lambda client: client.get_collections()).collections
        return documents.own_names((item.name for item in found), self._prefix)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        # Always asked for: Qdrant would work on a new collection of the same name without a word.
        own = self._prefix + name
        found = yield lambda client: client.get_collection(own)
        return Collection(documents.collection_info(name, (found.config.metadata or {})[_FACTS]), own)

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        documents.check_dimension("Qdrant", info, _MOST_DIMENSION)
        distance = models.Distance.DOT if product_distance(info.distance) == "dot" else models.Distance.EUCLID
        vectors = models.VectorParams(size=info.dimension, distance=distance, on_disk=self._options.on_disk or None)
        kilobytes = max(10_000, _SCANNED * info.dimension * 4 // 1024 + 1)
        # Else a hosted server refuses filters of fields that nobody had it index.
        unindexed = models.StrictModeConfig(unindexed_filtering_retrieve=True, unindexed_filtering_update=True)
        yield lambda client: client.create_collection(
            self._prefix + info.name,
            vectors_config=vectors,
            hnsw_config=models.HnswConfigDiff(full_scan_threshold=kilobytes),
            optimizers_config=models.OptimizersConfigDiff(indexing_threshold=2 * kilobytes),
            strict_mode_config=unindexed,
            metadata={_FACTS: documents.collection_facts(info, metadata)},
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        yield lambda client: client.delete_collection(opened.engine)

    # ------------------------------------------------------------------------------------------------------- documents

    def _entries(
        self, opened: Collection, ids: Sequence[str] | None, expression: Any | None
    ) -> Steps[Sequence[tuple[str, Mapping[str, Any]]]]:
        if ids is not None and expression is None:  # a look at each of them, instead of at all documents
            found = yield lambda client: client.retrieve(opened.engine, list(map(_point, ids)), with_payload=_ENTRY)
            return [(point.payload["id"], point.payload) for point in found]
        # The local mode looks through all ids of a filter for every point, and sorts all points for every page.
        wanted = None if self._shared or ids is None else set(ids)
        chosen, most = _filter(ids if wanted is None else None, expression), PAGE if self._shared else _MOST
        found = yield from scrolled(opened.engine, chosen, most, _ENTRY)
        entries = [(point.payload["id"], point.payload) for point in found]
        return entries if wanted is None else [entry for entry in entries if entry[0] in wanted]

    def _store(self, opened: Collection, rows: Sequence[DocumentRow], mark: str | None, *, new: bool) -> Steps[None]:
        mode = {"update_mode": models.UpdateMode.INSERT_ONLY} if new else {}
        points = [self._make_point(*parts, mark) for parts in project_rows(opened.info.distance, rows)]
        yield lambda client: client.upsert(opened.engine, points, wait=True, **mode)

    def _make_point(self, row: DocumentRow, vector: array[float], projection: Projection, mark: str | None) -> Any:
        values, items, keys, numbers = projection
        facts = documents.document_facts(row, vector, mark)
        payload: dict[str, Any] = {
            "id": row.id,
            "content": row.content,
            "values": values,
            "items": items,
            "keys": keys,
            **{name: fact for name, fact in facts.items() if fact is not None},
        }
        if numbers:
            payload["numbers"] = {f"n{name}": number for name, number in numbers.items()}
        # As it is: to validate it would look at every number once more.
        make = models.PointStruct.model_construct
        return make(id=_point(row.id), vector=self._to_engine(vector), payload=payload)

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Any | None) -> Ranked:
        parameters = models.SearchParams(exact=True) if self._options.exact else None
        found = yield lambda client: client.query_points(
            opened.engine,
            query=bounded_query(opened.info.distance, query),
            query_filter=_filter(None, expression),
            search_params=parameters,
            limit=min(limit, _MOST),
            with_payload=_RESULT,
            with_vectors=True,
        )
        return [_candidate(point) for point in found.points]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        found = yield lambda client: client.retrieve(
            opened.engine, list(map(_point, ids)), with_payload=_RESULT, with_vectors=True
        )
        return list(map(_candidate, found))

    def _count(self, opened: Collection, expression: Any | None) -> Steps[int]:
        chosen = _filter(None, expression)
        return int((yield lambda client: client.count(opened.engine, count_filter=chosen, exact=True)).count)

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Steps[int]:
        if ids is not None and not self._shared:
            points = [_point(key) for key, _ in (yield from self._entries(opened, ids, expression))]
            if points:
                listed = models.PointIdsList.model_construct(points=points)
                yield lambda client: client.delete(opened.engine, listed, wait=True)
            return len(points)
        chosen = _filter(ids, expression) or models.Filter(must=[])
        found = yield from self._count(opened, chosen)
        if found:
            selector = models.FilterSelector(filter=chosen)
            yield lambda client: client.delete(opened.engine, selector, wait=True)
        return found

    # ------------------------------------------------------------------------------------------------ beyond the usual

    @writes
    def create_index(self, collection: str, keys: Sequence[str]) -> Steps[None]:
        """Make payload indexes: of values and keys, and of the numbers under some keys."""
        if not all(isinstance(key, str) for key in keys):
            raise InvalidValueError("metadata keys must be text")
        opened = yield from self._need(collection)
        schema = models.PayloadSchemaType
        fields = dict.fromkeys(("values", "items", "keys"), schema.KEYWORD)
        fields |= {f"numbers.n{field(key)}": schema.FLOAT for key in keys}
        for name, kind in fields.items():
            yield lambda client, name=name, kind=kind: client.create_payload_index(
                opened.engine, field_name=name, field_schema=kind, wait=True
            )


def _filter(ids: Sequence[str] | None, expression: Any | None) -> Any:
    parts = [] if expression is None else [expression]
    if ids is not None:
        parts.append(models.HasIdCondition(has_id=[_point(key) for key in ids]))
    if len(parts) == 1 and isinstance(parts[0], models.Filter):
        return parts[0]
    return models.Filter(must=parts) if parts else None


def _for_server(vector: array[float]) -> Any:
    return vector.tolist()


def _for_local(vector: array[float]) -> Any:
    import numpy as np

    # The local mode would make an array of a list, more than once. It takes one only under a name: "" is the one that
    # it gives to vectors without a name.
    return {"": np.frombuffer(vector, dtype=np.float32)}


def _candidate(point: Any) -> Candidate:
    payload = point.payload
    return documents.document_candidate(payload["id"], payload["content"], payload, lambda: array("f", point.vector))
