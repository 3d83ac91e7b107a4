"""PraisonAI's documented programs with ``praisonai_persistence.compat``, beside nothing but praisonaiagents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from praisonai_persistence_sqlite import SQLiteConversationStore

PAGES = str(Path(__file__).with_name("pages.py"))
WHERE = """
import json, sys
import praisonai_persistence.compat
import praisonai.db, praisonai.persistence.conversation, praisonaiagents.session, praisonaiagents.db
from praisonaiagents import db
print(json.dumps([
    type(db(database_url="memory://")).__module__,
    praisonai.persistence.conversation.SQLiteConversationStore.__module__,
    praisonaiagents.session.DefaultSessionStore.__module__,
    praisonaiagents.db.DbAdapter.__module__,
    isinstance(db(database_url="memory://"), praisonaiagents.db.DbAdapter),
]))
"""

PROBE = """
import importlib, json, sys
import praisonai_persistence
try:
    importlib.import_module(sys.argv[1])
except ImportError as error:
    print(json.dumps([type(error).__name__]))
"""


def test_the_pages_run_as_they_are(start, tmp_path):
    printed = start("-m", "praisonai_persistence.compat", PAGES).wait()
    assert printed == [
        "quick_start",
        "I heard: Hello!",
        "zero_configuration",
        "I heard: Where is it kept?",
        "several_databases",
        "I heard: Hello!",
        ["completed"],
        "resume",
        ["My name is Alice", "I heard: My name is Alice", "What's my name?", "I heard: What's my name?"],
        "from_the_environment",
        "I heard: Hello!",
        "by_class",
        "I heard: Hello!",
        "async_store",
        ["user_123", ["Hello"]],
        "own_async_store",
        ["Assistant", ["Hello"]],
        "registries",
        ["mine://", "x", "mine", True, True],
        "session_files",
        ["Hello!", "I heard: Hello!", "Again!", "I heard: Again!"],
        [True, "Hi", False],
        ["user", "assistant", "user", "assistant"],
        "session_forks",
        [True, ["0", "1", "2", "3", "4", "5"]],
    ]
    for file in ("conversations.db", "by_class.db", "home/praisonai/persistence.db"):
        with SQLiteConversationStore(path=tmp_path / file) as store:
            (session,) = store.list_sessions()
            assert [message.role for message in store.get_messages(session.session_id)] == ["user", "assistant"]
    kept = json.loads((tmp_path / "home/praisonai/sessions/chat-123.json").read_text(encoding="utf-8"))
    assert len(kept["messages"]) == 4


def test_what_is_replaced_and_what_is_not(start):
    assert start("-c", WHERE).wait() == [
        [
            "praisonai_persistence.adapter",
            "praisonai.persistence.conversation.sqlite",
            "praisonai_persistence_json.sessions",
            "praisonaiagents.db.protocol",
            True,
        ]
    ]


@pytest.mark.parametrize("module", ["praisonai.persistence", "praisonai.db"])
def test_nothing_is_replaced_without_the_opt_in(start, module):
    program = start("-c", PROBE, module)
    assert program.wait() == [["ModuleNotFoundError"]]


def test_an_agent_with_a_session_store_over_a_database(start, model):
    """A store of ours behind PraisonAI's default session store: what an agent says is kept in a database."""
    code = """
import json, sys
import praisonai_persistence.compat
from praisonai_persistence.sessions import StoreBackedSessionStore, set_default_session_store
store = StoreBackedSessionStore.open("sqlite:///sessions.db")
set_default_session_store(store)
from praisonaiagents import Agent
Agent(name="assistant", memory={"session_id": "chat-1"}).start(sys.argv[1])
print(json.dumps([message["content"] for message in store.get_chat_history("chat-1")]))
"""
    assert start("-c", code, "Hello!").wait() == [["Hello!", "I heard: Hello!"]]
    model.requests.clear()
    start("-c", code, "Again!").wait()
    contents = [message["content"] for message in model.requests[0]["messages"] if message["role"] != "system"]
    assert contents == ["Hello!", "I heard: Hello!", "Again!"]
