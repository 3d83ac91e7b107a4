"""Knowledge in Weaviate: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from array import array
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from praisonai_persistence.drivers import LateModule
from praisonai_persistence.errors import BackendError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import (
    TokenCompiler,
    bounded_query,
    product_distance,
    project_rows,
    ranked_candidates,
)
from praisonai_persistence.stores.vector_engine import Collection, GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned
    from praisonai_persistence_weaviate._driver import WeaviateOptions

__all__ = ["WeaviateSteps"]

classes, queries = LateModule("weaviate.classes"), LateModule("weaviate.classes.query")
proto, exceptions = LateModule("weaviate.proto.v1"), LateModule("weaviate.exceptions")

_ANY = "document"  # stands in the mark of every document, and of no claim
_FACTS = "facts"  # the property that holds what has to come back of a document
_RESULT = ["key", "content", _FACTS]
_MOST_DIMENSION = 65_535  # of vectors that a server can store; it makes the collection of longer ones
_PAGE = 1_000
_MOST = 10_000  # objects in one answer, unless a server is told otherwise
# The document's id stands in the object.
_object = documents.derived_uuids(uuid.UUID("0c9a3d66-0c55-5f0e-8a5b-7f7e5b0d9b42"))


class FilterCompiler(TokenCompiler[Any]):
    """To Weaviate's filters."""

    most_parts = 1_000

    def has(self, tokens: Sequence[str]) -> Any:
        return queries.Filter.by_property("tokens").contains_any(list(tokens))

    def all_of(self, parts: Sequence[Any]) -> Any:
        return queries.Filter.all_of(list(parts))

    def any_of(self, parts: Sequence[Any]) -> Any:
        return queries.Filter.any_of(list(parts))

    def negate(self, part: Any) -> Any:
        return queries.Filter.not_(part)

    def nothing(self) -> Any:
        return self.has(["none"])


