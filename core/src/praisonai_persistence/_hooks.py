"""What an agent's adapter does, as steps that ask stores for something; ``adapter`` has the two colours.

Keys in the state store: ``run:<session>:<run>``, ``trace:<trace>``, ``span:<span>``, and the hash ``spans:<trace>``,
whose fields are the ids of the trace's spans. Ids stand in keys as ``key_part`` writes them.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from praisonai_persistence import payload
from praisonai_persistence._resume import digest, made_up_call, resumable
from praisonai_persistence.errors import (
    ConflictError,
    InvalidValueError,
    SchemaError,
    SessionExistsError,
    SessionNotFoundError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession
from praisonai_persistence.runs import DbMessage, DbRun, DbSpan, DbTrace

if TYPE_CHECKING:
    from praisonai_persistence.schema import SchemaChange, SchemaStatus
    from praisonai_persistence.steps import Steps

__all__ = ["KINDS", "Ask", "Has", "Hooks", "conversation", "state"]

T = TypeVar("T")

KINDS = ("conversation", "knowledge", "state")
_ABSENT = object()
_STARTS = 1000
"""How many sessions are remembered whose start could not be stored."""
_MERGED = ("attributes", "metadata", "metrics")


class Ask(NamedTuple):
    """Call a method of the store of a kind; what it iterates over comes back as a list."""

    kind: str
    method: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


class Has(NamedTuple):
    """Whether there is a store of a kind, with a capability if one is named."""

    kind: str
    capability: str | None = None


def conversation(method: str, *args: Any, **kwargs: Any) -> Ask:
    """Ask the conversation store."""
    return Ask("conversation", method, args, kwargs)


def state(method: str, *args: Any) -> Ask:
    """Ask the state store."""
    return Ask("state", method, args)


def key_part(text: str) -> str:
    """Return an id as a part of a key: no colon in it, and short enough for all parts to fit."""
    part = text.replace("%", "%25").replace(":", "%3A")
    if len(part.encode()) <= 400:
        return part
    return f"%{hashlib.sha256(text.encode()).hexdigest()}"  # a hash of hex digits; no escape looks like it


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


class Hooks:
    """The operations. Arguments are those of PraisonAI's adapter protocol, more by keyword.

    Args:
        history_limit: how many of the latest messages a resumed session gets; None: all.
    """

    def __init__(self, history_limit: int | None = None) -> None:
        self._history_limit = None if history_limit is None else payload.check_count(history_limit, "history_limit")
        # Sessions whose start could not be stored: the first message that can be will make up for it.
        self._starts: dict[str, ConversationSession] = {}
        # What the runs that are going on were given, until the agent stores it: session -> run -> text.
        self._inputs: dict[str, dict[str, _Input]] = {}

    # ---------------------------------------------------------------------------------------------------- messages

    def on_agent_start(
        self,
        agent_name: str,
        session_id: str,
        user_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Steps[list[DbMessage]]:
        """Create the session unless it exists, and return its messages, oldest first.

        They are returned in an order that models accept: every call of a tool is followed by its result. A result that
        is missing, because the agent was killed, is said to be; such a message has no id, and is not stored.

        Raises:
            InvalidValueError: a session id, user id or agent's name that cannot be one.
        """
        session = ConversationSession(
            session_id=session_id, user_id=user_id or None, agent_id=agent_name or None, metadata=metadata or None
        )
        payload.encode_session(session)
        _make_room(self._starts)
        self._starts[session_id] = session
        yield from self._ensure(session)
        self._starts.pop(session_id, None)
        found: list[ConversationMessage] = yield conversation("get_messages", session_id, limit=self._history_limit)
        return resumable(found, cut=self._history_limit is not None and len(found) == self._history_limit)

    def on_user_message(
        self,
        session_id: str,
        content: str | None,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Store what the user said.

        With an id of your own, here or as ``metadata["message_id"]``, the call can be repeated: it is stored once. A
        session that does not exist is created.

        Raises:
            DuplicateMessageError: the id is taken in this session by another message.
        """
        own = self._claim(session_id, content)
        if message_id is None and not metadata:
            message_id = own
        yield from self._add(session_id, "user", content, metadata, message_id)

    def on_agent_message(
        self,
        session_id: str,
        content: str | None,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Store what the agent said; see ``on_user_message``.

        Agents that are awaited do not store what the user said, but tell it when their run starts: if that is missing
        in front of the agent's message, it is stored too.
        """
        yield from self._make_up_for_inputs(session_id)
        yield from self._add(session_id, "assistant", content, metadata, message_id)

    def on_assistant_message(
        self,
        session_id: str,
        content: str | None,
        tool_calls: Sequence[Any] | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Store what the agent said with the tools that it wants called; see ``on_user_message``."""
        calls = None if tool_calls is None else [_plain_call(call) for call in tool_calls]
        yield from self._add(session_id, "assistant", content, metadata, message_id, tool_calls=calls)

    def on_tool_message(
        self,
        session_id: str,
        content: str | None,
        tool_call_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Store the result of a call that was stored with ``on_assistant_message``; see ``on_user_message``."""
        yield from self._add(session_id, "tool", content, metadata, message_id, tool_call_id=tool_call_id)

    def on_tool_call(
        self,
        session_id: str,
        tool_name: str,
        args: Mapping[str, Any] | None,
        result: Any,
        metadata: dict[str, Any] | None = None,
        *,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Store that a tool was called and what it returned, whole: an assistant's message with the call, and a tool's.

        A result that is not text is stored as JSON where it is JSON, else as its text. See ``on_user_message``.
        """
        id_ = _message_id(message_id, metadata)
        call_id = made_up_call(id_)
        call = {"id": call_id, "type": "function", "function": {"name": tool_name, "arguments": _as_text(args or {})}}
        more = {**(metadata or {}), "tool_name": tool_name}
        both = (
            _message(session_id, f"{id_}:call", "assistant", None, more, tool_calls=[call]),
            _message(session_id, id_, "tool", _as_text(result), more, tool_call_id=call_id),
        )
        yield from self._append(session_id, both)

    def on_agent_end(self, session_id: str, metadata: dict[str, Any] | None = None) -> Steps[None]:
        """Write ``ended_at``, and ``metadata``, into the metadata of the session.

        Raises:
            SessionNotFoundError: no session of that id.
        """
        while True:
            session: ConversationSession | None = yield conversation("get_session", session_id)
            if session is None:
                raise _no_session(session_id)
            changed = {**(session.metadata or {}), **(metadata or {}), "ended_at": time.time()}
            try:
                yield conversation(
                    "update_session", replace(session, metadata=changed), expected_version=session.version
                )
            except ConflictError:  # another agent was first: once more, on what it wrote
                continue
            return

    def _ensure(self, session: ConversationSession) -> Steps[None]:
        if (yield conversation("get_session", session.session_id)) is None:
            try:
                yield conversation("create_session", session)
            except SessionExistsError:  # meanwhile
                return

    def _add(
        self,
        session_id: str,
        role: str,
        content: str | None,
        metadata: dict[str, Any] | None,
        message_id: str | None,
        **fields: Any,
    ) -> Steps[None]:
        id_ = _message_id(message_id, metadata)
        yield from self._append(session_id, [_message(session_id, id_, role, content, metadata, **fields)])

    def _append(self, session_id: str, messages: Sequence[ConversationMessage]) -> Steps[list[ConversationMessage]]:
        # One object each for all tries, so that a repeated append finds what an earlier one stored.
        append = conversation("add_messages", session_id, messages)
        stored: list[ConversationMessage]
        try:
            stored = yield append
        except SessionNotFoundError:
            yield from self._ensure(self._starts.get(session_id, ConversationSession(session_id)))
            self._starts.pop(session_id, None)
            stored = yield append
        return stored

    def _claim(self, session_id: str, content: str | None) -> str | None:
        """Return the id that this message has if it was made up for already, or would have; None for another one."""
        inputs = self._inputs.get(session_id)
        if not inputs:
            return None
        for run_id, given in list(inputs.items()):
            if given.text == content:
                inputs.pop(run_id, None)
                return given.message_id
        inputs.pop(next(iter(list(inputs)), ""), None)  # the agent stores it in other words
        return None

    def _make_up_for_inputs(self, session_id: str) -> Steps[None]:
        for given in list(self._inputs.get(session_id, {}).values()):
            if given.stored:
                continue
            latest: list[ConversationMessage] = yield conversation("get_messages", session_id, limit=1)
            if not (latest and (latest[0].role, latest[0].content) == ("user", given.text)):
                yield from self._append(session_id, [_message(session_id, given.message_id, "user", given.text, None)])
            given.stored = True

    # ------------------------------------------------------------------------------------------------ runs, traces

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
            _make_room(self._inputs)
            self._inputs.setdefault(session_id, {})[run_id] = _Input(input_content, f"input-{digest(run_id)}")
        if not (yield Has("state")):
            return
        told = {"input_content": input_content, "metadata": metadata or {}}
        yield from self._merge(key, _run(session_id, run_id), told)

    def on_run_end(
        self,
        session_id: str,
        run_id: str,
        output_content: str | None = None,
        status: str = "completed",
        metrics: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Steps[None]:
        """Record how a run has ended, also of one whose start was not recorded."""
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
            "output_content": output_content,
            "metrics": metrics or {},
            "metadata": metadata or {},
        }
        yield from self._merge(key, _run(session_id, run_id), ended)

    def get_runs(self, session_id: str, limit: int | None = None) -> Steps[list[DbRun]]:
        """Return the runs of a session, newest first.

        Raises:
            UnsupportedOperationError: there is no state store.
        """
        most = None if limit is None else payload.check_count(limit, "limit")
        yield from self._need_state("runs")
        found = yield from self._values(f"run:{key_part(payload.check_id(session_id))}:")
        runs = [_run_of(value) for value in found if value.get("session_id") == session_id]
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
        trace = _without(DbTrace(trace_id, session_id, run_id, agent_name, user_id), "spans")
        named = {name: value for name, value in trace.items() if name.endswith(("_id", "_name")) and value is not None}
        yield from self._merge(trace_key(trace_id), trace, {**named, "metadata": metadata or {}})

    def on_trace_end(self, trace_id: str, status: str = "ok", metadata: dict[str, Any] | None = None) -> Steps[None]:
        """Record how a trace has ended."""
        if not (yield Has("state")):
            return
        ended = {"ended_at": time.time(), "status": status, "metadata": metadata or {}}
        yield from self._merge(trace_key(trace_id), _without(DbTrace(trace_id), "spans"), ended)

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
            {"trace_id": trace_id, "name": name, "parent_span_id": parent_span_id, "attributes": attributes or {}},
        )
        yield state("hset", f"spans:{key_part(trace_id)}", key_part(span_id), True)

    def on_span_end(self, span_id: str, status: str = "ok", attributes: dict[str, Any] | None = None) -> Steps[None]:
        """Record how a span has ended."""
        if not (yield Has("state")):
            return
        ended = {"ended_at": time.time(), "status": status, "attributes": attributes or {}}
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
        found = yield from self._values("trace:")
        traces = [
            DbTrace.from_dict(value)
            for value in found
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

    # -------------------------------------------------------------------------------------------- export and import

    def export_session(self, session_id: str) -> Steps[dict[str, Any]]:
        """Return the session with its messages, runs and traces as a JSON object that ``import_session`` takes.

        Raises:
            SessionNotFoundError: no session of that id.
        """
        session: ConversationSession | None = yield conversation("get_session", session_id)
        if session is None:
            raise _no_session(session_id)
        messages: list[ConversationMessage] = yield conversation("get_messages", session_id)
        document = {**session.to_dict(), "messages": [message.to_dict() for message in messages]}
        if (yield Has("state")):
            runs = yield from self.get_runs(session_id)
            traces = yield from self.get_traces(session_id)
            document["runs"] = [run.to_dict() for run in runs]
            document["traces"] = [
                {**trace.to_dict(), "spans": [span.to_dict() for span in trace.spans]} for trace in traces
            ]
        return document

    def import_session(self, data: Mapping[str, Any]) -> Steps[str]:
        """Store what ``export_session`` returned, of this project or of PraisonAI; return the id of the session.

        Everything comes back equal except what a store gives itself: ``seq`` (counted anew, in the given order),
        ``version`` and ``updated_at``. The document is checked before anything is written. An import that was broken
        off is completed by repeating it.

        Raises:
            InvalidValueError: it is no such document; the message says where.
            SerializationError: a value in it is not JSON, or is over the size limit.
            SessionExistsError: there is another session of that id; it is untouched.
            DuplicateMessageError: two messages in it have one id.
        """
        document = _Document(data)
        session = document.session
        try:
            yield conversation("create_session", session)
        except SessionExistsError:
            yield from self._continues(document)
        if document.messages:
            yield conversation("add_messages", session.session_id, document.messages)
        if document.records and (yield Has("state")):
            yield state("set_many", document.records)
            for key, span in document.spans:
                yield state("hset", key, span, True)
        return session.session_id

    def _continues(self, document: _Document) -> Steps[None]:
        """Raise unless what is stored is the beginning of the document."""
        session = document.session
        stored: ConversationSession | None = yield conversation("get_session", session.session_id)
        beginning: list[ConversationMessage] = yield conversation("get_messages", session.session_id)
        same = (
            stored is not None
            and payload.encode_session(stored)._replace(updated_at=0.0, version=0)
            == payload.encode_session(session)._replace(updated_at=0.0, version=0)
            and [message.id for message in beginning] == [message.id for message in document.messages[: len(beginning)]]
        )
        if not same:
            raise SessionExistsError(f"there is a session {session.session_id!r} already, and it is another one")

    # ------------------------------------------------------------------------------------------------------- schema

    def get_schema_version(self) -> Steps[str | None]:
        """Return the version of the tables of the conversations; None where the store has no tables."""
        status = yield from self._status("conversation")
        return None if status is None else str(status.version)

    def check_schema_compatibility(self) -> Steps[tuple[bool, str]]:
        """Return whether this release can work with what the databases hold, and a sentence about it."""
        said = []
        for kind in KINDS:
            status = yield from self._status(kind)
            if status is None:
                continue
            if status.version > status.latest:
                return False, (
                    f"the {kind} tables have version {status.version}, this release knows {status.latest}: install a "
                    f"later one"
                )
            if status.version < status.latest:
                said.append(
                    f"the {kind} tables have version {status.version} of {status.latest}; the first call, or "
                    f"migrate_schema(), brings them up to date"
                )
        return True, "; ".join(said) or "up to date"

    def migrate_schema(self, from_version: str | None = None, to_version: str | None = None) -> Steps[bool]:
        """Bring all tables to the latest version, or those of the conversations to ``to_version``.

        Args:
            from_version: refuse unless the tables of the conversations have this version.
            to_version: as [get_schema_version][] writes them.

        Returns:
            Whether the tables are as they should be; also if they were before, or there are none.

        Raises:
            SchemaError: they are not at ``from_version``, or there is no way to ``to_version``.
            InvalidValueError: one of them is no version.
        """
        before, target = _version(from_version, "from_version"), _version(to_version, "to_version")
        for kind in KINDS if target is None else KINDS[:1]:
            status = yield from self._status(kind)
            if status is None:
                continue
            if before is not None and kind == KINDS[0] and status.version != before:
                raise SchemaError(f"the tables of the conversations have version {status.version}, not {before}")
            change: SchemaChange = yield Ask(kind, "migrate_schema", (target,))
            if change.after != (status.latest if target is None else target):
                return False
        return True

    def _status(self, kind: str) -> Steps[SchemaStatus | None]:
        if not (yield Has(kind, "schema")):
            return None
        status: SchemaStatus = yield Ask(kind, "schema_status")
        return status


def run_key(session_id: str, run_id: str) -> str:
    """Return the key of a run."""
    return f"run:{key_part(payload.check_id(session_id))}:{key_part(payload.check_id(run_id, 'run_id'))}"


def trace_key(trace_id: str) -> str:
    """Return the key of a trace."""
    return f"trace:{key_part(payload.check_id(trace_id, 'trace_id'))}"


def span_key(span_id: str) -> str:
    """Return the key of a span."""
    return f"span:{key_part(payload.check_id(span_id, 'span_id'))}"


# ------------------------------------------------------------------------------------------------------------ messages


def _message_id(message_id: str | None, metadata: Mapping[str, Any] | None) -> str:
    given = message_id if message_id is not None else (metadata or {}).get("message_id")
    return str(uuid.uuid4()) if given is None else payload.check_id(given, "message_id")


def _message(
    session_id: str, id_: str, role: str, content: str | None, metadata: dict[str, Any] | None, **fields: Any
) -> ConversationMessage:
    return ConversationMessage(
        id=id_, session_id=session_id, role=role, content=content, metadata=metadata or None, **fields
    )


def _plain_call(call: Any) -> dict[str, Any]:
    """Return a tool call as the JSON object that a model's interface has for it."""
    if isinstance(call, Mapping):
        return dict(call)
    if hasattr(call, "model_dump"):  # the clients' own models
        dumped: dict[str, Any] = call.model_dump(mode="json", exclude_none=True)
        return dumped
    if is_dataclass(call) and hasattr(call, "tool_name"):  # DbToolCall, ours or PraisonAI's
        arguments = getattr(call, "args", None)
        name = call.tool_name
        return {
            "id": getattr(call, "call_id", None),
            "type": "function",
            "function": {"name": name, "arguments": _as_text(arguments or {})},
        }
    raise InvalidValueError(f"a tool call must be a JSON object, not {type(call).__name__}")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _no_session(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")


# -------------------------------------------------------------------------------------------------------- runs, traces


def _make_room(remembered: dict[str, Any]) -> None:
    """Forget the oldest entry when there are too many; other threads may add and remove some meanwhile."""
    if len(remembered) >= _STARTS:
        remembered.pop(next(iter(list(remembered)), ""), None)


def _without(record: DbRun | DbTrace, *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.to_dict().items() if name not in names}


def _run(session_id: str, run_id: str) -> dict[str, Any]:
    return _without(DbRun(run_id, session_id), "agent_name", "messages", "tool_calls")


def _run_of(value: dict[str, Any]) -> DbRun:
    run = DbRun.from_dict(value)
    metadata: Any = run.metadata
    name = metadata.get("agent_name") if isinstance(metadata, dict) else None
    return replace(run, agent_name=name) if isinstance(name, str) and not run.agent_name else run


# -------------------------------------------------------------------------------------------------------------- import


class _Document:
    """A document of an export, checked.

    Attributes:
        session: as it is to be stored.
        messages: in order.
        records: runs, traces and spans, by their keys.
        spans: keys of hashes, and their fields.
    """

    def __init__(self, data: Any) -> None:
        document = _object(data, "the document")
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
            run = _run_of(named)
            self._add(run_key(row.session_id, run.run_id), run.to_dict(), f"run {number}")
        for number, item in _items(document, "traces"):
            what = f"trace {number}"
            trace = DbTrace.from_dict(_named(item, what, "trace_id"))
            value = {**_without(trace, "spans"), "session_id": row.session_id}
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
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list | tuple):
        raise InvalidValueError(f"{name} must be a list, not {type(found).__name__}")
    return [(number, _object(item, f"{name}[{number}]")) for number, item in enumerate(found)]


def _named(data: Mapping[str, Any], what: str, name: str) -> dict[str, Any]:
    if not isinstance(data.get(name), str):
        raise InvalidValueError(f"{what} lacks its {name}")
    return dict(data)


def _number(value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidValueError(f"{what} must be a number of seconds, not {type(value).__name__}")


def _version(value: Any, what: str) -> int | None:
    if value is None:
        return None
    try:
        return int(str(value).partition(".")[0])
    except ValueError:
        raise InvalidValueError(f"{what} must be a version as get_schema_version() writes it") from None
