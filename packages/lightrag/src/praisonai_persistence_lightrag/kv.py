"""LightRAG's key-value storage in a state store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

from lightrag.base import BaseKVStorage

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence_lightrag._storage import KeyStorage, digest

__all__ = ["PersistentKVStorage"]

_LONG = 900
"""Bytes of an id above which its digest is in the key: a key has at most 1,024."""


def _key(id_: Any) -> str:
    if not isinstance(id_, str):
        raise InvalidValueError(f"an id must be text, not {type(id_).__name__}")
    return f"d/{digest(id_)}" if len(id_.encode("utf-8", "surrogatepass")) > _LONG else f"k/{id_}"


@dataclass
class PersistentKVStorage(KeyStorage, BaseKVStorage):  # type: ignore[misc]
    """Documents, chunks, and answers of the model: each entry is one key."""

    supports_strict_point_reads: ClassVar[bool] = True

    async def get_by_id(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Return an entry, or None."""
        return (await self.get_by_ids([id]))[0]

    async def get_by_id_strict(self, id: str) -> dict[str, Any] | None:  # noqa: A002
        """Do the same: what cannot be read is an error there, too."""
        return await self.get_by_id(id)

    async def get_by_ids(self, ids: list[str]) -> list[dict[str, Any]]:
        """Return entries in the order of their ids, None for one that is not there."""
        keys = [_key(id_) for id_ in ids]
        found = await self._values(dict.fromkeys(keys))
        return [found.get(key) for key in keys]  # type: ignore[misc]

    async def filter_keys(self, keys: set[str]) -> set[str]:
        """Return those ids that no entry has."""
        names = {_key(id_): id_ for id_ in keys}
        found = await self._values(names)
        return {id_ for key, id_ in names.items() if key not in found}

    async def upsert(self, data: dict[str, dict[str, Any]]) -> None:
        """Add or replace entries; the time at which one was created stays."""
        now = int(time.time())
        before = await self._values(map(_key, data))
        default: dict[str, Any] = {"llm_cache_list": []} if self.namespace.endswith("text_chunks") else {}
        values = {}
        for id_, value in data.items():
            created = before.get(_key(id_), {}).get("create_time", now)
            values[_key(id_)] = {**default, **value, "create_time": created, "update_time": now, "_id": id_}
        await self._write(values)

    async def delete(self, ids: list[str]) -> None:
        """Remove entries; ids that are not there are passed over."""
        await self._remove(map(_key, ids))

    async def is_empty(self) -> bool:
        """Return whether there is no entry."""
        return not await self._keys()
