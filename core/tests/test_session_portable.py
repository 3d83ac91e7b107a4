"""Sessions that go from one session store to another as one JSON object."""

from __future__ import annotations

import json

import pytest

from praisonai_persistence import payload
from praisonai_persistence.errors import (
    ConnectionFailedError,
    InvalidValueError,
    PersistenceError,
    SerializationError,
)
from praisonai_persistence.memory import MemoryConversationStore
from praisonai_persistence.sessions import (
    ExtendedSessionData,
    ImportReport,
    IncrementalSessionStoreProtocol,
    PortableSessionStoreProtocol,
    StoreBackedSessionStore,
)

STORES = ("store", "DefaultSessionStore", "HierarchicalSessionStore", "SqliteSessionStore", "SqliteTranscriptStore")


def make(kind, folder):
    if kind == "store":
        return StoreBackedSessionStore(MemoryConversationStore())
    pytest.importorskip("praisonai_persistence_json", reason="session files need praisonai-persistence-json")
    from praisonai_persistence import sessions

    return getattr(sessions, kind)(folder)


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    return make(request.param, tmp_path / "one")


def fill(store):
    for number in range(3):
        store.add_message(f"s{number}", "user", f"hello {number}", {"n": number})
        store.add_message(f"s{number}", "assistant", "é 😀", tool_calls=[{"id": "c"}])
    store.set_gateway_info("s0", "gateway", "agent")
    store.update_session_metadata("s1", lineage_id="chain", colour="red")
    store.update_session_metadata("s2", lineage_id="chain")


@pytest.mark.parametrize("target", STORES)
def test_all_sessions_go_to_another_store(store, target, tmp_path):
    fill(store)
    exported = json.loads(json.dumps(store.export_all()))
    assert exported["version"] == 1
    assert sorted(one["session_id"] for one in exported["sessions"]) == ["s0", "s1", "s2"]
    other = make(target, tmp_path / "other")
    report = other.import_sessions(exported)
    assert (report.imported, report.skipped, report.as_dict()["skipped_count"]) == (3, [], 0)
    for number in range(3):
        before, after = store.get_session(f"s{number}"), other.get_session(f"s{number}")
        assert [vars(m) for m in after.messages] == [vars(m) for m in before.messages]
        assert after.metadata == before.metadata
    assert (other.get_session("s0").gateway_session_id, other.get_session("s0").agent_id) == (None, None)
    again = other.import_sessions(exported)
    assert (again.imported, {one["reason"] for one in again.skipped}) == (0, {"already exists (use overwrite)"})
    other.add_message("s0", "user", "more")
    over = other.import_sessions(exported, overwrite=True, reset_live_fields=False)
    assert (over.imported, over.skipped) == (3, [])
    assert [m.content for m in other.get_session("s0").messages] == ["hello 0", "é 😀"]
    assert other.get_session("s0").gateway_session_id == "gateway"
    assert other.add_message("s0", "user", "goes on")


def test_protocols(store):
    assert isinstance(store, PortableSessionStoreProtocol)
    assert isinstance(store, IncrementalSessionStoreProtocol)
    assert isinstance(store.import_sessions({"sessions": []}), ImportReport)


def test_one_session_and_those_of_its_conversation(store):
    fill(store)
    if "hierarchy" in store.capabilities:
        assert store.export_session("s1")["session_id"] == "s1"
        return
    assert [one["session_id"] for one in store.export_session("s0")["sessions"]] == ["s0"]
    assert [one["session_id"] for one in store.export_session("s1")["sessions"]] == ["s1", "s2"]
    assert [one["session_id"] for one in store.export_session("s1", include_lineage=False)["sessions"]] == ["s1"]
    assert store.export_session("nobody") == {"version": 1, "sessions": []}


def test_what_is_left_out_is_told(store):
    sessions = [
        "no object",
        {"messages": []},
        {"session_id": "a", "messages": [{"role": "user", "content": "x"}]},
        {"session_id": "a", "messages": []},
        {"session_id": "b", "messages": "no list"},
        {"session_id": "c\0", "messages": []},
        {"session_id": "d", "messages": []},
        {"session_id": "e", "messages": []},
    ]
    report = store.import_sessions({"sessions": sessions}, max_sessions=2)
    assert report.imported == 2
    assert [one["session_id"] for one in report.skipped] == ["", "", "a", "b", "c\0", ""]
    assert "max_sessions=2" in report.skipped[-1]["reason"]
    assert not store.session_exists("b")
    assert not store.session_exists("e")
    assert store.get_chat_history("a") == [{"role": "user", "content": "x"}]
    newer = store.import_sessions({"version": 2, "sessions": sessions})
    assert (newer.imported, newer.skipped_count) == (0, 1)
    for wrong in (None, [], {}, {"sessions": None}):
        with pytest.raises(SerializationError):
            store.import_sessions(wrong)
    with pytest.raises(InvalidValueError):
        store.import_sessions({"sessions": []}, max_sessions=-1)


