"""A store's tables in a folder: one for each collection, whose schema says what the collection was created with."""

from __future__ import annotations

import os
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
    from praisonai_persistence.stores.collection_folders import CollectionFolders

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
        folders: of the tables.
    """

    def __init__(self, folders: CollectionFolders) -> None:
        import lancedb  # a heavy one: only who works with it pays for it

        self._folders = folders
        self._tables: dict[str, Table] = {}
        self._connection: Any = wait(
            lancedb.connect_async(
                folders.path,
                read_consistency_interval=timedelta(0),  # every read looks for a newer version first
                session=lancedb.Session(metadata_cache_size_bytes=_METADATA),
            )
        )

    def names(self) -> list[str]:
        """Return the names of the collections, sorted."""
        return sorted(self._folders.all())

    def find(self, name: str) -> Table | None:
        """Open a collection; None when there is none."""
        table = self._tables.get(name)
        if table is not None and os.path.isdir(table.path):
            return table
        self._tables.pop(name, None)
        path = self._folders.all().get(name)
        if path is None:
            return None
        lance = wait(self._connection.open_table(_name(path)))
        table = self._tables[name] = Table(_info(name, wait(lance.schema())), path, lance)
        return table

    def create(self, info: CollectionInfo, metadata: str | None, schema: pa.Schema) -> None:
        """Make an empty table. The caller holds the lock."""
        schema = schema.with_metadata({_INFO: dumps(collection_facts(info, metadata)).encode()})
        create = self._connection.create_table
        self._folders.make(info.name, lambda entry: wait(create(_name(entry), schema=schema)))

    def drop(self, table: Table) -> None:
        """Remove a table. The caller holds the lock."""
        self._tables.pop(table.info.name, None)
        self._folders.remove(table.path)


def _name(path: str) -> str:
    return os.path.basename(path).removesuffix(".lance")


def _info(name: str, schema: Any) -> CollectionInfo:
    text = (schema.metadata or {}).get(_INFO)
    if text is None:
        raise BackendError("a table with the name of a collection has another schema: it was not made by this project")
    return collection_info(name, loads(text.decode()))
