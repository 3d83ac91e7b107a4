"""Copying a store to another one of any backend: how, with how many threads, and what came of it; conversations.

[copy_state][] is in ``_keys``, [copy_knowledge][] in ``_documents``.

All of it can be killed and started again, and run twice at once: each thing is written only where it is missing, by an
operation of the contract that never replaces anything (create, append, set if absent, insert), and compared where it is
there. What differs in the target is a conflict, and stays as it is.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence_cli._progress import Progress
from praisonai_persistence_cli._reading import Total, message_pages
from praisonai_persistence_cli._selection import ALL, Selection
from praisonai_persistence_cli._writing import REFUSALS, put_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from praisonai_persistence.conversation import ConversationStore
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["AT_ONCE", "Outcome", "Plan", "batches", "copy_conversations", "in_threads", "put_one"]

T = TypeVar("T")

AT_ONCE = 200
"""State keys, or documents, at a time."""


@dataclass(frozen=True)
class Plan:
    """How to copy.

    Attributes:
        workers: threads.
        update: whether what the target has with other content is brought up to date, where that loses no message.
        verify: whether everything written is read back.
        progress: is told of what is in the target now.
    """

    workers: int = 4
    update: bool = False
    verify: bool = True
    progress: Progress = field(default_factory=Progress)


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


def in_threads(things: Iterable[T], work: Callable[[T, Callable[[], None]], None], workers: int) -> None:
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


def batches(things: Iterable[T], length: int) -> Iterator[list[T]]:
    iterator = iter(things)
    while some := list(itertools.islice(iterator, length)):
        yield some


# ------------------------------------------------------------------------------------------------------- conversation


def copy_conversations(
    source: ConversationStore, target: ConversationStore, plan: Plan, selection: Selection = ALL
) -> Outcome:
    """Copy sessions with their messages.

    Oldest first: targets set ``updated_at`` to the time of the writing, so that their order of listing stays (nearly,
    with several workers). ``seq`` begins at 1 and has no gaps in the target, whatever was deleted in the source.
    """
    outcome = Outcome()
    lock = threading.Lock()
    ids = selection.ids(source)
    plan.progress.expect(units=len(ids))

    def work(session_id: str, check: Callable[[], None]) -> None:
        session = source.get_session(session_id)
        if session is not None:  # else deleted since it was listed
            put_one(target, session, message_pages(source, session_id), plan, outcome, lock, check)
        plan.progress.add(units=1)

    in_threads(ids, work, plan.workers)
    return outcome


def put_one(
    target: ConversationStore,
    session: ConversationSession,
    pages: Iterable[list[ConversationMessage]],
    plan: Plan,
    outcome: Outcome,
    lock: threading.Lock,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Write what the target lacks of a session, and count what became of it.

    Args:
        target: the store.
        session: the session.
        pages: all its messages.
        plan: how.
        outcome: what is counted.
        lock: around the counting.
        check: called now and then; may raise.
    """

    def progress(number: int) -> None:
        plan.progress.add(items=number)
        check()

    try:
        put = put_session(target, session, pages, update=plan.update, verify=plan.verify, progress=progress)
    except REFUSALS as error:
        with lock:
            outcome.conflicts.append(str(error))
        return
    with lock:
        outcome.units += 1
        outcome.items += put.messages
        outcome.written += put.written
        outcome.total.add(put.digest)
