"""What a contestant is: a class in a small file of this folder, which runs in an environment and a process of its own.

A file names what the environment gets in ``requirements``, and may import nothing of this repository but this module
(and, for the project itself, its packages). The runner reads the class attributes without importing the file, so they
are literals; classes of one file may inherit them from each other. Names of files begin with ``peer_`` where they would
hide the product's own module. Messages are text with a number; a contestant stores them in the way in which the
product's users do, through its public interface and with its defaults.

A method that a product has no way to do raises ``NotImplementedError``, which the table shows as a dash.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, ClassVar, TypeVar

__all__ = [
    "AsyncConversations",
    "Contestant",
    "Conversations",
    "State",
    "Vectors",
    "content",
    "files_durability",
    "living",
    "owner",
    "postgres_durability",
    "sqlite_durability",
    "sqlite_settings",
]

T = TypeVar("T")
_SENTENCE = "A sentence of an agent that has something to say about its work. " * 3


def content(number: int | str) -> str:
    """Return the text of a message; it begins with the number, which is how it is found again."""
    return f"{number} {_SENTENCE}"


def owner(session: str) -> str:
    """Return whose session it is: what ``create`` was told, for products that ask in every call."""
    return session.partition("-")[0] if session.startswith("lister-") else "someone"


# ---------------------------------------------------------------------------------------------------------- durability


def sqlite_settings(ask: Callable[[str], Any]) -> str:
    """Return what decides about durability; ``ask`` returns the value of a pragma on the product's connection."""
    level = ask("PRAGMA synchronous")
    return f"{ask('PRAGMA journal_mode')}, {('OFF', 'NORMAL', 'FULL', 'EXTRA')[int(level)]}"


def living(kind: type[T]) -> list[T]:
    """Return the objects of a class that this process has, whoever made them: connections, to be asked."""
    return [thing for thing in gc.get_objects() if isinstance(thing, kind)]


def sqlite_durability(path: str) -> str:
    """Return the same, asked of the connections to a SQLite file that this process has open, whoever opened them."""
    found = set()
    for connection in living(sqlite3.Connection):
        with contextlib.suppress(sqlite3.Error):  # it is closed, or of a thread that keeps it to itself
            if path in [row[2] for row in connection.execute("PRAGMA database_list")]:
                ask = connection.execute
                found.add(sqlite_settings(lambda query, ask=ask: ask(query).fetchone()[0]))  # type: ignore[misc]
    if not found:
        raise NotImplementedError
    return " / ".join(sorted(found))


def postgres_durability(ask: Callable[[str], Any]) -> str:
    """Return what decides about durability; ``ask`` returns the value of a query on the product's connection."""
    return ", ".join(f"{name}={ask(f'SHOW {name}')}" for name in ("synchronous_commit", "fsync"))


def files_durability(write: Callable[[], Any]) -> str:
    """Return how often one write, done here, syncs."""
    counted: list[int] = []
    real = {name: getattr(os, name) for name in ("fsync", "fdatasync") if hasattr(os, name)}

    def counting(sync: Callable[[int], None]) -> Callable[[int], None]:
        def count(descriptor: int) -> None:
            counted.append(descriptor)
            sync(descriptor)

        return count

    try:
        for name, sync in real.items():
            setattr(os, name, counting(sync))
        write()
    finally:
        for name, sync in real.items():
            setattr(os, name, sync)
    return f"{len(counted)} syncs a write"


# ---------------------------------------------------------------------------------------------------------- contestants


class Contestant:
    """What all have in common. The runner calls ``open`` once, and the rest from one thread if nothing else is said."""

    name: ClassVar[str]
    """In the table: the product and its class."""
    engine: ClassVar[str]
    """``sqlite``, ``files``, ``postgres``, ``redis`` or ``vectors``: what it is given, and whom it is compared with."""
    role: ClassVar[str] = "peer"
    """``ours``, ``bare`` or ``peer``."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """Distributions, as pip takes them, with lower bounds only."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Folders in ``packages/`` of this repository, for contestants of this project; what they need comes along."""
    on_demand: ClassVar[bool] = False
    """Whether it runs only where a peer is no more durable than it is."""
    server: ClassVar[str] = ""
    """The server that it needs, where the engine does not say it: ``pgvector``."""
    beside: ClassVar[str] = ""
    """The class of this project that it is compared with, where that is not the engine's first; of a class of this
    project: the one that it stands in for, beside a product that is less durable than that."""
    imports: ClassVar[str]
    """How its users import it: a statement, for the time of an import."""
    threads: ClassVar[bool] = True
    """Whether one object may be used by many threads; otherwise each thread opens one of its own."""
    tasks: ClassVar[bool] = False
    """Whether it has the methods for coroutines; a second object is opened for them."""

    def __init__(self, place: str) -> None:
        """Keep where: the path of a file or folder that does not exist yet, or the URL of a server."""
        self.place = place

    def open(self) -> None:
        """Be ready for the first call."""

    def close(self) -> None:
        """Release everything."""

    async def open_async(self) -> None:
        """Be ready for the first call from a coroutine."""

    async def close_async(self) -> None:
        """Release everything that ``open_async`` made."""

    def versions(self) -> str:
        """Return what ran: distributions with their versions."""
        from re import match

        names = [found[0] for found in (match(r"[\w.-]+", text) for text in self.requirements) if found]
        if self.packages:
            names += ["praisonai-persistence", *(f"praisonai-persistence-{package}" for package in self.packages)]
        return ", ".join(f"{name} {version(name)}" for name in names)

    def durability(self) -> str:
        """Return the settings that decide whether a write survives, read from the running connection."""
        raise NotImplementedError

    def first(self, name: str) -> None:
        """Do the first write of a process, to something of this name that nobody has written to."""
        raise NotImplementedError


