"""Which sessions copies and exports take, and dry runs, which write nothing."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone

import pytest

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    KnowledgeDocument,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence_cli._keys import held_by

URL = ("--conversation-url", "a.db")
DAY = 86400


@pytest.fixture
def stored():
    """Sessions of two users and two agents, written to today, and 1 to 7 days ago."""
    now = time.time()
    with open_conversation_store("a.db") as store:
        for age in range(7, -1, -1):
            when = now - age * DAY
            agent = "even" if age % 2 == 0 else "odd"
            user = "old" if age > 3 else "new"
            store.create_session(ConversationSession(f"d{age}", user, agent, created_at=0.0, updated_at=when))


def copied(cli, *arguments):
    """The ids that a copy takes."""
    target = f"{time.monotonic_ns()}.db"
    result = cli("copy", "--from", "a.db", "--to", target, "--json", *arguments)
    assert result.code == 0, result.err
    with open_conversation_store(target) as store:
        return {session.session_id for session in store.list_sessions()}


def exported(cli, *arguments):
    """The ids that an export takes."""
    result = cli("export", "--output", "x.jsonl", *arguments, *URL)
    assert result.code == 0, result.err
    with open("x.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return {line["session_id"] for line in lines if line["type"] == "session"}


def day(age, form):
    return datetime.fromtimestamp(time.time() - age * DAY, timezone.utc).strftime(form)


@pytest.mark.parametrize("taken", [copied, exported])
def test_one_selection_for_both(cli, stored, taken):
    assert len(taken(cli)) == 8
    assert taken(cli, "--session-id", "d3", "--session-id", "d5", "--session-id", "d3") == {"d3", "d5"}
    assert taken(cli, "--user-id", "old") == {"d4", "d5", "d6", "d7"}
    assert taken(cli, "--user-id", "old", "--agent-id", "even") == {"d4", "d6"}
    assert taken(cli, "--since", "2.5d") == {"d0", "d1", "d2"}
    assert taken(cli, "--since", "60h", "--agent-id", "odd") == {"d1"}
    assert taken(cli, "--since", "2.5d", "--session-id", "d1", "--session-id", "d7") == {"d1"}
    assert taken(cli, "--since", day(2.5, "%Y-%m-%dT%H:%M:%S")) == {"d0", "d1", "d2"}
    assert taken(cli, "--since", day(2.5, "%Y-%m-%dT%H:%M:%SZ")) == {"d0", "d1", "d2"}
    assert taken(cli, "--since", day(2.5, "%Y-%m-%dT%H:%M:%S+00:00")) == {"d0", "d1", "d2"}
    assert "d1" in taken(cli, "--since", day(1, "%Y-%m-%d")) >= {"d0"}
    assert taken(cli, "--user-id", "nobody") == set()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--session-id", "x", "--user-id", "y"], "give one or the other"),
        (["--session-id", ""], "session_id must have 1 to 255 characters"),
        (["--since", "yesterday"], "--since must be an age, like 12h, 90d or 4w, or a date, like 2026-01-31"),
        (["--since", "2026-13-01"], "--since must be an age"),
        (["--sinse", "1d"], "'--since'"),
    ],
)
def test_wrong_selections(cli, stored, tmp_path, arguments, says):
    for command in (["copy", "--from", "a.db", "--to", "b.db"], ["export", "--output", "x.jsonl", *URL]):
        result = cli(*command, *arguments)
        assert (result.code, result.out) == (2, "")
        assert says in result.error
    assert not {"b.db", "x.jsonl"} & {path.name for path in tmp_path.iterdir()}


def test_sessions_alone_are_selected(cli, stored):
    for kind in ("state", "knowledge", "all"):
        result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", kind, "--since", "1d")
        assert (result.code, "they go with --kind conversation only" in result.error) == (2, True)


def test_a_session_that_is_not_there(cli, stored, tmp_path):
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--session-id", "d1", "--session-id", "nope")
    assert (result.code, result.out) == (1, "")
    assert result.error == "there is no session 'nope'; 'sessions' lists those that are there"


# ------------------------------------------------------------------------------------------------------------ dry runs


@pytest.fixture
def everything():
    with open_conversation_store("a.db") as store, open_state_store("a.db") as state:
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [ConversationMessage(id=f"m{n}", content=f"{n}") for n in range(500)])
        store.create_session(ConversationSession("empty"))
        state.set_many({f"k{n}": n for n in range(300)})
        state.set("short", 1, ttl=1000)
        for n in range(3):
            state.hset("hash", f"f{n}", n)
    with open_knowledge_store("a.db") as knowledge:
        knowledge.create_collection("docs", 2, metadata={"m": 1})
        knowledge.insert("docs", [KnowledgeDocument(f"d{n}", f"{n}", [1.0, n]) for n in range(300)])


KINDS = {"conversation": (2, "sessions"), "state": (302, "keys"), "knowledge": (1, "collections")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_counts_what_a_copy_writes(cli, everything, tmp_path, kind):
    arguments = ("copy", "--from", "a.db", "--to", "b.db", "--kind", kind, "--json")
    dry = cli(*arguments, "--dry-run").json
    assert not (tmp_path / "b.db").exists()
    assert (dry["ok"], dry["dry_run"], dry[kind]["verified"]) == (True, True, False)
    done = cli(*arguments).json
    number, units = KINDS[kind]
    assert dry[kind][units] == done[kind][units] == number
    assert dry[kind]["written"] == done[kind]["written"] > 0
    assert dry[kind]["digest"] == done[kind]["digest"]
    again = cli(*arguments, "--dry-run").json[kind]
    assert (again["written"], again[units], again["digest"]) == (0, number, dry[kind]["digest"])


def test_a_dry_run_of_everything(cli, everything, tmp_path):
    result = cli("copy", "--from", "a.db", "--to", "b.db", "--kind", "all", "--dry-run")
    assert result.code == 0
    written = [line.split("; ")[1].split(",")[0] for line in result.out.splitlines()]
    assert written == ["500 would be written", "300 would be written", "302 would be written"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("b")] == []


@pytest.mark.parametrize("update", [[], ["--update"]])
def test_a_dry_run_finds_the_conflicts_and_changes_nothing(cli, everything, read, update):
    def held():
        with open_state_store("b.db") as state, open_knowledge_store("b.db") as knowledge:
            keys = {key: held_by(state, key) for key in state.scan_prefix("")}
            found = knowledge.get("docs", ["d0", "d1"])
            return read("b.db"), keys, [(item.id, item.content) for item in found]

    with open_conversation_store("b.db") as store, open_state_store("b.db") as state:
        store.create_session(ConversationSession("s", name="other"))
        store.add_message("s", ConversationMessage(id="m0", content="other"))
        state.set_many({"k1": "other", "hash": "no hash"})
        state.hset("k2", "field", 1)
    with open_knowledge_store("b.db") as knowledge:
        knowledge.create_collection("docs", 2, metadata={"m": 1})
        knowledge.insert("docs", [KnowledgeDocument("d1", "other", [1.0, 2.0])])
    before = held()
    for kind in KINDS:
        arguments = ("copy", "--from", "a.db", "--to", "b.db", "--kind", kind, "--json", *update)
        dry = cli(*arguments, "--dry-run")
        assert held() == before
        with_writes = cli(*arguments)
        assert dry.code == with_writes.code
        assert sorted(dry.json[kind]["conflicts"]) == sorted(with_writes.json[kind]["conflicts"])
        assert dry.json[kind]["written"] == with_writes.json[kind]["written"]
        before = held()
