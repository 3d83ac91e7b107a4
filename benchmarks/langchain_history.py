"""LangChain's chat history on our stores beside its own ``SQLChatMessageHistory``, on the same engine.

    pip install langchain-community "sqlalchemy[asyncio]" aiosqlite "psycopg[binary]"
    python benchmarks/langchain_history.py            prints medians of rounds, in SQLite
    python benchmarks/langchain_history.py --postgres postgresql://USER:PASSWORD@HOST:PORT/DATABASE
                                                      in PostgreSQL, too
    python benchmarks/langchain_history.py --check    exits with 1 if ours is behind, or has lost something

In SQLite both keep a write-ahead log with ``synchronous=FULL``, so that what was acknowledged survives a loss of power;
the settings are read back from the connections. In PostgreSQL both have the server's. A turn is a question and an
answer, appended by one call, as a chain does it. Theirs looks for its table whenever it is constructed, which a chain
does in each call: that is a part of resuming.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from measuring import clock, interleaved, times_as_fast
from sqlalchemy.ext.asyncio import create_async_engine

from praisonai_persistence_langchain import PersistentChatMessageHistory
from praisonai_persistence_postgres import PostgresConversationStore
from praisonai_persistence_sqlite import SQLiteConversationStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_community.chat_message_histories import SQLChatMessageHistory

Open = Callable[[str], BaseChatMessageHistory]
"""Opens the history of a session."""

TEXT = "The invoice of March was paid twice, so the customer asks for the second amount back. " * 2
THREADS, TASKS = 8, 64


def turn(number: int) -> list[BaseMessage]:
    """Return a question and an answer of some 200 characters each."""
    return [HumanMessage(f"{number:>8} {TEXT}"), AIMessage(f"{number:>8} {TEXT}")]


def theirs(path: Path, *, asynchronous: bool = False) -> Open:
    """Return LangChain's own, with the durability of ours."""

    def durable(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        found = []
        for name in ("journal_mode", "synchronous"):
            cursor.execute(f"PRAGMA {name}")
            found.append(cursor.fetchone()[0])
        cursor.close()
        if found != ["wal", 2]:
            raise SystemExit(f"the settings of the other side are {found}")

    options = {"connect_args": {"timeout": 60}}
    if asynchronous:
        engine: Any = create_async_engine(f"sqlite+aiosqlite:///{path}", **options)
        sqlalchemy.event.listen(engine.sync_engine, "connect", durable)
    else:
        engine = sqlalchemy.create_engine(f"sqlite:///{path}", **options)
        sqlalchemy.event.listen(engine, "connect", durable)
    return lambda session: SQLChatMessageHistory(session, connection=engine)


def theirs_in_postgres(url: str, schema: str, *, asynchronous: bool = False) -> Open:
    """Return LangChain's own in a schema."""
    make: Any = create_async_engine if asynchronous else sqlalchemy.create_engine
    engine = make(
        url.replace("postgresql:", "postgresql+psycopg:", 1), connect_args={"options": f"-csearch_path={schema}"}
    )
    return lambda session: SQLChatMessageHistory(session, connection=engine)


def appends(open_: Open, session: str, turns: int) -> float:
    """Return the seconds of that many turns, one after the other."""
    history = open_(session)
    start = clock()
    for number in range(turns):
        history.add_messages(turn(number))
    return clock() - start


def fresh(open_: Open, turns: int) -> float:
    """The same in a new session."""
    return appends(open_, uuid.uuid4().hex, turns)


def resume(open_: Open, session: str, length: int) -> float:
    """Return the seconds until a session's messages are there, from a new object."""
    start = clock()
    found = open_(session).messages
    seconds = clock() - start
    if len(found) != length:
        raise SystemExit(f"{len(found)} messages of {length}")
    return seconds


def in_threads(open_: Open, turns: int) -> tuple[int, int]:
    """Append to one session from threads; return how many messages are missing, and how many calls failed."""
    failed: list[BaseException] = []

    def write() -> None:
        history = open_("threads")
        for number in range(turns):
            try:
                history.add_messages(turn(number))
            except Exception as error:  # noqa: BLE001 - it is counted
                failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * THREADS * turns - len(open_("threads").messages), len(failed)


def in_tasks(open_: Open, turns: int) -> tuple[int, int]:
    """The same from tasks of one event loop."""

    async def write() -> int:
        history = open_("tasks")
        done = 0
        for number in range(turns):
            with suppress(Exception):
                await history.aadd_messages(turn(number))
                done += 1
        return turns - done

    async def work() -> tuple[int, int]:
        failed = sum(await asyncio.gather(*(write() for _ in range(TASKS))))
        return 2 * TASKS * turns - len(await open_("tasks").aget_messages()), failed

    return asyncio.run(work())


def compare(ours: Open, other: Open, other_async: Open, options: argparse.Namespace) -> tuple[list[float], int]:
    """Measure and print; return the ratios, and how much of ours is lost."""
    figure = min if options.best else statistics.median
    sides = {"ours": ours, "SQLChatMessageHistory": other}

    def ratio(name: str, work: Mapping[str, Callable[[], float]], unit: float) -> float:
        figures = {who: [figure(seconds)] for who, seconds in interleaved(options.rounds, work).items()}
        return times_as_fast(name, figures, unit)

    each = 1000 / options.turns
    ratios = [ratio("append a turn", {who: partial(fresh, one, options.turns) for who, one in sides.items()}, each)]
    for length in options.lengths:
        name = f"long {length}"
        for one in sides.values():
            one(name).add_messages([message for number in range(length // 2) for message in turn(number)])
        reading = {who: partial(resume, one, name, length) for who, one in sides.items()}
        ratios.append(ratio(f"resume {length} messages", reading, 1000))
        writing = {who: partial(appends, one, name, options.turns) for who, one in sides.items()}
        ratios.append(ratio(f"append behind {length} messages", writing, each))
    lost = 0
    for who, one in sides.items():
        tasks = in_tasks(one if who == "ours" else other_async, 4)
        for name, many in ((f"{THREADS} threads", in_threads(one, 25)), (f"{TASKS} tasks", tasks)):
            print(f"{name + ' on one session':24} {who:24} {many[0]} messages missing, {many[1]} calls failed")
            lost += sum(many) if who == "ours" else 0
    return ratios, lost


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=100, help="appended in each round")
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[1000, 10_000], help="messages of sessions that are resumed"
    )
    parser.add_argument("--postgres", help="a server, beside SQLite")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on a disk, where the files are made")
    parser.add_argument("--best", action="store_true", help="the fastest round, not the median: for a busy machine")
    parser.add_argument("--check", action="store_true", help="exit with 1 if ours is behind, or lost something")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    versions = {name: version(name) for name in ("langchain-core", "langchain-community", "sqlalchemy")}
    print(f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} processors")
    print(", ".join(f"{name} {number}" for name, number in versions.items()))
    options.folder.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        SQLiteConversationStore(path=Path(folder) / "ours.db") as store,
    ):
        path = Path(folder) / "theirs.db"
        ours = partial(PersistentChatMessageHistory, store)
        ratios, lost = compare(ours, theirs(path), theirs(path, asynchronous=True), options)
    if options.postgres:
        print("PostgreSQL:")
        schema = f"b{os.getpid()}"
        other = partial(theirs_in_postgres, options.postgres, schema)
        with psycopg.connect(options.postgres, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
            try:
                with PostgresConversationStore(url=options.postgres, schema=schema) as server:
                    ours = partial(PersistentChatMessageHistory, server)
                    more, gone = compare(ours, other(), other(asynchronous=True), options)
            finally:
                connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        ratios += more
        lost += gone
    return int(options.check and (min(ratios) < 1 or lost > 0))


if __name__ == "__main__":
    sys.exit(main())
