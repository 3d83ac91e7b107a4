"""State stores over steps."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.globs import compile_glob, literal_prefix
from praisonai_persistence.payload import (
    MAX_BYTES,
    check_key,
    check_many,
    check_optional_ttl,
    check_ttl,
    dumps,
    loads,
    plain,
)
from praisonai_persistence.state import AsyncStateStore, StateStore
from praisonai_persistence.stores.runners import AsyncStepStore, StepStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["PAGE", "AsyncStepStateStore", "StateSteps", "StepStateStore"]

PAGE = 1000
"""How many keys a scan asks for at a time."""


class StateSteps(ABC):
    """The operations of a state engine, as generators marked ``@reads`` or ``@writes``.

    Keys and fields are checked; values are JSON text of ``payload.dumps``, except where Python values are named. The
    clauses that a method has to keep stand in ``StateStore``. ``now`` is the caller's clock in Unix seconds: a key
    whose time is up does not exist. ``ttl`` is seconds above 0, or None.
    """

    @abstractmethod
    def get(self, key: str, now: float) -> Steps[str | None]:
        """Read a plain value."""

    @abstractmethod
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        """Write a plain value."""

    @abstractmethod
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        """Remove keys (each named once), plain or hash; count those that existed."""

    @abstractmethod
    def exists(self, key: str, now: float) -> Steps[bool]:
        """Whether it does."""

    @abstractmethod
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        """Seconds left."""

    @abstractmethod
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        """Set the time to live; whether the key exists."""

    @abstractmethod
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        """Read about ``PAGE`` keys with a literal prefix, and the cursor for the next page, None at the end.

        The first cursor is None; what a cursor holds is the engine's business. No key stands in two pages of one scan.
        An engine that can read the keys of several prefixes at once has ``scan_prefixes(prefixes, now)``, too, which
        returns them all, in any order.
        """

    @abstractmethod
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        """Read a field."""

    @abstractmethod
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        """Write a field."""

    @abstractmethod
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        """Read all fields."""

    @abstractmethod
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        """Remove fields (each named once)."""

    @abstractmethod
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        """Write if there is no such key."""

    @abstractmethod
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        """Write if ``payload.equal(stored value, expected)``; ``expected`` is a Python value."""

    @abstractmethod
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        """Add to an integer."""

    @abstractmethod
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        """Read plain values (each key named once)."""

    @abstractmethod
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        """Write plain values, all or none."""

    @abstractmethod
    def clear(self, now: float) -> Steps[int]:
        """Remove everything of this store; count the keys that had not expired."""


def _loads(text: str | None, default: Any) -> Any:
    return default if text is None else loads(text)


def _unique(keys: Iterable[str], what: str = "key") -> list[str]:
    return list(dict.fromkeys(check_key(key, what) for key in check_many(keys, f"{what}s")))


def _by(by: Any, amount: Any) -> int:
    number = plain(by if amount is None else amount)
    if type(number) is not int:
        raise InvalidValueError("by must be a whole number")
    return number


def _expected(value: Any) -> Any:
    return loads(dumps(value, "expected"))


def _check_text(value: Any, what: str) -> str:
    text = plain(value)
    if type(text) is not str:
        raise InvalidValueError(f"{what} must be text, not {type(value).__name__}")
    return text


def _storable(prefix: str) -> bool:
    """Whether any key can start with this; no key holds NUL or a lone surrogate."""
    return ("\0" not in prefix and prefix.isascii()) or not any("\ud800" <= c <= "\udfff" or c == "\0" for c in prefix)


def _by_prefix(keys: Iterable[str], prefixes: Iterable[str]) -> dict[str, list[str]]:
    """Return for each prefix those of some keys that have it, sorted."""
    ordered = sorted(set(keys))
    found: dict[str, list[str]] = {}
    for prefix in prefixes:
        start = bisect_left(ordered, prefix)
        found[prefix] = list(takewhile(lambda key: key.startswith(prefix), islice(ordered, start, None)))  # noqa: B023
    return found


def _checked_prefixes(prefixes: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(_check_text(prefix, "prefix") for prefix in check_many(prefixes, "prefixes")))


class _Declared:
    """What both modes declare, and how they write values."""

    max_value_bytes: ClassVar[int] = MAX_BYTES
    """Largest value of a key or of a field, in bytes of its JSON text in UTF-8."""

    def _dumps(self, value: Any) -> str:
        return dumps(value, limit=self.max_value_bytes)

    def _texts(self, mapping: Any) -> dict[str, str]:
        if not isinstance(mapping, Mapping):
            raise InvalidValueError(f"mapping must be a mapping, not {type(mapping).__name__}")
        return {check_key(key): self._dumps(value) for key, value in mapping.items()}


class StepStateStore(_Declared, StepStore[StateSteps], StateStore):
    """A state store made of steps and a runner.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def get(self, key: str, default: Any = None) -> Any:
        return _loads(self._runner.run(self._steps.get, check_key(key), time.time()), default)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        self._runner.run(self._steps.set, check_key(key), self._dumps(value), check_optional_ttl(ttl), time.time())

    def delete(self, key: str) -> bool:
        return self._runner.run(self._steps.delete, [check_key(key)], time.time()) == 1

    def exists(self, key: str) -> bool:
        return self._runner.run(self._steps.exists, check_key(key), time.time())

    def ttl(self, key: str) -> float | None:
        return self._runner.run(self._steps.ttl, check_key(key), time.time())

    def expire(self, key: str, ttl: float) -> bool:
        seconds = check_ttl(ttl)
        return self._runner.run(self._steps.expire, check_key(key), seconds, time.time())

    def keys(self, pattern: str = "*") -> list[str]:
        pattern = _check_text(pattern, "pattern")
        match = compile_glob(pattern).fullmatch
        return [key for key in self.scan_prefix(literal_prefix(pattern)) if match(key)]

    def scan_prefix(self, prefix: str) -> Iterator[str]:
        self._runner.connect()  # refuse now, not at the first step of the iteration
        return self._scan(_check_text(prefix, "prefix"))

    def _scan(self, prefix: str) -> Iterator[str]:
        cursor: Any = None
        while _storable(prefix):
            page, cursor = self._runner.run(self._steps.scan, prefix, cursor, time.time())
            yield from page
            if cursor is None:
                return

    def scan_prefixes(self, prefixes: Iterable[str]) -> dict[str, list[str]]:
        """Return the keys with each of a few prefixes, sorted: with few requests where the engine can.

        This is beyond the contract, for adapters: all keys are in memory at once.
        """
        wanted = _checked_prefixes(prefixes)
        together = getattr(self._steps, "scan_prefixes", None)
        if together is None:
            return {prefix: sorted(self.scan_prefix(prefix)) for prefix in wanted}
        storable = [prefix for prefix in wanted if _storable(prefix)]
        return _by_prefix(self._runner.run(together, storable, time.time()), wanted)

    def hget(self, key: str, field: str, default: Any = None) -> Any:
        return _loads(
            self._runner.run(self._steps.hget, check_key(key), check_key(field, "field"), time.time()), default
        )

    def hset(self, key: str, field: str, value: Any) -> None:
        self._runner.run(self._steps.hset, check_key(key), check_key(field, "field"), self._dumps(value), time.time())

    def hgetall(self, key: str) -> dict[str, Any]:
        texts = self._runner.run(self._steps.hgetall, check_key(key), time.time())
        return {field: loads(text) for field, text in texts.items()}

    def hdel(self, key: str, *fields: str) -> int:
        return self._runner.run(self._steps.hdel, check_key(key), _unique(fields, "field"), time.time())

    def set_if_absent(self, key: str, value: Any, ttl: float | None = None) -> bool:
        return self._runner.run(
            self._steps.set_if_absent, check_key(key), self._dumps(value), check_optional_ttl(ttl), time.time()
        )

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        was, text, seconds = _expected(expected), self._dumps(value), check_optional_ttl(ttl)
        return self._runner.run(self._steps.compare_and_set, check_key(key), was, text, seconds, time.time())

    def incr(self, key: str, by: int = 1, *, amount: int | None = None) -> int:
        return self._runner.run(self._steps.incr, check_key(key), _by(by, amount), time.time())

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        texts = self._runner.run(self._steps.get_many, _unique(keys), time.time())
        return {key: loads(text) for key, text in texts.items()}

    def set_many(self, mapping: Mapping[str, Any], ttl: float | None = None) -> None:
        self._runner.run(self._steps.set_many, self._texts(mapping), check_optional_ttl(ttl), time.time())

    def delete_many(self, keys: Iterable[str]) -> int:
        return self._runner.run(self._steps.delete, _unique(keys), time.time())

    def clear(self) -> int:
        return self._runner.run(self._steps.clear, time.time())


