"""LlamaIndex's key-value store, and so its document and index stores, in a state store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.frameworks import Call, Calls, both, need_store
from praisonai_persistence.globs import escape_glob
from praisonai_persistence.state import AsyncStateStore, StateStore

__all__ = ["PersistentKVStore"]


def _value(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidValueError(f"a value must be a JSON object, not {type(value).__name__}")
    return value


class PersistentKVStore(BaseKVStore):
    """Collections of keys with JSON objects, for sync and async callers.

    Each is one key of the state store: the prefix, the collection, a slash and the key. So it has at most 1,024 bytes.
    The store stays open: it is whoever opened it that closes it.

    Args:
        store: a state store, sync or async.
        prefix: of all keys.
    """

    def __init__(self, store: StateStore | AsyncStateStore, *, prefix: str = "llamaindex/") -> None:
        self._store = need_store(store, "state")
        self._prefix = prefix

    def _key(self, collection: Any, key: Any = "") -> str:
        if not isinstance(collection, str) or not isinstance(key, str):
            raise InvalidValueError("collections and keys must be text")
        return f"{self._prefix}{collection.replace('%', '%25').replace('/', '%2F')}/{key}"

    def _put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> Calls[None]:
        """Write a value."""
        yield Call(self._store, "set", (self._key(collection, key), _value(val)))

    def _put_all(
        self,
        kv_pairs: Sequence[tuple[str, dict[str, Any]]],
        collection: str = DEFAULT_COLLECTION,
        batch_size: int = 1,
    ) -> Calls[None]:
        """Write all of the values or none, in one call, whatever ``batch_size`` is."""
        values = {self._key(collection, key): _value(value) for key, value in kv_pairs}
        if values:
            yield Call(self._store, "set_many", (values,))

    def _get(self, key: str, collection: str = DEFAULT_COLLECTION) -> Calls[dict[str, Any] | None]:
        """Return a value, or None."""
        return (yield Call(self._store, "get", (self._key(collection, key),)))  # type: ignore[no-any-return]

    def _get_all(self, collection: str = DEFAULT_COLLECTION) -> Calls[dict[str, dict[str, Any]]]:
        """Return all keys of a collection with their values."""
        start = self._key(collection)
        keys = yield Call(self._store, "keys", (escape_glob(start) + "*",))
        found: Mapping[str, Any] = (yield Call(self._store, "get_many", (keys,))) if keys else {}
        return {key[len(start) :]: value for key, value in found.items()}

    def _delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> Calls[bool]:
        """Remove a key; return whether it existed."""
        return (yield Call(self._store, "delete", (self._key(collection, key),)))  # type: ignore[no-any-return]

    put, aput = both(_put)
    put_all, aput_all = both(_put_all)
    get, aget = both(_get)
    get_all, aget_all = both(_get_all)
    delete, adelete = both(_delete)
