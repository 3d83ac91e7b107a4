"""Export and import: what goes in comes out, and what is broken says so."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession, open_conversation_store
from praisonai_persistence_cli._format import Reader, Writer
from praisonai_persistence_cli._reading import all_sessions, message_pages

URL = ("--conversation-url", "a.db")
TO = ("--conversation-url", "b.db")


@pytest.mark.parametrize("target", ["b.db", "json:///files"])
def test_what_goes_in_comes_out(cli, read, hostile, target):
    hostile("a.db")
    exported = cli("export", "--output", "x.jsonl", "--json", *URL).json
    imported = cli("import", "--file", "x.jsonl", "--json", "--conversation-url", target)
    assert imported.code == 0, imported.err
    assert imported.json["sessions"] == exported["sessions"] == len(read("a.db"))
    assert imported.json["messages"] == imported.json["written"] == exported["messages"]
    # repr, because 1, 1.0 and True are equal, and so are 0.0 and -0.0
    assert repr(sorted(read(target).items())) == repr(sorted(read("a.db").items()))
    assert cli("export", "-o", "y.jsonl", "--json", "--conversation-url", target).json["digest"] == exported["digest"]


def test_lines_are_json_that_others_read(cli, hostile, tmp_path):
    hostile("a.db")
    cli("export", "--output", "x.jsonl", *URL)
    lines = (tmp_path / "x.jsonl").read_text(encoding="utf-8", errors="strict").split("\n")
    assert lines.pop() == ""
    kinds = [json.loads(line)["type"] for line in lines]
    assert (kinds[0], kinds[1], kinds[-1]) == ("header", "session", "trailer")
    assert not re.search("[\x00-\x1f\ud800-\udfff]", "".join(lines))


def test_an_export_keeps_seq_version_and_times(cli, fill, tmp_path):
    fill(sessions=1)
    with open_conversation_store("a.db") as store:
        store.update_session(store.get_session("s0"))
        store.delete_messages("s0", ["m1"])
        session, messages = store.get_session("s0"), store.get_messages("s0")
    cli("export", "--output", "x.jsonl", *URL)
    _, first, *rest = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
    assert first == {"type": "session", **session.to_dict()}
    assert (first["version"], [line["seq"] for line in rest[:3]]) == (2, [1, 3, 4])
    assert [{**line, "session_id": "s0"} for line in rest[:3]] == [{"type": "message", **m.to_dict()} for m in messages]
    # Stores count for themselves: the target's seq has no gap.
    assert cli("import", "--file", "x.jsonl", *TO).code == 0
    assert [m["seq"] for m in cli("show", "s0", "--json", *TO).json["messages"]] == [1, 2, 3]


def test_chosen_sessions(cli, fill, tmp_path):
    fill(sessions=4)

    def exported(*arguments):
        assert cli("export", "--output", "x.jsonl", *arguments, *URL).code == 0
        lines = map(json.loads, (tmp_path / "x.jsonl").read_text().splitlines())
        return [line["session_id"] for line in lines if line["type"] == "session"]

    assert exported() == ["s0", "s1", "s2", "s3"]  # oldest first
    assert exported("--session-id", "s2") == ["s2"]
    assert exported("--session-id", "s2", "--session-id", "s0", "--session-id", "s2") == ["s2", "s0"]
    assert exported("--user-id", "u1") == ["s1", "s3"]
    assert exported("--user-id", "nobody") == []
    assert cli("import", "--file", "x.jsonl", *TO).code == 0


def test_a_file_is_its_owners_and_whole_or_absent(cli, fill, tmp_path, monkeypatch):
    fill()
    file = tmp_path / "x.jsonl"
    assert cli("export", "--output", "x.jsonl", *URL).code == 0
    assert os.name == "nt" or stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    fill("more.db", sessions=9)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "finish", fail)
        result = cli("export", "--output", "x.jsonl", "--conversation-url", "more.db")
    assert (result.code, result.error) == (1, "No space left on device")
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*x.jsonl*")] == ["x.jsonl"]


def test_importing_again_adds_nothing(cli, fill, read):
    fill()
    cli("export", "--output", "x.jsonl", *URL)
    assert cli("import", "--file", "x.jsonl", "--json", *TO).json["written"] == 12
    before = read("b.db")
    again = cli("import", "--file", "x.jsonl", "--json", *TO)
    assert (again.code, again.json["written"], again.json["sessions"]) == (0, 0, 3)
    assert read("b.db") == before


def test_an_import_goes_on_where_one_stopped(cli, fill, read):
    fill()
    cli("export", "--output", "x.jsonl", *URL)
    with open_conversation_store("a.db") as source, open_conversation_store("b.db") as target:
        target.create_session(source.get_session("s0"))
        target.create_session(source.get_session("s1"))
        target.add_messages("s1", source.get_messages("s1")[:3])
    assert cli("import", "--file", "x.jsonl", "--json", *TO).json["written"] == 4 + 1 + 4
    assert read("b.db") == read("a.db")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda store: store.delete_messages("s1", ["m0"]), "with other messages"),
        (lambda store: store.add_message("s1", ConversationMessage(id="new", content="new")), "with more messages"),
        (
            lambda store: store.update_session(ConversationSession("s1", name="other")),
            "with other fields (user, agent, name, state, metadata or created_at)",
        ),
        (
            lambda store: (
                store.delete_messages("s1", ["m3"]),
                store.add_message("s1", ConversationMessage(id="m3", content="other")),
            ),
            "with other messages",
        ),
    ],
)
def test_a_session_that_is_there_with_other_content_stays(cli, fill, read, change, says):
    fill()
    cli("export", "--output", "x.jsonl", *URL)
    cli("import", "--file", "x.jsonl", *TO)
    with open_conversation_store("b.db") as store:
        change(store)
        store.delete_session("s2")
        theirs = read("b.db")["s1"]
    result = cli("import", "--file", "x.jsonl", "--json", *TO)
    assert result.code == 1
    assert result.error == f"the target has session 's1' already, {says}; it was left as it is"
    assert result.json["conflicts"] == [result.error]
    assert result.json["sessions"] == 2  # the others are imported
    assert read("b.db")["s1"] == theirs
    assert read("b.db")["s2"] == read("a.db")["s2"]


def test_update_brings_fields_up_to_date_and_loses_no_message(cli, fill, read):
    fill()
    cli("export", "--output", "x.jsonl", *URL)
    cli("import", "--file", "x.jsonl", *TO)
    with open_conversation_store("b.db") as store:
        store.update_session(ConversationSession("s0", name="other"))
        store.update_session(ConversationSession("s1", name="other"))
        store.add_message("s1", ConversationMessage(id="new", content="new"))
    result = cli("import", "--file", "x.jsonl", "--update", *TO)
    assert result.code == 1
    assert "session 's1' already, with more messages" in result.error
    assert read("b.db")["s0"] == read("a.db")["s0"]
    assert (read("b.db")["s1"][0]["name"], len(read("b.db")["s1"][1])) == ("other", 5)


# ------------------------------------------------------------------------------------------------------- broken files


@pytest.fixture
def lines(cli, fill, tmp_path):
    fill()
    cli("export", "--output", "x.jsonl", *URL)
    return (tmp_path / "x.jsonl").read_bytes().splitlines(keepends=True)


@pytest.fixture
def imported(cli, read, tmp_path):
    """Imports these bytes; returns the error, and which sessions are there."""

    def call(content):
        (tmp_path / "broken.jsonl").write_bytes(content)
        result = cli("import", "--file", "broken.jsonl", *TO)
        assert result.code == 1, result
        return result.error, sorted(read("b.db"))

    return call


def test_every_cut_is_noticed(lines, imported):
    # header, then s0 in 1-6, s1 in 7-12, s2 in 13-18, trailer
    assert [json.loads(line)["type"] for line in lines][1:7] == ["session", *["message"] * 4, "end"]
    error, there = imported(b"")
    assert (error, there) == ("broken.jsonl was cut short behind line 0; nothing of it was imported", [])
    error, there = imported(b"".join(lines[:1]))
    assert "cut short behind line 1" in error
    error, there = imported(b"".join(lines[:9]))
    assert "cut short behind line 9; nothing of session 's1' was imported; whole sessions before it: 1" in error
    assert there == ["s0"]
    error, there = imported(b"".join(lines[:9]) + lines[9][:20])
    assert "cut short in line 10" in error
    error, there = imported(b"".join(lines[:-1]))
    assert "cut short behind line 19; whole sessions before it: 3" in error
    assert there == ["s0", "s1", "s2"]


def test_no_byte_can_be_cut_off_unnoticed(cli, fill, tmp_path):
    fill(sessions=2, messages=1)
    cli("export", "--output", "x.jsonl", *URL)
    whole = (tmp_path / "x.jsonl").read_bytes()
    for end in range(len(whole) - 1):  # without its last newline it is whole
        (tmp_path / "cut").write_bytes(whole[:end])
        with (tmp_path / "cut").open("rb") as file, pytest.raises(Exception, match=r"^cut") as caught:
            list(Reader(file, "cut"))
        assert type(caught.value).__name__ == "BrokenFileError"
    (tmp_path / "cut").write_bytes(whole[:-1])
    with (tmp_path / "cut").open("rb") as file:
        assert len(list(Reader(file, "cut"))) == 2


@pytest.mark.parametrize(
    ("line", "replacement", "says"),
    [
        (8, b"{broken\n", "line 9: no JSON in UTF-8: Expecting property name enclosed in double quotes"),
        (8, b"\xff\n", "line 9: no JSON in UTF-8: 'utf-8' codec can't decode byte 0xff"),
        (8, b"[]\n", "line 9: no JSON object"),
        (8, b"\n", "line 9: no JSON"),
        (8, b'{"type": "message", "id": "", "role": "user", "content": "", "created_at": 1}\n', "line 9: no message"),
        (8, b'{"type": "message", "id": "x", "role": "user", "content": 1, "created_at": 1}\n', "line 9: no message"),
        (8, b'{"type": "message", "id": "x", "role": "user", "created_at": 1}\n', "line 9: no message: it lacks id"),
        (8, b'{"type": "message", "id": "x", "role": "user", "content": "", "created_at": NaN}\n', "NaN is no JSON"),
        (8, b'{"type": "else"}\n', "line 9: a line of the type 'else' inside session 's1'"),
        (8, b"", "line 12: session 's1' has 3 messages here, 4 were written"),
        (12, b"", "line 13: a line of the type 'session' inside session 's1', which begins in line 8"),
        (
            9,
            b'{"type": "message", "id": "m2", "role": "user", "content": "x", "created_at": 1}\n',
            "it was changed since",
        ),
    ],
)
def test_a_broken_line_says_which_and_imports_nothing_of_its_session(lines, imported, line, replacement, says):
    content = [*lines[:line], replacement, *lines[line + 1 :]]
    error, there = imported(b"".join(content))
    assert says in error
    assert there == ["s0"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"session_id": "s"}\n', "line 1: no header"),
        (b"PK\x03\x04\n", "line 1: no header"),
        (b'{"type": "header", "format": "praisonai-persistence", "version": 2}\n', "line 1: format version 2"),
    ],
)
def test_other_files_are_refused(imported, content, says):
    error, there = imported(content)
    assert says in error
    assert there == []


def test_sessions_lost_or_added_are_noticed(lines, imported):
    error, _ = imported(b"".join([*lines[:7], *lines[13:]]))
    assert "line 14: 3 sessions with 12 messages were written, here are 2 with 8" in error
    error, _ = imported(b"".join(lines) + lines[1])
    assert "goes on behind its last line" in error
    error, _ = imported(b"".join([lines[0], b'{"type": "session", "session_id": "x"}\n', *lines[1:]]))
    assert "line 2: no session: it lacks session_id or created_at" in error


def test_a_large_session_is_read_and_written_in_pages(cli, read):
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession("long"))
        for start in range(0, 5000, 1000):
            store.add_messages(
                "long", [ConversationMessage(id=f"{n}", content=f"{n}") for n in range(start, start + 1000)]
            )
        store.delete_messages("long", [f"{n}" for n in range(5, 2500)])
        assert [len(page) for page in message_pages(store, "long")] == [5, 500, 1000, 1000]
        store.create_session(ConversationSession("large"))
        store.add_messages("large", [ConversationMessage(id=f"{n}", content="x" * 100_000) for n in range(150)])
        pages = [len(page) for page in message_pages(store, "large")]
        assert sum(pages) == 150
        assert max(pages) < 50  # of 4 MB
    assert cli("export", "--output", "x.jsonl", *URL).code == 0
    assert cli("import", "--file", "x.jsonl", *TO).code == 0
    assert read("b.db") == read("a.db")


# -------------------------------------------------------------------------------------------- listings that move


class Moving:
    """A store that does something between the pages of a listing."""

    def __init__(self, store, meanwhile):
        self._store = store
        self._meanwhile = iter(meanwhile)

    def list_sessions(self, *arguments, **options):
        page = self._store.list_sessions(*arguments, **options)
        next(self._meanwhile, lambda: None)()
        return page


def test_a_listing_is_complete_though_sessions_move():
    with open_conversation_store("memory://") as store:
        names = [f"{number:04d}" for number in range(1800)]
        for number, name in enumerate(names):
            store.create_session(ConversationSession(name, created_at=float(number)))

        def delete_some():
            for name in names[1350:1790]:  # already listed; what is not comes forward by as many
                store.delete_session(name)

        def use_some():
            store.add_message("0007", ConversationMessage())  # not listed yet
            store.add_message("1799", ConversationMessage())  # listed already
            store.create_session(ConversationSession("new"))

        moving = Moving(store, [delete_some, use_some, lambda: store.delete_session("0100")])
        listed = [session.session_id for session in all_sessions(moving)]
    assert set(listed) >= {*names[:1350], *names[1790:], "new"} - {"0100"}
    assert len(listed) <= len(set(listed)) + 2  # those in use may come twice


PRAISONAI = {
    "session_id": "theirs",
    "user_id": "ada",
    "agent_id": "helper",
    "name": "Session theirs",
    "metadata": {"a": 1},
    "created_at": 1796043120.25,
    "messages": [
        {"id": "m1", "role": "user", "content": "hi é", "metadata": {}, "created_at": 1796043120.5},
        {"id": "m2", "role": "assistant", "content": "ho", "metadata": {"b": [2]}, "created_at": 1796043121.0},
    ],
}
"""What PraisonAI's own ``persistence export`` writes: one line."""


