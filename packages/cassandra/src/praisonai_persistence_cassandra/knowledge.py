"""Knowledge in Cassandra: a table for each collection, searched by vector and by tokens of the metadata."""

from __future__ import annotations

import json
import uuid
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import BackendError, PersistenceError, UnsupportedOperationError
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import Pause, reads
from praisonai_persistence.stores.projection import bounded_query, product_distance, project, ranked_vectors
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.scanned import Entry, ScannedSteps, Selection, What
from praisonai_persistence.stores.vector_documents import (
    batches,
    check_dimension,
    collection_facts,
    collection_info,
    pages,
    vector_bytes,
)
from praisonai_persistence.stores.vector_engine import Collection, GoneError, TakenError
from praisonai_persistence.vectors import unpack
from praisonai_persistence_cassandra._driver import REGISTRY, Ask, Each, UndecidedError

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow
    from praisonai_persistence.stores.vector_engine import Ranked
    from praisonai_persistence_cassandra._options import CassandraOptions

__all__ = ["EXACT", "CassandraSteps"]

EXACT = 1_000
"""Where so many documents match, or fewer, every vector is compared also where there is an index of them."""
_RANKED = 1_000  # the most that Cassandra ranks
_SPARE = 100  # what it is asked for at least: it ranks better the more it is asked for
_WRITES = 128  # at a time
_RANKED_WRITES = 2  # Cassandra 5.0.8 fails where more than processors and 1 go into one index of vectors at a time
_MOST_DIMENSION = 8_192  # of vectors that Cassandra says it indexes; it takes longer ones, and fails when it searches
_REQUEST = 4 * 1024 * 1024  # bytes of documents that are written at a time
_ANSWER = 2 * 1024 * 1024  # bytes of embeddings in one answer; a page more takes a fifth longer for 500 documents
_DOCUMENT = "id, content, embedding, metadata, content_hash, created_at"


def _candidate(row: Sequence[Any]) -> Candidate:
    key, content, embedding, metadata, content_hash, created_at = row
    return Candidate(key, content, unpack(embedding), metadata, content_hash, created_at)


_PAGES: dict[What, tuple[str, int, Callable[[Any], Any]]] = {
    "ids": ("id", EXACT + 1, itemgetter(0)),
    "writers": ("id, metadata, writer", 500, Entry._make),
    "vectors": ("id, metadata, embedding", EXACT + 1, Entry._make),
    "documents": (_DOCUMENT, 50, _candidate),
}
"""Columns, how many rows one answer has at the most, and what a row becomes."""


