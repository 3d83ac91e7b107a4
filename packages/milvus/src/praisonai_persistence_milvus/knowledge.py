"""Knowledge in Milvus: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import re
import string
import uuid
from array import array
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import LateModule
from praisonai_persistence.errors import SchemaError, SerializationError
from praisonai_persistence.filters import joined
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import TokenCompiler, bounded_query, product_distance, project_rows, ranked
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence_milvus._driver import CAPACITY, Ask, Expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.projection import Projection
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence_milvus._driver import MilvusOptions

__all__ = ["MilvusSteps"]

milvus = LateModule("pymilvus")

_FACTS = "praisonai"  # the property that holds what Milvus Lite forgets: the description
_PAGE = 1_000
_MOST = 16_384  # the most that one search returns
_ITEMS = 4_096  # of an array
_PIECE = 16_383  # characters of up to four bytes: a text in Milvus has up to 65,535 bytes
_ENCODED = str.maketrans({"_": "__", "-": "_1", **{letter: f"_{letter.lower()}" for letter in string.ascii_uppercase}})
"""Names stay what they are where the case of letters is lost, as in the folders of Milvus Lite."""
_LISTS = "values", "items", "keys"
# The document's id stands in the facts.
_key = documents.derived_uuids(uuid.UUID("5b0f7a4e-58a1-5d0b-9d3e-3c1f1c2b7a90"))


class FilterCompiler(TokenCompiler[Expression]):
    """To Milvus's expressions."""

    most_parts = 1_000

    def has(self, tokens: Sequence[str]) -> Expression:
        if len(tokens) == 1:
            return Expression("array_contains(values, {})", (tokens[0],))
        return Expression("array_contains_any(values, {})", (list(tokens),))

    def has_item(self, item: str) -> Expression:
        return Expression("array_contains(items, {})", (item,))

    def has_key(self, key: str) -> Expression:
        return Expression("array_contains(keys, {})", (key,))

    def bound(self, name: str, number: float, *, upper: bool) -> Expression:
        return self.has_key(name)  # numbers are checked afterwards

    def all_of(self, parts: Sequence[Expression]) -> Expression:
        return joined(parts, lambda some: _joined("and", some))

    def any_of(self, parts: Sequence[Expression]) -> Expression:
        return joined(parts, lambda some: _joined("or", some))

    def negate(self, part: Expression) -> Expression:
        return Expression(f"not ({part.text})", part.values)

    def nothing(self) -> Expression:
        return self.has_key("0")  # no token is as short


def _joined(word: str, parts: Sequence[Expression]) -> Expression:
    text = f" {word} ".join([f"({part.text})" for part in parts])
    return Expression(text, tuple(value for part in parts for value in part.values))


