"""What ``db(...)`` makes: messages, tool turns, runs, traces, export, and what it does when a database is away."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import functools
import gc
import inspect
import json
import math
import os
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from praisonai_persistence import (
    AsyncDb,
    BackendNotInstalledError,
    ConfigurationError,
    ConnectionFailedError,
    ConversationMessage,
    ConversationSession,
    DuplicateMessageError,
    InvalidValueError,
    PersistenceError,
    SchemaError,
    SerializationError,
    SessionExistsError,
    SessionNotFoundError,
    StoreClosedError,
    UnknownBackendError,
    UnknownOptionError,
    UnsupportedOperationError,
    WrongTypeError,
    _sources,
    adapter,
    db,
)
from praisonai_persistence._reach import Reach
from praisonai_persistence._resume import INTERRUPTED, resumable
from praisonai_persistence.memory import (
    AsyncMemoryConversationStore,
    AsyncMemoryStateStore,
    MemoryConversationStore,
    MemoryKnowledgeStore,
    MemoryStateStore,
)
from praisonai_persistence.schema import SchemaChange, SchemaStatus


class Both:
    """Calls an adapter of either mode in the same way."""

    def __init__(self, made, awaited):
        self.adapter = made
        self._prefix = "a" if awaited else ""
        self._loop = asyncio.new_event_loop() if awaited or isinstance(made, AsyncDb) else None

    def __getattr__(self, name):
        own = getattr(self.adapter, self._prefix + name, None) or getattr(self.adapter, name)
        if self._loop is None or not inspect.iscoroutinefunction(own):
            return own
        return functools.partial(self._await, own)

    def _await(self, method, *args, **kwargs):
        return self._loop.run_until_complete(method(*args, **kwargs))

    def end(self):
        self.close()
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


@pytest.fixture(params=["sync", "sync, awaited", "async"])
def make(request):
    """Make an adapter on stores in memory, which are shared by their name."""
    made = []

    def make(url="memory://adapter-test", **options):
        one = db.aio(url, **options) if request.param == "async" else db(url, **options)
        made.append(Both(one, request.param != "sync"))
        return made[-1]

    yield make
    for both in made:
        both.end()


@pytest.fixture
def one(make):
    return make("memory://")


def turns(messages):
    return [(message.role, message.content) for message in messages]


# ------------------------------------------------------------------------------------------------------------- messages


def test_a_session_is_taken_up_again(one):
    assert one.on_agent_start("Assistant", "s", user_id="ada", metadata={"goal": "help"}) == []
    one.on_user_message("s", "My name is Ada.")
    one.on_agent_message("s", "Hello Ada.", {"tokens": 3})
    found = one.on_agent_start("Other", "s", user_id="grace")
    assert turns(found) == [("user", "My name is Ada."), ("assistant", "Hello Ada.")]
    assert found[1].metadata == {"tokens": 3}
    assert found[0].id
    assert found[0]["timestamp"] == found[0].timestamp > 1e9
    with pytest.raises(KeyError):
        found[0]["text"]
    assert found[0].get("text", "none") == "none"
    session = one.export_session("s")
    assert (session["user_id"], session["agent_id"], session["metadata"]) == ("ada", "Assistant", {"goal": "help"})


def test_tool_turns_come_back_whole_and_in_order(one):
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Porto"}'}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    result = "x" * 2_000_000
    one.on_agent_start("A", "s")
    one.on_user_message("s", "weather and time?")
    one.on_assistant_message("s", "", tool_calls=calls)
    one.on_tool_message("s", result, tool_call_id="c1")
    one.on_tool_message("s", "noon", tool_call_id="c2")
    one.on_agent_message("s", "fine, noon")
    found = one.on_agent_start("A", "s")
    assert [message.role for message in found] == ["user", "assistant", "tool", "tool", "assistant"]
    assert found[1].tool_calls == calls
    assert [message.tool_call_id for message in found[2:4]] == ["c1", "c2"]
    assert found[2].content == result


@pytest.mark.parametrize(
    ("result", "text"),
    [("text", "text"), ({"ok": [1, 2.5, None]}, '{"ok": [1, 2.5, null]}'), (Path("a"), '"a"'), ("", "")],
)
def test_a_tool_that_was_called_is_stored_as_call_and_result(one, result, text):
    one.on_agent_start("A", "s")
    one.on_tool_call("s", "read", {"path": "a"}, result, {"cost": 1})
    call, answer = one.on_agent_start("A", "s")
    assert call.tool_calls[0]["function"] == {"name": "read", "arguments": '{"path": "a"}'}
    assert (answer.role, answer.content, answer.tool_call_id) == ("tool", text, call.tool_calls[0]["id"])
    assert len(answer.tool_call_id) <= 40
    assert answer.metadata == {"cost": 1, "tool_name": "read"}


def test_tool_calls_of_other_kinds(one):
    class Dumps:
        def model_dump(self, **options):
            return {"id": "c1", "type": "function"}

    one.on_assistant_message("s", None, [Dumps(), adapter.DbToolCall("t", {"a": 1}, call_id="c2")])
    assert [call["id"] for call in one.export_session("s")["messages"][0]["tool_calls"]] == ["c1", "c2"]
    with pytest.raises(InvalidValueError, match="a tool call must be a JSON object"):
        one.on_assistant_message("s", None, ["t"])
    with pytest.raises(SerializationError):
        one.on_user_message("s", [b"no part"])
    assert len(one.export_session("s")["messages"]) == 1


def test_content_in_parts_is_exported_imported_and_taken_up(one):
    parts = [{"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    one.on_run_start("s", "r", "hello")
    one.on_user_message("s", parts)
    one.on_agent_message("s", "hi")
    assert turns(one.on_agent_start("A", "s")) == [("user", parts), ("assistant", "hi")]
    document = json.loads(json.dumps(one.export_session("s")))
    one.import_session({**document, "session_id": "t", "runs": [], "traces": []})
    assert turns(one.on_agent_start("A", "t")) == [("user", parts), ("assistant", "hi")]


def test_what_is_no_json_is_recorded_by_its_text(one):
    id_, moment = uuid.UUID(int=1), datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)
    metrics = {"cost": decimal.Decimal("0.10"), "at": moment, "id": id_, "pair": (1, {2: math.nan}), "n": 1.5}
    wanted = {"cost": "0.10", "at": str(moment), "id": str(id_), "pair": [1, {"2": "nan"}], "n": 1.5}
    endless = []
    endless.append(endless)
    one.on_run_start("s", "r", "x", metrics)
    one.on_run_end("s", "r", "y", metrics=metrics, metadata={"endless": endless})
    (run,) = one.get_runs("s")
    assert run.metrics == wanted
    assert {name: run.metadata[name] for name in wanted} == wanted
    one.on_trace_start("t", "s", metadata=metrics)
    one.on_span_start("p", "t", "call", attributes=metrics)
    (trace,) = one.get_traces("s")
    assert (trace.metadata, trace.spans[0].attributes) == (wanted, wanted)
    one.on_tool_call("s", "price", metrics, {id_: metrics, "set": {moment}})
    call, answer = one.on_agent_start("A", "s")[-2:]
    assert json.loads(call.tool_calls[0]["function"]["arguments"]) == wanted
    assert json.loads(answer.content) == {str(id_): wanted, "set": [str(moment)]}
    assert json.loads(json.dumps(one.export_session("s")))["runs"][0]["metrics"] == wanted


def test_an_interrupted_message_leaves_no_new_session_without_it():
    """Each call of the store, in its turn, is the last one that is done."""

    class Interrupted(MemoryConversationStore):
        calls, last = 0, 0

    def counted(name):
        def method(self, *args, **kwargs):
            answer = getattr(MemoryConversationStore, name)(self, *args, **kwargs)
            self.calls += 1
            if self.calls == self.last:
                raise KeyboardInterrupt
            return answer

        return method

    for name in ("get_session", "create_session", "upsert_session", "add_message", "add_messages", "rewrite_session"):
        setattr(Interrupted, name, counted(name))
    interrupts = 0
    for last in range(1, 10):
        store = Interrupted()
        store.last = last
        adapter_ = db(conversation_store=store)
        try:
            adapter_.on_user_message("s", "hello", message_id="m")
        except KeyboardInterrupt:
            interrupts += 1
        finally:
            store.last = 0
            if store.get_session("s") is not None:
                assert [message.id for message in store.get_messages("s")] == ["m"]
        adapter_.on_user_message("s", "hello", message_id="m")
        assert [message.id for message in store.get_messages("s")] == ["m"]
        adapter_.close()
    assert 1 <= interrupts < 9


def test_a_repeated_call_with_an_id_is_stored_once(one):
    for _ in range(2):
        one.on_user_message("s", "hello", message_id="m1")
        one.on_agent_message("s", "hi", {"message_id": "m2"})
        one.on_tool_call("s", "t", {}, "r", message_id="m3")
    assert [message["id"] for message in one.export_session("s")["messages"]] == ["m1", "m2", "m3:call", "m3"]
    with pytest.raises(DuplicateMessageError):
        one.on_user_message("s", "other", message_id="m1")


def test_a_message_to_an_unknown_session_creates_it(one):
    one.on_user_message("new", "hello")
    assert turns(one.on_agent_start("A", "new")) == [("user", "hello")]


@pytest.mark.parametrize("wrong", ["", "a\0b", "x" * 256, "\ud800", None, 5])
def test_ids_that_cannot_be(one, wrong):
    calls = [
        functools.partial(one.on_agent_start, "A", wrong),
        functools.partial(one.on_user_message, wrong, "text"),
        functools.partial(one.on_tool_call, wrong, "t", {}, "r"),
        functools.partial(one.on_agent_end, wrong),
        functools.partial(one.on_run_start, wrong, "r"),
        functools.partial(one.on_run_start, "s", wrong),
        functools.partial(one.on_trace_start, wrong),
        functools.partial(one.on_span_start, "span", wrong, "n"),
        functools.partial(one.get_runs, wrong),
        functools.partial(one.export_session, wrong),
        functools.partial(one.import_session, {"session_id": wrong} if wrong is not None else {"session_id": 5}),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError):
            call()
    assert one.get_traces() == []


def test_the_end_of_an_agent(one):
    one.on_agent_start("A", "s", metadata={"kept": True})
    one.on_agent_end("s", {"why": "done"})
    metadata = one.export_session("s")["metadata"]
    assert (metadata["kept"], metadata["why"]) == (True, "done")
    assert metadata["ended_at"] > 1e9
    with pytest.raises(SessionNotFoundError):
        one.on_agent_end("nobody")


def test_what_the_user_said_is_made_up_for_where_an_agent_does_not_store_it(one):
    one.on_agent_start("A", "s")
    one.on_run_start("s", "r1", "question")
    one.on_agent_message("s", "answer")
    one.on_agent_message("s", "more")
    one.on_run_end("s", "r1", "more")
    one.on_agent_message("s", "unasked")
    expected = [("user", "question"), ("assistant", "answer"), ("assistant", "more"), ("assistant", "unasked")]
    assert turns(one.on_agent_start("A", "s")) == expected


def test_what_the_user_said_is_stored_once_where_an_agent_does(one):
    one.on_agent_start("A", "s")
    one.on_run_start("s", "r1", "question")
    one.on_user_message("s", "question")
    one.on_agent_message("s", "answer")
    one.on_run_end("s", "r1", "answer")
    one.on_run_start("s", "r2", "[a picture]")
    one.on_user_message("s", "in other words")
    one.on_agent_message("s", "answer 2")
    one.on_run_end("s", "r2", "answer 2")
    one.on_user_message("s", "killed before the answer")
    one.on_run_start("s", "r3", "killed before the answer")  # and then the agent does not say it again
    one.on_agent_message("s", "answer 3")
    assert turns(one.on_agent_start("A", "s")) == [
        ("user", "question"),
        ("assistant", "answer"),
        ("user", "in other words"),
        ("assistant", "answer 2"),
        ("user", "killed before the answer"),
        ("assistant", "answer 3"),
    ]


def test_two_runs_at_once_store_what_their_users_said_once(one):
    one.on_agent_start("A", "s")
    one.on_run_start("s", "r1", "one")
    one.on_run_start("s", "r2", "two")
    one.on_user_message("s", "one")
    one.on_agent_message("s", "to one")  # here the second has not been stored yet
    one.on_user_message("s", "two")
    one.on_agent_message("s", "to two")
    said = [text for role, text in turns(one.on_agent_start("A", "s")) if role == "user"]
    assert said == ["one", "two"]


def test_many_agents_on_one_session_lose_nothing():
    with db("memory://") as one:
        barrier = threading.Barrier(8)

        def work(number):
            barrier.wait(60)
            one.on_agent_start(f"agent {number}", "s")
            for turn in range(10):
                one.on_user_message("s", f"{number} {turn}")
            one.on_agent_end("s", {f"end {number}": True})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        said = [message.content for message in one.on_agent_start("A", "s")]
        for number in range(8):
            assert [text for text in said if text.startswith(f"{number} ")] == [
                f"{number} {turn}" for turn in range(10)
            ]
        assert sum(name.startswith("end ") for name in one.export_session("s")["metadata"]) == 8


def test_a_limited_history_does_not_begin_with_a_result(make):
    one = make("memory://", history_limit=2)
    one.on_assistant_message("s", None, [{"id": "c1"}])
    one.on_tool_message("s", "result", "c1")
    one.on_agent_message("s", "answer")
    assert turns(one.on_agent_start("A", "s")) == [("assistant", "answer")]
    with pytest.raises(InvalidValueError):
        make("memory://", history_limit=-1)


# ------------------------------------------------------------------------------------ what a model accepts as a history


def history(*messages):
    made = [
        ConversationMessage(
            id=f"m{number}",
            role=role,
            content=content,
            seq=number,
            tool_call_id=answers,
            tool_calls=[{"id": call, "type": "function"} for call in asks] or None,
        )
        for number, (role, content, asks, answers) in enumerate(messages, 1)
    ]
    return [
        (message.role, message.content, [call["id"] for call in message.tool_calls or ()], message.tool_call_id)
        for message in resumable(made)
    ]


def user(text="u"):
    return ("user", text, [], None)


def asks(*ids):
    return ("assistant", None, list(ids), None)


def answers(call, text="r"):
    return ("tool", text, [], call)


def test_a_complete_history_stays_as_it_is():
    whole = [user(), asks("a", "b"), answers("a"), answers("b"), ("assistant", "done", [], None)]
    assert history(*whole) == whole


def test_a_call_that_was_killed_gets_a_result_that_says_so():
    assert history(user(), asks("a", "b"), answers("b"), user("again")) == [
        user(),
        asks("a", "b"),
        answers("a", INTERRUPTED),
        answers("b"),
        user("again"),
    ]


def test_results_move_up_to_their_calls():
    assert history(asks("a"), user("another agent's"), answers("a")) == [
        asks("a"),
        answers("a"),
        user("another agent's"),
    ]


def test_ids_of_calls_that_begin_anew_with_every_turn():
    told = [asks("call_0"), asks("call_0"), answers("call_0", "second")]
    assert history(*told) == [asks("call_0"), answers("call_0", INTERRUPTED), *told[1:]]


def test_a_result_without_a_call_gets_one():
    (_, _, (made,), _), result = history(("tool", "r", [], None))
    assert result == ("tool", "r", [], made)
    assert history(answers("x")) == [asks("x"), answers("x")]
    twice = history(asks("a"), answers("a", "1"), answers("a", "2"))
    assert twice == [asks("a"), answers("a", "1"), asks("a"), answers("a", "2")]


# -------------------------------------------------------------------------------------------------------- runs, traces


def test_runs(one):
    one.on_run_start("s", "r1", "question", {"agent_name": "A"})
    one.on_run_end("s", "r1", "answer", metrics={"tokens": 7}, metadata={"more": 1})
    one.on_run_start("s", "r2", "second")
    one.on_run_end("s", "r3", status="error")  # its start was lost
    one.on_run_start("s:x", "r1")
    third, second, first = one.get_runs("s")
    assert (first.run_id, first.status, first.input_content, first.output_content) == (
        "r1",
        "completed",
        "question",
        "answer",
    )
    assert (first.agent_name, first.metadata, first.metrics) == ("A", {"agent_name": "A", "more": 1}, {"tokens": 7})
    assert first.started_at <= first.ended_at
    assert (second.status, second.ended_at, second["input_content"]) == ("running", None, "second")
    assert (third.run_id, third.status) == ("r3", "error")
    assert [run.run_id for run in one.get_runs("s", limit=1)] == ["r3"]
    assert [run.session_id for run in one.get_runs("s:x")] == ["s:x"]
    assert one.get_runs("s", 0) == one.get_runs("nobody") == []
    with pytest.raises(InvalidValueError):
        one.get_runs("s", -1)


@pytest.mark.parametrize(
    ("session", "run"), [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("ü" * 255, "🎈" * 255), ("*", "[x]")]
)
def test_ids_of_runs_never_meet(one, session, run):
    names = [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("ü" * 255, "🎈" * 255), ("*", "[x]")]
    for number, (session_id, run_id) in enumerate(names):
        one.on_run_start(session_id, run_id, str(number))
    (found,) = one.get_runs(session)
    assert (found.run_id, found.input_content) == (run, str(names.index((session, run))))


def test_traces_and_their_spans(one):
    one.on_trace_start("t1", "s", "r1", "A", "ada", {"a": 1})
    one.on_span_start("p1", "t1", "llm_call", attributes={"model": "m"})
    one.on_span_start("p2", "t1", "tool", parent_span_id="p1")
    one.on_span_end("p1", attributes={"tokens": 2})
    one.on_span_end("p2", status="error")
    one.on_trace_end("t1", metadata={"b": 2})
    one.on_trace_start("t2", user_id="grace")
    (trace,) = one.get_traces(session_id="s")
    assert (trace.trace_id, trace.run_id, trace.agent_name, trace.status) == ("t1", "r1", "A", "ok")
    assert trace.metadata == {"a": 1, "b": 2}
    assert [(span.span_id, span.parent_span_id, span.status) for span in trace.spans] == [
        ("p1", None, "ok"),
        ("p2", "p1", "error"),
    ]
    assert trace.spans[0].attributes == {"model": "m", "tokens": 2}
    assert [found.trace_id for found in one.get_traces()] == ["t2", "t1"]
    assert [found.trace_id for found in one.get_traces(user_id="grace")] == ["t2"]
    assert [found.trace_id for found in one.get_traces(limit=1)] == ["t2"]


def test_what_arrives_in_another_order_is_not_lost(one):
    one.on_span_end("p", attributes={"late": 1})
    one.on_span_start("p", "t", "n", attributes={"early": 1})
    one.on_trace_end("t", "error")
    one.on_trace_start("t", "s", metadata={"x": 1})
    (trace,) = one.get_traces()
    (span,) = trace.spans
    assert span.attributes == {"late": 1, "early": 1}
    assert (span.trace_id, span.name, span.status) == ("t", "n", "ok")
    assert (trace.session_id, trace.status) == ("s", "error")


def test_a_key_that_is_no_record_is_not_overwritten(make):
    state = MemoryStateStore()
    state.set("run:s:r", None)
    one = make(None, conversation_store=MemoryConversationStore(), state_store=state)
    with pytest.raises(WrongTypeError):
        one.on_run_start("s", "r")
    assert state.get("run:s:r", "absent") is None


def test_without_a_state_store(make):
    one = make(None, conversation_store=MemoryConversationStore())
    one.on_run_start("s", "r")
    one.on_run_end("s", "r")
    one.on_trace_start("t")
    one.on_trace_end("t")
    one.on_span_start("p", "t", "n")
    one.on_span_end("p")
    for call in (functools.partial(one.get_runs, "s"), one.get_traces):
        with pytest.raises(UnsupportedOperationError, match="name another as state_url"):
            call()
    one.on_user_message("s", "x")
    assert "runs" not in one.export_session("s")
    assert one.adapter.state is None


# --------------------------------------------------------------------------------------------------- export and import


def told(one):
    one.on_agent_start("A", "s", "ada", {"goal": "x"})
    one.on_user_message("s", "a\0b \ud800 \U0001f388", {"n": 10**30, "f": -0.0})
    one.on_assistant_message("s", None, [{"id": "c"}])
    one.on_tool_message("s", "", "c")
    one.on_run_start("s", "r", "in", {"agent_name": "A"})
    one.on_run_end("s", "r", "out", metrics={"t": 1})
    one.on_trace_start("t", "s", "r")
    one.on_span_start("p", "t", "n", attributes={"a": [1]})
    one.on_span_end("p")
    one.on_trace_end("t")
    return one.export_session("s")


def test_an_export_is_imported_without_loss(make):
    document = json.loads(json.dumps(told(make("memory://"))))
    other = make("memory://")
    assert other.import_session(document) == "s"
    again = other.export_session("s")
    assert again.pop("updated_at") >= document.pop("updated_at")
    assert again == document
    assert other.import_session({**document, "updated_at": 0}) == "s"  # repeated
    assert {**other.export_session("s"), "updated_at": None} == {**document, "updated_at": None}


def test_an_import_that_was_broken_off_is_completed(make):
    document = told(make("memory://"))
    other = make(None, conversation_store=(given := MemoryConversationStore()))
    with given as store:
        first = {**document, "messages": document["messages"][:1]}
        other.import_session(first)
        assert store.count_messages("s") == 1
        other.import_session(document)
        assert [message.id for message in store.get_messages("s")] == [item["id"] for item in document["messages"]]
        with pytest.raises(SessionExistsError):  # there is more than the document holds
            other.import_session(first)
        with pytest.raises(SessionExistsError):
            other.import_session({**document, "name": "another"})
        assert store.get_session("s").name is None


def test_an_export_of_praisonai_is_imported(one):
    document = {
        "session_id": "s",
        "user_id": "default",
        "agent_id": "Assistant",
        "name": "Session s",
        "metadata": {},
        "created_at": 1700000000.5,
        "messages": [
            {"id": "msg-1", "role": "user", "content": "hello", "metadata": {}, "created_at": 1700000001.0},
            {"role": "assistant", "content": "hi", "metadata": None, "created_at": None},
        ],
    }
    assert one.import_session(document) == "s"
    assert turns(one.on_agent_start("A", "s")) == [("user", "hello"), ("assistant", "hi")]
    assert one.import_session({"messages": []}) not in {"", "s"}
    for nothing in ({}, {"other": 1}):
        with pytest.raises(InvalidValueError, match="no exported session"):
            one.import_session(nothing)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (None, InvalidValueError),
        ([], InvalidValueError),
        ({1: 2}, InvalidValueError),
        ({"session_id": ["s"]}, InvalidValueError),
        ({"created_at": "yesterday"}, PersistenceError),
        ({"created_at": float("nan")}, PersistenceError),
        ({"metadata": "x"}, SerializationError),
        ({"state": {"x": float("inf")}}, SerializationError),
        ({"name": 5}, SerializationError),
        ({"messages": "x"}, InvalidValueError),
        ({"messages": ["x"]}, InvalidValueError),
        ({"messages": [{"role": 5}]}, SerializationError),
        ({"messages": [{"role": "user"}, {"content": {"no": "text"}}]}, SerializationError),
        ({"messages": [{"id": "m", "content": "a"}, {"id": "m", "content": "b"}]}, DuplicateMessageError),
        ({"messages": [{"tool_calls": [1]}]}, SerializationError),
        ({"runs": {}}, InvalidValueError),
        ({"runs": [{}]}, InvalidValueError),
        ({"runs": [{"run_id": "r", "started_at": "x"}]}, InvalidValueError),
        ({"runs": [{"run_id": "r", "metrics": {"x": float("nan")}}]}, SerializationError),
        ({"traces": [{"trace_id": ""}]}, InvalidValueError),
        ({"traces": [{"trace_id": "t", "spans": [{"span_id": None}]}]}, InvalidValueError),
    ],
)
def test_a_broken_document_is_refused_before_anything_is_written(make, change, error):
    conversation, state = MemoryConversationStore(), MemoryStateStore()
    one = make(None, conversation_store=conversation, state_store=state)
    document = (
        {"session_id": "s", "messages": [{"role": "user", "content": "x"}], **change}
        if isinstance(change, dict)
        else change
    )
    with pytest.raises(error):
        one.import_session(document)
    assert conversation.list_sessions() == []
    assert state.keys() == []


def test_an_unknown_session_cannot_be_exported(one):
    with pytest.raises(SessionNotFoundError, match="no session 'nobody'"):
        one.export_session("nobody")


# --------------------------------------------------------------------------------------------------------------- schema


class WithSchema(MemoryConversationStore):
    """Tells of tables, as stores over SQL do."""

    capabilities = MemoryConversationStore.capabilities | {"schema"}
    version, latest = 1, 3

    def schema_status(self):
        return SchemaStatus("conversation", self.version, self.latest)

    def migrate_schema(self, target=None, *, dry_run=False):
        before, self.version = self.version, self.latest if target is None else target
        return SchemaChange("conversation", before, self.version, ("ALTER",))


def test_stores_without_a_schema(one):
    assert one.get_schema_version() is None
    assert one.check_schema_compatibility() == (True, "up to date")
    assert one.migrate_schema("1.0", "1.1") is True


def test_a_schema_is_told_and_changed(make):
    store = WithSchema()
    one = make(None, conversation_store=store)
    assert one.get_schema_version() == "1"
    compatible, said = one.check_schema_compatibility()
    assert compatible
    assert "have version 1 of 3" in said
    with pytest.raises(SchemaError, match="have version 1, not 2"):
        one.migrate_schema("2", "3")
    assert one.migrate_schema("1", "2") is True
    assert one.get_schema_version() == "2"
    assert one.migrate_schema() is True
    assert store.version == 3
    store.latest = 2
    compatible, said = one.check_schema_compatibility()
    assert not compatible
    assert "install a later one" in said
    with pytest.raises(InvalidValueError):
        one.migrate_schema(to_version="new")


# ------------------------------------------------------------------------------------------- where the stores come from


def test_no_write_is_ever_pending(make):
    one = make("memory://")
    one.on_user_message("s", "x")
    assert db.aio("memory://").flush_pending_writes() is db().flush_pending_writes(timeout=0.1) is None


def test_what_is_given_and_named():
    with pytest.raises(ConfigurationError, match="was given, and a URL"):
        db("memory://", conversation_store=MemoryConversationStore())
    with pytest.raises(ConfigurationError, match="MemoryStateStore is no conversation store"):
        db(conversation_store=MemoryStateStore())
    with pytest.raises(ConfigurationError, match="str is no state store"):
        db(state_store="memory://")
    with db("nosuch://x") as one, pytest.raises(UnknownBackendError):
        one.on_user_message("s", "x")


@pytest.mark.parametrize("make", [db, db.aio])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"databse_url": "memory://"}, "'databse_url'.*did you mean 'database_url'"),
        ({"database_url": "memory://", "nonsense": 1}, "nonsense"),
        ({"database_url": "memory://", "table_prefx": "a_"}, "did you mean 'table_prefix'"),
        ({"database_url": "memory://", "conversation_options": {"table_prefx": "a_"}}, "did you mean 'table_prefix'"),
        ({"state_url": "memory://", "state_options": {"table_prefx": "a_"}}, "the state .*did you mean 'table_prefix'"),
        ({"knowledge_url": "memory://", "knowledge_options": {"nam": "a"}}, "the knowledge .*did you mean 'name'"),
        ({"knowledge_backend": "memory", "knowledge_options": {"nam": "a"}}, "did you mean 'name'"),
    ],
)
@pytest.mark.needs_packages("sqlite")
def test_a_misspelt_option_is_found_at_once(make, arguments, words):
    with pytest.raises(UnknownOptionError, match=words) as caught:
        make(**arguments)
    assert isinstance(caught.value, (ConfigurationError, TypeError))


@pytest.mark.needs_packages("sqlite")
def test_a_backend_and_the_url_of_another_one_are_found_at_once():
    with pytest.raises(ConfigurationError, match=r"'sqlite'.*'memory://u:\*\*\*@h' contradict") as caught:
        db("memory://u:secret@h", database_backend="sqlite")
    assert "secret" not in str(caught.value)
    db("sqlite:///a.db", database_backend="sqlite")
    db("sqlite:///a.db", database_backend="aiosqlite")
    db("nosuch://x", database_backend="sqlite")  # what that is, the backend knows


def test_stores_of_the_other_mode_and_of_all_kinds():
    conversation, state = AsyncMemoryConversationStore(), AsyncMemoryStateStore()
    with db(conversation_store=conversation, state_store=state, knowledge_store=MemoryKnowledgeStore()) as one:
        one.on_user_message("s", "x")
        one.on_run_start("s", "r")
        assert [run.run_id for run in one.get_runs("s")] == ["r"]
        assert one.conversation.count_messages("s") == 1
        assert one.knowledge.list_collections() == []
    assert asyncio.run(conversation.count_messages("s")) == 1  # what was given is not closed

    async def main():
        store = MemoryConversationStore()
        async with db.aio(conversation_store=store) as one:
            await one.on_user_message("s", "x")
            assert await one.conversation.count_messages("s") == 1
            assert one.knowledge is one.state is None
        assert store.count_messages("s") == 1

    asyncio.run(main())


def test_backends_by_name_and_options_of_one_kind():
    with db(database_backend="memory", state_backend="memory", conversation_options={"name": "adapter-test-1"}) as one:
        one.on_user_message("s", "x")
        one.on_run_start("s", "r")
        with db(database_backend="memory", conversation_options={"name": "adapter-test-1"}) as other:
            assert len(other.on_agent_start("A", "s")) == 1
            assert other.get_runs("s") == []
    with db("memory://", knowledge_url="memory://k") as one:
        assert one.knowledge.list_collections() == []


def test_no_secret_is_shown():
    one = db("postgresql://me:geheim@h/d", state_url="redis://:geheim@h", knowledge_url=None)
    assert repr(one) == "Db(database_url='postgresql://me:***@h/d', state_url='redis://:***@h')"
    assert one.database_url == "postgresql://me:geheim@h/d"
    one.close()
    assert "aio" in repr(db)


def test_constructed_once_by_the_first_of_many_threads(monkeypatch):
    made = []

    def make(url, mode, **options):
        made.append(url)
        return MemoryConversationStore()

    monkeypatch.setitem(_sources._OPEN, "conversation", make)
    one = db("memory://x")
    assert made == []
    barrier = threading.Barrier(16)

    def work(number):
        barrier.wait(60)
        one.on_user_message("s", str(number))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert made == ["memory://x"]
    assert one.conversation.count_messages("s") == 16
    one.close()


def test_after_close(one):
    one.on_user_message("s", "x")
    one.close()
    one.close()
    with pytest.raises(StoreClosedError):
        one.on_user_message("s", "x")
    with pytest.raises(StoreClosedError):
        one.adapter.conversation  # noqa: B018
    gc.collect()


def test_all_stores_are_closed_also_when_one_cannot_be(monkeypatch):
    closed = []

    class Stuck(MemoryConversationStore):
        def close(self):
            raise ConnectionFailedError("gone")

    class Fine(MemoryStateStore):
        def close(self):
            closed.append(True)

    monkeypatch.setitem(_sources._OPEN, "conversation", lambda url, mode, **options: Stuck())
    monkeypatch.setitem(_sources._OPEN, "state", lambda url, mode, **options: Fine())
    one = db("memory://x")
    assert one.conversation
    assert one.state
    with pytest.raises(ConnectionFailedError):
        one.close()
    assert closed == [True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on():
    with db("memory://") as one:
        one.on_user_message("s", "x")
        lock = one._stores._lock
        with lock:  # as if another thread held it at this moment
            child = os.fork()
        if child == 0:
            signal.alarm(60)
            status = 1
            try:
                one.on_run_start("s", "r")
                status = 0 if len(one.on_agent_start("A", "s")) == 1 else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ----------------------------------------------------------------------------------------------------- the default path


def test_the_default_path(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for variable in ("PRAISONAI_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    system = SimpleNamespace(platform="linux")
    monkeypatch.setattr(_sources, "sys", system)
    end = Path("praisonai/persistence.db")
    assert adapter.default_path() == tmp_path / ".local/share" / end
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert adapter.default_path() == tmp_path / ".local/share" / end
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    assert adapter.default_path() == tmp_path / "xdg" / end
    system.platform = "darwin"
    assert adapter.default_path() == tmp_path / "Library/Application Support" / end
    system.platform = "win32"
    assert adapter.default_path() == tmp_path / "AppData/Local" / end
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert adapter.default_path() == tmp_path / "local" / end
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "own"))
    assert adapter.default_path() == tmp_path / "own/persistence.db"


def test_without_a_url_and_without_sqlite(bare_site, monkeypatch, tmp_path):
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "home"))
    with db() as one, pytest.raises(BackendNotInstalledError, match="pip install praisonai-persistence-sqlite"):
        one.on_user_message("s", "x")


# ---------------------------------------------------------------------------------------------- a database that is away


class Away(MemoryConversationStore):
    """A store whose server is away as often as ``away`` says."""

    away = 0
    calls = 0

    def add_messages(self, session_id, messages):
        self.calls += 1
        if self.away:
            self.away -= 1
            raise ConnectionFailedError("cannot reach db://***@h")
        return super().add_messages(session_id, messages)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_server_that_is_back_at_once_is_not_noticed(make):
    store = Away()
    one = make(None, conversation_store=store)
    one.on_user_message("s", "first")
    store.away = 2
    one.on_user_message("s", "second")
    assert store.calls == 5  # the first: an unknown session, and again; the second: three tries
    assert [message.content for message in store.get_messages("s")] == ["first", "second"]


def test_an_acknowledgement_that_was_lost_does_not_store_twice(make):
    class Lossy(MemoryConversationStore):
        lost = False

        def add_messages(self, session_id, messages):
            stored = super().add_messages(session_id, messages)
            if self.lost:
                self.lost = False
                raise ConnectionFailedError("gone behind the commit")
            return stored

    store = Lossy()
    one = make(None, conversation_store=store)
    one.on_user_message("s", "first")
    store.lost = True
    one.on_user_message("s", "second")
    assert store.count_messages("s") == 2


def test_a_server_that_is_down_at_the_start_is_tried_again_later(make, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_sources, "Reach", functools.partial(Reach, clock=clock, spread=lambda low, high: high))
    store = Away()
    store.create_session(ConversationSession("s"))
    store.away = 4
    one = make(None, conversation_store=store, init_retry_cooldown=1.5)
    waits = []
    for _ in range(4):
        with pytest.raises(ConnectionFailedError, match="cannot reach"):
            one.on_user_message("s", "x")
        tried = store.calls
        with pytest.raises(
            ConnectionFailedError, match=r"is tried again in \d\.\d seconds: cannot reach db://\*\*\*@h"
        ):
            one.on_user_message("s", "x")
        assert store.calls == tried  # refused without a try
        start = clock.now
        while store.calls == tried:
            clock.now += 0.25
            if clock.now - start < 5 and one.adapter._stores._reach["conversation"]._until <= clock.now:
                break
        waits.append(clock.now - start)
    assert waits == [0.5, 1.0, 1.5, 1.5]
    one.on_user_message("s", "x")
    one.on_user_message("s", "y")
    assert store.count_messages("s") == 2


def test_a_start_that_could_not_be_stored_is_made_up_for(make, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_sources, "Reach", functools.partial(Reach, clock=clock))

    class Down(MemoryConversationStore):
        down = True

        def get_session(self, session_id):
            if self.down:
                raise ConnectionFailedError("down")
            return super().get_session(session_id)

    store = Down()
    one = make(None, conversation_store=store)
    with pytest.raises(ConnectionFailedError):
        one.on_agent_start("Assistant", "s", "ada", {"goal": "x"})
    store.down = False
    clock.now += 1
    one.on_user_message("s", "x")
    session = store.get_session("s")
    assert (session.user_id, session.agent_id, session.metadata) == ("ada", "Assistant", {"goal": "x"})


def test_one_outage_counts_once_for_all_callers():
    clock = Clock()
    reach = Reach("it", clock=clock, spread=lambda low, high: high, first=1, most=100)
    error = ConnectionFailedError("x")
    numbers = [reach.begin() for _ in range(8)]
    assert [reach.failed(number, 0, error) for number in numbers] == [None] * 8
    clock.now += 1.0
    probe = reach.begin()
    with pytest.raises(ConnectionFailedError):  # another caller, while the first one tries
        reach.begin()
    assert reach.failed(probe, 0, error) is None
    clock.now += 1.9
    with pytest.raises(ConnectionFailedError):
        reach.begin()
    clock.now += 0.1
    reach.begin()
    reach.succeeded()
    assert reach.begin() == 0
    assert reach.failed(0, 0, error) is not None  # it was there before: at once again


def test_nobody_waits_for_three_deadlines():
    error = ConnectionFailedError("x")

    def repeats(*ends):
        reach = Reach("it")
        reach.succeeded()
        return [
            reach.failed(reach.begin(), attempt, error, seconds) is not None for attempt, seconds in enumerate(ends)
        ]

    assert repeats(0.0, 0.1, 0.3) == [True, True, False]
    assert repeats(30.0, 60.0) == [True, False]
    assert repeats(0.1, 10.0) == [True, False]


@pytest.mark.parametrize("make", [db, db.aio])
@pytest.mark.parametrize("url", [5, ["a"], b"agent.db"])
@pytest.mark.parametrize("name", ["database_url", "state_url", "knowledge_url"])
def test_what_is_no_url_is_refused(make, url, name):
    with pytest.raises(ConfigurationError, match="a URL must be text"):
        make(**{name: url})
