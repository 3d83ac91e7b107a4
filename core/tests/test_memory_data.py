"""What the memory stores of all kinds take."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path

import pytest

from praisonai_persistence import (
    ConversationMessage,
    ConversationSession,
    KnowledgeDocument,
    create_conversation_store,
    create_knowledge_store,
    create_state_store,
)
from praisonai_persistence.errors import ConfigurationError


@pytest.mark.parametrize("url", [Path("x"), 5])
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ConfigurationError, match="a URL must be text"):
        create_state_store("memory", url)


def test_the_nearest_name_of_an_option_is_told():
    with pytest.raises(ConfigurationError, match="did you mean 'table_prefix'"):
        create_state_store("memory", table_perfix="x")


def inside(module, line, inner, outer):
    """Do ``outer``, and ``inner`` from a trace function when the given line of a module is about to run."""
    answers = []

    def trace(frame, event, _):
        here = frame.f_code.co_filename.endswith(module) and event == "line"
        if here and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith(line):
            sys.settrace(None)
            answers.append(inner())
            return None
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        answer = outer()
    finally:
        sys.settrace(before)
    assert answers
    return answer, answers[0]


MINE = ("mine = ", "if mine")


@pytest.mark.parametrize("line", MINE)
def test_calls_of_trace_functions_win_once(line):
    with create_state_store("memory") as store:
        assert sorted(inside("memory/state.py", line, *[lambda: store.set_if_absent("k", 1)] * 2)) == [False, True]
        assert sorted(inside("memory/state.py", line, *[lambda: store.incr("n")] * 2)) == [1, 2]
        store.hset("h", "kept", 0)
        inside("memory/state.py", line, lambda: store.hset("h", "a", 1), lambda: store.hset("h", "b", 2))
        assert store.hgetall("h") == {"kept": 0, "a": 1, "b": 2}
        assert sorted(inside("memory/state.py", line, *[lambda: store.hdel("h", "a")] * 2)) == [0, 1]
        assert sorted(inside("memory/state.py", line, *[lambda: store.hdel("h", "b", "kept")] * 2)) == [0, 2]


def test_calls_of_trace_functions_between_looking_and_removing():
    with create_state_store("memory") as store:
        store.set("k", 1)
        assert sorted(inside("memory/state.py", "self.pop(key", *[lambda: store.delete("k")] * 2)) == [False, True]
        store.set("k", 1)
        inside("memory/state.py", "self.pop(key", lambda: store.set("k", 2), lambda: store.delete("k"))
        assert store.get("k") == 2


@pytest.mark.parametrize("line", ["mine, ", "if mine"])
def test_messages_of_trace_functions_stay(line):
    with create_conversation_store("memory") as store:
        store.create_session(ConversationSession("s"))
        calls = [lambda name=name: store.add_message("s", ConversationMessage(id=name)).seq for name in ("in", "out")]
        assert sorted(inside("stores/whole_session.py", line, *calls)) == [1, 2]
        assert [message.seq for message in store.get_messages("s")] == [1, 2]
        assert sorted(inside("stores/whole_session.py", line, *[lambda: store.delete_messages("s", ["in"])] * 2)) == [
            0,
            1,
        ]


@pytest.mark.parametrize("line", MINE)
def test_documents_of_trace_functions_stay(line):
    with create_knowledge_store("memory") as store:
        store.create_collection("c", 1)
        puts = [lambda name=name: store.upsert("c", [KnowledgeDocument(name, "", [1.0])]) for name in ("in", "out")]
        inside("memory/knowledge.py", line, *puts)
        assert store.count("c") == 2
