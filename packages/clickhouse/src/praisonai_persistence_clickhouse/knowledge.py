"""Knowledge in ClickHouse: a table for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import struct
import uuid
from array import array
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import projection
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.claimed import ClaimedSteps
from praisonai_persistence.stores.projection import Expression
from praisonai_persistence.stores.vector_engine import GoneError, TakenError
from praisonai_persistence_clickhouse import _row_binary as row_binary
from praisonai_persistence_clickhouse._driver import Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.ranking import Candidate
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned
    from praisonai_persistence_clickhouse._driver import ClickHouseOptions

__all__ = ["ClickHouseSteps"]

_FORMAT = "FORMAT RowBinaryWithNames"  # with names no answer is empty
_PAGE = 3_000  # keys in one parameter, of 128 KiB
_MOST = 1_000  # results of a search of the index
_GRANULES = "index_granularity = 2048"  # rows that are read for one: they have vectors
_COLUMNS = "ver id content facts tokens numbers vector"
_RESULT = "id, content, facts, vector"
# The document's id stands in its row.
_key = documents.derived_uuids(uuid.UUID("7d7b4c0e-4f0a-5c53-9b0e-5a2f9d1c6e31"))


class Opened(NamedTuple):
    """A collection.

    Attributes:
        info: what it was created with.
        key: the column that tells it from another collection of its name.
        indexed: whether it has an index of its vectors.
    """

    info: CollectionInfo
    key: str
    indexed: bool


class FilterCompiler(projection.ExpressionCompiler):
    """To conditions of SQL."""

    most_parts = 64  # each has parameters of its own

    def has(self, tokens: Sequence[str]) -> Expression:
        return Expression("hasAny(tokens, {})", (list(tokens),))

    def bound(self, name: str, number: float, *, upper: bool) -> Expression:
        sql = f"(mapContains(numbers, {{}}) AND numbers[{{}}] {'<=' if upper else '>='} {{}})"
        return Expression(sql, (name, name, number))

    def nothing(self) -> Expression:
        return Expression("0")


class ClickHouseSteps(ClaimedSteps[Opened, Expression]):
    """Knowledge in ClickHouse.

    A write adds rows; of those with one key, ``FINAL`` reads the one of the highest version, and of those the last.
    Versions need no clock. They are even where a document was inserted, one more where it was upserted, and a deletion
    adds a row without a document whose version is the next even one. So an insert never covers an upsert that began
    after its check, and only inserts have to claim their ids.

    Args:
        options: of the store.
    """

    spare = 2
    most_ids = _PAGE
    remembers = True  # every request names the key's column, which a collection that is made anew does not have

    def __init__(self, options: ClickHouseOptions) -> None:
        super().__init__(FilterCompiler(), options.timeout)
        self._options = options
        self._where = f"`{options.database}`."
        self._prefix = f"{options.table_prefix}."
        self._on_cluster = "" if options.cluster is None else f" ON CLUSTER `{options.cluster}`"
        self._claiming = f"{self._where}`{options.table_prefix}:claims`"

    # ----------------------------------------------------------------------------------------------------- collections

    def _place(self, name: str) -> str:
        return f"{self._where}`{self._prefix}{name}`"

    @reads
    def list_collections(self) -> Steps[list[str]]:
        sql = f"SELECT name, comment FROM system.tables WHERE database = {{}} AND startsWith(name, {{}}) {_FORMAT}"
        found = row_binary.rows((yield Ask(sql, [self._options.database, self._prefix])), "ss")
        return documents.own_names([name for name, said in found if _facts(said) is not None], self._prefix)

    def _find(self, name: str, *, fresh: bool) -> Steps[Opened | None]:
        own = [self._options.database, self._prefix + name]
        indexes = "SELECT toUInt64(count()) FROM system.data_skipping_indices WHERE database = {} AND table = {}"
        # A statement about system.columns is done before the row is read: the table may be made in between.
        columns = "toUInt64(arrayCount(at -> at > 0, multiSearchAllPositions(create_table_query, {})))"
        what = f"comment, assumeNotNull(({indexes})), {columns}"
        sql = f"SELECT {what} FROM system.tables WHERE database = {{}} AND name = {{}} {_FORMAT}"
        names = [f"`{column}`" for column in ("deleted", "written", *_COLUMNS.split())]
        for said, number, present in row_binary.rows((yield Ask(sql, [*own, names, *own])), "snn"):
            facts = _facts(said)
            if facts is None or present < len(names):
                raise documents.not_ours(f"ClickHouse's table {self._place(name)}")
            return Opened(documents.collection_info(name, facts), facts["key"], number > 0)
        return None

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        facts = {**documents.collection_facts(info, metadata), "key": f"key_{uuid.uuid4().hex}"}
        said = b64encode(json.dumps(facts).encode()).decode()  # definitions of tables take no parameters
        columns = (
            f"{facts['key']} String, ver UInt32, deleted UInt8, written UInt64 DEFAULT rand64(), id String, "
            "content String, facts String, tokens Array(String), numbers Map(String, Float64), vector Array(Float32)"
        )
        engine = f"ReplacingMergeTree(ver) ORDER BY {facts['key']} SETTINGS {_GRANULES} COMMENT '{said}'"
        yield from self._define(self._place(info.name), columns, engine, len(said))

    def _define(self, place: str, columns: str, engine: str, size: int = 0) -> Steps[None]:
        on, kind = self._on_cluster, "Replicated" if self._on_cluster else ""
        yield Ask(f"CREATE DATABASE IF NOT EXISTS `{self._options.database}`{on}")
        sql = f"CREATE TABLE {place}{on} ({columns}) ENGINE = {kind}{engine}"
        yield Ask(sql, settings={"max_query_size": 262_144 + size})

    def _drop(self, opened: Opened) -> Steps[None]:
        yield Ask(f"DROP TABLE {self._place(opened.info.name)}{self._on_cluster} SYNC")

    # ---------------------------------------------------------------------------------------------------------- claims

    def _claim(self, opened: Opened, claim: str, ids: Sequence[str]) -> Steps[None]:
        row = b"".join([row_binary.text(claim), row_binary.texts([_key(opened.key + key) for key in ids]), b"\1"])
        ask = Ask(f"{self._claiming} claim ids sign", rows=row)
        try:
            yield ask
        except GoneError:  # nobody has made it yet
            with suppress(TakenError):
                columns = "claim String, ids Array(String), sign Int8"
                yield from self._define(self._claiming, columns, "CollapsingMergeTree(sign) ORDER BY claim")
            try:
                yield ask
            except GoneError as error:
                raise documents.not_ours(f"ClickHouse's table {self._claiming}") from error

    def _claims(self, opened: Opened, ids: Sequence[str]) -> Steps[Sequence[str]]:
        sql = f"SELECT claim FROM {self._claiming} WHERE hasAny(ids, {{}}) GROUP BY claim HAVING sum(sign) > 0"
        found = yield Ask(f"{sql} {_FORMAT}", [[_key(opened.key + key) for key in ids]])
        return [claim for (claim,) in row_binary.rows(found, "s")]

    def _withdraw(self, opened: Opened, claim: str) -> Steps[None]:
        rows = (
            f"SELECT claim, ids, -1 FROM {self._claiming} WHERE claim = {{}} GROUP BY claim, ids HAVING sum(sign) > 0"
        )
        yield Ask(f"INSERT INTO {self._claiming} (claim, ids, sign) {rows}", [claim])

    # ------------------------------------------------------------------------------------------------------- documents

    def _select(
        self, opened: Opened, what: str, ids: Sequence[str] | None, expression: Expression | None, more: str = ""
    ) -> tuple[str, list[Any]]:
        """Return a statement about the documents with these ids (None: any) that an expression selects."""
        parts = [Expression(f"{opened.key} != ''" if ids is None else f"{opened.key} IN {{}}")]
        values = [] if ids is None else [[_key(key) for key in ids]]
        if expression is not None:
            parts.append(expression)
        conditions = " AND ".join(["NOT deleted", *(part.text for part in parts)])
        values += [value for part in parts for value in part.values]
        return f"SELECT {what} FROM {self._place(opened.info.name)} FINAL WHERE {conditions}{more}", values

    def _read(self, kinds: str, *query: Any) -> Steps[list[Any]]:
        sql, values = self._select(*query)
        return row_binary.rows((yield Ask(f"{sql} {_FORMAT}", values)), kinds)

    def _scan(self, opened: Opened, ids: Sequence[str] | None, expression: Expression | None) -> Scanned:
        found = yield from self._read("ss", opened, "id, facts", ids, expression)
        return [(key, loads(facts)["metadata"]) for key, facts in found]

    def _put(self, opened: Opened, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_rows(opened, rows, new=False)

    def _store(self, opened: Opened, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_rows(opened, rows, new=True)

    def _write_rows(self, opened: Opened, rows: Sequence[DocumentRow], *, new: bool) -> Steps[None]:
        place = self._place(opened.info.name)
        counted = f"SELECT toUInt64(count({opened.key})), toUInt64(max(ver)) FROM {place} {_FORMAT}"
        ((number, highest),) = row_binary.rows((yield Ask(counted)), "nn")
        versions: dict[str, int] = {}
        if highest > 1:  # something was deleted once
            versions = dict((yield from self._paged(self._versions, opened, [_key(row.id) for row in rows])))
        data: list[bytes] = []
        for row, vector, projected in projection.project_rows(opened.info.distance, rows):
            key = _key(row.id)
            version = versions.get(key, 0)
            data += [
                row_binary.text(key),
                struct.pack("<I", version & ~1 if new else version | 1),
                *map(row_binary.text, (row.id, row.content, documents.encoded_facts(row, vector))),
                row_binary.texts(projected.tokens),
                row_binary.size(len(projected.numbers)),
                *(row_binary.text(name) + struct.pack("<d", number) for name, number in projected.numbers.items()),
                row_binary.size(len(vector)),
                documents.vector_bytes(vector),
            ]
        yield Ask(f"{place} {opened.key} {_COLUMNS}", rows=b"".join(data))
        if not opened.indexed and number + len(rows) > self._options.index_above:
            yield from self._index(opened)

    def _versions(self, opened: Opened, keys: Sequence[str]) -> Steps[list[tuple[str, int]]]:
        """Return the versions of keys, also of deleted ones."""
        place = f"{self._place(opened.info.name)} WHERE {opened.key} IN {{}} GROUP BY {opened.key}"
        sql = f"SELECT {opened.key}, toUInt64(max(ver)) FROM {place} {_FORMAT}"
        return row_binary.rows((yield Ask(sql, [list(keys)])), "sn")

    def _index(self, opened: Opened) -> Steps[None]:
        info = opened.info
        place = f"{self._place(info.name)}{self._on_cluster}"
        metric = "dotProduct" if info.distance == "dot" else "L2Distance"
        index = f"nearest vector TYPE vector_similarity('hnsw', '{metric}', {info.dimension})"
        # Where a server has no such index, or the user may not make one, searches stay exact.
        with suppress(PersistenceError):
            yield Ask(f"ALTER TABLE {place} ADD INDEX IF NOT EXISTS {index}")
            yield Ask(f"ALTER TABLE {place} MATERIALIZE INDEX nearest", settings={"mutations_sync": 0})
        self._opened.pop(info.name, None)

    def _rank(self, opened: Opened, query: array[float], limit: int, expression: Expression | None) -> Ranked:
        distance, place = opened.info.distance, self._place(opened.info.name)
        asked = projection.bounded_query(distance, query)
        product, length = "dotProduct(vector, {}) DESC", "L2Distance(vector, {})"
        order = f" ORDER BY {product if projection.product_distance(distance) == 'dot' else length} LIMIT {{}}"
        if opened.indexed and expression is None and limit <= _MOST:
            # The index does not know which rows have been replaced, so it is asked for more.
            own, inner = f"{opened.key}, written", product if distance == "dot" else length
            near = f"({own}) IN (SELECT {own} FROM {place} ORDER BY {inner} LIMIT {{}})"
            sql, values = self._select(opened, _RESULT, None, Expression(near, (asked, 2 * limit)), order)
            settings = {"hnsw_candidate_list_size_for_search": max(256, 2 * limit)}
            if distance == "dot":  # else the index's own numbers are ranked, which are the lower the nearer
                settings["vector_search_with_rescoring"] = 1
            found = row_binary.rows((yield Ask(f"{sql} {_FORMAT}", [*values, asked, limit], settings)), "sssv")
            if len(found) == limit:
                return [_candidate(*row) for row in found]
        total = f"assumeNotNull((SELECT toUInt64(count({opened.key})) FROM {place}))"
        sql, values = self._select(opened, f"{_RESULT}, {total}", None, expression, order)
        settings = {"use_skip_indexes": 0}
        found = row_binary.rows((yield Ask(f"{sql} {_FORMAT}", [*values, asked, limit], settings)), "sssvn")
        if found and not opened.indexed and found[0][4] > self._options.index_above:
            self._opened.pop(opened.info.name, None)  # somebody may have made an index
        return [_candidate(*row[:4]) for row in found]

    def _fetch(self, opened: Opened, ids: Sequence[str]) -> Ranked:
        return [_candidate(*row) for row in (yield from self._read("sssv", opened, _RESULT, ids, None))]

    def _count(self, opened: Opened, expression: Expression | None, ids: Sequence[str] | None = None) -> Steps[int]:
        found = yield from self._read("n", opened, f"toUInt64(count({opened.key}))", ids, expression)
        return int(found[0][0])

    def _remove(self, opened: Opened, ids: Sequence[str] | None, expression: Expression | None) -> Steps[int]:
        gone = yield from self._count(opened, expression, ids)
        if gone:
            # Removing rows would wait for merges.
            nothing = f"arrayWithConstant({opened.info.dimension}, toFloat32(0))"
            what = f"{opened.key}, bitOr(ver, 1) + 1, 1, {nothing}"
            sql, values = self._select(opened, what, ids, expression)
            columns = f"({opened.key}, ver, deleted, vector)"
            yield Ask(f"INSERT INTO {self._place(opened.info.name)} {columns} {sql}", values)
        return gone


def _facts(comment: str) -> dict[str, Any] | None:
    """Return what a collection was created with; None: somebody else made it."""
    with suppress(ValueError):
        return documents.written_facts(b64decode(comment, validate=True).decode(), "key")
    return None


def _candidate(key: str, content: str, facts: str, vector: array[float]) -> Candidate:
    return documents.document_candidate(key, content, loads(facts), lambda: vector)
