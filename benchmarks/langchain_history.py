"""LangChain's chat history on our SQLite store beside its own ``SQLChatMessageHistory``, in SQLite too.

    pip install langchain-community "sqlalchemy[asyncio]" aiosqlite
    python benchmarks/langchain_history.py            prints medians of rounds
    python benchmarks/langchain_history.py --check    exits with 1 if ours is behind, or has lost something

Both keep a write-ahead log with ``synchronous=FULL``, so that what was acknowledged survives a loss of power; the
settings are read back from the connections. A turn is a question and an answer, appended by one call, as a chain does
it. Theirs looks for its table whenever it is constructed, which a chain does in each call: that is a part of resuming.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import sys
import tempfile
import threading
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from measuring import clock, interleaved, times_as_fast
from sqlalchemy.ext.asyncio import create_async_engine

from praisonai_persistence_langchain import PersistentChatMessageHistory
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


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=100, help="appended in each round")
    parser.add_argument("--length", type=int, default=1000, help="messages of a session that is resumed")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on a disk, where the files are made")
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
        sides: dict[str, Open] = {
            "ours": partial(PersistentChatMessageHistory, store),
            "SQLChatMessageHistory": theirs(Path(folder) / "theirs.db"),
        }
        work = {who: partial(fresh, open_, options.turns) for who, open_ in sides.items()}
        ratios = [times_as_fast("append a turn", interleaved(options.rounds, work), 1000 / options.turns)]
        for open_ in sides.values():
            appends(open_, "long", options.length // 2)
        reading = {who: partial(resume, open_, "long", options.length) for who, open_ in sides.items()}
        ratios.append(times_as_fast(f"resume {options.length} messages", interleaved(options.rounds, reading), 1000))
        lost = 0
        for who, open_ in sides.items():
            aopen = open_ if who == "ours" else theirs(Path(folder) / "theirs.db", asynchronous=True)
            for name, many in ((f"{THREADS} threads", in_threads(open_, 25)), (f"{TASKS} tasks", in_tasks(aopen, 4))):
                print(f"{name + ' on one session':24} {who:24} {many[0]} messages missing, {many[1]} calls failed")
                lost += sum(many) if who == "ours" else 0
    return int(options.check and (min(ratios) < 1 or lost > 0))


if __name__ == "__main__":
    sys.exit(main())
