"""Measures the pgvector stores beside hand-written programs on the same server, in one run, as ratios.

    python benchmarks/pgvector.py [--url URL] [--rounds N] [--quick] [--check]

Without a URL the server is found as for the integration tests. Ours and theirs take turns, each on a table of its own
that the store made, with its indexes: 5,000 documents of 384 dimensions in batches of 500, upserted into an empty
collection, then again into the full one; and 200 searches with a filter. Documents are written to a collection without
an index of the vectors, as one is until it is full enough, and to one with it: there it is the server that works, for a
millisecond a document, whoever asks. The last line is the whole of it, to write everything once, by the index, and to
search, and what the target is for.

The hand-written program does it in the ways of its driver: COPY of binary rows into a temporary table and one statement
from there to the table, which takes less time than arrays in one statement; a search in one statement, with the
embedding in binary form, and the metadata made what they were. It checks nothing, and makes no records.

Turns are a batch, or twenty searches, long, so that what else the machine does meets both alike. The server's own
cleaning of tables is switched off for both: it would come to one of them at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import random
import struct
import uuid
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

import asyncpg
import psycopg
from measuring import Report, clock, median, servers

from praisonai_persistence import KnowledgeDocument
from praisonai_persistence_pgvector import AsyncPgvectorKnowledgeStore, PgvectorKnowledgeStore

DIMENSION, BATCH, SEARCHES, TURN = 384, 500, 200, 20
PREFIX = f"bench{uuid.uuid4().hex[:8]}_"
WANTED = {"year": 2007}
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


Body = Callable[[Any], Awaitable[Any]]
"""Does the work of one turn: a batch of documents, or some queries."""


class Sides(NamedTuple):
    """What is compared, of one driver."""

    upsert: dict[str, Body]
    search: dict[str, Body]


class Figures:
    """Takes turns."""

    def __init__(self, report: Report, workload: str, rounds: int) -> None:
        self.report = report
        self.workload = workload
        self.rounds = rounds
        self._names = ["ours", "bare"]

    async def turns(self, sides: dict[str, Body], works: Sequence[Any]) -> dict[str, float]:
        """Do a round; return the seconds of each side."""
        taken = dict.fromkeys(sides, 0.0)
        for work in works:
            for name in self._names:
                start = clock()
                await sides[name](work)
                taken[name] += clock() - start
            self._names.reverse()
        return taken

    async def lines(
        self,
        times: int,
        sides: dict[str, Body],
        works: Sequence[Any],
        *names: str,
        reset: Callable[[], None] | None = None,
    ) -> list[tuple[list[float], list[float]]]:
        """Do rounds of the same work, once for each line, and add the lines: milliseconds for one of ``times``.

        Returns:
            For each line, the rounds of ours and of the hand-written program.
        """
        found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for number in range(self.rounds + 1):
            if reset is not None:
                reset()
            for name in names:
                taken = await self.turns(sides, works)
                if number:  # the first is for getting warm
                    found[name].append(taken)
        lines = []
        for name in names:
            ours, bare = ([taken[side] / times * 1000 for taken in found[name]] for side in ("ours", "bare"))
            self.report.compare(self.workload, name, "ms", ours, bare)
            lines.append((ours, bare))
        return lines


async def measure(report: Report, url: str, rounds: int, number: int, *, driver: str) -> None:
    """Measure the store of one driver."""
    chance = random.Random(7)
    works = batches(made(number, chance))
    queries = [[chance.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(SEARCHES)]
    asked = [queries[start : start + TURN] for start in range(0, SEARCHES, TURN)]
    figures = Figures(report, driver, rounds)
    with PgvectorKnowledgeStore(url, table_prefix=PREFIX, index="none") as maker:
        for name in ("ours", "bare"):
            maker.create_collection(name, DIMENSION)
    tables = [table_of(url, name) for name in ("ours", "bare")]

    def on_both(*statements: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                for table in tables:
                    connection.execute(statement.format(table))

    on_both("ALTER TABLE {} SET (autovacuum_enabled = off)")
    sides = on_psycopg if driver == "psycopg" else on_asyncpg
    async with sides(url, tables[1]) as (upsert, search):
        what = f"upsert of {BATCH}"
        lines = (f"{what}, new", f"{what}, known")
        await figures.lines(len(works), upsert, works, *lines, reset=partial(on_both, "TRUNCATE {}"))
    with PgvectorKnowledgeStore(url, table_prefix=PREFIX, index_from=1_001) as maker:
        for name in ("ours", "bare"):
            assert maker.build_index(name)
    on_both("VACUUM ANALYZE {}")
    async with sides(url, tables[1]) as (upsert, search):  # anew, because a store knows by heart what had no index
        (searched,) = await figures.lines(SEARCHES, search, asked, "search with a filter")
        await figures.lines(len(works), upsert, works, f"{what}, known, by the index")
        empty = partial(on_both, "TRUNCATE {}")
        (written,) = await figures.lines(len(works), upsert, works, f"{what}, new, by the index", reset=empty)
    ours, bare = (
        [len(works) * write + SEARCHES * search for write, search in zip(*both, strict=True)]
        for both in zip(written, searched, strict=True)
    )
    report.compare(driver, "all batches, new, by the index, and all searches", "ms", ours, bare, at_most=1.15)
    report.show(driver)


@asynccontextmanager
async def on_psycopg(url: str, table: str) -> AsyncIterator[Sides]:
    """The sync store, and a program on its driver."""
    with (
        PgvectorKnowledgeStore(url, table_prefix=PREFIX, index="none") as store,
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
        sql = _SEARCH.format(query="$1", filter="$2::jsonb", table=table)

        async def ours(batch: Sequence[KnowledgeDocument]) -> None:
            store.upsert("ours", batch)

        async def bare(batch: Sequence[KnowledgeDocument]) -> None:
            with connection.transaction():
                cursor.execute(_TEMPORARY)
                with cursor.copy("COPY batch FROM STDIN (FORMAT BINARY)") as copy:
                    copy.write(copied(batch))
                cursor.execute(move(table))

        async def our_search(queries: Sequence[list[float]]) -> None:
            for query in queries:
                assert len(store.search("ours", query, 10, WANTED)) == 10

        async def bare_search(queries: Sequence[list[float]]) -> None:
            for query in queries:
                found = cursor.execute(sql, (array("f", query), json.dumps(WANTED))).fetchall()
                assert len([json.loads(row[2]) for row in found]) == 10

        yield Sides({"ours": ours, "bare": bare}, {"ours": our_search, "bare": bare_search})


@asynccontextmanager
async def on_asyncpg(url: str, table: str) -> AsyncIterator[Sides]:
    """The async store, and a program on its driver."""
    async with AsyncPgvectorKnowledgeStore(url, table_prefix=PREFIX, index="none") as store, AsyncExitStack() as stack:
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await connection.execute("SET hnsw.ef_search = 100; SET hnsw.iterative_scan = relaxed_order")
        schema = await connection.fetchval(
            "SELECT nspname FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace WHERE t.oid = 'vector'::regtype"
        )
        await connection.set_type_codec("vector", schema=schema, encoder=bytes, decoder=bytes, format="binary")
        sql = _SEARCH.format(query="$1", filter="$2::jsonb", table=table)

        async def ours(batch: Sequence[KnowledgeDocument]) -> None:
            await store.upsert("ours", batch)

        async def bare(batch: Sequence[KnowledgeDocument]) -> None:
            async with connection.transaction():
                await connection.execute(_TEMPORARY)
                await connection.copy_to_table("batch", source=io.BytesIO(copied(batch)), format="binary")
                await connection.execute(move(table))

        async def our_search(queries: Sequence[list[float]]) -> None:
            for query in queries:
                assert len(await store.search("ours", query, 10, WANTED)) == 10

        async def bare_search(queries: Sequence[list[float]]) -> None:
            for query in queries:
                found = await connection.fetch(sql, sent(query), json.dumps(WANTED))
                assert len([json.loads(row[2]) for row in found]) == 10

        yield Sides({"ours": ours, "bare": bare}, {"ours": our_search, "bare": bare_search})


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures the pgvector stores beside hand-written programs.")
    parser.add_argument("--url", help="of a server with the extension vector")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3 rounds, of 1,500 documents")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    arguments = parser.parse_args()
    rounds, number = (3, 1_500) if arguments.quick else (arguments.rounds, 5_000)
    engines: Any = None
    if arguments.url is None:
        engines = servers()
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
