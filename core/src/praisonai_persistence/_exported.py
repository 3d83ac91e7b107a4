"""The document of an exported session, checked before anything of it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from praisonai_persistence import payload
from praisonai_persistence._run_records import key_part, run_from, run_key, span_key, trace_key, without
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.runs import DbSpan, DbTrace

__all__ = ["ExportedSession"]

_FIELDS = frozenset((*(field.name for field in fields(ConversationSession)), "messages", "runs", "traces"))


class ExportedSession:
    """An exported session, checked.

    Attributes:
        session: as it is to be stored.
        messages: in order.
        records: runs, traces and spans, by their keys.
        spans: keys of hashes, and their fields.
    """

    def __init__(self, data: Any) -> None:
        document = _object(data, "the document")
        if _FIELDS.isdisjoint(document):
            raise InvalidValueError("the document is no exported session: it has none of the fields of one")
        self.session = _record(ConversationSession, document, "the session", skip=("updated_at", "version"))
        row = payload.encode_session(self.session)
        self.messages = [
            _record(ConversationMessage, item, f"message {number}", skip=("seq", "session_id"))
            for number, item in _items(document, "messages")
        ]
        payload.encode_messages(row.session_id, self.messages)
        self.records: dict[str, dict[str, Any]] = {}
        self.spans: list[tuple[str, str]] = []
        for number, item in _items(document, "runs"):
            named = {**_named(item, f"run {number}", "run_id"), "session_id": row.session_id}
            run = run_from(named)
            self._add(run_key(row.session_id, run.run_id), run.to_dict(), f"run {number}")
        for number, item in _items(document, "traces"):
            what = f"trace {number}"
            trace = DbTrace.from_dict(_named(item, what, "trace_id"))
            value = {**without(trace, "spans"), "session_id": row.session_id}
            self._add(trace_key(trace.trace_id), value, what)
            for place, part in _items(item, "spans"):
                span = DbSpan.from_dict(
                    {**_named(part, f"span {place} of {what}", "span_id"), "trace_id": trace.trace_id}
                )
                self._add(span_key(span.span_id), span.to_dict(), f"span {place} of {what}")
                self.spans.append((f"spans:{key_part(trace.trace_id)}", key_part(span.span_id)))

    def _add(self, key: str, value: dict[str, Any], what: str) -> None:
        _number(value["started_at"], f"started_at of {what}")
        payload.dumps(value, what)
        self.records[key] = value


R = TypeVar("R", ConversationSession, ConversationMessage)


def _record(kind: type[R], data: Any, what: str, skip: tuple[str, ...]) -> R:
    """Build a record; encoding it checks the values of its fields."""
    given = {name: value for name, value in _object(data, what).items() if name not in skip}
    for name in ("id", "session_id", "created_at"):
        if given.get(name, "") is None:
            del given[name]  # and take the default
    return kind.from_dict(given)


def _object(data: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not all(isinstance(name, str) for name in data):
        raise InvalidValueError(f"{what} must be a JSON object, not {type(data).__name__}")
    return data


def _items(document: Mapping[str, Any], name: str) -> list[tuple[int, Mapping[str, Any]]]:
    items = document.get(name)
    if items is None:
        return []
    if not isinstance(items, list | tuple):
        raise InvalidValueError(f"{name} must be a list, not {type(items).__name__}")
    return [(number, _object(item, f"{name}[{number}]")) for number, item in enumerate(items)]


def _named(data: Mapping[str, Any], what: str, name: str) -> dict[str, Any]:
    if not isinstance(data.get(name), str):
        raise InvalidValueError(f"{what} lacks its {name}")
    return dict(data)


def _number(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValueError(f"{what} must be a number of seconds, not {type(value).__name__}")
