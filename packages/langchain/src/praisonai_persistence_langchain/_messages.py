"""Messages of LangChain as records of ours, and back.

What both can express is in the record's own fields: role, content, tool calls. The whole message, without its content,
is in the metadata under ``langchain``, so that it comes back as it was.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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
from praisonai_persistence.records import ConversationMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["from_record", "to_record"]

_KEY = "langchain"
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
        record.tool_calls = [_call(call) for call in calls] or None
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
    """Return the class of that name; nothing is imported for a name that stands in a database."""
    if name in known.__all__:
        found = getattr(known, name)
        return found if isinstance(found, type) and issubclass(found, BaseMessage) else None
    return next((cls for cls in _subclasses(BaseMessage) if _name(cls) == name), None)


def _subclasses(cls: type[BaseMessage]) -> Iterator[type[BaseMessage]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a tool call as models' interfaces have it, and so every reader of a conversation."""
    args = call.get("args")
    text = args if isinstance(args, str) else json.dumps(args or {}, ensure_ascii=False, default=str)
    return {"id": call.get("id"), "type": "function", "function": {"name": call.get("name"), "arguments": text}}


def _foreign(record: ConversationMessage) -> BaseMessage:
    """Return the message of a record that was written without LangChain."""
    content: Any = record.content if record.content is not None else ""
    if record.role == "user":
        return HumanMessage(content, id=record.id)
    if record.role == "system":
        return SystemMessage(content, id=record.id)
    if record.role == "tool":
        name = (record.metadata or {}).get("tool_name")
        return ToolMessage(
            content,
            tool_call_id=record.tool_call_id or record.id,
            name=name if isinstance(name, str) else None,
            id=record.id,
        )
    if record.role != "assistant":
        return ChatMessage(content=content, role=record.role, id=record.id)
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for call in record.tool_calls or ():
        _read_call(call, good, bad)
    return AIMessage(content, tool_calls=good, invalid_tool_calls=bad, id=record.id)


def _read_call(call: dict[str, Any], good: list[dict[str, Any]], bad: list[dict[str, Any]]) -> None:
    """Add a call to those that LangChain can call, or to those whose arguments no one can read."""
    function = call.get("function")
    inner: dict[str, Any] = function if isinstance(function, dict) else call
    name = _text(inner.get("name"))
    id_ = _text(call.get("id"))
    args: Any = next((inner[key] for key in ("arguments", "args") if inner.get(key) is not None), {})
    parsed = args
    if isinstance(args, str):
        try:
            parsed = json.loads(args or "{}")
        except ValueError:
            parsed = None
    if isinstance(parsed, dict) and name is not None:
        good.append({"name": name, "args": parsed, "id": id_})
    else:
        text = args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)
        bad.append({"name": name, "args": text, "id": id_, "error": "not a call with a JSON object as its arguments"})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
