"""Keys and values on an engine of versioned documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.payload import dumps, equal, loads
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores._document_keys import Keys, compact, end_of, hash_of, is_over, new_document, plain_of
from praisonai_persistence.stores.document_engine import MovedError
from praisonai_persistence.stores.state import PAGE, StateSteps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, DocumentEngine

__all__ = ["DocumentStateSteps", "end_of", "is_over", "new_document", "plain_of"]


class DocumentStateSteps(Keys, StateSteps):
    """The whole contract of state on the four operations of a [DocumentEngine][].

    **Documents.** One for each key, which holds the JSON text of its value or of all fields of its hash, and ``ends``,
    the Unix time at which it expires, or None. Every write reads the document, decides, and writes it by
    compare-and-set. If somebody else wrote it meanwhile, the write starts again. An expired document is invisible at
    once. It is deleted by the next write of its key, or by sweeping. An engine that deletes expired documents itself
    may do so at the time that ``expiry_of`` returns.

    **Requests** of a call on keys that nobody else writes: 1 to read, 2 to write, whatever the operation, or 1 where
    the engine ``remembers`` the key; ``get_many`` 1 for each key; ``set_many`` and ``delete_many`` of n keys, which
    are all or none, 3n + 2, or 5 where the engine's ``read_many``, ``put_many`` and ``delete_many`` are one request
    each; a scan 1 for each ``max_batch`` keys. A text that is longer than a document adds one for each part to write
    it, and two for a note of what may have to be swept; to read it, one for each part, or for 4 MB of them where the
    engine's ``read_many`` is one request.

    **Bytes** written: the value, or the whole hash, and about 150; ``set_many`` and ``delete_many`` write the old value
    once and the new one twice. With ``max_atomic`` they take 2 requests, and write each value once. An engine with an
    atomic increment may override ``incr``, for documents that have no ``pending``.

    Args:
        engine: the engine.
        space: where the keys begin; stores of other prefixes have another one.
    """

    def __init__(self, engine: DocumentEngine, space: str = "state") -> None:
        super().__init__(engine, space)

    # ---------------------------------------------------------------------------------------------------------- values

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        document, text = yield from self._live(key, now)
        return None if plain_of(document, key) is None else text

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        if ttl is not None:
            yield from self.sweep(now)

        def change(old: Document | None, _: str) -> tuple[None, Document]:
            plain_of(old, key)
            return None, new_document(key, "value", text, end_of(ttl, now))

        yield from self._change(key, now, change)

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        if len(keys) == 1:
            return (yield from self._change(keys[0], now, lambda old, _: (0 if old is None else 1, None)))
        return (yield from self.change_all(dict.fromkeys(keys), None, now)) if keys else 0

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        document, _ = yield from self._live(key, now, text=False)
        return document is not None

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        document, _ = yield from self._live(key, now, text=False)
        return None if document is None or document["ends"] is None else document["ends"] - now

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        def change(old: Document | None, _: str) -> tuple[bool, Document | None]:
            return old is not None, None if old is None else {**old, "ends": now + ttl}

        return (yield from self._change(key, now, change))

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        def change(old: Document | None, _: str) -> tuple[bool, Document | None]:
            if plain_of(old, key) is not None:
                return False, old
            return True, new_document(key, "value", text, end_of(ttl, now))

        return (yield from self._change(key, now, change))

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        def change(old: Document | None, stored: str) -> tuple[bool, Document | None]:
            if plain_of(old, key) is None or not equal(loads(stored), expected):
                return False, old
            return True, new_document(key, "value", text, end_of(ttl, now))

        return (yield from self._change(key, now, change, text=True))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        def change(old: Document | None, stored: str) -> tuple[int, Document]:
            number = 0 if plain_of(old, key) is None else loads(stored)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            number += by
            return number, new_document(key, "value", dumps(number), old["ends"] if old else None)

        return (yield from self._change(key, now, change, text=True))

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        names = {key: self._key(key) for key in keys}
        stored = yield from self.documents.read_many(names.values())
        found = {}
        for key, name in names.items():
            try:
                document, text = yield from self._seen(key, stored.get(name), now, True)
            except MovedError:
                document, text = yield from self._live(key, now)
            if plain_of(document, key) is not None:
                found[key] = text
        return found

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        if len(texts) == 1:
            for key, text in texts.items():
                yield from self.set(key, text, ttl, now)
        elif texts:
            yield from self.change_all(texts, end_of(ttl, now), now)

    # ---------------------------------------------------------------------------------------------------------- hashes

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        return (yield from self.hgetall(key, now)).get(field)

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        document, text = yield from self._live(key, now)
        return {} if hash_of(document, key) is None else json.loads(text)

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        def change(old: Document | None, stored: str) -> tuple[None, Document]:
            fields = {} if hash_of(old, key) is None else json.loads(stored)
            return None, new_document(key, "hash", compact({**fields, field: text}), old["ends"] if old else None)

        yield from self._change(key, now, change, text=True)

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        def change(old: Document | None, stored: str) -> tuple[int, Document | None]:
            if hash_of(old, key) is None:
                return 0, old
            present: dict[str, str] = json.loads(stored)
            kept = {field: text for field, text in present.items() if field not in fields}
            if len(kept) == len(present):
                return 0, old
            new = new_document(key, "hash", compact(kept), old["ends"]) if kept and old else None
            return len(present) - len(kept), new

        return (yield from self._change(key, now, change, text=True))

    # ------------------------------------------------------------------------------------------------------------ keys

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        folder = self.documents.encode_prefix(prefix, self._keys)
        keys: list[str] = []
        limit = self.engine.max_batch
        start_after = cursor or self._keys
        while len(keys) < PAGE:
            page = yield from self.documents.page(folder, start_after, limit, text=False)
            for _, stored in page:
                key = stored[0]["key"] if stored is not None else ""
                if stored is not None and key.startswith(prefix):
                    try:
                        document, _ = yield from self._seen(key, stored, now, False)
                    except MovedError:
                        document, _ = yield from self._live(key, now, text=False)
                    if document is not None:
                        keys.append(key)
            if len(page) < limit:
                return keys, None
            start_after = page[-1][0]
        return keys, start_after

    @writes
    def clear(self, now: float) -> Steps[int]:
        count, start_after, limit = 0, self._keys, self.engine.max_batch
        while True:
            page = yield from self.documents.page(self._keys, start_after, limit, text=False)
            documents = {key: stored for key, stored in page if stored is not None}
            free = {key: stored for key, stored in documents.items() if not stored[0]["pending"] + stored[0]["owner"]}
            moved = yield from self.documents.delete_many({key: version for key, (_, version) in free.items()})
            for key, (document, _) in documents.items():
                if key in free and key not in moved:
                    count += not is_over(document, now)
                else:
                    count += yield from self.delete([document["key"]], now)
            if len(page) < limit:
                return count
            start_after = page[-1][0]