class MilvusSteps(ClaimedSteps[Collection, Expression]):
    """Knowledge in Milvus.

    Claims stand in a collection of their own, one for each prefix. To the client, a collection is the mark in the names
    of its key and of its vector, which tells it from another one of its name.

    Args:
        options: of the store.
    """

    spare = 2  # vectors come back slowly
    most_ids = most_rows = _PAGE
    most_bytes = 16 * 1024 * 1024  # a server takes 64 MB
    remembers = True  # Milvus refuses requests that name a field which is not there

    def __init__(self, options: MilvusOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._shared = options.path is None
        prefix = f"P{options.table_prefix.translate(_ENCODED)}"
        self._prefix, self._claimed = f"{prefix}_0", f"{prefix}_2"

    # ----------------------------------------------------------------------------------------------------- collections

    def _name(self, collection: str) -> str:
        return self._prefix + collection.translate(_ENCODED)

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted(map(_decoded, documents.own_names((yield Ask("list_collections")), self._prefix)))

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        own = self._name(name)
        facts = _facts((yield Ask("describe_collection", own)))
        if facts is None:
            raise SchemaError(
                f"Milvus's collection {own} was not made by this store: choose another table_prefix; "
                "'praisonai-persistence doctor --knowledge-url URL' tells what is there"
            )
        found = Collection(documents.collection_info(name, facts), facts["mark"])
        yield from self._ready(own, facts["mark"], found.info.distance)
        return found

    def _ready(self, own: str, mark: str, distance: str) -> Steps[None]:
        """Load a collection, unless it is: somebody released it, or who made it did not come that far."""
        if _is_loaded((yield Ask("get_load_state", own))):
            return
        metric = "IP" if product_distance(distance) == "dot" else "L2"
        indexes: dict[str, dict[str, Any]] = {
            f"vector_{mark}": {"index_type": self._options.index_type, "metric_type": metric}
        }
        if self._options.index_type == "HNSW":
            indexes[f"vector_{mark}"]["params"] = {"M": 16, "efConstruction": 200}
        if not (yield Ask("is_lite")):  # it has no indexes of arrays
            indexes |= {name: {"index_type": "INVERTED"} for name in _LISTS}
        for name, how in indexes.items():
            parameters = milvus.MilvusClient.prepare_index_params()
            parameters.add_index(name, **how)
            try:
                yield Ask("create_index", own, {"index_params": parameters})
            except TakenError:
                pass
        yield Ask("load_collection", own)

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        mark = uuid.uuid4().hex
        facts = json.dumps({**documents.collection_facts(info, metadata), "mark": mark})
        yield from self._make(self._name(info.name), mark, info.dimension, info.distance, facts)

    def _make(self, own: str, mark: str, dimension: int, distance: str, facts: str) -> Steps[None]:
        text = milvus.DataType.VARCHAR
        array_of_texts = {"dtype": milvus.DataType.ARRAY, "element_type": text, "max_capacity": _ITEMS}
        fields = [
            milvus.FieldSchema(f"id_{mark}", text, is_primary=True, max_length=64),
            milvus.FieldSchema(f"vector_{mark}", milvus.DataType.FLOAT_VECTOR, dim=dimension),
            *(milvus.FieldSchema(name, **array_of_texts, max_length=65_535) for name in ("content", "facts")),
            *(milvus.FieldSchema(name, **array_of_texts, max_length=64) for name in _LISTS),
        ]
        schema = milvus.CollectionSchema(fields, description=facts)
        more = {"properties": {_FACTS: facts}} if (yield Ask("is_lite")) else {}
        level = self._options.consistency_level
        yield Ask("create_collection", own, {"schema": schema, "consistency_level": level, **more})
        yield from self._ready(own, mark, distance)

    def _drop(self, opened: Collection) -> Steps[None]:
        yield Ask("drop_collection", self._name(opened.info.name))

    # ---------------------------------------------------------------------------------------------------------- claims

    def _alone(self, opened: Collection, rows: Sequence[DocumentRow], *, new: bool) -> Steps[None]:
        if self._shared:
            yield from super()._alone(opened, rows, new=new)
            return
        for some in self._portions(opened, rows):  # stores in a folder take turns with their writes
            yield from self._store(opened, some)

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        rows = [
            {"id": f"{claim}-{number}", "vector": [0.0, 0.0], "claims": some}
            for number, some in enumerate(documents.pages([_claimed(opened, key) for key in ids], _ITEMS))
        ]
        try:
            yield Ask("upsert", self._claimed, {"data": rows})
        except GoneError:
            yield from self._make_claims()
            yield Ask("upsert", self._claimed, {"data": rows})

    def _make_claims(self) -> Steps[None]:
        text = milvus.DataType.VARCHAR
        fields = [
            milvus.FieldSchema("id", text, is_primary=True, max_length=64),
            milvus.FieldSchema("vector", milvus.DataType.FLOAT_VECTOR, dim=2),
            milvus.FieldSchema(
                "claims", milvus.DataType.ARRAY, element_type=text, max_capacity=_ITEMS, max_length=64
            ),
        ]
        schema = milvus.CollectionSchema(fields, description="who is about to write which documents")
        parameters = milvus.MilvusClient.prepare_index_params()
        parameters.add_index("vector", index_type="FLAT", metric_type="L2")
        for method, arguments in (
            ("create_collection", {"schema": schema, "consistency_level": "Strong"}),
            ("create_index", {"index_params": parameters}),
            ("load_collection", {}),
        ):
            try:
                yield Ask(method, self._claimed, arguments)
            except TakenError:  # others make it, too
                pass

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        chosen = Expression("array_contains_any(claims, {})", ([_claimed(opened, key) for key in ids],))
        found = yield Ask(
            "query", self._claimed, {"filter": chosen, "output_fields": ["id"], "consistency_level": "Strong"}
        )
        return [row["id"].partition("-")[0] for row in found]

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        parts = Expression("id >= {} and id < {}", (f"{claim}-", f"{claim}a"))
        yield Ask("delete", self._claimed, {"filter": parts})

    # ------------------------------------------------------------------------------------------------------- documents

    def _scan(
        self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None
    ) -> Steps[Sequence[tuple[str, str | None]]]:
        found = yield from self._walk(opened, ids, expression, ["facts"])
        return [(row["facts"][0], _decoded_facts(row)["metadata"]) for row in found]

    def _walk(
        self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None, names: list[str]
    ) -> Steps[list[Any]]:
        """Return what is asked for of all rows of a filter, a page after the other, in the order of their keys."""
        key, last, found = f"id_{opened.engine}", "", list[Any]()
        paged = {} if ids is not None else {"limit": _PAGE, "iterator": "True", "reduce_stop_for_best": "True"}
        while True:
            where = _where(opened, ids, expression, last)
            arguments = {"filter": where, "output_fields": [key, *names], **paged}
            page = list((yield Ask("query", self._name(opened.info.name), arguments)))
            found += page
            if ids is not None or len(page) < _PAGE:
                return found
            last = page[-1][key]

    def _store(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        made = [_made(opened.engine, *parts) for parts in project_rows(opened.info.distance, rows)]
        yield Ask("upsert", self._name(opened.info.name), {"data": made})

    def _rank(
        self, opened: Collection, query: array[float], limit: int, expression: Expression | None
    ) -> Steps[Sequence[Candidate]]:
        vector, distance = f"vector_{opened.engine}", opened.info.distance
        if limit > _MOST:
            rows = yield from self._walk(opened, None, expression, [vector, "content", "facts"])
            return [_candidate(opened, row) for row in ranked(distance, query, rows, [row[vector] for row in rows])][:limit]
        arguments: dict[str, Any] = {
            "data": [bounded_query(distance, query)],
            "anns_field": vector,
            "limit": limit,
            "search_params": {
                "metric_type": "IP" if product_distance(distance) == "dot" else "L2",
                # As wide as an index must be searched to find the true best of 1,000 documents; others ignore it.
                "params": {"ef": min(2 * _MOST, max(_PAGE, 2 * limit))},
            },
            "output_fields": [vector, "content", "facts"],
        }
        if expression is not None:
            arguments["filter"] = expression
        found = yield Ask("search", self._name(opened.info.name), arguments)
        return [_candidate(opened, hit["entity"]) for hit in found[0]]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[Candidate]]:
        found = yield from self._walk(opened, ids, None, [f"vector_{opened.engine}", "content", "facts"])
        return [_candidate(opened, row) for row in found]

    def _count(self, opened: Collection, expression: Expression | None) -> Steps[int]:
        arguments = {"filter": _where(opened, None, expression), "output_fields": ["count(*)"]}
        return int((yield Ask("query", self._name(opened.info.name), arguments))[0]["count(*)"])

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None) -> Steps[int]:
        key = f"id_{opened.engine}"
        found = yield from self._walk(opened, ids, expression, [])
        for some in documents.pages([row[key] for row in found], _PAGE):
            chosen = Expression(f"{key} in {{}}", (some,))
            yield Ask("delete", self._name(opened.info.name), {"filter": chosen})
        return len(found)