class AsyncStepStateStore(_Declared, AsyncStepStore[StateSteps], AsyncStateStore):
    """[StepStateStore][] for async callers.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    async def get(self, key: str, default: Any = None) -> Any:
        return _loads(await self._runner.run(self._steps.get, check_key(key), time.time()), default)

    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        await self._runner.run(
            self._steps.set, check_key(key), self._dumps(value), check_optional_ttl(ttl), time.time()
        )

    async def delete(self, key: str) -> bool:
        return await self._runner.run(self._steps.delete, [check_key(key)], time.time()) == 1

    async def exists(self, key: str) -> bool:
        return await self._runner.run(self._steps.exists, check_key(key), time.time())

    async def ttl(self, key: str) -> float | None:
        return await self._runner.run(self._steps.ttl, check_key(key), time.time())

    async def expire(self, key: str, ttl: float) -> bool:
        seconds = check_ttl(ttl)
        return await self._runner.run(self._steps.expire, check_key(key), seconds, time.time())

    async def keys(self, pattern: str = "*") -> list[str]:
        pattern = _check_text(pattern, "pattern")
        match = compile_glob(pattern).fullmatch
        return [key async for key in self.scan_prefix(literal_prefix(pattern)) if match(key)]

    async def scan_prefix(self, prefix: str) -> AsyncIterator[str]:
        prefix = _check_text(prefix, "prefix")
        if not _storable(prefix):
            await self._runner.connect()  # a store that is closed, or nowhere, says so; else the first page does
        cursor: Any = None
        while _storable(prefix):
            page, cursor = await self._runner.run(self._steps.scan, prefix, cursor, time.time())
            for key in page:
                yield key
            if cursor is None:
                return

    async def scan_prefixes(self, prefixes: Iterable[str]) -> dict[str, list[str]]:
        """See [StepStateStore.scan_prefixes][]; where the engine cannot, all are asked for at once."""
        wanted = _checked_prefixes(prefixes)
        together = getattr(self._steps, "scan_prefixes", None)
        if together is not None:
            storable = [prefix for prefix in wanted if _storable(prefix)]
            return _by_prefix(await self._runner.run(together, storable, time.time()), wanted)

        async def keys(prefix: str) -> list[str]:
            return sorted([key async for key in self.scan_prefix(prefix)])

        from asyncio import gather

        return dict(zip(wanted, await gather(*map(keys, wanted)), strict=True))

    async def hget(self, key: str, field: str, default: Any = None) -> Any:
        return _loads(
            await self._runner.run(self._steps.hget, check_key(key), check_key(field, "field"), time.time()), default
        )

    async def hset(self, key: str, field: str, value: Any) -> None:
        await self._runner.run(
            self._steps.hset, check_key(key), check_key(field, "field"), self._dumps(value), time.time()
        )

    async def hgetall(self, key: str) -> dict[str, Any]:
        texts = await self._runner.run(self._steps.hgetall, check_key(key), time.time())
        return {field: loads(text) for field, text in texts.items()}

    async def hdel(self, key: str, *fields: str) -> int:
        return await self._runner.run(self._steps.hdel, check_key(key), _unique(fields, "field"), time.time())

    async def set_if_absent(self, key: str, value: Any, ttl: float | None = None) -> bool:
        text, seconds = self._dumps(value), check_optional_ttl(ttl)
        return await self._runner.run(self._steps.set_if_absent, check_key(key), text, seconds, time.time())

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        was, text, seconds = _expected(expected), self._dumps(value), check_optional_ttl(ttl)
        return await self._runner.run(self._steps.compare_and_set, check_key(key), was, text, seconds, time.time())

    async def incr(self, key: str, by: int = 1, *, amount: int | None = None) -> int:
        return await self._runner.run(self._steps.incr, check_key(key), _by(by, amount), time.time())

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        texts = await self._runner.run(self._steps.get_many, _unique(keys), time.time())
        return {key: loads(text) for key, text in texts.items()}

    async def set_many(self, mapping: Mapping[str, Any], ttl: float | None = None) -> None:
        await self._runner.run(self._steps.set_many, self._texts(mapping), check_optional_ttl(ttl), time.time())

    async def delete_many(self, keys: Iterable[str]) -> int:
        return await self._runner.run(self._steps.delete, _unique(keys), time.time())

    async def clear(self) -> int:
        return await self._runner.run(self._steps.clear, time.time())
