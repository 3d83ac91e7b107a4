"""The operations of an adapter on runs, traces and spans; all of them are in the state store."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence._requests import Has, state
from praisonai_persistence._resume import digest
from praisonai_persistence._run_records import (
    as_json,
    key_part,
    new_run,
    run_from,
    run_key,
    span_key,
    trace_key,
    without,
)
from praisonai_persistence.errors import UnsupportedOperationError, WrongTypeError
from praisonai_persistence.runs import DbRun, DbSpan, DbTrace

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps

__all__ = ["RunHooks", "make_room"]

_ABSENT = object()
_REMEMBERED = 1000
"""How many sessions are remembered of which something could not be stored yet."""
_MERGED = ("attributes", "metadata", "metrics")


@dataclass(slots=True)
class _Input:
    """What a run was given.

    Attributes:
        text: what the user said.
        message_id: for the message that holds it.
        stored: whether it was stored in place of the agent.
    """

    text: str
    message_id: str
    stored: bool = False


class RunHooks:
    """What is recorded of runs, traces and spans. Arguments are those of PraisonAI's adapter protocol."""

    def __init__(self) -> None:
        # What the runs that are going on were given, until the agent stores it: session -> run -> text.
        self._inputs: dict[str, dict[str, _Input]] = {}

    def on_run_start(
        self,
        session_id: str,
        run_id: str,
        input_content: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Steps[None]:
        """Record that a run has begun. Without a state store nothing is recorded, of runs and of traces."""
        key = run_key(session_id, run_id)
        if isinstance(input_content, str) and input_content:
            make_room(self._inputs)
            self._inputs.setdefault(session_id, {})[run_id] = _Input(input_content, f"input-{digest(run_id)}")
        if not (yield Has("state")):
            return
        told = {"input_content": input_content, "metadata": as_json(metadata or {})}
        yield from self._merge(key, new_run(session_id, run_id), told)

    def on_run_end(
        self,
        session_id: str,
        run_id: str,
        output_content: str | None = None,
        status: str = "completed",
        metrics: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Steps[None]:
        """Record how a run has ended, also of one whose start was not recorded.

        What is not JSON in ``metrics`` and ``metadata`` (decimals, datetimes, UUIDs) is recorded as its text.
        """
        key = run_key(session_id, run_id)
        inputs = self._inputs.get(session_id, {})
        inputs.pop(run_id, None)
        if not inputs:
            self._inputs.pop(session_id, None)
        if not (yield Has("state")):
            return
        ended: dict[str, Any] = {
            "ended_at": time.time(),
            "status": status,
            "output_content": as_json(output_content),
            "metrics": as_json(metrics or {}),
            "metadata": as_json(metadata or {}),
        }
        yield from self._merge(key, new_run(session_id, run_id), ended)

    def get_runs(self, session_id: str, limit: int | None = None) -> Steps[list[DbRun]]:
        """Return the runs of a session, newest first.

        Raises:
            UnsupportedOperationError: there is no state store.
        """
        most = None if limit is None else payload.check_count(limit, "limit")
        yield from self._need_state("runs")
        records = yield from self._values(f"run:{key_part(payload.check_id(session_id))}:")
        runs = [run_from(value) for value in records if value.get("session_id") == session_id]
        runs.sort(key=lambda run: (-run.started_at, run.run_id))
        return runs[:most]

    def on_trace_start(
        self,
        trace_id: str,
        session_id: str | None = None,
        run_id: str | None = None,
        agent_name: str | None = None,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Steps[None]:
        """Record that a trace has begun."""
        if not (yield Has("state")):
            return
        trace = without(DbTrace(trace_id, session_id, run_id, agent_name, user_id), "spans")
        named = {name: value for name, value in trace.items() if name.endswith(("_id", "_name")) and value is not None}
        yield from self._merge(trace_key(trace_id), trace, {**named, "metadata": as_json(metadata or {})})

    def on_trace_end(self, trace_id: str, status: str = "ok", metadata: dict[str, Any] | None = None) -> Steps[None]:
        """Record how a trace has ended."""
        if not (yield Has("state")):
            return
        ended = {"ended_at": time.time(), "status": status, "metadata": as_json(metadata or {})}
        yield from self._merge(trace_key(trace_id), without(DbTrace(trace_id), "spans"), ended)

    def on_span_start(
        self,
        span_id: str,
        trace_id: str,
        name: str,
        parent_span_id: str | None = None,
        attributes: dict[str, Any] | None = None,
    ) -> Steps[None]:
        """Record that a span has begun; its trace may be recorded later."""
        if not (yield Has("state")):
            return
        span = DbSpan(span_id, payload.check_id(trace_id, "trace_id"), name, parent_span_id=parent_span_id)
        yield from self._merge(
            span_key(span_id),
            span.to_dict(),
            {
                "trace_id": trace_id,
                "name": name,
                "parent_span_id": parent_span_id,
                "attributes": as_json(attributes or {}),
            },
        )
        yield state("hset", f"spans:{key_part(trace_id)}", key_part(span_id), True)

    def on_span_end(self, span_id: str, status: str = "ok", attributes: dict[str, Any] | None = None) -> Steps[None]:
        """Record how a span has ended."""
        if not (yield Has("state")):
            return
        ended = {"ended_at": time.time(), "status": status, "attributes": as_json(attributes or {})}
        yield from self._merge(span_key(span_id), DbSpan(span_id, "").to_dict(), ended)

    def get_traces(
        self, session_id: str | None = None, user_id: str | None = None, limit: int | None = None
    ) -> Steps[list[DbTrace]]:
        """Return the traces that match, newest first, with their spans. All traces are looked through.

        Raises:
            UnsupportedOperationError: there is no state store.
        """
        most = None if limit is None else payload.check_count(limit, "limit")
        yield from self._need_state("traces")
        records = yield from self._values("trace:")
        traces = [
            DbTrace.from_dict(value)
            for value in records
            if (session_id is None or value.get("session_id") == session_id)
            and (user_id is None or value.get("user_id") == user_id)
        ]
        traces.sort(key=lambda trace: (-trace.started_at, trace.trace_id))
        for trace in traces[:most]:
            ids = yield state("hgetall", f"spans:{key_part(trace.trace_id)}")
            spans = yield state("get_many", [f"span:{id_}" for id_ in ids])
            trace.spans = sorted(
                map(DbSpan.from_dict, spans.values()), key=lambda span: (span.started_at, span.span_id)
            )
        return traces[:most]

    def _need_state(self, what: str) -> Steps[None]:
        if not (yield Has("state")):
            raise UnsupportedOperationError(
                f"there are no {what}: the database of the conversations keeps no state; name another as state_url"
            )

    def _values(self, prefix: str) -> Steps[list[dict[str, Any]]]:
        """Return the objects under a prefix."""
        keys: list[str] = yield state("scan_prefix", prefix)
        values: dict[str, Any] = yield state("get_many", keys)
        return [value for value in values.values() if isinstance(value, dict)]

    def _merge(self, key: str, new: dict[str, Any], changes: dict[str, Any]) -> Steps[None]:
        """Apply changes to the object under a key, or to ``new`` if there is none; nothing of another's is lost."""
        while True:
            old = yield state("get", key, _ABSENT)
            if old is _ABSENT:
                if (yield state("set_if_absent", key, {**new, **changes})):
                    return
                continue
            if not isinstance(old, dict):
                raise WrongTypeError(f"the key {key!r} holds something that is not a record")
            merged = {**old, **changes}
            for name in _MERGED:
                if isinstance(old.get(name), dict) and isinstance(changes.get(name), dict):
                    merged[name] = {**old[name], **changes[name]}
            if payload.equal(merged, old) or (yield state("compare_and_set", key, old, merged)):
                return


def make_room(remembered: dict[str, Any]) -> None:
    """Forget the oldest entry when there are too many; other threads may add and remove some meanwhile."""
    if len(remembered) >= _REMEMBERED:
        remembered.pop(next(iter(list(remembered)), ""), None)