def _is_loaded(answer: Any) -> bool:
    return getattr(answer["state"], "name", "") == "Loaded"


def _facts(described: Any) -> dict[str, Any] | None:
    """Return what a collection was created with; None: somebody else made it."""
    try:
        facts = loads(described.get("description") or described["properties"][_FACTS])
        return facts if {"name", "dimension", "distance", "metadata", "mark"} <= facts.keys() else None
    except (ValueError, AttributeError, KeyError, TypeError):
        return None


def _decoded(name: str) -> str:
    return re.sub("_(.)", lambda found: {"_": "_", "1": "-"}.get(found[1], found[1].upper()), name)


def _claimed(opened: Collection, key: str) -> str:
    return _key(f"{opened.engine}{key}")


def _where(
    opened: Collection, ids: Sequence[str] | None, expression: Expression | None, behind: str = ""
) -> Expression:
    key = f"id_{opened.engine}"
    if ids is None:  # every expression names a field that no other collection has
        first = Expression(f"{key} > {{}}", (behind,))
    else:
        first = Expression(f"{key} in {{}}", (list(map(_key, ids)),))
    return first if expression is None else _joined("and", [first, expression])


def _pieces(text: str) -> list[str]:
    if len(text) <= _PIECE:
        return [text]
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def _made(mark: str, row: DocumentRow, vector: array[float], projection: Projection) -> dict[str, Any]:
    values, items, keys, _ = projection
    if max(len(values), len(items), len(keys)) > _ITEMS:
        raise SerializationError(CAPACITY)
    return {
        f"id_{mark}": _key(row.id),
        f"vector_{mark}": vector.tolist(),
        "content": _pieces(row.content),
        "facts": [row.id, *_pieces(documents.encoded_facts(row, vector))],
        "values": values,
        "items": items,
        "keys": keys,
    }


def _decoded_facts(row: Any) -> dict[str, Any]:
    return loads("".join(row["facts"][1:]))  # type: ignore[no-any-return]


def _candidate(opened: Collection, row: Any) -> Candidate:
    vector = row[f"vector_{opened.engine}"]
    return documents.document_candidate(
        row["facts"][0], "".join(row["content"]), _decoded_facts(row), lambda: array("f", vector)
    )
