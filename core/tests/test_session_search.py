"""What a session store can be asked beyond its five methods: search, windows, summaries, protocols, documents."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3

import pytest

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.sessions import (
    CheckpointQueryProtocol,
    CompactionCheckpoint,
    ExtendedSessionData,
    RuntimeStateMirroringProtocol,
    SearchableSessionStoreProtocol,
    SessionData,
    SessionHit,
    SessionMessage,
    SessionMirrorProtocol,
    SessionSnapshot,
    StoreBackedSessionStore,
    get_default_session_store,
    get_hierarchical_session_store,
    set_default_session_store,
)


@pytest.fixture
def files():
    """The module of the session stores on files: a package of its own."""
    return pytest.importorskip("praisonai_persistence_json.sessions")


@pytest.fixture(params=["files", "search", "plain"])
def searched(request, tmp_path):
    """A session store on files, on a store with full-text search, and on one without."""
    if request.param == "files":
        yield request.getfixturevalue("files").HierarchicalSessionStore(tmp_path)
    elif request.param == "search":
        pytest.importorskip("praisonai_persistence_sqlite")
        with StoreBackedSessionStore.open(f"sqlite:///{tmp_path}/x.db") as store:
            yield store
    else:
        store = MemoryConversationStore()
        store.capabilities -= {"search"}
        yield StoreBackedSessionStore(store)


def test_sessions_are_searched(searched):
    for session_id, turns in {
        "a": ["red fox"],
        "b": ["x", "y", "a RED, red fox!", "z", "the fox is red"],
        "c": [],
    }.items():
        searched.update_session_metadata(session_id, title=session_id.upper())
        for turn in turns:
            searched.add_message(session_id, "user", turn, {"message_id": turn})
    searched.add_message("d", "assistant", "red " + "filler " * 100)
    searched.create_snapshot("b")
    first, second = searched.search("fox red", window=1)
    assert isinstance(first, SessionHit)
    assert (first.session_id, first.title, first.score, first.anchor_index) == ("b", "B", 2.0, 4)
    assert [message["content"] for message in first.messages] == ["z", "the fox is red"]
    assert [message["content"] for message in first.bookends["opening"]] == ["x", "y"]
    assert [message["index"] for message in first.bookends["closing"]] == [3, 4]
    assert ([message["index"] for message in second.bookends["opening"]], second.bookends["closing"]) == ([0], [])
    assert (second.session_id, second.snippet, second.as_dict()["score"]) == ("a", "red fox", 1.0)
    assert first.when == searched.get_session("b").updated_at
    assert [hit.session_id for hit in searched.search("fox", limit=1)] == ["b"]
    assert len(searched.search("filler")[0].snippet) <= 200
    assert searched.search("fo") == searched.search("?!") == searched.search("fox", limit=0) == []
    with pytest.raises(InvalidValueError):
        searched.search(None)
    with pytest.raises(InvalidValueError):
        searched.search("fox", limit=-1)


def test_windows_of_messages(searched):
    for n in range(6):
        searched.add_message("s", "user", str(n), {"message_id": f"m{n}"})
    shown = searched.window("s", window=1)
    assert [message["content"] for message in shown] == ["4", "5"]
    assert set(shown[0]) == {"role", "content", "timestamp", "index", "id", "archived"}
    for message in searched.window("s", window=6):
        around = searched.window("s", message["id"], window=1)
        assert [other["index"] for other in around] == [
            index for index in range(message["index"] - 1, message["index"] + 2) if 0 <= index < 6
        ]
    assert searched.window("unknown") == searched.window("unknown", 3) == searched.window("unknown", "m1") == []
    for last in (None, "", 5, "5", 99, "m5", "nothing", float("inf")):
        assert [message["content"] for message in searched.window("s", last, window=0)] == ["5"]
    (hit,) = searched.search("2")
    assert searched.window("s", str(hit.anchor_index), window=1) == searched.window("s", "m2", window=1)
    assert [message["content"] for message in searched.window("s", -3, window=0)] == ["0"]


@pytest.fixture(params=["DefaultSessionStore", "SqliteSessionStore", "SqliteTranscriptStore", "database", "memory"])
def with_archive(request, tmp_path):
    """A session store with a session of which four messages are archived and two are at hand, and another session."""
    if request.param in {"database", "memory"}:
        pytest.importorskip("praisonai_persistence_sqlite")
        url = f"sqlite:///{tmp_path}/x.db" if request.param == "database" else "memory://"
        with StoreBackedSessionStore.open(url) as store:
            archived = [{"role": role, "content": text} for role, text in TURNS[:4]]
            messages = [{"role": role, "content": text} for role, text in TURNS[4:]]
            store.import_session({"session_id": "s", "messages": messages, "archived_messages": archived}, "s")
            store.add_message("other", "user", "new fox")
            yield store
        return
    sqlite_sessions = pytest.importorskip("praisonai_persistence_json.sqlite_sessions")
    module = sqlite_sessions if request.param.startswith("Sqlite") else request.getfixturevalue("files")
    store = getattr(module, request.param)(tmp_path, retention="compact", active_window=2)
    for role, text in TURNS:
        store.add_message("s", role, text)
    store.add_message("other", "user", "new fox")
    yield store


TURNS = [
    *[("user", "old fox"), ("assistant", "archived answer"), ("tool", "a result"), ("assistant", "after it")],
    *[("user", "new question"), ("assistant", "new answer about the fox")],
]


def test_archived_messages_are_found_and_shown_as_such(with_archive):
    assert len(with_archive.get_session("s").messages) == 2
    (hit,) = with_archive.search("archived", window=1)
    assert (hit.session_id, hit.anchor_index, hit.snippet) == ("s", 1, "archived answer")
    assert hit.title == "new question"
    assert [(item["index"], item["archived"]) for item in hit.messages] == [(0, True), (1, True), (2, True)]
    assert [(item["content"], item["archived"]) for item in hit.bookends["opening"]] == [
        *[("old fox", True), ("archived answer", True)]
    ]
    assert [item["index"] for item in hit.bookends["closing"]] == [4, 5]
    first, second = with_archive.search("fox")
    assert (first.session_id, first.score, first.anchor_index) == ("s", 2.0, 5)
    assert second.session_id == "other"
    assert with_archive.search("archived fox") == []


def test_windows_go_on_into_what_is_archived(with_archive):
    (hit,) = with_archive.search("archived", window=0)
    assert with_archive.window("s", str(hit.anchor_index), window=0) == hit.messages
    shown = with_archive.window("s", "3", window=1)
    assert [(item["content"], item["archived"]) for item in shown] == [
        *[("a result", True), ("after it", True), ("new question", False)]
    ]
    assert [item["index"] for item in with_archive.window("s", window=9)] == [0, 1, 2, 3, 4, 5]


def test_an_index_of_an_earlier_version_is_made_anew(files, tmp_path):
    sqlite_sessions = pytest.importorskip("praisonai_persistence_json.sqlite_sessions")
    store = sqlite_sessions.SqliteSessionStore(tmp_path, retention="compact", active_window=2)
    for role, text in TURNS:
        store.add_message("s", role, text)
    os.utime(tmp_path / "s.json", (1000, 1000))  # long ago, so that its time tells whether it has changed
    assert store.search("archived")
    with contextlib.closing(sqlite3.connect(store.db_path)) as connection:
        connection.execute("DELETE FROM praison_words")
        connection.execute("UPDATE praison_files SET stamp = substr(stamp, instr(stamp, ' ') + 1)")
        connection.commit()
    assert store.search("archived")


def test_one_conversation_is_one_hit_and_what_no_user_takes_part_in_comes_later(searched):
    for session_id, turns, metadata in (
        ("root", ["report"], {"lineage_id": "L"}),
        ("continued", ["report", "report again"], {"lineage_id": "L"}),
        ("nightly", ["report"] * 3, {"source": "Scheduled"}),
        ("marked", ["report"] * 2, {"automated": True}),
        ("one", ["report"], {"parent_session_id": "P"}),
        ("two", ["report"], {"parent_session_id": "P"}),
    ):
        for turn in turns:
            searched.add_message(session_id, "user", turn)
        searched.update_session_metadata(session_id, **metadata)
    found = [(hit.session_id, hit.score) for hit in searched.search("report", limit=9)]
    assert found == [("continued", 2.0), ("two", 1.0), ("one", 1.0), ("nightly", 0.75), ("marked", 0.5)]
    assert [hit.session_id for hit in searched.search("report", limit=2)] == ["continued", "two"]


def test_how_a_session_is_called(searched):
    searched.add_message("s", "assistant", "fox")
    assert searched.search("fox")[0].title == searched.recent()[0].title == "s"
    searched.add_message("s", "user", "what  is\nthis " + "long " * 50)
    assert searched.search("fox")[0].title == ("what is this " + "long " * 50)[:60]
    searched.set_agent_info("s", "agent")
    assert searched.search("fox")[0].title == searched.recent()[0].title == "agent"
    searched.rename_session("s", "Foxes")
    assert searched.search("fox")[0].title == searched.recent()[0].title == "Foxes"


def test_the_latest_sessions_and_all_of_them(searched):
    for n in range(60):
        searched.add_message(f"s{n}", "user", "x")
    assert [summary.session_id for summary in searched.recent(limit=2)] == ["s59", "s58"]
    assert searched.recent(limit=1)[0].as_dict()["message_count"] == 1
    assert len(searched.list_sessions()) == 50
    assert len(searched.list_sessions(limit=None)) == 60
    assert isinstance(searched, SearchableSessionStoreProtocol)
    assert isinstance(searched, RuntimeStateMirroringProtocol)
    assert not isinstance(searched, SessionMirrorProtocol)
    assert not isinstance(searched, CheckpointQueryProtocol)


def test_a_session_is_a_document_again(searched):
    searched.add_message("s", "assistant", "", tool_calls=[{"id": "c"}])
    searched.add_message("s", "tool", "found", tool_call_id="c")
    searched.append_compaction_checkpoint("s", "short")
    searched.set_agent_info("s", "agent", "user")
    session = searched.get_session("s")
    document = session.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert type(session).from_dict(document) == session
    assert document["messages"][1]["tool_call_id"] == "c"
    snapshot = SessionSnapshot("i", "s", 1, 2.0, "l", {"a": 1})
    assert SessionSnapshot.from_dict(snapshot.to_dict()) == snapshot
    fresh = SessionData("new").to_dict()
    assert "last_compaction" not in fresh
    assert "children_ids" not in fresh


def test_the_store_with_a_hierarchy(files, tmp_path, monkeypatch):
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path))
    found = get_hierarchical_session_store()
    found.create_session("s", title="t")
    assert get_default_session_store().session_exists("s")
    chosen = StoreBackedSessionStore(MemoryConversationStore())
    set_default_session_store(chosen)
    try:
        assert get_hierarchical_session_store() is chosen
    finally:
        set_default_session_store(None)


@pytest.mark.parametrize(
    ("retention", "window", "kept"),
    [
        ("keep_all", "2", ("keep_all", 2)),
        ("truncate", None, ("truncate", 100)),
        ("all", "3", ("compact", 3)),
        (None, "0", ("compact", 0)),
        *((None, wrong, ("compact", 100)) for wrong in ("-1", "two", "1.5", "²")),
    ],
)
def test_what_the_default_store_keeps_may_stand_in_the_environment(
    files, tmp_path, monkeypatch, caplog, retention, window, kept
):
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path))
    for name, value in (("RETENTION", retention), ("ACTIVE_WINDOW", window)):
        if value is not None:
            monkeypatch.setenv(f"PRAISONAI_SESSION_{name}", value)
    store = get_default_session_store()
    assert (store.retention, store.active_window) == kept
    wrong = retention == "all" or window not in (None, "0", "2", "3")
    assert ("is not used" in caplog.text) is wrong
    for other in (files.DefaultSessionStore(tmp_path), files.HierarchicalSessionStore(tmp_path, max_messages=7)):
        assert other.retention == ("compact" if other.max_messages == 100 else "truncate")
        assert other.active_window == other.max_messages
    hierarchical = get_hierarchical_session_store()
    assert (hierarchical.retention, hierarchical.active_window) == ("compact", 100)


def test_searches_look_at_the_text_of_parts(searched):
    parts = [{"type": "text", "text": "a red"}, "fox", {"type": "image_url", "image_url": {"url": "data:needle"}}]
    searched.add_message("a", "user", parts)
    (hit,) = searched.search("fox red")
    assert (hit.session_id, hit.snippet) == ("a", "a red\nfox")
    assert searched.search("needle") == []


def test_a_copy_is_trimmed():
    session = SessionData("s", [SessionMessage("user", str(number)) for number in range(5)])
    session.last_compaction = CompactionCheckpoint("before", message_index=3)
    session.trim_messages(7)
    assert len(session.messages) == 5
    session.trim_messages(4)
    assert ([message.content for message in session.messages], session.last_compaction.message_index) == (
        ["1", "2", "3", "4"],
        2,
    )
    session.trim_messages(0)
    assert (session.messages, session.last_compaction.message_index) == ([], 0)
    with pytest.raises(InvalidValueError):
        session.trim_messages(-1)


def test_a_session_with_more_fields():
    session = SessionData("s", title="Title", extra={"unknown": 1})
    extended = ExtendedSessionData.from_session_data(session)
    assert isinstance(extended, SessionData)
    places = {
        "parent_id": None,
        "forked_from_message_id": None,
        "children_ids": [],
        "snapshots": [],
        "is_shared": False,
    }
    assert extended.to_dict() == {**places, **session.to_dict()}


@pytest.mark.needs_packages("sqlite")
def test_a_search_asks_a_store_for_the_sessions_that_it_looks_at_and_not_for_their_messages(tmp_path, monkeypatch):
    with StoreBackedSessionStore.open(f"sqlite:///{tmp_path}/x.db") as sessions:
        for number in range(3):
            sessions.add_message(f"s{number}", "user", f"red fox {number}")
        sessions.add_message("other", "user", "red hen")
        monkeypatch.setattr(sessions._store, "search_messages", None)
        assert sorted(sessions._store._sessions_with("FOX red")) == ["s0", "s1", "s2"]
        assert sessions._store._sessions_with("...") == []
        assert [hit.session_id for hit in sessions.search("red fox", limit=2)] == ["s2", "s1"]
        sessions.delete_session("s2")
        assert [hit.session_id for hit in sessions.search("red fox")] == ["s1", "s0"]
