"""Messages of every kind come back as they were, and read as ordinary messages elsewhere."""

from __future__ import annotations

from typing import Literal

import pytest
from llama_index.core.base.llms import types as known
from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence.conversation import MemoryConversationStore, SQLiteConversationStore
from praisonai_persistence.errors import InvalidValueError, SerializationError
from praisonai_persistence_llamaindex import PersistentChatStore

PNG = b"\x89PNG\r\n\x1a\n0000"
CALL = ToolCallBlock(tool_call_id="call-1", tool_name="weather", tool_kwargs={"city": "Lisbon", "days": [1, 2.0]})
OLD_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES = [
    ChatMessage("hello"),
    ChatMessage(""),
    ChatMessage(),
    *[ChatMessage(f"as {role.value}", role=role) for role in MessageRole],
    ChatMessage("with all", additional_kwargs={"a": [None, {"b": 1.5}], "name": "ada"}),
    ChatMessage([TextBlock(text="What is this?"), ImageBlock(image=PNG), TextBlock(text="and?")]),
    ChatMessage([ImageBlock(url="https://example.com/a.png", detail="high")]),
    ChatMessage([ImageBlock(url="data:image/png;base64,AAAA")]),
    ChatMessage([CALL, ToolCallBlock(tool_name="g", tool_kwargs="{city")], role="assistant"),
    ChatMessage([TextBlock(text="let me see"), CALL], role="assistant", additional_kwargs={"finish": "tool"}),
    ChatMessage([CALL, TextBlock(text="calls first")], role="assistant"),
    ChatMessage("old way", role="assistant", additional_kwargs={"tool_calls": [OLD_CALL]}),
    ChatMessage("17 degrees", role="tool", additional_kwargs={"tool_call_id": "call-1", "name": "weather", "x": 1}),
    ChatMessage("no id", role="tool"),
    ChatMessage([ThinkingBlock(content="hm", num_tokens=3), TextBlock(text="yes")], role="assistant"),
    ChatMessage([AudioBlock(audio=b"RIFF0000WAVE", format="wav"), VideoBlock(url="https://example.com/v.mp4")]),
    ChatMessage([DocumentBlock(data=b"%PDF-1.4", title="paper"), CachePoint(cache_control={"type": "ephemeral"})]),
    ChatMessage([CitableBlock(title="t", source="s", content="c")]),
    ChatMessage([CitationBlock(cited_content="c", source="s", title="t", additional_location_info={"page": 3})]),
    ChatMessage("NUL \x00, half \ud83d, \x1a, \U0001f600"),
]


@pytest.fixture(params=["memory", "sqlite"])
def store(request, tmp_path):
    made = SQLiteConversationStore(path=tmp_path / "c.db") if request.param == "sqlite" else MemoryConversationStore()
    with made:
        yield made


@pytest.fixture
def chat(store):
    return PersistentChatStore(store)


def test_every_message_comes_back_as_it_was(chat):
    chat.set_messages("s", MESSAGES)
    assert chat.get_messages("s") == MESSAGES
    assert {type(message) for message in chat.get_messages("s")} == {ChatMessage}


def test_the_list_above_has_every_block_of_the_framework():
    classes = {cls for cls in vars(known).values() if isinstance(cls, type) and issubclass(cls, BaseContentBlock)}
    used = {type(block) for message in MESSAGES for block in message.blocks}
    assert {cls for cls in classes if "block_type" in cls.model_fields} == used


def test_what_both_can_express_is_in_the_records_own_fields(chat, store):
    for message in MESSAGES:
        chat.add_message(message.additional_kwargs.get("name", "s"), message)
    question, *_ = store.get_messages("s")
    assert (question.role, question.content, question.metadata) == ("user", "hello", None)
    found = {message.content: message for message in store.get_messages("s") if isinstance(message.content, str)}
    assert [found[f"as {role}"].role for role in ("system", "model", "chatbot", "function", "developer")] == [
        "system",
        "assistant",
        "assistant",
        "tool",
        "developer",
    ]
    assert found["let me see"].tool_calls == [
        {
            "id": "call-1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Lisbon", "days": [1, 2.0]}'},
        }
    ]
    assert found["old way"].tool_calls == [OLD_CALL]
    assert found["yes"].metadata == {"llamaindex": {"blocks": [found["yes"].metadata["llamaindex"]["blocks"][0], 0]}}
    (result,) = store.get_messages("weather")
    assert (result.role, result.tool_call_id, result.metadata["tool_name"]) == ("tool", "call-1", "weather")
    picture = next(message for message in store.get_messages("s") if isinstance(message.content, list))
    assert picture.content == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgowMDAw"}},
        {"type": "text", "text": "and?"},
    ]
    assert picture.metadata is None


