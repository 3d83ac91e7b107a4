"""What the commands do, over real stores."""

from __future__ import annotations

import time

import pytest

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    create_conversation_store,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)

URL = ("--conversation-url", "a.db")


# --------------------------------------------------------------------------------------------------- sessions and show


def test_sessions_are_listed_newest_first_by_pages(cli, fill):
    fill(sessions=5)
    everything = [session["session_id"] for session in cli("sessions", "--json", *URL).json["sessions"]]
    assert everything == ["s4", "s3", "s2", "s1", "s0"]
    page = cli("sessions", "--json", "--limit", "2", "--offset", "1", *URL).json
    assert (page["limit"], page["offset"]) == (2, 1)
    assert [session["session_id"] for session in page["sessions"]] == ["s3", "s2"]
    of_user = cli("sessions", "--json", "--user-id", "u1", *URL).json["sessions"]
    assert [session["session_id"] for session in of_user] == ["s3", "s1"]
    assert cli("sessions", "--json", "--limit", "0", *URL).json["sessions"] == []
    assert cli("sessions", "--json", "--agent-id", "nobody", *URL).json["sessions"] == []


def test_a_listing_is_longer_than_a_page(cli):
    with open_conversation_store("a.db") as store:
        for number in range(1203):
            store.create_session(ConversationSession(f"s{number:04d}", created_at=float(number)))
    result = cli("sessions", "--limit", "1201", "--offset", "1", *URL)
    lines = result.out.splitlines()
    assert lines[0].split("\t")[0] == "SESSION"
    assert [line.split("\t")[0] for line in lines[1:]] == [f"s{number:04d}" for number in range(1201, 0, -1)]


def test_sessions_with_sizes(cli, fill):
    fill(sessions=2, messages=300)
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession("large"))
        store.add_message("large", ConversationMessage(content="\u00e9" * 10_000))
    document = cli("sessions", "--sizes", "--json", *URL).json
    rows = {row["session_id"]: row for row in document["sessions"]}
    assert {name: row["messages"] for name, row in rows.items()} == {"s0": 300, "s1": 300, "large": 1}
    assert 20_000 < rows["large"]["bytes"] < 20_500
    assert document["total"] == {"sessions": 3, "messages": 601, "bytes": sum(row["bytes"] for row in rows.values())}
    shown = cli("sessions", "--sizes", "--limit", "1", *URL)
    head, row = (line.split("\t") for line in shown.out.splitlines())
    assert (head[-2:], row[-2:]) == (["MESSAGES", "BYTES"], ["1", str(rows["large"]["bytes"])])
    assert shown.err == f"1 sessions, 1 messages, {rows['large']['bytes']:,} bytes\n"
    assert "total" not in cli("sessions", "--json", *URL).json


def test_control_characters_do_not_reach_the_terminal(cli):
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession("s", name="\x1b]0;title\x07\t\n\u202e\ud800"))
        store.add_message("s", ConversationMessage(role="\x1b[1m", content="one\ntwo\x1b[2J\r\x9b"))
    listed = cli("sessions", *URL).out.splitlines()
    assert len(listed) == 2
    assert listed[1].split("\t")[3] == r"\x1b]0;title\x07\t\n\u202e\ud800"
    shown = cli("show", "s", *URL).out
    assert "one\ntwo\\x1b[2J\\r\\x9b\n" in shown
    assert "\x1b" not in shown


def test_show(cli, fill):
    fill(messages=300)
    shown = cli("show", "s1", "--json", *URL).json
    assert shown["session"]["name"] == "name 1"
    assert [message["seq"] for message in shown["messages"]] == list(range(1, 301))
    latest = cli("show", "s1", "--json", "--limit", "2", *URL).json["messages"]
    assert [message["id"] for message in latest] == ["m298", "m299"]
    assert "message 299 of session 1" in cli("show", "s1", *URL).out