class WeaviateSteps(ClaimedSteps[Collection, Any]):
    """Knowledge in Weaviate.

    Claims stand beside the documents, without a vector and without tokens. To the client, a collection is the property
    that tells it from another one of its name.

    Args:
        options: of the store.
    """

    spare = 2  # a server takes 0.2 to 0.4 ms to return a vector
    most_ids = most_rows = _PAGE
    most_bytes = 16 * 1024 * 1024  # a server takes 100 MB
    # A collection that is made anew has a property of another name in the place of `mark`, and Weaviate refuses filters
    # by properties that are not there.
    remembers = True

    def __init__(self, options: WeaviateOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._prefix = f"P{documents.lowered(options.table_prefix)}_0"
        self._known: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    # ----------------------------------------------------------------------------------------------------- collections

    def _name(self, collection: str) -> str:
        return self._prefix + documents.lowered(collection)

    @reads
    def list_collections(self) -> Steps[list[str]]:
        found = yield lambda client: client.collections.list_all(simple=True)
        said = {name: documents.written_facts(config.description, "mark") for name, config in found.items()}
        # A copy under another name has the same facts.
        return sorted(facts["name"] for name, facts in said.items() if facts and name == self._name(facts["name"]))

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        own = self._name(name)
        config = yield lambda client: client.collections.use(own).config.get(simple=True)
        facts = documents.written_facts(config.description, "mark")
        if facts is not None:
            return Collection(documents.collection_info(name, facts), facts["mark"])
        if "auto-schema" in (config.description or "") and _FACTS in [p.name for p in config.properties]:
            # Somebody deleted it while somebody wrote, so that Weaviate made it anew for what came last.
            yield lambda client: client.collections.delete(own)
            return None
        raise documents.not_ours(f"Weaviate's collection {own}")

    def _on_client(self, client: Any, opened: Collection) -> Any:
        name, known = opened.info.name, self._known.setdefault(client, {})
        if name not in known:  # to make one takes a fifth of the time that this process spends on a search
            level = classes.config.ConsistencyLevel(self._options.consistency_level)
            known[name] = client.collections.use(self._name(name)).with_consistency_level(level)
        return known[name]

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        documents.check_dimension("Weaviate", info, _MOST_DIMENSION)
        config = classes.config
        metrics = {"dot": config.VectorDistances.DOT, "euclidean": config.VectorDistances.L2_SQUARED}
        index = config.Configure.VectorIndex.hnsw(distance_metric=metrics[product_distance(info.distance)])
        mark = f"mark_{uuid.uuid4().hex}"
        kinds = dict.fromkeys([*_RESULT, mark], config.DataType.TEXT)
        kinds.update(dict.fromkeys(["tokens", "claims"], config.DataType.TEXT_ARRAY))
        how = {"index_searchable": False, "tokenization": config.Tokenization.FIELD}
        yield lambda client: client.collections.create(
            self._name(info.name),
            description=json.dumps({**documents.collection_facts(info, metadata), "mark": mark}),
            vector_config=config.Configure.Vectors.self_provided(vector_index_config=index),
            replication_config=config.Configure.replication(factor=self._options.replicas),
            properties=[
                config.Property(name=name, data_type=kind, index_filterable=name not in _RESULT, **how)
                for name, kind in kinds.items()
            ],
        )

    def _drop(self, opened: Collection) -> Steps[None]:
        yield lambda client: client.collections.delete(self._name(opened.info.name))

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        # A server would give a new collection the properties that it lacks, so it is looked at.
        if (yield from self._need(opened.info.name, fresh=True)).engine != opened.engine:
            raise GoneError("another collection stands there")
        properties = {"claims": [_object(key) for key in ids]}
        yield lambda client: self._on_client(client, opened).data.insert(properties, uuid=str(uuid.UUID(claim)))

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        chosen = queries.Filter.by_property("claims").contains_any([_object(key) for key in ids])
        found = yield lambda client: self._on_client(client, opened).query.fetch_objects(
            filters=chosen, limit=_PAGE, return_properties=[]
        )
        return [item.uuid.hex for item in found.objects]

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        yield lambda client: self._on_client(client, opened).data.delete_by_id(str(uuid.UUID(claim)))

    # ------------------------------------------------------------------------------------------------------- documents

    def _scan(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Scanned:
        found = yield from self._walk(opened, ids, expression, ["key", _FACTS])
        return [(item.properties["key"], loads(item.properties[_FACTS])["metadata"]) for item in found]

    def _walk(self, opened: Collection, ids: Sequence[str] | None, expression: Any, names: list[str]) -> Steps[Any]:
        """Return all objects of a filter, with their vectors if they are read whole (``_RESULT``).

        They are read a page after the other: Weaviate's own cursors take no filters. A page may have fewer objects than
        were asked for, because indexes keep entries of objects that are gone.
        """
        order = None if ids is not None else queries.Sort.by_id()
        read = {"include_vector": names is _RESULT, "return_properties": names}
        chosen = where = _where(opened, ids, expression)
        found: list[Any] = []
        while True:
            page = yield lambda client, where=where: self._on_client(client, opened).query.fetch_objects(
                filters=where, sort=order, limit=_PAGE if names and ids is None else _MOST, **read
            )
            found += page.objects
            if ids is not None or not page.objects:
                return found
            behind = queries.Filter.by_property("_id").greater_than(str(found[-1].uuid))
            where = queries.Filter.all_of([chosen, behind])

    def _store(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        # The client's own insert checks and converts each number and text anew, which takes three times as long, and
        # logs what was refused.
        objects = [
            proto.batch_pb2.BatchObject(
                collection=self._name(opened.info.name),
                uuid=_object(row.id),
                vector_bytes=documents.vector_bytes(vector),
                properties=_properties(
                    {
                        "key": row.id,
                        "content": row.content,
                        _FACTS: documents.encoded_facts(row, vector),
                        opened.engine: _ANY,
                    },
                    projection.tokens,
                ),
            )
            for row, vector, projection in project_rows(opened.info.distance, rows)
        ]
        level = f"CONSISTENCY_LEVEL_{self._options.consistency_level}"
        request = proto.batch_pb2.BatchObjectsRequest(objects=objects, consistency_level=level)
        refused = yield lambda client: client._connection.grpc_batch_objects(
            request, timeout=self._options.timeout, max_retries=2
        )
        if len(refused) == len(rows):
            yield lambda _: _refuse(refused.values())
        if refused:
            raise BackendError(f"Weaviate refused {len(refused)} of {len(rows)} documents")

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Any | None) -> Ranked:
        # A filter, if only of the token that all have: it is then exact in collections of up to 40,000 documents.
        chosen, asked = _where(opened, None, expression), min(limit, _MOST)
        vector = bounded_query(opened.info.distance, query)
        while True:
            found = yield lambda client, asked=asked: self._on_client(client, opened).query.near_vector(
                vector, limit=asked, filters=chosen, include_vector=True, return_properties=_RESULT
            )
            best = [_candidate(item) for item in found.objects]
            if len(best) >= limit:
                return best[:limit]
            counted = yield lambda client: self._on_client(client, opened).aggregate.over_all(filters=chosen)
            entries = int(counted.total_count or 0)  # as many as there are, or more
            # Entries of objects that are gone took their places, a server that was killed had not indexed the vectors
            # of all objects, or it is more than a server returns at once.
            if len(best) >= entries:
                return best
            if entries <= asked or asked == _MOST:
                break
            asked = min(entries, _MOST)
        every = [_candidate(item) for item in (yield from self._walk(opened, None, expression, _RESULT))]
        return ranked_candidates(opened.info.distance, query, every)[:limit]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        return [_candidate(item) for item in (yield from self._walk(opened, ids, None, _RESULT))]

    def _count(self, opened: Collection, expression: Any | None) -> Steps[int]:
        return len((yield from self._walk(opened, None, expression, [])))

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Steps[int]:
        chosen, gone = _where(opened, ids, expression), 0
        while True:
            answer = yield lambda client: self._on_client(client, opened).data.delete_many(chosen)
            if answer.failed:
                raise BackendError(f"Weaviate did not delete {answer.failed} of {answer.matches} documents")
            gone += int(answer.successful)
            if answer.matches < _PAGE:  # a server deletes so many at a time, 10,000 unless told otherwise
                return gone


def _properties(texts: dict[str, str], tokens: list[str]) -> Any:
    """Return the properties of an object, as its message has them."""
    own = proto.batch_pb2.BatchObject.Properties()
    for name, text in texts.items():
        own.non_ref_properties.fields[name].string_value = text
    if tokens:
        own.text_array_properties.add(prop_name="tokens", values=tokens)
    return own


def _refuse(reasons: Iterable[str]) -> None:
    """Raise the client's error, of which the driver says what it means."""
    raise exceptions.WeaviateBatchError("; ".join(sorted(set(reasons))))


def _where(opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Any:
    parts = [queries.Filter.by_property(opened.engine).equal(_ANY)]
    if ids is not None:
        parts.insert(0, queries.Filter.by_id().contains_any([_object(key) for key in ids]))
    return queries.Filter.all_of(parts if expression is None else [*parts, expression])


def _candidate(item: Any) -> Candidate:
    key, content, facts = (item.properties[name] for name in _RESULT)
    return documents.document_candidate(key, content, loads(facts), lambda: array("f", item.vector["default"]))
