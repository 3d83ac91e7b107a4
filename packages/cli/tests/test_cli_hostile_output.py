"""Nothing that is stored, typed or named like a file steers the terminal, whatever command shows it."""

from __future__ import annotations

import json
import os
import re

import pytest

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    KnowledgeDocument,
    open_conversation_store,
    open_knowledge_store,
    open_state_store,
)
from praisonai_persistence_cli._app import _COMMANDS

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")

EVIL = "\x1b]0;title\x07\x9b31m\x85\u061c\u200e\u200f\u202a\u202e\u2066\u2069\u2028\x08\x7f\tend"
# What would show that a part of it got through; \x1b[ alone is how tables and bars are drawn.
STEERS = re.compile(
    "\x1b\\]|[\x00-\x06\x07\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]"
)
ANY = re.compile(STEERS.pattern + "|\x1b")
URL = ("--conversation-url", "a.db")

COMMANDS = [
    ["sessions", *URL],
    ["sessions", "--json", *URL],
    ["show", EVIL, *URL],
    ["show", EVIL, "--json", *URL],
    ["resume", "--session-id", EVIL, "--show-history", *URL],
    ["resume", "--session-id", EVIL, *URL],
    ["search", "title", *URL],
    ["export", *URL],
    ["export", "--output", f"x{EVIL}.jsonl", *URL],
    ["prune", "--keep-last", "0", "--dry-run", *URL],
    ["copy", "--from", "a.db", "--to", "conflict.db"],
    ["copy", "--from", "a.db", "--to", "conflict.db", "--kind", "state"],
    ["show", f"{EVIL} unknown", *URL],
    ["sessions", "--conversation-url", f"sqlite:///{EVIL}.db"],
    ["sessions", "--conversation-url", f"nosuch://{EVIL}"],
    ["sessions", "--conversation-url-file", EVIL],
    ["sessions", "--table-prefix", EVIL, *URL],
    ["status", "--conversation-url", f"json:///x{EVIL}"],
    ["doctor", "--conversation-url", f"nosuch://{EVIL}"],
    ["migrate", "--conversation-url", f"nosuch://{EVIL}", "--debug"],
    ["import", "--file", EVIL, *URL],
    ["run", EVIL, "--session-id", EVIL, "--user-id", EVIL, "--agent-name", EVIL, "--dry-run", *URL],
    ["delete", EVIL, "--dry-run", *URL],
    ["rename", EVIL, EVIL, "--yes", *URL],
    ["fork", EVIL, "--yes", *URL],
    ["state", "keys", "--sizes", "--state-url", "a.db"],
    ["state", "get", EVIL, "--state-url", "a.db"],
    ["state", "ttl", EVIL, "--state-url", "a.db"],
    ["state", "get", f"{EVIL} unknown", "--state-url", "a.db"],
    ["knowledge", "collections", "--knowledge-url", "a.db"],
    ["knowledge", "get", "docs", EVIL, "--knowledge-url", "a.db"],
    ["knowledge", "search", "docs", "--embedding", "[1.0]", "--knowledge-url", "a.db"],
    ["knowledge", "search", "docs", "--like", f"{EVIL} unknown", "--knowledge-url", "a.db"],
    ["knowledge", EVIL],
    [f"{EVIL}"],
    ["sessions", f"--{EVIL}"],
    ["backends", "--kind", EVIL],
    ["completion", EVIL],
]


@pytest.fixture(autouse=True)
def stored():
    for file, content in (("a.db", EVIL), ("conflict.db", "other")):
        with open_conversation_store(file) as store, open_state_store(file) as state:
            store.create_session(ConversationSession(EVIL, user_id=EVIL, agent_id=EVIL, name=EVIL))
            calls = [{EVIL: EVIL}]
            store.add_message(
                EVIL, ConversationMessage(id=EVIL, role=EVIL, content=content, tool_call_id=EVIL, tool_calls=calls)
            )
            state.set(EVIL, content)
    with open_knowledge_store("a.db") as store:
        store.create_collection("docs", 1)
        store.insert("docs", [KnowledgeDocument(EVIL, EVIL, [1.0], {EVIL: EVIL}, EVIL)])


@POSIX
@pytest.mark.parametrize("arguments", COMMANDS, ids=[f"{n} {command[0][:10]!a}" for n, command in enumerate(COMMANDS)])
def test_no_command_steers_the_terminal(on_a_terminal, arguments):
    _, shown = on_a_terminal(*arguments, NO_COLOR="1")
    assert shown
    assert not STEERS.search(shown.replace("\r\n", "\n"))


def test_every_command_is_tried():
    assert set(_COMMANDS) <= {command[0] for command in COMMANDS}


@POSIX
def test_content_in_parts_does_not_steer_it_either(on_a_terminal):
    with open_conversation_store("a.db") as store:
        store.add_message(EVIL, ConversationMessage(id="parts", content=[{"type": "text", "text": EVIL, EVIL: [EVIL]}]))
    for arguments in (["show", EVIL], ["resume", "--session-id", EVIL, "--show-history"], ["search", "title"]):
        code, shown = on_a_terminal(*arguments, *URL)
        assert code == 0
        assert not STEERS.search(shown.replace("\r\n", "\n"))


def test_pipes_get_plain_lines(cli):
    for arguments in COMMANDS:
        if arguments[0] != "export":
            result = cli(*arguments)
            assert not ANY.search(result.out.replace("\r\n", "\n") + result.err), arguments


def test_json_stays_json(cli):
    (session,) = cli("sessions", "--json", *URL).json["sessions"]
    assert (session["session_id"], session["name"]) == (EVIL, EVIL)


@POSIX
def test_an_export_on_a_terminal_is_an_export(on_a_terminal):
    code, shown = on_a_terminal("export", *URL)
    assert code == 0
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line["type"] for line in lines] == ["header", "session", "message", "end", "trailer"]
    assert lines[2]["content"] == EVIL


@POSIX
def test_warnings_of_stores_do_not_steer_it_either(on_a_terminal, tmp_path):
    url = "json:///files"
    with open_conversation_store(url) as store:
        store.create_session(ConversationSession("s", name=EVIL))
    (document,) = tmp_path.glob("files/praison_/*/session.json")
    document.write_text('{"format": 1, "session_id": "\x9b31m"')
    code, shown = on_a_terminal("sessions", "--conversation-url", url)
    assert code == 0
    assert "warning: a session document is corrupt" in shown
    assert not STEERS.search(shown.replace("\r\n", "\n"))
