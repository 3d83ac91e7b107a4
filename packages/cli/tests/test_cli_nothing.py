"""Commands that read make nothing where nothing is; ``doctor`` and ``status`` say what is there and what is wrong."""

from __future__ import annotations

import sqlite3

import pytest

from praisonai_persistence import open_conversation_store, open_state_store
from praisonai_persistence_sqlite import _looking

URL = ("--conversation-url", "a.db")
PLACES = ["mistyped.db", "sqlite:///no/such/folder/x.db", "json:///mistyped"]
READING = [
    ["sessions"],
    ["show", "s"],
    ["search", "word"],
    ["resume", "--session-id", "s"],
    ["resume", "--session-id", "s", "--continue", "hello"],
    ["export"],
    ["export", "--session-id", "s", "--output", "x.jsonl"],
    ["prune", "--keep-last", "1", "--yes"],
    ["delete", "s", "--yes"],
    ["rename", "s", "name", "--yes"],
    ["fork", "s", "--yes"],
]
LEGACY = """CREATE TABLE {0}sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,
        state TEXT, metadata TEXT, created_at REAL, updated_at REAL);
    CREATE TABLE {0}messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT,
        tool_calls TEXT, tool_call_id TEXT, metadata TEXT, created_at REAL);
    INSERT INTO {0}sessions VALUES ('s', 'ada', NULL, NULL, NULL, '{{"a": 1}}', 1.0, 2.0);
    INSERT INTO {0}messages VALUES ('m', 's', 'user', 'hello', NULL, NULL, NULL, 1.5);"""


def legacy(path, prefix):
    connection = sqlite3.connect(path)
    connection.executescript(LEGACY.format(prefix))
    connection.close()


def steps(report):
    return {step["step"]: (step["result"], step["detail"]) for step in report["stores"][0]["steps"]}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_makes_nothing(cli, tmp_path, place, arguments):
    result = cli(*arguments, "--conversation-url", place)
    assert (result.code, result.out) == (1, "")
    assert result.error.startswith("there is no")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["conversation", "all"])
def test_a_source_that_is_not_there_is_no_success(cli, tmp_path, place, kind):
    result = cli("copy", "--from", place, "--to", "b.db", "--kind", kind)
    assert (result.code, result.out) == (1, "")
    assert result.error.startswith("there is no")
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("make", ["an empty file", "a database of others", "another kind of store"])
def test_a_file_without_the_tables_stays_as_it_is(cli, tmp_path, make):
    file = tmp_path / "a.db"
    if make == "an empty file":
        file.touch()
    elif make == "a database of others":
        connection = sqlite3.connect(file)
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
        connection.close()
    else:
        with open_state_store("a.db") as store:
            store.set("key", 1)
    before = file.read_bytes()
    for arguments in READING:
        assert cli(*arguments, *URL).error == "there are no conversation tables with prefix 'praison_' yet"
    assert file.read_bytes() == before
    assert [*tmp_path.iterdir()] == [file]


def test_import_and_run_may_begin_a_store(cli, fill, read):
    fill()
    assert cli("export", "--output", "x.jsonl", *URL).code == 0
    assert cli("import", "--file", "x.jsonl", "--conversation-url", "new.db").code == 0
    assert read("new.db") == read("a.db")


# ------------------------------------------------------------------------------------------- tables of PraisonAI itself


def test_old_tables_in_the_place_of_ours(cli, tmp_path):
    legacy(tmp_path / "a.db", "praison_")
    for arguments in READING:
        result = cli(*arguments, *URL)
        assert result.code == 1
        assert "'praisonai-persistence migrate --adopt --table-prefix praison_'" in result.error
    checked = cli("doctor", "--json", *URL)
    assert checked.code == 1
    assert steps(checked.json)["schema"][0] == "failed"
    assert "migrate --adopt" in checked.error
    stated = cli("status", "--json", *URL)
    assert (stated.code, stated.json["ok"], "migrate --adopt" in stated.json["stores"][0]["error"]) == (1, False, True)
    assert cli("migrate", "--adopt", "--table-prefix", "praison_", *URL).code == 0
    assert cli("doctor", *URL).code == cli("status", *URL).code == cli("sessions", *URL).code == 0


@pytest.mark.parametrize("ours", ["no tables", "empty tables"])
def test_old_tables_beside_an_empty_store_are_pointed_out(cli, tmp_path, ours):
    legacy(tmp_path / "a.db", "praisonai_")
    if ours == "empty tables":
        with open_conversation_store("a.db") as store:
            store.connect()
    hint = (
        "there are tables of PraisonAI itself with the prefix 'praisonai_' (1 sessions): 'praisonai-persistence migrat"
    )
    for arguments in [*READING, ["copy"]]:
        more = ("--from", "a.db", "--to", "b.db") if arguments == ["copy"] else URL
        result = cli(*arguments, *more)
        assert result.err.count(hint) == 1, arguments
    for command in ("doctor", "status"):
        assert "praisonai_" in cli(command, *URL).out


def test_old_tables_beside_a_store_in_use_are_nobodys_business(cli, fill, tmp_path):
    fill()
    legacy(tmp_path / "a.db", "praisonai_")
    for arguments in (["sessions"], ["show", "s0"], ["export", "--output", "x"]):
        assert (cli(*arguments, *URL).code, cli(*arguments, *URL).err) == (0, "")


# ---------------------------------------------------------------------------------------------------- doctor and status


def test_a_schema_of_a_later_release(cli, fill):
    fill()
    connection = sqlite3.connect("a.db")
    connection.execute("UPDATE praison_schema SET version = 99")
    connection.commit()
    connection.close()
    for command in ("status", "doctor"):
        result = cli(command, "--json", *URL)
        assert (result.code, result.json["ok"]) == (1, False)
        assert "version 99, newer than this release reads" in cli(command, *URL).error
    assert cli("sessions", *URL).code == 1


def test_a_file_with_overwritten_pages(cli, fill):
    fill(sessions=300, messages=20)
    connection = sqlite3.connect("a.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    with open("a.db", "r+b") as file:
        pages = file.seek(0, 2) // size
        for page in range(pages // 2, pages // 2 + 10):
            file.seek(page * size)
            file.write(b"overwritten " * (size // 12))
    result = cli("doctor", "--json", *URL)
    assert result.code == 1
    assert steps(result.json)["files"][0] == "failed"
    assert "the files are damaged" in result.error


def test_looking_through_a_file_has_a_limit(cli, fill, monkeypatch):
    fill(sessions=30)
    monkeypatch.setattr(_looking, "_INSTRUCTIONS", 10)
    result = cli("doctor", "--json", "--check-timeout", "1e-9", *URL)
    assert result.code == 0
    assert steps(result.json)["files"] == ("ok", "nothing found in 1e-09 s, which was not enough to look at all")


def test_a_damaged_document(cli, fill, tmp_path):
    fill("json:///files")
    (document,) = tmp_path.glob("files/praison_/s1*/session.json")
    document.write_text("{")
    result = cli("doctor", "--json", "--conversation-url", "json:///files")
    assert result.code == 1
    assert str(document) in result.error
    assert document.exists(), "what is damaged stays where it is"


def test_doctor_says_that_there_is_nothing_yet(cli):
    for url in ("a.db", "json:///files", "memory://x"):
        report = cli("doctor", "--json", "--conversation-url", url).json
        assert report["ok"]
        told = steps(report)["data"][1]
        assert "0 sessions with 0 messages read" in told or "there is no store yet" in told
