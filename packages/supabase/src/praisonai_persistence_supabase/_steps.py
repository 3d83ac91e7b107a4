"""Conversations by functions in the database: each operation is one request."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence._declare import NamedTuple
from praisonai_persistence.errors import (
    ConflictError,
    ConnectionFailedError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.payload import (
    MessageRow,
    SessionRow,
    decode_messages,
    decode_session,
    match_stored,
)
from praisonai_persistence.steps import Pause, reads, writes
from praisonai_persistence.stores import ConversationSteps
from praisonai_persistence.stores.searching import Budget, has_words
from praisonai_persistence_sql import tsvector
from praisonai_persistence_supabase._schema import EACH, function_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.conversation import Selection

__all__ = ["AsleepError", "Call", "SupabaseConversationSteps", "again"]

_MOST = 2**53
"""Numbers up to which every part of the way keeps integers exact; there are never as many messages or sessions."""
_CHARACTERS, _ITEMS = 1_000_000, 500  # of content, and messages and sessions, that one request reads or indexes
_OF_SESSION = ("session_id", "user_id", "agent_id", "name", "state", "metadata", "created_at", "updated_at")


class Call(NamedTuple):
    """A request: a call of a function."""

    function: str
    arguments: dict[str, Any]
    safe: bool
    """Whether it may be done twice, if nobody knows whether it was done."""


class AsleepError(ConnectionFailedError):
    """The service is not ready, or a connection broke.

    Args:
        message: for the caller.
        nothing_done: whether it is certain that nothing was done.
        at_once: whether there is no reason to wait before the next attempt, of which there is one.
    """

    def __init__(self, message: str, *, nothing_done: bool, at_once: bool = False) -> None:
        super().__init__(message)
        self.nothing_done = nothing_done
        self.at_once = at_once


def again(call: Call, attempts: int, delay: float, seconds: float) -> Steps[Any]:
    """Make a request, and return its answer; again as long as the service is not ready.

    Args:
        call: the request.
        attempts: how many more there are at the most, after a wait.
        delay: seconds to wait before each.
        seconds: for how long at the most.
    """
    end = time.monotonic() + seconds
    at_once = 1
    while True:
        try:
            return (yield call)
        except AsleepError as error:
            failed = error
        if not (call.safe or failed.nothing_done):
            raise failed
        if failed.at_once:
            at_once -= 1
            if at_once < 0:
                raise failed
            continue
        attempts -= 1
        if attempts < 0 or time.monotonic() + delay > end:
            raise failed
        yield Pause(delay)


class SupabaseConversationSteps(ConversationSteps):
    """Conversations in Supabase.

    Args:
        prefix: the ``table_prefix``.
        max_retries: how often a request is made again while the service is not ready.
        retry_delay: seconds to wait before that.
        timeout: seconds for all attempts together.
    """

    def __init__(self, prefix: str, max_retries: int, retry_delay: float, timeout: float) -> None:
        self._prefix = prefix
        self._patience = max_retries, retry_delay, timeout

    def _call(self, name: str, safe: bool = False, /, **arguments: Any) -> Steps[Any]:
        named = {f"p_{key}": value for key, value in arguments.items()}
        return again(Call(function_of(self._prefix, name), named, safe), *self._patience)

    # ------------------------------------------------------------------------------------------------------- sessions

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        if not (yield from self._call("create_session", **_session_given(row))):
            raise _exists(row.session_id)
        return decode_session(row)

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        found = yield from self._call("get_session", True, session_id=session_id)
        return None if found is None else _session(found)

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        expected = None if expected_version is None else _exact(expected_version)
        given = dict(zip(_OF_SESSION, row[:6], strict=False))
        found = yield from self._call("update_session", **given, expected=expected, now=now)
        return _updated(row, found, expected_version)

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        found = yield from self._call("upsert_session", **_session_given(row), now=now)
        return _updated(row, found, None)

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        return bool((yield from self._call("delete_session", session_id=session_id)))

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        where = {"user_id": user_id, "agent_id": agent_id, "limit": _exact(limit), "offset": _exact(offset)}
        return [_session(found) for found in (yield from self._call("list_sessions", True, **where))]

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        up_to = None if up_to_seq is None else _exact(up_to_seq)
        found = yield from self._call(
            "fork_session", session_id=session_id, up_to=up_to, new_id=new_session_id, now=now
        )
        if found is None:
            raise _absent(session_id)
        if not found:
            raise _exists(new_session_id)
        return _session(found)

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        new = _once(rows)
        same: list[str] = []
        while True:
            given = {**_session_given(row), **_messages_given(new), "version": _exact(version), "remove": list(ids)}
            found = yield from self._call("rewrite_session", **given, same=same, now=now)
            if "session" in found:
                return _session(found["session"])
            if "exists" in found:
                raise _exists(row.session_id)
            if "version" in found:
                raise _absent(row.session_id) if found["version"] is None else _conflict(row, found["version"], version)
            same += _compare(new, found["differ"])

    # ------------------------------------------------------------------------------------------------------- messages

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        new = _once(rows)
        same: list[str] = []
        while True:
            given = {"session_id": session_id, **_messages_given(new), "same": same, "now": now}
            found = yield from self._call("add_messages", True, **given)
            if found is None:
                raise _absent(session_id)
            last, there, done = found
            stored = {item[0]: item for item in there or ()}
            if done:
                break
            same += _compare(new, there)
        for row in new:
            if row.id not in stored:
                last += 1
                stored[row.id] = (*row[:7], last)
        return _messages(session_id, [stored[row.id] for row in rows])

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        where = {"before": selection.before, "after": selection.after}
        for name in ("before_seq", "after_seq", "limit"):
            value = getattr(selection, name)
            where[name] = None if value is None else _exact(value)
        return _messages(session_id, (yield from self._call("get_messages", True, session_id=session_id, **where)))

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        some = None if ids is None else list(ids)
        return int((yield from self._call("delete_messages", session_id=session_id, ids=some, now=now)))

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        return int((yield from self._call("count_messages", True, session_id=session_id)))

    # --------------------------------------------------------------------------------------------------------- search

    @writes
    def update_index(self, user_id: str | None, place: Any) -> Steps[Any]:
        """See [ConversationSteps.update_index][]; a place is where to go on listing (None: not), and what is left."""
        after, left = place or ("", [])
        if not left:
            limits = {"characters": _CHARACTERS, "items": _ITEMS}
            found = yield from self._call("search_behind", True, user_id=user_id, after=after, **limits)
            before, after, left = after, found["after"], [_Behind(*session) for session in found["sessions"]]
        else:
            before = ""
        if not left:
            return None
        words, left = _words(left)
        if not (yield from self._call("search_add", True, sessions=json.dumps(words))):
            return before, []  # what others were faster with, or have changed, is read again
        return None if after is None and not left else (after, left)

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        given = {"query": tsvector.query_of(words), "user_id": user_id, "limit": _exact(limit)}
        found: list[ConversationMessage] = []
        offset = 0
        while True:
            rows = yield from self._call("search_messages", True, **given, offset=offset)
            for row in rows:
                if has_words(row[3], words):
                    found += _messages(row[0], (row[1:],))
            offset += limit
            if len(found) >= limit or len(rows) < limit:
                return found[:limit]


class _Behind:
    """A session that the full-text index lacks a part of.

    Args:
        session_id: its id.
        up_to: the number up to which it is indexed.
        start: of the next message, up to where.
        part: and up to which part.
        last: up to which number ``messages`` has all.
        messages: number, content and digest of each.
    """

    def __init__(
        self, session_id: str, up_to: int, start: int, part: int, last: int, messages: list[Sequence[Any]]
    ) -> None:
        self.session_id = session_id
        self.done = up_to, start, part
        self.last = last
        self.messages = messages[::-1]

    def words(self, budget: Budget) -> list[Any]:
        """Return what the index gets of it, as far as the budget goes."""
        before, rows = self.done, []
        up_to, start, part = before
        while self.messages and not budget.spent():
            seq, content, digest = self.messages[-1]
            if seq != up_to + 1:
                start = part = 0  # a number that is missing belongs to a message that was deleted
            text, end = tsvector.lexemes_of_part(content or "", start)
            if text:
                rows.append([seq, part, digest, text])
            budget.spend((end or len(content or "")) - start)
            up_to, start, part = (seq, 0, 0) if end is None else (seq - 1, end, part + 1)
            if end is None:
                self.messages.pop()
        self.done = (up_to, start, part) if self.messages else (self.last, 0, 0)
        return [self.session_id, *before, *self.done, rows]


def _words(behind: list[_Behind]) -> tuple[list[Any], list[_Behind]]:
    """Return what the index gets of sessions in one request, and what is left of them."""
    budget, words = Budget(_CHARACTERS, _ITEMS), []
    for number, session in enumerate(behind):
        words.append(session.words(budget))
        if budget.spent():
            return words, behind[number + (not session.messages) :]
        budget.spend()
    return words, []


def _exact(number: int) -> int:
    return max(-_MOST, min(number, _MOST))


def _once(rows: Iterable[MessageRow]) -> list[MessageRow]:
    """Return the rows without repetitions of an id."""
    first: dict[str, MessageRow] = {}
    for row in rows:
        first.setdefault(row.id, row)
    return list(first.values())


def _session_given(row: SessionRow) -> dict[str, Any]:
    return dict(zip(_OF_SESSION, row, strict=False))


def _messages_given(rows: Sequence[MessageRow]) -> dict[str, Any]:
    return {name: [row[index] for row in rows] for index, name in enumerate(EACH)}


def _compare(rows: Iterable[MessageRow], there: Iterable[Sequence[Any]]) -> list[str]:
    """Return the ids of messages that are there already, and equal.

    Raises:
        DuplicateMessageError: one is not equal.
    """
    given = {row.id: row for row in rows}
    for stored in there:
        match_stored(stored, given[stored[0]])
    return [stored[0] for stored in there]


def _session(found: Sequence[Any]) -> ConversationSession:
    # A float that is a whole number is written without a fraction, and read as an integer.
    return decode_session((*found[:6], float(found[6]), float(found[7]), found[8]))


def _messages(session_id: str, rows: Iterable[Sequence[Any]]) -> list[ConversationMessage]:
    return decode_messages(session_id, ((*row[:6], float(row[6]), row[7]) for row in rows))


def _updated(row: SessionRow, found: Sequence[Any] | None, expected: int | None) -> ConversationSession:
    if found is None:
        raise _absent(row.session_id)
    if len(found) == 1:
        raise _conflict(row, found[0], expected)
    created_at, updated_at, version = found
    return decode_session(row._replace(created_at=float(created_at), updated_at=float(updated_at), version=version))


def _absent(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")


def _exists(session_id: str) -> SessionExistsError:
    return SessionExistsError(f"session {session_id!r} exists already")


def _conflict(row: SessionRow, version: int, expected: int | None) -> ConflictError:
    return ConflictError(f"session {row.session_id!r} has version {version}, not {expected}: read it again")
