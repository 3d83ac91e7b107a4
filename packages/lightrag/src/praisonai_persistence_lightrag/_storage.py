"""What LightRAG's storages here have in common, and how it is told to use them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from lightrag.base import StorageNameSpace
from lightrag.kg import STORAGE_IMPLEMENTATIONS, STORAGES

from praisonai_persistence.errors import ConfigurationError, PersistenceError
from praisonai_persistence.frameworks import Call, Calls, later, need_store
from praisonai_persistence.globs import escape_glob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
    from praisonai_persistence.state import AsyncStateStore, StateStore

__all__ = ["KeyStorage", "Storage", "digest", "storages"]

_PACKAGE = __name__.rpartition(".")[0]
_OPTION = "praisonai_persistence"
_NAMES = {
    "kv_storage": ("KV_STORAGE", "PersistentKVStorage"),
    "vector_storage": ("VECTOR_STORAGE", "PersistentVectorStorage"),
    "graph_storage": ("GRAPH_STORAGE", "PersistentGraphStorage"),
    "doc_status_storage": ("DOC_STATUS_STORAGE", "PersistentDocStatusStorage"),
}


class _Stores:
    """The stores on their way through LightRAG's configuration, which is copied for each instance."""

    def __init__(self, state: Any, knowledge: Any) -> None:
        self.state = need_store(state, "state")
        self.knowledge = need_store(knowledge, "knowledge")

    def __deepcopy__(self, memo: Any) -> _Stores:
        return self

    def __repr__(self) -> str:
        return f"<{type(self.state).__name__}, {type(self.knowledge).__name__}>"


def storages(
    state: StateStore | AsyncStateStore, knowledge: KnowledgeStore | AsyncKnowledgeStore, **options: Any
) -> dict[str, Any]:
    """Return the arguments with which LightRAG keeps everything in two stores: ``LightRAG(..., **storages(a, b))``.

    The stores stay open: it is whoever opened them that closes them.

    Args:
        state: a state store, sync or async, for key-value pairs, document status and the graph.
        knowledge: a knowledge store, sync or async, for vectors.
        options: other entries of LightRAG's ``vector_db_storage_cls_kwargs``.

    Raises:
        ConfigurationError: a store is not one of its kind.
    """
    for kind, name in _NAMES.values():
        STORAGES[name] = _PACKAGE
        if name not in STORAGE_IMPLEMENTATIONS[kind]["implementations"]:
            STORAGE_IMPLEMENTATIONS[kind]["implementations"].append(name)
    stores = _Stores(state, knowledge)
    return {argument: name for argument, (_, name) in _NAMES.items()} | {
        "vector_db_storage_cls_kwargs": {_OPTION: stores, **options}
    }


def digest(text: str) -> str:
    """Return a name of 32 characters for a text of any length, to stand in a key."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Storage(StorageNameSpace):  # type: ignore[misc]
    """A storage of LightRAG; mixed in before the base of its kind. Its writes are durable when they return."""

    _kind: ClassVar[str] = "state"
    if TYPE_CHECKING:  # LightRAG's, which has no types
        namespace: str
        workspace: str
        global_config: dict[str, Any]

    def __post_init__(self) -> None:
        self._options: dict[str, Any] = self.global_config.get("vector_db_storage_cls_kwargs") or {}
        stores = self._options.get(_OPTION)
        if not isinstance(stores, _Stores):
            raise ConfigurationError(
                f"{type(self).__name__} has no stores: make LightRAG(..., **storages(state, knowledge)) with "
                f"storages() of {_PACKAGE}"
            )
        self._store = getattr(stores, self._kind)
        self.workspace = self.workspace or ""

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the store."""

        def calls() -> Calls[Any]:
            return (yield Call(self._store, method, args, kwargs))

        return await later(calls())

    async def _drop(self) -> None:
        """Remove everything."""
        raise NotImplementedError

    async def index_done_callback(self) -> None:
        """Do nothing: what was written is durable already."""

    async def drop(self) -> dict[str, str]:
        """Remove everything; say whether that was done."""
        try:
            await self._drop()
        except PersistenceError as error:
            return {"status": "error", "message": str(error)}
        return {"status": "success", "message": "data dropped"}


class KeyStorage(Storage):
    """A storage in a state store, whose keys begin with ``lightrag/``, the workspace and the namespace."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._prefix = f"lightrag/{quote(self.workspace, safe='')}/{self.namespace}/"

    async def _keys(self, start: str = "") -> list[str]:
        """Return all keys that start with a text, without the storage's prefix."""
        found = await self._call("keys", escape_glob(self._prefix + start) + "*")
        return [key[len(self._prefix) :] for key in found]

    async def _keys_of(self, starts: Iterable[str]) -> dict[str, list[str]]:
        """Return the keys that start with each of a few texts, both without the storage's prefix."""
        wanted = list(dict.fromkeys(starts))
        if not hasattr(self._store, "scan_prefixes"):  # a program's own
            return dict(zip(wanted, await asyncio.gather(*map(self._keys, wanted)), strict=True))
        size = len(self._prefix)
        found = await self._call("scan_prefixes", [self._prefix + start for start in wanted])
        return {start[size:]: [key[size:] for key in keys] for start, keys in found.items()}

    async def _values(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those keys that exist."""
        wanted = [self._prefix + key for key in keys]
        found = await self._call("get_many", wanted) if wanted else {}
        return {key[len(self._prefix) :]: value for key, value in found.items()}

    async def _write(self, values: dict[str, Any]) -> None:
        """Set all of the values, in one step where the engine can."""
        if values:
            await self._call("set_many", {self._prefix + key: value for key, value in values.items()})

    async def _remove(self, keys: Iterable[str]) -> None:
        gone = [self._prefix + key for key in keys]
        if gone:
            await self._call("delete_many", gone)

    async def _drop(self) -> None:
        await self._remove(await self._keys())