def test_snapshots_go_along(tmp_path):
    one, other = make("HierarchicalSessionStore", tmp_path), make("store", None)
    one.add_message("s", "user", "before")
    snapshot = one.create_snapshot("s")
    one.set_chat_history("s", [{"role": "user", "content": "after"}])
    for first, second in ((one, other), (other, make("HierarchicalSessionStore", tmp_path / "again"))):
        for overwrite in (False, True):
            assert second.import_sessions(first.export_all(), overwrite=overwrite).imported == 1
        copy = make("store", None)
        copy.import_sessions(second.export_all())
        assert copy.revert_to_snapshot("s", snapshot)
        assert copy.get_chat_history("s") == [{"role": "user", "content": "before"}]


@pytest.mark.parametrize("kind", ["store", "HierarchicalSessionStore"])
def test_a_snapshot_that_lacks_what_others_have_goes_along(tmp_path, kind):
    messages = [{"role": "user", "content": "before"}]
    snapshot = {"id": "x", "snapshot_id": "x", "label": "l", "transcript": {"messages": messages}}
    one, other = make(kind, tmp_path / "a"), make(kind, tmp_path / "b")
    one.import_session({"session_id": "s", "messages": [], "snapshots": [snapshot]}, "s")
    exported = one._exported("s")
    assert None not in exported["snapshots"][0]["transcript"].values()
    report = other.import_sessions({"version": 1, "sessions": [exported]})
    assert (report.imported, report.skipped) == (1, [])
    assert [found.label for found in other.get_snapshots("s")] == ["l"]
    assert other.import_session({"session_id": "t", "snapshots": None}, "t") == "t"
    assert other.get_snapshots("t") == []


@pytest.mark.parametrize("kind", ["DefaultSessionStore", "HierarchicalSessionStore"])
def test_a_backup_without_what_cannot_be_read_is_an_error(tmp_path, kind):
    store = make(kind, tmp_path)
    store.add_message("s", "user", "x")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(PersistenceError):
        store.export_all()
    assert [one["session_id"] for one in store.list_sessions()] == ["s"]


class Interfered(MemoryConversationStore):
    """Does what it was given before the next session is replaced."""

    before_rewrite = None

    def rewrite_session(self, *arguments, **named):
        now, self.before_rewrite = self.before_rewrite, None
        if now is not None:
            now()
        return super().rewrite_session(*arguments, **named)


def interfered():
    engine = Interfered()
    store = StoreBackedSessionStore(engine)
    store.add_message("s", "user", "old")
    store.create_snapshot("s", "kept")
    other = make("store", None)
    other.add_message("s", "user", "new")
    return engine, store, other.export_all()


def test_a_session_that_cannot_be_replaced_stays():
    engine, store, exported = interfered()

    def fail():
        raise ConnectionFailedError("gone")

    engine.before_rewrite = lambda: setattr(engine, "before_rewrite", fail)  # of the second write, that replaces
    with pytest.raises(ConnectionFailedError):
        store.import_sessions(exported, overwrite=True)
    assert store.get_chat_history("s") == [{"role": "user", "content": "old"}]
    assert [snapshot.label for snapshot in store.get_snapshots("s")] == ["kept"]


def test_what_another_writer_appends_while_a_session_is_replaced_stays():
    engine, store, exported = interfered()
    engine.before_rewrite = lambda: setattr(
        engine, "before_rewrite", lambda: store.add_message("s", "user", "meanwhile") and None
    )
    report = store.import_sessions(exported, overwrite=True)
    assert (report.imported, report.skipped) == (1, [])
    assert {message["content"] for message in store.get_chat_history("s")} == {"meanwhile", "new"}
    assert store.get_snapshots("s") == []


def test_an_export_may_be_larger_than_a_session_may_be(store, monkeypatch, tmp_path):
    fill(store)
    exported = store.export_all()
    largest = max(len(json.dumps(one)) for one in exported["sessions"])
    monkeypatch.setattr(payload, "MAX_BYTES", 2 * largest)
    assert len(json.dumps(exported)) > 2 * largest
    assert make("store", tmp_path).import_sessions(exported).imported == 3


def test_a_session_that_is_no_json_is_left_out(store):
    fill(store)
    exported = store.export_all()
    exported["sessions"][1]["metadata"] = {"x": object()}
    report = make("store", None).import_sessions(exported)
    assert (report.imported, [one["session_id"] for one in report.skipped]) == (
        2,
        [exported["sessions"][1]["session_id"]],
    )


