"""Conversation stores over steps."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import cache

from praisonai_persistence._ids import new_id
from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
from praisonai_persistence.errors import InvalidValueError
from praisonai_persistence.payload import (
    MAX_BYTES,
    check_bound,
    check_count,
    check_id,
    check_many,
    check_optional_id,
    encode_message,
    encode_messages,
    encode_session,
    plain,
)
from praisonai_persistence.steps import done, reads
from praisonai_persistence.stores.runners import AsyncStepStore, StepStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence
    from typing import Any, ClassVar

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.whole_session import WholeSession, page_of, search_in

__all__ = [
    "AsyncStepConversationStore",
    "ConversationSteps",
    "Selection",
    "StepConversationStore",
    "WholeSession",
    "page_of",
    "query_words",
    "search_in",
    "word_pattern",
]


_ALL = 1_000_000  # messages: more than a search ever finds
_MOST_WORDS = 10_000  # of one query: engines plan for each word, some in more than linear time


def query_words(query: str) -> list[str]:
    """Return the words of a full-text query: runs of letters and digits, in lower case, each once, in order."""
    return list(dict.fromkeys(word_pattern().findall(query.lower())))


@cache
def word_pattern() -> re.Pattern[str]:
    """Return the pattern of a word in lower-case text."""
    import re  # for who searches

    return re.compile(r"[^\W_]+")


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


class ConversationSteps(ABC):
    """The operations of a conversation engine, as generators marked ``@reads`` or ``@writes``.

    Arguments are checked and encoded; results are finished records. The clauses that a method has to keep stand in
    ``ConversationStore``. ``now`` is the caller's clock in Unix seconds; ``updated_at`` becomes
    ``payload.next_updated_at(stored, now)``.
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
    def sessions_with(self, words: Sequence[str]) -> Steps[list[str]]:
        """Return the ids of the sessions with such messages, and perhaps of others: what finds no content."""
        found = yield from self.search_messages(words, None, _ALL)
        return list(dict.fromkeys(message.session_id for message in found))

    index_pause: ClassVar[float] = 0.0
    """Seconds between two steps of ``update_index``, for engines whose writers would not get a turn without.

    After a long step it is a quarter of the time that the step took: on a busy machine those who wait are late, too.
    """

    @reads
    def update_index(self, user_id: str | None, place: Any) -> Steps[Any]:
        """Add some of what the full-text index lacks (of this user's sessions).

        For engines whose appends do not pay for the index: done before every search, until the index lacks nothing
        that was there when the search began. A step is a transaction. It is short, whatever there is to index: other
        writers wait for it. So it stops after so many messages and so many characters, also within a message.

        Args:
            user_id: whose sessions are searched; None: everybody's.
            place: what the step before returned; None: this is the first step of a search.

        Returns:
            Where to go on, as the engine pleases; None: it lacks nothing.
        """
        return done(None)

    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        """Copy. Only for stores that declare ``fork``."""
        raise NotImplementedError

    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        """Delete messages, append others, and update the session, or create it if ``version`` is 0; all at once.

        Only for stores that declare ``rewrite``.
        """
        raise NotImplementedError


class _Declared:
    """What both modes declare."""

    max_message_bytes: ClassVar[int] = MAX_BYTES
    """Largest message or session, in bytes of UTF-8."""


