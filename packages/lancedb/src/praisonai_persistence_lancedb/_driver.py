"""LanceDB as a client, and what its stores can be given."""

from __future__ import annotations

import inspect
import os
import threading
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, Options, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.errors import BackendError, ConnectionFailedError, UnsupportedOperationError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores.collection_folders import CollectionFolders
from praisonai_persistence_lancedb._database import Database, wait

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError

__all__ = ["INDEXES", "LanceDriver", "LanceOptions"]

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
        missing = self._missing() if self._made else None
        if missing is not None:
            raise missing
        make_folder(self._folders.path)
        self._made = True
        return Database(self._folders)

    def _missing(self) -> ConnectionFailedError | None:
        path = self._folders.path  # a volume that is not mounted is no database without collections
        return None if os.path.isdir(path) else ConnectionFailedError(f"{path} is no folder, or not there")

    def perform(self, on: Database, request: Any) -> Any:
        from lancedb.background_loop import LOOP

        if threading.current_thread() is LOOP.thread:
            raise UnsupportedOperationError(
                f"{self.where}: a call was made on LanceDB's own thread (from a __del__, say); make it from another one"
            )
        answer = request(on)
        return wait(answer) if inspect.iscoroutine(answer) else answer

    def translate(self, error: Exception) -> PersistenceError | None:
        return self._missing()

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        # Another process may have dropped or compacted what was being read.
        return not write and type(error) is BackendError
