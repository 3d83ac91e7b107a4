"""Conversations in MySQL: the shared SQL, with an append of one round trip and a full-text index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.errors import SessionNotFoundError
from praisonai_persistence.payload import decode_message, decode_messages, next_updated_at
from praisonai_persistence.steps import Steps, writes
from praisonai_persistence_mysql._schema import CONVERSATION
from praisonai_persistence_mysqlcore.dialect import MySQL, MySQLConversationMigrations
from praisonai_persistence_mysqlcore.errors import DUPLICATE, DriverError, number_of
from praisonai_persistence_mysqlcore.requests import Transaction
from praisonai_persistence_mysqlcore.words import codes_of, match_of
from praisonai_persistence_sql import Execute, ExecuteMany, IndexedConversationSteps, Undo, repeatable
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.schema import CONVERSATION_TABLES, SEARCH_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage

__all__ = ["MySQLConversationSteps"]


class MySQLConversationSteps(IndexedConversationSteps):
    """Conversations in MySQL.

    Appends do not pay for the full-text index: its tables are made by the first search, and every search first adds
    what came since.

    Args:
        prefix: the ``table_prefix``.
    """

    _match = "MATCH (f.words) AGAINST (? IN BOOLEAN MODE)"

    def __init__(self, prefix: str) -> None:
        dialect = MySQL()
        super().__init__(dialect, prefix, CONVERSATION)
        names = (*CONVERSATION_TABLES, *SEARCH_TABLES)
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

    # Appends are idempotent by the messages' ids, so they may be done again when a connection broke around the commit.

    @writes
    @repeatable
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        raise_seq = (self._raise_seq, (now, session_id))
        try:
            changed, seq, _ = yield Transaction((raise_seq, (self._append, (*row[:7], session_id))))
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

    def _make_index(self) -> Steps[None]:
        yield Execute(
            self._sql(
                "CREATE TABLE IF NOT EXISTS {search_words} (session_id {t_id}, seq {t_int}, part {t_int}, "
                "created_at {t_real} NOT NULL, words {t_text} NOT NULL, PRIMARY KEY (session_id, seq, part), "
                "FULLTEXT KEY (words)) ENGINE=InnoDB"
            )
        )
        yield Execute(
            self._sql(
                "CREATE TABLE IF NOT EXISTS {search_progress} (session_id {t_id} PRIMARY KEY, "
                "up_to {t_int} NOT NULL, start {t_int} NOT NULL, part {t_int} NOT NULL) ENGINE=InnoDB"
            )
        )

    def _part(self, content: str, start: int) -> tuple[str, int | None]:
        """A message with many words is one row all the same, which says so."""
        return codes_of(content), None

    def _query(self, words: Sequence[str]) -> str:
        return match_of(words)
