"""State stores: keys, JSON values, time to live, hashes.

``StateStore`` and ``AsyncStateStore`` have the same methods and promise the same. Values are any JSON value and keep
their type. A key holds a plain value or a hash (fields with JSON values), never both. Keys and hash fields are text of
1 to 1024 bytes in UTF-8 without NUL and lone surrogates.

The store classes of installed plugins can be imported from here too.

Capabilities that a state store may declare: ``durable``, ``shared``, ``prefix``, ``schema`` (``schema_status`` and
``migrate_schema``); see ``conversation``. And ``atomic``: ``set_if_absent``, ``compare_and_set``, ``incr`` and
``set_many`` are one step each. A class that writes these four declares it by that; in one that does not, they are made
of the abstract methods, call by call.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence._store import AsyncStore, SyncStore, declare
from praisonai_persistence.errors import WrongTypeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

__all__ = ["AsyncStateStore", "StateStore"]

_ATOMIC = ("set_if_absent", "compare_and_set", "incr", "set_many")


class StateStore(SyncStore):
    """Keys and values, for sync callers.

    Every method may raise ``InvalidValueError`` for a key that cannot be one, and those that name a plain value or a
    hash raise ``WrongTypeError`` when the key holds the other; nothing is changed then.
    """

    kind: ClassVar[str] = "state"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import complete

            complete(cls, "state", asynchronous=False)
        declare(cls, StateStore, "atomic", _ATOMIC)

    @abstractmethod
    def get(self, key: str, default: Any = None) -> Any:
        """Return the value (the caller's own copy), or ``default`` when there is no such key."""

    @abstractmethod
    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Store a value; without ``ttl`` (seconds, above 0) an earlier time to live is cleared."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove the key, plain or hash; return whether it existed."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the key exists; a stored None does."""

    @abstractmethod
    def ttl(self, key: str) -> float | None:
        """Return the seconds left, or None when the key has no time to live or does not exist."""

    @abstractmethod
    def expire(self, key: str, ttl: float) -> bool:
        """Give the key, plain or hash, a time to live in seconds; return whether it exists."""

    @abstractmethod
    def keys(self, pattern: str = "*") -> list[str]:
        """Return every key that matches a glob, each once, in no particular order.

        ``*`` any text, ``?`` one character, ``[a-z]`` one of these, ``[!x]`` one that is not, and a backslash takes
        the next character literally.
        """

    def list_keys(self, pattern: str = "*") -> list[str]:
        """Return the same as [keys][StateStore.keys]."""
        return self.keys(pattern)

    def scan_prefix(self, prefix: str) -> Iterator[str]:
        """Iterate lazily over the keys that start with ``prefix``, taken literally; ``""``: over all."""
        from praisonai_persistence._custom_methods import glob_of, key_matches

        return key_matches(self.keys(glob_of(prefix)), prefix)

    @abstractmethod
    def hget(self, key: str, field: str, default: Any = None) -> Any:
        """Return the value of a hash's field, or ``default``."""

    @abstractmethod
    def hset(self, key: str, field: str, value: Any) -> None:
        """Set a field of a hash, which comes into being with its first field; a time to live stays."""

    @abstractmethod
    def hgetall(self, key: str) -> dict[str, Any]:
        """Return every field with its value; empty when there is no such key."""

    @abstractmethod
    def hdel(self, key: str, *fields: str) -> int:
        """Remove fields; return how many existed. With its last field the key is gone."""

    def set_if_absent(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """Store the value only if the key does not exist; of many racing callers exactly one gets True."""
        if self.exists(key):
            return False
        self.set(key, value, ttl)
        return True

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        """Store ``value`` only if the key holds a value equal to ``expected`` as JSON; return whether it did.

        Numbers are equal by value (1 and 1.0), True is not 1. An absent key never matches, also not None.
        """
        from praisonai_persistence.payload import equal

        if not self.exists(key) or not equal(self.get(key), expected):
            return False
        self.set(key, value, ttl)
        return True

    def incr(self, key: str, by: int = 1, *, amount: int | None = None) -> int:
        """Add ``by`` to an integer, 0 if absent, and return the sum; a time to live stays.

        ``amount`` is another name of ``by``.

        Raises:
            WrongTypeError: the value is no integer (True and 1.0 are none).
        """
        number, step = 0, by if amount is None else amount
        if self.exists(key):
            number = self.get(key)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
        self.set(key, number + step, self.ttl(key))
        return number + step

    def decr(self, key: str, amount: int = 1) -> int:
        """Subtract ``amount`` from an integer, 0 if absent, and return the rest; see [incr][StateStore.incr]."""
        return self.incr(key, -amount if type(amount) is int else amount)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values of those keys that exist."""
        values = {key: self.get(key) for key in keys}
        return {key: value for key, value in values.items() if value is not None or self.exists(key)}

    def set_many(self, mapping: Mapping[str, Any], ttl: float | None = None) -> None:
        """Store all of the mapping, as [set][StateStore.set] does."""
        for key, value in mapping.items():
            self.set(key, value, ttl)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove keys, plain or hash; return how many existed."""
        return sum([bool(self.delete(key)) for key in dict.fromkeys(keys)])

    def get_json(self, key: str, default: Any = None) -> Any:
        """Return the same as [get][StateStore.get]: every value is JSON."""
        return self.get(key, default)

    def set_json(self, key: str, value: Any, ttl: float | None = None) -> None:
        """Do the same as [set][StateStore.set]: every value is JSON."""
        self.set(key, value, ttl)

    def clear(self) -> int:
        """Remove every key of this store's prefix, and nothing else; return how many there were."""
        return self.delete_many(self.keys())


class AsyncStateStore(AsyncStore):
    """Keys and values, for async callers: every method of [StateStore][], awaited."""

    kind: ClassVar[str] = "state"

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__module__.startswith("praisonai_persistence"):  # whose stores take everything
            from praisonai_persistence._custom import complete

            complete(cls, "state", asynchronous=True)
        declare(cls, AsyncStateStore, "atomic", _ATOMIC)

    @abstractmethod
    async def get(self, key: str, default: Any = None) -> Any:
        """See [StateStore.get][]."""

    @abstractmethod
    async def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        """See [StateStore.set][]."""

    @abstractmethod
    async def delete(self, key: str) -> bool:
        """See [StateStore.delete][]."""

    @abstractmethod
    async def exists(self, key: str) -> bool:
        """See [StateStore.exists][]."""

    @abstractmethod
    async def ttl(self, key: str) -> float | None:
        """See [StateStore.ttl][]."""

    @abstractmethod
    async def expire(self, key: str, ttl: float) -> bool:
        """See [StateStore.expire][]."""

    @abstractmethod
    async def keys(self, pattern: str = "*") -> list[str]:
        """See [StateStore.keys][]."""

    async def list_keys(self, pattern: str = "*") -> list[str]:
        """See [StateStore.list_keys][]."""
        return await self.keys(pattern)

    async def scan_prefix(self, prefix: str) -> AsyncIterator[str]:
        """See [StateStore.scan_prefix][]; for ``async for``, not awaited."""
        from praisonai_persistence._custom_methods import glob_of, key_matches

        for key in key_matches(await self.keys(glob_of(prefix)), prefix):
            yield key

    @abstractmethod
    async def hget(self, key: str, field: str, default: Any = None) -> Any:
        """See [StateStore.hget][]."""

    @abstractmethod
    async def hset(self, key: str, field: str, value: Any) -> None:
        """See [StateStore.hset][]."""

    @abstractmethod
    async def hgetall(self, key: str) -> dict[str, Any]:
        """See [StateStore.hgetall][]."""

    @abstractmethod
    async def hdel(self, key: str, *fields: str) -> int:
        """See [StateStore.hdel][]."""

    async def set_if_absent(self, key: str, value: Any, ttl: float | None = None) -> bool:
        """See [StateStore.set_if_absent][]."""
        if await self.exists(key):
            return False
        await self.set(key, value, ttl)
        return True

    async def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        """See [StateStore.compare_and_set][]."""
        from praisonai_persistence.payload import equal

        if not await self.exists(key) or not equal(await self.get(key), expected):
            return False
        await self.set(key, value, ttl)
        return True

    async def incr(self, key: str, by: int = 1, *, amount: int | None = None) -> int:
        """See [StateStore.incr][]."""
        number, step = 0, by if amount is None else amount
        if await self.exists(key):
            number = await self.get(key)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
        await self.set(key, number + step, await self.ttl(key))
        return number + step

    async def decr(self, key: str, amount: int = 1) -> int:
        """See [StateStore.decr][]."""
        return await self.incr(key, -amount if type(amount) is int else amount)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """See [StateStore.get_many][]."""
        values = {key: await self.get(key) for key in keys}
        return {key: value for key, value in values.items() if value is not None or await self.exists(key)}

    async def set_many(self, mapping: Mapping[str, Any], ttl: float | None = None) -> None:
        """See [StateStore.set_many][]."""
        for key, value in mapping.items():
            await self.set(key, value, ttl)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """See [StateStore.delete_many][]."""
        return sum([bool(await self.delete(key)) for key in dict.fromkeys(keys)])

    async def get_json(self, key: str, default: Any = None) -> Any:
        """See [StateStore.get_json][]."""
        return await self.get(key, default)

    async def set_json(self, key: str, value: Any, ttl: float | None = None) -> None:
        """See [StateStore.set_json][]."""
        await self.set(key, value, ttl)

    async def clear(self) -> int:
        """See [StateStore.clear][]."""
        return await self.delete_many(await self.keys())


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    from praisonai_persistence.registry import plugin_attribute

    return plugin_attribute("state", __name__, name)
