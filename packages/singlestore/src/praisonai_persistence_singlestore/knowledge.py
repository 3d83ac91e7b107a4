"""Knowledge in SingleStore: a columnstore table for each collection, searched by vector and by tokens of the metadata.

Every document is compared, unless the collection has an index of its vectors, and many documents.
"""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import DimensionLimitError, DocumentExistsError
from praisonai_persistence.filters import joined
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores import projection
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.vector_engine import GoneError, TakenError, VectorSteps
from praisonai_persistence.vectors import unpack
from praisonai_persistence_mysqlcore.errors import DUPLICATE, NO_SUCH_TABLE, DriverError, number_of
from praisonai_persistence_singlestore._dialect import SingleStore
from praisonai_persistence_sql import Execute, Fetch, Migration, Migrations, Undo

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned

__all__ = ["EXACT", "SingleStoreVectorSteps", "VectorOptions"]

EXACT = 1_000
"""Up to so many documents a search is exact (K09)."""
_TOO_LONG = frozenset({1074, 1118})
"""Of a new table: a column, or a row, has more bytes than the server takes. How many that are is not documented."""
_TABLES = ("collections",)
_MIGRATIONS = (
    Migration(
        1,
        "collections",
        up=(
            """CREATE ROWSTORE TABLE IF NOT EXISTS {collections} (
                name {t_id} NOT NULL,
                facts {t_text} NOT NULL,
                documents {t_id} NOT NULL,
                indexed {t_int} NOT NULL,
                PRIMARY KEY (name),
                SHARD KEY (name)
            )""",
        ),
        down=("DROP TABLE IF EXISTS {collections}",),
        drops=("collections",),
    ),
)
_COLUMNS = ("id", "content", "metadata", "content_hash", "created_at", "embedding", "tokens", "numbers", "ranked")
_DOCUMENT = ", ".join(_COLUMNS[:6])
_UPSERT = ", ".join(f"{column} = VALUES({column})" for column in _COLUMNS[1:])
_OPERATORS = {"dot": ("<*>", "DOT_PRODUCT", " DESC"), "euclidean": ("<->", "EUCLIDEAN_DISTANCE", "")}
_TOKEN = re.compile("[0-9a-f]{32}")


class VectorOptions(NamedTuple):
    """What a store was told.

    Attributes:
        index_type: of the index that new collections get; None: none.
        index_from: documents from which on an index is used.
    """

    index_type: str | None
    index_from: int


class Opened(NamedTuple):
    """A collection.

    Attributes:
        info: what it was created with.
        table: its documents; another one if it is made anew.
        indexed: whether it has an index of its vectors.
    """

    info: CollectionInfo
    table: str
    indexed: bool


class _Compiler(projection.TokenCompiler[str]):
    """To conditions of SQL; tokens are hexadecimal digits, so nothing has to be quoted."""

    most_parts = 500

    def has(self, tokens: Sequence[str]) -> str:
        return self.any_of([f"tokens LIKE '%{_checked(token)}%'" for token in tokens])

    def bound(self, name: str, number: float, *, upper: bool) -> str:
        stored = f"JSON_EXTRACT_DOUBLE(numbers, '{_checked(name)}')"
        return f"COALESCE({stored} {'<=' if upper else '>='} {number!r}, FALSE)"

    def all_of(self, parts: Sequence[str]) -> str:
        return joined(parts, lambda some: f"({' AND '.join(some)})")

    def any_of(self, parts: Sequence[str]) -> str:
        return joined(parts, lambda some: f"({' OR '.join(some)})")

    def negate(self, part: str) -> str:
        return f"NOT ({part})"

    def nothing(self) -> str:
        return "FALSE"


def _checked(token: str) -> str:
    if not _TOKEN.fullmatch(token):
        raise ValueError("a token is 32 hexadecimal digits")
    return token


