"""State stores with one mistake each. The suite must catch every one of them.

A mutant is a class: its first line says what it does wrong, ``clause`` is the one whose tests must fail. Most override
one operation of the reference; ``Plain`` overrides nothing, and passes everything.
"""

from __future__ import annotations

import fnmatch
import uuid
from typing import Any, ClassVar

from mutants.running import Mutant, pause

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.memory import MemoryStateSteps, MemoryStateStore
from praisonai_persistence.memory._data import open_data
from praisonai_persistence.memory.state import Entry
from praisonai_persistence.payload import check_prefix, dumps, equal, loads
from praisonai_persistence.steps import done, reads, writes
from praisonai_persistence.stores import AsyncStepStateStore, DirectRunner, ThreadRunner
from praisonai_persistence.stores.state import PAGE


class Plain(MemoryStateStore):
    """Nothing."""

    clause: ClassVar[str] = ""
    steps: ClassVar[type[MemoryStateSteps]] = MemoryStateSteps

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(url, name=name, table_prefix=table_prefix)
        self._steps = self.steps(open_data(url, name), check_prefix(table_prefix))


class AsyncPlain(AsyncStepStateStore):
    """The async twin of the mutants that are mistakes of the steps: on threads, so that tasks do get mixed up."""

    backend: ClassVar[str] = "memory"
    capabilities: ClassVar[frozenset[str]] = frozenset({"prefix"})
    steps: ClassVar[type[MemoryStateSteps]] = MemoryStateSteps

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self.steps(open_data(url, name), check_prefix(table_prefix)), ThreadRunner(DirectRunner()))


# -------------------------------------------------------------------------------------------------------------- values


class TrueIsOne(Plain):
    """Stores True as 1."""

    clause = "S01"

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, int(value) if isinstance(value, bool) else value, ttl)


class WholeFloatsAreIntegers(Plain):
    """Gives 1.0 back as 1."""

    clause = "S01"

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        return int(value) if isinstance(value, float) and value.is_integer() else value


class NumbersInTextBecomeNumbers(Plain):
    """Gives "123" back as 123."""

    clause = "S01"

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value


class SurrogatesAreReplaced(Plain):
    """Writes lone surrogates as question marks."""

    clause = "S01"

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, value.encode(errors="replace").decode() if isinstance(value, str) else value, ttl)


class NotANumberIsNull(Plain):
    """Stores NaN as None instead of refusing it."""

    clause = "S01"

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, None if isinstance(value, float) and value != value else value, ttl)


class ReturnsWhatItHolds(Plain):
    """Keeps, and hands out, the caller's own object."""

    clause = "S01"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: dict[str, tuple[Entry, Any]] = {}

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, ttl)
        self.held[key] = self._steps._entries[key], value

    def get(self, key: str, default: Any = None) -> Any:
        value = super().get(key, default)
        entry, held = self.held.get(key, (None, None))
        return held if entry is not None and entry is self._steps._entries.get(key) else value


class NoneIsAbsent(Plain):
    """Says that a stored None does not exist."""

    clause = "S02"

    def exists(self, key: str) -> bool:
        return super().get(key) is not None


class DeleteAlwaysSucceeds(Plain):
    """Returns True for a key that was not there."""

    clause = "S02"

    def delete(self, key: str) -> bool:
        super().delete(key)
        return True


# --------------------------------------------------------------------------------------------------------- time to live


class SetKeepsTheOldTime(Plain):
    """A set without a time to live keeps the earlier one."""

    clause = "S03"

    class steps(MemoryStateSteps):
        @writes
        def set(self, key, text, ttl, now):
            with self._data.lock:
                entry = self._entries.live(key, now)
                self._entries.text(key, now)
                ends = entry.ends if entry is not None and ttl is None else None if ttl is None else now + ttl
                self._entries[key] = Entry(text, ends)
            return done(None)


