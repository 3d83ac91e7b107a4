"""Conversations in SQLite: the shared SQL, with a shorter append and a full-text index."""

from __future__ import annotations

import sqlite3
import time

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.payload import decode_message, decode_messages
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql import Execute, Fetch, SQLConversationSteps
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.migrations import Migration
from praisonai_persistence_sql.schema import INDEXED_CONVERSATION, SEARCH_TABLES
from praisonai_persistence_sqlite._dialect import SQLite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence.steps import Steps

__all__ = ["SQLiteConversationSteps"]

_CHARACTERS, _MESSAGES = 1_000_000, 2000  # that one transaction adds to the full-text index, at the most
_SECONDS = 0.05  # after which it ends all the same
_OF_SEVERAL = "\u2060part"  # in each row of the index that has a part of a message only; stands in no word
_PART_BITS = 20  # of the number of such a row
_NO_GONE = "DROP TABLE IF EXISTS {search_gone}"
_MIGRATIONS = tuple(
    Migration(step.version, step.name, (_NO_GONE, *step.up), (_NO_GONE, *(step.down or ())), step.drops)
    for step in INDEXED_CONVERSATION
)


class SQLiteConversationSteps(SQLConversationSteps):
    """Conversations in SQLite.

    Appends do not pay for the full-text index: it is made by the first search, and every search adds what came since
    (rows above those that ``<prefix>search_progress`` tells of) before it looks. A row of the index has the number of
    its message; a long message has several, with numbers below 0.

    To take a row out of the index takes its words. So a deletion of much text puts that into ``<prefix>search_gone``,
    and the store then takes it out of the index, and out of there, in short transactions (``clear_index``) before it
    returns. What a process that died meanwhile left there, the next search or such deletion takes out. No search finds
    it: what the index finds has to be there and to have the words.

    Args:
        prefix: the ``table_prefix``.

    Attributes:
        index_left: whether a deletion has left something for ``clear_index``, once.
    """

    # Writers of other processes look every few milliseconds, at random, whether nobody writes.
    index_pause = 0.01

    def __init__(self, prefix: str) -> None:
        dialect = SQLite()
        super().__init__(dialect, prefix, _MIGRATIONS, (*SEARCH_TABLES, "search_gone"))
        self.index_left = False
        # Three statements are faster than two: INSERT ... SELECT ... RETURNING costs more than it saves.
        self._last_seq = self._sql("SELECT last_seq FROM {sessions} WHERE session_id = ?")
        append = "INSERT INTO {{messages}} (session_id, {}) VALUES (?, {}) ON CONFLICT (session_id, id) DO NOTHING"
        self._append = self._sql(append.format(MESSAGE_COLUMNS, "?, ?, ?, ?, ?, ?, ?, ?"))
        # The driver takes longer to bind a None than to bind text, and most messages have three.
        self._append_text = self._sql(append.format("id, role, content, created_at, seq", "?, ?, ?, ?, ?"))
        self._appended = self._sql(
            f"UPDATE {{sessions}} SET last_seq = ?, updated_at = {dialect.next_updated_at('updated_at', '?')} "
            "WHERE session_id = ?"
        )
        self._find_index = Fetch(*dialect.find_table(prefix, "search_progress"))
        self._make_index = (
            self._sql(
                "CREATE TABLE IF NOT EXISTS {search_progress} (id INTEGER PRIMARY KEY CHECK (id = 1), "
                "up_to INTEGER, start INTEGER, part INTEGER)"
            ),
            self._sql("INSERT INTO {search_progress} VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING"),
            self._sql(
                "CREATE VIRTUAL TABLE IF NOT EXISTS {search_words} USING fts5(content, content='', tokenize='ascii')"
            ),
        )
        self._progress = self._sql("SELECT up_to, start, part FROM {search_progress}")
        self._set_progress = self._sql("UPDATE {search_progress} SET up_to = ?, start = ?, part = ?")
        self._newest = self._sql("SELECT coalesce(MAX(row_id), 0) FROM {messages}")
        self._next = self._sql(
            "SELECT row_id, content FROM {messages} WHERE row_id > ? AND row_id <= ? ORDER BY row_id LIMIT 1"
        )
        self._add_words = self._sql("INSERT INTO {search_words} (rowid, content) VALUES (?, ?)")
        self._drop_words = self._sql(
            "INSERT INTO {search_words} ({search_words}, rowid, content) VALUES ('delete', ?, ?)"
        )
        indexed = "SELECT seq, row_id, content FROM {messages} WHERE session_id = ? AND row_id <= ? AND "
        self._next_indexed = self._sql(f"{indexed} seq > ? ORDER BY seq LIMIT 1")
        self._one_indexed = self._sql(f"{indexed} id = ?")
        self._indexed_in_part = self._sql(f"{indexed} row_id > ?")
        # Row 0 tells where the part of the first of the others starts that is still in the index, and its number.
        self._find_gone = Fetch(*dialect.find_table(prefix, "search_gone"))
        self._make_gone = self._sql(
            "CREATE TABLE IF NOT EXISTS {search_gone} (row_id INTEGER PRIMARY KEY, content TEXT, start INTEGER, "
            "part INTEGER)"
        )
        gone = "INSERT INTO {search_gone} (row_id, content) SELECT row_id, content FROM {messages} WHERE "
        self._all_gone = self._sql(f"{gone}session_id = ? AND row_id <= ? AND seq >= ? AND content IS NOT NULL")
        self._one_gone = self._sql(f"{gone}row_id = ?")
        self._next_gone = self._sql("SELECT row_id, content FROM {search_gone} WHERE row_id > 0 ORDER BY 1 LIMIT 1")
        self._gone_place = self._sql("SELECT start, part FROM {search_gone} WHERE row_id = 0")
        self._set_gone_place = self._sql("INSERT OR REPLACE INTO {search_gone} VALUES (0, NULL, ?, ?)")
        self._drop_gone = self._sql("DELETE FROM {search_gone} WHERE row_id = ?")
        found = ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS.split(", "))
        matching = (
            f"(SELECT DISTINCT CASE WHEN rowid < 0 THEN -rowid >> {_PART_BITS} ELSE rowid END AS row_id "
            "FROM {search_words} WHERE {search_words} MATCH ?) f JOIN {messages} m ON m.row_id = f.row_id"
        )
        self._search_sessions = self._sql(f"SELECT DISTINCT m.session_id FROM {matching}")
        self._search = [
            self._sql(
                f"SELECT m.session_id, {found} FROM {matching} "
                f"{user} ORDER BY m.created_at DESC, m.session_id, m.seq DESC LIMIT ? OFFSET ?"
            )
            for user in ("", "JOIN {sessions} s ON s.session_id = m.session_id AND s.user_id = ?")
        ]

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        found = yield Fetch(self._last_seq, (session_id,))
        if found:
            stored = item, role, content, *others, created_at, seq = (*row[:7], found[0][0] + 1)
            if others == [None, None, None]:
                append = Execute(self._append_text, (session_id, item, role, content, created_at, seq))
            else:
                append = Execute(self._append, (session_id, *stored))
            if (yield append):
                yield Execute(self._appended, (seq, now, session_id))
                return decode_message(session_id, stored)
        return (yield from super().add_message(session_id, row, now))  # no such session, or it is there already

    @writes
    def update_index(self, user_id: str | None, place: Any) -> Steps[Any]:
        """See [ConversationSteps.update_index][]; sessions of all users are indexed. A place is the last row to do."""
        from praisonai_persistence.stores.searching import Budget  # for who searches

        if not (yield self._find_index):
            try:
                for sql in self._make_index:
                    yield Execute(sql)
            except sqlite3.OperationalError as error:
                if "fts5" not in str(error):
                    raise
                raise UnsupportedOperationError(
                    "this Python's SQLite was built without FTS5, so messages cannot be searched"
                ) from error
        before = up_to, start, part = (yield Fetch(self._progress))[0]
        if place is None:
            place = (yield Fetch(self._newest))[0][0]
        # First, because a new message may have the number of one that is gone.
        if (yield from self.clear_index()):
            return place
        budget, end = Budget(_CHARACTERS, _MESSAGES), time.monotonic() + _SECONDS
        while up_to < place and not budget.spent() and time.monotonic() < end:
            rows = yield Fetch(self._next, (up_to, place))
            if not rows:  # the last ones were deleted since
                place = up_to
                break
            row_id, content = rows[0]
            if row_id != up_to + 1:
                start = part = 0
            number, text, after = _row(row_id, content or "", start, part)
            if text:
                yield Execute(self._add_words, (number, text))
            budget.spend((after or len(content or "")) - start)
            up_to, start, part = (row_id, 0, 0) if after is None else (row_id - 1, after, part + 1)
        if (up_to, start, part) != before:
            yield Execute(self._set_progress, (up_to, start, part))
        return place if up_to < place else None

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        from praisonai_persistence.stores.searching import has_words

        query = _query(words)
        user = [] if user_id is None else [user_id]
        found: list[ConversationMessage] = []
        offset = 0
        while True:
            rows = yield Fetch(self._search[len(user)], (query, *user, limit, offset))
            found += [decode_messages(row[0], (row[1:],))[0] for row in rows if has_words(row[3], words)]
            offset += limit
            if len(found) >= limit or len(rows) < limit:
                return found[:limit]

    @reads
    def sessions_with(self, words: Sequence[str]) -> Steps[list[str]]:
        return [row[0] for row in (yield Fetch(self._search_sessions, (_query(words),)))]

    @writes
    def clear_index(self) -> Steps[bool]:
        """Take some of what was deleted out of the index; return whether there may be more."""
        if not (yield self._find_gone):
            return False
        places = yield Fetch(self._gone_place)
        start, part = places[0] if places else (0, 0)
        left, end = _CHARACTERS, time.monotonic() + _SECONDS
        rows = yield Fetch(self._next_gone)
        while rows and left > 0 and time.monotonic() < end:
            row_id, content = rows[0]
            number, text, after = _row(row_id, content, start, part)
            if text:
                yield Execute(self._drop_words, (number, text))
            left -= (after or len(content)) - start
            if after is None:
                yield Execute(self._drop_gone, (row_id,))
                rows = yield Fetch(self._next_gone)
            start, part = (0, 0) if after is None else (after, part + 1)
        if (start, part) != (places[0] if places else (0, 0)):
            yield Execute(self._set_gone_place, (start, part))
        return bool(rows)

    def _delete_rows(self, session_id: str, ids: Sequence[str] | None) -> Steps[int]:
        if not (yield self._find_index):
            return (yield from super()._delete_rows(session_id, ids))
        progress = up_to, start, _ = (yield Fetch(self._progress))[0]
        last = up_to + 1 if start else up_to
        left, end = _CHARACTERS, time.monotonic() + _SECONDS
        queued = False

        def is_late(row_id: int, content: str | None) -> bool:
            """Whether this message has to wait for ``clear_index``; one that is indexed in part cannot."""
            return row_id <= up_to and content is not None and (len(content) > left or time.monotonic() > end)

        if ids is None:
            for _, row_id, content in (yield Fetch(self._indexed_in_part, (session_id, last, up_to))):
                progress = yield from self._drop_row(row_id, content, progress)
            seq = 0
            while rows := (yield Fetch(self._next_indexed, (session_id, up_to, seq))):
                seq, row_id, content = rows[0]
                if is_late(row_id, content):
                    queued = True
                    yield Execute(self._make_gone)
                    yield Execute(self._all_gone, (session_id, up_to, seq))
                    break
                progress = yield from self._drop_row(row_id, content, progress)
                left -= len(content or "")
        else:
            for item in ids:
                for _, row_id, content in (yield Fetch(self._one_indexed, (session_id, last, item))):
                    if is_late(row_id, content):
                        queued = True
                        yield Execute(self._make_gone)
                        yield Execute(self._one_gone, (row_id,))
                    else:
                        progress = yield from self._drop_row(row_id, content, progress)
                        left -= len(content or "")
        self.index_left = self.index_left or queued
        gone = yield from super()._delete_rows(session_id, ids)
        # SQLite gives the numbers of its newest rows again once they are deleted
        newest = (yield Fetch(self._newest))[0][0]
        yield Execute(self._set_progress, progress if progress[0] <= newest else (newest, 0, 0))
        return gone

    def _drop_row(
        self, row_id: int, content: str | None, progress: tuple[int, int, int]
    ) -> Steps[tuple[int, int, int]]:
        """Take a message out of the index; return the progress, where this message's own may have gone with it."""
        up_to, done, _ = progress
        start: int | None = 0
        part = 0
        while content is not None and start is not None and (row_id <= up_to or start < done):
            number, text, start = _row(row_id, content, start, part)
            if text:
                yield Execute(self._drop_words, (number, text))
            part += 1
        return progress if row_id <= up_to else (up_to, 0, 0)


def _query(words: Sequence[str]) -> str:
    """Return what finds at least all messages with these words."""
    from praisonai_persistence.stores.searching import rarest

    query = " ".join(f'"{word}"' for word in words)
    return f'({query}) OR ("{_OF_SEVERAL}" "{rarest(words)}")' if len(words) > 1 else query


def _row(row_id: int, content: str, start: int, part: int) -> tuple[int, str, int | None]:
    """Return the number and the text of a row of the index, and where the next part of the message starts."""
    from praisonai_persistence.stores.searching import words_of_part

    words, end = words_of_part(content, start)
    if part or end is not None:
        words.append(_OF_SEVERAL)
        row_id = -(row_id << _PART_BITS | part)
    return row_id, " ".join(words), end
