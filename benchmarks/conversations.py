"""Conversations in SQLite beside the hand-written program on the same tables."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import bare
from measuring import Options, Report, clock, connections_to, interleaved, median, pragmas

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import SQLiteConversationStore

__all__ = ["METADATA", "appends", "listing", "make_session", "messages", "resume", "texts", "threads"]

METADATA = {"model": "stand-in", "tokens": 123, "tags": ["a", "b"]}
_VARIANTS: dict[str, dict[str, object] | None] = {"no metadata": None, "metadata": METADATA}
_WORDS = (
    "The invoice of March was paid twice, so the customer asks for the second amount back; the agent looks up both "
    "payments, compares their references, and answers that the refund arrives within a few days."
)


def texts(count: int, metadata: dict[str, object] | None) -> list[bare.Message]:
    """Return messages as the hand-written program takes them: turns of a user and an assistant, 200 characters each."""
    return [
        (str(uuid.uuid4()), "assistant" if number % 2 else "user", f"{number:>8} {_WORDS}"[:200], metadata, time.time())
        for number in range(count)
    ]


def messages(given: Sequence[bare.Message]) -> list[ConversationMessage]:
    """Return the same messages as the store takes them."""
    return [
        ConversationMessage(id=id, role=role, content=content, metadata=metadata, created_at=created_at)
        for id, role, content, metadata, created_at in given  # noqa: A001
    ]


def make_session(path: Path, session_id: str, length: int, metadata: dict[str, object] | None) -> None:
    """Make the tables if there are none, and a session of a certain length."""
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession(session_id=session_id, user_id="user"))
    if length:
        with closing(bare.connect(path)) as connection:
            bare.fill(connection, session_id, texts(length, metadata))


@contextmanager
def _opened(path: Path) -> Iterator[SQLiteConversationStore]:
    with SQLiteConversationStore(path=path) as store:
        store.connect()
        yield store


# ------------------------------------------------------------------------------------------------- one after the other

_APPENDS = "Append, one at a time, durable"
_LENGTHS = (200, 1000, 5000)
_CHUNK = 5


def appends(report: Report, options: Options) -> str:
    """Measure the rate while a session grows to each length; return the section's title."""
    window = 100 if options.quick else 200
    for variant, metadata in _VARIANTS.items():
        taken: dict[tuple[str, int], list[float]] = {(who, n): [] for who in ("ours", "bare") for n in _LENGTHS}
        for number in range(options.rounds):
            folder = options.folder / f"{variant.replace(' ', '-')}-{number}"
            folder.mkdir()
            for key, seconds in _append_round(report, folder, metadata, window).items():
                taken[key].append(window / seconds)
        for length in _LENGTHS:
            report.compare(
                _APPENDS,
                f"to {length:,} messages, {variant}",
                "msg/s",
                taken["ours", length],
                taken["bare", length],
                at_least=0.8,
            )
        for who, at_least in (("ours", 0.85), ("bare", None)):
            report.compare(
                _APPENDS,
                f"{who}: to {_LENGTHS[-1]:,} / to {_LENGTHS[0]:,}, {variant}",
                "msg/s",
                taken[who, _LENGTHS[-1]],
                taken[who, _LENGTHS[0]],
                at_least=at_least,
            )
    report.note(
        _APPENDS,
        f"the rate of the last {window} messages before the session has that many; one file each, {_CHUNK} messages in "
        f"turns; contents of 200 characters; in the lines of one program, 'bare' is its rate at {_LENGTHS[0]}",
    )
    return _APPENDS


