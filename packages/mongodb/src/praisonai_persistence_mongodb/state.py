"""State in MongoDB: a document for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import SerializationError
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import DocumentStateSteps, MovedError
from praisonai_persistence.stores.document_state import end_of, is_over, new_document
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence_mongodb._engine import (
    MongoEngine,
    bare,
    field_name,
    key_range,
    new_version,
    stored_document,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document

__all__ = ["MongoStateSteps"]

_FACTS = {"key": 1, "kind": 1, "ends": 1, "held": 1, "pending": 1, "owner": 1, "_v": 1}
_COUNTS = 2**62
"""Up to which numbers the server adds by itself, so that it never leaves the 64 bits."""
_COUNTED = {"$gte": -_COUNTS, "$lte": _COUNTS}


def _in_time(now: float) -> dict[str, Any]:
    return {"$or": [{"ends": None}, {"ends": {"$gt": now}}]}


class MongoStateSteps(DocumentStateSteps):
    """State in MongoDB.

    What one command of the server can do is tried first, under the condition that the document is in no batch and has
    no parts. If no document fits the condition the command would insert one, which fails where the key is taken: then
    the base does it, by compare-and-set.
    """

    def __init__(self) -> None:
        super().__init__(MongoEngine(), "state")

    def _plain(self, key: str, text: str, ttl: float | None, now: float) -> Document | None:
        """Return the document of a plain value; None if it is too long for one."""
        return None if self.documents.is_long(text) else new_document(key, "value", text, end_of(ttl, now))

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        document = self._plain(key, text, ttl, now)
        if document is not None:
            if ttl is not None:
                yield from self.sweep(now)
            named = {**bare(self._key(key)), "kind": "value"}
            written = stored_document(self._key(key), document, new_version())
            try:
                yield lambda collection: collection.replace_one(named, written, upsert=True)
            except MovedError:
                pass
            else:
                return
        yield from super().set(key, text, ttl, now)

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        document = self._plain(key, text, ttl, now)
        if document is not None:
            try:
                yield from self.engine.put(self._key(key), document, None)
            except MovedError:
                pass
            else:
                return True
        return (yield from super().set_if_absent(key, text, ttl, now))

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        if len(keys) == 1:
            named = {**bare(self._key(keys[0])), **_in_time(now)}
            if (yield lambda collection: collection.delete_one(named)).deleted_count:
                return 1
        return (yield from super().delete(keys, now))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        from bson.int64 import Int64

        if abs(by) <= _COUNTS:
            named = {
                **bare(self._key(key)),
                "kind": "value",
                **_in_time(now),
                "_n": {"$gte": -_COUNTS, "$lte": _COUNTS},
            }
            new = new_document(key, "value", "", None)
            change = {
                "$inc": {"_n": Int64(by)},
                "$set": {"_v": new_version()},
                "$setOnInsert": {name: new[name] for name in ("key", "parts", "ends", "held")},
            }
            try:
                found = yield lambda collection: collection.find_one_and_update(
                    named, change, {"_n": 1}, upsert=True, return_document=True
                )
            except MovedError:
                pass
            else:
                return int(found["_n"])
        return (yield from super().incr(key, by, now))

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        if not self.documents.is_long(field + text):
            named = {**bare(self._key(key)), "kind": "hash", **_in_time(now), "_h": {"$exists": True}}
            new = new_document(key, "hash", "", None)
            change = {
                "$set": {f"_h.{field_name(field)}": text, "_v": new_version()},
                "$setOnInsert": {name: new[name] for name in ("key", "parts", "ends", "held")},
            }
            try:
                yield lambda collection: collection.update_one(named, change, upsert=True)
            except (MovedError, SerializationError):  # the base writes in parts what has grown too large for a document
                pass
            else:
                return
        yield from super().hset(key, field, text, now)

    # ------------------------------------------------------------------------------------------------------------ keys

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        """See the base; values are not read."""
        folder = self.documents.encode_prefix(prefix, self._keys)
        wanted = {"_id": key_range(folder, cursor or self._keys)}
        page = yield lambda collection: collection.find(
            wanted, _FACTS, sort=[("_id", 1)], limit=PAGE, batch_size=PAGE
        ).to_list()
        keys = []
        for found in page:
            key = found["key"]
            if key.startswith(prefix):
                document: Document | None = found
                if found["pending"]:
                    document, _ = yield from self._live(key, now, text=False)
                if document is not None and not is_over(document, now):
                    keys.append(key)
        return keys, page[-1]["_id"] if len(page) == PAGE else None

    @writes
    def clear(self, now: float) -> Steps[int]:
        """See the base; the server counts what it deletes."""
        count, start_after = 0, self._keys
        while True:
            wanted = {"_id": key_range(self._keys, start_after)}
            page = yield lambda collection, wanted=wanted: collection.find(
                wanted, _FACTS, sort=[("_id", 1)], limit=PAGE, batch_size=PAGE
            ).to_list()
            if page:
                free = {"_id": {"$in": [found["_id"] for found in page]}, "pending": "", "owner": ""}
                live = {**free, **_in_time(now)}
                done = yield lambda collection, live=live: collection.delete_many(live)
                count += done.deleted_count
                if done.deleted_count < len(page):
                    yield lambda collection, free=free: collection.delete_many({**free, "ends": {"$lte": now}})
                    for key in [found["key"] for found in page if found["pending"] or found["owner"]]:
                        count += yield from super().delete([key], now)
            if len(page) < PAGE:
                return count
            start_after = page[-1]["_id"]