def test_a_session_that_praisonai_exported(cli, tmp_path):
    (tmp_path / "theirs.jsonl").write_text(json.dumps(PRAISONAI) + "\n", encoding="utf-8")
    into = ("--file", "theirs.jsonl", "--conversation-url", "theirs.db")
    assert "1 sessions with 2 messages; the file is whole" in cli("import", *into, "--check").out
    assert "2 of them would be written" in cli("import", *into, "--dry-run").out
    assert "2 of them new; verified" in cli("import", *into).out
    assert "0 of them new; verified" in cli("import", *into).out
    with open_conversation_store("theirs.db") as store:
        session = store.get_session("theirs")
        assert (session.user_id, session.agent_id, session.metadata) == ("ada", "helper", {"a": 1})
        assert (session.name, session.created_at) == ("Session theirs", 1796043120.25)
        found = [(one.id, one.role, one.content, one.created_at) for one in store.get_messages("theirs")]
        assert found == [("m1", "user", "hi é", 1796043120.5), ("m2", "assistant", "ho", 1796043121.0)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (json.dumps({**PRAISONAI, "messages": [{"role": 5}]}) + "\n", "no session that PraisonAI exported: role"),
        (json.dumps({**PRAISONAI, "runs": [{"run_id": "r"}]}) + "\n", "it has runs or traces"),
        ((json.dumps(PRAISONAI) + "\n") * 2, "goes on behind its last line"),
        (json.dumps(PRAISONAI)[:-9], "was cut short"),
    ],
)
def test_what_is_no_session_that_praisonai_exported(cli, tmp_path, text, told):
    (tmp_path / "theirs.jsonl").write_text(text, encoding="utf-8")
    ended = cli("import", "--file", "theirs.jsonl", "--conversation-url", "theirs.db")
    assert (ended.code, told in ended.error) == (1, True)
    with open_conversation_store("theirs.db") as store:
        assert store.list_sessions() == []
