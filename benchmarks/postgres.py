"""Measures the PostgreSQL stores beside hand-written programs on the same server, in one run, as ratios.

    python benchmarks/postgres.py [--url URL] [--rounds N] [--quick] [--check]

Without a URL the server is found as for the integration tests. Ours and theirs take turns, on tables that the store
made. The hand-written append is the shortest that does the same: one statement, gap-free ``seq``, the session's
``updated_at``, committed; the bulk ones are COPY, the fastest way of both drivers. They check nothing, and of JSON they
write and read the metadata of a message only. The resume is also shown beside the query alone, which leaves metadata as
text; that is for information, because a program that goes on with the conversation has to read them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import psycopg
import psycopg_pool
from measuring import Report, clock, interleaved, median, servers

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_postgres import AsyncPostgresConversationStore, PostgresConversationStore

COLUMNS = "session_id, id, role, content, tool_calls, tool_call_id, metadata, created_at, seq"
_APPEND = (
    "WITH s AS (UPDATE {sessions} SET last_seq = last_seq + 1, updated_at = GREATEST({now}, updated_at + 1e-6) "
    "WHERE session_id = {session} RETURNING last_seq) INSERT INTO {messages} ({columns}) "
    "SELECT {values}, last_seq FROM s RETURNING seq"
)
_RAISE = (
    "UPDATE {sessions} SET last_seq = last_seq + {n}, updated_at = {now} "
    "WHERE session_id = {session} RETURNING last_seq"
)
_RESUME = (
    "SELECT id, role, content, tool_calls, tool_call_id, metadata, created_at, seq FROM {messages} "
    "WHERE session_id = {session} ORDER BY seq DESC LIMIT {limit}"
)
CONTENT = "A sentence of an agent that has something to say about its work. " * 4
METADATA = {"model": "m", "tokens": 123}
PREFIX = f"bench{uuid.uuid4().hex[:8]}_"
TABLES = {"sessions": f'"{PREFIX}sessions"', "messages": f'"{PREFIX}messages"'}
THREADS, TASKS, POOL = 8, 64, 10
BLOCKS = 5
"""In which a round is cut, short ones in turns: what else the machine does should meet both programs."""
_numbers = itertools.count()


def message() -> ConversationMessage:
    """A message of the usual size."""
    return ConversationMessage(id=f"message-{next(_numbers):012d}", role="user", content=CONTENT, metadata=METADATA)


def row(session: str) -> tuple[Any, ...]:
    """The same for a hand-written program."""
    number = f"message-{next(_numbers):012d}"
    return (session, number, "user", CONTENT, None, None, json.dumps(METADATA), time.time())


class Psycopg:
    """What one would write with psycopg."""

    append_sql = _APPEND.format(
        **TABLES,
        columns=COLUMNS,
        now="%s::float8",
        session="%s",
        values=", ".join(["%s::text"] * 7 + ["%s::float8"]),
    )
    raise_sql = _RAISE.format(**TABLES, n="%s", now="%s", session="%s")
    resume_sql = _RESUME.format(**TABLES, session="%s", limit="%s")

    def append(self, connection: psycopg.Connection[Any], session: str) -> None:
        """One message."""
        connection.execute(self.append_sql, (time.time(), session, *row(session))).fetchone()

    def bulk(self, connection: psycopg.Connection[Any], session: str, number: int) -> None:
        """Many messages."""
        rows = [row(session) for _ in range(number)]
        with connection.transaction(), connection.cursor() as cursor:
            last = cursor.execute(self.raise_sql, (number, time.time(), session)).fetchall()[0][0] - number
            with cursor.copy(f"COPY {TABLES['messages']} ({COLUMNS}) FROM STDIN") as copy:
                for seq, fields in enumerate(rows, last + 1):
                    copy.write_row((*fields, seq))


class Asyncpg:
    """What one would write with asyncpg."""

    append_sql = _APPEND.format(
        **TABLES,
        columns=COLUMNS,
        now="$8::float8",
        session="$1",
        values="$1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::float8",
    )
    raise_sql = _RAISE.format(**TABLES, n="$1", now="$2", session="$3")
    resume_sql = _RESUME.format(**TABLES, session="$1", limit="$2")

    async def append(self, connection: Any, session: str) -> None:
        """One message."""
        await connection.fetch(self.append_sql, *row(session))

    async def bulk(self, connection: Any, session: str, number: int) -> None:
        """Many messages."""
        rows = [row(session) for _ in range(number)]
        async with connection.transaction():
            last = await connection.fetchval(self.raise_sql, number, time.time(), session) - number
            records = [(*fields, seq) for seq, fields in enumerate(rows, last + 1)]
            name = TABLES["messages"].strip('"')
            await connection.copy_records_to_table(name, records=records, columns=COLUMNS.split(", "))


def with_metadata(rows: Iterable[Sequence[Any]]) -> list[Any]:
    """The metadata of resumed messages, as what they were."""
    return [None if row[5] is None else json.loads(row[5]) for row in rows]


def timed(body: Callable[[], Any]) -> Callable[[], float]:
    """The seconds that a call takes."""

    def run() -> float:
        start = clock()
        body()
        return clock() - start

    return run


def in_threads(body: Callable[[int], None]) -> None:
    """Run ``body(0)`` and so on at once."""
    threads = [threading.Thread(target=body, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def sync_workloads(report: Report, url: str, rounds: int, times: int) -> None:
    """Measure the sync store."""
    bare = Psycopg()
    store = PostgresConversationStore(url, table_prefix=PREFIX, max_size=POOL)
    for name in ("ours", "bare", "long", *map(str, range(TASKS))):
        store.create_session(ConversationSession(name))
    for _ in range(100):
        store.add_messages("long", [message() for _ in range(1000)])
    with (
        store,
        psycopg.connect(url, autocommit=True) as connection,
        psycopg_pool.ConnectionPool(url, min_size=POOL, kwargs={"autocommit": True}) as pool,
    ):
        connection.execute(f"ANALYZE {TABLES['messages']}")
        pool.wait()

        def ours() -> None:
            for _ in range(times):
                store.add_message("ours", message())

        def theirs() -> None:
            for _ in range(times):
                bare.append(connection, "bare")

        compare(report, "psycopg", "append, one at a time", times, rounds, timed(ours), timed(theirs), at_least=0.85)

        def ours_in_thread(number: int) -> None:
            for _ in range(times // 4):
                store.add_message(str(number), message())

        def theirs_in_thread(number: int) -> None:
            for _ in range(times // 4):
                with pool.connection() as own:
                    bare.append(own, str(number))

        both = (timed(lambda: in_threads(ours_in_thread)), timed(lambda: in_threads(theirs_in_thread)))
        compare(report, "psycopg", "append, eight threads", THREADS * (times // 4), rounds, *both, at_least=0.85)

        both = (
            timed(lambda: store.add_messages("ours", [message() for _ in range(1000)])),
            timed(lambda: bare.bulk(connection, "bare", 1000)),
        )
        compare(report, "psycopg", "add_messages(1000) and COPY", 1, rounds, *both, at_most=1.3)

        def query() -> list[tuple[Any, ...]]:
            return connection.execute(bare.resume_sql, ("long", 50)).fetchall()

        resume = timed(lambda: [store.get_messages("long", limit=50) for _ in range(times)])
        both = (resume, timed(lambda: [with_metadata(query()) for _ in range(times)]))
        compare(report, "psycopg", "the last 50 of 100,000", times, rounds, *both, at_most=1.3)
        both = (resume, timed(lambda: [query() for _ in range(times)]))
        compare(report, "psycopg", "the same beside the query alone", times, rounds, *both)
    report.show("psycopg")


def compare(
    report: Report,
    workload: str,
    what: str,
    times: int,
    rounds: int,
    ours: Callable[[], float],
    bare: Callable[[], float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> None:
    """Take turns and add a line: a rate where more is better, else milliseconds."""
    ours()
    bare()
    figures: Mapping[str, list[float]] = interleaved(rounds, {"ours": ours, "bare": bare}, blocks=BLOCKS)
    if at_least is not None:
        rates = {name: [times / seconds for seconds in found] for name, found in figures.items()}
        report.compare(workload, what, "/s", rates["ours"], rates["bare"], at_least=at_least)
    else:
        spans = {name: [seconds / times * 1000 for seconds in found] for name, found in figures.items()}
        report.compare(workload, what, "ms", spans["ours"], spans["bare"], at_most=at_most)


async def async_workloads(report: Report, url: str, rounds: int, times: int) -> None:
    """Measure the async store."""
    bare = Asyncpg()

    async def line(
        what: str,
        number: int,
        ours: Callable[[], Awaitable[Any]],
        theirs: Callable[[], Awaitable[Any]],
        **target: float,
    ) -> None:
        figures: dict[str, list[float]] = {"ours": [], "bare": []}
        bodies = [("ours", ours), ("bare", theirs)]
        for turn in range(rounds + 1):
            taken: dict[str, list[float]] = {"ours": [], "bare": []}
            for _ in range(BLOCKS):
                for name, body in bodies:
                    start = clock()
                    await body()
                    taken[name].append(clock() - start)
                bodies.reverse()
            if turn:  # the first is for getting warm
                for name, seconds in taken.items():
                    figures[name].append(median(seconds))
        compare_found(report, what, number, figures, **target)

    async with (
        AsyncPostgresConversationStore(url, table_prefix=PREFIX, max_size=POOL) as store,
        asyncpg.create_pool(url, min_size=POOL, max_size=POOL) as pool,
    ):
        connection = await asyncpg.connect(url)

        async def ours() -> None:
            for _ in range(times):
                await store.add_message("ours", message())

        async def theirs() -> None:
            for _ in range(times):
                await bare.append(connection, "bare")

        await line("append, one at a time", times, ours, theirs, at_least=0.85)

        async def ours_in_task(number: int, session: str | None) -> None:
            for _ in range(max(2, times // 20)):
                await store.add_message(session or str(number), message())

        async def theirs_in_task(number: int, session: str | None) -> None:
            for _ in range(max(2, times // 20)):
                async with pool.acquire() as own:
                    await bare.append(own, session or str(number))

        for what, session in (("64 tasks, 64 sessions, pool of 10", None), ("64 tasks, one session", "ours")):

            async def many(body: Callable[[int, str | None], Awaitable[None]], where: str | None = session) -> None:
                await asyncio.gather(*(body(number, where) for number in range(TASKS)))

            number = TASKS * max(2, times // 20)
            await line(what, number, lambda: many(ours_in_task), lambda: many(theirs_in_task), at_least=0.85)

        await line(
            "add_messages(1000) and COPY",
            1,
            lambda: store.add_messages("ours", [message() for _ in range(1000)]),
            lambda: bare.bulk(connection, "bare", 1000),
            at_most=1.3,
        )

        async def resume() -> None:
            for _ in range(times):
                await store.get_messages("long", limit=50)

        async def query() -> None:
            for _ in range(times):
                await connection.fetch(bare.resume_sql, "long", 50)

        async def bare_resume() -> None:
            for _ in range(times):
                with_metadata(await connection.fetch(bare.resume_sql, "long", 50))

        await line("the last 50 of 100,000", times, resume, bare_resume, at_most=1.3)
        await line("the same beside the query alone", times, resume, query)
        await connection.close()
    report.show("asyncpg")


def compare_found(report: Report, what: str, times: int, figures: dict[str, list[float]], **target: float) -> None:
    """Add a line of the async workloads."""
    rate = "at_least" in target  # else milliseconds
    ours, bare = (
        [times / seconds if rate else seconds / times * 1000 for seconds in figures[name]] for name in ("ours", "bare")
    )
    report.compare("asyncpg", what, "/s" if rate else "ms", ours, bare, **target)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description="Measures the PostgreSQL stores beside hand-written programs.")
    parser.add_argument(
        "--url", help="of a server; its database gets tables of a prefix of their own, dropped at the end"
    )
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--quick", action="store_true", help="5 rounds, and less in each")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    arguments = parser.parse_args()
    rounds, times = (5, 20) if arguments.quick else (arguments.rounds, 40)
    engines: Any = None
    if arguments.url is None:
        engines = servers()
        arguments.url = engines.engine("postgres").url
    report = Report()
    try:
        with psycopg.connect(arguments.url, autocommit=True) as connection:
            version = connection.execute("SELECT version()").fetchone()
            print(version[0] if version else "")
        sync_workloads(report, arguments.url, rounds, times)
        asyncio.run(async_workloads(report, arguments.url, rounds, times))
    finally:
        with psycopg.connect(arguments.url, autocommit=True) as connection:
            for (name,) in connection.execute(
                "SELECT tablename FROM pg_tables WHERE starts_with(tablename, %s)", (PREFIX,)
            ):
                connection.execute(f'DROP TABLE "{name}"')
        if engines is not None:
            engines.shut_down()
    missed = [line.what for line in report.missed]
    print(
        f"\nmissed: {', '.join(missed) or 'nothing'}; medians of {rounds} rounds, {median([rounds]):.0f} figures a line"
    )
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
