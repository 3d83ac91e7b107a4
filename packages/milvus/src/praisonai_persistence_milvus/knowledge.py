"""Knowledge in Milvus: a collection for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from array import array
from base64 import b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import LateModule
from praisonai_persistence.errors import SerializationError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import projection
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import Expression, combined
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence_milvus._driver import IS_LITE, Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned
    from praisonai_persistence_milvus._driver import MilvusOptions

__all__ = ["MilvusSteps"]

milvus = LateModule("pymilvus")

_FACTS = "praisonai"  # the property that stands for the description, which Milvus Lite does not keep
_LISTS = "values", "items", "keys"
_PAGE = 1_000
_MOST = 16_384  # results of a search
_ITEMS = 4_096  # of an array
_TOKENS = 2_849  # in a text, of 22 letters each, with spaces
_PIECE = 16_383  # characters, of up to four bytes: a text has up to 65,535 bytes
_CLAIMS = "0" * 32  # the mark of the collection of claims
# The document's id stands in its facts.
_key = documents.derived_uuids(uuid.UUID("5b0f7a4e-58a1-5d0b-9d3e-3c1f1c2b7a90"))


class FilterCompiler(projection.ExpressionCompiler):
    """To Milvus's expressions, with tokens as literals, because patterns cannot be bound."""

    most_parts = 64  # Milvus looks through the tokens of all documents for each

    def has(self, tokens: Sequence[str]) -> Expression:
        return combined("or", [_like("values", token) for token in tokens])

    def has_item(self, item: str) -> Expression:
        return _like("items", item)

    def has_key(self, key: str) -> Expression:
        return _like("keys", key)

    def nothing(self) -> Expression:
        return Expression('keys == "0"')


def _like(name: str, token: str) -> Expression:
    return Expression(f'{name} like "%{_short(token)}%"')


def _short(token: str) -> str:
    """Write a token's 128 bits in letters, digits, ``+`` and ``/``, none of which means anything in a pattern."""
    return b64encode(bytes.fromhex(token))[:22].decode()


