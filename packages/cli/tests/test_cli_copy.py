"""Copying from any backend to any other: complete, comparable, harmless to repeat, to kill and to run twice."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from praisonai_persistence import (
    BackendError,
    ConversationMessage,
    ConversationSession,
    DimensionLimitError,
    KnowledgeDocument,
    KnowledgeStore,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence_cli._copying import Plan, copy_conversations
from praisonai_persistence_cli._reading import SessionDigest, Total, canonical, canonical_message
from praisonai_persistence_cli._writing import VerificationError, put_session


def copied(cli, source, target, *arguments):
    result = cli("copy", "--from", source, "--to", target, "--json", *arguments)
    assert result.code == 0, result.err
    return result.json


@pytest.fixture
def in_memory():
    """What is in memory stays there for as long as somebody has it open."""
    with open_conversation_store("memory://copy"), open_state_store("memory://copy"):
        yield


# -------------------------------------------------------------------------------------------------------- conversation


@pytest.mark.parametrize(
    "path", [("a.db", "memory://copy", "json:///files"), ("json:///files", "memory://copy", "a.db")]
)
def test_what_breaks_stores_survives_every_way(cli, read, hostile, path, in_memory):
    hostile(path[0])
    first = copied(cli, path[0], path[1])["conversation"]
    second = copied(cli, path[1], path[2])["conversation"]
    back = copied(cli, path[2], "back.db")["conversation"]
    assert first["digest"] == second["digest"] == back["digest"]
    assert first["messages"] == first["written"] == back["written"] > 0
    expected = repr(sorted(read(path[0]).items()))
    assert repr(sorted(read(path[2]).items())) == repr(sorted(read("back.db").items())) == expected


def test_copying_again_writes_nothing(cli, fill, read):
    fill(sessions=20)
    first = copied(cli, "a.db", "b.db")
    assert first["ok"]
    assert (first["from"], first["to"]) == ("a.db", "b.db")
    assert (first["conversation"]["sessions"], first["conversation"]["written"]) == (20, 80)
    before = read("b.db")
    again = copied(cli, "a.db", "b.db")["conversation"]
    assert (again["sessions"], again["messages"], again["written"]) == (20, 80, 0)
    assert again["digest"] == first["conversation"]["digest"]
    assert read("b.db") == before


def test_order_of_listing_and_messages_stay(cli, fill):
    fill(sessions=30)
    with open_conversation_store("a.db") as store:
        store.delete_messages("s3", ["m0", "m2"])
        listed = [session.session_id for session in store.list_sessions()]
    copied(cli, "a.db", "b.db", "--workers", "1")
    with open_conversation_store("b.db") as store:
        assert [session.session_id for session in store.list_sessions()] == listed
        assert [(message.id, message.seq) for message in store.get_messages("s3")] == [("m1", 1), ("m3", 2)]


def test_what_is_new_in_the_source_follows(cli, fill, read):
    fill()
    copied(cli, "a.db", "b.db")
    with open_conversation_store("a.db") as store:
        store.add_message("s1", ConversationMessage(id="new", content="new"))
        store.create_session(ConversationSession("new"))
    report = copied(cli, "a.db", "b.db")["conversation"]
    assert (report["sessions"], report["written"]) == (4, 1)
    assert read("b.db") == read("a.db")


def test_conflicts_are_reported_and_nothing_is_lost(cli, fill, read):
    fill(sessions=4)
    with open_conversation_store("b.db") as store:
        store.create_session(ConversationSession("s1", name="another"))
        store.add_message("s1", ConversationMessage(id="m0", content="another"))
        store.create_session(ConversationSession("not in the source"))
    before = read("b.db")
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--json")
    assert result.code == 1
    report = result.json["conversation"]
    assert (result.json["ok"], report["sessions"], len(report["conflicts"])) == (False, 3, 1)
    assert "the target has session 's1' already, with other fields" in result.error
    after = read("b.db")
    assert {name: after[name] for name in before} == before
    assert {name for name in after if after[name] == read("a.db").get(name)} == {"s0", "s2", "s3"}
    # With the same messages, --update takes the source's fields.
    with open_conversation_store("b.db") as store:
        store.delete_messages("s1")
    assert cli("copy", "--from", "a.db", "--to", "b.db", "--update").code == 1  # created_at differs, it cannot follow
    with open_conversation_store("b.db") as store:
        store.delete_session("s1")
        store.update_session(ConversationSession("s2", name="another"))
    assert copied(cli, "a.db", "b.db", "--update")["ok"]
    assert {**read("a.db"), "not in the source": before["not in the source"]} == read("b.db")


def test_a_source_that_is_not_there_leaves_the_target_alone(cli, tmp_path):
    (tmp_path / "no.db").write_text("this is no database" * 100)
    result = cli("copy", "--from", "no.db", "--to", "b.db")
    assert (result.code, "no SQLite database" in result.error) == (1, True)
    assert not (tmp_path / "b.db").exists()


def test_a_kind_that_a_backend_lacks_is_found_out_first(cli, fill, tmp_path):
    fill()
    result = cli("copy", "--from", "a.db", "--to", "json:///files", "--kind", "knowledge")
    assert (result.code, "there is no knowledge backend 'json'" in result.error) == (2, True)
    assert not (tmp_path / "files").exists()


def test_all_kinds_that_both_have_are_copied(cli, fill, read):
    fill()
    first = cli("copy", "--from", "a.db", "--to", "json:///files", "--kind", "all", "--json")
    assert first.code == 0
    assert first.json["conversation"]["verified"] is True
    assert set(first.json["left_out"]) == {"knowledge", "state"}
    assert {why["ok"] for why in first.json["left_out"].values()} == {True}
    assert "there are no state tables" in first.json["left_out"]["state"]["reason"]
    assert len(first.err.splitlines()) == 2
    assert read("json:///files") == read("a.db")
    # The other way round the source lacks them, which loses nothing.
    back = cli("copy", "--from", "json:///files", "--to", "b.db", "--kind", "all")
    assert back.code == 0
    assert back.err == "".join(
        f"note: {kind} left out: json:///files has no {kind} store\n" for kind in ("knowledge", "state")
    )
    assert read("b.db") == read("a.db")
    # Here something of the source stays behind.
    with open_state_store("a.db") as store:
        store.set("key", 1)
    result = cli("copy", "--from", "a.db", "--to", "json:///files", "--kind", "all")
    assert result.code == 1
    assert result.err.splitlines()[1] == (
        "Error: state left out: json:///files has no state store, so this part of the source was not copied"
    )


def test_a_kind_whose_backend_is_not_installed_is_left_out_aloud(cli, fill, monkeypatch):
    fill()
    known = {"state": {"json": ("praisonai-persistence-vault", "x:Y")}}
    monkeypatch.setattr("praisonai_persistence._known.KNOWN", known)
    with open_state_store("a.db") as store:
        store.set("key", 1)
    for way in (("a.db", "json:///files"), ("json:///files", "b.db")):
        result = cli("copy", "--from", way[0], "--to", way[1], "--kind", "all")
        assert result.code == 1
        assert "conversation: 3 sessions" in result.out
        assert "Error: state left out: " in result.err
        assert "pip install praisonai-persistence-vault" in result.err


def test_all_kinds_of_nothing(cli, tmp_path):
    result = cli("copy", "--from", "mistyped.db", "--to", "b.db", "--kind", "all")
    assert (result.code, result.out) == (1, "")
    assert "mistyped.db does not exist" in result.error
    assert cli("copy", "--from", "nosuch://x", "--to", "b.db", "--kind", "all").code == 2
    assert [*tmp_path.iterdir()] == []


def test_nothing_is_verified_where_nothing_is(cli):
    with open_conversation_store("a.db") as store, open_state_store("a.db") as state:
        store.connect()
        state.connect()
    result = cli("copy", "--from", "a.db", "--to", "b.db")
    assert (result.code, result.out) == (0, "conversation: the source has no sessions: nothing was copied\n")
    assert copied(cli, "a.db", "b.db", "--kind", "state")["state"]["verified"] is False
    assert cli("export", "--conversation-url", "a.db", "--output", "x.jsonl").err.startswith("note: there are no such")
    imported = cli("import", "--file", "x.jsonl", "--conversation-url", "c.db")
    assert imported.out == "0 sessions with 0 messages, 0 of them new; nothing to verify\n"
    assert cli("import", "--file", "x.jsonl", "--conversation-url", "c.db", "--json").json["verified"] is False


def test_prefixes(cli, fill, read):
    fill()
    copied(cli, "a.db", "a.db", "--to-prefix", "other_")
    assert (
        len(cli("sessions", "--json", "--conversation-url", "a.db", "--table-prefix", "other_").json["sessions"]) == 3
    )
    copied(cli, "a.db", "b.db", "--from-prefix", "other_")
    assert read("b.db") == read("a.db")


class Forgetful:
    """A store that acknowledges messages and loses one."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def add_messages(self, session_id, messages):
        return self._store.add_messages(session_id, messages[:-1])


