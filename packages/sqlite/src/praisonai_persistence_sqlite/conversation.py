"""Conversations in SQLite: the shared SQL, with a shorter append and a full-text index."""

from __future__ import annotations

import sqlite3

from praisonai_persistence.errors import UnsupportedOperationError
from praisonai_persistence.payload import decode_message, decode_messages
from praisonai_persistence.steps import reads, writes
from praisonai_persistence_sql import Execute, Fetch, SQLConversationSteps
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.migrations import Migration
from praisonai_persistence_sql.schema import CONVERSATION
from praisonai_persistence_sqlite._dialect import SQLite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence.steps import Steps

__all__ = ["SQLiteConversationSteps"]

_FIRST, _OTHERS = CONVERSATION[0], CONVERSATION[1:]
_NO_INDEX = ("DROP TABLE IF EXISTS {search_text}", "DROP TABLE IF EXISTS {search}")  # of other messages
_MIGRATIONS = (
    Migration(1, _FIRST.name, (*_NO_INDEX, *_FIRST.up), (*_NO_INDEX, *(_FIRST.down or ())), _FIRST.drops),
    *_OTHERS,
)
_INDEX_AT_ONCE = 2000  # messages that one transaction adds to the full-text index


class SQLiteConversationSteps(SQLConversationSteps):
    """Conversations in SQLite.

    Appends do not pay for the full-text index: it is made by the first search, and every search adds what came since
    (rows above the mark in ``<prefix>search``) before it looks.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        dialect = SQLite()
        super().__init__(dialect, prefix, _MIGRATIONS, tables=("search", "search_text"))
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
        self._find_index = Fetch(*dialect.find_table(prefix, "search"))
        self._make_index = (
            self._sql("CREATE TABLE IF NOT EXISTS {search} (id INTEGER PRIMARY KEY CHECK (id = 1), up_to INTEGER)"),
            self._sql("INSERT INTO {search} VALUES (1, 0) ON CONFLICT DO NOTHING"),
            self._sql(
                "CREATE VIRTUAL TABLE IF NOT EXISTS {search_text} USING fts5(content, content='', tokenize='ascii')"
            ),
        )
        self._mark = self._sql("SELECT up_to FROM {search}")
        self._set_mark = self._sql("UPDATE {search} SET up_to = ?")
        self._newest = self._sql("SELECT coalesce(MAX(row_id), 0) FROM {messages}")
        self._end_of_part = self._sql(
            f"SELECT MAX(row_id) FROM (SELECT row_id FROM {{messages}} WHERE row_id > ? ORDER BY row_id "
            f"LIMIT {_INDEX_AT_ONCE})"
        )
        self._add_text = self._sql(
            "INSERT INTO {search_text} (rowid, content) SELECT row_id, praison_words(content) FROM {messages} "
            "WHERE row_id > ? AND row_id <= ? AND content IS NOT NULL"
        )
        self._drop_text = self._sql(
            "INSERT INTO {search_text} ({search_text}, rowid, content) "
            "SELECT 'delete', row_id, praison_words(content) FROM {messages}"
        )
        found = ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS.split(", "))
        self._search = [
            self._sql(
                f"SELECT m.session_id, {found} FROM {{search_text}} f JOIN {{messages}} m ON m.row_id = f.rowid "
                f"{user} WHERE f.{{search_text}} MATCH ? "
                "ORDER BY m.created_at DESC, m.session_id, m.seq DESC LIMIT ?"
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
    def update_index(self, user_id: str | None) -> Steps[bool]:
        """See [ConversationSteps.update_index][]; sessions of all users are indexed."""
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
        mark = (yield Fetch(self._mark))[0][0]
        end = (yield Fetch(self._end_of_part, (mark,)))[0][0]
        if end is None:
            return False
        yield Execute(self._add_text, (mark, end))
        yield Execute(self._set_mark, (end,))
        return True

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        match = " ".join(f'"{word}"' for word in words)
        user = [] if user_id is None else [user_id]
        rows = yield Fetch(self._search[len(user)], (*user, match, limit))
        return [decode_messages(row[0], (row[1:],))[0] for row in rows]

    def _delete_rows(self, session_id: str, ids: Sequence[str] | None) -> Steps[int]:
        if not (yield self._find_index):
            return (yield from super()._delete_rows(session_id, ids))
        mark = (yield Fetch(self._mark))[0][0]
        indexed = f"{self._drop_text} WHERE session_id = ? AND row_id <= ? AND content IS NOT NULL"
        if ids is None:
            yield Execute(indexed, (session_id, mark))
        else:
            for item in ids:
                yield Execute(f"{indexed} AND id = ?", (session_id, mark, item))
        gone = yield from super()._delete_rows(session_id, ids)
        # SQLite gives the numbers of its newest rows again once they are deleted
        yield Execute(self._set_mark, (min(mark, (yield Fetch(self._newest))[0][0]),))
        return gone
