"""How runs, traces and spans are stored: their keys in the state store, and the objects under them.

Keys: ``run:<session>:<run>``, ``trace:<trace>``, ``span:<span>``, and the hash ``spans:<trace>``, whose fields are the
ids of the trace's spans. Ids stand in keys as ``key_part`` writes them.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence.errors import SerializationError
from praisonai_persistence.runs import DbRun

if TYPE_CHECKING:
    from praisonai_persistence.runs import DbTrace

_DEEPEST = 100
"""Levels of a value that is not JSON as it is; the record around it takes some, too."""

__all__ = ["as_json", "key_part", "new_run", "run_from", "run_key", "span_key", "trace_key", "without"]


def key_part(text: str) -> str:
    """Return an id as a part of a key: no colon in it, and short enough for all parts to fit."""
    part = text.replace("%", "%25").replace(":", "%3A")
    if len(part.encode()) <= 400:
        return part
    return f"%{hashlib.sha256(text.encode()).hexdigest()}"  # a hash of hex digits; no escape looks like it


def run_key(session_id: str, run_id: str) -> str:
    """Return the key of a run."""
    return f"run:{key_part(payload.check_id(session_id))}:{key_part(payload.check_id(run_id, 'run_id'))}"


def trace_key(trace_id: str) -> str:
    """Return the key of a trace."""
    return f"trace:{key_part(payload.check_id(trace_id, 'trace_id'))}"


def span_key(span_id: str) -> str:
    """Return the key of a span."""
    return f"span:{key_part(payload.check_id(span_id, 'span_id'))}"


def as_json(value: Any) -> Any:
    """Return a value as a run or a trace keeps it: what is not JSON by its text, as in the results of tools.

    Tuples and sets become lists, keys text; what is nested too deep, or holds itself, becomes one text.
    """
    try:
        payload.dumps(value)
    except SerializationError:
        try:
            return _as_json(value, 1)
        except RecursionError:
            return "..."
    return value


def _as_json(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list | tuple | set | frozenset):
        if depth > _DEEPEST:
            return "..."
        if isinstance(value, dict):
            return {str(payload.plain(key)): _as_json(item, depth + 1) for key, item in value.items()}
        return [_as_json(item, depth + 1) for item in value]
    try:
        payload.dumps(value)
    except SerializationError:
        try:
            return str(value)
        except ValueError:  # an integer of more digits than Python converts
            return hex(value)
    return value


def without(record: DbRun | DbTrace, *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.to_dict().items() if name not in names}


def new_run(session_id: str, run_id: str) -> dict[str, Any]:
    return without(DbRun(run_id, session_id), "agent_name", "messages", "tool_calls")


def run_from(value: dict[str, Any]) -> DbRun:
    run = DbRun.from_dict(value)
    metadata: Any = run.metadata
    name = metadata.get("agent_name") if isinstance(metadata, dict) else None
    return replace(run, agent_name=name) if isinstance(name, str) and not run.agent_name else run
