"""State in MongoDB: a document for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import SerializationError
from praisonai_persistence.steps import writes
from praisonai_persistence.stores import DocumentStateSteps, MovedError
from praisonai_persistence.stores.document_state import end_of, new_document
from praisonai_persistence_mongodb._engine import (
    MongoEngine,
    field_name,
    key_of,
    new_version,
    stored_document,
    stored_value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["MongoStateSteps"]

_COUNTS = 2**62
"""Up to which numbers the server adds by itself, so that it never leaves the 64 bits."""
_COUNTED = {"$gte": -_COUNTS, "$lte": _COUNTS}

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
            named = {"_id": self._key(keys[0]), **_FREE, **_in_time(now)}
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
            named = {"_id": self._key(key), "kind": "hash", "_h": {"$exists": True}, **_in_time(now)}
            change = {"$set": {"_v": new_version(), f"_h.{field_name(field)}": text}, **self._named(key)}
            try:
                yield lambda collection: collection.update_one(named, change, upsert=True)
            except (MovedError, SerializationError):  # the base writes in parts what has grown too large for a document
                pass
            else:
                return
        yield from super().hset(key, field, text, now)

    def _named(self, key: str) -> dict[str, Any]:
        """Return what a command adds to a change, so that a new document names its key if its ``_id`` does not."""
        return {} if key_of(self._key(key)) == key else {"$setOnInsert": {"key": key}}