class StepConversationStore(_Declared, StepStore[ConversationSteps], ConversationStore):
    """A conversation store made of steps and a runner.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

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
        session_id = check_id(session_id)
        row = encode_message(session_id, message, self.max_message_bytes)
        return self._runner.run(self._steps.add_message, session_id, row, time.time())

    def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        session_id = check_id(session_id)
        rows = encode_messages(session_id, messages, self.max_message_bytes)
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
        session_id = check_id(session_id)
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
        self._index(user)
        return self._runner.run(self._steps.search_messages, words, user, most)

    def _sessions_with(self, query: str) -> list[str]:
        """Return the ids of the sessions that a search has to look at; only for stores that declare ``search``."""
        words, _, _ = _search(query, None, _ALL)
        self._index(None)
        return self._runner.run(self._steps.sessions_with, words) if words else []

    def _index(self, user: str | None) -> None:
        """Bring the full-text index up to date."""
        start = time.monotonic()
        place = self._runner.run(self._steps.update_index, user, None)
        while place is not None:
            time.sleep(_pause(self._steps, start))
            start = time.monotonic()
            place = self._runner.run(self._steps.update_index, user, place)

    def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        if "fork" not in self.capabilities:
            return super().fork_session(session_id, up_to_seq, new_session_id)
        return self._runner.run(self._steps.fork_session, *_fork(session_id, up_to_seq, new_session_id), time.time())

    def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        if "rewrite" not in self.capabilities:
            return super().rewrite_session(session, messages, expected_version=expected_version, remove=remove)
        change = _rewrite(session, messages, expected_version, remove, self.max_message_bytes)
        return self._runner.run(self._steps.rewrite_session, *change, time.time())

    def _nothing(self) -> list[Any]:
        self._runner.connect()  # a closed store says so, also when there is nothing to ask the engine
        return []


class AsyncStepConversationStore(_Declared, AsyncStepStore[ConversationSteps], AsyncConversationStore):
    """[StepConversationStore][] for async callers.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

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
        session_id = check_id(session_id)
        row = encode_message(session_id, message, self.max_message_bytes)
        return await self._runner.run(self._steps.add_message, session_id, row, time.time())

    async def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        session_id = check_id(session_id)
        rows = encode_messages(session_id, messages, self.max_message_bytes)
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
        session_id = check_id(session_id)
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
        start = time.monotonic()
        place = await self._runner.run(self._steps.update_index, user, None)
        while place is not None:
            import asyncio  # a running loop has it loaded

            await asyncio.sleep(_pause(self._steps, start))
            start = time.monotonic()
            place = await self._runner.run(self._steps.update_index, user, place)
        return await self._runner.run(self._steps.search_messages, words, user, most)

    async def fork_session(
        self, session_id: str, up_to_seq: int | None = None, new_session_id: str | None = None
    ) -> ConversationSession:
        if "fork" not in self.capabilities:
            return await super().fork_session(session_id, up_to_seq, new_session_id)
        fork = _fork(session_id, up_to_seq, new_session_id)
        return await self._runner.run(self._steps.fork_session, *fork, time.time())

    async def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        if "rewrite" not in self.capabilities:
            return await super().rewrite_session(session, messages, expected_version=expected_version, remove=remove)
        change = _rewrite(session, messages, expected_version, remove, self.max_message_bytes)
        return await self._runner.run(self._steps.rewrite_session, *change, time.time())

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
    query = plain(query)
    if not isinstance(query, str):
        raise InvalidValueError(f"query must be text, not {type(query).__name__}")
    words = query_words(query)
    if len(words) > _MOST_WORDS:
        raise InvalidValueError(
            f"the query has {len(words)} different words; at most {_MOST_WORDS} can be searched for"
        )
    return words, check_optional_id(user_id, "user_id"), check_count(limit, "limit")


def _pause(steps: ConversationSteps, start: float) -> float:
    """Return how many seconds to wait after a step of the index that began at that time."""
    least = steps.index_pause
    return least and max(least, (time.monotonic() - start) / 4)


def _fork(session_id: Any, up_to_seq: Any, new_session_id: Any) -> tuple[str, int | None, str]:
    new = new_id() if new_session_id is None else check_id(new_session_id, "new_session_id")
    return check_id(session_id), check_bound(up_to_seq, "up_to_seq", int), new


def _rewrite(
    session: ConversationSession, messages: Any, version: Any, remove: Any, max_bytes: int
) -> tuple[SessionRow, Sequence[MessageRow], int, list[str]]:
    row = encode_session(session, max_bytes)
    rows = encode_messages(row.session_id, messages, max_bytes)
    return row, rows, check_count(version, "expected_version"), _ids(remove) or []


def __getattr__(name: str) -> Any:
    if name not in {"WholeSession", "page_of", "search_in"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from praisonai_persistence.stores import whole_session

    return getattr(whole_session, name)
