"""Sessions that an engine holds or writes as a whole, and what is done with all of them."""

from __future__ import annotations

import bisect
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from praisonai_persistence.errors import ConflictError
from praisonai_persistence.payload import decode_message, decode_session, decode_text, match_stored, next_updated_at
from praisonai_persistence.stores.conversation import query_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.stores.conversation import Selection

__all__ = ["WholeSession", "page_of", "search_in"]

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
            created_at=old.created_at, updated_at=next_updated_at(old.updated_at, now), version=old.version + 1
        )

    def append(self, rows: Sequence[MessageRow], now: float) -> list[MessageRow]:
        """See ``add_messages``; return the stored rows. ``last_seq`` tells whether there was anything new."""
        for row in rows:
            if row.id in self.by_id:
                match_stored(self.by_id[row.id], row)
        before = self.last_seq
        for row in rows:
            if row.id not in self.by_id:
                self.last_seq += 1
                self.by_id[row.id] = stored = row._replace(seq=self.last_seq)
                self.messages.append(stored)
        if self.last_seq != before:
            self._touch(now)
        return [self.by_id[row.id] for row in rows]

    def select(self, selection: Selection) -> list[MessageRow]:
        """See ``get_messages``. What lies at or after ``before_seq`` is not even looked at."""
        end = len(self.messages)
        if selection.before_seq is not None:
            end = bisect.bisect_left(self.messages, selection.before_seq, key=_seq)
        return selection.pick(self.messages[index] for index in range(end - 1, -1, -1))

    def delete(self, ids: Sequence[str] | None, now: float) -> int:
        """See ``delete_messages``."""
        gone = set(self.by_id) if ids is None else self.by_id.keys() & set(ids)
        if gone:
            self.messages = [row for row in self.messages if row.id not in gone]
            self.by_id = {row.id: row for row in self.messages}
            self._touch(now)
        return len(gone)

    def fork(self, up_to_seq: int | None, new_session_id: str, now: float) -> WholeSession:
        """See ``fork_session``."""
        return WholeSession(
            self.row._replace(session_id=new_session_id, created_at=now, updated_at=now, version=1),
            [row for row in self.messages if up_to_seq is None or row.seq <= up_to_seq],
        )

    def _touch(self, now: float) -> None:
        self.row = self.row._replace(updated_at=next_updated_at(self.row.updated_at, now))


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