def _append_round(
    report: Report, folder: Path, metadata: dict[str, object] | None, window: int
) -> dict[tuple[str, int], float]:
    with ExitStack() as stack:
        programs: dict[tuple[str, int], Callable[[], float]] = {}
        for length in _LENGTHS:
            for who in ("ours", "bare"):
                path = folder / f"{who}-{length}.db"
                make_session(path, "session", length - window, metadata)
                if who == "ours":
                    store = stack.enter_context(_opened(path))
                    programs[who, length] = partial(_ours_append, store, iter(messages(texts(window, metadata))))
                else:
                    connection = stack.enter_context(closing(bare.connect(path)))
                    programs[who, length] = partial(_bare_append, connection, iter(texts(window, metadata)))
        total = dict.fromkeys(programs, 0.0)
        names = list(programs)
        for _ in range(window // _CHUNK):
            for name in names:
                total[name] += programs[name]()
            names.append(names.pop(0))
        for who in ("ours", "bare"):
            report.note(_APPENDS, f"{who}: {pragmas(connections_to(folder / f'{who}-{_LENGTHS[0]}.db'))}")
        return total


def _ours_append(store: SQLiteConversationStore, new: Iterator[ConversationMessage]) -> float:
    some = list(islice(new, _CHUNK))
    start = clock()
    for message in some:
        store.add_message("session", message)
    return clock() - start


def _bare_append(connection: sqlite3.Connection, new: Iterator[bare.Message]) -> float:
    some = list(islice(new, _CHUNK))
    start = clock()
    for message in some:
        bare.append(connection, "session", message)
    return clock() - start


# ------------------------------------------------------------------------------------------------------------- threads

_THREADS = "Eight threads, durable"
_COUNT = 8


def threads(report: Report, options: Options) -> str:
    """Measure threads that share one store; return the section's title."""
    # Long enough for a steady state: in short blocks the first and the last commits, which threads that start and end
    # do not share, and the wake-up of the threads themselves are most of the time.
    each = 50 if options.quick else 250
    blocks = 1
    one = "session-0"
    own = [f"session-{number}" for number in range(_COUNT)]
    with ExitStack() as stack:

        def path_of(name: str) -> Path:
            path = options.folder / f"{name}.db"
            for session_id in own:
                make_session(path, session_id, 0, None)
            return path

        def ours(name: str, sessions: Sequence[str]) -> Callable[[], float]:
            store = stack.enter_context(_opened(path_of(name)))

            def append(number: int, new: Sequence[bare.Message]) -> Callable[[], None]:
                ready = messages(new)

                def work() -> None:
                    for message in ready:
                        store.add_message(sessions[number], message)

                return work

            return partial(_together, each, append)

        def by_hand(name: str, sessions: Sequence[str]) -> Callable[[], float]:
            path = path_of(name)
            connections = [stack.enter_context(closing(bare.connect(path))) for _ in range(_COUNT)]

            def append(number: int, new: Sequence[bare.Message]) -> Callable[[], None]:
                def work() -> None:
                    for message in new:
                        bare.append(connections[number], sessions[number], message)

                return work

            return partial(_together, each, append)

        alone = {name: stack.enter_context(closing(bare.connect(path_of(f"alone-{name}")))) for name in ("own", "one")}

        def loop(name: str, sessions: Sequence[str]) -> float:
            """Do the work of the eight threads in one: the same number of messages, to the same sessions."""
            new = texts(each * _COUNT, METADATA)
            connection = alone[name]
            start = clock()
            for number, message in enumerate(new):
                bare.append(connection, sessions[number % _COUNT], message)
            return clock() - start

        seconds = interleaved(
            options.rounds,
            {
                "ours own": ours("ours-own", own),
                "alone own": partial(loop, "own", own),
                "alone one": partial(loop, "one", [one] * _COUNT),
                "ours one": ours("ours-one", [one] * _COUNT),
                "bare own": by_hand("bare-own", own),
                "bare one": by_hand("bare-one", [one] * _COUNT),
            },
            blocks,
        )
        report.note(_THREADS, f"ours: {pragmas(connections_to(options.folder / 'ours-own.db'))}")
        report.note(_THREADS, f"bare loop: {pragmas(list(alone.values()))}")
    rates = {name: [each * _COUNT / block for block in taken] for name, taken in seconds.items()}
    for name, what in (("own", "own session each"), ("one", "one session")):
        ours_rate, loop_rate = rates[f"ours {name}"], rates[f"alone {name}"]
        report.compare(_THREADS, f"{what} / bare loop, one thread", "msg/s", ours_rate, loop_rate, at_least=2)
    report.compare(_THREADS, "own session each / bare, eight threads", "msg/s", rates["ours own"], rates["bare own"])
    report.compare(_THREADS, "one session / bare, eight threads", "msg/s", rates["ours one"], rates["bare one"])
    report.note(
        _THREADS,
        f"ours: threads share one store; bare: one commit for each message, in eight threads with a connection each; "
        f"messages with metadata, {each} a thread in a block, {blocks} blocks a round",
    )
    return _THREADS


def _together(each: int, append: Callable[[int, Sequence[bare.Message]], Callable[[], None]]) -> float:
    """Start threads, let them go at once, return the seconds until the last one ends."""
    go = threading.Barrier(_COUNT + 1)
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        go.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that measures
            errors.append(error)

    workers = [threading.Thread(target=run, args=(append(n, texts(each, METADATA)),)) for n in range(_COUNT)]
    for worker in workers:
        worker.start()
    go.wait()
    start = clock()
    for worker in workers:
        worker.join()
    taken = clock() - start
    if errors:
        raise errors[0]
    return taken


# -------------------------------------------------------------------------------------------------------------- resume

_RESUME = "Resume: the last 50 messages"
_SIZES = (100, 1000, 10_000, 100_000)
_SAME = 1.25
"""How much longer the longest session may take than the shortest and still count as the same."""


def resume(report: Report, options: Options) -> str:
    """Measure reading the end of sessions of different lengths; return the section's title."""
    calls, blocks = (10, 5) if options.quick else (20, 15)
    path = options.folder / "resume.db"
    for variant, metadata in _VARIANTS.items():
        for size in _SIZES:
            make_session(path, f"{variant} {size}", size, metadata)
    with _opened(path) as store, closing(bare.connect(path)) as connection:
        for variant, metadata in _VARIANTS.items():
            programs: dict[str, Callable[[], float]] = {}
            for size in _SIZES:
                session_id = f"{variant} {size}"
                query = partial(_fetch, connection, bare.RESUME, session_id, 50)
                programs[f"ours {size}"] = partial(_repeat, calls, partial(store.get_messages, session_id, 50))
                programs[f"bare {size}"] = partial(_repeat, calls, query)
                if metadata is not None:
                    programs[f"read {size}"] = partial(_repeat, calls, partial(bare.with_metadata, query))
                if [message.id for message in store.get_messages(session_id, 50)] != [row[0] for row in query()][::-1]:
                    raise RuntimeError("the store and the bare query did not find the same messages")
            taken = interleaved(options.rounds, programs, blocks)
            micro = {name: [seconds * 1e6 for seconds in figures] for name, figures in taken.items()}
            for size in _SIZES:
                ours, plain, read = (micro.get(f"{who} {size}") for who in ("ours", "bare", "read"))
                assert ours is not None
                assert plain is not None
                if read is None:
                    report.compare(_RESUME, f"of {size:,}, {variant}", "µs", ours, plain, at_most=1.5)
                else:
                    report.compare(
                        _RESUME, f"of {size:,}, {variant} / query and json.loads", "µs", ours, read, at_most=1.5
                    )
                    report.compare(_RESUME, f"of {size:,}, {variant} / query alone", "µs", ours, plain)
            for who, at_most in (("ours", _SAME), ("bare", None)):
                report.compare(
                    _RESUME,
                    f"{who}: of {_SIZES[-1]:,} / of {_SIZES[0]:,}, {variant}",
                    "µs",
                    micro[f"{who} {_SIZES[-1]}"],
                    micro[f"{who} {_SIZES[0]}"],
                    at_most=at_most,
                )
        report.note(_RESUME, f"all: {pragmas(connections_to(path))}")
    report.note(
        _RESUME,
        "bare: the same columns as fetchall gives them, newest first; ours: records, oldest first; "
        f"in the lines of one program, 'bare' is its time at {_SIZES[0]}; up to {_SAME} times that counts as the same",
    )
    return _RESUME


def _repeat(calls: int, call: Callable[[], object]) -> float:
    """Return the seconds that a call takes: the median of some."""
    taken = []
    for _ in range(calls):
        start = clock()
        call()
        taken.append(clock() - start)
    return median(taken)


def _fetch(connection: sqlite3.Connection, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    return connection.execute(sql, parameters).fetchall()


# ------------------------------------------------------------------------------------------------------------- listing

_LISTING = "The newest 20 of a user's 10,000 sessions"


def listing(report: Report, options: Options) -> str:
    """Measure a page of a user with many sessions, among other users; return the section's title."""
    path = options.folder / "listing.db"
    make_session(path, "first", 0, None)
    with closing(bare.connect(path)) as connection:
        now = time.time()
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO praison_sessions "
            "(session_id, user_id, agent_id, name, metadata, created_at, updated_at, version, last_seq) "
            "VALUES (?, ?, 'agent', 'Refund of March', '{\"channel\":\"web\"}', ?, ?, 1, 0)",
            (
                (str(uuid.uuid4()), "the user" if number % 2 else f"user {number % 50}", now + number, now + number)
                for number in range(20_000)
            ),
        )
        connection.execute("COMMIT")
    calls, blocks = (20, 5) if options.quick else (50, 20)
    with _opened(path) as store, closing(bare.connect(path)) as connection:
        found = [session.session_id for session in store.list_sessions(user_id="the user", limit=20)]
        if found != [row[0] for row in connection.execute(bare.LIST, ("the user", 20))]:
            raise RuntimeError("the store and the bare query did not find the same sessions")
        taken = interleaved(
            options.rounds,
            {
                "ours": partial(_repeat, calls, partial(store.list_sessions, user_id="the user", limit=20)),
                "bare": partial(_repeat, calls, partial(_fetch, connection, bare.LIST, "the user", 20)),
            },
            blocks,
        )
    micro = {name: [seconds * 1e6 for seconds in figures] for name, figures in taken.items()}
    report.compare(_LISTING, "list_sessions(user_id=..., limit=20)", "µs", micro["ours"], micro["bare"], at_most=5)
    report.note(
        _LISTING, "10,000 more sessions of 25 other users in the same table; bare: fetchall of the same columns"
    )
    return _LISTING
