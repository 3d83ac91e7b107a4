"""Messages of LangChain as records of ours, and back.

What both can express is in the record's own fields: role, content, tool calls. The whole message, without its content,
is in the metadata under ``langchain``, so that it comes back as it was.
"""

from __future__ import annotations

import json
from typing import Any

from langchain_core import messages as known
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.frameworks import class_named, function_call, read_call
from praisonai_persistence.records import ConversationMessage

__all__ = ["from_record", "to_record"]

_KEY = "langchain"
_NO_CALL = "not a call with a JSON object as its arguments"
_ROLES: tuple[tuple[type[BaseMessage], str], ...] = (
    (HumanMessage, "user"),
    (AIMessage, "assistant"),
    (SystemMessage, "system"),
    (ToolMessage, "tool"),
)


def to_record(message: BaseMessage) -> ConversationMessage:
    """Return the record of a message.

    Raises:
        InvalidValueError: it is no message of LangChain.
    """
    if not isinstance(message, BaseMessage):
        raise InvalidValueError(f"a message must be a langchain_core message, not {type(message).__name__}")
    data = message.model_dump(exclude_defaults=True)
    content = data.pop("content")
    metadata: dict[str, Any] = {_KEY: {"class": _name(type(message)), "data": data}}
    record = ConversationMessage(role=_role(message), content=content, metadata=metadata)
    if isinstance(message, AIMessage):
        calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
        made = [function_call(call.get("id"), call.get("name"), call.get("args")) for call in calls]
        record.tool_calls = made or None
    elif isinstance(message, ToolMessage):
        record.tool_call_id = message.tool_call_id
        if message.name:
            metadata["tool_name"] = message.name
    return record


def from_record(record: ConversationMessage) -> BaseMessage:
    """Return the message of a record, whoever wrote it."""
    kept = (record.metadata or {}).get(_KEY)
    if not isinstance(kept, dict) or not isinstance(kept.get("data"), dict):
        return _foreign(record)
    fields = {**kept["data"], "content": record.content}
    cls = _class(kept.get("class"))
    if cls is not None:
        try:
            return cls(**fields)
        except (AttributeError, LookupError, TypeError, ValueError):  # another release of the class wrote it
            pass
    # Extra fields of a message are kept by LangChain as they are.
    return ChatMessage(**{**fields, "role": record.role, "type": "chat"})


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return message.role
    return next((role for cls, role in _ROLES if isinstance(message, cls)), message.type)


def _name(cls: type[BaseMessage]) -> str:
    return cls.__name__ if cls.__name__ in known.__all__ else f"{cls.__module__}.{cls.__qualname__}"


def _class(name: Any) -> type[BaseMessage] | None:
    if name in known.__all__:
        found = getattr(known, name)
        return found if isinstance(found, type) and issubclass(found, BaseMessage) else None
    return class_named(BaseMessage, name, _name)


def _foreign(record: ConversationMessage) -> BaseMessage:
    """Return the message of a record that was written without LangChain."""
    content: Any = record.content if record.content is not None else ""
    if record.role == "user":
        return HumanMessage(content, id=record.id)
    if record.role == "system":
        return SystemMessage(content, id=record.id)
    if record.role == "tool":
        name = (record.metadata or {}).get("tool_name")
        call_id = record.tool_call_id or record.id
        return ToolMessage(content, tool_call_id=call_id, name=name if isinstance(name, str) else None, id=record.id)
    if record.role != "assistant":
        return ChatMessage(content=content, role=record.role, id=record.id)
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for call in record.tool_calls or ():
        id_, name, args = read_call(call)
        if isinstance(args, dict) and name is not None:
            good.append({"name": name, "args": args, "id": id_})
        else:
            text = args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)
            bad.append({"name": name, "args": text, "id": id_, "error": _NO_CALL})
    return AIMessage(content, tool_calls=good, invalid_tool_calls=bad, id=record.id)