class ExpiredKeysAreListed(Plain):
    """Lists keys whose time is up."""

    clause = "S03"

    class steps(MemoryStateSteps):
        @reads
        def scan(self, prefix, cursor, now):
            keys = sorted(key for key in self._entries if key.startswith(prefix) and (cursor is None or key > cursor))
            return done((keys[:PAGE], keys[PAGE - 1] if len(keys) > PAGE else None))


class SecondsAreWhole(Plain):
    """Rounds the time to live to whole seconds."""

    clause = "S03"

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, ttl and (ttl if not isinstance(ttl, float) or not ttl > 0 else max(1, round(ttl))))


class ZeroMeansForever(Plain):
    """Takes a time to live of 0 for none."""

    clause = "S03"

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, None if ttl == 0 and ttl is not False else ttl)


class ExpireAlwaysSucceeds(Plain):
    """Returns True from expire for a key that is not there."""

    clause = "S04"

    def expire(self, key: str, ttl: float) -> bool:
        super().expire(key, ttl)
        return True


class NoTimeIsMinusOne(Plain):
    """Returns -1 where a key has no time to live."""

    clause = "S04"

    def ttl(self, key: str) -> float | None:
        left = super().ttl(key)
        return -1.0 if left is None and self.exists(key) else left


class IncrementClearsTheTime(Plain):
    """Incrementing makes a key live forever."""

    clause = "S04"

    class steps(MemoryStateSteps):
        @writes
        def incr(self, key, by, now):
            with self._data.lock:
                text = self._entries.text(key, now)
                number = 0 if text is None else loads(text)
                if type(number) is not int:
                    raise WrongTypeError("no integer")
                self._entries[key] = Entry(dumps(number + by))
            return done(number + by)


# -------------------------------------------------------------------------------------------------------- finding keys


class OnePageOfKeys(Plain):
    """Lists the first page only."""

    clause = "S05"

    class steps(MemoryStateSteps):
        @reads
        def scan(self, prefix, cursor, now):
            page, _ = yield from super().scan(prefix, cursor, now)
            return page, None


class PagesOverlap(Plain):
    """Lists the last key of each page twice."""

    clause = "S05"

    class steps(MemoryStateSteps):
        @reads
        def scan(self, prefix, cursor, now):
            page, following = yield from super().scan(prefix, cursor, now)
            return ([cursor, *page] if cursor is not None else page), following


class PrefixIsAPattern(Plain):
    """Takes ``_`` and ``%`` of a prefix for wildcards, as LIKE does."""

    clause = "S05"

    class steps(MemoryStateSteps):
        @reads
        def scan(self, prefix, cursor, now):
            keys, _ = yield from super().scan("", None, now)
            escaped = prefix.translate(str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]", "_": "?", "%": "*"}))
            return [key for key in keys if fnmatch.fnmatchcase(key, escaped + "*")], None


class GlobsIgnoreCase(Plain):
    """Matches patterns whatever the case."""

    clause = "S05"

    def keys(self, pattern: str = "*") -> list[str]:
        exact = super().keys(pattern)
        return [key for key in super().keys("*") if key.lower() in {item.lower() for item in exact}]


class NegationByCaret(Plain):
    """Takes ``[^x]`` for ``[!x]``."""

    clause = "S05"

    def keys(self, pattern: str = "*") -> list[str]:
        return super().keys(pattern.replace("[^", "[!") if isinstance(pattern, str) else pattern)


class ScanReadsOffsets(Plain):
    """Pages by offset, so that deleting during a scan skips keys."""

    clause = "S05"

    class steps(MemoryStateSteps):
        @reads
        def scan(self, prefix, cursor, now):
            offset = cursor or 0
            keys = sorted(key for key in self._entries if key.startswith(prefix) and self._entries.live(key, now))
            page = keys[offset : offset + PAGE]
            return done((page, offset + PAGE if len(page) == PAGE else None))


