"""Conversation stores over steps."""

from __future__ import annotations

import bisect
import re
import time
import uuid
from abc import ABC, abstractmethod
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
from praisonai_persistence.errors import ConflictError, InvalidValueError
from praisonai_persistence.payload import (
    MAX_BYTES,
    check_bound,
    check_count,
    check_id,
    check_many,
    check_optional_id,
    decode_message,
    decode_session,
    decode_text,
    encode_message,
    encode_messages,
    encode_session,
    match_stored,
    raised,
)
from praisonai_persistence.steps import done, reads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.runners import AsyncRunner, Runner

__all__ = [
    "AsyncStepConversationStore",
    "ConversationSteps",
    "Selection",
    "StepConversationStore",
    "WholeSession",
    "page_of",
    "query_words",
    "search_in",
]

_WORD = re.compile(r"[^\W_]+")


def query_words(query: str) -> list[str]:
    """Return the words of a full-text query: runs of letters and digits, in lower case, each once, in order."""
    return list(dict.fromkeys(_WORD.findall(query.lower())))


class Selection:
    """Which messages ``get_messages`` wants; arguments as there, checked.

    Raises:
        InvalidValueError: one of them cannot be.
    """

    __slots__ = ("after", "after_seq", "before", "before_seq", "limit")

    def __init__(
        self,
        limit: int | None,
        before: float | None,
        after: float | None,
        before_seq: int | None,
        after_seq: int | None,
    ) -> None:
        self.limit = None if limit is None else check_count(limit, "limit")
        self.before = None if before is None else check_bound(before, "before")
        self.after = None if after is None else check_bound(after, "after")
        self.before_seq = None if before_seq is None else check_bound(before_seq, "before_seq", int)
        self.after_seq = None if after_seq is None else check_bound(after_seq, "after_seq", int)

    def pick(self, newest_first: Iterable[MessageRow]) -> list[MessageRow]:
        """Return what is selected, oldest first, of rows that come newest first; reads no more of them than it must."""
        found: list[MessageRow] = []
        for row in newest_first:
            if self.after_seq is not None and row.seq <= self.after_seq:
                break
            if self.before_seq is not None and row.seq >= self.before_seq:
                continue
            if self.before is not None and row.created_at >= self.before:
                continue
            if self.after is not None and row.created_at <= self.after:
                continue
            found.append(row)
            if len(found) == self.limit:
                break
        found.reverse()
        return found


_seq = attrgetter("seq")