class MilvusSteps(ClaimedSteps[Collection, Expression]):
    """Knowledge in Milvus.

    Claims stand in a collection of their own, one for each prefix. To the client, a collection is the mark in the names
    of its key and of its vector, which tells it from another one of its name.

    Args:
        options: of the store.
    """

    spare = 2  # vectors take long to come back
    most_ids = most_rows = _PAGE
    most_bytes = 16 * 1024 * 1024  # a server takes 64 MB
    remembers = True  # every request names the key or the vector, and is refused where there is no such field

    def __init__(self, options: MilvusOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        prefix = f"P{documents.lowered(options.table_prefix)}"
        self._prefix, self._claiming = f"{prefix}_0", f"{prefix}_2"

    # ----------------------------------------------------------------------------------------------------- collections

    def _ask(self, method: str, opened: Collection, **arguments: Any) -> Ask:
        return Ask(method, self._prefix + documents.lowered(opened.info.name), arguments)

    @reads
    def list_collections(self) -> Steps[list[str]]:
        found = []
        for own in (yield Ask("list_collections")):
            if own.startswith(self._prefix):
                with suppress(GoneError):  # somebody has deleted it meanwhile
                    facts = _facts((yield Ask("describe_collection", own)))
                    # A copy under another name has the same facts.
                    if facts is not None and own == self._prefix + documents.lowered(facts["name"]):
                        found.append(facts["name"])
        return sorted(found)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        own = self._prefix + documents.lowered(name)
        facts = _facts((yield Ask("describe_collection", own)))
        if facts is None:
            raise documents.not_ours(f"Milvus's collection {own}")
        found = Collection(documents.collection_info(name, facts), facts["mark"])
        yield from self._ready(own, facts["mark"], found.info.distance)
        return found

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        facts = {**documents.collection_facts(info, metadata), "mark": uuid.uuid4().hex}
        yield from self._make(self._prefix + documents.lowered(info.name), facts)

    def _make(self, own: str, facts: dict[str, Any]) -> Steps[None]:
        mark, text, said = facts["mark"], milvus.DataType.VARCHAR, json.dumps(facts)
        numbers = yield from self._width(facts["dimension"])
        texts = {"dtype": milvus.DataType.ARRAY, "element_type": text, "max_capacity": _ITEMS}
        fields = [
            milvus.FieldSchema(f"id_{mark}", text, is_primary=True, max_length=64),
            milvus.FieldSchema(f"vector_{mark}", milvus.DataType.FLOAT_VECTOR, dim=numbers),
            *(milvus.FieldSchema(name, text, max_length=65_535) for name in _LISTS),
            *(milvus.FieldSchema(name, **texts, max_length=65_535) for name in ("content", "facts")),
        ]
        schema = milvus.CollectionSchema(fields, description=said)
        more = {"properties": {_FACTS: said}} if (yield IS_LITE) else {}
        yield Ask("create_collection", own, {"schema": schema, "consistency_level": "Strong", **more})
        yield from self._ready(own, mark, facts["distance"])

    def _width(self, dimension: int) -> Steps[int]:
        """Return of how many numbers stored vectors are: Milvus, unlike Lite, has none of one number."""
        return dimension if dimension > 1 or (yield IS_LITE) else 2

    def _widened(self, vector: list[float]) -> Steps[list[float]]:
        """Return a vector as it is stored; a zero changes no rank."""
        width = yield from self._width(len(vector))
        return vector if len(vector) == width else [*vector, 0.0]

    def _ready(self, own: str, mark: str, distance: str) -> Steps[None]:
        """Load a collection, unless it is: somebody released it, or who made it did not come that far."""
        if getattr((yield Ask("get_load_state", own))["state"], "name", "") == "Loaded":
            return
        graph = {"params": {"M": 16, "efConstruction": 200}} if self._options.index_type == "HNSW" else {}
        indexes = milvus.MilvusClient.prepare_index_params()
        indexes.add_index(f"vector_{mark}", self._options.index_type, metric_type=_metric(distance), **graph)
        with suppress(TakenError):
            yield Ask("create_index", own, {"index_params": indexes})
        yield Ask("load_collection", own)

    def _drop(self, opened: Collection) -> Steps[None]:
        yield self._ask("drop_collection", opened)

    # ---------------------------------------------------------------------------------------------------------- claims

    def _alone(self, opened: Collection, rows: Sequence[DocumentRow], *, new: bool) -> Steps[None]:
        for row in rows:
            # As JSON, each key and item has two characters or more.
            if len(row.metadata or "") > _TOKENS and max(map(len, projection.project(row.metadata)[:3])) > _TOKENS:
                limits = f"{_TOKENS:,} keys (those that hold text count twice), and as many items of lists"
                raise SerializationError(f"metadata of a document in Milvus may have up to {limits}")
        if self._options.path is None:
            yield from super()._alone(opened, rows, new=new)
            return
        for some in self._portions(opened, rows):  # the stores in a folder take turns with their writes
            yield from self._store(opened, some)

    def _claim(self, opened: Collection, claim: str, ids: Sequence[str]) -> Steps[None]:
        parts = enumerate(documents.pages(_claimed(opened, ids), _ITEMS))
        vector = yield from self._widened([0.0])
        rows = [_row(_CLAIMS, f"{claim}-{number}", vector, some) for number, some in parts]
        yield from self._on_claims("upsert", data=rows)

    def _claims(self, opened: Collection, ids: Sequence[str]) -> Steps[Sequence[str]]:
        key, chosen = f"id_{_CLAIMS}", Expression("array_contains_any(facts, {})", (_claimed(opened, ids),))
        found = yield from self._on_claims("query", filter=chosen, output_fields=[key], consistency_level="Strong")
        return [row[key].partition("-")[0] for row in found]

    def _on_claims(self, method: str, **arguments: Any) -> Steps[Any]:
        try:
            return (yield Ask(method, self._claiming, arguments))
        except GoneError:  # nobody has made it yet, or it was released
            with suppress(TakenError):
                yield from self._make(self._claiming, {"mark": _CLAIMS, "dimension": 1, "distance": "dot"})
            yield from self._ready(self._claiming, _CLAIMS, "dot")
            return (yield Ask(method, self._claiming, arguments))

    def _withdraw(self, opened: Collection, claim: str) -> Steps[None]:
        parts = Expression(f"id_{_CLAIMS} >= {{}} and id_{_CLAIMS} < {{}}", (f"{claim}-", f"{claim}a"))
        yield Ask("delete", self._claiming, {"filter": parts})

    # ------------------------------------------------------------------------------------------------------- documents

    def _scan(self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None) -> Scanned:
        found = yield from self._walk(opened, ids, expression, ["facts"])
        return [(row["facts"][0], _said(row)["metadata"]) for row in found]

    def _walk(
        self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None, names: list[str]
    ) -> Steps[list[Any]]:
        """Return all rows of a filter, a page after the other, in the order of their keys."""
        key, last, found = f"id_{opened.engine}", "", list[Any]()
        paged = {} if ids is not None else {"limit": _PAGE, "iterator": "True", "reduce_stop_for_best": "True"}
        while True:
            where = _where(opened, ids, expression, last)
            page = yield self._ask("query", opened, filter=where, output_fields=[key, *names], **paged)
            found += page
            if ids is not None or len(page) < _PAGE:
                return found
            last = found[-1][key]

    def _store(self, opened: Collection, rows: Sequence[DocumentRow]) -> Steps[None]:
        made = []
        for row, vector, projected in projection.project_rows(opened.info.distance, rows):
            facts = [row.id, *_pieces(documents.encoded_facts(row, vector))]
            tokens = {name: " ".join(map(_short, some)) for name, some in zip(_LISTS, projected, strict=False)}
            numbers = yield from self._widened(vector.tolist())
            made.append(_row(opened.engine, _key(row.id), numbers, facts, content=_pieces(row.content), **tokens))
        yield self._ask("upsert", opened, data=made)

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Expression | None) -> Ranked:
        vector, distance = f"vector_{opened.engine}", opened.info.distance
        names = [vector, "content", "facts"]
        if limit > _MOST:
            rows = yield from self._walk(opened, None, expression, names)
            return projection.ranked_candidates(distance, query, [_candidate(opened, row) for row in rows])[:limit]
        # As wide as a graph must be searched to find the best of 1,000 documents; FLAT does not look at it.
        parameters = {"metric_type": _metric(distance), "params": {"ef": max(_PAGE, min(2 * _MOST, 2 * limit))}}
        numbers = yield from self._widened(projection.bounded_query(distance, query))
        found = yield self._ask(
            "search",
            opened,
            data=[numbers],
            anns_field=vector,
            limit=limit,
            search_params=parameters,
            output_fields=names,
            **({} if expression is None else {"filter": expression}),
        )
        return [_candidate(opened, hit["entity"]) for hit in found[0]]

    def _fetch(self, opened: Collection, ids: Sequence[str]) -> Ranked:
        found = yield from self._walk(opened, ids, None, [f"vector_{opened.engine}", "content", "facts"])
        return [_candidate(opened, row) for row in found]

    def _count(self, opened: Collection, expression: Expression | None) -> Steps[int]:
        where = _where(opened, None, expression)
        return int((yield self._ask("query", opened, filter=where, output_fields=["count(*)"]))[0]["count(*)"])

    def _remove(self, opened: Collection, ids: Sequence[str] | None, expression: Expression | None) -> Steps[int]:
        # Milvus tells how many it was asked to delete.
        found = yield from self._walk(opened, ids, expression, [])
        key = f"id_{opened.engine}"
        for some in documents.pages([row[key] for row in found], _PAGE):
            yield self._ask("delete", opened, filter=Expression(f"{key} in {{}}", (some,)))
        return len(found)


