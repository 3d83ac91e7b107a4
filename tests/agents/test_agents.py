"""PraisonAI's own Agent with our adapter: what one process said is in the request that the next one sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from model import call

from praisonai_persistence import db

TALK = str(Path(__file__).with_name("talk.py"))


@pytest.fixture
def talk(start):
    """Start a process with an agent."""

    def talk(options: dict[str, Any], say: list[tuple[str, str]], **more: Any) -> Any:
        return start(TALK, json.dumps({"options": options, "session": "s", "say": say, **more}))

    return talk


def sent(request: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The messages of a request, without instructions: role, content, ids of calls, id of the call that is answered."""
    return [
        (
            message["role"],
            message.get("content") or "",
            [one["id"] for one in message.get("tool_calls") or ()],
            message.get("tool_call_id"),
        )
        for message in request["messages"]
        if message["role"] != "system"
    ]


def said(role: str, text: str) -> tuple[Any, ...]:
    return role, text, [], None


def with_tools(messages: list[dict[str, Any]]) -> Any:
    """A model that has tools called for what a user asks."""
    last = messages[-1]
    if last["role"] == "tool":
        return f"The tool says {len(str(last['content']))} characters."
    if "weather" in last["content"]:
        return call("weather", "call_1", city="Porto")
    if "report" in last["content"]:
        return call("report", "call_2", days=800)
    if "wait" in last["content"]:
        return call("wait", "call_3")
    return f"I heard: {last['content']}"


def test_what_was_said_is_in_the_request_of_the_next_process(model, options, talk):
    model.answer = with_tools
    told = [("chat", "My name is Ada."), ("stream", "The weather?"), ("stream", "A report!"), ("achat", "Thanks.")]
    answers = talk(options, told, tools=["weather", "report"]).wait()
    assert answers[0] == "I heard: My name is Ada."
    assert answers[3] == "I heard: Thanks."
    model.requests.clear()
    assert talk(options, [("chat", "What is my name?")]).wait() == ["I heard: What is my name?"]
    (request,) = model.requests
    assert sent(request) == [
        said("user", "My name is Ada."),
        said("assistant", "I heard: My name is Ada."),
        said("user", "The weather?"),
        ("assistant", "", ["call_1"], None),
        ("tool", "Porto: 17 degrees", [], "call_1"),
        said("assistant", "The tool says 17 characters."),
        said("user", "A report!"),
        ("assistant", "", ["call_2"], None),
        ("tool", "sun, " * 800, [], "call_2"),
        said("assistant", "The tool says 4000 characters."),
        said("user", "Thanks."),
        said("assistant", "I heard: Thanks."),
        said("user", "What is my name?"),
    ]
    with db(**options) as store:
        runs = store.get_runs("s")
        assert [run.input_content for run in runs] == ["What is my name?", "Thanks.", "My name is Ada."]
        assert {run.status for run in runs} == {"completed"}
        session = store.export_session("s")
        assert (session["agent_id"], session["user_id"]) == ("Assistant", "ada")


def test_an_agent_that_is_killed_in_the_midst_of_a_turn(model, options, talk):
    model.answer = with_tools
    first = talk(options, [("chat", "Hello."), ("stream", "Now wait.")], tools=["wait"])
    first.wait_for_line("waiting")
    first.kill()
    model.requests.clear()
    assert talk(options, [("chat", "Are you there?")]).wait() == ["I heard: Are you there?"]
    (request,) = model.requests
    assert sent(request) == [
        said("user", "Hello."),
        said("assistant", "I heard: Hello."),
        said("user", "Now wait."),
        ("assistant", "", ["call_3"], None),
        ("tool", "(no result: the run was interrupted)", [], "call_3"),
        said("user", "Are you there?"),
    ]
    with db(**options) as store:  # what is stored is what was said
        roles = [message.role for message in store.conversation.get_messages("s")]
        assert roles == ["user", "assistant", "user", "assistant", "user", "assistant"]


def test_two_agents_at_once_on_one_session_lose_nothing(model, options, talk):
    names = ("One", "Two")
    both = [talk(options, [("chat", f"{name} says {turn}.") for turn in range(5)], name=name) for name in names]
    for program in both:
        assert len(program.wait()) == 5
    model.requests.clear()
    talk(options, [("chat", "What was said?")]).wait()
    (request,) = model.requests
    messages = sent(request)[:-1]
    assert len(messages) == 20
    for name in names:
        own = [text for _, text, _, _ in messages if name in text]
        assert own == [text for turn in range(5) for text in (f"{name} says {turn}.", f"I heard: {name} says {turn}.")]


PROTOCOL = """
import inspect, json
from praisonaiagents.db import AsyncDbAdapter, DbAdapter, ToolTurnDbAdapterProtocol
from praisonaiagents.db.protocol import DbMessage, DbRun, DbSpan, DbToolCall, DbTrace
from praisonai_persistence import adapter, db

made = db("memory://"), db.aio("memory://")
print(json.dumps([isinstance(made[0], DbAdapter), isinstance(made[0], ToolTurnDbAdapterProtocol)]))
print(json.dumps([isinstance(made[1], AsyncDbAdapter)]))

def accepts(ours, theirs):
    known = inspect.signature(ours).parameters
    wanted = [p for p in inspect.signature(theirs).parameters.values() if p.name != "self"]
    in_order = [name for name in known][: len(wanted)] == [p.name for p in wanted]
    optional = all(known[p.name].default is not p.empty for p in wanted if p.default is not p.empty)
    rest = [p for p in list(known.values())[len(wanted):] if p.default is p.empty]
    return in_order and optional and not rest

wrong = [
    name
    for ours, protocol in ((made[0], DbAdapter), (made[0], ToolTurnDbAdapterProtocol), (made[1], AsyncDbAdapter))
    for name in dir(protocol)
    if not name.startswith("_") and not accepts(getattr(ours, name), getattr(protocol, name))
]
print(json.dumps(wrong))
print(json.dumps([
    [kind.__name__, sorted(set(kind.__dataclass_fields__) - set(getattr(adapter, kind.__name__).__dataclass_fields__))]
    for kind in (DbMessage, DbRun, DbSpan, DbToolCall, DbTrace)
]))
"""


def test_the_protocols_of_praisonai(start):
    sync, async_, wrong, missing = start("-c", PROTOCOL).wait()
    assert (sync, async_, wrong) == ([True, True], [True], [])
    assert missing == [["DbMessage", []], ["DbRun", []], ["DbSpan", []], ["DbToolCall", []], ["DbTrace", []]]
