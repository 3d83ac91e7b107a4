"""What is particular to the memory backend: names, lifetimes, forks. The kit tests the rest."""

import contextlib
import gc
import itertools
import os
import signal
import threading
import warnings

import pytest

from praisonai_persistence.errors import (
    ConfigurationError,
    InvalidIdentifierError,
    SessionNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    AsyncMemoryKnowledgeStore,
    AsyncMemoryStateStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
    _data,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
from praisonai_persistence.testing._places import Watched, Worker, visit

STORES = [MemoryConversationStore, MemoryKnowledgeStore, MemoryStateStore]
ASYNC_STORES = [AsyncMemoryConversationStore, AsyncMemoryKnowledgeStore, AsyncMemoryStateStore]


# --------------------------------------------------------------------------------------------------------------- names


def test_a_store_without_a_name_has_its_data_to_itself():
    for arguments in ({}, {"url": None}, {"url": "memory://"}, {"name": ""}):
        one, other = MemoryStateStore(**arguments), MemoryStateStore(**arguments)
        one.set("key", 1)
        assert not other.exists("key")


def test_stores_of_one_name_share_their_data():
    one = MemoryStateStore("memory://shared")
    for other in (MemoryStateStore(name="shared"), MemoryStateStore("memory://shared/")):
        one.set("key", [1])
        assert other.get("key") == [1]
    assert not MemoryStateStore("memory://another").exists("key")
    assert not MemoryStateStore("memory://Shared").exists("key")


def test_both_modes_of_one_name_share_their_data():
    one, other = MemoryStateStore(name="modes"), AsyncMemoryStateStore(name="modes")
    one.set("key", 1)
    coroutine = other.get("key")
    with pytest.raises(StopIteration) as ended:  # nothing in memory waits
        coroutine.send(None)
    assert ended.value.value == 1


def test_kinds_and_prefixes_of_one_name_are_apart():
    state, other = MemoryStateStore(name="apart"), MemoryStateStore(name="apart", table_prefix="other_")
    knowledge, none = MemoryKnowledgeStore(name="apart"), MemoryKnowledgeStore(name="apart", table_prefix="")
    conversation = MemoryConversationStore(name="apart")
    state.set("x", 1)
    knowledge.create_collection("x", 1)
    conversation.create_session(ConversationSession("x"))
    assert other.keys() == []
    assert none.list_collections() == []
    assert other.clear() == 0
    assert state.clear() == 1
    assert knowledge.list_collections() == ["x"]
    assert conversation.delete_session("x")


def test_data_of_a_name_live_as_long_as_a_store_does():
    one = MemoryStateStore(name="lifetime")
    one.set("key", 1)
    other = MemoryStateStore(name="lifetime")
    del one
    gc.collect()
    assert other.get("key") == 1
    del other
    gc.collect()
    assert "lifetime" not in _data._named
    assert not MemoryStateStore(name="lifetime").exists("key")


def test_closing_one_store_leaves_the_others_open():
    one, other = MemoryStateStore(name="closing"), MemoryStateStore(name="closing")
    one.set("key", 1)
    one.close()
    assert other.get("key") == 1


@pytest.mark.parametrize("store", [*STORES, *ASYNC_STORES])
@pytest.mark.parametrize("url", ["", "memory", "memory:name", "redis://x", "sqlite:///x.db", "memory:/x"])
def test_other_urls_are_refused(store, url):
    with pytest.raises(ConfigurationError, match="memory://name"):
        store(url)


@pytest.mark.parametrize("store", [*STORES, *ASYNC_STORES])
def test_a_refusal_does_not_quote_the_url(store):
    with pytest.raises(ConfigurationError) as caught:
        store("redis://user:hunter2@host")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("store", [*STORES, *ASYNC_STORES])
def test_prefixes_are_identifiers(store):
    with pytest.raises(InvalidIdentifierError):
        store(table_prefix="x;y")


# --------------------------------------------------------------------------------------------------------------- fork


def in_child(body):
    """Run ``body`` in a forked child; return what it returned, as text, or fail after ten seconds."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that we fork with threads is the point
        pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(10)  # a deadlock ends the child, and the test fails on the exit code
            os.write(writing, str(body()).encode())
            os._exit(0)
        except BaseException as error:
            os.write(writing, repr(error).encode())
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read().decode()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}: {said or 'deadlock'}"
    return said


class Change(threading.Thread):
    """A thread in the middle of a change: it holds ``locks``, does half of it, waits a moment, does the rest."""

    def __init__(self, locks, first, second):
        super().__init__()
        self.locks, self.first, self.second = locks, first, second
        self.halfway = threading.Event()

    def run(self):
        with contextlib.ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(lock)
            self.first()
            self.halfway.set()
            threading.Event().wait(0.2)  # nobody can tell us that a fork waits
            self.second()

    def __enter__(self):
        self.start()
        assert self.halfway.wait(10)

    def __exit__(self, *error):
        self.join()


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")


@needs_fork
def test_a_forked_child_has_state_without_half_a_change():
    store = MemoryStateStore(name="forked")
    locks = [store._steps._data.lock, _data._named_lock]

    def body():
        new = MemoryStateStore(name="new")
        return store.incr("first"), store.incr("second"), MemoryStateStore(name="forked").get("first"), new.keys()

    with Change(locks, lambda: store.set("first", 1), lambda: store.set("second", 1)):
        assert in_child(body) == "(2, 2, 2, [])"
    assert store.get_many(["first", "second"]) == {"first": 1, "second": 1}
    store.incr("first")  # and the parent works on


@needs_fork
def test_a_forked_child_has_conversations_and_knowledge_without_half_a_change():
    conversation, knowledge = MemoryConversationStore(), MemoryKnowledgeStore()
    conversation.create_session(ConversationSession("s"))
    knowledge.create_collection("c", 1)

    def add(number):
        conversation.add_message("s", ConversationMessage(f"m{number}"))
        knowledge.insert("c", [KnowledgeDocument(f"d{number}", embedding=[1.0])])

    def body():
        add(3)
        return conversation.count_messages("s"), knowledge.count("c")

    locks = [conversation._steps._data.lock, knowledge._steps._data.lock]
    with Change(locks, lambda: add(1), lambda: add(2)):
        assert in_child(body) == "(3, 3)"
    assert (conversation.count_messages("s"), knowledge.count("c")) == (2, 2)


@needs_fork
def test_forks_and_new_stores_do_not_disturb_each_other():
    many = [MemoryStateStore() for _ in range(5_000)]  # so that looking at all of them takes a moment
    stop = threading.Event()

    def work():
        while not stop.is_set():
            MemoryStateStore().set("key", 1)
            MemoryStateStore(name="x").set("key", 1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            assert in_child(lambda: MemoryStateStore(name="y").incr("n")) == "1"
        assert many[0].keys() == []
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@needs_fork
def test_what_a_forked_child_writes_stays_in_the_child():
    store = MemoryStateStore(name="parent")
    assert in_child(lambda: store.set("key", 1)) == "None"
    assert store.keys() == []


# ------------------------------------------------------------------------------------------------------------- copies


def test_collection_metadata_are_the_callers_own_copy():
    store = MemoryKnowledgeStore()
    given = {"list": [1]}
    store.create_collection("c", 2, metadata=given)
    store.create_collection("empty", 2, metadata={})
    given["list"].append(2)
    store.get_collection("c").metadata["list"].append(3)
    store.get_collection("empty").metadata["x"] = 1
    assert store.get_collection("c").metadata == {"list": [1]}
    assert store.get_collection("empty").metadata == {}
    store.create_collection("c", 2, metadata={"list": [1]})
    store.create_collection("empty", 2, metadata={})


# ------------------------------------------------------------------------------- interrupts, and calls inside of calls


class SoftLimit(Exception):
    """What a framework raises into a call that takes too long."""


def conversation():
    store = MemoryConversationStore()
    store.create_session(ConversationSession("s"))
    store.add_messages("s", [ConversationMessage(name, content=name, created_at=1.0) for name in "12"])
    return store


def state():
    store = MemoryStateStore()
    store.set_many({"a": 1, "b": 2})
    for field in "xyz":
        store.hset("h", field, 1)
    return store


def knowledge():
    store = MemoryKnowledgeStore()
    store.create_collection("c", 1)
    store.insert("c", documents("12"))
    return store


def documents(names):
    return [KnowledgeDocument(name, content=name, embedding=[1.0]) for name in names]


def messages(names):
    return [ConversationMessage(name, content=name, created_at=1.0) for name in names]


def seen(store):
    if isinstance(store, MemoryConversationStore):
        return [
            (session.session_id, session.name, [(item.id, item.seq) for item in store.get_messages(session.session_id)])
            for session in sorted(store.list_sessions(), key=lambda session: session.session_id)
        ]
    if isinstance(store, MemoryStateStore):
        plain = sorted(set(store.keys()) - {"h"})
        return store.get_many(plain), store.hgetall("h")
    return [sorted(item.id for item in store.search(name, [1.0], limit=99)) for name in store.list_collections()]


CHANGES = {
    "append": (conversation, lambda store: store.add_message("s", messages("o")[0])),
    "append a batch": (conversation, lambda store: store.add_messages("s", messages("opq"))),
    "update": (conversation, lambda store: store.update_session(ConversationSession("s", name="new"))),
    "upsert": (conversation, lambda store: store.upsert_session(ConversationSession("t", name="new"))),
    "delete messages": (conversation, lambda store: store.delete_messages("s", ["1", "2"])),
    "delete": (conversation, lambda store: store.delete_session("s")),
    "fork": (conversation, lambda store: store.fork_session("s", None, "fork")),
    "set": (state, lambda store: store.set("a", 3)),
    "set many": (state, lambda store: store.set_many({"a": 3, "c": 3, "d": 3})),
    "delete many": (state, lambda store: store.delete_many(["a", "b"])),
    "incr": (state, lambda store: store.incr("a")),
    "hset": (state, lambda store: store.hset("h", "x", 2)),
    "hdel": (state, lambda store: store.hdel("h", "x")),
    "hdel all": (state, lambda store: store.hdel("h", "x", "y", "z")),
    "clear": (state, lambda store: store.clear()),
    "insert": (knowledge, lambda store: store.insert("c", documents("opq"))),
    "upsert documents": (knowledge, lambda store: store.upsert("c", documents("1op"))),
    "delete documents": (knowledge, lambda store: store.delete("c", ["1", "2"])),
}
INNER = {
    conversation: lambda store: store.add_messages("s", messages("ij")),
    state: lambda store: (store.incr("a"), store.hset("h", "i", 1)),
    knowledge: lambda store: store.upsert("c", documents("ij")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupted_change_is_whole_or_not_there(name):
    make, change = CHANGES[name]
    before, done = make(), make()
    change(done)
    outcomes = [seen(before), seen(done)]
    other = Worker()
    for number in itertools.count(1):
        store, exception = make(), SoftLimit()

        def act(exception=exception):
            raise exception

        found = visit(lambda store=store: change(store), Watched(store), number, act)
        if found.where is None:
            break
        assert found.error is exception, found.where
        assert other.do(lambda store=store: seen(store), 5) in outcomes, found.where
        other.do(lambda store=store: change(make()), 5)
    assert number > 5


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_the_middle_of_a_change_comes_before_or_after_it(name):
    make, change = CHANGES[name]
    outcomes = []
    for calls in ((INNER[make], change), (change, INNER[make])):
        store = make()
        for call in calls:
            with contextlib.suppress(SessionNotFoundError):
                call(store)
        outcomes.append(seen(store))
    for number in itertools.count(1):
        store = make()

        def act(store=store):
            with contextlib.suppress(SessionNotFoundError):
                INNER[make](store)

        found = visit(lambda store=store: change(store), Watched(store), number, act)
        if found.where is None:
            break
        assert found.error is None, found.where
        assert seen(store) in outcomes, found.where
    assert number > 5


def test_changes_that_never_stop_coming_into_the_middle_are_refused():
    store = state()
    steps = store._steps
    inside = []

    class Interfering(type(steps._entries)):
        def text(self, key, now):
            if not inside:
                inside.append(True)
                store.incr("b")
                inside.clear()
            return super().text(key, now)

    steps._entries = Interfering(steps._entries)
    with pytest.raises(UnsupportedOperationError, match="middle"):
        store.set("a", 9)
    assert store.get("a") == 1
