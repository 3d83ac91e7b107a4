"""Messages of every type come back as they were, and read as ordinary messages elsewhere."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core import messages as known
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.conversation import MemoryConversationStore, SQLiteConversationStore
from praisonai_persistence.errors import InvalidValueError, SerializationError
from praisonai_persistence_langchain import PersistentChatMessageHistory

PICTURE = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}, "and?"]
CALL = {"name": "weather", "args": {"city": "Lisbon", "days": [1, 2.0]}, "id": "call-1", "type": "tool_call"}
BAD = {"name": "weather", "args": "{city", "id": "call-2", "error": "no JSON", "type": "invalid_tool_call"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "input_token_details": {"cache_read": 1}}
MESSAGES = [
    HumanMessage("hello"),
    HumanMessage("with all", id="h-1", name="ada", additional_kwargs={"a": [None, {"b": 1.5}]}, example=True),
    HumanMessage(PICTURE),
    HumanMessage(""),
    SystemMessage("Be brief.", response_metadata={"x": 1}),
    AIMessage("", tool_calls=[CALL], invalid_tool_calls=[BAD], usage_metadata=USAGE, id="run-1"),
    AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "yes"}]),
    AIMessage("old way", additional_kwargs={"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}),
    AIMessageChunk(
        content="par",
        tool_call_chunks=[{"name": "f", "args": '{"a"', "id": "c", "index": 0, "type": "tool_call_chunk"}],
    ),
    ToolMessage("17 degrees", tool_call_id="call-1", name="weather", status="error", artifact={"raw": [1, 2]}),
    ToolMessage(PICTURE, tool_call_id=""),
    FunctionMessage("42", name="answer"),
    ChatMessage("aside", role="critic"),
    RemoveMessage("h-1"),
    HumanMessage("NUL \x00, half \ud83d, \x1a, \U0001f600"),
    HumanMessage("an extra field", colour="red"),
]


class ThinkingMessage(BaseMessage):
    """A type that this package does not know."""

    type: Literal["thinking"] = "thinking"
    effort: int = 1


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = SQLiteConversationStore(path=tmp_path / "c.db") if request.param == "sqlite" else MemoryConversationStore()
    with made:
        yield made


def test_every_message_comes_back_as_it_was(store):
    history = PersistentChatMessageHistory(store, "s")
    history.add_messages(MESSAGES)
    found = history.messages
    assert found == MESSAGES
    assert [type(message) for message in found] == [type(message) for message in MESSAGES]
    assert [message.model_dump() for message in found] == [message.model_dump() for message in MESSAGES]


def test_the_list_above_has_every_class_of_the_framework():
    classes = {cls for cls in vars(known).values() if isinstance(cls, type) and issubclass(cls, BaseMessage)}
    chunks = {cls for cls in classes if cls.__name__.endswith("Chunk")} - {AIMessageChunk}
    assert classes - chunks - {BaseMessage} == {type(message) for message in MESSAGES}


def test_a_message_of_a_class_of_the_callers_own(store):
    history = PersistentChatMessageHistory(store, "s")
    mine = ThinkingMessage(content=PICTURE, effort=3, id="t")
    history.add_message(mine)
    assert history.messages == [mine]
    assert type(history.messages[0]) is ThinkingMessage
    assert store.get_messages("s")[0].role == "thinking"


def test_a_class_that_is_not_there_any_more_keeps_all_its_fields(store):
    def write(history):
        class Newer(BaseMessage):
            type: Literal["newer"] = "newer"
            effort: int = 1

        history.add_message(Newer(content="hm", effort=9, id="n", additional_kwargs={"a": 1}))

    write(PersistentChatMessageHistory(store, "s"))
    record = store.get_messages("s")[0]
    record.metadata["langchain"]["class"] = "some.package.Newer"  # as another process would find it
    store.add_message("s", ConversationMessage(role=record.role, content=record.content, metadata=record.metadata))
    found = PersistentChatMessageHistory(store, "s", limit=1).messages[0]
    assert (type(found), found.role, found.content, found.id) == (ChatMessage, "newer", "hm", "n")
    assert (found.effort, found.additional_kwargs) == (9, {"a": 1})


@pytest.mark.parametrize("name", ["os.path", "merge_content", "HumanMessage", "", None, 7])
def test_a_name_in_a_database_imports_nothing(store, name):
    kept = {"class": name, "data": {"effort": 3}}
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage(role="odd", content="hm", metadata={"langchain": kept}))
    (found,) = PersistentChatMessageHistory(store, "s").messages
    assert type(found) is (HumanMessage if name == "HumanMessage" else ChatMessage)
    assert (found.content, found.effort) == ("hm", 3)


def test_what_another_release_of_a_class_wrote_is_kept(store):
    kept = {"class": "ToolMessage", "data": {"name": "f"}}  # without the id that this one asks for
    store.create_session(ConversationSession("s"))
    store.add_message("s", ConversationMessage(role="tool", content="hm", metadata={"langchain": kept}))
    (found,) = PersistentChatMessageHistory(store, "s").messages
    assert (type(found), found.role, found.content, found.name) == (ChatMessage, "tool", "hm", "f")


def test_what_others_read(store):
    PersistentChatMessageHistory(store, "s").add_messages(MESSAGES)
    found = store.get_messages("s")
    assert [message.role for message in found] == [
        *["user"] * 4,
        "system",
        *["assistant"] * 4,
        *["tool"] * 2,
        "function",
        "critic",
        "remove",
        *["user"] * 2,
    ]
    assert [message.content for message in found] == [message.content for message in MESSAGES]
    calling, result = found[5], found[9]
    assert calling.tool_calls == [
        {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": CALL_TEXT}},
        {"id": "call-2", "type": "function", "function": {"name": "weather", "arguments": "{city"}},
    ]
    assert (result.tool_call_id, result.metadata["tool_name"], found[0].tool_calls) == ("call-1", "weather", None)


CALL_TEXT = '{"city": "Lisbon", "days": [1, 2.0]}'


def test_what_others_wrote(store):
    function = {"name": "weather", "arguments": CALL_TEXT}
    calls: list[dict[str, Any]] = [
        {"id": "call-1", "type": "function", "function": function},
        {"id": "call-2", "name": "plain", "arguments": {"a": 1}},
        {"id": "call-3", "type": "function", "function": {"name": "bad", "arguments": "{"}},
        {"id": "call-4", "name": "list", "args": [1]},
        {"unknown": 1},
    ]
    store.create_session(ConversationSession("s"))
    store.add_messages(
        "s",
        [
            ConversationMessage("1", role="system", content="Be brief."),
            ConversationMessage("2", role="user", content=PICTURE),
            ConversationMessage("3", role="assistant", content=None, tool_calls=calls),
            ConversationMessage(
                "4", role="tool", content="17", tool_call_id="call-1", metadata={"tool_name": "weather"}
            ),
            ConversationMessage("5", role="critic", content="hm"),
            ConversationMessage("6", role="tool", content=None),
        ],
    )
    system, user, assistant, tool, critic, lone = PersistentChatMessageHistory(store, "s").messages
    assert system == SystemMessage("Be brief.", id="1")
    assert user == HumanMessage(PICTURE, id="2")
    assert (assistant.content, assistant.id) == ("", "3")
    assert assistant.tool_calls == [
        CALL,
        {"name": "plain", "args": {"a": 1}, "id": "call-2", "type": "tool_call"},
    ]
    assert [(call["name"], call["args"], call["id"]) for call in assistant.invalid_tool_calls] == [
        ("bad", "{", "call-3"),
        ("list", "[1]", "call-4"),
        (None, "{}", None),
    ]
    assert tool == ToolMessage("17", tool_call_id="call-1", name="weather", id="4")
    assert critic == ChatMessage("hm", role="critic", id="5")
    assert (lone.content, lone.tool_call_id) == ("", "6")


def test_what_is_not_json_is_refused_and_nothing_is_written(store):
    history = PersistentChatMessageHistory(store, "s")
    for refused in (
        HumanMessage("x", additional_kwargs={"a": object()}),
        ToolMessage("x", tool_call_id="c", artifact={1, 2}),
        AIMessage("x", response_metadata={"score": float("nan")}),
    ):
        with pytest.raises(SerializationError):
            history.add_messages([HumanMessage("before"), refused])
    with pytest.raises(InvalidValueError, match="langchain_core message, not dict"):
        history.add_messages([HumanMessage("before"), {"role": "user"}])
    assert history.messages == []