class WholeSession:
    """A session and its messages in memory: the contract, for engines that hold or write a session as a whole.

    The caller does the locking. Methods that raise have changed nothing.

    Args:
        row: the session.
        messages: in seq order.
        last_seq: the highest seq that was ever given; by default that of the last message.
    """

    __slots__ = ("by_id", "last_seq", "messages", "row")

    def __init__(self, row: SessionRow, messages: Sequence[MessageRow] = (), last_seq: int | None = None) -> None:
        self.row = row
        self.messages = list(messages)
        self.by_id = {message.id: message for message in messages}
        self.last_seq = last_seq if last_seq is not None else messages[-1].seq if messages else 0

    def update(self, row: SessionRow, expected_version: int | None, now: float) -> None:
        """See ``update_session``."""
        old = self.row
        if expected_version is not None and old.version != expected_version:
            raise ConflictError(
                f"session {row.session_id!r} has version {old.version}, not {expected_version}: read it again"
            )
        self.row = row._replace(
            created_at=old.created_at, updated_at=raised(old.updated_at, now), version=old.version + 1
        )

    def append(self, rows: Sequence[MessageRow], now: float) -> list[MessageRow]:
        """See ``add_messages``; return the stored rows. ``last_seq`` tells whether there was anything new."""
        by_id = self._by_id()
        for row in rows:
            if row.id in by_id:
                match_stored(by_id[row.id], row)
        new: dict[str, MessageRow] = {}
        last_seq = self.last_seq
        for row in rows:
            if row.id not in by_id and row.id not in new:
                last_seq += 1
                new[row.id] = row._replace(seq=last_seq)
        if new:
            added, touched = list(new.values()), self._touched(now)
            # All of it in one step: no signal handler can raise before the last call has ended.
            self.last_seq = last_seq
            self.row = touched
            self.messages.extend(added)
            by_id.update(new)
        return [by_id[row.id] for row in rows]

    def _by_id(self) -> dict[str, MessageRow]:
        if len(self.by_id) != len(self.messages):  # a call was interrupted when the messages were there already
            self.by_id = {row.id: row for row in self.messages}
        return self.by_id

    def select(self, selection: Selection) -> list[MessageRow]:
        """See ``get_messages``. What lies at or after ``before_seq`` is not even looked at."""
        end = len(self.messages)
        if selection.before_seq is not None:
            end = bisect.bisect_left(self.messages, selection.before_seq, key=_seq)
        return selection.pick(self.messages[index] for index in range(end - 1, -1, -1))

    def delete(self, ids: Sequence[str] | None, now: float) -> int:
        """See ``delete_messages``."""
        by_id = self._by_id()
        gone = set(by_id) if ids is None else by_id.keys() & set(ids)
        if gone:
            kept, touched = [row for row in self.messages if row.id not in gone], self._touched(now)
            left = {row.id: row for row in kept}
            self.messages, self.by_id, self.row = kept, left, touched
        return len(gone)

    def fork(self, up_to_seq: int | None, new_session_id: str, now: float) -> WholeSession:
        """See ``fork_session``."""
        return WholeSession(
            self.row._replace(session_id=new_session_id, created_at=now, updated_at=now, version=1),
            [row for row in self.messages if up_to_seq is None or row.seq <= up_to_seq],
        )

    def _touched(self, now: float) -> SessionRow:
        return self.row._replace(updated_at=raised(self.row.updated_at, now))


def page_of(
    rows: Iterable[SessionRow], user_id: str | None, agent_id: str | None, limit: int, offset: int
) -> list[ConversationSession]:
    """Do ``list_sessions`` on the rows of all sessions."""
    found = (
        row
        for row in rows
        if (user_id is None or row.user_id == user_id) and (agent_id is None or row.agent_id == agent_id)
    )
    newest = nsmallest(offset + limit, found, lambda row: (-row.updated_at, row.session_id))
    return [decode_session(row) for row in newest[offset:]]


def search_in(
    sessions: Iterable[WholeSession], words: Sequence[str], user_id: str | None, limit: int
) -> list[ConversationMessage]:
    """Do ``search_messages`` on all sessions."""
    wanted = set(words)
    found = [
        decode_message(session.row.session_id, row)
        for session in sessions
        if user_id is None or session.row.user_id == user_id
        for row in session.messages
        if row.content is not None and wanted.issubset(query_words(decode_text(row.content)))
    ]
    found.sort(key=lambda message: (-message.created_at, message.session_id, -message.seq))
    return found[:limit]


class ConversationSteps(ABC):
    """The operations of a conversation engine, as generators marked ``@reads`` or ``@writes``.

    Arguments are checked and encoded; results are finished records. The clauses that a method has to keep stand in
    ``ConversationStore``. ``now`` is the caller's clock in Unix seconds; ``updated_at`` becomes
    ``payload.raised(stored, now)``.
    """

    @abstractmethod
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        """Insert, or raise ``SessionExistsError``."""

    @abstractmethod
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        """Read one session."""

    @abstractmethod
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        """Replace the five fields; raise ``SessionNotFoundError`` or ``ConflictError``."""

    @abstractmethod
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        """Create or update, atomically."""

    @abstractmethod
    def delete_session(self, session_id: str) -> Steps[bool]:
        """Remove the session and its messages."""

    @abstractmethod
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        """Read a page; ``limit`` is above 0."""

    @abstractmethod
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        """Append one message; ``payload.match_stored`` decides about an id that is there already."""

    @abstractmethod
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        """Append a batch of one or more, all or none; an id may stand in it twice, for equal messages."""

    @abstractmethod
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        """Read messages; ``selection.limit`` is None or above 0."""

    @abstractmethod
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        """Delete those, or all with None; raise ``updated_at`` if any was there."""

    @abstractmethod
    def count_messages(self, session_id: str) -> Steps[int]:
        """Count."""

    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        """Find messages with all of one or more lower-case words. Only for stores that declare ``search``."""
        raise NotImplementedError

    @reads
    def update_index(self, user_id: str | None) -> Steps[bool]:
        """Add some of what the full-text index lacks (of this user's sessions); return whether it may lack more.

        For engines whose appends do not pay for the index: done before every search, until it lacks nothing.
        """
        return done(False)

    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        """Copy. Only for stores that declare ``fork``."""
        raise NotImplementedError