def test_content_in_parts(cli):
    parts = [
        {"type": "text", "text": "What is this \x1b[2J?"},
        {"type": "image_url\x1b", "image_url": {"url": "data:image/png;base64,iVBOR"}},
        "and that",
        {},
    ]
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(id="m", content=parts))
    shown = cli("show", "s", *URL).out.splitlines()
    assert shown[-4:] == [
        "What is this \\x1b[2J?",
        "[image_url\\x1b: not text; `export` writes it whole]",
        "and that",
        "[part: not text; `export` writes it whole]",
    ]
    assert cli("show", "s", "--json", *URL).json["messages"][0]["content"] == parts
    found = cli("search", "what that", *URL).out
    assert "What is this \\x1b[2J? and that" in found
    assert cli("search", "base64", "--json", *URL).json["messages"] == []
    assert cli("export", "-o", "x.jsonl", *URL).code == 0
    assert cli("import", "--file", "x.jsonl", "--conversation-url", "json:///files").code == 0
    assert cli("copy", "--from", "json:///files", "--to", "b.db").code == 0
    with open_conversation_store("b.db") as store:
        assert [(message.id, message.content) for message in store.get_messages("s")] == [("m", parts)]
        assert [message.id for message in store.search_messages("what that")] == ["m"]


@pytest.mark.parametrize("arguments", [["show", "x"], ["resume", "--session-id", "x"], ["export", "--session-id", "x"]])
def test_an_unknown_session(cli, fill, arguments):
    fill()
    result = cli(*arguments, *URL)
    assert result.code == 1
    assert result.error == "there is no session 'x'; 'sessions' lists those that are there"
    assert not result.out


def test_search(cli, fill):
    fill()
    found = cli("search", "MESSAGE", "2", "--json", *URL).json
    assert found["query"] == "MESSAGE 2"
    assert {(message["session_id"], message["id"]) for message in found["messages"]} >= {("s0", "m2"), ("s1", "m2")}
    assert cli("search", "session 1", "--user-id", "u0", "--json", *URL).json["messages"] != []
    assert cli("search", "nothing", *URL).out == "SESSION\tSEQ\tROLE\tCREATED\tCONTENT\n"


def test_a_prefix_chooses_other_tables(cli):
    with create_conversation_store("sqlite", path="a.db", table_prefix="other_") as store:
        store.create_session(ConversationSession("there"))
    result = cli("sessions", "--json", *URL)
    assert (result.code, result.error) == (1, "there are no conversation tables with prefix 'praison_' yet")
    (session,) = cli("sessions", "--json", "--table-prefix", "other_", *URL).json["sessions"]
    assert session["session_id"] == "there"


# -------------------------------------------------------------------------------------------------------------- resume


def test_resume_shows_the_history(cli, fill):
    fill()
    assert "has 4 messages" in cli("resume", "--session-id", "s0", *URL).out
    assert "message 3 of session 0" in cli("resume", "--session-id", "s0", "--show-history", *URL).out
    document = cli("resume", "--session-id", "s0", "--show-history", "--json", *URL).json
    assert (document["messages"], document["answer"]) == (4, None)
    assert [message["id"] for message in document["history"]] == ["m0", "m1", "m2", "m3"]
    assert "history" not in cli("resume", "--session-id", "s0", "--json", *URL).json


def test_resume_dry(cli, fill):
    fill()
    before = cli("export", *URL).out
    asked = ("--continue", "hello", "--agent-name", "A")
    assert cli("resume", "--session-id", "s0", *asked, "--dry-run", "--json", *URL).json == {
        "dry_run": True,
        "session_id": "s0",
        "user_id": "u0",
        "agent": "A",
        "messages": 4,
        "conversation_url": URL[1],
    }
    shown = cli("resume", "--latest", "--dry-run", "--show-history", *URL).out
    assert "message 3 of session" in shown
    assert "no model is asked, nothing is stored" in shown
    assert "messages 4" in shown
    assert cli("resume", "--session-id", "nobody", "--dry-run", *URL).code == 1
    assert cli("export", *URL).out.splitlines()[1:] == before.splitlines()[1:]


def test_run_dry(cli):
    document = cli("run", "hello", "--dry-run", "--json", "--user-id", "ada", "--session-id", "s", *URL).json
    assert document == {
        "dry_run": True,
        "session_id": "s",
        "user_id": "ada",
        "agent": "Assistant",
        "conversation_url": "a.db",
    }
    assert cli("run", "hello", "--dry-run", "--json", "--conversation-url", "nosuch://x").code == 2
    assert cli("sessions", *URL).error.endswith("a.db does not exist")


def test_without_praisonai_one_line_says_what_to_install(cli, fill, monkeypatch):
    fill()
    monkeypatch.setitem(__import__("sys").modules, "praisonaiagents", None)
    for arguments in (["run", "hello"], ["resume", "--session-id", "s0", "--continue", "hello"]):
        result = cli(*arguments, *URL)
        assert result.code == 2
        assert result.error.endswith('pip install "praisonai-persistence-cli[agent]"')


