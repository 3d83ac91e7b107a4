"""Knowledge in Weaviate: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from array import array
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import LateModule, Pauses
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
from praisonai_persistence.vectors import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned
    from praisonai_persistence_weaviate._driver import WeaviateDriver, WeaviateOptions

__all__ = ["WeaviateSteps"]

classes, queries = LateModule("weaviate.classes"), LateModule("weaviate.classes.query")
proto, exceptions = LateModule("weaviate.proto.v1"), LateModule("weaviate.exceptions")
filters = LateModule("weaviate.collections.filters")

_ANY = "document"  # stands in the mark of every document, and of no claim
_FACTS = "facts"  # the property that holds what has to come back of a document
_RESULT = ["key", "content", _FACTS]
_MOST_DIMENSION = 65_535  # of vectors that a server can store; it makes the collection of longer ones
_PAGE = 1_000
_MOST = 10_000  # objects in one answer, unless a server is told otherwise
# The ids of claims begin with the time, and are less than this until the year 2109; of documents, one in 64 is.
_BEHIND_CLAIMS = "04000000-0000-0000-0000-000000000000"
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
        driver: of the store, which knows its server.
    """

    spare = 2  # a server takes 0.2 to 0.4 ms to return a vector
    most_ids = most_rows = _PAGE
    most_bytes = 16 * 1024 * 1024  # a server takes 100 MB
    # A collection that is made anew has a property of another name in the place of `mark`, and Weaviate refuses filters
    # by properties that are not there.
    remembers = True

    def __init__(self, options: WeaviateOptions, driver: WeaviateDriver) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options, self._driver = options, driver
        self._level = f"CONSISTENCY_LEVEL_{options.consistency_level}"
        self._prefix = f"P{documents.lowered(options.table_prefix)}_0"
        self._written: dict[str, object] = {}  # stands for the last write to a collection that has this property
        self._indexed: dict[str, object] = {}  # and for the last one that the server is known to have indexed

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
        level = classes.config.ConsistencyLevel(self._options.consistency_level)
        return client.collections.use(self._name(opened.info.name)).with_consistency_level(level)

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
        self._written.pop(opened.engine, None)
        self._indexed.pop(opened.engine, None)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        # A server would give a new collection the properties that it lacks, so it is looked at.
        if (yield from self._need(opened.info.name, fresh=True)).engine != opened.engine:
            raise GoneError("another collection stands there")
        properties = _properties({}, "claims", [_object(key) for key in ids])
        yield from self._send(opened, [{"uuid": str(uuid.UUID(claim)), "properties": properties}])

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        # There are few claims at any time, mostly this one, and they are found by what they are in a fifth of the time
        # that a server takes to look for hundreds of ids. Another one may be on other ids.
        claim = queries.Filter.not_(queries.Filter.by_property(opened.engine).equal(_ANY))
        claim &= queries.Filter.by_property("_id").less_than(_BEHIND_CLAIMS)
        found = yield from self._ask(opened, claim, _PAGE, [])
        if len(found) > 1:
            claim = queries.Filter.by_property("claims").contains_any([_object(key) for key in ids])
            found = yield from self._ask(opened, claim, _PAGE, [])
        return [item.metadata.id_as_bytes.hex() for item in found]

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        yield lambda client: self._on_client(client, opened).data.delete_by_id(str(uuid.UUID(claim)))

    # ------------------------------------------------------------------------------------------------------- documents

    def _scan(self, opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Scanned:
        found = yield from self._walk(opened, ids, expression, ["key", _FACTS])
        texts = [item.properties.non_ref_props.fields for item in found]
        return [(text["key"].text_value, loads(text[_FACTS].text_value)["metadata"]) for text in texts]

    def _ask(self, opened: Collection, chosen: Any, limit: int, names: list[str], **how: Any) -> Steps[Sequence[Any]]:
        """Return messages of objects that a filter selects, with their vectors if they are read whole (``_RESULT``).

        The client's own way checks each argument, and makes a Python float of each number: it takes twice as long.

        Args:
            opened: the collection.
            chosen: the filter.
            limit: how many, 10,000 at the most.
            names: of the properties that are read.
            how: fields of the message which say what is best: ``near_vector``, ``sort_by``.
        """
        search = proto.search_get_pb2
        request = search.SearchRequest(
            collection=self._name(opened.info.name),
            consistency_level=self._level,
            filters=filters._FilterToGRPC.convert(chosen),
            limit=limit,
            metadata=search.MetadataRequest(uuid=True, vectors=["default"] if names is _RESULT else []),
            properties=search.PropertiesRequest(non_ref_properties=names),
            uses_123_api=True,
            uses_125_api=True,
            uses_127_api=True,
            **how,
        )
        return (yield lambda client: client._connection.grpc_search(request)).results  # type: ignore[no-any-return]

    def _walk(self, opened: Collection, ids: Sequence[str] | None, expression: Any, names: list[str]) -> Steps[Any]:
        """Return all objects of a filter, as ``_ask`` does.

        They are read a page after the other: Weaviate's own cursors take no filters. A page may have fewer objects than
        were asked for, because indexes keep entries of objects that are gone.
        """
        order = [] if ids is not None else [proto.search_get_pb2.SortBy(path=["_id"], ascending=True)]
        limit = _PAGE if names and ids is None else _MOST
        chosen = where = _where(opened, ids, expression)
        found: list[Any] = []
        while True:
            page = yield from self._ask(opened, where, limit, names, sort_by=order)
            found += page
            if ids is not None or not page:
                return found
            last = uuid.UUID(bytes=found[-1].metadata.id_as_bytes)
            behind = queries.Filter.by_property("_id").greater_than(str(last))
            where = queries.Filter.all_of([chosen, behind])

    def _put(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from super()._put(opened, rows)
        yield from self._wrote(opened)

    def _add(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from super()._add(opened, rows)
        yield from self._wrote(opened)

    def _wrote(self, opened: Collection) -> Steps[None]:
        if self._options.freshness == "all":
            yield from self._settle(opened)
        elif self._driver.lags:
            self._written[opened.engine] = object()

    def _settle(self, opened: Collection) -> Steps[None]:
        """Wait until the server has indexed the vectors that it has acknowledged."""
        pauses = Pauses(self._options.freshness_timeout, 0.1)
        while self._driver.lags:
            # Their own numbers leave out vectors that have names, as all of new collections do.
            shards = yield lambda client: self._on_client(client, opened).config.get_shards()
            if not any("INDEXING" in {one.status, *(one.per_node_status or {}).values()} for one in shards):
                return
            yield from pauses.wait(self._options.unseen())

    def _store(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        # The client's own insert checks and converts each number and text anew, which takes three times as long, and
        # logs what was refused.
        objects = []
        for row, vector, projection in project_rows(opened.info.distance, rows):
            facts = documents.encoded_facts(row, vector)
            texts = {"key": row.id, "content": row.content, _FACTS: facts, opened.engine: _ANY}
            properties = _properties(texts, "tokens", projection.tokens)
            vector_bytes = documents.vector_bytes(vector)
            objects.append({"uuid": _object(row.id), "vector_bytes": vector_bytes, "properties": properties})
        yield from self._send(opened, objects)

    def _send(self, opened: Collection, objects: list[dict[str, Any]]) -> Steps[None]:
        """Write objects, of which there are the fields of their messages, in one request."""
        name = self._name(opened.info.name)
        made = [proto.batch_pb2.BatchObject(collection=name, **fields) for fields in objects]
        request = proto.batch_pb2.BatchObjectsRequest(objects=made, consistency_level=self._level)
        refused = yield lambda client: client._connection.grpc_batch_objects(
            request, timeout=self._options.timeout, max_retries=2
        )
        if refused:
            reasons = refused.values()
            raise self._driver.refused(reasons, len(made)) from exceptions.WeaviateBatchError("; ".join(set(reasons)))

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Any | None) -> Ranked:
        written = self._written.get(opened.engine)
        if written is not self._indexed.get(opened.engine):
            yield from self._settle(opened)
            self._indexed[opened.engine] = written
        # A filter, if only of the token that all have: it is then exact in collections of up to 40,000 documents.
        chosen, asked = _where(opened, None, expression), min(limit, _MOST)
        vector = documents.vector_bytes(array("f", bounded_query(opened.info.distance, query)))
        near = proto.base_pb2.Vectors(vector_bytes=vector, type="VECTOR_TYPE_SINGLE_FP32")
        how = {"near_vector": proto.base_search_pb2.NearVector(vectors=[near])}
        while True:
            best = [_candidate(item) for item in (yield from self._ask(opened, chosen, asked, _RESULT, **how))]
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


def _properties(texts: dict[str, str], name: str, values: list[str]) -> Any:
    """Return the properties of an object, as its message has them: texts, and a list of texts, which may be empty."""
    own = proto.batch_pb2.BatchObject.Properties()
    for key, text in texts.items():
        own.non_ref_properties.fields[key].string_value = text
    if values:
        own.text_array_properties.add(prop_name=name, values=values)
    return own


def _where(opened: Collection, ids: Sequence[str] | None, expression: Any | None) -> Any:
    parts = [queries.Filter.by_property(opened.engine).equal(_ANY)]
    if ids is not None:
        parts.insert(0, queries.Filter.by_id().contains_any([_object(key) for key in ids]))
    return queries.Filter.all_of(parts if expression is None else [*parts, expression])


def _candidate(item: Any) -> Candidate:
    texts = item.properties.non_ref_props.fields
    key, content, facts = (texts[name].text_value for name in _RESULT)
    return documents.document_candidate(
        key, content, loads(facts), lambda: unpack(item.metadata.vectors[0].vector_bytes)
    )
