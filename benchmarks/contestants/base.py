"""What a contestant is: one small file for each, which runs in an environment of its own.

A file in this folder defines ``CONTESTANT``, a subclass of [Conversations][]. It may import nothing of this repository
but this module (and, for the project itself, its packages): whatever it names in ``requirements`` is installed into its
environment, and nothing else. Messages are text with a number; a contestant stores them in the way in which its users do.
"""

from __future__ import annotations

import gc
import sqlite3
from typing import Any, ClassVar

__all__ = ["Conversations", "content", "sqlite_durability"]

_SENTENCE = "A sentence of an agent that has something to say about its work. " * 3


def content(number: int | str) -> str:
    """Return the text of a message; it begins with the number, which is how it is found again."""
    return f"{number} {_SENTENCE}"


def sqlite_durability(path: str) -> str:
    """Return what decides about durability, read from the running connections of this process to a SQLite file."""
    found = set()
    for thing in gc.get_objects():
        connection = getattr(thing, "_conn", None) if type(thing).__module__.startswith("aiosqlite") else thing
        if isinstance(connection, sqlite3.Connection):
            try:
                files = [row[2] for row in connection.execute("PRAGMA database_list")]
                if path not in files:
                    continue
                modes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
            except sqlite3.Error:  # closed, or of a thread that keeps it to itself
                continue
            level = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}.get(modes[1], modes[1])
            found.add(f"{modes[0]}, {level}")
    return " / ".join(sorted(found)) or "no open connection could be asked"


class Conversations:
    """Conversations of one product.

    The runner calls ``open`` once, the rest from one thread, and ``append`` from many at once where ``threads`` is true.
    A method that a product has no way to do raises ``NotImplementedError``, which the table shows as a dash.
    """

    name: ClassVar[str]
    """In the table: the product and its class."""
    engine: ClassVar[str]
    """``sqlite``, ``files`` or ``postgres``: whom it is compared with, and what it is given."""
    role: ClassVar[str] = "peer"
    """``ours``, ``bare`` or ``peer``."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """Distributions, as pip takes them."""
    module: ClassVar[str]
    """What its users import, for the time of an import."""
    threads: ClassVar[bool] = True
    """Whether one object may be used by many threads; otherwise each thread opens one of its own."""
    tasks: ClassVar[bool] = False
    """Whether ``append_async`` exists."""

    def __init__(self, place: str) -> None:
        """Keep where: the path of a file or folder that does not exist yet, or the URL of a server."""
        self.place = place

    def open(self) -> None:
        """Be ready for the first append."""

    def close(self) -> None:
        """Release everything."""

    def versions(self) -> str:
        """Return what ran: distributions with their versions."""
        from importlib.metadata import version
        from re import match

        names = [found[0] for found in (match(r"[\w.-]+", text) for text in self.requirements) if found]
        return ", ".join(f"{name} {version(name)}" for name in names)

    def durability(self) -> str:
        """Return the settings that decide whether an append survives, read from the running connection."""
        raise NotImplementedError

    def create(self, session: str, user: str) -> None:
        """Make a session, where that is a step of its own."""

    def append(self, session: str, text: str) -> None:
        """Append one message, durably as far as the product does that."""
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

    # Where ``tasks`` is true:

    async def open_async(self) -> None:
        """Be ready for the first ``append_async``."""

    async def close_async(self) -> None:
        """Release everything."""

    async def append_async(self, session: str, text: str) -> None:
        """Append one message."""
        raise NotImplementedError
