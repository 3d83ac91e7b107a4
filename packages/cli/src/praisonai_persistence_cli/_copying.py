"""Copying the stores of the three kinds, from any backend to any other.

All of it can be killed and started again, and run twice at once: each thing is written only where it is missing, by an
operation of the contract that never replaces anything (create, append, set if absent, insert), and compared where it is
there. What differs in the target is a conflict, and stays as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence.errors import (
    CollectionExistsError,
    ConflictError,
    DocumentExistsError,
    InvalidValueError,
    SerializationError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence_cli._reading import Total, all_sessions, canonical, message_pages
from praisonai_persistence_cli._writing import REFUSALS, put_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.knowledge import CollectionInfo, KnowledgeStore
    from praisonai_persistence.records import KnowledgeDocument
    from praisonai_persistence.state import StateStore

__all__ = ["Outcome", "Plan", "copy_conversations", "copy_knowledge", "copy_state"]

T = TypeVar("T")

_AT_ONCE = 200  # state keys, or documents, at a time
_TOLERANCE = 1e-4  # of the parts of an embedding that an engine keeps in its own way (normalised, as 32-bit floats)


@dataclass(frozen=True)
class Plan:
    """How to copy.

    Attributes:
        workers: threads.
        update: whether what the target has with other content is brought up to date, where that loses no message.
        verify: whether everything written is read back.
        progress: called, by any worker, with the number of things that are in the target now.
    """

    workers: int = 4
    update: bool = False
    verify: bool = True
    progress: Callable[[int], None] = lambda _: None


@dataclass
class Outcome:
    """What a copy did.

    Attributes:
        units: sessions, keys or collections that are in the target as they are in the source.
        items: messages, keys or documents in them.
        written: how many of the items were not there before.
        total: the digest of all units.
        conflicts: a sentence for every unit that is not.
    """

    units: int = 0
    items: int = 0
    written: int = 0
    total: Total = field(default_factory=Total)
    conflicts: list[str] = field(default_factory=list)


class _Stopped(Exception):  # noqa: N818  no error
    """Another worker failed, or Ctrl-C was pressed."""


def _in_threads(things: Iterable[T], work: Callable[[T, Callable[[], None]], None], workers: int) -> None:
    """Do ``work`` for each thing; the first error ends all.

    Args:
        things: read by one worker at a time.
        work: is also given a function to call now and then, which raises when it is to stop.
        workers: how many threads.
    """
    lock = threading.Lock()
    stopping = threading.Event()
    errors: list[BaseException] = []
    iterator = iter(things)
    missing = object()

    def check() -> None:
        if stopping.is_set():
            raise _Stopped

    def run() -> None:
        try:
            while not stopping.is_set():
                with lock:
                    thing: Any = next(iterator, missing)
                if thing is missing:
                    return
                work(thing, check)
        except _Stopped:
            return
        except BaseException as error:  # noqa: BLE001  raised again below, in the thread that waits
            errors.append(error)
            stopping.set()

    threads = [threading.Thread(target=run, name=f"copy-{number}") for number in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C: what is being written is finished first
        stopping.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    if errors:
        raise errors[0]


def _batches(things: Iterable[T], length: int) -> Iterator[list[T]]:
    iterator = iter(things)
    while some := list(itertools.islice(iterator, length)):
        yield some


# ------------------------------------------------------------------------------------------------------- conversation


def copy_conversations(source: ConversationStore, target: ConversationStore, plan: Plan) -> Outcome:
    """Copy all sessions with their messages.

    Oldest first: targets set ``updated_at`` to the time of the writing, so that their order of listing stays (nearly,
    with several workers). ``seq`` begins at 1 and has no gaps in the target, whatever was deleted in the source.
    """
    outcome = Outcome()
    lock = threading.Lock()
    ids = list(dict.fromkeys(session.session_id for session in all_sessions(source)))
    ids.reverse()

    def work(session_id: str, check: Callable[[], None]) -> None:
        session = source.get_session(session_id)
        if session is None:  # deleted since it was listed
            return

        def progress(number: int) -> None:
            plan.progress(number)
            check()

        try:
            put = put_session(
                target,
                session,
                message_pages(source, session_id),
                update=plan.update,
                verify=plan.verify,
                progress=progress,
            )
        except REFUSALS as error:
            with lock:
                outcome.conflicts.append(str(error))
            return
        with lock:
            outcome.units += 1
            outcome.items += put.messages
            outcome.written += put.written
            outcome.total.add(put.digest)

    _in_threads(ids, work, plan.workers)
    return outcome


# -------------------------------------------------------------------------------------------------------------- state

_ABSENT = object()


class _Held(NamedTuple):
    """What a state key holds."""

    is_hash: bool
    value: Any

    def digest(self, key: str) -> str:
        """The digest of the key with what it holds; the time that it has left is no part of it."""
        return hashlib.sha256(canonical([key, self.is_hash, self.value])).hexdigest()


def _held(store: StateStore, keys: Sequence[str]) -> dict[str, _Held]:
    """Return what keys hold; those that do not exist are left out."""
    try:
        return {key: _Held(False, value) for key, value in store.get_many(keys).items()}
    except WrongTypeError:  # there are hashes among them
        found = {}
        for key in keys:
            try:
                value = store.get(key, _ABSENT)
                held = None if value is _ABSENT else _Held(False, value)
            except WrongTypeError:
                fields = store.hgetall(key)
                held = _Held(True, fields) if fields else None
            if held is not None:
                found[key] = held
        return found


def copy_state(source: StateStore, target: StateStore, plan: Plan) -> Outcome:
    """Copy all keys with what they hold and the time that they have left."""
    outcome = Outcome()
    lock = threading.Lock()

    def work(keys: list[str], check: Callable[[], None]) -> None:
        # Before the values: the other way round, a key whose time ends in between would live for ever in the target.
        lives = {key: source.ttl(key) for key in keys}
        ours = _held(source, keys)
        theirs = _held(target, list(ours))
        conflicts: dict[str, str] = {}
        written = []
        for key, held in ours.items():
            try:
                if _put_key(target, key, held, theirs.get(key), lives[key], plan.update):
                    written.append(key)
            except (ConflictError, WrongTypeError, SerializationError, InvalidValueError) as error:
                conflicts[key] = f"key {key!r}: {error}"
        if plan.verify:
            stored = _held(target, written)
            for key in written:
                # With a time to live it may be over by now.
                if key not in stored and lives[key] is not None:
                    continue
                if key not in stored or stored[key].digest(key) != ours[key].digest(key):
                    conflicts[key] = f"key {key!r} reads back otherwise than it was written"
        with lock:
            outcome.conflicts += conflicts.values()
            for key, held in ours.items():
                if key not in conflicts:
                    outcome.units += 1
                    outcome.total.add(held.digest(key))
            outcome.written += len(set(written) - conflicts.keys())
            outcome.items = outcome.units
        plan.progress(len(ours))
        check()

    _in_threads(_batches(source.scan_prefix(""), _AT_ONCE), work, plan.workers)
    return outcome


def _put_key(target: StateStore, key: str, ours: _Held, theirs: _Held | None, ttl: float | None, update: bool) -> bool:
    """Write a key if need be; return whether anything was written.

    Raises:
        ConflictError: the target's key holds something else.
    """
    if theirs is None and not ours.is_hash:
        if target.set_if_absent(key, ours.value, ttl):
            return True
        theirs = _held(target, [key]).get(key)  # somebody was quicker
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


# ---------------------------------------------------------------------------------------------------------- knowledge


def copy_knowledge(source: KnowledgeStore, target: KnowledgeStore, plan: Plan) -> Outcome:
    """Copy all collections with their documents.

    The contract has no listing of documents, so one search without a limit finds their ids; where an engine's search
    does not find all of them, the collection is not copied.
    """
    outcome = Outcome()
    for name in source.list_collections():
        info = source.get_collection(name)
        try:
            target.create_collection(name, info.dimension, info.distance, info.metadata)
        except CollectionExistsError as error:
            outcome.conflicts.append(f"collection {name!r}: {error}")
            continue
        _copy_collection(source, target, info, plan, outcome)
    return outcome


def _copy_collection(
    source: KnowledgeStore, target: KnowledgeStore, info: CollectionInfo, plan: Plan, outcome: Outcome
) -> None:
    name = info.name
    count = source.count(name)
    query = [1.0] + [0.0] * (info.dimension - 1)
    ids = sorted(document.id for document in source.search(name, query, limit=count)) if count else []
    if len(ids) < count:
        raise UnsupportedOperationError(
            f"collection {name!r} of the source has {count} documents, and a search for all of them finds {len(ids)}: "
            f"the search of this engine is approximate, so the collection cannot be read whole"
        )
    lock = threading.Lock()
    before = len(outcome.conflicts)
    digest = hashlib.sha256(canonical([name, info.dimension, info.distance, info.metadata]))
    total = Total([digest.hexdigest()])

    def work(some: list[str], check: Callable[[], None]) -> None:
        ours = {document.id: document for document in source.get(name, some)}
        theirs = {document.id: document for document in target.get(name, list(ours))}
        new = [document for document in ours.values() if document.id not in theirs]
        other = [item for item in theirs if not _same(ours[item], theirs[item], info.distance)]
        conflicts = {} if plan.update else dict.fromkeys(other, "the target has it already, with other content")
        written = list(new)
        if new:
            try:
                target.insert(name, new)
            except DocumentExistsError:  # somebody was quicker
                written = [document for document in new if _insert(target, name, document)]
        if plan.update and other:
            target.upsert(name, [ours[item] for item in other])
            written += [ours[item] for item in other]
        if plan.verify:
            wanted = dict.fromkeys(document.id for document in (*new, *written))
            stored = {document.id: document for document in target.get(name, list(wanted))}
            for document in (*new, *written):
                there = stored.get(document.id)
                if there is None or not _same(document, there, info.distance):
                    conflicts[document.id] = "it reads back otherwise than it was written"
        with lock:
            outcome.conflicts += [
                f"document {item!r} of collection {name!r}: {text}" for item, text in conflicts.items()
            ]
            for item, document in ours.items():
                if item not in conflicts:
                    outcome.items += 1
                    total.add(hashlib.sha256(_document(document)).hexdigest())
            outcome.written += sum(document.id not in conflicts for document in written)
        plan.progress(len(ours))
        check()

    _in_threads(_batches(ids, _AT_ONCE), work, plan.workers)
    outcome.total.add(total.hexdigest())
    outcome.units += before == len(outcome.conflicts)


def _insert(target: KnowledgeStore, name: str, document: KnowledgeDocument) -> bool:
    try:
        target.insert(name, [document])
    except DocumentExistsError:
        return False
    return True


def _document(document: KnowledgeDocument) -> bytes:
    """Return what the digest covers: all but the embedding, of which engines keep different roundings."""
    return canonical(
        [document.id, document.content, document.metadata, document.content_hash, float(document.created_at)]
    )


def _same(a: KnowledgeDocument, b: KnowledgeDocument, distance: str) -> bool:
    if _document(a) != _document(b) or a.embedding is None or b.embedding is None:
        return False
    one, other = a.embedding, b.embedding
    if distance == "cosine":  # some engines keep these with the length 1, which is as good
        one, other = _unit(one), _unit(other)
    scale = max(map(abs, one), default=0.0)
    return len(one) == len(other) and all(abs(x - y) <= _TOLERANCE * scale for x, y in zip(one, other, strict=True))


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.hypot(*vector)
    return [x / length for x in vector] if length else list(vector)
