"""Full-text search on servers: an index in tables of its own, which searches fill.

``<prefix>search_words`` has a row for each message, or several for a long one; ``<prefix>search_progress`` tells for
each session how far it is indexed. Filling them reads sessions and messages without locking them, so appends wait for
none of it. The row of a session's progress is the lock between those who fill and those who delete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.payload import decode_messages
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores.searching import Budget, has_words
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS, SQLConversationSteps
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch, repeatable
from praisonai_persistence_sql.schema import SEARCH_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence_sql.dialect import Dialect
    from praisonai_persistence_sql.migrations import Migration
    from praisonai_persistence_sql.requests import Alone

__all__ = ["IndexedConversationSteps"]

_CHARACTERS, _ITEMS = 1_000_000, 500  # of content, and messages and sessions, that one transaction indexes
_SESSIONS = 10_000  # that are listed at a time
_FEW = 20  # messages that are read at a time, if those before were short: each may have 64 MB


class IndexedConversationSteps(SQLConversationSteps):
    """Conversations with a full-text index.

    A subclass makes the two tables (``_make_index``), says what the index holds of a content (``_part``), and how it
    is asked (``_match``, ``_query``).

    Args:
        dialect: of the engine.
        prefix: the ``table_prefix``.
        migrations: the schema; they drop the index with the messages.
        tables: names of more tables and indexes.
    """

    _match: ClassVar[str]
    """The condition for rows ``f`` of the index, with one placeholder."""
    _first: ClassVar[type[Fetch] | type[Alone]] = Fetch
    """How the first statement is sent that finds out that there is nothing to do."""
    _step: ClassVar[int] = _CHARACTERS
    """Characters that one transaction indexes: less where all writers wait for it."""

    def __init__(
        self, dialect: Dialect, prefix: str, migrations: Sequence[Migration], tables: Sequence[str] = ()
    ) -> None:
        super().__init__(dialect, prefix, migrations, (*SEARCH_TABLES, *tables))
        self._indexed = False  # the tables have been seen
        self._find_index = Fetch(*dialect.find_table(prefix, "search_progress"))
        progress, key = ["session_id", "up_to", "start", "part"], ["session_id"]
        table = self._tables["search_progress"]
        self._begin_progress = self._sql(dialect.insert_new(table, progress, key))
        self._lock_progress = self._sql(
            f"SELECT up_to, start, part FROM {{search_progress}} WHERE session_id = ?{dialect.for_update}"
        )
        self._set_progress = self._sql(
            "UPDATE {search_progress} SET up_to = ?, start = ?, part = ? WHERE session_id = ?"
        )
        self._drop_progress = self._sql("DELETE FROM {search_progress} WHERE session_id = ?")
        self._behind = [
            self._sql(
                "SELECT s.session_id, s.last_seq FROM {sessions} s "
                "LEFT JOIN {search_progress} k ON k.session_id = s.session_id "
                f"WHERE s.last_seq > COALESCE(k.up_to, 0) AND s.session_id > ?{user} "
                f"ORDER BY s.session_id LIMIT {_SESSIONS}"
            )
            for user in ("", " AND s.user_id = ?")
        ]
        self._last_seq = self._sql("SELECT last_seq FROM {sessions} WHERE session_id = ?")
        self._to_index = self._sql(
            "SELECT seq, created_at, content FROM {messages} WHERE session_id = ? AND seq > ? AND seq <= ? "
            "ORDER BY seq LIMIT ?"
        )
        words = ["session_id", "seq", "part", "created_at", "words"]
        self._add_words = self._sql(dialect.upsert(self._tables["search_words"], words, words[:3]))
        self._drop_words = self._sql("DELETE FROM {search_words} WHERE session_id = ?")
        found = ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS.split(", "))
        # Only what is returned is read as a whole; the rest is sorted without its content.
        self._search = [
            self._sql(
                f"SELECT m.session_id, {found} FROM (SELECT DISTINCT f.session_id, f.seq, f.created_at "
                f"FROM {{search_words}} f{user} WHERE {self._match} "
                "ORDER BY f.created_at DESC, f.session_id, f.seq DESC LIMIT ? OFFSET ?) k "
                "JOIN {messages} m ON m.session_id = k.session_id AND m.seq = k.seq "
                "ORDER BY m.created_at DESC, m.session_id, m.seq DESC"
            )
            for user in ("", " JOIN {sessions} s ON s.session_id = f.session_id AND s.user_id = ?")
        ]

        self._search_sessions = self._sql(f"SELECT DISTINCT f.session_id FROM {{search_words}} f WHERE {self._match}")

    def _make_index(self) -> Steps[None]:
        """Make the tables, unless they are there."""
        raise NotImplementedError

    def _part(self, content: str, start: int) -> tuple[str, int | None]:
        """Return what ``words`` holds of a part of a content, and where the next part starts; see ``words_of_part``."""
        raise NotImplementedError

    def _query(self, words: Sequence[str]) -> str:
        """Return what finds at least all messages with these words."""
        raise NotImplementedError

    def _has_index(self) -> Steps[bool]:
        if not self._indexed:
            self._indexed = bool((yield self._find_index))
        return self._indexed

    # ------------------------------------------------------------------------------------------------------ filling it

    @repeatable
    @writes
    def update_index(self, user_id: str | None, place: Any) -> Steps[Any]:
        """See [ConversationSteps.update_index][]; a place is where to go on listing (None: not), and what is left."""
        user = [] if user_id is None else [user_id]
        first = self._first if self._indexed else Fetch
        if not (yield from self._has_index()):
            yield from self._make_index()
            return "", []
        last, sessions = place or ("", [])
        if not sessions:
            sessions = yield first(self._behind[len(user)], (last, *user))
            if not sessions:
                return None
            last = sessions[-1][0] if len(sessions) == _SESSIONS else None
        budget = Budget(self._step, _ITEMS)
        for number, (session_id, wanted) in enumerate(sessions):
            done = yield from self._index_session(session_id, wanted, budget)
            if budget.spent():
                sessions = sessions[number + done :]
                break
        else:
            sessions = []
        return None if last is None and not sessions else (last, sessions)

    def _index_session(self, session_id: str, wanted: int, budget: Budget) -> Steps[bool]:
        """Index a session up to that seq, as far as the budget goes; return whether that was all."""
        budget.spend()
        up_to, start, part = yield from self._progress(session_id)
        found = yield Fetch(self._last_seq, (session_id,))
        if not found:  # deleted since it was listed
            yield Execute(self._drop_progress, (session_id,))
            return True
        last, words, many = min(found[0][0], wanted), [], 1  # a session made anew may have fewer
        longest = 0
        while up_to < last and not budget.spent():
            messages = yield Fetch(self._to_index, (session_id, up_to, last, many))
            for seq, created_at, content in messages:
                longest = max(longest, len(content or ""))
                if seq != up_to + 1:
                    start = part = 0  # a number that is missing belongs to a message that was deleted
                end: int | None = start
                while end is not None and not budget.spent():
                    text, end = self._part(content or "", start)
                    if text:
                        words.append((session_id, seq, part, created_at, text))
                    budget.spend((end or len(content or "")) - start)
                    up_to, start, part = (seq, 0, 0) if end is None else (seq - 1, end, part + 1)
                if budget.spent():
                    break
            if len(messages) < many and not budget.spent():
                up_to, start, part = last, 0, 0
            many = max(1, min(_FEW, _CHARACTERS // (longest + 1)))
        if words:
            yield ExecuteMany(self._add_words, words)
        yield Execute(self._set_progress, (up_to, start, part, session_id))
        return bool(up_to >= last)

    def _progress(self, session_id: str) -> Steps[tuple[int, int, int]]:
        """Return up to which seq a session is indexed, and of the next message up to where and to which part.

        Until the transaction ends nobody else indexes the session or deletes its messages.
        """
        while True:
            rows = yield Fetch(self._lock_progress, (session_id,))
            if rows:
                return rows[0]  # type: ignore[no-any-return]
            yield Execute(self._begin_progress, (session_id, 0, 0, 0))

    # ------------------------------------------------------------------------------------------------------- asking it

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        user = [] if user_id is None else [user_id]
        query = self._query(words)
        found: list[ConversationMessage] = []
        offset = 0
        while True:
            rows = yield Fetch(self._search[len(user)], (*user, query, limit, offset))
            found += [decode_messages(row[0], (row[1:],))[0] for row in rows if has_words(row[3], words)]
            offset += limit
            if len(found) >= limit or len(rows) < limit:
                return found[:limit]

    @reads
    def sessions_with(self, words: Sequence[str]) -> Steps[list[str]]:
        return [row[0] for row in (yield Fetch(self._search_sessions, (self._query(words),)))]

    # ---------------------------------------------------------------------------------------------------- deleting

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        existed = yield from super().delete_session(session_id)
        if existed and self._indexed:
            yield Execute(self._drop_progress, (session_id,))  # a new session of this id starts at 1 again
        return existed

    def _delete_rows(self, session_id: str, ids: Sequence[str] | None) -> Steps[int]:
        if (yield from self._has_index()):
            yield from self._progress(session_id)
            if ids is None:
                yield Execute(self._drop_words, (session_id,))
            else:
                for sql, some in self._in("SELECT seq FROM {messages}", ids):
                    numbers = [row[0] for row in (yield Fetch(sql, (session_id, *some)))]
                    if numbers:
                        marks = ", ".join("?" * len(numbers))
                        drop = f"DELETE FROM {{search_words}} WHERE session_id = ? AND seq IN ({marks})"
                        yield Execute(self._sql(drop), (session_id, *numbers))
        return (yield from super()._delete_rows(session_id, ids))
