"""Conversations in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.errors import SessionExistsError, SessionNotFoundError
from praisonai_persistence.memory._data import AsyncDirectRunner, Data, open_data
from praisonai_persistence.payload import MessageRow, SessionRow, check_prefix, decode_messages, decode_session
from praisonai_persistence.steps import Steps, done, reads, writes
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    ConversationSteps,
    DirectRunner,
    StepConversationStore,
)
from praisonai_persistence.stores.conversation import Selection, WholeSession, page_of, search_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["AsyncMemoryConversationStore", "MemoryConversationSteps", "MemoryConversationStore"]


class Sessions(dict[str, WholeSession]):
    def need(self, session_id: str) -> WholeSession:
        if session_id not in self:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return self[session_id]


class MemoryConversationSteps(ConversationSteps):
    """The reference of the conversation contract: a dict of ``WholeSession`` under a lock."""

    def __init__(self, data: Data, prefix: str) -> None:
        self._data = data
        self._sessions = data.table(Sessions, prefix)

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        session = WholeSession(row)
        with self._data.lock:
            if self._sessions.setdefault(row.session_id, session) is not session:
                raise SessionExistsError(f"session {row.session_id!r} exists already")
        return done(decode_session(row))

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        session = self._sessions.get(session_id)
        return done(None if session is None else decode_session(session.row))

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        with self._data.lock:
            stored = self._sessions.need(row.session_id).update(row, expected_version, now)
        return done(decode_session(stored))

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        new = WholeSession(row)
        with self._data.lock:
            session = self._sessions.setdefault(row.session_id, new)
            stored = row if session is new else session.update(row, None, now)
        return done(decode_session(stored))

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        with self._data.lock:
            answer = self._sessions.pop(session_id, None) is not None
        return done(answer)

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        with self._data.lock:
            rows = [session.row for session in list(self._sessions.values())]
        return done(page_of(rows, user_id, agent_id, limit, offset))

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            stored = self._sessions.need(session_id).append(rows, now)
        return done(decode_messages(session_id, stored))

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            session = self._sessions.get(session_id)
            rows = [] if session is None else session.select(selection)
        return done(decode_messages(session_id, rows))

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        with self._data.lock:
            session = self._sessions.get(session_id)
            answer = 0 if session is None else session.delete(ids, now)
        return done(answer)

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        with self._data.lock:  # half of a batch is never counted
            session = self._sessions.get(session_id)
            answer = 0 if session is None else session.count
        return done(answer)

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            answer = search_in(list(self._sessions.values()), words, user_id, limit)
        return done(answer)

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        with self._data.lock:
            fork = self._sessions.need(session_id).fork(up_to_seq, new_session_id, now)
            if self._sessions.setdefault(new_session_id, fork) is not fork:
                raise SessionExistsError(f"session {new_session_id!r} exists already")
        return done(decode_session(fork.row))

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        with self._data.lock:
            if version:
                return done(decode_session(self._sessions.need(row.session_id).rewrite(row, rows, version, ids, now)))
            new = WholeSession(row)
            new.append(rows, now)
            if self._sessions.setdefault(row.session_id, new) is not new:
                raise SessionExistsError(f"session {row.session_id!r} exists already")
        return done(decode_session(new.row))


class _ConversationOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"search", "fork", "prefix", "rewrite"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryConversationSteps:
        return MemoryConversationSteps(open_data(url, name), check_prefix(table_prefix))


class MemoryConversationStore(_ConversationOptions, StepConversationStore):
    """Conversations in memory.

    Args:
        url: ``memory://``, or ``memory://name`` for data that stores of this process share.
        name: the same name, without a URL.
        table_prefix: separates stores of one name.
    """

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryConversationStore(_ConversationOptions, AsyncStepConversationStore):
    """[MemoryConversationStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), AsyncDirectRunner())