class Conversations(Contestant):
    """Conversations of one product."""

    def first(self, name: str) -> None:
        self.create(name, owner(name))
        self.append(name, content(0))

    def create(self, session: str, user: str) -> None:
        """Make a session, where that is a step of its own."""

    def append(self, session: str, text: str) -> None:
        """Append one message, durably as far as the product does that. Called from many threads."""
        raise NotImplementedError

    async def append_async(self, session: str, text: str) -> None:
        """Append one message."""
        raise NotImplementedError

    def fill(self, session: str, texts: list[str]) -> None:
        """Append many, in the fastest way that the product has."""
        for text in texts:
            self.append(session, text)

    def last(self, session: str, count: int) -> list[str]:
        """Return the texts of the latest messages, oldest first: what an agent resumes with."""
        raise NotImplementedError

    def newest_sessions(self, user: str, count: int) -> list[str]:
        """Return the ids of a user's sessions, the last used first."""
        raise NotImplementedError


class AsyncConversations(Conversations):
    """Conversations of a product whose interface is coroutines: each object runs them on a loop that it keeps open.

    Subclasses write ``open_async``, ``close_async`` and the methods whose names end in ``_async``.
    """

    threads = False
    tasks = True

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this object's loop."""
        return self.loop.run_until_complete(work)

    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.run(self.open_async())

    def close(self) -> None:
        self.run(self.close_async())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()

    def durability(self) -> str:
        return self.run(self.durability_async())

    def create(self, session: str, user: str) -> None:
        self.run(self.create_async(session, user))

    def append(self, session: str, text: str) -> None:
        self.run(self.append_async(session, text))

    def fill(self, session: str, texts: list[str]) -> None:
        self.run(self.fill_async(session, texts))

    def last(self, session: str, count: int) -> list[str]:
        return self.run(self.last_async(session, count))

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return self.run(self.newest_sessions_async(user, count))

    async def durability_async(self) -> str:
        """See ``durability``."""
        raise NotImplementedError

    async def create_async(self, session: str, user: str) -> None:
        """See ``create``."""

    async def fill_async(self, session: str, texts: list[str]) -> None:
        """See ``fill``."""
        for text in texts:
            await self.append_async(session, text)

    async def last_async(self, session: str, count: int) -> list[str]:
        """See ``last``."""
        raise NotImplementedError

    async def newest_sessions_async(self, user: str, count: int) -> list[str]:
        """See ``newest_sessions``."""
        raise NotImplementedError


class State(Contestant):
    """Keys and values of one product. A value is a JSON object."""

    def first(self, name: str) -> None:
        self.set(name, {"n": 1})

    def set(self, key: str, value: dict[str, Any]) -> None:
        """Store a value. Called from many threads."""
        raise NotImplementedError

    def get(self, key: str) -> Any:
        """Return the value. Called from many threads."""
        raise NotImplementedError

    def delete(self, key: str) -> None:
        """Remove a value, to leave nothing on the server."""
        raise NotImplementedError

    async def set_async(self, key: str, value: dict[str, Any]) -> None:
        """Store a value."""
        raise NotImplementedError

    async def get_async(self, key: str) -> Any:
        """Return the value."""
        raise NotImplementedError


class Vectors(Contestant):
    """Documents with embeddings of one product, compared by cosine; each has the field ``group``, an integer."""

    def first(self, name: str) -> None:
        self.create(4)
        self.upsert([(name, content(0), [1.0, 0.0, 0.0, 0.0], 0)])

    def create(self, dimension: int) -> None:
        """Begin with an empty collection, in the place of an earlier one."""
        raise NotImplementedError

    def upsert(self, documents: list[tuple[str, str, list[float], int]]) -> None:
        """Store documents: id, text, embedding, group."""
        raise NotImplementedError

    def search(self, embedding: list[float], count: int, group: int | None) -> list[str]:
        """Return the ids of the nearest documents (of a group), the best first."""
        raise NotImplementedError
