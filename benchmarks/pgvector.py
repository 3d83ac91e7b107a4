"""Measures the pgvector stores beside hand-written programs on the same server, in one run, as ratios.

    python benchmarks/pgvector.py [--url URL] [--rounds N] [--quick] [--check]

Without a URL the server is found as for the integration tests. Ours and theirs take turns, each on a table of its own
that the store made, with its indexes: 5,000 documents of 384 dimensions in batches of 500, upserted into an empty
collection, then again into the full one; and 200 searches with a filter. The hand-written program does it in the ways
of its driver: COPY of binary rows into a temporary table and one statement from there to the table; a search in one
statement, with the embedding in binary form. It checks and encodes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import io
import json
import random
import struct
import sys
import uuid
from array import array
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
from measuring import Report, clock, median

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore

DIMENSION, BATCH = 384, 500
PREFIX = f"bench{uuid.uuid4().hex[:8]}_"
CONTENT = "A sentence of a document that somebody may want to find again. " * 5
_COLUMNS = "id, embedding, metadata, fields, created_at, content"
_TEMPORARY = (
    f"CREATE TEMPORARY TABLE batch (id text, embedding vector({DIMENSION}), metadata text, created_at float8, "
    "content text) ON COMMIT DROP"
)
_CHANGES = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.split(", ")[1:])
_SEARCH = (
    "SELECT id, content, metadata, created_at, 1 - (embedding <=> {query}) FROM {table} "
    "WHERE norm BETWEEN 1e-15 AND 1e15 AND fields @> {filter} ORDER BY embedding <=> {query} LIMIT 10"
)


def sent(embedding: Sequence[float]) -> bytes:
    """The binary form of ``vector``."""
    values = array("f", embedding)
    values.byteswap()
    return struct.pack(">HH", len(values), 0) + values.tobytes()


def copied(documents: Sequence[KnowledgeDocument]) -> bytes:
    """Documents in the binary form of COPY."""
    parts = [b"PGCOPY\n\xff\r\n\0" + bytes(8)]
    for item in documents:
        parts.append(struct.pack(">h", 5))
        fields = (
            item.id.encode(),
            sent(item.embedding or ()),
            json.dumps(item.metadata).encode(),
            struct.pack(">d", item.created_at),
            item.content.encode(),
        )
        for field in fields:
            parts += (struct.pack(">i", len(field)), field)
    parts.append(b"\xff\xff")
    return b"".join(parts)


def move(table: str) -> str:
    """From the temporary table to the collection's."""
    columns = "id, embedding, metadata, metadata::jsonb, created_at, content"
    insert = f"INSERT INTO {table} ({_COLUMNS}) SELECT {columns} FROM batch"  # noqa: S608 - a table of the store's
    return f"{insert} ON CONFLICT (id) DO UPDATE SET {_CHANGES}"


def made(number: int, chance: random.Random) -> list[KnowledgeDocument]:
    """Documents of chance."""
    return [
        KnowledgeDocument(
            f"document-{n:06d}",
            CONTENT,
            [chance.gauss(0, 1) for _ in range(DIMENSION)],
            {"lang": "en" if n % 2 else "de", "year": 2000 + n % 20, "source": f"file-{n}.md"},
        )
        for n in range(number)
    ]


def batches(documents: Sequence[KnowledgeDocument]) -> list[Sequence[KnowledgeDocument]]:
    """Documents in batches."""
    return [documents[start : start + BATCH] for start in range(0, len(documents), BATCH)]


def table_of(store_url: str, name: str) -> str:
    """The table of a collection."""
    with psycopg.connect(store_url) as connection:
        sql = f'SELECT number FROM "{PREFIX}collections" WHERE name = %s'  # noqa: S608 - our own prefix
        row = connection.execute(sql, (name,)).fetchone()
        assert row is not None
        return f'"{PREFIX}documents_{row[0]}"'


class Figures:
    """Takes turns."""

    def __init__(self, report: Report, workload: str, rounds: int) -> None:
        self.report = report
        self.workload = workload
        self.rounds = rounds

    async def line(
        self,
        what: str,
        times: int,
        ours: Callable[[], Awaitable[None]],
        bare: Callable[[], Awaitable[None]],
        reset: Callable[[], None] | None = None,
    ) -> None:
        """Measure both and add a line: milliseconds for one of ``times``."""
        figures: dict[str, list[float]] = {"ours": [], "bare": []}
        turns = [("ours", ours), ("bare", bare)]
        for turn in range(self.rounds + 1):
            if reset is not None:
                reset()
            for name, body in turns:
                start = clock()
                await body()
                if turn:  # the first is for getting warm
                    figures[name].append((clock() - start) / times * 1000)
            turns.reverse()
        self.report.compare(self.workload, what, "ms", figures["ours"], figures["bare"], at_most=1.15)


