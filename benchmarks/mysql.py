"""Measures the MySQL stores beside PyMySQL and aiomysql, on one server, in one run, with the same durability.

The bare programs do what the contract asks for: a message gets the next number of its session in the transaction that
writes it, and the session's `updated_at` is raised. Finds its server as the integration tests do, and needs what they
need; or give it one in `PERSISTENCE_MARIADB_URL`.

    python benchmarks/mysql.py [--rounds 5] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiomysql
import pymysql
from measuring import Report, clock, interleaved, machine, servers
from pymysql.constants import CLIENT

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_mysql import AsyncMySQLConversationStore, MySQLConversationStore

BLOCKS = 5
"""In which a round is cut, short ones in turns: what else the machine does should meet both programs."""
TEXT = "What a message of a conversation is like: a sentence or two, some hundred characters, no more than that. " * 3
RAISE = "UPDATE {p}sessions SET last_seq = LAST_INSERT_ID(last_seq + 1), updated_at = %s WHERE session_id = %s"
COLUMNS = "session_id, seq, id, role, content, tool_calls, tool_call_id, metadata, created_at"
INSERT = "INSERT INTO {p}messages (" + COLUMNS + ") VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608  # constants
RESUME = """SELECT id, role, content, tool_calls, tool_call_id, metadata, created_at, seq FROM {p}messages
    WHERE session_id = %s ORDER BY seq DESC LIMIT 50"""


def message() -> ConversationMessage:
    """Return a new message."""
    return ConversationMessage(id=uuid.uuid4().hex, role="user", content=TEXT)


def row(session: str, seq: int) -> tuple[Any, ...]:
    """Return a new message as the bare programs write it."""
    return (session, seq, uuid.uuid4().hex, "user", TEXT, None, None, None, time.time())


def append(connection: Any, prefix: str, session: str) -> None:
    """Append with PyMySQL: four round trips."""
    connection.begin()
    with connection.cursor() as cursor:
        cursor.execute(RAISE.format(p=prefix), (time.time(), session))
        cursor.execute(INSERT.format(p=prefix), row(session, cursor.lastrowid))
    connection.commit()


async def append_async(connection: Any, prefix: str, session: str) -> None:
    """Append with aiomysql: four round trips."""
    await connection.begin()
    async with connection.cursor() as cursor:
        await cursor.execute(RAISE.format(p=prefix), (time.time(), session))
        await cursor.execute(INSERT.format(p=prefix), row(session, cursor.lastrowid))
    await connection.commit()


def append_at_once(connection: Any, prefix: str, session: str) -> None:
    """Append with PyMySQL as one packet of four statements: nobody writes this by hand, but it is the fastest."""
    insert = INSERT.replace("(%s, %s, ", "(%s, LAST_INSERT_ID(), ")
    values = (time.time(), session, session, *row(session, 0)[2:])
    with connection.cursor() as cursor:
        cursor.execute(f"START TRANSACTION; {RAISE}; {insert}; COMMIT".format(p=prefix), values)
        while cursor.nextset():
            pass


def append_many(connection: Any, prefix: str, session: str, first: int) -> None:
    """Append a thousand with the driver's bulk insert."""
    connection.begin()
    with connection.cursor() as cursor:
        cursor.executemany(INSERT.format(p=prefix), [row(session, first + number) for number in range(1000)])
        cursor.execute(RAISE.format(p=prefix).replace("+ 1)", "+ 1000)"), (time.time(), session))
    connection.commit()


def resume(connection: Any, prefix: str, session: str) -> None:
    """Read the last fifty."""
    with connection.cursor() as cursor:
        cursor.execute(RESUME.format(p=prefix), (session,))
        cursor.fetchall()


def timed(work: Callable[[], Any], times: int = 1) -> Callable[[], float]:
    """Return a program that does the work so many times and returns the seconds."""

    def program() -> float:
        start = clock()
        for _ in range(times):
            work()
        return clock() - start

    return program


def rates(figures: list[float], count: int) -> list[float]:
    """Return seconds as how many a second."""
    return [count / seconds for seconds in figures]


def one_writer(report: Report, engine: Any, prefix: str, rounds: int, count: int) -> None:
    """One writer, and one reader."""
    arguments = {**engine.connect_arguments(), "autocommit": True, "charset": "utf8mb4"}
    with (
        pymysql.connect(**arguments) as bare,
        pymysql.connect(**arguments, client_flag=CLIENT.MULTI_STATEMENTS) as several,
        MySQLConversationStore(engine.url, table_prefix=prefix) as store,
    ):
        for session in ("ours", "bare", "once", "many", "bulk", "long"):
            store.create_session(ConversationSession(session))
        figures = interleaved(
            rounds,
            {
                "ours": timed(lambda: store.add_message("ours", message()), count),
                "bare": timed(lambda: append(bare, prefix, "bare"), count),
                "once": timed(lambda: append_at_once(several, prefix, "once"), count),
            },
            blocks=BLOCKS,
        )
        ours = rates(figures["ours"], count)
        title = "one writer"
        report.compare(title, "append, to PyMySQL", "/s", ours, rates(figures["bare"], count), at_least=0.85)
        report.compare(title, "append, to PyMySQL in one packet", "/s", ours, rates(figures["once"], count))
        numbers = iter(range(1, 10**9, 1000))
        figures = interleaved(
            rounds,
            {
                "ours": timed(lambda: store.add_messages("many", [message() for _ in range(1000)])),
                "bare": timed(lambda: append_many(bare, prefix, "bulk", next(numbers))),
            },
            blocks=BLOCKS,
        )
        report.compare(title, "add_messages of 1,000", "s", figures["ours"], figures["bare"], at_most=1.3)
        while store.count_messages("long") < 100_000:
            store.add_messages("long", [message() for _ in range(5000)])
        figures = interleaved(
            rounds,
            {
                "ours": timed(lambda: store.get_messages("long", limit=50), 50),
                "bare": timed(lambda: resume(bare, prefix, "long"), 50),
            },
            blocks=BLOCKS,
        )
        report.compare(title, "resume of 50 of 100,000, 50 times", "s", figures["ours"], figures["bare"], at_most=1.3)
        start = clock()
        store.search_messages("nothing")
        report.state(title, "first search, indexes everything", "s", clock() - start)
        start = clock()
        store.search_messages("sentence characters")
        report.state(title, "search in everything, all match", "s", clock() - start)
        report.show(title)


