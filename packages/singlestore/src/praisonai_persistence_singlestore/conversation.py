"""Conversations in SingleStore: the shared SQL, with locks by updates and an append of one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from praisonai_persistence.errors import SessionNotFoundError
from praisonai_persistence.payload import decode_message
from praisonai_persistence.steps import Steps, writes
from praisonai_persistence.stores.searching import rarest
from praisonai_persistence_mysqlcore import Transaction
from praisonai_persistence_mysqlcore.errors import DUPLICATE, DriverError, number_of
from praisonai_persistence_mysqlcore.words import ANY, code_of, codes_of
from praisonai_persistence_singlestore._dialect import CONVERSATION, SEARCH, SingleStore, SingleStoreMigrations
from praisonai_persistence_sql import Execute, IndexedConversationSteps, repeatable
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.schema import CONVERSATION_TABLES, SEARCH_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage

__all__ = ["SingleStoreConversationSteps"]


class SingleStoreConversationSteps(IndexedConversationSteps):
    """Conversations in SingleStore.

    A search scans the codes of the words, in a columnstore table: the server's own full-text index takes changes up
    only some time later, and not as part of a transaction.

    Args:
        prefix: the ``table_prefix``.
    """

    _match = f"(f.words LIKE ? OR f.words = '{ANY}')"

    def __init__(self, prefix: str) -> None:
        dialect = SingleStore()
        super().__init__(dialect, prefix, CONVERSATION)
        names = (*CONVERSATION_TABLES, *SEARCH_TABLES)
        self.migrations = SingleStoreMigrations(dialect, prefix, "conversation", names, CONVERSATION)
        # An update takes the lock of its row, whatever it changes.
        self._hold = self._sql("UPDATE {sessions} SET last_seq = last_seq WHERE session_id = ?")
        self._hold_progress = self._sql("UPDATE {search_progress} SET up_to = up_to WHERE session_id = ?")
        self._raise_seq = self._sql(
            "UPDATE {sessions} SET last_seq = last_seq + 1, "
            f"updated_at = {dialect.next_updated_at('updated_at', '?')} WHERE session_id = ?"
        )
        self._append = self._sql(
            f"INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) "
            "SELECT session_id, ?, ?, ?, ?, ?, ?, ?, last_seq FROM {sessions} WHERE session_id = ?"
        )

    @writes
    @repeatable
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        statements = (
            (self._raise_seq, (now, session_id)),
            (self._append, (*row[:7], session_id)),
            (self._last_seq, (session_id,)),
        )
        try:
            _, _, rows = yield Transaction(statements)
        except DriverError as error:
            if number_of(error) != DUPLICATE:
                raise
            return (yield from super().add_message(session_id, row, now))
        if not rows:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return decode_message(session_id, (*row[:7], rows[0][0]))

    @writes
    @repeatable
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        return (yield from super().add_messages(session_id, rows, now))

    def _lock(self, session_id: str) -> Steps[tuple[int, int, float, float]]:
        yield Execute(self._hold, (session_id,))
        return (yield from super()._lock(session_id))

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        yield Execute(self._hold, (session_id,))
        return (yield from super().delete_session(session_id))

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        yield Execute(self._hold, (session_id,))
        return (yield from super().delete_messages(session_id, ids, now))

    # --------------------------------------------------------------------------------------------------------- search

    def _make_index(self) -> Steps[None]:
        for sql in SEARCH:
            yield Execute(self._sql(sql))

    def _progress(self, session_id: str) -> Steps[tuple[int, int, int]]:
        yield Execute(self._begin_progress, (session_id, 0, 0, 0))
        yield Execute(self._hold_progress, (session_id,))
        return (yield from super()._progress(session_id))

    def _part(self, content: str, start: int) -> tuple[str, int | None]:
        return codes_of(content), None

    def _query(self, words: Sequence[str]) -> str:
        return f"%{code_of(rarest(words))}%"
