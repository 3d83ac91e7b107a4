"""Calls from inside another call of the same thread: they work, and the call that they are in is done once."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import sys
import threading
import time
import types

import pytest
from interrupting import enter, within

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql import Execute, Fetch
from praisonai_persistence_sqlite import SQLiteConversationStore, SQLiteStateStore, _commits
from praisonai_persistence_sqlite._connection import Define

# What an interrupt takes from its owner before anybody else knows of it is closed by being forgotten.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "agent.db")


@pytest.fixture
def store(path):
    store = SQLiteStateStore(path=path, lock_timeout=10, synchronous="NORMAL")
    store.set("outer", 0)
    store.set("inner", 0)
    yield store
    within(20, store.close)


def once(function):
    """Return a function that calls ``function`` the first time."""
    called = []

    def call(*_):
        if not called:
            called.append(1)
            function()

    return call


@pytest.mark.parametrize("inner", ["write", "read", "other store"])
def test_at_every_place_of_a_write(path, store, inner):
    other = SQLiteStateStore(path=path, table_prefix="other_", lock_timeout=10)
    inner_calls = {
        "write": lambda: store.incr("inner"),
        "read": lambda: store.get("outer"),
        "other store": lambda: other.incr("inner"),
    }
    place, made = 0, 0
    while True:
        place += 1
        before = store.get("outer")
        answers = []
        call = lambda answers=answers: answers.append(store.incr("outer"))  # noqa: E731
        where = within(20, lambda place=place, call=call: enter(call, place, inner_calls[inner]))
        assert answers == [before + 1], where
        assert store.get("outer") == before + 1, where
        if where is None:
            break
        made += 1
        if inner == "write":
            assert store.get("inner") == made, where
        if inner == "other store":
            assert other.get("inner") == made, where
    other.close()
    assert place > 15


def test_at_every_place_of_connecting(tmp_path):
    place = 0
    while True:
        place += 1
        new = SQLiteStateStore(path=tmp_path / f"{place}.db", lock_timeout=10, synchronous="NORMAL")
        where = within(20, lambda new=new, place=place: enter(new.connect, place, lambda: new.incr("inner")))
        assert new.get("inner") == (None if where is None else 1), where
        assert new.incr("inner") == (1 if where is None else 2)
        new.close()
        if where is None:
            break
    assert place > 50


def test_in_a_transaction_of_several_writers(store):
    database = store._runner._database
    entered = once(lambda: store.incr("inner"))

    @writes
    def outer():
        yield Execute("UPDATE praison_state SET value = '41' WHERE name = 'outer'")
        entered()
        yield Execute("UPDATE praison_state SET value = '42' WHERE name = 'outer'")

    results = []

    def run(call):
        results.append(call())

    calls = [lambda: store._runner.run(outer), lambda: store.incr("a"), lambda: store.incr("a")]
    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    with database._turn:
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(database._queue) < number:
                pass
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert len(results) == 3
    assert (store.get("outer"), store.get("inner"), store.get("a")) == (42, 1, 2)


def test_in_a_function_that_sqlite_calls_while_it_writes(path, store):
    for number in range(20):
        store.set(f"k{number}", 0)
    entered = once(lambda: store.incr("inner"))

    def seven(_):
        entered()
        return "7"

    @writes
    def outer():
        yield Define("seven", seven)
        return (yield Execute("UPDATE praison_state SET value = seven(name) WHERE name LIKE 'k%'"))

    assert store._runner.run(outer) == 20
    assert [store.get(f"k{number}") for number in range(20)] == [7] * 20
    assert store.get("inner") == 1
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_nothing_of_an_overtaken_write_is_kept_when_it_is_refused_after_that(store):
    @writes
    def outer():
        yield Execute("UPDATE praison_state SET value = '9' WHERE name = 'outer'")
        store.incr("inner")
        yield Execute("UPDATE praison_state SET value = '9' WHERE name = 'outer'")

    with pytest.raises(UnsupportedOperationError, match="from inside this one"):
        store._runner.run(outer)  # each time that it is tried
    assert store.get("outer") == 0
    assert store.get("inner") > 1
    assert store.incr("outer") == 1


def test_in_a_read(store):
    @reads
    def outer():
        rows = yield Fetch("SELECT value FROM praison_state WHERE name = 'outer'")
        return rows, store.incr("inner"), store.get("inner")

    assert store._runner.run(outer) == ([("0",)], 1, 1)


def test_an_inner_call_from_inside_an_inner_call(store):
    def nested():
        @writes
        def middle():
            yield Execute("UPDATE praison_state SET value = '5' WHERE name = 'middle'")
            innermost()
            return (yield Execute("UPDATE praison_state SET value = '6' WHERE name = 'middle'"))

        assert store._runner.run(middle) == 1

    store.set("middle", 0)
    innermost, entered = once(lambda: store.incr("inner")), once(nested)

    @writes
    def outer():
        yield Execute("UPDATE praison_state SET value = '1' WHERE name = 'outer'")
        entered()
        yield Execute("UPDATE praison_state SET value = '2' WHERE name = 'outer'")

    store._runner.run(outer)
    assert (store.get("outer"), store.get("middle"), store.get("inner")) == (2, 6, 1)


def test_from_del_while_the_garbage_collector_runs(path):
    store = SQLiteConversationStore(path=path, lock_timeout=10, synchronous="NORMAL")
    store.create_session(ConversationSession("s"))
    ended = []

    class Run:
        def __init__(self):
            self.me = self

        def __del__(self):
            ended.append(store.add_message("s", ConversationMessage()).seq)

    def work():
        seqs = []
        for _ in range(150):
            Run()
            seqs.append(store.add_message("s", ConversationMessage()).seq)
        return seqs

    thresholds = gc.get_threshold()
    gc.set_threshold(3, 2, 2)
    try:
        seqs = within(60, work)
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert ended
    assert sorted([*seqs, *ended]) == list(range(1, len(seqs) + len(ended) + 1))
    assert store.count_messages("s") == len(seqs) + len(ended)
    store.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot send signals to threads")
def test_from_a_signal_handler_while_the_thread_waits_in_the_queue(store):
    database = store._runner._database
    inside, go_on, handled = threading.Event(), threading.Event(), []

    @writes
    def halt():
        inside.set()
        assert go_on.wait(20)
        yield Fetch("SELECT 1")

    def handler(*_):
        go_on.set()
        handled.append(store.incr("inner"))

    def send():
        while not database._queue:
            pass
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    halted = threading.Thread(target=store._runner.run, args=(halt,))
    sender = threading.Thread(target=send)
    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        halted.start()
        assert inside.wait(20)
        sender.start()
        assert store.incr("outer") == 1
    finally:
        signal.signal(signal.SIGUSR1, previous)
        sender.join(20)
        halted.join(20)
    assert handled == [1]
    assert (store.get("outer"), store.get("inner")) == (1, 1)


def test_two_threads_that_call_the_store_that_the_other_is_inside_of(tmp_path):
    """Each has a transaction open in one file and writes to the other's from inside of it."""
    stores = [SQLiteStateStore(path=tmp_path / f"{n}.db", lock_timeout=20) for n in range(2)]
    barrier = threading.Barrier(2)

    def work(own, other):
        meet = once(lambda: (barrier.wait(20), other.incr("inner")))

        @writes
        def outer():
            yield Execute("UPDATE praison_state SET value = '1' WHERE name = 'outer'")
            meet()
            yield Execute("UPDATE praison_state SET value = '2' WHERE name = 'outer'")

        own._runner.run(outer)

    for store in stores:
        store.set("outer", 0)
    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in (stores, stores[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(15)
        assert not thread.is_alive()
    for store in stores:
        assert (store.get("outer"), store.get("inner")) == (2, 1)
        store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_fork_from_inside_a_write_is_done_in_both_processes(path, store):
    children = []
    fork = once(lambda: children.append(os.fork()))

    @writes
    def outer():
        yield Execute("UPDATE praison_state SET value = value + 1 WHERE name = 'outer'")
        fork()
        yield Execute("UPDATE praison_state SET value = value + 1 WHERE name = 'outer'")

    try:
        store._runner.run(outer)
        store.incr("inner")
    finally:
        if children == [0]:
            os._exit(0 if store.get("inner") in (1, 2) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert (store.get("outer"), store.get("inner")) == (4, 2)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("place", ["in the queue", "for the turn", "for the turn, with others"])
def test_a_fork_from_a_signal_handler_while_the_thread_waits(store, place, monkeypatch):
    """Who has the turn comes to an end before the fork; what is not done by then both processes do."""
    database = store._runner._database
    main = threading.main_thread().ident
    inside, go_on, children = threading.Event(), threading.Event(), []

    @writes
    def halt():
        inside.set()
        assert go_on.wait(20)
        yield Fetch("SELECT 1")

    halted = threading.Thread(target=store._runner.run, args=(halt,))

    def go_first():
        if threading.get_ident() == main and not inside.is_set():
            halted.start()
            assert inside.wait(20)

    def fork(*_):
        threading.Timer(0.2, go_on.set).start()  # the one with the turn is at work when the fork begins
        children.append(os.fork())
        if children == [0]:
            signal.alarm(20)  # a child that hangs is killed

    def send():
        assert inside.wait(20)
        seen = None
        while seen != (seen := (sys._current_frames()[main].f_code, sys._current_frames()[main].f_lasti)):
            time.sleep(0.12)  # longer than a look at the queue takes
        signal.pthread_kill(main, signal.SIGUSR1)

    if place == "in the queue":
        go_first()
    elif place == "for the turn":
        clock = types.SimpleNamespace(monotonic=lambda: (go_first(), time.monotonic())[1], sleep=time.sleep)
        monkeypatch.setattr(_commits, "time", clock)
    else:
        done = _commits._Writer.done
        monkeypatch.setattr(_commits._Writer, "done", lambda writer: (go_first(), done(writer))[1])
        database._expected = 2
    sender = threading.Thread(target=send)
    previous = signal.signal(signal.SIGUSR1, fork)
    try:
        sender.start()
        store.incr("outer")
    finally:
        if children == [0]:
            os._exit(0 if store.get("outer") in (1, 2) and store.incr("inner") in (1, 2) else 3)
        signal.signal(signal.SIGUSR1, previous)
        sender.join(20)
        halted.join(20)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    once_or_twice = 1 if place == "for the turn, with others" else 2  # the one with the turn does it for this thread
    assert (store.get("outer"), store.incr("inner")) == (once_or_twice, 2)
    assert not database._queue


def test_a_store_that_is_closed_from_inside_its_own_call(store):
    @writes
    def outer():
        yield Execute("UPDATE praison_state SET value = '3' WHERE name = 'outer'")
        store.close()

    database = store._runner._database
    within(20, lambda: store._runner.run(outer))
    with pytest.raises(StoreClosedError):
        store.get("outer")
    assert database._writer is None
    assert not database._readers
    with SQLiteStateStore(path=store._runner._location.path) as again:
        assert again.get("outer") == 3


def test_a_database_in_memory_refuses_and_goes_on(path):
    with SQLiteStateStore("sqlite://") as memory, SQLiteStateStore(path=path) as file:
        memory.set("k", 1)

        @writes
        def outer():
            yield Execute("UPDATE praison_state SET value = '2' WHERE name = 'k'")
            with pytest.raises(UnsupportedOperationError, match="in memory"):
                memory.get("k")
            file.set("from inside", True)

        memory._runner.run(outer)
        assert memory.get("k") == 2
        assert file.get("from inside") is True

        @writes
        def through():
            yield Execute("UPDATE praison_state SET value = 'false' WHERE name = 'from inside'")
            entered()

        entered = once(lambda: memory.incr("k"))
        file._runner.run(through)
        assert (memory.get("k"), file.get("from inside")) == (3, False)
