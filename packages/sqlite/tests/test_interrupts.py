"""Interrupted calls: done or not done, and nothing is left behind."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest
from interrupting import Interrupt, at_every_place, within

from praisonai_persistence import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.steps import writes
from praisonai_persistence_sql import Fetch
from praisonai_persistence_sqlite import SQLiteConversationStore, SQLiteKnowledgeStore, SQLiteStateStore
from praisonai_persistence_sqlite import _operations as operations

# What an interrupt takes from its owner before anybody else knows of it is closed by being forgotten.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


class SoftTimeLimit(Exception):
    """What a signal handler may raise: no KeyboardInterrupt."""


@pytest.fixture
def opened(tmp_path):
    """Open stores, each on a file of its own, and close them at the end."""
    stores = []

    def open_store(number, kind=SQLiteConversationStore):
        stores.append(kind(path=tmp_path / f"{number}.db", lock_timeout=5, synchronous="NORMAL"))
        return stores[-1]

    yield open_store
    for store in stores:
        within(20, store.close)


def is_free(store):
    """Assert that no lock of the file is held, and that this thread is inside nothing."""
    other = sqlite3.connect(store._runner._location.path, timeout=0.05, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    finally:
        other.close()
    assert not operations.inside


@pytest.mark.parametrize("error", [Interrupt, SoftTimeLimit])
def test_an_append(opened, error):
    def prepare(number):
        store = opened(number)
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage("1"))
        return store

    def check(store, where):
        is_free(store)
        assert store.add_message("s", ConversationMessage("3")).seq in (2, 3)
        found = store.get_messages("s")
        assert [item.seq for item in found] == list(range(1, len(found) + 1))
        assert [item.id for item in found] in (["1", "3"], ["1", "2", "3"])

    assert at_every_place(prepare, lambda store: store.add_message("s", ConversationMessage("2")), check, error) > 15


def test_an_increment_is_done_once_or_not_at_all(opened):
    def prepare(number):
        store = opened(number, SQLiteStateStore)
        store.set("n", 0)
        return store

    def check(store, where):
        is_free(store)
        before = store.get("n")
        assert before in (0, 1)
        assert store.incr("n") == before + 1

    assert at_every_place(prepare, lambda store: store.incr("n"), check) > 15


def test_a_read(opened):
    def prepare(number):
        store = opened(number, SQLiteStateStore)
        store.set("k", number)
        store.get("k")
        return store

    def check(store, where):
        is_free(store)
        assert len(store._runner._database._readers) <= 1
        assert store.get("k") is not None
        store.set("k", "next")
        assert store.get("k") == "next"

    assert at_every_place(prepare, lambda store: store.get("k"), check) > 8


def test_a_search(opened):
    def prepare(number):
        store = opened(number, SQLiteKnowledgeStore)
        store.create_collection("c", 2)
        store.insert("c", [KnowledgeDocument("x", embedding=[1, 0], metadata={"a": 1})])
        return store

    def check(store, where):
        is_free(store)
        assert [item.id for item in store.search("c", [1, 0], filters={"a": 1})] == ["x"]

    # The filter is a function which SQLite calls: what is raised there reaches the caller as well.
    assert at_every_place(prepare, lambda store: store.search("c", [1, 0], filters={"a": {"$gt": 0}}), check) > 15


def test_connecting_and_migrating(opened):
    def check(store, where):
        is_free(store)
        store.connect()
        store.set("k", 1)
        assert store.get("k") == 1

    places = at_every_place(lambda number: opened(number, SQLiteStateStore), lambda store: store.connect(), check)
    assert places > 50


def test_closing(opened):
    def prepare(number):
        store = opened(number, SQLiteStateStore)
        store.set("k", 1)
        return store

    def check(store, where):
        store.close()
        is_free(store)
        assert store._runner._database._writer is None
        assert not store._runner._database._readers
        assert not os.path.exists(store._runner._location.path + "-wal")

    assert at_every_place(prepare, lambda store: store.close(), check) > 5


def test_the_transaction_of_an_earlier_interrupt_is_given_up_in_spite_of_another(opened):

    def prepare(number):
        store = opened(number, SQLiteStateStore)
        store.set("k", 0)
        store._runner._database._writer[0].execute("BEGIN IMMEDIATE")  # as an interrupt may have left it
        return store

    def check(store, where):
        store.set("k", 1)
        is_free(store)
        assert store.get("k") == 1

    assert at_every_place(prepare, lambda store: store.set("k", 2), check) > 15


def start(function):
    outcome = []

    def run():
        try:
            outcome.append(function())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join():
        thread.join(20)
        assert outcome, "a writer hangs"
        return outcome[0]

    return join


def until(condition):
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came to be")


@pytest.mark.parametrize("error", [Interrupt, SoftTimeLimit])
def test_a_leader_that_is_interrupted_takes_nobody_along(opened, error):
    """Three writers share a commit, and the one that leads is interrupted at any place of it."""

    class Prepared:
        def __init__(self, number):
            self.store = opened(number, SQLiteStateStore)
            self.store.set("own", 0)
            self.database = self.store._runner._database
            # Two threads in the queue, which have been told nothing; this thread is to get the turn before them.
            self.hold = self.database._turn
            self.hold.acquire()
            self.joins = [start(lambda key=key: self.store.incr(key)) for key in ("a", "b")]
            until(lambda: len(self.database._queue) == 2)
            self.database._expected = 3
            self.hold.release()

    def call(prepared):
        prepared.store.incr("own")

    def check(prepared, where):
        assert [join() for join in prepared.joins] == [1, 1]
        is_free(prepared.store)
        assert prepared.store.get("a") == prepared.store.get("b") == 1
        before = prepared.store.get("own")
        assert before in (0, 1)
        assert prepared.store.incr("own") == before + 1
        assert not prepared.database._queue

    assert at_every_place(Prepared, call, check, error) > 15


def test_a_writer_that_is_interrupted_in_the_queue_is_done_or_not_done(opened):
    class Prepared:
        def __init__(self, number):
            self.store = opened(number, SQLiteStateStore)
            self.store.set("own", 0)
            self.database = self.store._runner._database
            self.inside, self.ready, self.go_on = threading.Event(), threading.Event(), threading.Event()

            @writes
            def halt():
                self.inside.set()
                self.ready.wait(20)
                self.go_on.wait(0.02)
                yield Fetch("SELECT 1")
                return "done"

            self.halted = start(lambda: self.store._runner.run(halt))
            assert self.inside.wait(20)
            until(lambda: self.database._turn.locked())
            self.other = start(lambda: self.store.incr("other"))
            until(lambda: len(self.database._queue) == 1)
            self.ready.set()

    def check(prepared, where):
        prepared.go_on.set()
        assert prepared.halted() == "done"
        assert prepared.other() == 1
        is_free(prepared.store)
        before = prepared.store.get("own")
        assert before in (0, 1)
        assert prepared.store.incr("own") == before + 1
        assert not prepared.database._queue

    assert at_every_place(Prepared, lambda prepared: prepared.store.incr("own"), check) > 15


def test_a_job_with_a_defect_fails_alone(opened):
    """An exception that nobody foresaw is not taken for an interrupt of who leads."""
    store = opened(1, SQLiteStateStore)
    store.set("n", 0)
    database = store._runner._database

    @writes
    def broken():
        yield Fetch("SELECT 1")
        raise LookupError("a defect")

    with database._turn:
        joins = [
            start(lambda: store.incr("n")),
            start(lambda: store._runner.run(broken)),
            start(lambda: store.incr("n")),
        ]
        until(lambda: len(database._queue) == 3)
    results = [join() for join in joins]
    assert isinstance(results[1], LookupError)
    assert sorted([results[0], results[2]]) == [1, 2]
    assert store.get("n") == 2
