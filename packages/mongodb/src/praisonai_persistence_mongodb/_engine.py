"""Versioned documents in a collection of MongoDB.

A document of the base is a document of the server: its key is ``_id``, its version ``_v``. A whole number of 64 bits is
stored as one (``_n``), and the fields of a small hash stand in a document of their own (``_h``), so that the server can
change them. Of a state's document only those fields are stored that say something: ``key`` where ``_id`` does not end
with it, and ``ends``, ``parts`` and others where they are not empty. Its ``kind`` ends with ``+`` while it is in a
batch or has parts: then the server must not change it by itself.
"""

from __future__ import annotations

import json
import os
import re
import string
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores import DocumentEngine, MovedError
from praisonai_persistence.stores.document_engine import expiry_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored

__all__ = [
    "Bulk",
    "MongoEngine",
    "Transaction",
    "fields_of",
    "key_of",
    "key_range",
    "new_version",
    "stored_document",
    "stored_value",
]

SMALL = 1_000_000
"""Characters of a hash whose fields the server changes one by one."""
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NUMBERS = range(-(2**63), 2**63)
_LAST = 253_402_300_799
"""The last second of the year 9999, which is the last date that the server's tools can show."""


class Bulk:
    """A request: many writes at once, in any order.

    Args:
        writes: PyMongo's ``ReplaceOne`` and ``DeleteOne``.
    """

    __slots__ = ("writes",)

    def __init__(self, writes: list[Any]) -> None:
        self.writes = writes

    def __call__(self, collection: Any) -> Any:
        return collection.bulk_write(self.writes, ordered=False)


class Transaction(Bulk):
    """A request: writes of which all are made, or none; in the order given.

    Args:
        inserts: PyMongo's ``InsertOne``.
        replaces: its ``ReplaceOne``; each has to find its document.
        deletes: its ``DeleteOne``; the same.
    """

    __slots__ = ("_counts",)

    def __init__(self, inserts: list[Any], replaces: list[Any], deletes: list[Any]) -> None:
        super().__init__([*inserts, *replaces, *deletes])  # one command for each kind
        self._counts = len(replaces), len(deletes)

    def __call__(self, collection: Any) -> Any:
        from pymongo import AsyncMongoClient

        client = collection.database.client
        how = {"write_concern": collection.write_concern, "read_concern": collection.read_concern}
        if isinstance(client, AsyncMongoClient):
            return self._awaited(client, collection, how)
        with client.start_session() as session, session.start_transaction(**how):
            return self._check(collection.bulk_write(self.writes, session=session))

    async def _awaited(self, client: Any, collection: Any, how: dict[str, Any]) -> None:
        async with client.start_session() as session, await session.start_transaction(**how):
            self._check(await collection.bulk_write(self.writes, session=session))

    def _check(self, done: Any) -> None:
        if (done.matched_count, done.deleted_count) != self._counts:
            raise MovedError("a document was written meanwhile")


_EMPTY = {"parts": "", "owner": "", "ends": None, "held": None, "pending": ""}


def new_version() -> Any:
    """Return a version that was never there: 64 random bits, which depend on no clock."""
    return _bson().int64.Int64(int.from_bytes(os.urandom(8), "big", signed=True))


@lru_cache(maxsize=1)
def _bson() -> Any:
    """Import BSON, once: an import statement in a function takes its time with each call."""
    import bson
    import bson.datetime_ms
    import bson.int64

    return bson


def field_name(name: str) -> str:
    """Return the name of a hash's field as MongoDB takes it; other names have other ones."""
    return "%" + re.sub(r"[%.$\0]", lambda found: f"%{ord(found[0]):02x}", name)


def _plain_name(name: str) -> str:
    return re.sub(r"%(..)", lambda found: chr(int(found[1], 16)), name[1:])


def fields_of(document: Document) -> dict[str, Any]:
    """Return what is stored of a document, beside its key and version."""
    text = document.get("text", "")
    kind = document.get("kind")
    if kind is None:
        return dict(document)
    fields = {name: value for name, value in document.items() if value or name not in _EMPTY}
    if document["pending"] or document["owner"]:
        fields["kind"] = kind + "+"
    if kind == "value" and len(text) <= 20 and _NUMBER.fullmatch(text) and int(text) in _NUMBERS:
        del fields["text"]
        fields["_n"] = _bson().int64.Int64(text)
    elif kind == "hash" and text and len(text) <= SMALL:
        del fields["text"]
        fields["_h"] = {field_name(name): value for name, value in json.loads(text).items()}
    ends = expiry_of(document)
    if ends is not None and ends < _LAST:
        fields["_expires"] = _bson().datetime_ms.DatetimeMS(int(ends * 1000))
    return fields


def stored_document(key: str, document: Document, version: Any) -> dict[str, Any]:
    fields = fields_of(document)
    if "kind" in fields and key_of(key) == fields["key"]:
        del fields["key"]
    return {"_id": key, "_v": version, **fields}


def stored_value(name: str, key: str, text: str) -> dict[str, Any]:
    """Return what ``stored_document`` does of a plain value that lasts and is no number, faster."""
    fields = {"_id": name, "_v": new_version(), "kind": "value", "text": text}
    if key_of(name) != key:
        fields["key"] = key
    return fields


