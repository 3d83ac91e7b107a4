"""Chat messages of LlamaIndex as records of ours, and back.

What both can express is in the record's own fields. What a message has beyond that is in the metadata under
``llamaindex``, where a block that the record's fields hold already is its number.
"""

from __future__ import annotations

import re
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import PrivateAttr

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.frameworks import function_call, has, read_call
from praisonai_persistence.records import ConversationMessage
from praisonai_persistence_llamaindex._nodes import dumped

__all__ = ["from_record", "to_record"]

_KEY = "llamaindex"
_ROLES = {"chatbot": "assistant", "model": "assistant", "function": "tool"}
_SIMPLE = {"user", "assistant", "system"}
_KNOWN = {role.value for role in MessageRole}
_DATA = re.compile(r"data:([^;,]+);base64,", re.ASCII)


class KeptMessage(ChatMessage):
    """Stands for a message that this release of LlamaIndex does not know in full, and is stored as what it was."""

    _kept: dict[str, Any] = PrivateAttr(default_factory=dict)


def to_record(message: ChatMessage) -> ConversationMessage:
    """Return the record of a message.

    Raises:
        InvalidValueError: it is no message of LlamaIndex.
        SerializationError: it holds what is not JSON.
    """
    if not isinstance(message, ChatMessage):
        raise InvalidValueError(f"a message must be a ChatMessage of llama_index, not {type(message).__name__}")
    # As LlamaIndex writes them, but what is not JSON stays as it is, and the store refuses it.
    whole = dumped(message, {"additional_kwargs"}) | message.model_dump(include={"additional_kwargs"})
    extra = whole["additional_kwargs"]
    record = ConversationMessage(role=_ROLES.get(whole["role"], whole["role"]), content=_content(message), metadata={})
    calls = [
        function_call(block.tool_call_id, block.tool_name, block.tool_kwargs)
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    if not calls and isinstance(extra.get("tool_calls"), list):  # as messages had them before there were blocks
        calls = [function_call(*read_call(call)) for call in extra["tool_calls"] if isinstance(call, dict)]
    record.tool_calls = calls or None
    if record.role == "tool":
        record.tool_call_id = _text(extra.get("tool_call_id"))
        if _text(extra.get("name")):
            record.metadata = {"tool_name": extra["name"]}
    plain = dumped(_plain(record))
    kept = {name: value for name, value in whole.items() if name not in plain or plain[name] != value}
    if "blocks" in kept:
        blocks = plain["blocks"]
        kept["blocks"] = [blocks.index(block) if block in blocks else block for block in kept["blocks"]]
    if isinstance(message, KeptMessage):
        kept |= message._kept
    record.metadata = {**(record.metadata or {}), **({_KEY: kept} if kept else {})} or None
    return record


def from_record(record: ConversationMessage) -> ChatMessage:
    """Return the message of a record, whoever wrote it."""
    simple = record.metadata is None and record.tool_calls is None and record.role in _SIMPLE
    if simple and type(record.content) is str:
        role: Any = record.role  # most messages: the short way
        return ChatMessage(role=role, blocks=[{"block_type": "text", "text": record.content}])
    message = _plain(record)
    kept = (record.metadata or {}).get(_KEY)
    if not isinstance(kept, dict):
        return message
    plain = dumped(message)
    try:
        fields = dict(kept)
        if "blocks" in fields:
            fields["blocks"] = [plain["blocks"][block] if type(block) is int else block for block in fields["blocks"]]
        made = ChatMessage.model_validate({**plain, **fields})
        if has(dumped(made), fields):
            return made
    except (AttributeError, LookupError, TypeError, ValueError):  # another release wrote it
        pass
    whole = KeptMessage(**dict(message))
    whole._kept = kept
    return whole


def _content(message: ChatMessage) -> str | list[Any] | None:
    parts: list[Any] = []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            parts.append({"type": "text", "text": block.text})
        elif isinstance(block, ImageBlock) and (isinstance(block.image, bytes) or block.url):
            image = block.image
            url = f"data:{block.image_mimetype};base64,{image.decode()}" if isinstance(image, bytes) else str(block.url)
            parts.append({"type": "image_url", "image_url": {"url": url}})
            if block.detail:
                parts[-1]["image_url"]["detail"] = block.detail
    if len(parts) == 1 and "text" in parts[0]:
        return str(parts[0]["text"])
    return parts or None


def _plain(record: ConversationMessage) -> ChatMessage:
    """Return the message that a record's own fields are."""
    content = [record.content] if isinstance(record.content, str) else record.content or []
    blocks: list[Any] = [block for part in content if (block := _block(part)) is not None]
    for call in record.tool_calls or ():
        id_, name, arguments = read_call(call)
        blocks.append(ToolCallBlock(tool_call_id=id_, tool_name=name or "", tool_kwargs=arguments))
    extra: dict[str, Any] = {}
    if record.role == "tool":
        name = _text((record.metadata or {}).get("tool_name"))
        extra = {"tool_call_id": record.tool_call_id} if record.tool_call_id is not None else {}
        extra |= {"name": name} if name else {}
    role: Any = record.role if record.role in _KNOWN else "assistant"
    return ChatMessage(role=role, blocks=blocks, additional_kwargs=extra)


def _block(part: Any) -> Any:
    """Return the block of a part of a content; None of what LlamaIndex has none for."""
    if isinstance(part, str):
        return {"block_type": "text", "text": part}  # faster than to make it here
    image = part.get("image_url")
    url, detail = (image.get("url"), _text(image.get("detail"))) if isinstance(image, dict) else (image, None)
    if isinstance(url, str):
        found = _DATA.match(url)
        try:
            if found:
                return ImageBlock(image=url[found.end() :].encode(), image_mimetype=found[1], detail=detail)
            return ImageBlock(url=url, detail=detail)
        except ValueError:  # no URL
            return None
    return TextBlock(text=part["text"]) if isinstance(part.get("text"), str) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
