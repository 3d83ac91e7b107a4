"""State in Redis, by commands: a plain value is a string of JSON text, a hash is a hash of JSON texts.

A key is ``{praison_state}:key``, with the prefix in the braces. In a cluster what stands in braces decides about the
slot: a whole store lies in one, so calls that name many keys stay one command there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.payload import check_prefix, dumps, equal, loads
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import StateSteps
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence_rediscore.requests import Command, Script, starting_with, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CommandStateSteps"]

# STRLEN refuses a hash, and JSON text is never empty: 0 says that there is no such key.
_SET = Script("redis.call('STRLEN', KEYS[1]) redis.call('SET', KEYS[1], unpack(ARGV))")
_SET_NEW = Script(
    "if redis.call('STRLEN', KEYS[1]) > 0 then return 0 end redis.call('SET', KEYS[1], unpack(ARGV)) return 1"
)
_REPLACE = Script(  # returns 1: done, 0: no such key, or the text that stands there instead
    "local stored = redis.call('GET', KEYS[1]) if not stored then return 0 end "
    "if stored ~= ARGV[1] then return stored end redis.call('SET', KEYS[1], unpack(ARGV, 2)) return 1"
)
_NEED_PLAIN = Script("for _, key in ipairs(KEYS) do redis.call('STRLEN', key) end")
_SET_MANY = Script(
    "for _, key in ipairs(KEYS) do redis.call('STRLEN', key) end local ttl = ARGV[#KEYS + 1] "
    "for i, key in ipairs(KEYS) do if ttl then redis.call('SET', key, ARGV[i], 'PX', ttl) "
    "else redis.call('SET', key, ARGV[i]) end end"
)
_MANY = 1000
"""Keys of one reading command."""
_SHORT = 4096
"""Characters of a text that is written by a command which returns the one that was there: faster than a script, unless
there is much to return."""
_INTEGERS = range(-(2**63), 2**63)
"""What the server's own arithmetic takes."""
_LONGEST = 9 * 10**18
"""Milliseconds; what the server still can add to its clock."""


def _milliseconds(ttl: float) -> int:
    return max(1, round(min(ttl * 1000, _LONGEST)))


def _expiry(ttl: float | None) -> tuple[Any, ...]:
    return () if ttl is None else ("PX", _milliseconds(ttl))


class CommandStateSteps(StateSteps):
    """State in Redis; times to live are the server's business, so ``now`` plays no part.

    The steps yield [Command][]s. What the server refuses has to be raised there with the server's own words.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        self._head = f"{{{check_prefix(prefix)}state}}:"

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        found = yield Command("GET", self._head + key)
        return None if found is None else text(found)

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        if len(text) <= _SHORT:
            yield Command("SET", self._head + key, text, *_expiry(ttl), "GET")  # with GET it refuses a hash
        else:
            yield from _SET([self._head + key], text, *_expiry(ttl))

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        return (yield Command("UNLINK", *self._named(keys))) if keys else 0

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        return bool((yield Command("EXISTS", self._head + key)))

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        left = yield Command("PTTL", self._head + key)
        return None if left < 0 else left / 1000

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        return bool((yield Command("PEXPIRE", self._head + key, _milliseconds(ttl))))

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        pattern = starting_with(self._head + prefix)
        start: tuple[str | None, Any, set[str]] = cursor or (None, 0, set())
        node, position, seen = start
        node, position, found = yield from self._page(pattern, node, position)
        # SCAN may name a key more than once.
        keys = list(dict.fromkeys(text(key)[len(self._head) :] for key in found))
        keys = [key for key in keys if key not in seen]
        seen.update(keys)
        return keys, (node, position, seen) if int(position) else None

    def _page(self, pattern: str, node: str | None, position: Any) -> Steps[tuple[str | None, Any, Sequence[Any]]]:
        """Ask for keys from a position on; return the node that was asked, where there are many, and what follows."""
        position, found = yield Command("SCAN", position, "MATCH", pattern, "COUNT", PAGE)
        return node, position, found

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        found = yield Command("HGET", self._head + key, field)
        return None if found is None else text(found)

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        yield Command("HSET", self._head + key, field, text)

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        found = yield Command("HGETALL", self._head + key)
        if not isinstance(found, dict):  # RESP 2 has no maps
            found = dict(zip(found[::2], found[1::2], strict=True))
        return {text(field): text(value) for field, value in found.items()}

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        if not fields:
            yield Command("HLEN", self._head + key)  # refuses a plain value
            return 0
        return (yield Command("HDEL", self._head + key, *fields))  # type: ignore[no-any-return]

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        return bool((yield from _SET_NEW([self._head + key], text, *_expiry(ttl))))

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        # The server compares texts. Where they differ, what stands there may be equal all the same (1 and 1.0), and is
        # what the server has to find in the next round.
        wanted = dumps(expected)
        while True:
            found = yield from _REPLACE([self._head + key], wanted, text, *_expiry(ttl))
            if isinstance(found, int):
                return found == 1
            wanted = _text(found)
            if not equal(loads(wanted), expected):
                return False

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        name = self._head + key
        if by in _INTEGERS:
            try:
                return (yield from self._increment(name, by))
            except Exception as error:
                if "integer" not in str(error) and "overflow" not in str(error):
                    raise
        # What the server cannot add: it replaces the text that we have read, if it stands there still.
        while True:
            found = yield Command("GET", name)
            if found is None:
                if (yield from _SET_NEW([name], by)):
                    return by
                continue
            number = loads(text(found))
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            if (yield from _REPLACE([name], found, dumps(number + by), "KEEPTTL")) == 1:
                return number + by

    def _increment(self, name: str, by: int) -> Steps[int]:
        """Have the server add to a number."""
        return (yield Command("INCRBY", name, by))  # type: ignore[no-any-return]

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        texts: dict[str, str] = {}
        for start in range(0, len(keys), _MANY):
            chunk = keys[start : start + _MANY]
            found = yield Command("MGET", *self._named(chunk))
            texts.update((key, text(value)) for key, value in zip(chunk, found, strict=True) if value is not None)
            if None in found:  # MGET passes over hashes
                yield from _NEED_PLAIN(self._named(key for key in chunk if key not in texts))
        return texts

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        if texts:
            yield from _SET_MANY(self._named(texts), *texts.values(), *_expiry(ttl)[1:])

    @writes
    def clear(self, now: float) -> Steps[int]:
        count, cursor = 0, None
        while True:
            keys, cursor = yield from self.scan("", cursor, now)
            count += yield from self.delete(keys, now)
            if cursor is None:
                return count

    def _named(self, keys: Iterable[str]) -> list[str]:
        return [self._head + key for key in keys]


_text = text  # for methods that have an argument of that name