def _load(found: dict[str, Any]) -> tuple[str, Stored]:
    key, version = found.pop("_id"), found.pop("_v")
    if "kind" not in found:
        return key, (found, version)
    document = {**_EMPTY, "key": key_of(key), "text": "", **found, "kind": found["kind"].rstrip("+")}
    document.pop("_expires", None)
    if "_n" in document:
        document["text"] = str(int(document.pop("_n")))
    elif "_h" in document:
        fields = {_plain_name(name): text for name, text in document.pop("_h").items()}
        document["text"] = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return key, (document, version)


def key_of(name: str) -> str:
    """Return the key that a document's ``_id`` ends with; it counts where the document does not name it."""
    return name.rpartition("/")[2]


def key_range(prefix: str, start_after: str) -> dict[str, Any]:
    """Return a condition on ``_id``: the keys with a prefix, after another one. Keys are ASCII."""
    low = {"$gt": start_after} if start_after >= prefix else {"$gte": prefix}
    return {**low, "$lt": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


class MongoEngine(DocumentEngine):
    """The documents of a collection. A request is a function of the collection."""

    max_document_bytes = 12_000_000
    max_key_bytes = 1_000
    max_batch = 1_000
    max_atomic = 0  # the driver raises it where the server has transactions
    key_characters = frozenset(string.ascii_letters + string.digits + "!#$%&'()*+,-.:;<>?@[]^_`{|}~ ")

    def read(self, key: str) -> Steps[Stored | None]:
        found = yield lambda collection: collection.find_one({"_id": key})
        return None if found is None else _load(found)[1]

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        new = new_version()
        written = stored_document(key, document, new)
        if version is None:
            yield lambda collection: collection.insert_one(written)
            return new
        done = yield lambda collection: collection.replace_one({"_id": key, "_v": version}, written)
        if not done.matched_count:
            raise MovedError("the document was written meanwhile")
        return new

    def delete(self, key: str, version: Any) -> Steps[None]:
        named = {"_id": key} if version is None else {"_id": key, "_v": version}
        done = yield lambda collection: collection.delete_one(named)
        if version is not None and not done.deleted_count:
            raise MovedError("the document was written meanwhile")

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        from pymongo import DeleteOne, InsertOne, ReplaceOne

        writes: tuple[list[Any], list[Any], list[Any]] = [], [], []
        for key, (document, version) in changes.items():
            if document is None:
                writes[2].append(DeleteOne({"_id": key, "_v": version}))
            elif version is None:
                writes[0].append(InsertOne(stored_document(key, document, new_version())))
            else:
                written = stored_document(key, document, new_version())
                writes[1].append(ReplaceOne({"_id": key, "_v": version}, written))
        yield Transaction(*writes)

    def scan(
        self, prefix: str, start_after: str, limit: int, fields: dict[str, int] | None = None
    ) -> Steps[list[tuple[str, Stored | None]]]:
        wanted = {"_id": key_range(prefix, start_after)}
        found = yield lambda collection: collection.find(
            wanted, fields, sort=[("_id", 1)], limit=limit, batch_size=limit
        ).to_list()
        return [_load(one) for one in found]

    def peek(self, prefix: str, start_after: str, limit: int) -> Steps[list[tuple[str, Stored | None]]]:
        return (yield from self.scan(prefix, start_after, limit, {"text": 0, "_n": 0, "_h": 0}))

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        wanted = {"_id": {"$in": list(keys)}}
        found = yield lambda collection: collection.find(wanted, batch_size=len(keys) + 1).to_list()
        return dict(_load(one) for one in found)

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        from pymongo import ReplaceOne

        versions = {key: new_version() for key in changes}
        writes: list[Any] = []
        for key, (document, version) in changes.items():
            # A document that is new has no version: the condition fits none, and the insert fails if the key is taken.
            named = {"_id": key, "_v": versions[key] if version is None else version}
            writes.append(ReplaceOne(named, stored_document(key, document, versions[key]), upsert=version is None))
        try:
            done = yield Bulk(writes)
            if done.matched_count + done.upserted_count == len(writes):
                return versions
        except MovedError:
            pass
        wanted = {"_id": {"$in": list(versions)}}
        found = yield lambda collection: collection.find(wanted, {"_v": 1}, batch_size=len(versions) + 1).to_list()
        return {one["_id"]: one["_v"] for one in found if one["_v"] == versions[one["_id"]]}

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        """See the base; a document that somebody else has deleted counts as deleted."""
        from pymongo import DeleteOne

        if not any(versions.values()):
            wanted = {"_id": {"$in": list(versions)}}
            yield lambda collection: collection.delete_many(wanted)
            return set()
        named = [{"_id": key} if version is None else {"_id": key, "_v": version} for key, version in versions.items()]
        done = yield Bulk([DeleteOne(one) for one in named])
        if done.deleted_count == len(named):
            return set()
        left = {"_id": {"$in": [key for key, version in versions.items() if version is not None]}}
        found = yield lambda collection: collection.find(left, {"_id": 1}, batch_size=len(versions) + 1).to_list()
        return {one["_id"] for one in found}
