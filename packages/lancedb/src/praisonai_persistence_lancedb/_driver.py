"""LanceDB as a client, and what its stores can be given."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence.drivers import Driver, Options, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores.collection_folders import CollectionFolders

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence_lancedb.knowledge import Table

__all__ = ["INDEXES", "Database", "LanceDriver", "LanceOptions", "wait"]

T = TypeVar("T")

INDEXES = ("ivf_flat", "ivf_hnsw_sq", "ivf_pq", "none")
"""Kinds of vector index; ``none``: every vector is looked at."""


class LanceOptions(Options):
    """What the stores in LanceDB can be given."""

    title = "LanceDB"
    schemes = ("lancedb", "async_lancedb")
    folders = True

    lock_timeout = option(60.0, "seconds", "seconds to wait for other writers")
    index = option(
        "none",
        INDEXES,
        "the vector index that `create_index` makes and searches use; `none`: every vector is looked at",
    )
    probes = option(None, "count", "how many partitions of an index are searched; none: LanceDB's own number")
    refine = option(
        30, "count", "for each document wanted so many are taken from an index, and ranked anew by their whole vectors"
    )


_METADATA = 32 * 2**20  # bytes; LanceDB keeps what it knows of old versions, by itself up to a gigabyte


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of LanceDB's async API on the loop that its sync API has.

    The sync API goes there and back several times for one search, and looks for a newer version each time.
    """
    from lancedb.background_loop import LOOP

    return LOOP.run(coroutine)  # type: ignore[no-any-return,no-untyped-call]


class Database(NamedTuple):
    """The folders of a store's tables, LanceDB's connection, and the tables that were opened with it."""

    folders: CollectionFolders
    connection: Any
    tables: dict[str, Table]


class LanceDriver(Driver):
    """A folder. Writers come one by one, also those of other processes; readers wait for nobody.

    Args:
        options: of the store.
    """

    imports = ("lancedb",)
    packages = ("lancedb", "lance_namespace", "pyarrow", "pydantic", "pydantic_core", "numpy", "pandas")

    forks = "refuse"  # in the child of a process whose threads work with LanceDB it hangs or crashes

    def __init__(self, options: LanceOptions) -> None:
        self.where = options.where
        self.path = options.path or ""
        self.lock_timeout = options.lock_timeout
        prefix = check_prefix(options.table_prefix)
        self.lock_file = os.path.join(self.path, f"{prefix or '-'}.lock")  # whoever writes holds it
        self._folders = CollectionFolders(self.path, prefix, ".lance")
        self._made = False

    def open(self, deadline: Deadline) -> Database:
        import lancedb

        make_folder(self._folders.path, again=self._made)
        self._made = True
        connecting = lancedb.connect_async(
            self._folders.path,
            read_consistency_interval=timedelta(0),  # every read looks for a newer version first
            session=lancedb.Session(metadata_cache_size_bytes=_METADATA),
        )
        return Database(self._folders, wait(connecting), {})

    def perform(self, on: Database, request: Any) -> Any:
        answer = request(on)
        return wait(answer) if inspect.iscoroutine(answer) else answer

    def is_own_thread(self) -> bool:
        background = sys.modules.get("lancedb.background_loop")
        return background is not None and threading.current_thread() is background.LOOP.thread

    def translate(self, error: Exception) -> PersistenceError | None:
        path = self._folders.path
        return None if os.path.isdir(path) else ConnectionFailedError(f"{path} is no folder, or not there")

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        # Another process may have dropped or compacted what was being read.
        return not write and type(error) is BackendError
