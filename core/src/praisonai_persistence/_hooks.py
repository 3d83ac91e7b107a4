"""What an agent's adapter does, as steps that ask stores for something.

``adapter`` makes of each operation a sync and an async method.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence._custom import refuses_unknown_sessions
from praisonai_persistence._exported import ExportedSession
from praisonai_persistence._requests import KINDS, Has, StoreCall, conversation, state
from praisonai_persistence._resume import made_up_call, resumable
from praisonai_persistence._run_hooks import RunHooks, make_room
from praisonai_persistence._run_records import as_json
from praisonai_persistence.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    SchemaError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.records import ConversationMessage, ConversationSession, text_of

if TYPE_CHECKING:
    from praisonai_persistence.runs import DbMessage
    from praisonai_persistence.schema import SchemaChange, SchemaStatus
    from praisonai_persistence.steps import Steps

__all__ = ["Hooks"]


class Hooks(RunHooks):
    """The operations. Arguments are those of PraisonAI's adapter protocol, more by keyword.

    Args:
        history_limit: how many of the latest messages a resumed session gets; None: all.
    """

    def __init__(self, history_limit: int | None = None) -> None:
        super().__init__()
        self._history_limit = None if history_limit is None else payload.check_count(history_limit, "history_limit")
        # Sessions whose start could not be stored: the first message that can be will make up for it.
        self._starts: dict[str, ConversationSession] = {}

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
        make_room(self._starts)
        self._starts[session_id] = session
        yield from self._ensure(session)
        self._starts.pop(session_id, None)
        limit = self._history_limit
        messages: list[ConversationMessage] = yield conversation("get_messages", session_id, limit=limit)
        return resumable(messages, cut=limit is not None and len(messages) == limit)

    def on_user_message(
        self,
        session_id: str,
        content: str | list[Any] | None,
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
        content: str | list[Any] | None,
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
        content: str | list[Any] | None,
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
        content: str | list[Any] | None,
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

        A result that is not text is stored as JSON. What in it is not JSON, such as a decimal number or a time, stands
        there as its text, as in the metrics of runs. See ``on_user_message``.
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

    def aon_tool_call(
        self,
        session_id: str,
        tool_name: str,
        arguments: Mapping[str, Any] | None = None,
        result: Any = None,
        metadata: dict[str, Any] | None = None,
        *,
        args: Mapping[str, Any] | None = None,
        message_id: str | None = None,
    ) -> Steps[None]:
        """Do the same as ``on_tool_call``, whose ``args`` are ``arguments`` here, as in PraisonAI; or ``args``, too.

        Raises:
            ConfigurationError: both are given.
        """
        if args is not None and arguments is not None:
            raise ConfigurationError("arguments and args are two names of the same; give one")
        given = arguments if args is None else args
        yield from self.on_tool_call(session_id, tool_name, given, result, metadata, message_id=message_id)

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
        content: str | list[Any] | None,
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
            if not (yield Has("conversation", test=refuses_unknown_sessions)) and (
                (yield conversation("get_session", session_id)) is None
            ):
                raise _no_session(session_id)
            stored = yield append
        except SessionNotFoundError:
            session = self._starts.get(session_id, ConversationSession(session_id))
            # In one step, where the store can: what is interrupted leaves no session without its messages.
            with suppress(SessionExistsError):  # meanwhile
                yield conversation("rewrite_session", session, messages, expected_version=0)
            self._starts.pop(session_id, None)
            stored = yield append  # which returns what is stored, with its numbers
        return stored

    def _claim(self, session_id: str, content: str | list[Any] | None) -> str | None:
        """Return the id that this message has if it was made up for already, or would have; None for another one."""
        inputs = self._inputs.get(session_id)
        if not inputs:
            return None
        for run_id, given in list(inputs.items()):
            if given.text == text_of(content):
                inputs.pop(run_id, None)
                return given.message_id
        inputs.pop(next(iter(list(inputs)), ""), None)  # the agent stores it in other words
        return None

    def _make_up_for_inputs(self, session_id: str) -> Steps[None]:
        for given in list(self._inputs.get(session_id, {}).values()):
            if given.stored:
                continue
            latest: list[ConversationMessage] = yield conversation("get_messages", session_id, limit=1)
            if not (latest and (latest[0].role, text_of(latest[0].content)) == ("user", given.text)):
                yield from self._append(session_id, [_message(session_id, given.message_id, "user", given.text, None)])
            given.stored = True

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
        document = ExportedSession(data)
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

    def _continues(self, document: ExportedSession) -> Steps[None]:
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
                raise SchemaError(
                    f"the tables of the conversations have version {status.version}, not {before}: "
                    f"'praisonai-persistence status' shows where tables stand"
                )
            change: SchemaChange = yield StoreCall(kind, "migrate_schema", (target,))
            if change.after != (status.latest if target is None else target):
                return False
        return True

    def _status(self, kind: str) -> Steps[SchemaStatus | None]:
        if not (yield Has(kind, "schema")):
            return None
        status: SchemaStatus = yield StoreCall(kind, "schema_status")
        return status


# ------------------------------------------------------------------------------------------------------------ messages


def _message_id(message_id: str | None, metadata: Mapping[str, Any] | None) -> str:
    given = message_id if message_id is not None else (metadata or {}).get("message_id")
    return str(uuid.uuid4()) if given is None else payload.check_id(given, "message_id")


def _message(
    session_id: str,
    id_: str,
    role: str,
    content: str | list[Any] | None,
    metadata: dict[str, Any] | None,
    **fields: Any,
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
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps(as_json(value), ensure_ascii=False)


def _no_session(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")


def _version(value: Any, what: str) -> int | None:
    if value is None:
        return None
    try:
        return int(str(value).partition(".")[0])
    except ValueError:
        raise InvalidValueError(f"{what} must be a version as get_schema_version() writes it") from None
