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
    field_name,
    key_of,
    key_range,
    new_version,
    stored_document,
    stored_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document

__all__ = ["MongoStateSteps"]

_FACTS = {"key": 1, "kind": 1, "ends": 1, "pending": 1}
_COUNTS = 2**62
"""Up to which numbers the server adds by itself, so that it never leaves the 64 bits."""
_FIELDS = 100
"""How many fields of a hash one command takes away."""
_COUNTED = {"$gte": -_COUNTS, "$lte": _COUNTS}


_NOT_EMPTIED: dict[str, Any] = {"_h": {"$ne": {}}}
"""The document is no hash whose last field has just been deleted."""


_FREE: dict[str, Any] = {"kind": {"$in": ["value", "hash"]}}
"""The document is in no batch, and has no parts."""


def _in_time(now: float) -> dict[str, Any]:
    return {"$or": [{"ends": None}, {"ends": {"$gt": now}}]}


class MongoStateSteps(DocumentStateSteps):
    """State in MongoDB.

    What one command of the server can do is tried first, under the condition that the document is in no batch and has
    no parts. If no document fits the condition the command would insert one, which fails where the key is taken: then
    the base does it, by compare-and-set.

    A command names ``_v`` before what it changes, and reads what was before its change: mongo-java-server writes a
    document field by field while answers to others are being made of it, so what it tells of a document may be newer
    than the version that stands before it, and never older.
    """

    def __init__(self) -> None:
        super().__init__(MongoEngine(), "state")

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        if not self.documents.is_long(text):
            name = self._key(key)
            if ttl is None and len(text) > 20:
                written = stored_value(name, key, text)
            else:
                if ttl is not None:
                    yield from self.sweep(now)
                written = stored_document(name, new_document(key, "value", text, end_of(ttl, now)), new_version())
            named = {"_id": name, "kind": "value"}
            try:
                yield lambda collection: collection.replace_one(named, written, upsert=True)
            except MovedError:
                pass
            else:
                return
        yield from super().set(key, text, ttl, now)

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        if not self.documents.is_long(text):
            document = new_document(key, "value", text, end_of(ttl, now))
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
            named = {"_id": self._key(keys[0]), **_FREE, **_NOT_EMPTIED, **_in_time(now)}
            if (yield lambda collection: collection.delete_one(named)).deleted_count:
                return 1
        return (yield from super().delete(keys, now))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        from bson.int64 import Int64

        if abs(by) <= _COUNTS:
            named = {"_id": self._key(key), "kind": "value", "_n": _COUNTED, **_in_time(now)}
            change = {"$set": {"_v": new_version()}, "$inc": {"_n": Int64(by)}, **self._named(key)}
            try:
                before = yield lambda collection: collection.find_one_and_update(named, change, {"_n": 1}, upsert=True)
            except MovedError:
                pass
            else:
                return by if before is None else int(before["_n"]) + by
        return (yield from super().incr(key, by, now))

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        if not self.documents.is_long(field + text):
            in_time = {"ends": {"$gt": now}, **_NOT_EMPTIED}
            named = {**self._hash(key), "$or": [{"ends": None}, in_time]}
            change = {
                "$set": {"_v": new_version(), f"_h.{field_name(field)}": text},
                **self._named(key),
            }
            try:
                yield lambda collection: collection.update_one(named, change, upsert=True)
            except (MovedError, SerializationError):  # the base writes in parts what has grown too large for a document
                pass
            else:
                return
        yield from super().hset(key, field, text, now)

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        """See the base. Without its last field the document is over for all, and then deleted if it still is so."""
        if len(fields) <= _FIELDS:
            names = {field_name(field) for field in fields}
            change = {"$set": {"_v": new_version()}, "$unset": dict.fromkeys((f"_h.{name}" for name in names), "")}
            named = {**self._hash(key), "_h": {"$exists": True, "$ne": {}}, **_in_time(now)}
            before = yield lambda collection: collection.find_one_and_update(named, change, {"_h": 1})
            if before is not None:
                gone = names & before["_h"].keys()
                if len(gone) == len(before["_h"]):
                    emptied = {**self._hash(key), "_h": {}}
                    yield lambda collection: collection.delete_one(emptied)
                return len(gone)
        return (yield from super().hdel(key, fields, now))

    def _hash(self, key: str) -> dict[str, Any]:
        """Return the condition under which the server may change single fields of a hash."""
        return {"_id": self._key(key), "kind": "hash", "_h": {"$exists": True}}

    def _named(self, key: str) -> dict[str, Any]:
        """Return what a command adds to a change, so that a new document names its key if its ``_id`` does not."""
        return {} if key_of(self._key(key)) == key else {"$setOnInsert": {"key": key}}

    # ------------------------------------------------------------------------------------------------------------ keys

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        """See the base; values are not read."""
        folder = self.documents.encode_prefix(prefix, self._keys)
        wanted = {"_id": key_range(folder, cursor or self._keys), **_NOT_EMPTIED}
        page = yield lambda collection: collection.find(
            wanted, _FACTS, sort=[("_id", 1)], limit=PAGE, batch_size=PAGE
        ).to_list()
        keys = []
        for found in page:
            key = found.get("key", key_of(found["_id"]))
            if key.startswith(prefix):
                document: Document | None = {"ends": found.get("ends")}
                if "pending" in found:
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
                free = {"_id": {"$in": [found["_id"] for found in page]}, **_FREE}
                live = {**free, **_NOT_EMPTIED, **_in_time(now)}
                done = yield lambda collection, live=live: collection.delete_many(live)
                count += done.deleted_count
                if done.deleted_count < len(page):
                    over = {**free, "$or": [{"ends": {"$lte": now}}, {"_h": {}}]}
                    yield lambda collection, over=over: collection.delete_many(over)
                    for found in page:
                        if found["kind"] not in _FREE["kind"]["$in"]:
                            key = found.get("key", key_of(found["_id"]))
                            count += yield from super().delete([key], now)
            if len(page) < PAGE:
                return count
            start_after = page[-1]["_id"]
