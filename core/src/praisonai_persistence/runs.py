"""What the adapter of an agent hands out: messages of a resumed session, runs, traces with their spans.

The fields are those that PraisonAI's agents read. Times are Unix seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from praisonai_persistence.records import _Record

__all__ = ["DbMessage", "DbRun", "DbSpan", "DbToolCall", "DbTrace"]


class _AgentRecord(_Record):
    """A record whose fields can also be read as those of a dictionary."""

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        try:
            return self.to_dict()[name]
        except KeyError:
            raise KeyError(name) from None

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by its name."""
        return self.to_dict().get(name, default)


@dataclass(slots=True)
class DbToolCall(_AgentRecord):
    """A tool that was called.

    Attributes:
        tool_name: the tool.
        args: what it was given.
        result: what it returned.
        call_id: the id that the model gave the call.
        timestamp: when.
        duration_ms: milliseconds, or None.
        error: what went wrong, or None.
    """

    tool_name: str
    args: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    call_id: str | None = None
    timestamp: float = field(default_factory=time.time)
    duration_ms: float | None = None
    error: str | None = None


@dataclass(slots=True)
class DbMessage(_AgentRecord):
    """A message, as an agent takes it up again.

    Attributes:
        role: ``user``, ``assistant``, ``system`` or ``tool``.
        content: text, a list of parts, or None.
        metadata: a JSON object; empty where the message has none.
        timestamp: when it was made.
        id: its id in the session; None for one that is not stored (see ``on_agent_start``).
        tool_calls: what an assistant asked for, as the model's interface writes it, or None.
        tool_call_id: which of these calls a ``tool`` message answers, or None.
        run_id: the run that it belongs to, where its metadata say so.
    """

    role: str
    content: str | list[Any] | None
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: float = field(default_factory=time.time)
    id: str | None = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None
    run_id: str | None = None


@dataclass(slots=True)
class DbRun(_AgentRecord):
    """One turn of an agent.

    Attributes:
        run_id: unique in its session.
        session_id: the session.
        agent_name: whose turn, where known.
        started_at: when.
        ended_at: when, or None while it runs (or if its process died).
        status: ``running``, ``completed``, ``error``, ``cancelled``.
        input_content: what the user said.
        output_content: what the agent said.
        messages: empty; they are in the session.
        tool_calls: empty; they are in the session.
        metadata: a JSON object.
        metrics: tokens, seconds, and the like.
    """

    run_id: str
    session_id: str
    agent_name: str = ""
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    status: str = "running"
    input_content: str | None = None
    output_content: str | None = None
    messages: list[DbMessage] = field(default_factory=list)
    tool_calls: list[DbToolCall] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class DbSpan(_AgentRecord):
    """A part of a trace.

    Attributes:
        span_id: unique.
        trace_id: the trace.
        name: e.g. ``llm_call``.
        started_at: when.
        ended_at: when, or None.
        parent_span_id: the span that it is part of, or None.
        status: ``running``, ``ok``, ``error``.
        attributes: a JSON object.
        events: JSON objects.
    """

    span_id: str
    trace_id: str
    name: str = ""
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    parent_span_id: str | None = None
    status: str = "running"
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class DbTrace(_AgentRecord):
    """What happened in one request, as spans.

    Attributes:
        trace_id: unique.
        session_id: the session, or None.
        run_id: the run, or None.
        agent_name: the agent, or None.
        user_id: the user, or None.
        started_at: when.
        ended_at: when, or None.
        status: ``running``, ``ok``, ``error``.
        spans: in the order of their start.
        metadata: a JSON object.
    """

    trace_id: str
    session_id: str | None = None
    run_id: str | None = None
    agent_name: str | None = None
    user_id: str | None = None
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None
    status: str = "running"
    spans: list[DbSpan] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