class SingleStoreVectorSteps(VectorSteps[Opened, str]):
    """Knowledge in SingleStore.

    Args:
        prefix: the ``table_prefix``.
        options: what the store was told.
    """

    remembers = True  # a collection that was deleted has lost its table, and one made anew has another
    most_ids = 2_000
    most_bytes = 4_000_000

    def __init__(self, prefix: str, options: VectorOptions) -> None:
        super().__init__(_Compiler())
        self._dialect = SingleStore()
        self._prefix = prefix
        self._options = options
        self.migrations = Migrations(self._dialect, prefix, "knowledge", _TABLES, _MIGRATIONS)
        self._collections = self._dialect.tables(prefix, _TABLES)["collections"]

    def _ask(self, request: Any) -> Steps[Any]:
        """Do a request on a collection's table, if that is there."""
        try:
            return (yield request)
        except DriverError as error:
            if number_of(error) != NO_SUCH_TABLE:
                raise
            yield Undo()
            raise GoneError("the collection is not there any more") from error

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return [name for (name,) in (yield Fetch(f"SELECT name FROM {self._collections} ORDER BY name"))]

    def _find(self, name: str, *, fresh: bool) -> Steps[Opened | None]:
        rows = yield Fetch(f"SELECT facts, documents, indexed FROM {self._collections} WHERE name = %s", (name,))
        return (
            Opened(documents.collection_info(name, loads(rows[0][0])), rows[0][1], bool(rows[0][2])) if rows else None
        )

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        table = self._dialect.quote(f"{self._prefix}documents_{uuid.uuid4().hex[:16]}")
        columns = self._dialect.prepare(
            "id {t_id} NOT NULL, content {t_text} NOT NULL, metadata {t_text}, content_hash {t_text}, "
            "created_at {t_text} NOT NULL, embedding {t_blob} NOT NULL, tokens {t_text} NOT NULL, "
            f"numbers JSON NOT NULL, ranked VECTOR({info.dimension}, F32) NOT NULL",
            {},
        )
        keys = "SHARD KEY (id), UNIQUE KEY (id) USING HASH"
        index = self._options.index_type
        if index is not None:
            metric = _OPERATORS[projection.product_distance(info.distance)][1]
            options = json.dumps({"index_type": index.upper(), "metric_type": metric})
            keys += f", VECTOR INDEX nearest (ranked) INDEX_OPTIONS '{options}'"
        try:
            yield Execute(f"CREATE TABLE {table} ({columns}, {keys})")
        except DriverError as error:
            if number_of(error) not in _TOO_LONG:
                raise
            raise DimensionLimitError(f"the server takes no vectors of {info.dimension:,} numbers") from error
        facts = json.dumps(documents.collection_facts(info, metadata))
        try:
            insert = f"INSERT INTO {self._collections} (name, facts, documents, indexed) VALUES (%s, %s, %s, %s)"
            yield Execute(insert, (info.name, facts, table, int(index is not None)))
        except DriverError as error:
            if number_of(error) != DUPLICATE:
                raise
            yield Execute(f"DROP TABLE {table}")
            raise TakenError("somebody else made it meanwhile") from error

    def _drop(self, opened: Opened) -> Steps[None]:
        sql = f"DELETE FROM {self._collections} WHERE name = %s AND documents = %s"
        if not (yield Execute(sql, (opened.info.name, opened.table))):
            raise GoneError("the collection is not there any more")
        yield Execute(f"DROP TABLE IF EXISTS {opened.table}")

    # ------------------------------------------------------------------------------------------------------- documents

    def _select(
        self, opened: Opened, what: str, ids: Sequence[str] | None, expression: str | None, start: str = "SELECT"
    ) -> tuple[str, list[Any]]:
        """Return a statement about the documents with these ids (None: any) that an expression selects."""
        parts = [] if ids is None else [f"id IN ({', '.join(['%s'] * len(ids))})"]
        if expression is not None:
            parts.append(expression.replace("%", "%%"))
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        return f"{start} {what} FROM {opened.table}{where}", list(ids or ())

    def _scan(self, opened: Opened, ids: Sequence[str] | None, expression: str | None) -> Scanned:
        rows: list[tuple[str, str | None]]
        rows = yield from self._ask(Fetch(*self._select(opened, "id, metadata", ids, expression)))
        return rows

    def _fetch(self, opened: Opened, ids: Sequence[str]) -> Ranked:
        rows = yield from self._ask(Fetch(*self._select(opened, _DOCUMENT, ids, None)))
        return [_candidate(*row) for row in rows]

    def _count(self, opened: Opened, expression: str | None) -> Steps[int]:
        return int((yield from self._ask(Fetch(*self._select(opened, "COUNT(*)", None, expression))))[0][0])

    def _remove(self, opened: Opened, ids: Sequence[str] | None, expression: str | None) -> Steps[int]:
        return int((yield from self._ask(Execute(*self._select(opened, "", ids, expression, "DELETE")))))

    def _put(self, opened: Opened, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_rows(opened, rows, f" ON DUPLICATE KEY UPDATE {_UPSERT}")

    def _add(self, opened: Opened, rows: Sequence[DocumentRow]) -> Steps[None]:
        try:
            yield from self._write_rows(opened, rows, "")
        except DriverError as error:
            if number_of(error) != DUPLICATE:
                raise
            yield Undo()
            raise DocumentExistsError("a document of the batch was inserted meanwhile; nothing was written") from error

    def _write_rows(self, opened: Opened, rows: Sequence[DocumentRow], end: str) -> Steps[None]:
        # One order for everybody: two writers that wait for each other would do so until lock_wait_timeout.
        ordered = sorted(rows, key=lambda row: row.id)
        one = f"(%s, %s, %s, %s, %s, UNHEX(%s), %s, %s, (%s :> VECTOR({opened.info.dimension})))"
        for some in self._portions(opened, ordered):
            values: list[Any] = []
            for row, vector, projected in projection.project_rows(opened.info.distance, some):
                values += [row.id, row.content, row.metadata, row.content_hash, row.created_at.hex()]
                values += [documents.vector_bytes(row.embedding).hex(), " ".join(projected.tokens)]
                values += [json.dumps(projected.numbers), _text(vector)]
            sql = f"INSERT INTO {opened.table} ({', '.join(_COLUMNS)}) VALUES {', '.join([one] * len(some))}{end}"
            yield from self._ask(Execute(sql, values))

    # ---------------------------------------------------------------------------------------------------------- search

    def _rank(self, opened: Opened, query: array[float], limit: int, expression: str | None) -> Ranked:
        distance = projection.product_distance(opened.info.distance)
        operator, _, order = _OPERATORS[distance]
        asked = _text(projection.bounded_query(opened.info.distance, query))
        rank = f"ranked {operator} (%s :> VECTOR({opened.info.dimension}))"
        if expression is not None or not opened.indexed or not (yield from self._is_large(opened)):
            # An index, which finds most, or too few under a filter, serves no order but that of the plain operator.
            rank = f"0 + ({rank})"
        sql, values = self._select(opened, _DOCUMENT, None, expression)
        rows = yield from self._ask(Fetch(f"{sql} ORDER BY {rank}{order} LIMIT %s", [*values, asked, limit]))
        return [_candidate(*row) for row in rows]

    def _is_large(self, opened: Opened) -> Steps[bool]:
        return (yield from self._count(opened, None)) >= self._options.index_from


def _candidate(
    key: str, content: str, metadata: str | None, content_hash: str | None, created_at: str, embedding: bytes
) -> Candidate:
    return Candidate(key, content, unpack(embedding), metadata, content_hash, float.fromhex(created_at))


def _text(vector: Sequence[float] | array[float]) -> str:
    """Return 32-bit floats as JSON."""
    return f"[{','.join([f'{number:.9g}' for number in vector])}]"