class Slow:
    """A store of which two wait for each other before each write."""

    def __init__(self, store, barrier):
        self._store = store
        self._barrier = barrier

    def __getattr__(self, name):
        return getattr(self._store, name)

    def add_messages(self, session_id, messages):
        self._barrier.wait(60)
        return self._store.add_messages(session_id, messages)


def test_a_target_that_loses_data_is_found_out(fill):
    fill()
    with open_conversation_store("a.db") as source, open_conversation_store("memory://") as target:
        outcome = copy_conversations(source, Forgetful(target), Plan())
        assert (outcome.units, len(outcome.conflicts)) == (0, 3)
        assert all("reads back otherwise than it was written" in conflict for conflict in outcome.conflicts)
        with pytest.raises(VerificationError):
            put_session(Forgetful(target), ConversationSession("new"), [[ConversationMessage(id="m")]])
        unverified = copy_conversations(source, Forgetful(target), Plan(verify=False))
        assert unverified.conflicts == []


def test_the_first_error_ends_all_workers(fill):
    fill(sessions=50)

    class Broken(Slow):
        def add_messages(self, session_id, messages):
            raise BackendError("the disk is full")

    with open_conversation_store("a.db") as source, open_conversation_store("memory://") as target:
        with pytest.raises(BackendError, match="the disk is full"):
            copy_conversations(source, Broken(target, None), Plan())
        assert len(target.list_sessions()) <= 4


