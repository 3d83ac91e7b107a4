"""``delete``, ``rename`` and ``fork``: what they change, and that they ask before."""

from __future__ import annotations

import os

import pytest

from praisonai_persistence import ConversationSession, open_conversation_store

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")
URL = ("--conversation-url", "a.db")
CHANGES = [["delete", "s1"], ["rename", "s1", "new"], ["fork", "s1", "--new-session-id", "f"]]


def names(arguments):
    return arguments[0]


@pytest.mark.parametrize("arguments", CHANGES, ids=names)
def test_nothing_changes_where_nobody_can_be_asked(cli, fill, read, arguments):
    fill()
    before = read("a.db")
    result = cli(*arguments, *URL)
    assert (result.code, result.out) == (2, "")
    assert "'s1'" in result.error
    assert "say --yes" in result.error
    assert read("a.db") == before


@POSIX
@pytest.mark.parametrize("arguments", CHANGES, ids=names)
def test_who_says_no_changes_nothing(on_a_terminal, fill, read, arguments):
    fill()
    before = read("a.db")
    code, shown = on_a_terminal(*arguments, *URL, prompt="[y/N]", keys="n\n")
    assert code == 1
    assert "nothing was " in shown
    assert read("a.db") == before


@POSIX
@pytest.mark.parametrize("arguments", CHANGES, ids=names)
def test_who_says_yes_is_obeyed(on_a_terminal, fill, read, arguments):
    fill()
    before = read("a.db")
    code, _ = on_a_terminal(*arguments, *URL, prompt="[y/N]", keys="y\n")
    assert code == 0
    assert read("a.db") != before


@pytest.mark.parametrize("arguments", CHANGES, ids=names)
def test_an_unknown_session(cli, fill, read, arguments):
    fill()
    before = read("a.db")
    result = cli(*[word.replace("s1", "nope") for word in arguments], "--yes", *URL)
    assert (result.code, result.out) == (1, "")
    assert result.error == "there is no session 'nope'; 'sessions' lists those that are there"
    for session_id, says in (("", "1 to 255 characters"), ("x" * 256, "1 to 255 characters")):
        result = cli(arguments[0], session_id, *arguments[2:], "--yes", *URL)
        assert (result.code, says in result.error) == (2, True)
    assert read("a.db") == before


@pytest.mark.parametrize("url", ["a.db", "json:///files"])
def test_delete(cli, fill, read, url):
    fill(url)
    before = read(url)
    where = ("--conversation-url", url)
    dry = cli("delete", "s0", "s2", "s0", "--dry-run", "--json", *where).json
    assert dry == {"dry_run": True, "sessions": ["s0", "s2"], "count": 2}
    assert read(url) == before
    assert "2 sessions with 8 messages" in cli("delete", "s0", "s2", *where).error
    assert cli("delete", "s0", "nope", "--yes", *where).code == 1
    assert read(url) == before, "one that is not there, and nothing is deleted"
    done = cli("delete", "s0", "s2", "--yes", *where)
    assert (done.code, done.out, done.err) == (0, "s0\ns2\n", "2 sessions deleted\n")
    assert read(url) == {"s1": before["s1"]}


def test_rename_changes_the_name_and_nothing_else(cli, fill, read):
    fill(state={"a": 1}, metadata={"b": [2]})
    fields, messages = read("a.db")["s1"]
    done = cli("rename", "s1", "", "--yes", "--json", *URL).json
    assert (done["name_before"], done["session"]["name"], done["session"]["version"]) == ("name 1", "", 2)
    assert cli("rename", "s1", "A \x1b[1m name", "--yes", *URL).out == "session s1 is named A \\x1b[1m name\n"
    assert read("a.db")["s1"] == ({**fields, "name": "A \x1b[1m name"}, messages)


def test_rename_does_not_undo_what_others_write_meanwhile(cli, fill, read, monkeypatch):
    from praisonai_persistence_sqlite import SQLiteConversationStore

    fill()
    update, others = SQLiteConversationStore.update_session, []

    def late(self, session, **options):
        if not others:
            others.append(session)
            with open_conversation_store("a.db") as store:
                theirs = store.get_session("s1")
                theirs.state = {"their": "state"}
                update(store, theirs)
        return update(self, session, **options)

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteConversationStore, "update_session", late)
        assert cli("rename", "s1", "new", "--yes", *URL).code == 0
    fields, _ = read("a.db")["s1"]
    assert (fields["name"], fields["state"]) == ("new", {"their": "state"})


@pytest.mark.parametrize("url", ["a.db", "json:///files"])
def test_fork(cli, fill, read, url):
    fill(url)
    where = ("--conversation-url", url)
    done = cli("fork", "s1", "--new-session-id", "f", "--up-to-seq", "3", "--yes", "--json", *where).json
    assert (done["forked_from"], done["session"]["session_id"], done["messages"]) == ("s1", "f", 3)
    whole = cli("fork", "s1", "--yes", *where)
    assert (whole.code, whole.err) == (0, "4 messages copied\n")
    found = read(url)
    assert [message["content"] for message in found["f"][1]] == [f"message {turn} of session 1" for turn in range(3)]
    assert len(found[whole.out.strip()][1]) == len(found["s1"][1]) == 4
    taken = cli("fork", "s1", "--new-session-id", "s2", "--yes", *where)
    assert (taken.code, "s2" in taken.error) == (1, True)
    assert cli("fork", "s1", "--up-to-seq", "0", "--yes", *where).code == 2
    assert read(url) == found


def test_ids_of_any_kind(cli):
    evil = "a/b \x1b[2J\u202e"
    with open_conversation_store("a.db") as store:
        store.create_session(ConversationSession(evil, name=evil))
    for arguments in (["rename", evil, evil], ["fork", evil, "--new-session-id", evil + "2"], ["delete", evil]):
        refused, done = cli(*arguments, *URL), cli(*arguments, "--yes", *URL)
        assert (refused.code, done.code) == (2, 0), arguments
        assert not {"\x1b", "\u202e"} & {*refused.err, *done.out, *done.err}
    assert cli("sessions", "--json", *URL).json["sessions"][0]["session_id"] == evil + "2"