class _Declared:
    """What both colours declare."""

    max_message_bytes: ClassVar[int] = MAX_BYTES
    """Largest message or session, in bytes of UTF-8."""


class StepConversationStore(_Declared, ConversationStore):
    """A conversation store made of steps and a runner.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def __init__(self, steps: ConversationSteps, runner: Runner) -> None:
        self._steps = steps
        self._runner = runner

    def connect(self) -> None:
        self._runner.connect()

    def close(self) -> None:
        self._runner.close()

    def create_session(self, session: ConversationSession) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        return self._runner.run(self._steps.create_session, row)

    def get_session(self, session_id: str) -> ConversationSession | None:
        return self._runner.run(self._steps.get_session, check_id(session_id))

    def update_session(
        self, session: ConversationSession, *, expected_version: int | None = None
    ) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        version = check_bound(expected_version, "expected_version", int)
        return self._runner.run(self._steps.update_session, row, version, time.time())

    def upsert_session(self, session: ConversationSession) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        return self._runner.run(self._steps.upsert_session, row, time.time())

    def delete_session(self, session_id: str) -> bool:
        return self._runner.run(self._steps.delete_session, check_id(session_id))

    def list_sessions(
        self, user_id: str | None = None, agent_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[ConversationSession]:
        page = _page(user_id, agent_id, limit, offset)
        return self._runner.run(self._steps.list_sessions, *page) if page[2] else self._nothing()

    def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        row = encode_message(check_id(session_id), message, self.max_message_bytes)
        return self._runner.run(self._steps.add_message, session_id, row, time.time())

    def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        rows = encode_messages(check_id(session_id), messages, self.max_message_bytes)
        return self._runner.run(self._steps.add_messages, session_id, rows, time.time())

    def get_messages(
        self,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[ConversationMessage]:
        selection = Selection(limit, before, after, before_seq, after_seq)
        check_id(session_id)
        return self._runner.run(self._steps.get_messages, session_id, selection) if limit != 0 else self._nothing()

    def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        ids = _ids(message_ids)
        return self._runner.run(self._steps.delete_messages, check_id(session_id), ids, time.time())

    def count_messages(self, session_id: str) -> int:
        return self._runner.run(self._steps.count_messages, check_id(session_id))

    def search_messages(self, query: str, user_id: str | None = None, limit: int = 20) -> list[ConversationMessage]:
        if "search" not in self.capabilities:
            return super().search_messages(query, user_id, limit)
        words, user, most = _search(query, user_id, limit)
        if not words or not most:
            return self._nothing()
        while self._runner.run(self._steps.update_index, user):
            pass
        return self._runner.run(self._steps.search_messages, words, user, most)

    def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        if "fork" not in self.capabilities:
            return super().fork_session(session_id, up_to_seq, new_session_id)
        return self._runner.run(self._steps.fork_session, *_fork(session_id, up_to_seq, new_session_id), time.time())

    def _nothing(self) -> list[Any]:
        self._runner.connect()  # a closed store says so, also when there is nothing to ask the engine
        return []


class AsyncStepConversationStore(_Declared, AsyncConversationStore):
    """[StepConversationStore][] for async callers.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def __init__(self, steps: ConversationSteps, runner: AsyncRunner) -> None:
        self._steps = steps
        self._runner = runner

    async def connect(self) -> None:
        await self._runner.connect()

    async def close(self) -> None:
        await self._runner.close()

    async def create_session(self, session: ConversationSession) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        return await self._runner.run(self._steps.create_session, row)

    async def get_session(self, session_id: str) -> ConversationSession | None:
        return await self._runner.run(self._steps.get_session, check_id(session_id))

    async def update_session(
        self, session: ConversationSession, *, expected_version: int | None = None
    ) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        version = check_bound(expected_version, "expected_version", int)
        return await self._runner.run(self._steps.update_session, row, version, time.time())

    async def upsert_session(self, session: ConversationSession) -> ConversationSession:
        row = encode_session(session, self.max_message_bytes)
        return await self._runner.run(self._steps.upsert_session, row, time.time())

    async def delete_session(self, session_id: str) -> bool:
        return await self._runner.run(self._steps.delete_session, check_id(session_id))

    async def list_sessions(
        self, user_id: str | None = None, agent_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[ConversationSession]:
        page = _page(user_id, agent_id, limit, offset)
        return await self._runner.run(self._steps.list_sessions, *page) if page[2] else await self._nothing()

    async def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        row = encode_message(check_id(session_id), message, self.max_message_bytes)
        return await self._runner.run(self._steps.add_message, session_id, row, time.time())

    async def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        rows = encode_messages(check_id(session_id), messages, self.max_message_bytes)
        return await self._runner.run(self._steps.add_messages, session_id, rows, time.time())

    async def get_messages(
        self,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[ConversationMessage]:
        selection = Selection(limit, before, after, before_seq, after_seq)
        check_id(session_id)
        if limit == 0:
            return await self._nothing()
        return await self._runner.run(self._steps.get_messages, session_id, selection)

    async def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        ids = _ids(message_ids)
        return await self._runner.run(self._steps.delete_messages, check_id(session_id), ids, time.time())

    async def count_messages(self, session_id: str) -> int:
        return await self._runner.run(self._steps.count_messages, check_id(session_id))

    async def search_messages(
        self, query: str, user_id: str | None = None, limit: int = 20
    ) -> list[ConversationMessage]:
        if "search" not in self.capabilities:
            return await super().search_messages(query, user_id, limit)
        words, user, most = _search(query, user_id, limit)
        if not words or not most:
            return await self._nothing()
        while await self._runner.run(self._steps.update_index, user):
            pass
        return await self._runner.run(self._steps.search_messages, words, user, most)

    async def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        if "fork" not in self.capabilities:
            return await super().fork_session(session_id, up_to_seq, new_session_id)
        fork = _fork(session_id, up_to_seq, new_session_id)
        return await self._runner.run(self._steps.fork_session, *fork, time.time())

    async def _nothing(self) -> list[Any]:
        await self._runner.connect()
        return []


def _page(user_id: Any, agent_id: Any, limit: Any, offset: Any) -> tuple[str | None, str | None, int, int]:
    return (
        check_optional_id(user_id, "user_id"),
        check_optional_id(agent_id, "agent_id"),
        check_count(limit, "limit"),
        check_count(offset, "offset"),
    )


def _ids(message_ids: Sequence[str] | None) -> list[str] | None:
    if message_ids is None:
        return None
    return list(dict.fromkeys(check_id(item, "message id") for item in check_many(message_ids, "message_ids")))


def _search(query: Any, user_id: Any, limit: Any) -> tuple[list[str], str | None, int]:
    if not isinstance(query, str):
        raise InvalidValueError(f"query must be text, not {type(query).__name__}")
    return query_words(query), check_optional_id(user_id, "user_id"), check_count(limit, "limit")


def _fork(session_id: Any, up_to_seq: Any, new_session_id: Any) -> tuple[str, int | None, str]:
    new = str(uuid.uuid4()) if new_session_id is None else check_id(new_session_id, "new_session_id")
    return check_id(session_id), check_bound(up_to_seq, "up_to_seq", int), new