class CassandraSteps(ScannedSteps[Collection]):
    """Knowledge in Cassandra.

    Args:
        options: of the store.
    """

    spare = 2  # each is a read of a row, and the order is exact
    remembers = True  # each collection has a table of a name of its own

    def __init__(self, options: CassandraOptions) -> None:
        super().__init__()
        self._prefix = f"{options.table_prefix}."
        self._keyspace = f'"{options.keyspace}"'
        self._ranked = options.vector_index  # whether new collections have an index of their vectors
        self._registry = f"{self._keyspace}.{REGISTRY}"

    # ----------------------------------------------------------------------------------------------------- collections

    @reads
    def list_collections(self) -> Steps[list[str]]:
        names: list[str] = []
        query, state = f"SELECT name FROM {self._registry} WHERE prefix = ?", None
        while True:
            rows, state = yield Ask(query, [self._prefix], EXACT, state)
            names += [row[0] for row in rows if row[0]]
            if state is None:
                return sorted(names)

    def _find(self, name: str, *, fresh: bool) -> Steps[Collection | None]:
        query = f"SELECT table_name, facts FROM {self._registry} WHERE prefix = ? AND name = ?"
        found = (yield Ask(query, [self._prefix, name])).rows
        return Collection(collection_info(name, loads(found[0][1])), found[0][0]) if found else None

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        if self._ranked:
            instead = "without vector_index, collections have any dimension"
            check_dimension("Cassandra's index", info, _MOST_DIMENSION, instead)
        table = f"{self._keyspace}.{'ranked' if self._ranked else 'documents'}_{uuid.uuid4().hex}"
        ranked = f", ranked vector<float, {info.dimension}>" if self._ranked else ""
        yield Ask(
            f"CREATE TABLE {table} (id text PRIMARY KEY, content text, metadata text, content_hash text, "
            f"created_at double, embedding blob, writer text, tokens set<text>{ranked})"
        )
        index = f"CREATE CUSTOM INDEX ON {table} (%s) USING 'StorageAttachedIndex'"
        similarity = "dot_product" if product_distance(info.distance) == "dot" else "euclidean"
        try:
            yield Ask(index % "tokens")
            if self._ranked:
                yield Ask(index % "ranked" + f" WITH OPTIONS = {{'similarity_function': '{similarity}'}}")
            yield from self._indexed(Collection(info, table))
            insert = f"INSERT INTO {self._registry} (prefix, name, table_name, facts) VALUES (?, ?, ?, ?) IF NOT EXISTS"
            facts = json.dumps(collection_facts(info, metadata))
            if not (yield Ask(insert, [self._prefix, info.name, table, facts])).rows[0][0]:
                raise TakenError("somebody else made it meanwhile")
        except (BackendError, UndecidedError, UnsupportedOperationError) as error:
            try:
                registered = yield from self._registered(info.name)
            except PersistenceError:
                raise error from None  # without the table: it may be registered
            if registered == table:
                return
            if not isinstance(error, UndecidedError):
                yield Ask(f"DROP TABLE IF EXISTS {table}")
            raise

    def _registered(self, name: str) -> Steps[str | None]:
        """Return the table of a collection, after what is under way has ended."""
        query = f"SELECT table_name FROM {self._registry} WHERE prefix = ? AND name = ?"
        found = (yield Ask(query, [self._prefix, name], serial=True)).rows
        return found[0][0] if found else None

    def _indexed(self, opened: Collection) -> Steps[None]:
        """Wait until all nodes know that the indexes are ready, which takes a moment also where there is nothing."""
        for turn in range(100):
            try:
                yield from self._page(opened, "ids", None, [""], None)
                if _is_ranked(opened):
                    yield from self._ids_ranked(opened, [0.0] * opened.info.dimension, [], 1)
                return
            except BackendError:
                if turn == 99:
                    raise
                yield Pause(0.1)

    def _drop(self, opened: Collection) -> Steps[None]:
        query = f"DELETE FROM {self._registry} WHERE prefix = ? AND name = ? IF table_name = ?"
        try:
            if not (yield Ask(query, [self._prefix, opened.info.name, opened.engine])).rows[0][0]:
                raise GoneError("somebody else deleted it")
        except UndecidedError:
            if (yield from self._registered(opened.info.name)) == opened.engine:
                raise
        yield Ask(f"DROP TABLE IF EXISTS {opened.engine}")

    # --------------------------------------------------------------------------------------------------------- reading

    def _page(
        self, opened: Collection, what: What, ids: Sequence[str] | None, tokens: Sequence[str], place: Any
    ) -> Steps[tuple[Sequence[Any], Any]]:
        columns, size, make = _PAGES[what]
        if what == "vectors":
            size = max(50, min(size, _ANSWER // (4 * opened.info.dimension)))
        where, values = ("", []) if ids is None else (" WHERE id IN ?", [ids])
        if tokens:
            where, values = _having(tokens), list(tokens)
        rows, place = yield Ask(f"SELECT {columns} FROM {opened.engine}{where}", values, size, place)
        return list(map(make, rows)), place

    def _rank(self, opened: Collection, query: array[float], limit: int, expression: Selection | None) -> Ranked:
        if _is_ranked(opened) and limit <= _RANKED:
            tokens = expression.tokens if expression else ()
            matching, _ = yield from self._page(opened, "ids", None, tokens, None)
            if len(matching) > EXACT:
                vector = bounded_query(opened.info.distance, query)
                ids = yield from self._ids_ranked(opened, vector, tokens, min(_RANKED, max(_SPARE, 2 * limit)))
                best: list[Candidate] = []
                for some in pages(ids, max(limit, self.most_ids // 4)):
                    best += yield from self._current(opened, some, expression)
                    if len(best) >= limit:
                        return best[:limit]
        return (yield from super()._rank(opened, query, limit, expression))

    def _ids_ranked(
        self, opened: Collection, vector: list[float], tokens: Sequence[str], most: int
    ) -> Steps[list[str]]:
        """Return ids as Cassandra ranks them, which it does on one replica."""
        query = f"SELECT id FROM {opened.engine}{_having(tokens)} ORDER BY ranked ANN OF ? LIMIT {most}"
        return [row[0] for row in (yield Ask(query, [*tokens, vector], nearest=True)).rows]

    # --------------------------------------------------------------------------------------------------------- writing

    def _store(
        self, opened: Collection, rows: Sequence[DocumentRow], writer: str, *, new: bool
    ) -> Steps[Sequence[bool]]:
        done: list[bool] = []
        ranked = _is_ranked(opened)
        cql = (
            f"INSERT INTO {opened.engine} ({_DOCUMENT}, writer, tokens{', ranked' if ranked else ''}) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, ?{', ?' if ranked else ''}){' IF NOT EXISTS' if new else ''}"
        )
        for some in batches(rows, _REQUEST, opened.info.dimension, _RANKED_WRITES if ranked else _WRITES):
            made = [_made(row, writer) for row in some]
            if ranked:
                vectors = ranked_vectors(opened.info.distance, [row.embedding for row in some])
                made = [(*row, vector.tolist()) for row, vector in zip(made, vectors, strict=True)]
            done += [not new or answer[0] for answer in (yield Each(cql, made))]
        return done

    def _unstore(self, opened: Collection, written: Sequence[tuple[str, str]]) -> Steps[Sequence[bool | None]]:
        done: list[bool | None] = []
        for some in pages(written, _WRITES):
            answers = yield Each(f"DELETE FROM {opened.engine} WHERE id = ? IF writer = ?", some)
            done += [answer[0] if answer[0] or len(answer) > 1 else None for answer in answers]
        return done


def _having(tokens: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(['tokens CONTAINS ?'] * len(tokens))}" if tokens else ""


def _is_ranked(opened: Collection) -> bool:
    """Whether a collection has an index of its vectors: its table's name says so."""
    return ".ranked_" in opened.engine


def _made(row: DocumentRow, writer: str) -> tuple[Any, ...]:
    facts = (row.metadata, row.content_hash, row.created_at, writer, set(project(row.metadata).tokens))
    return (row.id, row.content, vector_bytes(row.embedding), *facts)
