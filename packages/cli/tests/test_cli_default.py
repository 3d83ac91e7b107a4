"""The default store, prompts from standard input, and the latest session."""

from __future__ import annotations

import io
import json
import os
import stat

import pytest

from praisonai_persistence import ConversationSession, db, open_conversation_store, open_state_store
from praisonai_persistence.adapter import default_path

READING = [["sessions"], ["show", "s"], ["resume", "--latest"], ["export"], ["state", "keys"], ["delete", "s", "--yes"]]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_does_not_make_the_default_store(cli, tmp_path, arguments):
    result = cli(*arguments)
    assert (result.code, result.out) == (1, "")
    kind = "state" if arguments[0] == "state" else "conversation"
    assert result.error == (
        f"there is no store yet: {default_path()}, the default one, does not exist; another one is named by "
        f"--{kind}-url or PRAISON_{kind.upper()}_URL"
    )
    assert [*tmp_path.iterdir()] == []


def test_it_is_the_store_of_db(cli):
    with db() as adapter:
        adapter.on_agent_start("Ada", "s", user_id="ada")
        adapter.on_user_message("s", "hello")
        adapter.on_run_start("s", "r")
    assert default_path().exists()
    assert [session["session_id"] for session in cli("sessions", "--json").json["sessions"]] == ["s"]
    assert cli("show", "s", "--json").json["messages"][0]["content"] == "hello"
    keys = cli("state", "keys", "--json").json["keys"]
    with open_state_store(default_path()) as store:
        assert sorted(row["key"] for row in keys) == sorted(store.list_keys()) != []
    stores = cli("status", "--json").json["stores"]
    assert [(row["kind"], row["url"]) for row in stores] == [
        ("conversation", str(default_path())),
        ("state", str(default_path())),
    ]


def test_what_writes_makes_it_for_its_owner(cli, fill, read):
    fill("a.db")
    cli("export", "-o", "x", "--conversation-url", "a.db")
    assert cli("import", "-f", "x").code == 0
    assert read(str(default_path())) == read("a.db")
    assert os.name == "nt" or stat.S_IMODE(default_path().parent.stat().st_mode) == 0o700
    assert os.name == "nt" or stat.S_IMODE(default_path().stat().st_mode) == 0o600


def test_status_and_doctor_where_nothing_is(cli, tmp_path):
    shown = cli("status", "--json")
    assert (shown.code, shown.json["ok"]) == (0, True)
    assert ["the default one, does not exist" in row["note"] for row in shown.json["stores"]] == [True, True]
    assert cli("status").out.count("the default one, does not exist") == 2
    for arguments in (["run", "hello", "--dry-run"], ["migrate", "--dry-run"], ["import", "-f", "x", "--dry-run"]):
        (tmp_path / "x").write_text('{"type":"header","format":"praisonai-persistence","version":1}\n')
        cli(*arguments)
        assert not default_path().parent.exists()
    assert cli("doctor").code == 0
    assert [store["kind"] for store in cli("doctor", "--json").json["stores"]] == ["conversation", "state"]


def test_a_place_where_it_cannot_be_made(cli, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "file" / "folder"))
    (tmp_path / "x").write_text('{"type":"header","format":"praisonai-persistence","version":1}\n')
    result = cli("import", "-f", "x")
    assert (result.code, result.out) == (2, "")
    assert "another one is named by --conversation-url or PRAISON_CONVERSATION_URL" in result.error


def test_state_is_where_the_conversations_are(cli, fill, monkeypatch):
    fill("a.db")
    with open_state_store("a.db") as store:
        store.set("key", 1)
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "sqlite:///a.db")
    assert cli("state", "get", "key").out == "1\n"
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "json:///files")
    assert "no state store: give --state-url" in cli("state", "get", "key").error
    monkeypatch.setenv("PRAISON_STATE_URL", "a.db")
    assert cli("state", "get", "key").out == "1\n"


def test_praisonai_s_names_of_variables(cli, fill, monkeypatch):
    fill("a.db", sessions=1)
    fill("b.db", sessions=2)
    monkeypatch.setenv("PRAISONAI_CONVERSATION_URL", "a.db")
    assert len(cli("sessions", "--json").json["sessions"]) == 1
    monkeypatch.setenv("PRAISON_CONVERSATION_URL", "b.db")
    assert len(cli("sessions", "--json").json["sessions"]) == 2


# ------------------------------------------------------------------------------------------- prompts and latest session


@pytest.mark.parametrize("arguments", [["run"], ["run", "-"], ["resume", "--latest", "--continue", "-"]], ids=" ".join)
def test_a_prompt_from_standard_input(cli, fill, monkeypatch, arguments):
    fill("a.db")
    url = ("--conversation-url", "a.db")
    monkeypatch.setitem(__import__("sys").modules, "praisonaiagents", None)  # as far as the model is not asked
    for text, says in (("Hello\nagain\n", "pip install"), ("", "the prompt is empty"), (" \n", "the prompt is empty")):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        result = cli(*arguments, *url)
        assert (result.code, says in result.error) == (2, True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    assert "not text in UTF-8" in cli(*arguments, *url).error
    monkeypatch.setattr("sys.stdin", io.StringIO("a.db"))
    assert "both read standard input" in cli(*arguments, "--conversation-url-file", "-").error


def test_the_latest_session(cli):
    where = ("--conversation-url", "a.db", "--json")
    with open_conversation_store("a.db") as store:
        store.connect()
    assert cli("resume", "--latest", *where).error.startswith("there is no such session")
    with open_conversation_store("a.db") as store:
        for number, user in enumerate(("ada", "bob", "ada", "bob")):
            store.create_session(ConversationSession(f"s{number}", user, "even" if number % 2 == 0 else "odd"))
        store.update_session(ConversationSession("s1", "bob", "odd", name="written to last"))

    def latest(*arguments):
        return json.loads(cli("resume", "--latest", *arguments, *where).out)["session"]["session_id"]

    assert (latest(), latest("--user-id", "ada"), latest("--agent-id", "even")) == ("s1", "s2", "s2")
    assert cli("resume", "--latest", "--user-id", "nobody", *where).code == 1