# --------------------------------------------------------------------------------------------------------------- prune


def prepared():
    now = time.time()
    with open_conversation_store("a.db") as store:
        for number in range(10):
            updated = now - number * 86400
            store.create_session(
                ConversationSession(f"{number} days", user_id=f"u{number % 2}", created_at=0.0, updated_at=updated)
            )
        store.create_session(ConversationSession("old, but used", created_at=0.0))
        store.add_message("old, but used", ConversationMessage(content="now"))


def left(cli):
    return {session["session_id"] for session in cli("sessions", "--json", *URL).json["sessions"]}


def test_prune_deletes_what_is_old(cli):
    prepared()
    everything = left(cli)
    asked = cli("prune", "--older-than", "5.5d", *URL)
    assert asked.code == 2
    assert "this deletes 4 sessions: say --yes" in asked.error
    dry = cli("prune", "--older-than", "5.5d", "--dry-run", "--json", *URL).json
    assert dry == {"dry_run": True, "sessions": ["9 days", "8 days", "7 days", "6 days"], "count": 4}
    assert left(cli) == everything
    done = cli("prune", "--older-than", "5.5d", "--yes", *URL)
    assert done.out.splitlines() == dry["sessions"]
    assert done.err == "4 sessions deleted\n"
    assert left(cli) == everything - set(dry["sessions"])
    assert cli("prune", "--older-than", "5.5d", *URL).err == "0 sessions deleted\n"


def test_prune_keeps_the_newest(cli):
    prepared()
    # The newest are the one in use, and those of 0 to 7 days.
    assert cli("prune", "--older-than", "1h", "--keep-last", "9", "--dry-run", "--json", *URL).json["sessions"] == [
        "9 days",
        "8 days",
    ]
    # Old enough, or beyond the newest: both have to be so.
    assert cli("prune", "--older-than", "4w", "--keep-last", "1", "--dry-run", "--json", *URL).json["count"] == 0
    assert cli("prune", "--keep-last", "1", "--user-id", "u1", "--yes", "--json", *URL).json["count"] == 4
    assert left(cli) == {"old, but used", "0 days", "1 days", "2 days", "4 days", "6 days", "8 days"}


# -------------------------------------------------------------------------------------------------- doctor and backends


ALL = ("--conversation-url", "a.db", "--knowledge-url", "a.db", "--state-url", "a.db")


def test_doctor(cli, fill):
    fill()
    before = left(cli)
    result = cli("doctor", "--json", *ALL)
    assert result.code == 0, result.err
    report = result.json
    assert report["ok"]
    assert report["installed"]["praisonai-persistence-sqlite"]
    assert [store["kind"] for store in report["stores"]] == ["conversation", "knowledge", "state"]
    for store in report["stores"]:
        assert (store["backend"], store["scratch_prefix"]) == ("sqlite", "praison_doctor_")
        steps = ["connect", "schema", "files", "data", "write", "read", "search", "delete"]
        assert [step["step"] for step in store["steps"]] == steps
        assert {step["result"] for step in store["steps"]} <= {"ok", "skipped"}
        assert all(step["ms"] >= 0 for step in store["steps"] if step["result"] == "ok")
    assert left(cli) == before
    assert cli("sessions", "--json", "--table-prefix", "praison_doctor_", *URL).json["sessions"] == []
    shown = cli("doctor", *ALL)
    assert shown.code == 0
    assert "search\tok" in shown.out


@pytest.mark.parametrize("scheme", ["json:///files", "memory://x"])
def test_doctor_on_other_backends(cli, scheme):
    result = cli("doctor", "--json", "--conversation-url", scheme)
    assert result.code == 0, result.err
    assert result.json["stores"][0]["steps"][1]["result"] == "skipped"  # they have no schema


def test_doctor_in_place_leaves_the_data_alone(cli, fill, read):
    fill()
    before = read("a.db")
    assert cli("doctor", "--in-place", *ALL).code == 0
    assert read("a.db") == before
    with open_state_store("a.db") as state, open_knowledge_store("a.db") as knowledge:
        assert state.keys() == []
        assert knowledge.list_collections() == []


