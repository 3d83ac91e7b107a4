"""Sessions that an engine holds or writes as a whole, and what is done with all of them."""

from __future__ import annotations

import bisect
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._attempts import ATTEMPTS, overtaken
from praisonai_persistence.errors import ConflictError
from praisonai_persistence.payload import decode_message, decode_session, decode_text, match_stored, next_updated_at
from praisonai_persistence.stores.conversation import query_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.stores.conversation import Selection

__all__ = ["WholeSession", "newest_messages", "newest_sessions", "page_of", "search_in"]

S = TypeVar("S", bound=Any)

_seq = attrgetter("seq")


class WholeSession:
    """A session and its messages in memory: the contract, for engines that hold or write a session as a whole.

    The caller does the locking between threads. Methods that raise have changed nothing, whatever is raised; a call of
    one in the middle of another, from a ``__del__``, say, comes before or after it.

    Args:
        row: the session.
        messages: in seq order.
        last_seq: the highest seq that was ever given; by default that of the last message.
    """

    # All that counts stands in `_head`, which is replaced by one assignment: row, last_seq, the list of messages, how
    # many of these count, and the messages by id. The list only grows; behind those that count may stand some of a call
    # that was interrupted. The dict may lack the latest ones.
    __slots__ = ("_head",)

    def __init__(self, row: SessionRow, messages: Sequence[MessageRow] = (), last_seq: int | None = None) -> None:
        if last_seq is None:
            last_seq = messages[-1].seq if messages else 0
        self._head = row, last_seq, list(messages), len(messages), {message.id: message for message in messages}

    @property
    def row(self) -> SessionRow:
        """The session."""
        return self._head[0]

    @row.setter
    def row(self, row: SessionRow) -> None:
        _, last_seq, messages, count, by_id = self._head
        self._head = row, last_seq, messages, count, by_id

    @property
    def last_seq(self) -> int:
        """The highest seq that was ever given."""
        return self._head[1]

    @last_seq.setter
    def last_seq(self, last_seq: int) -> None:
        row, _, messages, count, by_id = self._head
        self._head = row, last_seq, messages, count, by_id

    @property
    def messages(self) -> list[MessageRow]:
        """The messages in seq order; not to be changed."""
        _, _, messages, count, _ = self._head
        return messages if len(messages) == count else messages[:count]

    @property
    def count(self) -> int:
        """How many messages there are."""
        return self._head[3]

    def _known(self) -> dict[str, MessageRow]:
        _, _, messages, count, by_id = self._head
        if len(by_id) < count:
            by_id.update({message.id: message for message in messages[len(by_id) : count]})
        return by_id

    @property
    def by_id(self) -> dict[str, MessageRow]:
        """The messages by their ids; not to be changed."""
        return self._known()

    def update(self, row: SessionRow, expected_version: int | None, now: float) -> SessionRow:
        """See ``update_session``; return the stored row."""
        for _ in ATTEMPTS:
            head = self._head
            old, last_seq, messages, count, by_id = head
            stored = _updated(old, row, expected_version, now)
            new = stored, last_seq, messages, count, by_id
            # In one line, so that no other call comes in between, not even of a trace function.
            mine, self._head = (True, new) if self._head is head else (False, self._head)
            if mine:
                return stored
        raise overtaken()

    def append(self, rows: Sequence[MessageRow], now: float) -> list[MessageRow]:
        """See ``add_messages``; return the stored rows. ``last_seq`` tells whether there was anything new."""
        for _ in ATTEMPTS:
            head = self._head
            session, last_seq, messages, count, by_id = head
            if len(by_id) != count:
                by_id = self._known()
            added: dict[str, MessageRow] = {}
            for row in rows:
                if row.id in by_id:
                    match_stored(by_id[row.id], row)
                elif row.id not in added:
                    last_seq += 1
                    added[row.id] = row._replace(seq=last_seq)
            stored = [added[row.id] if row.id in added else by_id[row.id] for row in rows]
            if not added:
                return stored
            if len(messages) != count:  # an interrupted call has left some
                messages = messages[:count]
            session = session._replace(updated_at=next_updated_at(session.updated_at, now))
            new = session, last_seq, messages, count + len(added), by_id
            messages.extend(added.values())
            mine, self._head = (True, new) if self._head is head else (False, self._head)
            if mine:
                by_id.update(added)
                return stored
        raise overtaken()

    def select(self, selection: Selection) -> list[MessageRow]:
        """See ``get_messages``. What lies at or after ``before_seq`` is not even looked at."""
        _, _, messages, end, _ = self._head
        if selection.before_seq is not None:
            end = bisect.bisect_left(messages, selection.before_seq, 0, end, key=_seq)
        return selection.pick(messages[index] for index in range(end - 1, -1, -1))

    def delete(self, ids: Sequence[str] | None, now: float) -> int:
        """See ``delete_messages``."""
        for _ in ATTEMPTS:
            head = self._head
            session, last_seq, messages, count, _ = head
            gone = set(self._known()) if ids is None else self._known().keys() & set(ids)
            if not gone:
                return 0
            left = [row for row in messages[:count] if row.id not in gone]
            session = session._replace(updated_at=next_updated_at(session.updated_at, now))
            new = session, last_seq, left, len(left), {row.id: row for row in left}
            mine, self._head = (True, new) if self._head is head else (False, self._head)
            if mine:
                return len(gone)
        raise overtaken()

    def rewrite(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> SessionRow:
        """See ``rewrite_session``, of a session that there is; return the stored row."""
        gone = set(ids)
        for _ in ATTEMPTS:
            head = self._head
            old, last_seq, messages, count, _ = head
            stored = _updated(old, row, version, now)
            by_id = {message.id: message for message in messages[:count] if message.id not in gone}
            for message in rows:
                if message.id in by_id:
                    match_stored(by_id[message.id], message)
                else:
                    last_seq += 1
                    by_id[message.id] = message._replace(seq=last_seq)
            left = list(by_id.values())
            new = stored, last_seq, left, len(left), by_id
            mine, self._head = (True, new) if self._head is head else (False, self._head)
            if mine:
                return stored
        raise overtaken()

    def fork(self, up_to_seq: int | None, new_session_id: str, now: float) -> WholeSession:
        """See ``fork_session``."""
        row, _, messages, count, _ = self._head
        return WholeSession(
            row._replace(session_id=new_session_id, created_at=now, updated_at=now, version=1),
            [message for message in messages[:count] if up_to_seq is None or message.seq <= up_to_seq],
        )


def _updated(old: SessionRow, row: SessionRow, expected_version: int | None, now: float) -> SessionRow:
    if expected_version is not None and old.version != expected_version:
        raise ConflictError(
            f"session {row.session_id!r} has version {old.version}, not {expected_version}: read it again"
        )
    updated_at = next_updated_at(old.updated_at, now)
    return row._replace(created_at=old.created_at, updated_at=updated_at, version=old.version + 1)


def newest_sessions(rows: Iterable[S], user_id: str | None, agent_id: str | None, limit: int, offset: int) -> list[S]:
    """Return a page of sessions in the order of ``list_sessions``.

    Args:
        rows: all sessions: objects with the attributes of a ``SessionRow``.
        user_id: whose, or None.
        agent_id: which agent's, or None.
        limit: how many.
        offset: after how many.
    """
    found = (
        row
        for row in rows
        if (user_id is None or row.user_id == user_id) and (agent_id is None or row.agent_id == agent_id)
    )
    newest = nsmallest(offset + limit, found, lambda row: (-row.updated_at, row.session_id))
    return newest[offset:]


def page_of(
    rows: Iterable[SessionRow], user_id: str | None, agent_id: str | None, limit: int, offset: int
) -> list[ConversationSession]:
    """Do ``list_sessions`` on the rows of all sessions."""
    return [decode_session(row) for row in newest_sessions(rows, user_id, agent_id, limit, offset)]


def newest_messages(messages: Iterable[ConversationMessage], limit: int) -> list[ConversationMessage]:
    """Return the first messages in the order of ``search_messages``."""
    return nsmallest(limit, messages, lambda message: (-message.created_at, message.session_id, -message.seq))


def search_in(
    sessions: Iterable[WholeSession], words: Sequence[str], user_id: str | None, limit: int
) -> list[ConversationMessage]:
    """Do ``search_messages`` on all sessions."""
    wanted = set(words)
    found = (
        decode_message(session.row.session_id, row)
        for session in sessions
        if user_id is None or session.row.user_id == user_id
        for row in session.messages
        if row.content is not None and wanted.issubset(query_words(decode_text(row.content)))
    )
    return newest_messages(found, limit)