# -------------------------------------------------------------------------------------------------------------- hashes


class EmptyHashStays(Plain):
    """Keeps a hash whose last field is gone."""

    clause = "S06"

    class steps(MemoryStateSteps):
        @writes
        def hdel(self, key, fields, now):
            stored = self._entries.fields(key, now) or {}
            return done(len([field for field in fields if stored.pop(field, None) is not None]))


class FieldsOverwriteEachOther(Plain):
    """Writes the whole hash back, so that racing writers lose fields."""

    clause = "S06"

    class steps(MemoryStateSteps):
        @writes
        def hset(self, key, field, text, now):
            fields = dict(self._entries.fields(key, now) or {})
            pause()
            fields[field] = text
            entry = self._entries.live(key, now)
            self._entries[key] = Entry(fields, entry and entry.ends)
            return done(None)


class RepeatedFieldsCount(Plain):
    """Counts a field as often as it is named."""

    clause = "S06"

    def hdel(self, key: str, *fields: str) -> int:
        there = set(self.hgetall(key))
        super().hdel(key, *fields)
        return sum(field in there for field in fields)


class HashAndFieldRunTogether(Plain):
    """Keeps a field under key:field, so that fields of other hashes show up."""

    clause = "S06"

    def hgetall(self, key: str) -> dict[str, Any]:
        found = super().hgetall(key)
        for other in self.keys():
            if other != key and other.startswith("o") and key == "hash" and len(found) > 1:
                found.update({f"{other}:{field}": 1 for field in super().hgetall(other)})
        return found


class SetReplacesAHash(Plain):
    """Silently overwrites a hash with a plain value."""

    clause = "S07"

    class steps(MemoryStateSteps):
        @writes
        def set(self, key, text, ttl, now):
            with self._data.lock:
                self._entries[key] = Entry(text, None if ttl is None else now + ttl)
            return done(None)


class GetOfAHashIsNone(Plain):
    """Returns the default for a hash."""

    clause = "S07"

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return super().get(key, default)
        except WrongTypeError:
            return default


class BatchStopsAtAHash(Plain):
    """Writes the part of set_many that comes before a hash."""

    clause = "S07"

    class steps(MemoryStateSteps):
        @writes
        def set_many(self, texts, ttl, now):
            for key, text in texts.items():
                yield from self.set(key, text, ttl, now)


# -------------------------------------------------------------------------------------------------------------- atomic


class LosesIncrements(Plain):
    """Reads, then writes."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def incr(self, key, by, now):
            text = self._entries.text(key, now)
            number = 0 if text is None else loads(text)
            if type(number) is not int:
                raise WrongTypeError("no integer")
            pause()
            self._entries.setdefault(key, Entry("")).value = dumps(number + by)
            return done(number + by)


class ManyWinners(Plain):
    """Checks that the key is absent, then writes."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def set_if_absent(self, key, text, ttl, now):
            if self._entries.text(key, now) is not None:
                return done(False)
            pause()
            self._entries[key] = Entry(text, None if ttl is None else now + ttl)
            return done(True)


class ManySwaps(Plain):
    """Compares, then sets."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def compare_and_set(self, key, expected, text, ttl, now):
            stored = self._entries.text(key, now)
            if stored is None or not equal(loads(stored), expected):
                return done(False)
            pause()
            self._entries[key] = Entry(text, None if ttl is None else now + ttl)
            return done(True)


class AbsentMatchesNone(Plain):
    """Takes an absent key for None in compare_and_set."""

    clause = "S08"

    def compare_and_set(self, key: str, expected: Any, value: Any, ttl: float | None = None) -> bool:
        if expected is None and not self.exists(key):
            self.set(key, value, ttl)
            return True
        return super().compare_and_set(key, expected, value, ttl)


class ComparesAsPython(Plain):
    """Takes True for 1 in compare_and_set."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def compare_and_set(self, key, expected, text, ttl, now):
            with self._data.lock:
                stored = self._entries.text(key, now)
                if stored is None or loads(stored) != expected:
                    return done(False)
                self._entries[key] = Entry(text, None if ttl is None else now + ttl)
            return done(True)