@pytest.mark.parametrize("step", ["read", "search", "delete"])
def test_doctor_cleans_up_when_a_check_fails(cli, monkeypatch, step):
    from praisonai_persistence import BackendError
    from praisonai_persistence_sqlite import SQLiteConversationStore

    method = {"read": "get_messages", "search": "search_messages", "delete": "get_session"}[step]

    def fail(*_, **__):
        raise BackendError("the disk is on fire")

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteConversationStore, method, fail)
        result = cli("doctor", "--json", *URL)
    assert result.code == 1
    assert result.error == f"conversation: {step}: the disk is on fire"
    steps = {item["step"]: item["result"] for item in result.json["stores"][0]["steps"]}
    assert steps.popitem() == (step, "failed")
    assert set(steps.values()) == {"ok", "skipped"} - ({"skipped"} if "skipped" not in steps.values() else set())
    assert cli("sessions", "--json", "--table-prefix", "praison_doctor_", *URL).json["sessions"] == []


def test_doctor_never_writes_beside_the_data_unasked(cli):
    result = cli("doctor", "--scratch-prefix", "No prefix", *URL)
    assert (result.code, "scratch-prefix must be" in result.error) == (2, True)
    assert cli("doctor", "--in-place", "--json", *URL).json["stores"][0]["scratch_prefix"] is None


def test_doctor_reports_whatever_a_plugin_raises(cli, monkeypatch):
    from praisonai_persistence_sqlite import SQLiteConversationStore

    def fail(*_, **__):
        raise RuntimeError("text of a message")

    monkeypatch.setattr(SQLiteConversationStore, "add_messages", fail)
    result = cli("doctor", *URL)
    assert (result.code, result.error) == (1, "conversation: write: RuntimeError")


def test_doctor_on_a_server_that_is_not_there(cli):
    (listener := __import__("socket").socket()).bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]  # bound, but nobody listens
    with listener:
        url = f"postgresql://ada:s3cret@127.0.0.1:{port}/x"
        result = cli("doctor", "--json", "--conversation-url", url, "--state-url", "a.db")
    assert result.code == 1
    broken, fine = result.json["stores"]
    assert (broken["ok"], fine["ok"]) == (False, True)
    assert [(item["step"], item["result"]) for item in broken["steps"]] == [("connect", "failed")]
    assert "s3cret" not in result.out + result.err


def test_doctor_all_adds_the_stores_of_the_environment(cli, monkeypatch):
    monkeypatch.setenv("PRAISON_STATE_URL", "b.db")

    def kinds(*arguments):
        return [store["kind"] for store in cli("doctor", "--json", *arguments).json["stores"]]

    assert kinds() == ["state"]
    assert kinds(*URL) == ["conversation"]
    assert kinds("--all", *URL) == ["conversation", "state"]


def test_backends(cli, monkeypatch):
    rows = cli("backends", "--json").json["backends"]
    (sqlite,) = [row for row in rows if (row["kind"], row["name"]) == ("conversation", "async_sqlite")]
    assert sqlite["aliases"] == ["aiosqlite", "sqlite_async"]
    assert (sqlite["distribution"], sqlite["installed"]) == ("praisonai-persistence-sqlite", True)
    monkeypatch.setattr(
        "praisonai_persistence._known.KNOWN",
        {
            "state": {
                "vault": ("praisonai-persistence-vault", "x:Y"),
                "strongroom": ("praisonai-persistence-vault", "x:Y"),
            }
        },
    )
    rows = cli("backends", "--json", "--kind", "state").json["backends"]
    assert {row["kind"] for row in rows} == {"state"}
    assert rows[-1] == {
        "kind": "state",
        "name": "vault",
        "aliases": ["strongroom"],
        "distribution": "praisonai-persistence-vault",
        "version": None,
        "installed": False,
    }
    assert "pip install praisonai-persistence-vault" in cli("backends", "--kind", "state").out


# -------------------------------------------------------------------------------------------------- status and migrate


def test_status(cli, fill):
    fill()
    report = cli("status", "--json", *URL, "--state-url", "memory://x").json
    assert report["ok"]
    conversation, state = report["stores"]
    assert conversation["backend"] == "sqlite"
    assert conversation["schema"]["version"] == conversation["schema"]["latest"] >= 1
    assert state["schema"] is None
    shown = cli("status", *URL, "--state-url", "memory://x").out
    assert "up to date" in shown
    assert "this backend has no schema" in shown


