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
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.errors import BackendError
from praisonai_persistence.payload import dumps, loads
from praisonai_persistence.stores.vector_documents import collection_facts, collection_info

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pyarrow as pa  # type: ignore[import-untyped]

    from praisonai_persistence.knowledge import CollectionInfo

__all__ = ["Database", "Table", "wait"]

T = TypeVar("T")

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
        path: the folder, absolute.
        prefix: the ``table_prefix``; ``-`` for an empty one.
    """

    def __init__(self, path: str, prefix: str) -> None:
        self.path = path
        self._prefix = prefix
        self._connection: Any = None
        self._tables: dict[str, Table] = {}

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
        table = self._tables[name] = Table(_info(name, wait(opened.schema())), os.path.join(self.path, folder), opened)
        return table

    def create(self, info: CollectionInfo, metadata: str | None, schema: pa.Schema) -> None:
        """Make an empty table. The caller holds the lock."""
        self._sweep()
        unique = uuid.uuid4().hex
        facts = collection_facts(info, metadata)
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


def _info(name: str, schema: Any) -> CollectionInfo:
    text = (schema.metadata or {}).get(_INFO)
    if text is None:
        raise BackendError("a table with the name of a collection has another schema: it was not made by this project")
    return collection_info(name, loads(text.decode()))
