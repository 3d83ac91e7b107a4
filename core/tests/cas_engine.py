"""Small engines of versioned documents: one in memory, one in a SQLite file; and stores on both."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import AsyncDriverRunner, Driver, DriverRunner
from praisonai_persistence.drivers.guarded import on_own_thread
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepStateStore,
    DocumentConversationSteps,
    DocumentEngine,
    DocumentStateSteps,
    MovedError,
    StepConversationStore,
    StepStateStore,
    ThreadRunner,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored


class Client:
    """Documents in memory. It counts its requests by method, and ``latency`` is waited before each one."""

    def __init__(self, latency: float = 0.0) -> None:
        self.lock = threading.RLock()
        self.documents: dict[str, tuple[str, int]] = {}
        self.last_version = 0
        self.requests: Counter[str] = Counter()
        self.written = 0
        self.latency = latency

    def read(self, key: str) -> tuple[str, int] | None:
        with self.lock:
            return self.documents.get(key)

    def put(self, key: str, text: str, version: int | None) -> int | None:
        """Return the new version; None if the document has another one than was named."""
        with self.lock:
            if self.documents.get(key, (None, None))[1] != version:
                return None
            self.last_version += 1
            self.written += len(text.encode()) + len(key)
            self.documents[key] = text, self.last_version
            return self.last_version

    def delete(self, key: str, version: int | None) -> bool:
        with self.lock:
            if version is not None and self.documents.get(key, (None, None))[1] != version:
                return False
            self.documents.pop(key, None)
            return True

    def scan(self, prefix: str, start_after: str, limit: int) -> list[tuple[str, tuple[str, int]]]:
        with self.lock:
            keys = sorted(key for key in self.documents if key.startswith(prefix) and key > start_after)
            return [(key, self.documents[key]) for key in keys[:limit]]

    def read_many(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        with self.lock:
            return {key: self.documents[key] for key in keys if key in self.documents}

    def put_many(self, changes: Mapping[str, tuple[str, int | None]]) -> dict[str, int]:
        with self.lock:
            written = {key: self.put(key, text, version) for key, (text, version) in changes.items()}
            return {key: new for key, new in written.items() if new is not None}

    def delete_many(self, versions: Mapping[str, int | None]) -> set[str]:
        with self.lock:
            return {key for key, version in versions.items() if not self.delete(key, version)}

    def write_all(self, changes: Mapping[str, tuple[str | None, int | None]]) -> bool:
        """Write or delete all, or return False."""
        with self.lock:
            if any(self.documents.get(key, (None, None))[1] != version for key, (_, version) in changes.items()):
                return False
            for key, (text, version) in changes.items():
                if text is None:
                    self.delete(key, version)
                else:
                    self.put(key, text, version)
            return True


class SQLiteClient:
    """The same in a table of a SQLite file, with batches."""

    def __init__(self, path: str) -> None:
        self._path = path
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_NOFOLLOW, 0o600))
        with self._open() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS documents (key TEXT PRIMARY KEY, text TEXT, version INTEGER)"
            )
            connection.execute("CREATE TABLE IF NOT EXISTS versions (last INTEGER)")
            connection.execute("INSERT INTO versions SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM versions)")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # processes are killed here, not machines
            yield connection

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")  # of nothing, if the version was another one

    def read(self, key: str) -> tuple[str, int] | None:
        return self.read_many([key]).get(key)

    def read_many(self, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
        marks = ", ".join("?" * len(keys))
        with self._open() as connection:
            rows = connection.execute(f"SELECT key, text, version FROM documents WHERE key IN ({marks})", keys)
            return {key: (text, version) for key, text, version in rows}

    def put(self, key: str, text: str, version: int | None) -> int | None:
        return self.put_many({key: (text, version)}).get(key)

    def put_many(self, changes: Mapping[str, tuple[str, int | None]]) -> dict[str, int]:
        with self._write() as connection:
            found = {}
            for key, (text, version) in changes.items():
                if self._version(connection, key) == version:
                    found[key] = self._put(connection, key, text)
            return found

    def delete(self, key: str, version: int | None) -> bool:
        return not self.delete_many({key: version})

    def delete_many(self, versions: Mapping[str, int | None]) -> set[str]:
        with self._write() as connection:
            moved = set()
            for key, version in versions.items():
                if version is None or self._version(connection, key) == version:
                    connection.execute("DELETE FROM documents WHERE key = ?", (key,))
                else:
                    moved.add(key)
            return moved

    def write_all(self, changes: Mapping[str, tuple[str | None, int | None]]) -> bool:
        """Write or delete all, or return False."""
        with self._write() as connection:
            if any(self._version(connection, key) != version for key, (_, version) in changes.items()):
                return False
            for key, (text, _) in changes.items():
                if text is None:
                    connection.execute("DELETE FROM documents WHERE key = ?", (key,))
                else:
                    self._put(connection, key, text)
            return True

    def _put(self, connection: sqlite3.Connection, key: str, text: str) -> int:
        new = connection.execute("UPDATE versions SET last = last + 1 RETURNING last").fetchall()[0][0]
        connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (key, text, new))
        return int(new)

    def _version(self, connection: sqlite3.Connection, key: str) -> int | None:
        row = connection.execute("SELECT version FROM documents WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    def scan(self, prefix: str, start_after: str, limit: int) -> list[tuple[str, tuple[str, int]]]:
        with self._open() as connection:
            rows = connection.execute(
                "SELECT key, text, version FROM documents WHERE key > ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",
                (start_after, prefix, prefix + "\U0010ffff", limit),
            )
            return [(key, (text, version)) for key, text, version in rows]


def _load(found: tuple[str, int] | None) -> Stored | None:
    return None if found is None else (json.loads(found[0]), found[1])


def _text(document: Document) -> str:
    for name, value in document.items():
        assert value is None or type(value) in {str, int, float, bool}, f"{name} is no field of a flat document"
    return json.dumps(document)


class Engine(DocumentEngine):
    """The four methods, on either client. A request is a function of the client, with the name of its method."""

    def read(self, key: str) -> Steps[Stored | None]:
        return _load((yield "read", lambda client: client.read(key)))

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        assert len(key) <= self.max_key_bytes
        assert len(document["text"].encode()) <= self.max_document_bytes
        text = _text(document)
        new = yield "put", lambda client: client.put(key, text, version)
        if new is None:
            raise MovedError(key)
        return new

    def delete(self, key: str, version: Any) -> Steps[None]:
        if not (yield "delete", lambda client: client.delete(key, version)):
            raise MovedError(key)

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[list[tuple[str, Stored | None]]]:
        assert "/" in prefix
        assert limit <= self.max_batch
        found = yield "scan", lambda client: client.scan(prefix, start_after, limit)
        return [(key, _load(item)) for key, item in found]


class BareEngine(Engine):
    """An engine that can hold little in a document and a key, ignores case, and lists keys alone."""

    max_document_bytes = 3_000
    max_key_bytes = 200
    max_batch = 7
    key_characters = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[list[tuple[str, Stored | None]]]:
        return [(key, None) for key, _ in (yield from super().scan(prefix, start_after, limit))]


class BatchEngine(Engine):
    """An engine with batches."""

    max_batch = 500

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        found = yield "read_many", lambda client: client.read_many(keys)
        return {key: (json.loads(text), version) for key, (text, version) in found.items()}

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        texts = {key: (_text(document), version) for key, (document, version) in changes.items()}
        return (yield "put_many", lambda client: client.put_many(texts))

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        return (yield "delete_many", lambda client: client.delete_many(versions))


class TransactionEngine(BatchEngine):
    """An engine with batches and transactions."""

    max_atomic = 30

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        texts = {key: (document and _text(document), version) for key, (document, version) in changes.items()}
        assert len(texts) <= self.max_atomic
        if not (yield "write_all", lambda client: client.write_all(texts)):
            raise MovedError("one of them")


class RememberingEngine(TransactionEngine):
    """An engine whose stores remember a few documents."""

    remembers = 3


# ------------------------------------------------------------------------------------------------------------- runners

_named: dict[str, Client] = {}


def named(name: str) -> Client:
    """Return the client of that name; stores that name it share its documents."""
    return _named.setdefault(name, Client())


def perform(client: Any, request: Any) -> Any:
    """Do a request on a client."""
    name, function = request
    if isinstance(client, Client):
        with client.lock:
            client.requests[name] += 1
        if client.latency:
            time.sleep(client.latency)
    return function(client)


class MemoryDriver(Driver):
    """Documents of a name, in the memory of the process."""

    where = "the documents in memory"
    forks = "refuse"  # another thread may have held their lock
    interrupts = "keep"

    def __init__(self, name: str, *, asynchronous: bool = False) -> None:
        self.asynchronous = asynchronous
        self._name = name

    def open(self, deadline: Deadline) -> Client:
        return named(self._name)

    def perform(self, on: Client, request: Any) -> Any:
        return self._later(on, request) if self.asynchronous else perform(on, request)

    async def _later(self, on: Client, request: Any) -> Any:
        await asyncio.sleep(0)  # other tasks go on between any two requests
        return perform(on, request)


class FileDriver(Driver):
    """Documents in a file."""

    def __init__(self, path: str) -> None:
        self.where = f"the documents in {path}"
        self.forks = "refuse"
        self.place = self.path = path

    def open(self, deadline: Deadline) -> SQLiteClient:
        try:
            return SQLiteClient(self.path)
        except sqlite3.OperationalError as error:
            raise ConnectionFailedError("the file cannot be opened") from error

    def perform(self, on: SQLiteClient, request: Any) -> Any:
        return on_own_thread(lambda: perform(on, request))  # where no exception from outside arrives


# -------------------------------------------------------------------------------------------------------------- stores

_ENGINES = {
    "plain": Engine,
    "bare": BareEngine,
    "batch": BatchEngine,
    "transactions": TransactionEngine,
    "remembering": RememberingEngine,
}


class _Memory:
    """Options: ``name``, shared documents; ``engine``, which of them; ``table_prefix``."""

    capabilities = frozenset({"prefix"})


class _File:
    capabilities = frozenset({"prefix", "durable", "shared"})


_OPTIONAL = frozenset({"search", "fork", "rewrite"})


class MemoryConversations(_Memory, StepConversationStore):
    backend = "cas"
    capabilities = _Memory.capabilities | _OPTIONAL

    def __init__(self, name: str, engine: str = "plain", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}conversation"
        super().__init__(DocumentConversationSteps(_ENGINES[engine](), space), DriverRunner(MemoryDriver(name)))


class AsyncMemoryConversations(_Memory, AsyncStepConversationStore):
    backend = "cas"
    capabilities = _Memory.capabilities | _OPTIONAL

    def __init__(self, name: str, engine: str = "plain", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}conversation"
        super().__init__(
            DocumentConversationSteps(_ENGINES[engine](), space),
            AsyncDriverRunner(MemoryDriver(name, asynchronous=True)),
        )


class FileConversations(_File, StepConversationStore):
    backend = "cas"
    capabilities = _File.capabilities | _OPTIONAL

    def __init__(self, path: str, engine: str = "batch", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}conversation"
        super().__init__(DocumentConversationSteps(_ENGINES[engine](), space), DriverRunner(FileDriver(path)))


class AsyncFileConversations(_File, AsyncStepConversationStore):
    backend = "cas"
    capabilities = _File.capabilities | _OPTIONAL

    def __init__(self, path: str, engine: str = "batch", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}conversation"
        runner = ThreadRunner(DriverRunner(FileDriver(path)))
        super().__init__(DocumentConversationSteps(_ENGINES[engine](), space), runner)


class MemoryState(_Memory, StepStateStore):
    backend = "cas"

    def __init__(self, name: str, engine: str = "plain", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}state"
        super().__init__(DocumentStateSteps(_ENGINES[engine](), space), DriverRunner(MemoryDriver(name)))


class AsyncMemoryState(_Memory, AsyncStepStateStore):
    backend = "cas"

    def __init__(self, name: str, engine: str = "plain", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}state"
        super().__init__(
            DocumentStateSteps(_ENGINES[engine](), space), AsyncDriverRunner(MemoryDriver(name, asynchronous=True))
        )


class FileState(_File, StepStateStore):
    backend = "cas"

    def __init__(self, path: str, engine: str = "batch", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}state"
        super().__init__(DocumentStateSteps(_ENGINES[engine](), space), DriverRunner(FileDriver(path)))


class AsyncFileState(_File, AsyncStepStateStore):
    backend = "cas"

    def __init__(self, path: str, engine: str = "batch", table_prefix: str = "") -> None:
        space = f"{check_prefix(table_prefix)}state"
        runner = ThreadRunner(DriverRunner(FileDriver(path)))
        super().__init__(DocumentStateSteps(_ENGINES[engine](), space), runner)


class InParts(MemoryConversations):
    """Has no ``rewrite`` of its own."""

    backend = "cas_in_parts"
    capabilities = MemoryConversations.capabilities - {"rewrite"}


class AsyncInParts(AsyncMemoryConversations):
    backend = "cas_in_parts"
    capabilities = AsyncMemoryConversations.capabilities - {"rewrite"}