async def measure(report: Report, url: str, rounds: int, number: int, *, driver: str) -> None:
    """Measure the store of one driver."""
    chance = random.Random(7)
    documents = made(number, chance)
    queries = [[chance.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(200)]
    with PgvectorKnowledgeStore(url, table_prefix=PREFIX, index_from=1_001) as maker:
        for name in ("ours", "bare"):
            maker.create_collection(name, DIMENSION)
            maker.upsert(name, documents)  # large enough: both get their indexes

    tables = {name: table_of(url, name) for name in ("ours", "bare")}

    def empty() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for table in tables.values():
                connection.execute(f"TRUNCATE {table}")

    def settle() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for table in tables.values():
                connection.execute(f"VACUUM ANALYZE {table}")

    figures = Figures(report, driver, rounds)
    table = tables["bare"]
    wanted = json.dumps({"year": 2007})
    if driver == "psycopg":
        with (
            PgvectorKnowledgeStore(url, table_prefix=PREFIX, index_from=1_001) as store,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            cursor = psycopg.RawCursor(connection)
            cursor.execute("SET hnsw.ef_search = 100")
            cursor.execute("SET hnsw.iterative_scan = relaxed_order")
            oid = connection.execute("SELECT 'vector'::regtype::oid").fetchone()
            assert oid is not None
            dumper = type("Dumper", (psycopg.adapt.Dumper,), {
                "oid": oid[0], "format": psycopg.pq.Format.BINARY, "dump": lambda _, obj: sent(obj)
            })  # fmt: skip
            cursor.adapters.register_dumper(array, dumper)

            async def ours() -> None:
                for batch in batches(documents):
                    store.upsert("ours", batch)

            async def bare() -> None:
                for batch in batches(documents):
                    with connection.transaction():
                        cursor.execute(_TEMPORARY)
                        with cursor.copy("COPY batch FROM STDIN (FORMAT BINARY)") as copy:
                            copy.write(copied(batch))
                        cursor.execute(move(table))

            async def our_search() -> None:
                for query in queries:
                    store.search("ours", query, 10, {"year": 2007})

            async def bare_search() -> None:
                sql = _SEARCH.format(query="$1", filter="$2::jsonb", table=table)
                for query in queries:
                    cursor.execute(sql, (array("f", query), wanted)).fetchall()

            await lines(figures, number, ours, bare, our_search, bare_search, empty, settle)
    else:
        async with AsyncPgvectorKnowledgeStore(url, table_prefix=PREFIX, index_from=1_001) as astore:
            aconnection = await asyncpg.connect(url)
            await aconnection.execute("SET hnsw.ef_search = 100; SET hnsw.iterative_scan = relaxed_order")
            schema = await aconnection.fetchval(
                "SELECT nspname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace "
                "WHERE t.oid = 'vector'::regtype"
            )
            await aconnection.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")

            async def ours() -> None:
                for batch in batches(documents):
                    await astore.upsert("ours", batch)

            async def bare() -> None:
                for batch in batches(documents):
                    async with aconnection.transaction():
                        await aconnection.execute(_TEMPORARY)
                        await aconnection.copy_to_table("batch", source=io.BytesIO(copied(batch)), format="binary")
                        await aconnection.execute(move(table))

            async def our_search() -> None:
                for query in queries:
                    await astore.search("ours", query, 10, {"year": 2007})

            async def bare_search() -> None:
                sql = _SEARCH.format(query="$1", filter="$2::jsonb", table=table)
                for query in queries:
                    await aconnection.fetch(sql, sent(query), wanted)

            await lines(figures, number, ours, bare, our_search, bare_search, empty, settle)
            await aconnection.close()
    report.show(driver)


async def lines(
    figures: Figures,
    number: int,
    ours: Callable[[], Awaitable[None]],
    bare: Callable[[], Awaitable[None]],
    our_search: Callable[[], Awaitable[None]],
    bare_search: Callable[[], Awaitable[None]],
    empty: Callable[[], None],
    settle: Callable[[], None],
) -> None:
    """The lines of one driver."""
    await figures.line(f"upsert of {BATCH}, new, with indexes", number // BATCH, ours, bare, empty)
    await figures.line(f"upsert of {BATCH}, known, with indexes", number // BATCH, ours, bare)
    settle()
    await figures.line("search with a filter", 200, our_search, bare_search)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures the pgvector stores beside hand-written programs.")
    parser.add_argument("--url", help="of a server with the extension vector")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="3 rounds, of 1,500 documents")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    arguments = parser.parse_args()
    rounds, number = (3, 1_500) if arguments.quick else (arguments.rounds, 5_000)
    engines: Any = None
    if arguments.url is None:
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration"))
        engines = importlib.import_module("engines")
        arguments.url = engines.engine("pgvector").url
    report = Report()
    try:
        with psycopg.connect(arguments.url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            vector = "SELECT 'pgvector ' || extversion FROM pg_extension WHERE extname = 'vector'"
            for sql in ("SELECT version()", vector):
                row = connection.execute(sql).fetchone()
                print(row[0] if row else "")
        for driver in ("psycopg", "asyncpg"):
            asyncio.run(measure(report, arguments.url, rounds, number, driver=driver))
            drop(arguments.url)
    finally:
        drop(arguments.url)
        if engines is not None:
            engines.shut_down()
    missed = [line.what for line in report.missed]
    print(f"\nmissed: {', '.join(missed) or 'nothing'}; medians of {median([rounds]):.0f} rounds")
    return 1 if missed and arguments.check else 0


def drop(url: str) -> None:
    """Drop what this run made."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (name,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE starts_with(tablename, %s)", (PREFIX,)
        ).fetchall():
            connection.execute(f'DROP TABLE "{name}"')


if __name__ == "__main__":
    raise SystemExit(main())
