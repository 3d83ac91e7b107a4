"""The folder of a store: its tables, and the lock that writers hold.

    <path>/<prefix>.<collection>.<unique>.lance    the table of a collection
    <path>/<prefix>.<unique>.lance                 one that is being made, or removed
    <path>/<prefix>.lock                           held by whoever writes

An empty prefix is written ``-``. A collection is there when its folder has its name, which it gets, and loses, in one
step: LanceDB itself makes and removes tables file by file. What a collection was created with stands in the schema of
its table. The unique part tells an old collection from a new one of the same name: an opened table is never mistaken.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock, Timeout

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["Database", "Table", "wait"]

T = TypeVar("T")

_POLL = 0.005  # seconds between two looks at a lock that somebody else holds
_INFO = b"praisonai"  # in the metadata of a table's schema
_METADATA = 32 * 2**20  # bytes; LanceDB keeps what it knows of old versions, by itself up to a gigabyte


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of LanceDB's async API on the loop that its sync API has.

    The sync API goes there and back several times for one search, and looks for a newer version each time.
    """
    from lancedb.background_loop import LOOP  # renewed in forked children

    return LOOP.run(coroutine)  # type: ignore[no-any-return,no-untyped-call]


@dataclass
class Table:
    """An opened table.

    Attributes:
        info: what its collection was created with.
        path: its folder.
        lance: LanceDB's ``AsyncTable``.
        replaces: whether the last upsert replaced a document.
        tidied: the version at which a writer last looked after its files.
    """

    info: CollectionInfo
    path: str
    lance: Any
    replaces: bool = False
    tidied: int | None = None


class Database:
    """One store's part of a folder. Safe to share between threads.

    Args:
        path: absolute; made by [connect][Database.connect].
        prefix: the ``table_prefix``.
        lock_timeout: how many seconds to wait for other writers.
    """

    def __init__(self, path: str, prefix: str, lock_timeout: float) -> None:
        self.path = path
        self._prefix = prefix or "-"
        self._lock_timeout = lock_timeout
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        # LanceDB starts its threads anew in a forked child, but what was opened before belongs to the parent's.
        self._mutex = threading.Lock()
        self._connection: Any = None
        self._tables: dict[str, Table] = {}

    # ------------------------------------------------------------------------------------------------------ connection

    def connect(self) -> None:
        """Make the folder and see that it can be used.

        Raises:
            ConnectionFailedError: it cannot.
        """
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise ConnectionFailedError(f"cannot make the folder {self.path}: {error.strerror}") from error
        self.check()
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise ConnectionFailedError(f"no permission to read and write in {self.path}")

    def check(self) -> None:
        """See that the folder is there: a volume that is not mounted is no database without collections.

        Raises:
            ConnectionFailedError: it is not.
        """
        if not os.path.isdir(self.path):
            raise ConnectionFailedError(f"{self.path} is no folder, or not there")

    def _lance(self) -> Any:
        if self._connection is None:
            import lancedb  # a heavy one: only who works with it pays for it

            self._connection = wait(
                lancedb.connect_async(
                    self.path,
                    read_consistency_interval=timedelta(0),  # every read looks for a newer version first
                    session=lancedb.Session(metadata_cache_size_bytes=_METADATA),
                )
            )
        return self._connection

    def forget(self) -> None:
        """Open every table anew."""
        self._tables = {}

    # ---------------------------------------------------------------------------------------------------------- tables

    def names(self) -> list[str]:
        """Return the names of the collections, sorted."""
        return sorted(self._folders())

    def _folders(self) -> dict[str, str]:
        """Return the folders by collection."""
        found = {}
        for entry in os.listdir(self.path):
            parts = entry.split(".")  # neither prefixes nor collections hold dots
            if len(parts) == 4 and parts[0] == self._prefix and parts[3] == "lance":
                found[parts[1]] = entry
        return found

    def find(self, name: str) -> Table | None:
        """Open a collection; None when there is none."""
        table = self._tables.get(name)
        if table is not None and os.path.isdir(table.path):
            return table
        self._tables.pop(name, None)
        folder = self._folders().get(name)
        if folder is None:
            return None
        opened = wait(self._lance().open_table(folder.removesuffix(".lance")))
        table = self._tables[name] = Table(_info(wait(opened.schema())), os.path.join(self.path, folder), opened)
        return table

    def create(self, info: CollectionInfo, metadata: str | None, schema: pa.Schema) -> None:
        """Make an empty table. The caller holds the lock."""
        self._sweep()
        unique = uuid.uuid4().hex
        facts = {"name": info.name, "dimension": info.dimension, "distance": info.distance, "metadata": metadata}
        temporary = f"{self._prefix}.{unique}"
        wait(self._lance().create_table(temporary, schema=schema.with_metadata({_INFO: dumps(facts).encode()})))
        os.rename(
            os.path.join(self.path, f"{temporary}.lance"),
            os.path.join(self.path, f"{self._prefix}.{info.name}.{unique}.lance"),
        )

    def drop(self, table: Table) -> None:
        """Remove a table. The caller holds the lock."""
        self._tables.pop(table.info.name, None)
        os.rename(table.path, os.path.join(self.path, f"{self._prefix}.{uuid.uuid4().hex}.lance"))
        self._sweep()

    def _sweep(self) -> None:
        """Remove what is half made or half removed; it may be a killed process' too."""
        for entry in os.listdir(self.path):
            parts = entry.split(".")
            if len(parts) == 3 and parts[0] == self._prefix and parts[2] == "lance":
                shutil.rmtree(os.path.join(self.path, entry), ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------------ lock

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep all other writers out, threads and processes. Not reentrant.

        Raises:
            ConnectionFailedError: the lock was not to be had in time, or the folder is not there.
        """
        deadline = time.monotonic() + self._lock_timeout
        # Threads of this store wait here, which needs no polling.
        if not self._mutex.acquire(timeout=min(self._lock_timeout, threading.TIMEOUT_MAX)):
            raise ConnectionFailedError(f"another thread wrote to {self.path} for longer than lock_timeout")
        try:
            self.check()
            lock = FileLock(os.path.join(self.path, f"{self._prefix}.lock"))
            try:
                lock.acquire(max(0.0, deadline - time.monotonic()), poll_interval=_POLL)
            except Timeout as error:
                raise ConnectionFailedError(
                    f"another program held the lock of {self.path} for longer than lock_timeout"
                ) from error
            try:
                yield
            finally:
                lock.release()
        finally:
            self._mutex.release()


def _info(schema: Any) -> CollectionInfo:
    text = (schema.metadata or {}).get(_INFO)
    if text is None:
        raise BackendError("a table with the name of a collection has another schema: it was not made by this project")
    facts = loads(text.decode())
    metadata = facts["metadata"]
    return CollectionInfo(
        facts["name"], facts["dimension"], facts["distance"], None if metadata is None else loads(metadata)
    )