def nested(levels):
    """Return objects in one another, so many levels of them."""
    found = 1
    for _ in range(levels):
        found = {"a": found}
    return found


DEEPEST = nested(payload.MAX_DEPTH)


def deep(store):
    """Put the deepest values that are taken wherever a session store takes any."""
    store.add_message("s", "user", [{"type": "text", "text": "x", "more": nested(payload.MAX_DEPTH - 2)}], DEEPEST)
    store.add_message("s", "assistant", "", tool_calls=[{"id": "c", "args": nested(payload.MAX_DEPTH - 2)}])
    store.set_runtime_state("s", "runtime", "turn", DEEPEST)
    store.update_session_metadata("s", **DEEPEST)
    store.merge_session_metadata_map("s", "map", nested(payload.MAX_DEPTH - 1))
    if "hierarchy" in store.capabilities:
        store.create_snapshot("s")


@pytest.mark.parametrize("target", STORES)
def test_whatever_was_accepted_can_be_exported_and_imported(store, target, tmp_path):
    deep(store)
    other = make(target, tmp_path / "other")
    assert other.import_sessions(json.loads(json.dumps(store.export_all()))).skipped == []
    names = ("messages", "metadata")
    before, after = store.get_session("s"), other.get_session("s")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    if "hierarchy" in store.capabilities & other.capabilities:
        copy = other.import_session(json.loads(json.dumps(store.export_session("s"))), "copy")
        assert other.get_session(copy).runtime_state == {"runtime": {"turn": DEEPEST}}
        assert other.get_runtime_state(copy, "runtime", "turn") == DEEPEST


@pytest.mark.parametrize("target", STORES)
def test_what_was_archived_is_as_deep_as_it_was(target, tmp_path):
    message = {"role": "user", "content": "x", "metadata": DEEPEST, "extra": nested(payload.MAX_DEPTH)}
    document = {"session_id": "s", "messages": [message], "archived_messages": [message]}
    first, other = make("HierarchicalSessionStore", tmp_path / "one"), make(target, tmp_path / "other")
    first.import_session(document, "s")
    assert other.import_sessions(json.loads(json.dumps(first.export_all()))).skipped == []
    assert other.get_session("s").archived_messages[0].metadata == DEEPEST


def test_what_is_deeper_is_refused_before_anything_is_written(store):
    deeper = nested(payload.MAX_DEPTH + 1)
    for write in (
        lambda: store.add_message("s", "user", "x", deeper),
        lambda: store.add_message("s", "user", "x", tool_calls=[deeper]),
        lambda: store.set_runtime_state("s", "runtime", "turn", deeper),
        lambda: store.update_session_metadata("s", **deeper),
        lambda: store.merge_session_metadata_map("s", "map", DEEPEST),
    ):
        with pytest.raises(SerializationError, match="levels"):
            write()
    assert not store.session_exists("s")


NULLS = (
    *("messages", "archived_messages", "metadata", "runtime_state", "snapshots", "children_ids"),
    *("last_compaction", "title", "is_shared", "agent_name", "created_at", "updated_at"),
)


@pytest.mark.parametrize("kind", ["store", "HierarchicalSessionStore"])
@pytest.mark.parametrize("name", NULLS)
def test_a_field_that_is_null_is_one_that_is_not_there(kind, name, tmp_path):
    store = make(kind, tmp_path)
    store.create_session("s", title="one")
    store.add_message("s", "user", "hello")
    store.create_snapshot("s")
    exported = store.export_session("s")
    exported["snapshots"][0]["transcript"]["archived_messages"] = None
    copied = store.get_session(store.import_session({**exported, name: None}))
    found = [message.content for message in copied.messages]
    assert (found, copied.archived_messages) == ([] if name == "messages" else ["hello"], [])
    assert (copied.title, copied.is_shared, copied.metadata) == (None if name == "title" else "one", False, {})
    report = store.import_sessions({"version": 1, "sessions": [{**exported, "session_id": "t", name: None}]})
    assert (report.imported, report.skipped) == (1, [])


@pytest.mark.parametrize("kind", ["store", "HierarchicalSessionStore"])
def test_sessions_of_a_hierarchy_say_where_in_it_they_stand(kind, tmp_path):
    store = make(kind, tmp_path)
    store.create_session("s", title="one")
    child = store.fork_session("s")
    fields = {"parent_id", "forked_from_message_id", "children_ids", "snapshots", "is_shared", "title"}
    for session_id in ("s", child, "unknown"):
        session = store.get_session(session_id)
        assert isinstance(session, ExtendedSessionData)
        assert fields <= session.to_dict().keys()
    assert store.get_session("s").to_dict()["children_ids"] == [child]
    assert store.get_session(child).to_dict()["parent_id"] == "s"