def eight_threads(report: Report, engine: Any, prefix: str, rounds: int, count: int) -> None:
    """Eight threads, each to its session."""
    arguments = {**engine.connect_arguments(), "autocommit": True, "charset": "utf8mb4"}
    connections = [pymysql.connect(**arguments) for _ in range(8)]
    with (
        MySQLConversationStore(engine.url, table_prefix=prefix, max_size=8) as store,
        ThreadPoolExecutor(8) as threads,
    ):
        for number in range(8):
            store.create_session(ConversationSession(f"thread{number}"))
            store.create_session(ConversationSession(f"bare{number}"))

        def ours(number: int) -> None:
            for _ in range(count):
                store.add_message(f"thread{number}", message())

        def bare(number: int) -> None:
            for _ in range(count):
                append(connections[number], prefix, f"bare{number}")

        programs = {
            "ours": timed(lambda: list(threads.map(ours, range(8)))),
            "bare": timed(lambda: list(threads.map(bare, range(8)))),
        }
        figures = interleaved(rounds, programs, blocks=BLOCKS)
        title = "eight threads to eight sessions"
        ratios = rates(figures["ours"], 8 * count), rates(figures["bare"], 8 * count)
        report.compare(title, "append", "/s", *ratios, at_least=0.85)
        report.show(title)
    for connection in connections:
        connection.close()


async def many_tasks(report: Report, engine: Any, prefix: str, rounds: int, count: int) -> None:
    """64 tasks, a pool of 10."""
    arguments = engine.connect_arguments()
    arguments["db"] = arguments.pop("database")
    pool = await aiomysql.create_pool(minsize=10, maxsize=10, autocommit=True, charset="utf8mb4", **arguments)
    async with AsyncMySQLConversationStore(engine.url, table_prefix=prefix, max_size=10) as store:
        for number in range(64):
            await store.create_session(ConversationSession(f"task{number}"))
            await store.create_session(ConversationSession(f"raw{number}"))

        async def ours(number: int) -> None:
            for _ in range(count):
                await store.add_message(f"task{number}", message())

        async def bare(number: int) -> None:
            for _ in range(count):
                async with pool.acquire() as connection:
                    await append_async(connection, prefix, f"raw{number}")

        async def to_one(_number: int) -> None:
            for _ in range(count):
                await store.add_message("task0", message())

        async def seconds(body: Callable[[int], Awaitable[None]]) -> float:
            start = clock()
            await asyncio.gather(*(body(number) for number in range(64)))
            return clock() - start

        figures: dict[str, list[float]] = {"ours": [], "bare": [], "one": []}
        for number in range(rounds):
            for name, body in [("ours", ours), ("bare", bare)][:: 1 if number % 2 else -1]:
                figures[name].append(await seconds(body))
            figures["one"].append(await seconds(to_one))
        title = "64 tasks, pool of 10"
        ratios = rates(figures["ours"], 64 * count), rates(figures["bare"], 64 * count)
        report.compare(title, "append to 64 sessions", "/s", *ratios, at_least=0.85)
        report.state(title, "append to one session", "/s", max(rates(figures["one"], 64 * count)))
        report.show(title)
    pool.close()
    await pool.wait_closed()


def main() -> int:
    """Measure and report; 1 when a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="less in each round")
    parser.add_argument("--json", type=Path, help="write the report there")
    options = parser.parse_args()
    report = Report()
    count = 20 if options.quick else 60
    engines = servers()
    try:
        engine = engines.engine("mariadb")
        with engine.prefix() as prefix, tempfile.TemporaryDirectory() as folder:
            facts = {**machine(Path(folder)), "server": engine.version}
            durable = "@@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog"
            facts[durable] = str(engine.execute(f"SELECT {durable}")[0])
            print("\n".join(f"{name}: {value}" for name, value in facts.items()))
            one_writer(report, engine, prefix, options.rounds, count)
            eight_threads(report, engine, prefix, options.rounds, max(10, count // 4))
            asyncio.run(many_tasks(report, engine, prefix, options.rounds, max(5, count // 20)))
            if options.json:
                report.write(options.json, facts)
    finally:
        engines.shut_down()
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
