"""Knowledge in PostgreSQL, in a table for each collection.

A small collection has no index, and every search of it looks at all documents, so that recall is exact. When it has
grown it gets an HNSW index, and one over the metadata; when it has shrunk to where recall is promised to be exact, it
loses the former.

A search is one statement. It is put together from what is known of the collection by heart; where that is out of
date, its table is gone (a collection that is made anew has another one), or the answer tells that there is an index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import CollectionNotFoundError, DimensionError, DocumentExistsError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import loads
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import KnowledgeSteps
from praisonai_persistence.stores import vector_documents as documents
from praisonai_persistence.stores.knowledge import decode_document, same_collection
from praisonai_persistence.vectors import check_dimension
from praisonai_persistence_pgvector._filters import where
from praisonai_persistence_pgvector._schema import TABLES, KnowledgeMigrations
from praisonai_persistence_pgvector._tables import LARGEST_DIMENSION, Table, Wire, received
from praisonai_persistence_sql import Alone, Execute, Fetch, Patiently, Snapshot, Undo, repeatable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.stores.knowledge import DocumentRow, Search
    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["EXACT", "Options", "PgvectorKnowledgeSteps", "UseVectors"]

EXACT = 1_000
"""Up to so many documents a search is exact (K09)."""
_MOST_BY_INDEX = 1_000
"""The largest limit of a search by the index; it is what the index can be told to look at."""
_UNDEFINED_TABLE, _UNIQUE_VIOLATION = "42P01", "23505"
# Of containers, mostly: several processes that build an index share memory, and there is little of it.
_OUT_OF_SHARED_MEMORY = {"53100", "53200"}


class UseVectors(NamedTuple):
    """Make sure that the connection knows the type ``vector``. For ``Wire.vectors`` only.

    The answer is whether it may have settings of the session, which none has behind a pooler.
    """


class Options(NamedTuple):
    """What a store was told.

    Attributes:
        hnsw: whether collections get an index when they are large.
        exact: whether no search uses one.
        m: of the index.
        ef_construction: of the index.
        index_from: documents from which on there is one.
        session: the server's settings for searches by the index.
        in_session: whether connections have these; otherwise each search brings them.
        wire: how embeddings travel.
    """

    hnsw: bool
    exact: bool
    m: int
    ef_construction: int
    index_from: int
    session: dict[str, str]
    in_session: bool
    wire: Wire


class PgvectorKnowledgeSteps(KnowledgeSteps):
    """Knowledge in PostgreSQL.

    Args:
        dialect: with the schema of the tables.
        prefix: the ``table_prefix``.
        options: what the store was told.
    """

    def __init__(self, dialect: Postgres, prefix: str, options: Options) -> None:
        self.migrations = KnowledgeMigrations(dialect, prefix)
        self._dialect = dialect
        self._prefix = prefix
        self._options = options
        table = dialect.tables(prefix, TABLES)["collections"]
        head, _, tail = dialect.table(f"{prefix}documents_N_hnsw").rpartition("N")
        index = f"to_regclass('{head}' || number || '{tail}')"
        self._find = (
            f"SELECT number, name, dimension, distance, metadata, {index} IS NOT NULL FROM {table} WHERE name = $1"
        )
        self._list = f"SELECT name FROM {table} ORDER BY name"
        self._insert = (
            f"INSERT INTO {table} (name, dimension, distance, metadata) VALUES ($1, $2::int8, $3, $4) "
            "ON CONFLICT (name) DO NOTHING RETURNING number"
        )
        self._delete = f"DELETE FROM {table} WHERE name = $1"
        self._known: dict[str, Table] = {}
        self._room: dict[int, int] = {}  # by table: documents to be written before it is looked at how many there are

    # ----------------------------------------------------------------------------------------------------- collections

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        while not (rows := (yield Fetch(self._insert, (info.name, info.dimension, info.distance, metadata)))):
            try:
                same_collection((yield from self._need(info.name)).info, info)
                return
            except CollectionNotFoundError:  # deleted in between
                pass
        documents.check_dimension("pgvector", info, LARGEST_DIMENSION)  # if it is refused, the row is not kept
        for sql in self._table(rows[0][0], info, indexed=False).create:
            yield Execute(sql)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        table = yield from self._need(name, " FOR UPDATE")
        yield Execute(self._delete, (name,))
        yield Execute(f"DROP TABLE {table.sql}")

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield from self._need(name)).info

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return [row[0] for row in (yield Fetch(self._list))]

    def _table(self, number: int, info: CollectionInfo, *, indexed: bool) -> Table:
        return Table(info, number, self._dialect, self._prefix, self._options.wire, indexed=indexed)

    def _need(self, name: str, lock: str = "", how: type[Fetch] | type[Alone] = Fetch) -> Steps[Table]:
        """Look a collection up, and know it by heart from now on."""
        rows = yield how(self._find + lock, (name,))
        if not rows:
            self._known.pop(name, None)
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        number, _, dimension, distance, metadata, indexed = rows[0]
        info = CollectionInfo(name, dimension, distance, None if metadata is None else loads(metadata))
        table = self._known[name] = self._table(number, info, indexed=indexed)
        return table

    def _on(self, name: str, body: Callable[[Table], Steps[Any]]) -> Steps[Any]:
        """Do something with a collection's table as it is known by heart, and again if that is gone."""
        table = self._known.get(name)
        while True:
            fresh = table is None
            if table is None:
                table = yield from self._need(name, how=Alone)
            try:
                return (yield from body(table))
            except Exception as error:
                # It may have been deleted since, and made anew with another dimension.
                if fresh or not (isinstance(error, DimensionError) or _state(error) == _UNDEFINED_TABLE):
                    raise
            yield Undo()
            table = None

    # ------------------------------------------------------------------------------------------------------- documents

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, replace=False)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write(collection, rows, replace=True)

    def _write(self, collection: str, rows: Sequence[DocumentRow], *, replace: bool) -> Steps[None]:
        if not rows:
            yield from self._need(collection)
            return

        def body(table: Table) -> Steps[None]:
            for row in rows:
                check_dimension(len(row.embedding), table.info.dimension)
            sql = table.write(replace=replace)
            batches = list(table.batches(rows))
            try:
                for parameters in batches:
                    yield (Alone if len(batches) == 1 else Fetch)(sql, parameters)
            except Exception as error:
                if _state(error) != _UNIQUE_VIOLATION:
                    raise
                yield Undo()
                found = yield Fetch(f"SELECT id FROM {table.sql} WHERE id = ANY($1::text[]) LIMIT 1", ([*ids],))
                name = f"document {found[0][0]!r}" if found else "a document of the batch"
                raise DocumentExistsError(f"{name} exists already; nothing was written") from error
            self._room[table.number] = self._room.get(table.number, 0) - len(rows)

        ids = [row.id for row in rows]
        if self._options.wire.vectors:
            yield UseVectors()
        yield from self._on(collection, body)

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        limit = min(search.limit, 2**62)
        rows: list[Sequence[Any]] = []
        in_session = self._options.in_session
        if self._options.wire.vectors:
            in_session = (yield UseVectors()) and in_session

        def body(table: Table) -> Steps[None]:
            check_dimension(len(search.query), table.info.dimension, "query_embedding")
            if table.indexed and not self._options.exact and table.may_use_index(search, _MOST_BY_INDEX):
                enough = limit <= int(self._options.session["hnsw.ef_search"])
                settle = not (in_session and enough and table.inline)
                if settle:
                    table = yield from self._settle(collection, limit)
                rows.extend((yield Fetch(*table.search(search, limit, indexed=True))))
                if len(rows) >= limit:
                    return
                rows.clear()  # few match, and more may than the index looked at
                if settle:
                    yield Fetch("SELECT set_config('enable_seqscan', 'on', TRUE)")
            rows.extend((yield Fetch(*table.search(search, limit, indexed=False))))
            if rows:
                table.indexed = rows[0][6]

        yield from self._on(collection, body)
        if search.score_threshold is not None:
            rows = [row for row in rows if row[5] >= search.score_threshold]
        rows.sort(key=lambda row: (-row[5], row[0]))
        return [_document(row, row[5], row[7] if search.with_embeddings else None) for row in rows[:limit]]

    def _settle(self, collection: str, limit: int) -> Steps[Table]:
        """Start a transaction with the settings for a search by the index."""
        yield Snapshot()
        settings = {**self._options.session, "enable_seqscan": "off"}
        settings["hnsw.ef_search"] = str(max(limit, int(settings["hnsw.ef_search"])))
        sql = ", ".join(f"set_config(${2 * n + 1}, ${2 * n + 2}, TRUE)" for n in range(len(settings)))
        yield Fetch(f"SELECT {sql}", [part for pair in settings.items() for part in pair])
        return (yield from self._need(collection))

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        def body(table: Table) -> Steps[Any]:
            columns = "id, content, metadata, content_hash, created_at, vector_send(embedding)"
            return (yield Fetch(f"SELECT {columns} FROM {table.sql} WHERE id = ANY($1::text[])", (list(ids),)))

        found = {row[0]: row for row in (yield from self._on(collection, body))}
        return [_document(found[item], None, found[item][5]) for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        return int((yield from self._matching(collection, "count(*)", filters))[0][0])

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        return [key for (key,) in (yield from self._matching(collection, "id", filters))]

    def _matching(self, collection: str, what: str, filters: Filter | None) -> Steps[Any]:
        def body(table: Table) -> Steps[Any]:
            parameters: list[Any] = []
            condition = where(filters, parameters)
            return (yield Fetch(f"SELECT {what} FROM {table.sql} WHERE {condition}", parameters))

        return self._on(collection, body)

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        table = yield from self._need(collection, " FOR UPDATE")  # so that of two deletions one sees what is left
        parameters: list[Any] = [] if ids is None else [list(ids)]
        condition = where(filters, parameters)
        named = "" if ids is None else "id = ANY($1::text[]) AND "
        gone = yield Execute(f"DELETE FROM {table.sql} WHERE {named}{condition}", parameters)
        if gone and table.indexed and (yield from self._size(table, EXACT + 1)) <= EXACT:
            yield Execute(f"DROP INDEX {table.hnsw}")
            self._known.pop(collection, None)
        return int(gone)

    # ----------------------------------------------------------------------------------------------------------- index

    def wants_index(self, collection: str) -> bool:
        """Whether a collection that was written to may have become large enough for an index."""
        table = self._known.get(collection)
        if table is None or table.indexed or not table.indexable or not self._options.hnsw:
            return False
        return self._room.get(table.number, 0) <= 0

    @repeatable
    @writes
    def build_index(self, collection: str) -> Steps[bool]:
        """Make the index of a collection that is large enough; return whether it has one now."""
        table = yield from self._need(collection, how=Alone)
        if not table.indexed and table.indexable:
            size = yield from self._size(table, self._options.index_from, how=Alone)
            self._room[table.number] = max(1, self._options.index_from - size)
            if size >= self._options.index_from:
                try:
                    table = yield from self._build(collection)
                except Exception as error:
                    if _state(error) not in _OUT_OF_SHARED_MEMORY:
                        raise
                    yield Undo()
                    table = yield from self._build(collection, "SET LOCAL max_parallel_maintenance_workers = 0")
        return table.indexed

    def _build(self, collection: str, *settings: str) -> Steps[Table]:
        table = yield from self._need(collection, " FOR UPDATE")
        if not table.indexed:
            yield Patiently()  # it takes as long as it takes
            for sql in settings:
                yield Execute(sql)
            for sql in table.create_indexes(self._options.m, self._options.ef_construction):
                yield Execute(sql)
            table.indexed = True
        return table

    def put_off(self, collection: str) -> None:
        """Look at a collection's size again only after many more documents."""
        table = self._known.get(collection)
        if table is not None:
            self._room[table.number] = self._options.index_from

    @staticmethod
    def _size(table: Table, most: int, how: type[Fetch] | type[Alone] = Fetch) -> Steps[int]:
        """Count, but not further than ``most``."""
        return int((yield how(f"SELECT count(*) FROM (SELECT FROM {table.sql} LIMIT {most}) AS counted"))[0][0])


def _state(error: BaseException) -> str | None:
    """Return the server's code of an error; both drivers have it there."""
    return getattr(error, "sqlstate", None)


def _document(row: Sequence[Any], score: float | None, embedding: bytes | None) -> KnowledgeDocument:
    key, content, metadata, content_hash, created_at = row[:5]
    vector = None if embedding is None else received(embedding)
    return decode_document(key, content, vector, metadata, content_hash, created_at, score)
