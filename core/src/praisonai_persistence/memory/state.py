"""State in memory."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence._attempts import ATTEMPTS, overtaken
from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.memory._data import AsyncDirectRunner, Data, open_data
from praisonai_persistence.payload import check_prefix, dumps, equal, loads
from praisonai_persistence.steps import Steps, done, reads, writes
from praisonai_persistence.stores import AsyncStepStateStore, DirectRunner, StateSteps, StepStateStore
from praisonai_persistence.stores.state import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["AsyncMemoryStateStore", "MemoryStateSteps", "MemoryStateStore"]

T = TypeVar("T")


class Entry:
    """A key: a plain value as JSON text, or a hash of them; and when it ends."""

    __slots__ = ("ends", "value")

    def __init__(self, value: str | dict[str, str], ends: float | None = None) -> None:
        self.value = value
        self.ends = ends


_GONE = Entry("", -inf)
"""Stands for a key that was deleted, until it is removed."""


class Entries(dict[str, Entry]):
    def live(self, key: str, now: float) -> Entry | None:
        """Return the entry unless it has ended; one that has is removed."""
        entry = self.get(key)
        if entry is not None and entry.ends is not None and entry.ends <= now:
            self.pop(key, None) if self.get(key) is entry else None  # in one line: see Data
            return None
        return entry

    def text(self, key: str, now: float) -> str | None:
        entry = self.live(key, now)
        if entry is None:
            return None
        if not isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a hash")
        return entry.value

    def fields(self, key: str, now: float) -> dict[str, str] | None:
        entry = self.live(key, now)
        if entry is None:
            return None
        if isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
        return entry.value


def _ends(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl


class MemoryStateSteps(StateSteps):
    """The reference of the state contract, on dicts."""

    def __init__(self, data: Data, prefix: str) -> None:
        self._data = data
        self._entries = data.table(Entries, prefix)

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        with self._data.lock:
            answer = self._entries.text(key, now)
        return done(answer)

    def _change(self, work: Callable[[], tuple[T, dict[str, Entry]]]) -> T:
        """Have ``work`` say what a change returns and the entries that it puts in, and put them in, all or none."""
        entries, data = self._entries, self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                result, changed = work()
                mine = data.turn is turn and entries.update(changed) is None
                if mine:
                    return result
        raise overtaken()

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        entries, data = self._entries, self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                entries.text(key, now)
                changed = {key: Entry(text, _ends(ttl, now))}
                mine = data.turn is turn and entries.update(changed) is None
                if mine:
                    return done(None)
        raise overtaken()

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        def work() -> tuple[int, dict[str, Entry]]:
            live = {key: _GONE for key in keys if self._entries.live(key, now)}
            return len(live), live

        with self._data.lock:
            count = self._change(work)
            for key in keys:
                self._entries.live(key, now)  # which removes it
        return done(count)

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        with self._data.lock:
            answer = self._entries.live(key, now) is not None
        return done(answer)

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        with self._data.lock:
            entry = self._entries.live(key, now)
            answer = None if entry is None or entry.ends is None else entry.ends - now
        return done(answer)

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        def work() -> tuple[bool, dict[str, Entry]]:
            entry = self._entries.live(key, now)
            return entry is not None, {} if entry is None else {key: Entry(entry.value, now + ttl)}

        return done(self._change(work))

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        with self._data.lock:
            keys = sorted(
                key
                for key in list(self._entries)
                if key.startswith(prefix) and (cursor is None or key > cursor) and self._entries.live(key, now)
            )
        return done((keys[:PAGE], keys[PAGE - 1] if len(keys) > PAGE else None))

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        with self._data.lock:
            answer = (self._entries.fields(key, now) or {}).get(field)
        return done(answer)

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        entries, data = self._entries, self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                fields = entries.fields(key, now)
                put_in = (
                    partial(entries.update, {key: Entry({field: text})})
                    if fields is None
                    else partial(fields.update, {field: text})
                )
                mine = data.turn is turn and put_in() is None
                if mine:
                    return done(None)
        raise overtaken()

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        with self._data.lock:
            answer = dict(self._entries.fields(key, now) or {})
        return done(answer)

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        entries, data = self._entries, self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                stored = entries.fields(key, now) or {}
                gone = dict.fromkeys(field for field in fields if field in stored)
                if not gone:
                    return done(0)
                # One field is taken out in place, several by a copy without them: either is one step.
                one = next(iter(gone)) if len(gone) == 1 else None
                take_out: Callable[[], Any]
                if len(stored) == len(gone):
                    take_out = partial(entries.pop, key, None)
                elif one is not None:
                    take_out = partial(stored.pop, one, None)
                else:
                    left = {name: text for name, text in list(stored.items()) if name not in gone}
                    take_out = partial(setattr, entries.get(key), "value", left)
                mine = data.turn is turn and (take_out(), True)[1]
                if mine:
                    return done(len(gone))
        raise overtaken()

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        def work() -> tuple[bool, dict[str, Entry]]:
            if self._entries.text(key, now) is not None:
                return False, {}
            return True, {key: Entry(text, _ends(ttl, now))}

        return done(self._change(work))

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        def work() -> tuple[bool, dict[str, Entry]]:
            stored = self._entries.text(key, now)
            if stored is None or not equal(loads(stored), expected):
                return False, {}
            return True, {key: Entry(text, _ends(ttl, now))}

        return done(self._change(work))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        def work() -> tuple[int, dict[str, Entry]]:
            text = self._entries.text(key, now)
            number = 0 if text is None else loads(text)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            number += by
            entry = None if text is None else self._entries.get(key)
            return number, {key: Entry(dumps(number), None if entry is None else entry.ends)}

        return done(self._change(work))

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        with self._data.lock:
            for _ in ATTEMPTS:
                turn = self._data.turn
                texts = {key: self._entries.text(key, now) for key in keys}
                if self._data.turn is turn:  # else half of a batch may be among them
                    return done({key: text for key, text in texts.items() if text is not None})
        raise overtaken()

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        def work() -> tuple[None, dict[str, Entry]]:
            for key in texts:
                self._entries.text(key, now)
            return None, {key: Entry(text, _ends(ttl, now)) for key, text in texts.items()}

        return done(self._change(work))

    @writes
    def clear(self, now: float) -> Steps[int]:
        entries, data = self._entries, self._data
        with data.lock:
            for _ in ATTEMPTS:
                data.turn = turn = object()
                live = sum(1 for key in list(entries) if entries.live(key, now))
                mine = data.turn is turn and (entries.clear(), True)[1]  # type: ignore[func-returns-value]
                if mine:
                    return done(live)
        raise overtaken()


class _StateOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"prefix"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryStateSteps:
        return MemoryStateSteps(open_data(url, name), check_prefix(table_prefix))


class MemoryStateStore(_StateOptions, StepStateStore):
    """State in memory; arguments as [MemoryConversationStore][]."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryStateStore(_StateOptions, AsyncStepStateStore):
    """[MemoryStateStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), AsyncDirectRunner())
