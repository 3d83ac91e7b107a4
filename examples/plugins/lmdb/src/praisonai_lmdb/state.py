"""State in LMDB: the operations, written once for sync and async callers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_lmdb._entries import key_of, page, prefix_of
from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.payload import dumps, equal, loads
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import StateSteps
from praisonai_persistence.stores.state import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["LMDBStateSteps"]


class _Entry(NamedTuple):
    """A key: when it ends, and its value as JSON text, or the fields of its hash."""

    ends: float | None
    value: str | dict[str, str]


class LMDBStateSteps(StateSteps):
    """An entry for each key. What is yielded is done in the transaction that ``Driver.begin`` opened.

    ``StateSteps`` says what each operation is given and returns. Expired entries stay, unseen, until they are replaced.

    Args:
        prefix: the ``table_prefix``; it holds no dot.
    """

    def __init__(self, prefix: str) -> None:
        self._space = f"{prefix}.state."

    def _live(self, key: str, now: float) -> Steps[_Entry | None]:
        text = yield lambda on: on.get(key_of(self._space, key))
        if text is None:
            return None
        head, _, value = text.partition(b"\n")  # a scan reads heads only
        entry = _Entry(json.loads(head)[1], json.loads(value))
        return None if entry.ends is not None and entry.ends <= now else entry

    def _plain(self, key: str, now: float) -> Steps[tuple[str | None, float | None]]:
        """Return the value of a key, and when it ends."""
        entry = yield from self._live(key, now)
        if entry is not None and not isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a hash")
        return (None, None) if entry is None else (str(entry.value), entry.ends)

    def _fields(self, key: str, now: float) -> Steps[tuple[dict[str, str], float | None]]:
        """Return the fields of a key, and when it ends."""
        entry = yield from self._live(key, now)
        if entry is None:
            return {}, None
        if isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
        return entry.value, entry.ends

    def _put(self, key: str, value: str | dict[str, str], ends: float | None) -> Steps[None]:
        text = f"{json.dumps([key, ends])}\n{json.dumps(value)}".encode()
        yield lambda on: on.put(key_of(self._space, key), text)

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        """See the base."""
        return (yield from self._plain(key, now))[0]

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        """See the base."""
        yield from self._plain(key, now)
        yield from self._put(key, text, _end(ttl, now))

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        """See the base."""
        count = 0
        for key in keys:
            if (yield from self._live(key, now)) is not None:
                yield lambda on, key=key: on.delete(key_of(self._space, key))
                count += 1
        return count

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        """See the base."""
        return (yield from self._live(key, now)) is not None

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        """See the base."""
        entry = yield from self._live(key, now)
        return None if entry is None or entry.ends is None else entry.ends - now

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        """See the base."""
        entry = yield from self._live(key, now)
        if entry is not None:
            yield from self._put(key, entry.value, now + ttl)
        return entry is not None

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        """See the base."""
        found = yield lambda on: page(on, prefix_of(self._space, prefix), cursor or b"", PAGE)
        heads = (json.loads(text[: text.index(b"\n")]) for _, text in found)
        keys = [key for key, ends in heads if key.startswith(prefix) and not _is_over(ends, now)]
        return keys, found[-1][0] if len(found) == PAGE else None

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        """See the base."""
        stored, _ = yield from self._plain(key, now)
        if stored is None:
            yield from self._put(key, text, _end(ttl, now))
        return stored is None

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        """See the base."""
        stored, _ = yield from self._plain(key, now)
        if stored is None or not equal(loads(stored), expected):
            return False
        yield from self._put(key, text, _end(ttl, now))
        return True

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        """See the base."""
        stored, ends = yield from self._plain(key, now)
        number = 0 if stored is None else loads(stored)
        if type(number) is not int:
            raise WrongTypeError(f"key {key!r} holds a value that is no integer")
        yield from self._put(key, dumps(number + by), ends)
        return number + by

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        """See the base."""
        found = {}
        for key in keys:
            text, _ = yield from self._plain(key, now)
            if text is not None:
                found[key] = text
        return found

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        """See the base."""
        for key in texts:
            yield from self._plain(key, now)
        for key, text in texts.items():
            yield from self._put(key, text, _end(ttl, now))

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        """See the base."""
        return (yield from self._fields(key, now))[0].get(field)

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        """See the base."""
        return (yield from self._fields(key, now))[0]

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        """See the base."""
        fields, ends = yield from self._fields(key, now)
        yield from self._put(key, {**fields, field: text}, ends)

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        """See the base."""
        stored, ends = yield from self._fields(key, now)
        kept = {field: text for field, text in stored.items() if field not in fields}
        if kept and len(kept) < len(stored):
            yield from self._put(key, kept, ends)
        elif stored and not kept:
            yield lambda on: on.delete(key_of(self._space, key))
        return len(stored) - len(kept)

    @writes
    def clear(self, now: float) -> Steps[int]:
        """See the base."""
        count = 0
        while True:
            found = yield lambda on: page(on, prefix_of(self._space, ""), b"", PAGE)
            for key, _ in found:
                yield lambda on, key=key: on.delete(key)
            count += sum(not _is_over(json.loads(text[: text.index(b"\n")])[1], now) for _, text in found)
            if len(found) < PAGE:
                return count


def _end(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl


def _is_over(ends: float | None, now: float) -> bool:
    return ends is not None and ends <= now
