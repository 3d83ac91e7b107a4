"""Knowledge in Turso: a table for each collection, in which the engine compares every vector.

libSQL's index of vectors is not used; the package's README says why.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence.errors import PersistenceError, SerializationError
from praisonai_persistence.filters import SQLCompiler
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import reads
from praisonai_persistence.stores.projection import TokenCompiler, project_rows
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.vector_documents import check_dimension, not_ours, vector_bytes
from praisonai_persistence.stores.vector_engine import GoneError, VectorSteps
from praisonai_persistence.vectors import norm, unpack
from praisonai_persistence_sql import Execute, Fetch, Migration, Migrations
from praisonai_persistence_turso._dialect import LibSQL
from praisonai_persistence_turso._hrana import NO_TABLE, Transaction

if TYPE_CHECKING:
    from array import array
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned

__all__ = ["TursoKnowledgeSteps"]

LARGEST_DIMENSION = 65_536
"""The engine compares no longer vectors."""
_LARGEST_LIMIT = 2**62
_TABLES = ("vector_collections",)
_MIGRATIONS = (
    Migration(
        1,
        "collections",
        up=(
            """CREATE TABLE {vector_collections} (
                name {t_id} NOT NULL PRIMARY KEY,
                dimension {t_int} NOT NULL,
                distance {t_text} NOT NULL,
                metadata {t_text},
                documents {t_text} NOT NULL
            )""",
        ),
        down=("DROP TABLE {vector_collections}",),
        drops=("vector_collections",),
    ),
)
# What a search compares stands before what it does not, so that long contents cost nothing there.
_DOCUMENTS = """CREATE TABLE {table} (
    row_id INTEGER PRIMARY KEY,
    id {t_id} NOT NULL UNIQUE,
    tokens {t_blob} NOT NULL,
    numbers {t_text},
    length {t_real},
    ranked {t_blob} NOT NULL,
    embedding {t_blob},
    metadata {t_text},
    content_hash {t_text},
    created_at {t_real} NOT NULL,
    content {t_text} NOT NULL
)"""
_COLUMNS = (
    "id", "tokens", "numbers", "length", "ranked", "embedding", "metadata", "content_hash", "created_at", "content",
)  # fmt: skip
_VALUES = f"({', '.join('?' * len(_COLUMNS))})"
_DOCUMENT = "id, content, coalesce(embedding, ranked), metadata, content_hash, created_at"
_RANKS = {
    # A vector of zeros has no cosine, NULL; its score is 0.
    "cosine": "coalesce(vector_distance_cos(ranked, ?), 1)",
    "dot": "coalesce((vector_distance_cos(ranked, ?) - 1) * length, 0)",
    "euclidean": "vector_distance_l2(ranked, ?)",
}
"""Lower is better."""


class _Migrations(Migrations):
    """Tables beside what somebody else may have made."""

    def _adopt_first(self) -> Steps[bool]:
        if (yield Fetch(*self._dialect.find_table(self._prefix, _TABLES[0]))):
            raise not_ours(f"the table {self._prefix}{_TABLES[0]}")
        return False


class Opened(NamedTuple):
    """A collection.

    Attributes:
        info: what it was created with.
        table: its documents; another one if it is made anew.
    """

    info: CollectionInfo
    table: str


class _Compiler(SQLCompiler, TokenCompiler[str]):
    """To conditions of SQL; tokens are hexadecimal digits, stored as bytes, so nothing has to be quoted."""

    most_parts = 500

    def has(self, tokens: Sequence[str]) -> str:
        return self.any_of([f"instr(tokens, x'{token}')" for token in tokens])

    def bound(self, name: str, number: float, *, upper: bool) -> str:
        return f"coalesce(numbers ->> '$.\"{name}\"' {'<=' if upper else '>='} {number!r}, FALSE)"


class TursoKnowledgeSteps(VectorSteps[Opened, str]):
    """Knowledge in Turso.

    Args:
        prefix: the ``table_prefix``.
        largest_row: bytes that a document may have together with what is searched of it; None: any number.
    """

    remembers: ClassVar[bool] = True  # a collection that was deleted has lost its table; one made anew has another
    most_ids = 10_000
    most_bytes: ClassVar[int | None] = 1_000_000
    most_rows: ClassVar[int | None] = 20  # of one statement; beyond that there is nothing to gain

    def __init__(self, prefix: str, largest_row: int | None) -> None:
        super().__init__(_Compiler())
        self._dialect = LibSQL()
        self._prefix = prefix
        self._largest_row = largest_row
        self.migrations = _Migrations(self._dialect, prefix, "knowledge", _TABLES, _MIGRATIONS)
        self._collections = self._dialect.tables(prefix, _TABLES)["vector_collections"]

    def _ask(self, request: Any) -> Steps[Any]:
        """Do a request on a collection's table, if that is there."""
        try:
            return (yield request)
        except PersistenceError as error:
            if NO_TABLE not in str(error.__cause__):
                raise
            raise GoneError("the collection is not there any more") from error

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return [name for (name,) in (yield Fetch(f"SELECT name FROM {self._collections} ORDER BY name"))]

    def _find(self, name: str, *, fresh: bool) -> Steps[Opened | None]:
        columns = "dimension, distance, metadata, documents"
        rows = yield Fetch(f"SELECT {columns} FROM {self._collections} WHERE name = ?", (name,))
        if not rows:
            return None
        dimension, distance, metadata, table = rows[0]
        info = CollectionInfo(name, dimension, distance, None if metadata is None else loads(metadata))
        return Opened(info, self._dialect.quote(table))

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        check_dimension("Turso", info, LARGEST_DIMENSION)
        table = f"{self._prefix}documents_{uuid.uuid4().hex[:16]}"
        create = self._dialect.prepare(_DOCUMENTS, {"table": self._dialect.quote(table)})
        insert = f"INSERT INTO {self._collections} VALUES (?, ?, ?, ?, ?)"
        values = (info.name, info.dimension, info.distance, metadata, table)
        yield Transaction([(create, ()), (insert, values)])

    def _drop(self, opened: Opened) -> Steps[None]:
        delete = f"DELETE FROM {self._collections} WHERE name = ?"
        yield from self._ask(Transaction([(f"DROP TABLE {opened.table}", ()), (delete, (opened.info.name,))]))

    # ------------------------------------------------------------------------------------------------------- documents

    @staticmethod
    def _where(opened: Opened, ids: Sequence[str] | None, expression: str | None) -> tuple[str, list[str]]:
        """Return what selects the documents with these ids (None: any) that an expression selects, and its values."""
        parts = [] if expression is None else [expression]
        if ids is not None:
            parts.append("id IN (SELECT value FROM json_each(?))")
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        return f"FROM {opened.table}{where}", [] if ids is None else [json.dumps(list(ids), ensure_ascii=False)]

    def _select(self, opened: Opened, what: str, ids: Sequence[str] | None, expression: str | None) -> Steps[list[Any]]:
        where, values = self._where(opened, ids, expression)
        rows: list[Any] = yield from self._ask(Fetch(f"SELECT {what} {where}", values))
        return rows

    def _scan(self, opened: Opened, ids: Sequence[str] | None, expression: str | None) -> Scanned:
        return (yield from self._select(opened, "id, metadata", ids, expression))

    def _fetch(self, opened: Opened, ids: Sequence[str]) -> Ranked:
        return [_candidate(*row) for row in (yield from self._select(opened, _DOCUMENT, ids, None))]

    def _count(self, opened: Opened, expression: str | None) -> Steps[int]:
        return int((yield from self._select(opened, "count(*)", None, expression))[0][0])

    def _remove(self, opened: Opened, ids: Sequence[str] | None, expression: str | None) -> Steps[int]:
        where, values = self._where(opened, ids, expression)
        return int((yield from self._ask(Execute(f"DELETE {where}", values))))

    def _put(self, opened: Opened, rows: Sequence[DocumentRow]) -> Steps[None]:
        distance = opened.info.distance
        upsert = self._dialect.upsert(opened.table, _COLUMNS, ["id"])
        statements: list[tuple[str, Sequence[Any]]] = []
        for some in self._portions(opened, rows):
            values: list[Any] = []
            for row, ranked, projected in project_rows("euclidean" if distance == "euclidean" else "cosine", some):
                made = (
                    row.id,
                    bytes.fromhex("".join(projected.tokens)),
                    json.dumps(projected.numbers) if projected.numbers else None,
                    norm(row.embedding) if distance == "dot" else None,
                    vector_bytes(ranked),
                    None if ranked is row.embedding else vector_bytes(row.embedding),
                    row.metadata,
                    row.content_hash,
                    row.created_at,
                    row.content,
                )
                self._check_size(made)
                values += made
            statements.append((upsert.replace(_VALUES, ", ".join([_VALUES] * len(some)), 1), values))
        yield from self._ask(Transaction(statements))

    def _check_size(self, values: Sequence[Any]) -> None:
        if self._largest_row is None:
            return
        size = sum(len(value.encode()) for value in values if isinstance(value, str))
        size += sum(len(value) for value in values if isinstance(value, bytes))
        if size > self._largest_row:
            raise SerializationError(
                f"the document takes {size} bytes with its embedding and what is searched of its metadata, the server "
                f"{self._largest_row}; nothing was written"
            )

    # ---------------------------------------------------------------------------------------------------------- search

    def _rank(self, opened: Opened, query: array[float], limit: int, expression: str | None) -> Ranked:
        rank = _RANKS[opened.info.distance]
        where, _ = self._where(opened, None, expression)
        # In two steps, so that what is sorted are numbers.
        best = f"SELECT row_id AS best, {rank} AS rank {where} ORDER BY rank LIMIT ?"
        sql = f"SELECT {_DOCUMENT} FROM ({best}) JOIN {opened.table} ON row_id = best ORDER BY rank"
        rows = yield from self._ask(Fetch(sql, (vector_bytes(query), min(limit, _LARGEST_LIMIT))))
        return [_candidate(*row) for row in rows]


def _candidate(
    key: str, content: str, embedding: bytes, metadata: str | None, content_hash: str | None, created_at: float
) -> Candidate:
    return Candidate(key, content, unpack(embedding), metadata, content_hash, created_at)
