"""Conversations in MySQL: the shared SQL, with an append of one round trip and a full-text index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.errors import SessionNotFoundError
from praisonai_persistence.payload import decode_message, decode_messages, next_updated_at
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence_mysql._dialect import CONVERSATION, MySQL, MySQLConversationMigrations
from praisonai_persistence_mysql._errors import DUPLICATE, NO_SUCH_TABLE, DriverError, number_of
from praisonai_persistence_mysql._requests import Transaction
from praisonai_persistence_mysql._search import codes_of, has_words, match_of
from praisonai_persistence_sql import Execute, ExecuteMany, Fetch, SQLConversationSteps, Undo, repeatable
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.schema import CONVERSATION_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence_sql import Request

__all__ = ["MySQLConversationSteps"]

_TABLES = ("search", "search_marks")
_SESSIONS_AT_ONCE = 50  # that one transaction locks to index what they lack
_MESSAGES_AT_ONCE = 500  # of one session


class MySQLConversationSteps(SQLConversationSteps):
    """Conversations in MySQL.

    Appends do not pay for the full-text index: its tables are made by the first search, and every search first adds
    what came since, session by session: numbers up to the session's mark are indexed.

    Args:
        prefix: the ``table_prefix``.
    """

    def __init__(self, prefix: str) -> None:
        dialect = MySQL()
        super().__init__(dialect, prefix, CONVERSATION, _TABLES)
        names = (*CONVERSATION_TABLES, *_TABLES)
        self.migrations = MySQLConversationMigrations(dialect, prefix, "conversation", names, CONVERSATION)
        self._raise_seq = self._sql(
            "UPDATE {sessions} SET last_seq = LAST_INSERT_ID(last_seq + 1), "
            f"updated_at = {dialect.next_updated_at('updated_at', '?')} WHERE session_id = ?"
        )
        # Only if the statement before raised the number. When the client is gone the server does the rest of the packet
        # all the same, but ROW_COUNT() is -1 then: to ask for more than 0 would commit a number without its message.
        self._append = self._sql(
            f"INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) "
            "SELECT session_id, ?, ?, ?, ?, ?, ?, ?, last_seq FROM {sessions} "
            "WHERE session_id = ? AND last_seq = LAST_INSERT_ID() AND ROW_COUNT() <> 0"
        )
        self._prepare_search(dialect)

    def _prepare_search(self, dialect: MySQL) -> None:
        self._make_index = (
            self._sql(
                "CREATE TABLE IF NOT EXISTS {search_marks} (session_id {t_id} PRIMARY KEY, up_to {t_int} NOT NULL)"
            ),
            self._sql(
                "CREATE TABLE IF NOT EXISTS {search} (session_id {t_id}, seq {t_int}, created_at {t_real} NOT NULL, "
                "words {t_text} NOT NULL, PRIMARY KEY (session_id, seq), FULLTEXT KEY (words)) ENGINE=InnoDB"
            ),
        )
        self._behind = [
            self._sql(
                "SELECT s.session_id FROM {sessions} s LEFT JOIN {search_marks} k ON k.session_id = s.session_id "
                f"WHERE s.last_seq > COALESCE(k.up_to, 0){user} LIMIT {_SESSIONS_AT_ONCE}"
            )
            for user in ("", " AND s.user_id = ?")
        ]
        self._lock_behind = self._sql(
            "SELECT session_id, last_seq FROM {sessions} WHERE session_id IN (SELECTED) ORDER BY session_id FOR UPDATE"
        )
        self._mark = self._sql("SELECT up_to FROM {search_marks} WHERE session_id = ?")
        self._set_mark = self._sql(
            dialect.upsert(self._tables["search_marks"], ["session_id", "up_to"], ["session_id"])
        )
        self._to_index = self._sql(
            "SELECT seq, created_at, content FROM {messages} WHERE session_id = ? AND seq > ? AND seq <= ? "
            f"ORDER BY seq LIMIT {_MESSAGES_AT_ONCE}"
        )
        self._add_words = self._sql(
            dialect.upsert(self._tables["search"], ["session_id", "seq", "created_at", "words"], ["session_id", "seq"])
        )
        self._drop_words = self._sql("DELETE FROM {search} WHERE session_id = ?")
        self._drop_mark = self._sql("DELETE FROM {search_marks} WHERE session_id = ?")
        found = ", ".join(f"m.{column}" for column in MESSAGE_COLUMNS.split(", "))
        # Only what is returned is read as a whole; the rest is sorted without its content.
        self._search = [
            self._sql(
                f"SELECT m.session_id, {found} FROM (SELECT f.session_id, f.seq FROM {{search}} f{user} "
                "WHERE MATCH (f.words) AGAINST (? IN BOOLEAN MODE) "
                "ORDER BY f.created_at DESC, f.session_id, f.seq DESC LIMIT ? OFFSET ?) k "
                "JOIN {messages} m ON m.session_id = k.session_id AND m.seq = k.seq "
                "ORDER BY m.created_at DESC, m.session_id, m.seq DESC"
            )
            for user in ("", " JOIN {sessions} s ON s.session_id = f.session_id AND s.user_id = ?")
        ]

    # Appends are idempotent by the messages' ids, so they may be done again when a connection broke around the commit.

    @writes
    @repeatable
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        raise_seq = (self._raise_seq, (now, session_id))
        try:
            changed, seq = yield Transaction((raise_seq, (self._append, (*row[:7], session_id))))
        except DriverError as error:
            if number_of(error) != DUPLICATE:
                raise
            return (yield from super().add_message(session_id, row, now))
        if not changed:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return decode_message(session_id, (*row[:7], seq))

    @writes
    @repeatable
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        last, _, _, updated_at = yield from self._lock(session_id)
        stored: dict[str, MessageRow] = {}
        for row in rows:
            if row.id not in stored:
                last += 1
                stored[row.id] = row._replace(seq=last)
        if not stored:
            return []
        try:
            yield ExecuteMany(self._insert_message, [(session_id, *row) for row in stored.values()])
        except DriverError as error:
            if number_of(error) != DUPLICATE:
                raise
            yield Undo()  # some are there already: look which
            return (yield from super().add_messages(session_id, rows, now))
        yield Execute(self._touch_session, (last, next_updated_at(updated_at, now), session_id))
        return decode_messages(session_id, [stored[row.id] for row in rows])

    # --------------------------------------------------------------------------------------------------------- search

    @writes
    @repeatable
    def update_index(self, user_id: str | None) -> Steps[bool]:
        """Add messages that the full-text index lacks (of one user's sessions); return whether it may lack more."""
        user = [] if user_id is None else [user_id]
        try:
            behind = yield Fetch(self._behind[len(user)], user)
        except DriverError as error:
            if number_of(error) != NO_SUCH_TABLE:
                raise
            for sql in self._make_index:
                yield Execute(sql)
            return True
        if not behind:
            return False
        sql = self._lock_behind.replace("SELECTED", ", ".join(["%s"] * len(behind)))
        for session_id, last in (yield Fetch(sql, [row[0] for row in behind])):
            marks = yield Fetch(self._mark, (session_id,))
            rows = yield Fetch(self._to_index, (session_id, marks[0][0] if marks else 0, last))
            words = [(session_id, *row[:2], codes_of(row[2])) for row in rows if row[2] is not None]
            if words:
                yield ExecuteMany(self._add_words, words)
            # A number that is missing belongs to a message that was deleted.
            yield Execute(self._set_mark, (session_id, rows[-1][0] if len(rows) == _MESSAGES_AT_ONCE else last))
        return True

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        user = [] if user_id is None else [user_id]
        found: list[ConversationMessage] = []
        offset = 0
        while True:
            rows = yield Fetch(self._search[len(user)], (*user, match_of(words), limit, offset))
            found += [decode_messages(row[0], (row[1:],))[0] for row in rows if has_words(row[3], words)]
            offset += limit
            if len(found) >= limit or len(rows) < limit:
                return found[:limit]

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        existed = yield from super().delete_session(session_id)
        if existed:
            # A new session of this id starts at 1 again.
            yield from self._if_indexed(Execute(self._drop_mark, (session_id,)))
        return existed

    def _delete_rows(self, session_id: str, ids: Sequence[str] | None) -> Steps[int]:
        if ids is None:
            yield from self._if_indexed(Execute(self._drop_words, (session_id,)))
        else:
            indexed = "DELETE f FROM {search} f JOIN (SELECT session_id, seq FROM {messages}"
            for sql, some in self._in(indexed, ids):
                joined = sql + ") m ON m.session_id = f.session_id AND m.seq = f.seq"
                yield from self._if_indexed(Execute(joined, (session_id, *some)))
        return (yield from super()._delete_rows(session_id, ids))

    def _if_indexed(self, request: Request) -> Steps[None]:
        """Do it, unless there was no search yet, and so no index."""
        try:
            yield request
        except DriverError as error:
            if number_of(error) != NO_SUCH_TABLE:
                raise