def _metric(distance: str) -> str:
    return "IP" if projection.product_distance(distance) == "dot" else "L2"


def _facts(described: Any) -> dict[str, Any] | None:
    """Return what a collection was created with; None: somebody else made it."""
    said = described.get("description") or (described.get("properties") or {}).get(_FACTS)
    return documents.written_facts(said, "mark")


def _claimed(opened: Collection, ids: Sequence[str]) -> list[str]:
    """Return what stands for ids in claims. Where two ids have the same, their writers wait for each other."""
    return [_key(f"{opened.engine}{key}")[:8] for key in ids]


def _where(
    opened: Collection, ids: Sequence[str] | None, expression: Expression | None, behind: str = ""
) -> Expression:
    key = f"id_{opened.engine}"
    first = Expression(f"{key} > {{}}", (behind,))
    if ids is not None:
        first = Expression(f"{key} in {{}}", ([_key(item) for item in ids],))
    return first if expression is None else combined("and", [first, expression])


def _pieces(text: str) -> list[str]:
    return [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]


def _row(mark: str, key: str, vector: list[float], facts: list[str], **more: Any) -> dict[str, Any]:
    row = {f"id_{mark}": key, f"vector_{mark}": vector, "facts": facts}
    return {**row, "content": [], **dict.fromkeys(_LISTS, ""), **more}


def _said(row: Any) -> dict[str, Any]:
    return loads("".join(row["facts"][1:]))  # type: ignore[no-any-return]


def _candidate(opened: Collection, row: Any) -> Candidate:
    vector = row[f"vector_{opened.engine}"][: opened.info.dimension]
    return documents.document_candidate(
        row["facts"][0], "".join(row["content"]), _said(row), lambda: array("f", vector)
    )
