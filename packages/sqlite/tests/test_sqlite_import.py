"""What a program loads that uses the sync stores only: nothing that its first write does not need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = """
from praisonai_persistence import ConversationMessage, ConversationSession{name}
{more}
with {store} as store:
    session = store.create_session(ConversationSession(user_id="ada"))
    store.add_message(session.session_id, ConversationMessage(content="text, and \u00e9"))
"""
CLASS = PROGRAM.format(
    name="",
    more="from praisonai_persistence_sqlite import SQLiteConversationStore",
    store="SQLiteConversationStore(path='agent.db')",
)
URL = PROGRAM.format(name=", open_conversation_store", more="", store="open_conversation_store('sqlite:///agent.db')")
BARE = "import sqlite3, threading"
SHOW = "\nimport sys; loaded = sorted(sys.modules)\nimport json; print(json.dumps(loaded))"

EVERY_WRITE = {
    "praisonai_persistence": {
        "",
        "_checks",
        "_closing",
        "_declare",
        "_forks",
        "_ids",
        "_lazy",
        "_paths",
        "_store",
        "conversation",
        "errors",
        "payload",
        "records",
        "steps",
        "stores",
        "stores.conversation",
        "stores.runners",
    },
    "praisonai_persistence_sql": {
        "",
        "administration",
        "adoption",
        "conversation",
        "dialect",
        "migrations",
        "requests",
        "schema",
    },
    "praisonai_persistence_sqlite": {
        "",
        "_connection",
        "_conversation_stores",
        "_commits",
        "_connections",
        "_database",
        "_operations",
        "_dialect",
        "_location",
        "_runner",
        "_stores",
        "conversation",
    },
}
BY_URL = {
    f"praisonai_persistence.{name}" for name in ("_entry_points", "_registry_names", "opening", "registry", "urls")
}


def modules(code, folder):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("COVERAGE_PROCESS_START", None)
    done = subprocess.run(
        [sys.executable, "-c", code + SHOW], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(("program", "more"), [(CLASS, set()), (URL, BY_URL)], ids=["class", "url"])
def test_the_modules_of_the_first_write(tmp_path, program, more):
    bare = modules(BARE, tmp_path)
    allowed = {f"{package}.{name}".rstrip(".") for package, names in EVERY_WRITE.items() for name in names} | more
    first = modules(program, tmp_path) - bare
    assert first - allowed - {"__future__", "math"} == set()
    later = modules(program, tmp_path) - bare  # the tables are there
    assert later - allowed - {"__future__", "math"} == set()


def test_what_values_need_is_loaded_with_the_first_of_them(tmp_path):
    program = CLASS.replace("content=", "metadata={'a': 1}, content=")
    assert "json" in modules(program, tmp_path) - modules(CLASS, tmp_path)


def test_one_kind_is_loaded_without_the_others(tmp_path):
    loaded = modules("from praisonai_persistence_sqlite import SQLiteStateStore", tmp_path)
    assert "praisonai_persistence_sqlite.state" in loaded
    assert not any(
        name.startswith("praisonai_persistence") and name.endswith(("knowledge", "adoption")) for name in loaded
    )
