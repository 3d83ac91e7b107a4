"""The forms of ``Agent(...)`` in PraisonAI's documents with ``praisonai_persistence.compat``."""

from __future__ import annotations

from pathlib import Path

import pytest
from model import call, said

FORMS = str(Path(__file__).with_name("forms.py"))
REFUSED = """
import json
import praisonai_persistence.compat
from praisonaiagents import Agent, db
from praisonai_persistence.memory import MemoryConversationStore
try:
    Agent(name="a", {arguments})
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def test_every_form(start, model, tmp_path):
    def answer(messages):
        if messages[-1]["role"] == "tool":
            return f"I read: {messages[-1]['content']}"
        text = said(messages)
        return call("weather", "call-1", city="Oslo") if "weather" in text else f"I heard: {text}"

    model.answer = answer
    assert start("-m", "praisonai_persistence.compat", FORMS).wait() == [
        "database_and_session",
        "I heard: Hello!",
        "resumed",
        ["My name is Alice", "I heard: My name is Alice", "What's my name?", "I heard: What's my name?"],
        "database_and_state",
        "I heard: Hello!",
        "database_and_memory",
        "I heard: Remember this, too!",
        "nothing_but_memory",
        "I heard: Remember this!",
        "a_dict",
        "I heard: Hello!",
        "an_async_store",
        "I heard: Hello, how are you?",
        ["Hello, how are you?", "I heard: Hello, how are you?"],
        "an_own_async_store",
        "I heard: Hello!",
        ["Hello!", "I heard: Hello!"],
        "two_agents",
        ["Write!", "I heard: Write!", "Read!", "I heard: Read!"],
        "awaited",
        "I heard: Hello!",
        "I heard: Again!",
        ["Hello!", "I heard: Hello!", "Again!", "I heard: Again!"],
        ["Hello!", "I heard: Hello!", "Again!"],
        "tools",
        'I read: "sunny in Oslo"',
    ]
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in made if not path.endswith((".db", ".db-wal", ".db-shm"))} == {
        "home/praisonai/sessions/chat-123.json",
        "home/praisonai/sessions/chat-123.json.lock",
    }
    assert "home/praisonai/persistence.db" in made


@pytest.mark.parametrize(
    "arguments",
    [
        "db=db(database_url='memory://'), conversation_store=MemoryConversationStore()",
        "db=db(database_url='memory://'), memory=db(database_url='memory://')",
        "session_id='a', memory={'session_id': 'b'}",
    ],
)
def test_two_settings_that_contradict_each_other(start, arguments):
    ((kind, text),) = start("-c", REFUSED.replace("{arguments}", arguments)).wait()
    assert kind == "ConfigurationError"
    assert "give" in text


def test_a_name_that_no_agent_has(start):
    ((kind, text),) = start("-c", REFUSED.replace("{arguments}", "databse=1")).wait()
    assert kind == "TypeError"
    assert "databse" in text