class ComparesText(Plain):
    """Compares JSON as text, so that 1 and 1.0, and other orders of keys, differ."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def compare_and_set(self, key, expected, text, ttl, now):
            with self._data.lock:
                if self._entries.text(key, now) != dumps(expected):
                    return done(False)
                self._entries[key] = Entry(text, None if ttl is None else now + ttl)
            return done(True)


class IncrementsAnything(Plain):
    """Adds to True and to 1.0."""

    clause = "S08"

    class steps(MemoryStateSteps):
        @writes
        def incr(self, key, by, now):
            with self._data.lock:
                text = self._entries.text(key, now)
                number = 0 if text is None else loads(text)
                if not isinstance(number, (int, float)):
                    raise WrongTypeError("no number")
                self._entries.setdefault(key, Entry("")).value = dumps(int(number) + by)
            return done(int(number) + by)


class IntegersOfSixtyFourBits(Plain):
    """Wraps around at 2**63."""

    clause = "S08"

    def incr(self, key: str, by: int = 1) -> int:
        number = super().incr(key, by)
        wrapped = (number + 2**63) % 2**64 - 2**63
        self.set(key, wrapped)
        return wrapped


# ---------------------------------------------------------------------------------------------------- many, clear, keys


class ManyWithoutNone(Plain):
    """Leaves stored Nones out of get_many."""

    clause = "S09"

    def get_many(self, keys: Any) -> dict[str, Any]:
        return {key: value for key, value in super().get_many(keys).items() if value is not None}


class RepeatedKeysCount(Plain):
    """Counts a key as often as it is named."""

    clause = "S09"

    def delete_many(self, keys: Any) -> int:
        names = keys if isinstance(keys, str) else list(keys)
        there = set(super().get_many([])) if isinstance(names, str) else {key for key in names if self.exists(key)}
        removed = super().delete_many(names)
        return removed + sum(names.count(key) - 1 for key in there)


class BatchStopsAtARefusal(Plain):
    """Writes the part of set_many that comes before a refused key."""

    clause = "S09"

    def set_many(self, mapping: Any, ttl: float | None = None) -> None:
        for key, value in mapping.items():
            self.set(key, value, ttl)
        super().set_many({}, ttl)


class ClearsEverything(Plain):
    """Removes the keys of every prefix."""

    clause = "S10"

    class steps(MemoryStateSteps):
        @writes
        def clear(self, now):
            count = sum(1 for key in list(self._entries) if self._entries.live(key, now))
            for entries in self._data.tables.values():
                entries.clear()
            return done(count)


class ClearCountsTheExpired(Plain):
    """Counts keys whose time is up."""

    clause = "S03"

    class steps(MemoryStateSteps):
        @writes
        def clear(self, now):
            count = len(self._entries)
            self._entries.clear()
            return done(count)


class PrefixesRunTogether(Plain):
    """Writes prefix and key one after the other, so that two prefixes can name one key."""

    clause = "S11"

    class steps(MemoryStateSteps):
        def __init__(self, data, prefix):
            super().__init__(data, "")
            self.prefix = prefix

        @writes
        def set(self, key, text, ttl, now):
            return super().set(self.prefix + key, text, ttl, now)

        @reads
        def get(self, key, now):
            return super().get(self.prefix + key, now)


class KeysIgnoreCase(Plain):
    """Takes keys that differ in case for one."""

    clause = "S11"

    class steps(MemoryStateSteps):
        @writes
        def set_if_absent(self, key, text, ttl, now):
            return super().set_if_absent(
                next((k for k in self._entries if k.lower() == key.lower()), key), text, ttl, now
            )


class KeysAreTrimmed(Plain):
    """Takes keys that differ in trailing space for one."""

    clause = "S11"

    class steps(MemoryStateSteps):
        @writes
        def set_if_absent(self, key, text, ttl, now):
            taken = any(k.rstrip(" ") == key.rstrip(" ") for k in self._entries)
            return done(False) if taken else super().set_if_absent(key, text, ttl, now)


class AnyKeyGoes(Plain):
    """Does not check the keys of exists."""

    clause = "S11"

    def exists(self, key: str) -> bool:
        try:
            return super().exists(key)
        except ValueError:
            return False


# ----------------------------------------------------------------------------------------------------------- S12, model


class ReadsACache(Plain):
    """Does not see what another store object wrote."""

    clause = "S12"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cache: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self.cache:
            value = super().get(key, default)
            if not self.exists(key):
                return value
            self.cache[key] = value
        super().exists(key)
        return self.cache[key]

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        super().set(key, value, ttl)
        self.cache.pop(key, None)


class WorksAfterClose(Plain):
    """Answers exists when it is closed."""

    clause = "S12"

    def exists(self, key: str) -> bool:
        return key in self._steps._entries


class ClosesTheOthers(Plain):
    """Closing one store closes those on the same data."""

    clause = "S12"
    closed: ClassVar[set[int]] = set()

    def close(self) -> None:
        self.closed.add(id(self._steps._data))
        super().close()

    def get(self, key: str, default: Any = None) -> Any:
        if id(self._steps._data) in self.closed:
            self._runner.close()
        return super().get(key, default)


class ConnectsWhenConstructed(Plain):
    """Opens a file in its constructor."""

    clause = "S12"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with open("/dev/null", "w"):
            pass


class ChecksPrefixesLate(Plain):
    """Takes any prefix."""

    clause = "S12"

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(url, name=name)
        self._steps = self.steps(open_data(url, name), str(table_prefix))


class DeclaresTooMuch(Plain):
    """Declares that processes can share it."""

    clause = "S12"
    capabilities = frozenset({"prefix", "shared"})


class DeclaresDurability(Plain):
    """Declares that its data survive the process."""

    clause = "S12"
    capabilities = frozenset({"prefix", "durable"})

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(name=f"{name}-{uuid.uuid4()}", table_prefix=table_prefix)  # each store has its own


class MixesUpTwoCalls(Plain):
    """Keeps the key of the call under way in the store, where another thread finds it."""

    clause = "S12"

    def get(self, key: str, default: Any = None) -> Any:
        self.current = key
        pause()
        return super().get(self.current, default)


class ForgetsTheTimeOfAHash(Plain):
    """Writing a field clears the time to live of a hash."""

    clause = "model"

    class steps(MemoryStateSteps):
        @writes
        def hset(self, key, field, text, now):
            with self._data.lock:
                fields = dict(self._entries.fields(key, now) or {})
                fields[field] = text
                self._entries[key] = Entry(fields)
            return done(None)


# Where tasks race, the suite must catch these on async stores too.
class AsyncFieldsOverwriteEachOther(AsyncPlain):
    steps = FieldsOverwriteEachOther.steps


class AsyncLosesIncrements(AsyncPlain):
    steps = LosesIncrements.steps


class AsyncManyWinners(AsyncPlain):
    steps = ManyWinners.steps


class AsyncManySwaps(AsyncPlain):
    steps = ManySwaps.steps


ALL: list[Mutant] = [
    Mutant(name, item.clause, name, f"Async{name}" if item.clause and f"Async{name}" in globals() else "")
    for name, item in list(globals().items())
    if isinstance(item, type) and issubclass(item, Plain)
]
RIGHT = [
    ALL.pop(0),
    *(Mutant(f"Plain{clause}", clause, async_="AsyncPlain") for clause in ("S06", "S08")),
]
"""Stores without a mistake, that must pass: everything, and what the mutants have to fail on async stores."""
