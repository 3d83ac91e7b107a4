"""LlamaIndex's chat store on our SQLite store beside its own ``SimpleChatStore``, persisted after each message.

    pip install llama-index-core
    python benchmarks/llamaindex_chat.py            prints medians of rounds
    python benchmarks/llamaindex_chat.py --check    exits with 1 if ours appends slower, or has lost something

llama-index-core 0.14.25 cannot persist with pydantic from 2.13 on: a function that pydantic calls for each message
fails. There, theirs is the same class without that function, which writes the same file in less time.

Ours keeps a write-ahead log with ``synchronous=FULL``, so that what was acknowledged survives a loss of power. Theirs
writes its file anew each time and does not sync it: a loss of power, or a process that is killed while it writes, may
leave a part of it. The file holds one conversation; with more, each message costs theirs more.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.storage.chat_store.base import BaseChatStore
from measuring import clock, interleaved, times_as_fast

from praisonai_persistence_llamaindex import PersistentChatStore
from praisonai_persistence_sqlite import SQLiteConversationStore

Add = Callable[[BaseChatStore, str, ChatMessage], None]
"""Appends a message to a key, so that another process finds it."""

TEXT = "The invoice of March was paid twice, so the customer asks for the second amount back. " * 2
THREADS = 8


class Ours:
    """A chat store on a SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ours.db"
        self._store = SQLiteConversationStore(path=self.path)

    def open(self, key: str) -> BaseChatStore:
        """Return the chat store as a new process would get it; the connection is there already."""
        return PersistentChatStore(self._store)

    def add(self, chat: BaseChatStore, key: str, message: ChatMessage) -> None:
        """Append."""
        chat.add_message(key, message)

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class _Plain(SimpleChatStore):
    """Theirs, without a function of Python's that is called for each message to look at its ``additional_kwargs``."""

    store: dict[str, list[ChatMessage]] = Field(default_factory=dict)


def theirs() -> type[SimpleChatStore]:
    """Return LlamaIndex's class, if it can persist with the pydantic that is installed."""
    chat = SimpleChatStore(store={"key": [ChatMessage("text")]})
    try:
        chat.model_dump_json()
    except ValueError:  # pydantic's own error is one
        print(f"SimpleChatStore cannot persist with pydantic {version('pydantic')}: it is called without its wrapper")
        return _Plain
    return SimpleChatStore


class Theirs:
    """A file for each key, so that one conversation does not pay for the others."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._class = theirs()

    def _path(self, key: str) -> str:
        return str(self._folder / f"{key}.json")

    def open(self, key: str) -> BaseChatStore:
        """Read the file."""
        return self._class.from_persist_path(self._path(key))

    def add(self, chat: BaseChatStore, key: str, message: ChatMessage) -> None:
        """Append, and write the file."""
        chat.add_message(key, message)
        chat.persist(self._path(key))  # type: ignore[attr-defined]

    def close(self) -> None:
        """Nothing is open."""


Side = Ours | Theirs


def message(number: int) -> ChatMessage:
    """Return a message of some 200 characters."""
    return ChatMessage(f"{number:>8} {TEXT}", role="assistant" if number % 2 else "user")


def fill(side: Side, key: str, length: int) -> None:
    """Write that many messages at once."""
    chat = side.open(key)
    chat.set_messages(key, [message(number) for number in range(length - 1)])
    side.add(chat, key, message(length - 1))


def appends(side: Side, key: str, count: int) -> float:
    """Return the seconds of that many messages, one after the other."""
    chat = side.open(key)
    start = clock()
    for number in range(count):
        side.add(chat, key, message(number))
    return clock() - start


def fresh(side: Side, length: int, count: int) -> float:
    """The same in a new conversation of a length."""
    key = uuid.uuid4().hex
    if length:
        fill(side, key, length)
    return appends(side, key, count)


def resume(side: Side, key: str, length: int) -> float:
    """Return the seconds until a conversation is there, from a new object."""
    start = clock()
    found = side.open(key).get_messages(key)
    seconds = clock() - start
    if len(found) != length:
        raise SystemExit(f"{len(found)} messages of {length}")
    return seconds


def in_threads(side: Side, key: str, count: int, *, shared: bool) -> tuple[int, int]:
    """Append to one key from threads; return how many messages are missing, and how many calls failed.

    Args:
        side: whose store.
        key: the conversation.
        count: messages of each thread.
        shared: whether they share one object; otherwise each message has one of its own, as each request of a server.
    """
    failed: list[BaseException] = []
    chat = side.open(key)

    def write(writer: int) -> None:
        for number in range(count):
            try:
                side.add(chat if shared else side.open(key), key, message(writer * count + number))
            except Exception as error:  # noqa: BLE001 - it is counted
                failed.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        found = side.open(key).get_messages(key)
    except Exception as error:  # noqa: BLE001 - a file that two threads wrote at once
        print(f"  what was written cannot be read: {type(error).__name__}")
        found = []
    return THREADS * count - len({item.content for item in found}), len(failed)


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=50, help="messages appended in each round")
    parser.add_argument(
        "--lengths", type=int, nargs="*", default=[1000, 10_000], help="messages of conversations that go on"
    )
    parser.add_argument("--best", action="store_true", help="the fastest round, not the median: for a busy machine")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="on a disk, where the files are made")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if ours is behind in appending, or lost something"
    )
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} processors")
    print(f"llama-index-core {version('llama-index-core')}")
    options.folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sides: dict[str, Side] = {"ours": Ours(Path(folder)), "SimpleChatStore": Theirs(Path(folder))}
        ratios: list[float] = []
        figure = min if options.best else statistics.median

        def ratio(name: str, work: Mapping[str, Callable[[], float]], unit: float) -> float:
            figures = {who: [figure(seconds)] for who, seconds in interleaved(options.rounds, work).items()}
            return times_as_fast(name, figures, unit)

        for length in (0, *options.lengths):
            work = {who: partial(fresh, side, length, options.count) for who, side in sides.items()}
            ratios.append(ratio(f"append behind {length} messages", work, 1000 / options.count))
        for length in options.lengths:
            for side in sides.values():
                fill(side, f"long{length}", length)
            reading = {who: partial(resume, side, f"long{length}", length) for who, side in sides.items()}
            ratio(f"resume {length} messages", reading, 1000)
        lost = 0
        for who, side in sides.items():
            for name, shared in (("one object", True), ("an object each", False)):
                many = in_threads(side, name.replace(" ", ""), 25, shared=shared)
                print(f"{f'{THREADS} threads, {name}':34} {who:16} {many[0]} messages missing, {many[1]} calls failed")
                lost += sum(many) if who == "ours" else 0
            side.close()
    return int(options.check and (min(ratios) < 1 or lost > 0))


if __name__ == "__main__":
    sys.exit(main())