def test_status_says_which_store_fails(cli, tmp_path):
    (tmp_path / "no.db").write_text("this is no database" * 100)
    result = cli("status", "--json", "--conversation-url", "no.db", "--state-url", "memory://x")
    assert result.code == 1
    broken, fine = result.json["stores"]
    assert "no SQLite database" in broken["error"]
    assert fine["error"] is None


def test_status_looks_at_stores_that_have_no_schema_too(cli):
    result = cli("status", "--json", "--conversation-url", "memory://x", "--state-url", "redis://127.0.0.1:9/0")
    assert result.code == 1
    conversation, state = result.json["stores"]
    assert conversation["error"] is None
    assert "127.0.0.1:9" in state["error"]


def test_status_makes_no_store_that_has_no_schema(cli, tmp_path):
    result = cli("status", "--json", "--conversation-url", "json:///folder")
    assert (result.code, result.json["ok"]) == (0, True)
    assert "there is no store yet" in result.json["stores"][0]["note"]
    assert list(tmp_path.iterdir()) == []


def test_migrate_prints_no_sql_where_it_can_do_it_itself(cli):
    assert "migrate' makes its tables" in cli("migrate", "--print", *URL).out
    assert cli("migrate", "--print", "--json", *URL).json["stores"][0]["script"] is None
    assert cli("status", "--json", *URL).json["stores"][0]["schema"]["version"] == 0
    assert "no schema" in cli("migrate", "--print", "--conversation-url", "json:///sessions").out
    assert cli("migrate", "--print", "--adopt", *URL).code == 2


def test_migrate_up_and_down(cli):
    dry = cli("migrate", "--dry-run", "--json", *URL).json["stores"][0]
    latest = dry["after"]
    assert (dry["supported"], dry["before"], dry["dry_run"]) == (True, 0, True)
    assert any("CREATE TABLE" in statement for statement in dry["statements"])
    assert cli("status", "--json", *URL).json["stores"][0]["schema"]["version"] == 0
    done = cli("migrate", *URL)
    assert done.out == f"conversation a.db: version 0 -> {latest}\n"
    for again in ((), ("--up",), ("--up", "--target", str(latest))):
        assert cli("migrate", *again, *URL).out == f"conversation a.db: version {latest}, nothing to do\n"

    refused = cli("migrate", "--target", "0", *URL)
    assert (refused.code, "say --down" in refused.error) == (2, True)
    refused = cli("migrate", "--down", "--target", "0", *URL)
    assert (refused.code, "say --yes" in refused.error) == (2, True)
    dry = cli("migrate", "--down", "--target", "0", "--dry-run", *URL)
    assert "DROP TABLE" in dry.out
    down = cli("migrate", "--down", "--target", "0", "--yes", "--json", *URL).json["stores"][0]
    assert (down["before"], down["after"]) == (latest, 0)
    assert cli("status", "--json", *URL).json["stores"][0]["schema"]["version"] == 0


def test_migrate_where_there_is_no_schema(cli):
    result = cli("migrate", "--conversation-url", "json:///files")
    assert result.code == 0
    assert "has no schema" in result.out
    assert cli("migrate", "--json", "--conversation-url", "memory://x").json["stores"][0]["supported"] is False


def test_adopt(cli, tmp_path):
    import sqlite3

    assert "no tables of PraisonAI" in cli("migrate", "--adopt", *URL).out
    with sqlite3.connect(tmp_path / "old.db") as connection:
        connection.executescript(
            """CREATE TABLE praison_sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,
                state TEXT, metadata TEXT, created_at REAL, updated_at REAL);
            CREATE TABLE praison_messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
                tool_calls TEXT, tool_call_id TEXT, metadata TEXT, created_at REAL);
            INSERT INTO praison_sessions VALUES ('s', 'ada', NULL, NULL, NULL, '{"a": 1}', 1.0, 2.0);
            INSERT INTO praison_messages VALUES ('m', 's', 'user', 'hello', NULL, NULL, NULL, 1.5);"""
        )
    connection.close()
    old = ("--conversation-url", "old.db")
    assert "migrate --adopt" in cli("status", *old).out
    dry = cli("migrate", "--adopt", "--dry-run", "--json", *old).json["stores"][0]
    assert (dry["adopted"]["sessions"], dry["adopted"]["messages"], dry["dry_run"]) == (1, 1, True)
    assert "1 sessions with 1 messages adopted" in cli("migrate", "--adopt", *old).out
    assert cli("show", "s", "--json", *old).json["messages"][0]["content"] == "hello"
