"""Knowledge in LanceDB: a table for each collection, searched by vector and by tokens of the metadata.

What a collection was created with stands in the schema of its table.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.filters import SQLCompiler
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores.knowledge import DocumentRow
from praisonai_persistence.stores.projection import TokenCompiler, product_distance, project, ranked_vectors
from praisonai_persistence.stores.ranking import Candidate
from praisonai_persistence.stores.vector_documents import collection_facts, collection_info, vector_bytes
from praisonai_persistence.stores.vector_engine import VectorSteps
from praisonai_persistence.vectors import unpack
from praisonai_persistence_lancedb._driver import wait

if TYPE_CHECKING:
    from array import array
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.vector_engine import Ranked, Scanned
    from praisonai_persistence_lancedb._driver import Database, LanceOptions

__all__ = ["LanceSteps", "read", "where"]

T = TypeVar("T")

_log = logging.getLogger("praisonai_persistence_lancedb")

_INFO = b"praisonai"  # in the metadata of a table's schema
_RESULT = ["id", "content", "embedding", "metadata", "content_hash", "created_at", "vector"]
_TOKENS = ("value_tokens", "item_tokens", "key_tokens")
_METRICS = {"dot": "dot", "euclidean": "l2"}
_MOST = 2**31 - 1  # LanceDB counts no further
_WRITES = 32  # between two compactions of a small table; with 64 between them, 400 writes took 1.4 times as long
_KEPT = timedelta(minutes=1)  # versions that others may read at this moment
_CLOCK = 1.0  # seconds that the times of a file system may be behind
_EXACT = 10_000  # an index is passed by where there are no more documents: it would save nothing


class SQLTokens(SQLCompiler, TokenCompiler[str]):
    """To LanceDB's SQL. Tokens and numbers are hexadecimal digits, so nothing needs quoting."""

    most_levels = 20  # the parser of LanceDB's SQL refuses an expression of 50, some of which are ours
    most_parts = 2_000  # of each a search takes half a millisecond, and from some thousands on more and more

    def has(self, tokens: Sequence[str]) -> str:
        if len(tokens) == 1:
            return f"array_has(value_tokens, '{tokens[0]}')"
        return f"array_has_any(value_tokens, [{', '.join(map(_literal, tokens))}])"

    # In columns of their own, because a search without an index reads all tokens of a column.

    def has_item(self, item: str) -> str:
        return f"array_has(item_tokens, '{item}')"

    def has_key(self, key: str) -> str:
        return f"array_has(key_tokens, '{key}')"

    def bound(self, name: str, number: float, *, upper: bool) -> str:
        found = f"split_part(numbers, '{name}:', 2)"  # the number, and those behind it; empty where there is none
        digits = _ordered(number)
        return f"({found} > '' AND {found} < '{digits}~')" if upper else f"{found} >= '{digits}'"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _ordered(number: float) -> str:
    """Return 16 hexadecimal digits that are ordered like the numbers."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", number))
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"


def where(ids: Sequence[str] | None, expression: str | None) -> str | None:
    """Return the SQL that chooses documents by their ids (None: any) and an expression; None: all."""
    if ids is None:
        return expression
    chosen = f"id IN ({', '.join(map(_literal, ids))})"
    return chosen if expression is None else f"{chosen} AND {expression}"


def read(lance: Any, columns: list[str], chosen: str | None = None) -> Callable[[Database], Awaitable[pa.Table]]:
    """Return a request: for columns of the rows that SQL chooses (None: all)."""

    async def read(_: Database) -> pa.Table:
        found = lance.query().select(columns).limit(_MOST)
        return await (found if chosen is None else found.where(chosen)).to_arrow()

    return read


def _schema(dimension: int) -> pa.Schema:
    import pyarrow as pa

    text = pa.large_string()
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dimension), nullable=False),
            pa.field("embedding", pa.binary()),  # where the vector is not the embedding itself: little-endian floats
            pa.field("content", text, nullable=False),
            pa.field("metadata", text),
            pa.field("content_hash", text),
            pa.field("created_at", pa.float64(), nullable=False),
            *[pa.field(name, pa.list_(pa.string()), nullable=False) for name in _TOKENS],
            pa.field("numbers", text, nullable=False),
        ]
    )


def _batch(rows: Sequence[DocumentRow], info: CollectionInfo) -> pa.Table:
    """Return rows in the schema of a table."""
    import numpy as np
    import pyarrow as pa

    vectors = ranked_vectors(info.distance, [row.embedding for row in rows])
    projections = [project(row.metadata) for row in rows]
    floats = pa.array(np.frombuffer(b"".join(vectors), dtype=np.float32))
    columns = {
        **dict(zip(DocumentRow._fields, zip(*rows, strict=True), strict=True)),
        "vector": pa.FixedSizeListArray.from_arrays(floats, info.dimension),
        "embedding": [
            None if vector is row.embedding else vector_bytes(row.embedding)
            for row, vector in zip(rows, vectors, strict=True)
        ],
        **dict(zip(_TOKENS, zip(*projections, strict=True), strict=False)),
        "numbers": ["".join(f"{name}:{_ordered(value)};" for name, value in found[3].items()) for found in projections],
    }
    return pa.table(columns, _schema(info.dimension))


def _candidates(found: pa.Table) -> list[Candidate]:
    """Return what a query found; see ``_RESULT``."""
    vectors = found.column("vector").combine_chunks()
    floats = vectors.flatten().to_numpy().reshape(len(vectors), vectors.type.list_size)
    columns = [found.column(name).to_pylist() for name in _RESULT if name != "vector"]
    return [
        Candidate(key, content, unpack(embedding or vector.tobytes()), *rest)
        for vector, key, content, embedding, *rest in zip(floats, *columns, strict=True)
    ]


@dataclass
class Table:
    """An opened table.

    Attributes:
        info: what its collection was created with.
        path: its folder.
        lance: LanceDB's ``AsyncTable``.
        replaces: whether the last upsert replaced a document.
        version: that the last write of this process made; None: there was none.
        tidied: the version at which a writer last looked after its files.
    """

    info: CollectionInfo
    path: str
    lance: Any
    replaces: bool = False
    version: int | None = None
    tidied: int | None = None


class LanceSteps(VectorSteps[Table, str]):
    """Knowledge in LanceDB.

    Args:
        options: of the store.
    """

    def __init__(self, options: LanceOptions) -> None:
        super().__init__(SQLTokens())
        self._options = options

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted((yield lambda database: database.folders.all()))

    def _find(self, name: str, *, fresh: bool) -> Steps[Table | None]:
        async def find(database: Database) -> Table | None:
            path = database.folders.all().get(name)
            if path is None:
                return None
            lance = await database.connection.open_table(_name(path))
            table = database.tables[name] = Table(_info(name, await lance.schema()), path, lance)
            return table

        def look(database: Database) -> Any:
            table = database.tables.get(name)  # its folder has a name of its own, and tells whether it is still there
            return table if table is not None and database.folders.is_there(table.path) else find(database)

        return (yield look)  # type: ignore[no-any-return]

    def _create(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        schema = _schema(info.dimension).with_metadata({_INFO: dumps(collection_facts(info, metadata)).encode()})
        yield lambda database: database.folders.make(
            info.name, lambda entry: wait(database.connection.create_table(_name(entry), schema=schema))
        )

    def _drop(self, opened: Table) -> Steps[None]:
        yield lambda database: database.folders.remove(opened.path)

    def _write_to(self, opened: Table, make: Callable[[], Callable[[], Awaitable[Any]]]) -> Steps[Any]:
        return (yield lambda database: _whole(database, opened, _tidied(opened, make())))

    def _put(self, opened: Table, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_to(opened, lambda: partial(_upsert, opened, _batch(rows, opened.info)))

    def _add(self, opened: Table, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield from self._write_to(opened, lambda: partial(opened.lance.add, _batch(rows, opened.info)))

    def _rank(self, opened: Table, query: array[float], limit: int, expression: str | None) -> Ranked:
        async def search(_: Database) -> pa.Table:
            import numpy as np

            found = opened.lance.query().nearest_to(np.frombuffer(query, dtype=np.float32)).column("vector")
            found = found.distance_type(_METRICS[product_distance(opened.info.distance)]).limit(min(limit, _MOST))
            if expression is not None:
                found = found.where(expression)
            if self._options.index == "none" or await opened.lance.count_rows() <= _EXACT:
                found = found.bypass_vector_index()
            else:
                found = found.refine_factor(self._options.refine)
                if self._options.probes is not None:
                    found = found.nprobes(self._options.probes)
            return await found.select([*_RESULT, "_distance"]).to_arrow()

        return _candidates((yield search))

    def _fetch(self, opened: Table, ids: Sequence[str]) -> Ranked:
        return _candidates((yield read(opened.lance, _RESULT, where(ids, None))))

    def _scan(self, opened: Table, ids: Sequence[str] | None, expression: str | None) -> Scanned:
        found = yield read(opened.lance, ["id", "metadata"], where(ids, expression))
        return list(zip(found.column("id").to_pylist(), found.column("metadata").to_pylist(), strict=True))

    def _count(self, opened: Table, expression: str | None) -> Steps[int]:
        return int((yield lambda _: opened.lance.count_rows(expression)))

    def _remove(self, opened: Table, ids: Sequence[str] | None, expression: str | None) -> Steps[int]:
        chosen = where(ids, expression) or "true"
        done = yield from self._write_to(opened, lambda: partial(opened.lance.delete, chosen))
        return int(done.num_deleted_rows)

    # ------------------------------------------------------------------------------------------------ beyond the usual

    @writes
    def compact(self, collection: str, older_than: timedelta) -> Steps[None]:
        """Merge small files, bring indexes up to date, and remove versions that are older."""
        opened = yield from self._need(collection)
        # LanceDB warns of zero, because readers of older versions fail; ours start again.
        age = max(older_than, timedelta(milliseconds=1))
        yield lambda database: _whole(database, opened, opened.lance.optimize(cleanup_older_than=age))

    @writes
    def create_index(self, collection: str) -> Steps[None]:
        """Make the vector index, and one for tokens; again makes them anew."""
        opened = yield from self._need(collection)
        metric = _METRICS[product_distance(opened.info.distance)]

        async def create(_: Database) -> None:
            from lancedb import index

            lance = opened.lance
            kinds = {"ivf_flat": index.IvfFlat, "ivf_pq": index.IvfPq, "ivf_hnsw_sq": index.HnswSq}
            if kind := kinds.get(self._options.index):
                await lance.create_index("vector", config=kind(distance_type=metric), replace=True)
            for column in _TOKENS:
                await lance.create_index(column, config=index.LabelList(), replace=True)
            await lance.create_index("id", config=index.BTree(), replace=True)

        yield create


async def _whole(database: Database, opened: Table, writing: Coroutine[Any, Any, T]) -> T:
    """Write, and see that a table that was put in the place of this one meanwhile is still whole.

    LanceDB commits by path: what it began in the one may become the newest version of the other, which lacks the files
    that this version is made of.
    """
    before, start = identity(opened.path), time.time()
    try:
        done = await writing
    except Exception:
        if identity(opened.path) != before:
            await _mend(database, opened, start)
        raise
    if identity(opened.path) != before and await _mend(database, opened, start):
        raise ConnectionFailedError(f"{database.folders.path} was replaced during a write, which is not in the new one")
    return done


async def _mend(database: Database, opened: Table, start: float) -> bool:
    """Remove the newest version of a table while files of it are missing; return whether there was one.

    Args:
        database: that it is in.
        opened: what stood in its place.
        start: when the write began: only versions that are not older are removed.
    """
    import lancedb

    database.tables.clear()
    versions = os.path.join(opened.path, "_versions")
    mended = False
    while database.folders.is_there(opened.path):
        newest = min((name for name in os.listdir(versions) if name.endswith(".manifest")), default="")
        connection = await lancedb.connect_async(database.folders.path)  # one that has read nothing of the other table
        try:
            lance = await connection.open_table(_name(opened.path))
            await lance.query().select(["id"]).limit(_MOST).to_arrow()
        except Exception as error:
            torn = newest and "not found" in str(error).lower()
            if not torn or _is_older(os.path.join(versions, newest), start - _CLOCK):
                raise
        else:
            return mended
        finally:
            connection.close()  # type: ignore[no-untyped-call]
        for name in (newest, "latest_version_hint.json"):
            with suppress(FileNotFoundError):
                os.remove(os.path.join(versions, name))
        mended = True
    return mended


def _is_older(path: str, moment: float) -> bool:
    try:
        return os.stat(path).st_mtime < moment
    except FileNotFoundError:  # somebody else was faster
        return False


async def _tidied(opened: Table, write: Callable[[], Awaitable[Any]]) -> Any:
    """Write, after a look at what the writes before have left."""
    await _tidy(opened)
    done = await write()
    opened.version = done.version
    return done


async def _tidy(opened: Table) -> None:
    """Compact the table before every so many writes, whoever did them, under the lock.

    Without, a write takes longer the more there were: after 800 of three documents, twenty times as long as at first.
    A compaction writes the documents anew (up to the million that LanceDB puts into one file), so it is done less often
    where they are many: growing with the root of their number, both costs stay in balance.
    """
    version: int = await opened.lance.version() if opened.version is None else opened.version
    before = version - 1 if opened.tidied is None else opened.tidied
    opened.tidied = version
    if version // _WRITES == before // _WRITES:
        return
    writes = _WRITES * max(1, isqrt(await opened.lance.count_rows()) // 100)
    if version // writes == before // writes:
        return
    try:
        await opened.lance.optimize(cleanup_older_than=_KEPT)
    except Exception as error:  # noqa: BLE001 - there may still be space enough for the write itself, which comes next
        _log.warning("could not compact %s: %s", opened.path, type(error).__name__)


async def _upsert(opened: Table, batch: pa.Table) -> Any:
    """Write rows over those that exist, under the lock.

    To merge takes much longer than to look whether there is anything to replace, and then to add. Whoever replaced
    documents a moment ago will likely do it again: then that look is spared.
    """
    if not opened.replaces and await _are_new(opened, batch.column("id")):
        return await opened.lance.add(batch)
    merging = opened.lance.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    done = await merging.execute(batch)
    opened.replaces = done.num_updated_rows > 0
    return done


async def _are_new(opened: Table, ids: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    # All ids, which is faster than a filter of hundreds; a merge reads them too.
    async for found in await opened.lance.query().select(["id"]).limit(_MOST).to_batches():
        if pc.any(pc.is_in(found.column("id"), value_set=ids)).as_py():
            return False
    return True


def _name(path: str) -> str:
    return os.path.basename(path).removesuffix(".lance")


def _info(name: str, schema: Any) -> CollectionInfo:
    text = (schema.metadata or {}).get(_INFO)
    if text is None:
        raise BackendError("a table with the name of a collection has another schema: it was not made by this project")
    return collection_info(name, loads(text.decode()))