def test_two_copies_at_once(fill, read):
    """Each page is written by both at the same moment, in every session."""
    fill(sessions=12, messages=300)
    barrier = threading.Barrier(2)
    outcomes = []

    def copy():
        with open_conversation_store("a.db") as source, open_conversation_store("b.db") as target:
            outcomes.append(copy_conversations(source, Slow(target, barrier), Plan(workers=1)))

    threads = [threading.Thread(target=copy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(outcome.units, outcome.items, outcome.conflicts) for outcome in outcomes] == [(12, 3600, [])] * 2
    assert outcomes[0].total.hexdigest() == outcomes[1].total.hexdigest()
    assert read("b.db") == read("a.db")


@pytest.mark.parametrize("target", ["b.db", "json:///files"])
def test_two_processes_at_once(process, fill, read, target):
    fill(sessions=60, messages=20)
    arguments = ("copy", "--from", "a.db", "--to", target, "--json")
    running = [process(*arguments, stdout=subprocess.PIPE) for _ in range(2)]
    reports = [json.loads(one.communicate()[0])["conversation"] for one in running]
    assert [one.returncode for one in running] == [0, 0]
    assert [report["messages"] for report in reports] == [1200, 1200]
    assert reports[0]["digest"] == reports[1]["digest"]
    assert read(target) == read("a.db")


def messages_in(url):
    with open_conversation_store(url) as store:
        return sum(store.count_messages(session.session_id) for session in store.list_sessions(limit=10_000))


@pytest.mark.crash
@pytest.mark.parametrize("target", ["b.db", "json:///files"])
def test_killed_and_started_again(process, cli, fill, read, target):
    """SIGKILL when some more is there; what is there then is a beginning, and in the end it is all there, once."""
    fill(sessions=150, messages=20)
    everything = read("a.db")
    killed = 0
    for least in (200, 900, 1600):
        running = process("copy", "--from", "a.db", "--to", target, "--workers", "2", stdout=subprocess.DEVNULL)
        while messages_in(target) < least and running.poll() is None:
            time.sleep(0.01)  # there is nothing to wait for but its writes
        running.send_signal(signal.SIGKILL)
        running.wait()
        killed += running.returncode == -signal.SIGKILL
        for session_id, (fields, messages) in read(target).items():
            assert fields == everything[session_id][0]
            assert messages == everything[session_id][1][: len(messages)]
    assert killed
    report = copied(cli, "a.db", target)["conversation"]
    assert (report["sessions"], report["messages"]) == (150, 3000)
    assert report["written"] < 3000  # it went on
    assert read(target) == everything
    assert copied(cli, target, "back.db")["conversation"]["digest"] == report["digest"]


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_ctrl_c_ends_cleanly_and_the_copy_goes_on(process, cli, fill, read):
    fill(sessions=150, messages=20)
    running = process("copy", "--from", "a.db", "--to", "json:///files", stderr=subprocess.PIPE)
    while not messages_in("json:///files"):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate()
    assert (running.returncode, err) == (130, b"interrupted\n")
    copied(cli, "a.db", "json:///files")
    assert read("json:///files") == read("a.db")


# --------------------------------------------------------------------------------------------------------------- state


def state_of(url):
    with open_state_store(url) as store:
        found = {}
        for key in store.scan_prefix(""):
            try:
                found[key] = store.get(key)
            except TypeError:
                found[key] = ("hash", store.hgetall(key))
        return found


def fill_state(url):
    from praisonai_persistence.testing.corpus import HOSTILE_JSON, HOSTILE_KEYS

    with open_state_store(url) as store:
        for number, value in enumerate(HOSTILE_JSON):
            store.set(f"value {number}", value)
        for key in HOSTILE_KEYS:
            store.set(f"k{key}"[:200], key)
            store.hset("hash", key, key)
        for number in range(500):
            store.set(f"many {number}", {"n": number})
        store.set("mortal", 1, ttl=5000)
        store.hset("mortal hash", "field", 1)
        store.expire("mortal hash", 6000)


def test_state(cli, in_memory):
    fill_state("a.db")
    first = copied(cli, "a.db", "memory://copy", "--kind", "state")["state"]
    assert first["keys"] == first["written"] == len(state_of("a.db"))
    second = copied(cli, "memory://copy", "b.db", "--kind", "state")["state"]
    assert second["digest"] == first["digest"]
    assert repr(sorted(state_of("b.db").items())) == repr(sorted(state_of("a.db").items()))
    with open_state_store("b.db") as store:
        assert 0 < store.ttl("mortal") <= 5000
        assert 5000 < store.ttl("mortal hash") <= 6000
        assert store.ttl("many 1") is None
        store.clear()
    assert copied(cli, "memory://copy", "b.db", "--kind", "state")["state"]["digest"] == first["digest"]
    assert copied(cli, "memory://copy", "b.db", "--kind", "state")["state"]["written"] == 0


def test_state_conflicts_and_beginnings(cli):
    with open_state_store("a.db") as store:
        store.set("same", 1)
        store.set("other", 1)
        store.set("a hash there", 1)
        for field in ("one", "two", "three"):
            store.hset("begun", field, field)
            store.hset("differs", field, field)
            store.hset("longer", field, field)
    with open_state_store("b.db") as store:
        store.set("same", 1)
        store.set("other", 1.0)
        store.hset("a hash there", "x", 1)
        store.hset("begun", "two", "two")
        store.hset("differs", "two", 2)
        store.hset("longer", "four", "four")
        store.set("theirs", 1)
    before = state_of("b.db")
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "state", "--json")
    assert result.code == 1
    conflicts = sorted(conflict.split(":")[0] for conflict in result.json["state"]["conflicts"])
    assert conflicts == ["key 'a hash there'", "key 'differs'", "key 'longer'", "key 'other'"]
    assert (result.json["state"]["keys"], result.json["state"]["written"]) == (2, 1)
    assert state_of("b.db") == {**before, "begun": state_of("a.db")["begun"]}
    assert copied(cli, "a.db", "b.db", "--kind", "state", "--update")["state"]["keys"] == 6
    assert repr(sorted(state_of("b.db").items())) == repr(sorted({**state_of("a.db"), "theirs": 1}.items()))


