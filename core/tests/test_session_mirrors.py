"""Mirrors of session stores, and titles that a model makes."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading

import pytest

from praisonai_persistence.errors import ConfigurationError, StoreClosedError
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.sessions import SessionMirrorProtocol, StoreBackedSessionStore


class Mirror:
    """Keeps records by their ids; ``failures`` of its first calls raise."""

    def __init__(self, failures=0):
        self.calls = 0
        self.failures = failures
        self.sessions = {}

    def append(self, session_id, records):
        self.calls += 1
        wanted = [dict(record) for record in records]
        for record in records:
            record.clear()  # a mirror may do with them what it likes
        if self.calls <= self.failures:
            raise OSError("secret text")
        self.sessions.setdefault(session_id, {}).update({record["id"]: record for record in wanted})

    def load(self, session_id):
        return list(self.sessions.get(session_id, {}).values())

    def list_sessions(self, *, user_id=None):
        return [{"session_id": session_id} for session_id in self.sessions]

    def texts(self, session_id):
        return [record["content"] for record in self.load(session_id)]


class StuckMirror:
    """Never comes back before it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.go = threading.Event()

    def append(self, session_id, records):
        self.entered.set()
        self.go.wait(60)


@pytest.fixture(params=["files", "records"])
def make(request, tmp_path):
    """Makes a session store with a mirror: on files, or on a conversation store."""

    def made(mirror):
        if request.param == "files":
            files = pytest.importorskip("praisonai_persistence_json.sessions")
            return files.HierarchicalSessionStore(tmp_path, mirror=mirror)
        return StoreBackedSessionStore(MemoryConversationStore(), mirror=mirror)

    return made


def test_a_mirror_gets_what_is_stored(make):
    mirror = Mirror()
    assert isinstance(mirror, SessionMirrorProtocol)
    store = make(mirror)
    store.add_user_message("a", "one", {"k": 1})
    store.add_message("a", "assistant", "two", tool_calls=[{"id": "c"}])
    store.add_user_message("b", "one")
    assert store.flush_mirror()
    assert mirror.texts("a") == ["one", "two"]
    first, second = mirror.load("a")
    assert (first["session_id"], first["role"], first["metadata"]) == ("a", "user", {"k": 1})
    assert second["tool_calls"] == [{"id": "c"}]
    assert mirror.texts("b") == ["one"]


def test_an_answer_that_is_being_made_reaches_the_mirror_when_it_is_whole(make):
    mirror = Mirror()
    store = make(mirror)
    store.upsert_partial_assistant_message("a", "o")
    store.upsert_partial_assistant_message("a", "one")
    assert store.flush_mirror()
    assert mirror.calls == 0
    store.upsert_partial_assistant_message("a", "one!", finalize=True)
    assert store.flush_mirror()
    assert mirror.texts("a") == ["one!"]


def test_a_history_that_is_given_again_has_the_same_ids_and_equal_messages_stay_separate(make):
    mirror = Mirror()
    store = make(mirror)
    history = [{"role": "user", "content": "hi", "timestamp": 5.0}] * 2 + [
        {"role": "user", "content": "you", "timestamp": 6.0}
    ]
    for _ in range(2):
        store.set_chat_history("a", history)
    assert store.flush_mirror()
    assert mirror.texts("a") == ["hi", "hi", "you"]


def test_a_mirror_that_fails_is_tried_again_and_given_up(make, caplog):
    mirror = Mirror(failures=2)
    store = make(mirror)
    store.add_user_message("a", "one")
    assert store.flush_mirror()
    assert (mirror.calls, mirror.texts("a")) == (3, ["one"])
    mirror = Mirror(failures=3)
    store = make(mirror)
    with caplog.at_level(logging.ERROR, "praisonai_persistence"):
        store.add_user_message("b", "one")
        store.add_user_message("b", "two")
        assert store.flush_mirror()
    assert mirror.texts("b") == ["two"]
    assert [record.getMessage() for record in caplog.records] == [
        "the mirror failed 3 times: OSError; 1 messages are not in it"
    ]


