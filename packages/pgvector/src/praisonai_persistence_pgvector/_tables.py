"""The table of a collection, and the statements on it."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.vectors import norm
from praisonai_persistence_pgvector._filters import searchable, where

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.stores.knowledge import DocumentRow, Search
    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["LARGEST_DIMENSION", "Table", "Vector", "Vectors", "Wire", "received"]

LARGEST_DIMENSION = 16_000
"""What the type ``vector`` holds."""
_LARGEST_INDEXED, _LARGEST_INDEXED_IN_HALF = 2_000, 4_000
"""Dimensions that an HNSW index takes, of ``vector`` and of ``halfvec``."""
_INLINE = 6_400
"""Bytes of an embedding up to which it stands in its row, where a scan need not fetch it from elsewhere."""

# The extension computes in 32-bit floats, indexes of large embeddings in 16-bit ones. Lengths within these bounds
# neither overflow nor lose there; the scores of others, of zeros for example, are computed in 64 bits.
_SAFE = (1e-15, 1e15)
_SAFE_IN_HALF = (1e-2, 6e4)

_OPERATORS = {"cosine": ("<=>", "cosine"), "dot": ("<#>", "ip"), "euclidean": ("<->", "l2")}
_SCORES = {"cosine": "1 - {}", "dot": "-{}", "euclidean": "1 / (1 + {})"}
"""Of what an operator says."""
_PAIRS = "FROM unnest(embedding::real[], {q}::real[]) AS u(a, b)"
_EXACT_SCORES = {  # $2: the query's length
    "cosine": "CASE WHEN norm * $2::float8 = 0 THEN 0 "
    f"ELSE (SELECT sum(a::float8 * b::float8) {_PAIRS}) / (norm * $2::float8) END",
    "dot": f"(SELECT sum(a::float8 * b::float8) {_PAIRS})",
    "euclidean": f"1 / (1 + sqrt((SELECT sum((a::float8 - b::float8) ^ 2) {_PAIRS})))",
}
_COLUMNS = ("id", "embedding", "metadata", "fields", "created_at", "content_hash", "content")
_RESULT = "id, content, metadata, content_hash, created_at"

# Texts of a batch travel as one text for each column, which costs drivers and server less than arrays do: encoded text
# has four hexadecimal digits behind each of these characters, so that what follows here stands for something else.
_SEPARATOR, _NULL = "\x1a|", "\x1aN"
_LARGEST_STATEMENT = 16_000_000  # characters and bytes, about


class Wire(NamedTuple):
    """How embeddings travel to the server.

    Attributes:
        vectors: as ``vector`` and ``vector[]`` in their binary form, rather than as ``real[]`` (many: one behind the
            other).
        lists: otherwise, the driver wants lists of numbers rather than arrays of 32-bit floats.
    """

    vectors: bool = False
    lists: bool = False

    def one(self, embedding: array[float]) -> Any:
        """Return an embedding as a parameter."""
        if self.vectors:
            return _sent(embedding)
        return embedding.tolist() if self.lists else embedding

    def many(self, embeddings: Sequence[array[float]]) -> Any:
        """Return embeddings as one parameter."""
        if self.vectors:
            return Vectors(map(_sent, embeddings))
        flat = array("f")
        for embedding in embeddings:
            flat.extend(embedding)
        return self.one(flat)


class Table:
    """A collection's table.

    Args:
        info: the collection's.
        number: names the table.
        dialect: with the schema.
        prefix: the ``table_prefix``.
        wire: how embeddings travel.
        indexed: whether it has an HNSW index, as far as is known.

    Attributes:
        indexable: whether it can have one.
        inline: whether embeddings stand in the rows; the server does not count what it takes to fetch them otherwise.
    """

    def __init__(
        self, info: CollectionInfo, number: int, dialect: Postgres, prefix: str, wire: Wire, *, indexed: bool
    ) -> None:
        self.info = info
        self.number = number
        self.indexed = indexed
        self.inline = 4 * info.dimension + 8 <= _INLINE
        self.indexable = info.dimension <= _LARGEST_INDEXED_IN_HALF
        self._name = f"{prefix}documents_{number}"
        self.sql = dialect.table(self._name)
        self.hnsw = dialect.table(f"{self._name}_hnsw")
        self._wire = wire
        self._half = self.indexable and info.dimension > _LARGEST_INDEXED
        self._bounds = _SAFE_IN_HALF if self._half else _SAFE
        self._safe = "norm BETWEEN {} AND {}".format(*self._bounds)
        self._operator, self._class = _OPERATORS[info.distance]
        self._q = f"(SELECT $1::{'vector' if wire.vectors else 'real[]'}::vector({info.dimension}))"
        self._distance = f"(embedding {self._operator} {self._q})"
        self._score = _SCORES[info.distance]
        self._exact_score = _EXACT_SCORES[info.distance].format(q=self._q)
        self._ranked = f"(embedding::halfvec({info.dimension}))" if self._half else "embedding"

    @property
    def create(self) -> list[str]:
        """Make the table."""
        # Long contents and metadata are moved out of the row instead.
        options = f" WITH (toast_tuple_target = {4 * self.info.dimension + 1032})" if self.inline else ""
        table = (
            f'CREATE TABLE {self.sql} (id TEXT COLLATE "C" NOT NULL PRIMARY KEY, '
            f"embedding vector({self.info.dimension}) NOT NULL, "
            "norm FLOAT8 NOT NULL GENERATED ALWAYS AS (vector_norm(embedding)) STORED, created_at FLOAT8 NOT NULL, "
            f"fields JSONB NOT NULL, metadata TEXT, content_hash TEXT, content TEXT NOT NULL){options}"
        )
        statements = [
            table,
            f'CREATE INDEX "{self._name}_odd" ON {self.sql} (id) WHERE NOT ({self._safe})',
        ]
        if self.inline:
            statements.append(f"ALTER TABLE {self.sql} ALTER COLUMN embedding SET STORAGE PLAIN")
        return statements

    def create_indexes(self, m: int, ef_construction: int) -> list[str]:
        """Make the indexes of a large collection."""
        kind = "halfvec" if self._half else "vector"
        fields = f'CREATE INDEX IF NOT EXISTS "{self._name}_fields" ON {self.sql} USING gin (fields jsonb_path_ops)'
        hnsw = (
            f'CREATE INDEX "{self._name}_hnsw" ON {self.sql} USING hnsw ({self._ranked} {kind}_{self._class}_ops) '
            f"WITH (m = {m}, ef_construction = {ef_construction}) WHERE {self._safe}"
        )
        return [fields, hnsw]

    # ---------------------------------------------------------------------------------------------------------- writes

    def write(self, *, replace: bool) -> str:
        """Add documents; parameters come from ``batches``."""
        vectors, column = ("$1::vector[], ", "embedding, ") if self._wire.vectors else ("", "")
        dimension = self.info.dimension
        embedding = column or f"($1::real[])[(n - 1) * {dimension} + 1 : n * {dimension}]::vector, "
        texts = ", ".join(f"string_to_array(${n}::text, E'\\x1a|', E'\\x1aN')" for n in range(3, 7))
        changes = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS[1:])
        return (
            f"WITH written AS (INSERT INTO {self.sql} ({', '.join(_COLUMNS)}) "
            f"SELECT id, {embedding}metadata, COALESCE(fields, metadata, '{{}}')::jsonb, created_at, "
            f"substr(content_hash, 2), COALESCE(content, '') FROM unnest({vectors}$2::text[], {texts}, $7::float8[]) "
            f"WITH ORDINALITY AS u({column}id, content, metadata, fields, content_hash, created_at, n) "
            f"{f'ON CONFLICT (id) DO UPDATE SET {changes} ' if replace else ''}RETURNING 1) "
            "SELECT count(*) FROM written"
        )

    def batches(self, rows: Sequence[DocumentRow]) -> Iterator[tuple[Any, ...]]:
        """Yield parameters of ``write``, in as few parts as a statement may be large."""
        some: list[DocumentRow] = []
        size = 0
        for row in sorted(rows):  # by id: one order for everybody, so that two of these never wait for each other
            own = 8 * self.info.dimension + len(row.content) + 2 * len(row.metadata or "")
            if some and size + own > _LARGEST_STATEMENT:
                yield self._parameters(some)
                some, size = [], 0
            some.append(row)
            size += own
        yield self._parameters(some)

    def _parameters(self, rows: Sequence[DocumentRow]) -> tuple[Any, ...]:
        ids, contents, embeddings, metadata, hashes, created = zip(*rows, strict=True)
        return (
            self._wire.many(embeddings),
            list(ids),
            _SEPARATOR.join(contents),  # a lone empty text arrives as no text at all, and is made empty again
            _joined(metadata),
            _joined([searchable(text) for text in metadata]),
            _joined([None if text is None else f"={text}" for text in hashes]),
            list(created),
        )

    # ---------------------------------------------------------------------------------------------------------- search

    def search(self, search: Search, limit: int, *, indexed: bool) -> tuple[str, list[Any]]:
        """Return the statement that finds the nearest, and its parameters; rows come in no order.

        Args:
            search: what is wanted.
            limit: how many.
            indexed: by the index, and in full among what does not stand in it; no row without an index. Otherwise by
                looking at every document.
        """
        length = norm(search.query)
        parameters = [self._wire.one(search.query)]
        if self.info.distance == "cosine":
            parameters.append(length)
        condition = where(search.filters, parameters)
        more, vector = (", embedding", ", vector_send(embedding)") if search.with_embeddings else ("", "")
        there = f"to_regclass('{self.hnsw}') IS NOT NULL"
        exact = f"SELECT {_RESULT}, {self._exact_score} AS score{more} FROM {self.sql} WHERE {{}} "
        best = f"ORDER BY score DESC, id LIMIT {limit}"
        if indexed:
            rank = "distance"  # which is then computed once
            if self._half:
                rank = f"{self._ranked} {self._operator} (SELECT {self._q}::halfvec({self.info.dimension}))"
            found = (
                f"(SELECT {_RESULT}, {self._score.format('distance')} AS score{more} FROM "
                f"(SELECT {_RESULT}, {self._distance} AS distance{more} FROM {self.sql} "
                f"WHERE {self._safe} AND {there} AND {condition} ORDER BY {rank} LIMIT {limit * (1 + self._half)}) "
                f"AS nearest) UNION ALL ({exact.format(f'NOT ({self._safe}) AND {there} AND {condition}')}{best})"
            )
        elif self._bounds[0] <= length <= self._bounds[1]:
            score = f"CASE WHEN {self._safe} THEN {self._score.format(self._distance)} ELSE {self._exact_score} END"
            found = f"SELECT {_RESULT}, {score} AS score{more} FROM {self.sql} WHERE {condition} {best}"
        else:
            found = f"{exact.format(condition)}{best}"
        return f"SELECT {_RESULT}, score, {there}{vector} FROM ({found}) AS found", parameters

    def may_use_index(self, search: Search, most: int) -> bool:
        """Whether the index is for this search: its length is one that it ranks rightly, and few are wanted."""
        return search.limit <= most and self._bounds[0] <= norm(search.query) <= self._bounds[1]


class Vector(bytes):
    """The binary form of ``vector``, as a parameter."""

    __slots__ = ()


class Vectors(list[Vector]):
    """The same of ``vector[]``."""

    __slots__ = ()


def _sent(embedding: array[float]) -> Vector:
    """Return the binary form of ``vector``: its length, two unused bytes, 32-bit floats in network order."""
    values = array("f", embedding)
    if sys.byteorder == "little":
        values.byteswap()
    return Vector(len(embedding).to_bytes(2, "big") + b"\0\0" + values.tobytes())


def received(data: bytes) -> array[float]:
    """Return the embedding of a binary form."""
    values = array("f", data[4:])
    if sys.byteorder == "little":
        values.byteswap()
    return values


def _joined(texts: Sequence[str | None]) -> str:
    return _SEPARATOR.join([_NULL if text is None else text for text in texts])
