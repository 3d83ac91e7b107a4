"""Knowledge in SQLite: every document is scored, by sqlite-vec where Python can load it, so recall is exact."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError
from praisonai_persistence.filters import matches
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import KnowledgeSteps
from praisonai_persistence.stores.knowledge import decode_document, same_collection
from praisonai_persistence.vectors import check_dimension, norm, scorer, scores, unpack
from praisonai_persistence_sql import Execute, ExecuteMany, Fetch, Migration, Migrations, Snapshot
from praisonai_persistence_sqlite._connection import Define, LoadVectors, Memory
from praisonai_persistence_sqlite._dialect import SQLite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.stores.knowledge import DocumentRow, Search

__all__ = ["SQLiteKnowledgeSteps"]

_TABLES = ("collections", "documents")
_MIGRATIONS = (
    Migration(
        1,
        "collections",
        up=(
            """CREATE TABLE {collections} (
                number INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                dimension INTEGER NOT NULL,
                distance TEXT NOT NULL,
                metadata TEXT
            )""",
        ),
        down=("DROP TABLE {collections}",),
        drops=("collections",),
    ),
)
# What a scan reads stands before what it does not, so that long contents cost nothing there.
_DOCUMENTS = """CREATE TABLE {table} (
    row_id INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    norm REAL NOT NULL,
    embedding BLOB NOT NULL,
    metadata TEXT,
    created_at REAL NOT NULL,
    content_hash TEXT,
    content TEXT NOT NULL
)"""
_COLUMNS = ["id", "norm", "embedding", "metadata", "created_at", "content_hash", "content"]
_RESULT = "d.id, d.content, d.embedding, d.metadata, d.content_hash, d.created_at"

# Rank: lower is better. sqlite-vec computes in 32-bit floats, which lengths like these neither overflow nor lose.
_SAFE = (1e-15, 1e15)
_RANKS = {
    "cosine": "vec_distance_cosine(embedding, :query) - 1",
    "dot": "(vec_distance_cosine(embedding, :query) - 1) * norm * :norm",
    "euclidean": "vec_distance_l2(embedding, :query)",
}
# Ranks are a little off where scores, computed anew in doubles, are exact: so there are candidates beyond the limit.
_SPARE = 10
_TOLERANCE = 1e-5
_FEW = 200
"""The limit up to which a search may look at embeddings in memory."""


def _off(dimension: int) -> float:
    """Return how far a rank may be off: each sum, of the products and of the squares, by a rounding for each number."""
    return max(_TOLERANCE, dimension * 2.0**-23)


class SQLiteKnowledgeSteps(KnowledgeSteps):
    """Knowledge in SQLite: one table of collections, and a table of documents for each.

    Filters run inside the query as a function that is the reference evaluator itself.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        dialect = SQLite()
        self.migrations = Migrations(dialect, prefix, "knowledge", _TABLES, _MIGRATIONS)
        self._dialect = dialect
        self._prefix = prefix
        table = dialect.tables(prefix, _TABLES)["collections"]
        self._find = f"SELECT number, name, dimension, distance, metadata FROM {table} WHERE name = ?"
        self._list = f"SELECT name FROM {table} ORDER BY name"
        self._insert = f"INSERT INTO {table} (name, dimension, distance, metadata) VALUES (?, ?, ?, ?) RETURNING number"
        self._delete = f"DELETE FROM {table} WHERE number = ?"

    # ----------------------------------------------------------------------------------------------------- collections

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        rows = yield Fetch(self._find, (info.name,))
        if rows:
            same_collection(_info(rows[0]), info)
            return
        number = (yield Fetch(self._insert, (info.name, info.dimension, info.distance, metadata)))[0][0]
        yield Execute(_DOCUMENTS.format(table=self._documents(number)))

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        table, _, number = yield from self._need(name)
        yield Execute(f"DROP TABLE {table}")
        yield Execute(self._delete, (number,))

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield from self._need(name))[1]

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return [row[0] for row in (yield Fetch(self._list))]

    def _documents(self, number: int) -> str:
        return self._dialect.quote(f"{self._prefix}documents_{number}")

    def _need(self, name: str) -> Steps[tuple[str, CollectionInfo, int]]:
        rows = yield Fetch(self._find, (name,))
        if not rows:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return self._documents(rows[0][0]), _info(rows[0]), rows[0][0]

    # ------------------------------------------------------------------------------------------------------- documents

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        table, info, _ = yield from self._need(collection)
        for sql, ids in _in(f"SELECT id FROM {table}", [row.id for row in rows]):
            taken = yield Fetch(sql, ids)
            if taken:
                raise DocumentExistsError(f"document {taken[0][0]!r} exists already; nothing was written")
        yield ExecuteMany(_values(f"INSERT INTO {table}"), _rows(rows, info))

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        table, info, _ = yield from self._need(collection)
        yield ExecuteMany(self._dialect.upsert(table, _COLUMNS, ["id"]), _rows(rows, info))

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        yield Snapshot()
        table, info, _ = yield from self._need(collection)
        check_dimension(len(search.query), info.dimension, "query_embedding")
        query, length = search.query, norm(search.query)
        rows = yield from self._remembered(table, info, search, length)
        if rows is None:
            rows = yield from self._ranked(table, info, search, length)
        values = scores(info.distance, query, [unpack(row[2]) for row in rows])
        scored = list(zip(values, rows, strict=True))
        if search.score_threshold is not None:
            scored = [pair for pair in scored if pair[0] >= search.score_threshold]
        scored.sort(key=lambda pair: (-pair[0], pair[1][0]))
        return [_document(row, value, with_embedding=search.with_embeddings) for value, row in scored[: search.limit]]

    def _remembered(
        self, table: str, info: CollectionInfo, search: Search, length: float
    ) -> Steps[list[tuple[Any, ...]] | None]:
        """Return the rows that may be the best by embeddings in memory; None: they must be read."""
        asked = search.limit + _SPARE
        if search.filters is not None or not 0 < search.limit <= _FEW or not _SAFE[0] < length < _SAFE[1]:
            return None
        memory = None if sys.modules.get("numpy") is None else (yield Memory())
        if memory is None:
            return None
        from praisonai_persistence_sqlite import _matrices

        known = _matrices.table_of(memory, table, (yield Fetch("PRAGMA data_version"))[0][0])
        known.searches += 1
        matrix = known.matrix
        if matrix is None:
            if known.searches != _matrices.SEARCHES:
                return None
            count, low, high = (yield Fetch(f"SELECT COUNT(*), MIN(norm), MAX(norm) FROM {table}"))[0]
            if not count or count * info.dimension * 4 > _matrices.LIMIT / 2 or low < _SAFE[0] or high > _SAFE[1]:
                return None
            found = yield Fetch(f"SELECT row_id, norm, embedding FROM {table}")
            matrix = _matrices.Matrix(found, info.dimension)
            _matrices.keep(known, matrix)
        ranks = matrix.ranks(info.distance, search.query, length)
        best = ranks.argpartition(asked - 1)[:asked] if asked < len(ranks) else ranks.argsort()
        best = best[ranks[best].argsort()]
        if len(best) == asked:
            scale = matrix.longest * length if info.distance == "dot" else abs(ranks[best]).max()
            if ranks[best[-1]] <= ranks[best[search.limit - 1]] + _off(info.dimension) * max(1.0, scale):
                return None  # so many are alike that the best may be among those that were left out
        chosen = matrix.ids[best].tolist()
        rows = yield Fetch(f"SELECT {_RESULT} FROM {table} d WHERE row_id IN ({', '.join('?' * len(chosen))})", chosen)
        return rows  # type: ignore[no-any-return]

    def _ranked(self, table: str, info: CollectionInfo, search: Search, length: float) -> Steps[list[tuple[Any, ...]]]:
        """Return the rows that may be the best, of all that match."""
        query = search.query
        exact = scorer(info.distance, query)

        def rank(data: bytes) -> float:
            return -exact(unpack(data))

        yield Define("praison_rank", rank)
        order = "praison_rank(embedding)"
        if _SAFE[0] < length < _SAFE[1] and (yield LoadVectors()):
            low, high = _SAFE
            order = f"CASE WHEN norm BETWEEN {low} AND {high} THEN {_RANKS[info.distance]} ELSE {self._exact(info)} END"
        where = yield from self._where(search.filters)
        ranked = f"SELECT row_id, id, norm, {order} AS rank FROM {table}{where}"
        found = f"SELECT {_RESULT}, r.norm, r.rank FROM ({{}}) r JOIN {table} d USING (row_id) ORDER BY r.rank, r.id"
        values = {"query": _blob(query), "norm": length, "limit": min(search.limit, 2**62) + _SPARE}
        rows = yield Fetch(found.format(f"{ranked} ORDER BY rank, id LIMIT :limit"), values)
        if 0 < search.limit < len(rows):
            scale = max(row[7] for row in rows)
            if info.distance == "dot":
                scale = length * (yield Fetch(f"SELECT MAX(norm) FROM {table}"))[0][0]
            last = rows[search.limit - 1][7] + _off(info.dimension) * max(1.0, scale)
            if rows[-1][7] <= last:  # so many are alike that the best may be among those that were left out
                rows = yield Fetch(
                    found.format(f"SELECT * FROM ({ranked}) WHERE rank <= :last"), {**values, "last": last}
                )
        return [row[:6] for row in rows]

    @staticmethod
    def _exact(info: CollectionInfo) -> str:
        """Return the exact rank on the scale of ``_RANKS``: a distance there is a score here."""
        if info.distance == "euclidean":
            return "-1 / praison_rank(embedding) - 1"
        return "praison_rank(embedding)"

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        yield Snapshot()
        table, _, _ = yield from self._need(collection)
        found: dict[str, Any] = {}
        for sql, some in _in(f"SELECT {_RESULT} FROM {table} d", list(dict.fromkeys(ids))):
            found.update({row[0]: row for row in (yield Fetch(sql, some))})
        return [_document(found[item], None, with_embedding=True) for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        yield Snapshot()
        table, _, _ = yield from self._need(collection)
        where = yield from self._where(filters)
        return int((yield Fetch(f"SELECT COUNT(*) FROM {table}{where}"))[0][0])

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        yield Snapshot()
        table, _, _ = yield from self._need(collection)
        where = yield from self._where(filters)
        return [key for (key,) in (yield Fetch(f"SELECT id FROM {table}{where}"))]

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        table, _, _ = yield from self._need(collection)
        where = yield from self._where(filters)
        if ids is None:
            return int((yield Execute(f"DELETE FROM {table}{where}")))
        gone = 0
        for sql, some in _in(f"DELETE FROM {table}", ids):
            gone += yield Execute(sql + where.replace(" WHERE ", " AND "), some)
        return gone

    def _where(self, filters: Filter | None) -> Steps[str]:
        if filters is None:
            return ""

        def selected(metadata: str | None) -> bool:
            return matches(filters, None if metadata is None else loads(metadata))

        yield Define("praison_filter", selected)
        return " WHERE praison_filter(metadata)"


def _info(row: Sequence[Any]) -> CollectionInfo:
    _, name, dimension, distance, metadata = row
    return CollectionInfo(name, dimension, distance, None if metadata is None else loads(metadata))


def _document(row: Sequence[Any], score: float | None, *, with_embedding: bool) -> KnowledgeDocument:
    key, content, embedding, metadata, content_hash, created_at = row
    vector = unpack(embedding) if with_embedding else None
    return decode_document(key, content, vector, metadata, content_hash, created_at, score)


def _blob(vector: array[float]) -> bytes:
    if sys.byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return vector.tobytes()


def _rows(rows: Sequence[DocumentRow], info: CollectionInfo) -> list[tuple[Any, ...]]:
    for row in rows:
        check_dimension(len(row.embedding), info.dimension)
    return [
        (r.id, norm(r.embedding), _blob(r.embedding), r.metadata, r.created_at, r.content_hash, r.content) for r in rows
    ]


def _values(statement: str) -> str:
    return f"{statement} ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


def _in(statement: str, ids: Sequence[str], size: int = 500) -> Iterator[tuple[str, Sequence[str]]]:
    for start in range(0, len(ids), size):
        some = ids[start : start + size]
        yield f"{statement} WHERE id IN ({', '.join('?' * len(some))})", some
