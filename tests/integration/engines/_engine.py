"""A kind of server: how its tests find one, and what they do with it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import time
import urllib.request
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from praisonai_persistence.registry import get_default_registry

from ._servers import Local, Server

__all__ = ["DATABASE", "PASSWORD", "USER", "Engine", "UnfitError", "json_request"]

USER, PASSWORD, DATABASE = "persistence", "s3cret-Pa55", "persistence"


class UnfitError(Exception):
    """A server lacks what its tests need."""


class Engine(ABC):
    """A kind of server, and how its tests find one; an object is a running one.

    Attributes:
        url: for the stores, with the password.
    """

    name: ClassVar[str]
    image: ClassVar[str] = ""
    """Of its container; empty where there is none."""
    port: ClassVar[int] = 0
    other_ports: ClassVar[tuple[int, ...]] = ()
    """Of its container, beside the one that URLs name."""
    programs: ClassVar[tuple[str, ...]] = ()
    """Where the server program may be; wildcards, the last match counts."""
    system_user: ClassVar[str] = "nobody"
    in_memory: ClassVar[bool] = False
    """Whether a server has its folder in memory, where there is room: for those that sync each write."""
    container_data: ClassVar[str] = ""
    """The folder of its container that is in memory then; it outlives a restart."""
    required: ClassVar[bool] = True
    """Whether its tests fail without it where engines are required; False: they are skipped, because no registry of
    packages has its program."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    container_environment: ClassVar[dict[str, str]] = {}
    container_command: ClassVar[list[str]] = []
    start_limit: ClassVar[float] = 60.0
    """Seconds within which a server has to answer."""
    question: ClassVar[str] = "SELECT 1"
    """What a server answers as soon as it is ready."""
    knowledge: ClassVar[str] = ""
    """The backend whose knowledge store asks a service that somebody else runs, once, whether it is there."""
    given_limit: ClassVar[float] = 10.0
    """Seconds in which that store has to connect."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url
        self.wait()

    # What a kind of engine says about itself.

    @classmethod
    @abstractmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        """The URL of a server started here; ``others`` stand for ``other_ports``."""

    @classmethod
    def place(cls) -> str | None:
        """Where a server has its folder; None: a local one where temporary files are, a container in itself."""
        memory = "/dev/shm"
        roomy = cls.in_memory and os.path.isdir(memory) and shutil.disk_usage(memory).free > 2**31
        return memory if roomy else None

    @classmethod
    def initialise(cls, local: Local) -> None:
        """Make the data folder of a local server; here an empty one, which most servers fill themselves."""
        local.make_folder("data")

    @classmethod
    def command(cls, local: Local) -> list[str]:
        """The command that runs a local server in the foreground."""
        raise NotImplementedError("this engine has no program that could be started")

    @abstractmethod
    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, with the plain driver; committed."""

    @abstractmethod
    def tables(self, prefix: str) -> list[str]:
        """The tables whose names start with a prefix, quoted."""

    # What tests use.

    @property
    def version(self) -> str:
        """What the server says that it is."""
        return str(self.execute("SELECT version()")[0][0])

    @property
    def restartable(self) -> bool:
        """Whether ``stop`` and ``start`` work; they skip the test where not."""
        return self._server.restartable

    def stop(self) -> None:
        """End the server; its clients' connections break."""
        self._server.stop()

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self._server.kill()

    def start(self) -> None:
        """Start it again at the same address, with its data, and wait until it answers."""
        self._server.start()
        self.wait()

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """End the server for good."""
        self._server.remove()

    def wait(self) -> None:
        """Wait until it answers; a service that somebody else runs is asked once."""
        if self.knowledge and not self.restartable:
            registry, limit = get_default_registry("knowledge"), self.given_limit
            with registry.create(self.knowledge, url=self.url, connect_timeout=limit) as store:
                store.connect()
            return
        end = time.monotonic() + self.start_limit
        while True:
            try:
                self.execute(self.question)
                return
            except Exception as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"{self.name} did not answer within {self.start_limit:.0f} seconds") from error
                time.sleep(0.02)

    @contextlib.contextmanager
    def prefix(self) -> Iterator[str]:
        """A table prefix for one test; its tables are dropped at the end."""
        prefix = f"t{uuid.uuid4().hex[:10]}_"
        try:
            yield prefix
        finally:
            self.drop(prefix)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        """Options (``url`` and others) of a part of the server that is one test's alone, dropped at the end."""
        raise NotImplementedError
        yield {}

    def drop(self, prefix: str) -> None:
        """Drop the tables of a prefix."""
        if tables := self.tables(prefix):
            self.execute(f"DROP TABLE {', '.join(tables)}")

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        """The server program, or another one in its folder."""
        found = [match for pattern in cls.programs for match in sorted(glob.glob(pattern))]
        if not found:
            return None
        return found[-1] if name is None else str(Path(found[-1]).with_name(name))


def json_request(url: str, request: str, headers: dict[str, str], *parameters: Any) -> Any:
    """Make a request to the server of a URL (a method and a path, and what to send as JSON); return its JSON."""
    method, path = request.split()
    parts = urlsplit(url)
    made = urllib.request.Request(
        f"http://{parts.hostname}:{parts.port}{path}",
        json.dumps(parameters[0]).encode() if parameters else None,
        {"Content-Type": "application/json", **headers},
        method=method,
    )
    with urllib.request.urlopen(made, timeout=30) as answer:
        return json.loads(answer.read() or b"null")