def test_what_others_wrote(chat, store):
    store.create_session(ConversationSession("s"))
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": 1}'}}
    store.add_messages(
        "s",
        [
            ConversationMessage(content="hi"),
            ConversationMessage(role="assistant", content=None, tool_calls=[call, {"name": "g", "args": "{"}]),
            ConversationMessage(role="tool", content="42", tool_call_id="c", metadata={"tool_name": "f"}),
            ConversationMessage(role="critic", content="so-so"),
            ConversationMessage(
                content=["text", {"type": "text", "text": "more"}, {"type": "input_audio", "data": "x"}]
            ),
            ConversationMessage(content=[{"type": "image_url", "image_url": {"url": "no URL"}}, {"image_url": 3}]),
            ConversationMessage(content=[{"type": "image_url", "image_url": "https://example.com/"}]),
            ConversationMessage(content="odd", metadata={"llamaindex": {"blocks": 3}}),
            ConversationMessage(content="odd", metadata={"llamaindex": "text"}),
        ],
    )
    found = chat.get_messages("s")
    assert found[:4] == [
        ChatMessage("hi"),
        ChatMessage(
            [
                ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"a": 1}),
                ToolCallBlock(tool_name="g", tool_kwargs="{"),
            ],
            role="assistant",
        ),
        ChatMessage("42", role="tool", additional_kwargs={"tool_call_id": "c", "name": "f"}),
        ChatMessage("so-so", role="assistant"),
    ]
    assert [message.content for message in found[4:]] == ["text\nmore", None, None, "odd", "odd"]
    assert found[6].blocks == [ImageBlock(url="https://example.com/")]
    before = store.get_messages("s")
    chat.set_messages("s", [*found, ChatMessage("new")])
    assert store.get_messages("s")[:-1] == before


class NewerBlock(BaseContentBlock):
    """A kind of block that this release does not know."""

    block_type: Literal["hologram"] = "hologram"
    rays: tuple[int, ...] = (1, 2)


def newer():
    """Return a message as a newer release would make it."""
    message = ChatMessage([TextBlock(text="look"), CALL], role="assistant", additional_kwargs={"a": 1})
    message.blocks.append(NewerBlock(rays=(3,)))
    return message


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # of the block that is not one of the union
def test_a_newer_kind_of_block_is_kept_whole(chat, store):
    chat.add_message("s", newer())
    (stored,) = store.get_messages("s")
    (found,) = chat.get_messages("s")
    assert (found.role, found.content) == (MessageRole.ASSISTANT, "look")
    assert isinstance(found, ChatMessage)
    chat.set_messages("s", [found, ChatMessage("thanks")])  # as a memory does
    assert store.get_messages("s")[0] == stored
    chat.add_message("copied", found)
    (copied,) = store.get_messages("copied")
    assert (copied.content, copied.tool_calls, copied.metadata) == (stored.content, stored.tool_calls, stored.metadata)
    assert copied.metadata["llamaindex"]["blocks"][2] == {"block_type": "hologram", "rays": [3]}


def test_newer_fields_are_kept(chat, store):
    store.create_session(ConversationSession("s"))
    extra = {"blocks": [0, {"block_type": "thinking", "content": "hm", "signature": "x"}], "priority": 3}
    store.add_message("s", ConversationMessage(content="hi", metadata={"llamaindex": extra}))
    (found,) = chat.get_messages("s")
    assert found.content == "hi"
    chat.add_message("copied", found)
    assert store.get_messages("copied")[0].metadata == {"llamaindex": extra}


def test_bad_input(chat, store):
    for wrong in ("hi", None, {"role": "user"}, ConversationMessage()):
        with pytest.raises(InvalidValueError, match="ChatMessage"):
            chat.add_message("s", wrong)
    for value in (object(), float("nan"), {1, 2}):
        with pytest.raises(SerializationError):
            chat.set_messages("s", [ChatMessage("good"), ChatMessage("bad", additional_kwargs={"x": value})])
    assert chat.get_messages("s") == []
    assert store.list_sessions() == []