# ----------------------------------------------------------------------------------------------------------- knowledge


def fill_knowledge(url, distance="cosine"):
    with open_knowledge_store(url) as store:
        store.create_collection("notes", 3, distance, {"about": "notes"})
        store.create_collection("empty", 2)
        store.upsert(
            "notes",
            [
                KnowledgeDocument(
                    f"d{n}",
                    f"content {n}",
                    [n / 7, 1.0, -0.5],
                    {"n": n, "\0": None},
                    content_hash=f"h{n}",
                    created_at=n,
                )
                for n in range(450)
            ],
        )


def knowledge_of(url):
    with open_knowledge_store(url) as store:
        return {
            name: (store.get_collection(name), store.get(name, [f"d{n}" for n in range(1000)]))
            for name in store.list_collections()
        }


@pytest.mark.parametrize("distance", ["cosine", "dot", "euclidean"])
def test_knowledge(cli, distance):
    fill_knowledge("a.db", distance)
    first = copied(cli, "a.db", "b.db", "--kind", "knowledge")["knowledge"]
    assert (first["collections"], first["documents"], first["written"]) == (2, 450, 450)
    assert knowledge_of("b.db") == knowledge_of("a.db")
    with open_knowledge_store("b.db") as store:
        store.delete("notes", [f"d{n}" for n in range(100, 200)])
    again = copied(cli, "a.db", "b.db", "--kind", "knowledge")["knowledge"]
    assert (again["written"], again["digest"]) == (100, first["digest"])
    assert knowledge_of("b.db") == knowledge_of("a.db")


