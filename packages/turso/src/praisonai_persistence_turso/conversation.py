"""Conversations in Turso: the shared SQL, an append in one round trip, and a full-text index."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from praisonai_persistence.payload import decode_message, match_stored
from praisonai_persistence.steps import writes
from praisonai_persistence.stores.searching import rarest, words_of_part
from praisonai_persistence_sql import Execute, Fetch, IndexedConversationSteps, Migration, Patiently
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS
from praisonai_persistence_sql.schema import INDEXED_CONVERSATION
from praisonai_persistence_turso._dialect import LibSQL
from praisonai_persistence_turso._hrana import Transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence.steps import Steps

__all__ = ["TursoConversationSteps"]

_COLUMNS = ["session_id", *MESSAGE_COLUMNS.split(", ")]
_OF_SEVERAL = "\u2060part"  # in each row of the index that has a part of a message only; stands in no word
_NO_TEXT = "DROP TABLE IF EXISTS {search_text}"
_SCHEMA = tuple(
    Migration(step.version, step.name, (_NO_TEXT, *step.up), (_NO_TEXT, *(step.down or ())), step.drops)
    for step in INDEXED_CONVERSATION
)


_INDEX = (
    """CREATE TABLE IF NOT EXISTS {search_progress} (
        session_id {t_id} NOT NULL PRIMARY KEY, up_to {t_int} NOT NULL, start {t_int} NOT NULL, part {t_int} NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS {search_words} (
        n INTEGER PRIMARY KEY, session_id {t_id} NOT NULL, seq {t_int} NOT NULL, part {t_int} NOT NULL,
        created_at {t_real} NOT NULL, words {t_text} NOT NULL, UNIQUE (session_id, seq, part)
    )""",
    "CREATE VIRTUAL TABLE IF NOT EXISTS {search_text} USING fts5(words, content='', tokenize='ascii')",
)
_ADD = "INSERT INTO {search_text} (rowid, words) VALUES (new.n, new.words);"
_DROP = "INSERT INTO {search_text} ({search_text}, rowid, words) VALUES ('delete', old.n, old.words);"
_TRIGGERS = (
    f"CREATE TRIGGER IF NOT EXISTS {{search_added}} AFTER INSERT ON {{search_words}} BEGIN {_ADD} END",
    f"CREATE TRIGGER IF NOT EXISTS {{search_dropped}} AFTER DELETE ON {{search_words}} BEGIN {_DROP} END",
    f"CREATE TRIGGER IF NOT EXISTS {{search_changed}} AFTER UPDATE ON {{search_words}} BEGIN {_DROP} {_ADD} END",
)


class TursoConversationSteps(IndexedConversationSteps):
    """Conversations in Turso.

    The table of words has a full-text index (FTS5), which triggers keep up with it.

    Args:
        prefix: the ``table_prefix``.
        local: whether they are in a file.
    """

    _match: ClassVar[str] = "f.n IN (SELECT rowid FROM {search_text} WHERE {search_text} MATCH ?)"
    _step: ClassVar[int] = 250_000

    def __init__(self, prefix: str, *, local: bool) -> None:
        dialect = LibSQL()
        self._local = local
        super().__init__(dialect, prefix, _SCHEMA, ("search_text", "search_added", "search_dropped", "search_changed"))
        of_session = "FROM {sessions} WHERE session_id = ?"
        self._append_new = self._sql(
            f"INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) SELECT session_id, ?, ?, ?, ?, ?, ?, ?, "
            f"last_seq + 1 {of_session} ON CONFLICT (session_id, id) DO NOTHING"
        )
        later = dialect.next_updated_at("updated_at", "?")
        self._appended = self._sql(
            f"UPDATE {{sessions}} SET last_seq = last_seq + 1, updated_at = {later} "
            "WHERE session_id = ? AND last_seq + 1 = (SELECT seq FROM {messages} WHERE session_id = ? AND id = ?)"
        )
        self._one = self._sql(f"SELECT {MESSAGE_COLUMNS} FROM {{messages}} WHERE session_id = ? AND id = ?")
        # In a file, where requests cost nothing, these are less work.
        self._append_next = self._sql(dialect.insert_new("{messages}", _COLUMNS, ["session_id", "id"]))
        self._raise = self._sql(f"UPDATE {{sessions}} SET last_seq = ?, updated_at = {later} WHERE session_id = ?")
        self._index = [self._sql(sql) for sql in (*_INDEX, *_TRIGGERS)]

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        if self._local:
            last = yield Fetch(self._last_seq, (session_id,))
            stored = (*row[:7], last[0][0] + 1 if last else 0)
            if last and (yield Execute(self._append_next, (session_id, *stored))):
                yield Execute(self._raise, (stored[-1], now, session_id))
                return decode_message(session_id, stored)
            return (yield from super().add_message(session_id, row, now))  # no such session, or it is there already
        found = yield Transaction(
            [
                (self._append_new, (*row[:7], session_id)),
                (self._appended, (now, session_id, session_id, row.id)),
                (self._one, (session_id, row.id)),
            ]
        )
        if not found:
            return (yield from super().add_message(session_id, row, now))  # which says that there is no such session
        match_stored(found[0], row)
        return decode_message(session_id, found[0])

    def _make_index(self) -> Steps[None]:
        yield Patiently()
        for sql in self._index:
            yield Execute(sql)

    def _part(self, content: str, start: int) -> tuple[str, int | None]:
        words, end = words_of_part(content, start)
        if start or end is not None:
            words.append(_OF_SEVERAL)
        return " ".join(words), end

    def _query(self, words: Sequence[str]) -> str:
        every = " ".join(f'"{word}"' for word in words)
        return every if len(words) == 1 else f'({every}) OR ("{_OF_SEVERAL}" "{rarest(words)}")'
