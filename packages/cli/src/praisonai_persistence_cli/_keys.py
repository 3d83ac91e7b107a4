"""State keys with what they hold: reading them, writing them, copying them."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.errors import ConflictError, InvalidValueError, SerializationError, WrongTypeError
from praisonai_persistence_cli._copying import AT_ONCE, Outcome, Plan, batches, in_threads
from praisonai_persistence_cli._reading import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from praisonai_persistence.state import StateStore

__all__ = ["Entry", "Held", "copy_state", "entries", "held", "held_by", "put_entries"]

_ABSENT = object()


class Held(NamedTuple):
    """What a state key holds.

    Attributes:
        is_hash: whether that are fields.
        value: a JSON value; of a hash, its fields with their values.
    """

    is_hash: bool
    value: Any

    def digest(self, key: str) -> str:
        """The digest of the key with what it holds; the time that it has left is no part of it."""
        return hashlib.sha256(canonical([key, self.is_hash, self.value])).hexdigest()


class Entry(NamedTuple):
    """A key.

    Attributes:
        held: what it holds.
        ttl: seconds that it has left, or None.
    """

    held: Held
    ttl: float | None


def held(store: StateStore, keys: Sequence[str]) -> dict[str, Held]:
    """Return what keys hold; those that do not exist are left out."""
    try:
        return {key: Held(False, value) for key, value in store.get_many(keys).items()}
    except WrongTypeError:  # there are hashes among them
        return {key: one for key in keys if (one := held_by(store, key)) is not None}


def held_by(store: StateStore, key: str) -> Held | None:
    """Return what one key holds, None if it does not exist."""
    try:
        value = store.get(key, _ABSENT)
    except WrongTypeError:
        fields = store.hgetall(key)
        return Held(True, fields) if fields else None
    return None if value is _ABSENT else Held(False, value)


def entries(store: StateStore, keys: Iterable[str]) -> Iterator[dict[str, Entry]]:
    """Yield keys with what they hold, some hundred at a time; those that do not exist are left out."""
    for some in batches(keys, AT_ONCE):
        yield entries_of(store, some)


def entries_of(store: StateStore, keys: Sequence[str]) -> dict[str, Entry]:
    """Return the same for keys that are few enough to be read at once."""
    # Before the values: the other way round, a key whose time ends in between would live for ever in a copy.
    lives = {key: store.ttl(key) for key in keys}
    return {key: Entry(one, lives[key]) for key, one in held(store, keys).items()}


def copy_state(source: StateStore, target: StateStore, plan: Plan) -> Outcome:
    """Copy all keys with what they hold and the time that they have left."""
    outcome = Outcome()
    lock = threading.Lock()

    def work(keys: list[str], check: Callable[[], None]) -> None:
        put_entries(target, entries_of(source, keys), plan, outcome, lock)
        check()

    if plan.progress.shown:
        plan.progress.expect(items=sum(1 for _ in source.scan_prefix("")))
    in_threads(batches(source.scan_prefix(""), AT_ONCE), work, plan.workers)
    return outcome


def put_entries(target: StateStore, ours: dict[str, Entry], plan: Plan, outcome: Outcome, lock: threading.Lock) -> None:
    """Write what the target lacks of some keys, and count what became of them.

    Args:
        target: the store.
        ours: the keys, few enough to be read back at once.
        plan: how.
        outcome: what is counted.
        lock: around the counting.
    """
    theirs = held(target, list(ours))
    conflicts: dict[str, str] = {}
    written = []
    for key, entry in ours.items():
        try:
            if _put_key(target, key, entry.held, theirs.get(key), entry.ttl, plan.update):
                written.append(key)
        except (ConflictError, WrongTypeError, SerializationError, InvalidValueError) as error:
            conflicts[key] = f"key {key!r}: {error}"
    if plan.verify:
        stored = held(target, written)
        for key in written:
            # With a time to live it may be over by now.
            if key not in stored and ours[key].ttl is not None:
                continue
            if key not in stored or stored[key].digest(key) != ours[key].held.digest(key):
                conflicts[key] = f"key {key!r} reads back otherwise than it was written"
    with lock:
        outcome.conflicts += conflicts.values()
        for key, entry in ours.items():
            if key not in conflicts:
                outcome.units += 1
                outcome.total.add(entry.held.digest(key))
        outcome.written += len(set(written) - conflicts.keys())
        outcome.items = outcome.units
    plan.progress.add(items=len(ours))


def _put_key(target: StateStore, key: str, ours: Held, theirs: Held | None, ttl: float | None, update: bool) -> bool:
    """Write a key if need be; return whether anything was written.

    Raises:
        ConflictError: the target's key holds something else.
    """
    if theirs is None and not ours.is_hash:
        if target.set_if_absent(key, ours.value, ttl):
            return True
        theirs = held(target, [key]).get(key)  # somebody was quicker
    if theirs is not None and theirs.digest(key) == ours.digest(key):
        if ttl is not None and ours.is_hash and target.ttl(key) is None:  # a run that was killed before this
            target.expire(key, ttl)
        return False
    fields = theirs.value if theirs is not None and theirs.is_hash else {}
    # A hash is written field by field, so a part of it is a beginning.
    begun = ours.is_hash and all(
        name in ours.value and canonical(value) == canonical(ours.value[name]) for name, value in fields.items()
    )
    if theirs is not None and not (theirs.is_hash and begun):
        if not update:
            raise ConflictError("the target has it already, with another value; it was left as it is")
        if theirs.is_hash != ours.is_hash:
            target.delete(key)
    if not ours.is_hash:
        target.set(key, ours.value, ttl)
        return True
    for name, value in ours.value.items():
        if name not in fields or canonical(fields[name]) != canonical(value):
            target.hset(key, name, value)
    if gone := fields.keys() - ours.value.keys():
        target.hdel(key, *gone)
    if ttl is not None:
        target.expire(key, ttl)
    return True