def test_a_mirror_that_hangs_delays_nobody(make, monkeypatch, caplog):
    monkeypatch.setattr("praisonai_persistence.stores._session_mirror.MOST", 2)
    monkeypatch.setattr("praisonai_persistence.stores._session_mirror.END", 0.05)
    mirror = StuckMirror()
    store = make(mirror)
    store.add_user_message("a", "0")
    assert mirror.entered.wait(30)
    with caplog.at_level(logging.WARNING, "praisonai_persistence"):
        for number in range(1, 4):
            store.add_user_message("a", str(number))
    assert [record.getMessage() for record in caplog.records] == [
        "the mirror is too slow: 1 messages of a session are not in it"
    ]
    assert [message["content"] for message in store.get_chat_history("a")] == ["0", "1", "2", "3"]
    assert not store.flush_mirror(0.01)
    store.close()
    with pytest.raises(StoreClosedError):
        store.add_user_message("a", "4")
    mirror.go.set()
    assert store.flush_mirror()


def test_nothing_reaches_a_mirror_that_is_closed_before_its_store(make, caplog):
    mirror = Mirror()
    store = make(mirror)
    store.add_user_message("a", "one")
    store.close_mirror()
    assert mirror.texts("a") == ["one"]
    store.add_user_message("a", "two")
    assert store.flush_mirror()
    assert mirror.texts("a") == ["one"]
    assert "the mirror is closed" in caplog.text


def test_a_store_without_a_mirror_has_nothing_to_wait_for(make):
    store = make(None)
    store.add_user_message("a", "one")
    assert store.flush_mirror(0)
    store.close_mirror()


def test_what_is_no_mirror_is_refused(make):
    with pytest.raises(ConfigurationError, match=r"append\(session_id, records\)"):
        make(object())


def test_a_forked_child_has_a_thread_of_its_own(make):
    mirror = Mirror()
    store = make(mirror)
    store.add_user_message("a", "one")
    assert store.flush_mirror()
    child = os.fork()
    if not child:
        os._exit(not (store.add_user_message("a", "two") and store.flush_mirror(30) and len(mirror.load("a")) == 2))
    assert os.waitpid(child, 0)[1] == 0
    assert mirror.texts("a") == ["one"]


END = """
import sys, time
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.sessions import StoreBackedSessionStore

class Mirror:
    def append(self, session_id, records):
        time.sleep(0.2)
        print(session_id, len(records), flush=True)

store = StoreBackedSessionStore(MemoryConversationStore(), mirror=Mirror())
for name in "ab":
    store.add_user_message(name, "x")
"""


def test_the_end_of_the_process_waits_for_the_mirror():
    done = subprocess.run([sys.executable, "-c", END], capture_output=True, text=True, timeout=120, check=True)
    assert (done.stdout.split(), done.stderr) == (["a", "1", "b", "1"], "")


# -------------------------------------------------------------------------------------------------------------- titles


async def joined(asked, answered):
    """Make a title."""
    return f" {asked}/{answered} "


def test_a_title_is_made_of_the_first_exchange(make):
    store = make(None)
    store.add_message("a", "assistant", "welcome")
    store.add_user_message("a", "why?")
    assert not asyncio.run(store.auto_title("a", joined))
    store.add_message("a", "assistant", "because")
    store.add_user_message("a", "more?")
    assert asyncio.run(store.auto_title("a", joined))
    assert store.get_extended_session("a").title == "why?/because"
    assert not asyncio.run(store.auto_title("a", joined))  # it has one


def test_no_title_takes_the_place_of_another(make):
    store = make(None)
    store.add_user_message("a", "why?")
    store.add_message("a", "assistant", "because")

    async def slow(asked, answered):
        store.set_title("a", "mine")
        return "made"

    assert not asyncio.run(store.auto_title("a", slow))
    assert store.get_extended_session("a").title == "mine"
    store.rename_session("b", "named")
    store.add_user_message("b", "why?")
    store.add_message("b", "assistant", "because")
    assert not asyncio.run(store.auto_title("b", joined))


def test_no_title_is_made_of_nothing(make):
    store = make(None)

    async def empty(asked, answered):
        return "  "

    assert not asyncio.run(store.auto_title("unknown", joined))
    assert not store.session_exists("unknown")
    store.add_user_message("a", "why?")
    store.add_message("a", "assistant", "because")
    assert not asyncio.run(store.auto_title("a", empty))


def test_without_a_model_the_way_out_is_told(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "praisonaiagents", None)
    store = make(None)
    store.add_user_message("a", "why?")
    store.add_message("a", "assistant", "because")
    with pytest.raises(ConfigurationError, match="make="):
        asyncio.run(store.auto_title("a"))