def test_knowledge_conflicts(cli):
    fill_knowledge("a.db")
    with open_knowledge_store("b.db") as store:
        store.create_collection("empty", 5)
        store.create_collection("notes", 3, "cosine", {"about": "notes"})
        store.insert("notes", [KnowledgeDocument("d1", "another", [1.0, 1.0, 1.0])])
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "knowledge", "--json")
    assert result.code == 1
    assert sorted(conflict.split(":")[0] for conflict in result.json["knowledge"]["conflicts"]) == [
        "collection 'empty'",
        "document 'd1' of collection 'notes'",
    ]
    assert knowledge_of("b.db")["notes"][1][1].content == "another"
    assert result.json["knowledge"]["documents"] == 449
    assert cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "knowledge", "--update").code == 1
    assert knowledge_of("b.db")["notes"] == knowledge_of("a.db")["notes"]


def test_a_collection_that_the_target_cannot_have_leaves_the_others_to_be_copied(cli, monkeypatch):
    from praisonai_persistence_sqlite import SQLiteKnowledgeStore

    create = SQLiteKnowledgeStore.create_collection

    def narrow(store, name, dimension, *arguments):
        if dimension > 2:
            raise DimensionLimitError(f"at most 2 numbers, not {dimension}")
        return create(store, name, dimension, *arguments)

    fill_knowledge("a.db")
    monkeypatch.setattr(SQLiteKnowledgeStore, "create_collection", narrow)
    with open_knowledge_store("a.db") as store:
        wide = [name for name in store.list_collections() if store.get_collection(name).dimension > 2]
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "knowledge", "--json")
    assert result.code == 1
    assert [text.split(":")[0] for text in result.json["knowledge"]["conflicts"]] == [f"collection {n!r}" for n in wide]
    left = {name: one for name, one in knowledge_of("a.db").items() if name not in wide}
    assert wide
    assert left
    assert knowledge_of("b.db") == left


def test_a_collection_that_cannot_be_read_whole_is_not_copied(cli, monkeypatch):
    from praisonai_persistence_sqlite import SQLiteKnowledgeStore

    fill_knowledge("a.db")
    search = SQLiteKnowledgeStore.search
    monkeypatch.setattr(SQLiteKnowledgeStore, "document_ids", KnowledgeStore.document_ids)  # as if it had none
    monkeypatch.setattr(SQLiteKnowledgeStore, "search", lambda *args, **options: search(*args, **options)[:-1])
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "knowledge")
    assert result.code == 1
    assert "has 450 documents, and a search for all of them finds 449" in result.error
    assert "notes" not in knowledge_of("b.db")


def test_all_kinds(cli, fill, read):
    fill()
    fill_state("a.db")
    fill_knowledge("a.db")
    report = copied(cli, "a.db", "b.db", "--kind", "all")
    assert {kind for kind in report if kind in {"conversation", "knowledge", "state"}} == {
        "conversation",
        "knowledge",
        "state",
    }
    assert read("b.db") == read("a.db")
    assert state_of("b.db").keys() == state_of("a.db").keys()
    assert knowledge_of("b.db") == knowledge_of("a.db")
    lines = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "all").out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["conversation", "knowledge", "state"]


# ------------------------------------------------------------------------------------------------------------- digests


def test_digests_tell_everything_apart():
    values = [
        None,
        "",
        "1",
        1,
        1.0,
        True,
        -0.0,
        0.0,
        [],
        {},
        [[]],
        "\0",
        "\ud83d\ude00",
        "\U0001f600",
        {"a": 1},
        {"A": 1},
    ]
    assert len({canonical(value) for value in values}) == len(values)
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})
    base = ConversationMessage(id="m", role="user", content="x", created_at=1.0)
    others = [
        ConversationMessage(**{**base.to_dict(), name: value})
        for name, value in [
            ("id", "n"),
            ("role", "tool"),
            ("content", None),
            ("content", ""),
            ("tool_calls", []),
            ("tool_call_id", ""),
            ("metadata", {}),
            ("created_at", 2.0),
        ]
    ]
    assert len({canonical_message(message) for message in [base, *others]}) == len(others) + 1
    assert canonical_message(base) == canonical_message(ConversationMessage(**{**base.to_dict(), "seq": 9}))


def test_the_total_does_not_depend_on_order():
    digests = []
    for number in range(5):
        digest = SessionDigest(ConversationSession(f"s{number}", created_at=1.0))
        digest.add(b"message")
        digests.append(digest.hexdigest())
    assert len({Total(order).hexdigest() for order in itertools.permutations(digests)}) == 1
    assert Total(digests[:4]).hexdigest() != Total(digests).hexdigest() != Total([*digests, digests[0]]).hexdigest()
