"""Conversations in PostgreSQL: the shared SQL, with writes of one statement, and full-text search.

A statement that changes data in its ``WITH`` clauses is atomic, and a transaction of its own takes one round trip. An
append raises the session's ``last_seq`` and inserts the message with it: the row of the session is the lock that makes
``seq`` gap-free. A message whose id is there already, also when both came at once, is stopped by the unique index, and
the whole statement with it. Like an append that found no session it then goes on in a transaction of several
statements, which finds out why. (To ask for the id first would not spare this: a statement that has waited for the
session's row still sees the messages of before.)
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from praisonai_persistence.payload import decode_message, decode_messages, decode_session
from praisonai_persistence.steps import Steps, writes
from praisonai_persistence_pg.requests import CopyIn
from praisonai_persistence_sql import Alone, Execute, Fetch, IndexedConversationSteps, Undo, repeatable, tsvector
from praisonai_persistence_sql.conversation import MESSAGE_COLUMNS, SESSION_COLUMNS
from praisonai_persistence_sql.schema import INDEXED_CONVERSATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["PostgresConversationSteps"]

_UNIQUE_VIOLATION = "23505"
# A batch up to this is sent as one statement; of larger ones COPY is the faster way, in spite of its round trips.
_FEW_MESSAGES, _FEW_CHARACTERS = 100, 1_000_000

# Texts of a batch travel as one text for each column, which costs drivers and server less than arrays do: encoded text
# has four hexadecimal digits behind each of these characters, so that what follows here stands for something else.
_ESCAPE, _SEPARATOR, _NULL = "\x1a", "\x1a|", "\x1aN"
_TEXTS = "id, role, content, tool_calls, tool_call_id, metadata"


class PostgresConversationSteps(IndexedConversationSteps):
    """Conversations in PostgreSQL.

    Appends do not pay for the full-text index: its tables are made by the first search, and every search first adds
    what came since.

    Args:
        dialect: with the schema of the tables.
        prefix: the ``table_prefix``.
    """

    _match = "f.words @@ ?::text::tsquery"
    _first = Alone

    def __init__(self, dialect: Postgres, prefix: str) -> None:
        super().__init__(dialect, prefix, INDEXED_CONVERSATION, (tsvector.INDEX,))
        self._lock_schema = dialect.migration_lock(prefix)
        raise_to = partial(dialect.next_updated_at, "s.updated_at")
        self._append = self._sql(
            f"WITH s AS (UPDATE {{sessions}} AS s SET last_seq = s.last_seq + 1, updated_at = {raise_to('$9')} "
            "WHERE session_id = $1 "
            f"RETURNING last_seq) INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) "
            "SELECT $1, $2, $3::text, $4::text, $5::text, $6::text, $7::text, $8::float8, last_seq FROM s RETURNING seq"
        )
        texts = [f"string_to_array(${n}::text, E'\\x1a|', E'\\x1aN')" for n in range(4, 10)]
        self._append_many = self._sql(
            f"WITH s AS (UPDATE {{sessions}} AS s SET last_seq = s.last_seq + $2::int8, "
            f"updated_at = {raise_to('$3')} WHERE session_id = $1 "
            "RETURNING last_seq - $2::int8 AS base), "
            f"i AS (INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) SELECT $1, {_TEXTS}, created_at, base + n "
            f"FROM s, unnest({', '.join(texts)}, $10::float8[]) "
            f"WITH ORDINALITY AS u({_TEXTS}, created_at, n)) SELECT base FROM s"
        )
        self._raise_seq = self._sql(
            f"UPDATE {{sessions}} AS s SET last_seq = s.last_seq + $2::int8, updated_at = {raise_to('$3')} "
            "WHERE session_id = $1 RETURNING last_seq - $2::int8"
        )
        self._messages = dialect.schema, f"{prefix}messages", ("session_id", *MESSAGE_COLUMNS.split(", "))
        columns = f"{SESSION_COLUMNS}, last_seq"
        values = "$1, $2, $3, $4, $5, $6, $7::float8, $8::float8, $9::int8, 0"
        insert = f"INSERT INTO {{sessions}} AS s ({columns}) VALUES ({values}) ON CONFLICT (session_id) DO "
        self._create = self._sql(insert + "NOTHING RETURNING version")
        raised = "created_at, updated_at, version"
        changes = (
            "user_id = excluded.user_id, agent_id = excluded.agent_id, name = excluded.name, state = excluded.state, "
            f"metadata = excluded.metadata, updated_at = {raise_to('$10')}, version = s.version + 1"
        )
        self._upsert = self._sql(f"{insert}UPDATE SET {changes} RETURNING {raised}")
        self._update = self._sql(
            "UPDATE {sessions} AS s SET user_id = $2, agent_id = $3, name = $4, state = $5, metadata = $6, "
            f"updated_at = {raise_to('$7')}, version = s.version + 1 "
            f"WHERE session_id = $1 AND ($8::int8 IS NULL OR s.version = $8) RETURNING {raised}"
        )
        self._make_tables = [self._sql(sql) for sql in tsvector.TABLES]

    # ------------------------------------------------------------------------------------------------------- sessions

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        if (yield Alone(self._create, row)):
            return decode_session(row)
        return (yield from super().create_session(row))  # says that it exists

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        found = yield Alone(self._update, (*row[:6], now, expected_version))
        if not found:  # no such session, or another version
            return (yield from super().update_session(row, expected_version, now))
        return _merged(row, found[0])

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        found = yield Alone(self._upsert, (*row, now))
        return _merged(row, found[0])

    # ------------------------------------------------------------------------------------------------------- messages

    @repeatable
    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        try:
            inserted = yield Alone(self._append, (session_id, *row[:7], now))
        except Exception as error:
            if not _is_repeated(error):
                raise
            inserted = ()
        if not inserted:  # no such session, or the message is there already
            return (yield from super().add_messages(session_id, [row], now))[0]
        return decode_message(session_id, (*row[:7], inserted[0][0]))

    @repeatable
    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        new = rows if len({row.id for row in rows}) == len(rows) else _once(rows)
        before = yield from self._append_new(session_id, new, now)
        if before is None:
            return (yield from super().add_messages(session_id, rows, now))
        messages = decode_messages(session_id, ((*row[:7], seq) for seq, row in enumerate(new, before + 1)))
        if len(new) == len(rows):
            return messages
        by_id = {message.id: message for message in messages}
        return [by_id[row.id] for row in rows]

    def _append_new(self, session_id: str, new: Sequence[MessageRow], now: float) -> Steps[int | None]:
        """Append messages and return the seq before the first one's; None: there is one already, or no session."""
        if len(new) < 2:
            return None
        *texts, created, _ = zip(*new, strict=True)
        few = len(new) <= _FEW_MESSAGES and _ESCAPE not in "".join(texts[0])
        joined = [_SEPARATOR.join([_NULL if text is None else text for text in column]) for column in texts if few]
        try:
            if few and sum(map(len, joined)) <= _FEW_CHARACTERS:
                found = yield Alone(self._append_many, (session_id, len(new), now, *joined, list(created)))
            elif found := (yield Fetch(self._raise_seq, (session_id, len(new), now))):
                rows = ((session_id, *row[:7], seq) for seq, row in enumerate(new, found[0][0] + 1))
                yield CopyIn(*self._messages, rows)
        except Exception as error:
            if not _is_repeated(error):
                raise
            yield Undo()
            return None
        return int(found[0][0]) if found else None

    # --------------------------------------------------------------------------------------------------------- search

    def _make_index(self) -> Steps[None]:
        for sql in (*self._lock_schema, *self._make_tables):
            yield Execute(sql) if isinstance(sql, str) else sql

    def _part(self, content: str, start: int) -> tuple[str, int | None]:
        return tsvector.lexemes_of_part(content, start)

    def _query(self, words: Sequence[str]) -> str:
        return tsvector.query_of(words)


def _once(rows: Sequence[MessageRow]) -> Sequence[MessageRow]:
    """Return the rows without repetitions of an id: those that come first, in order."""
    first: dict[str, MessageRow] = {}
    for row in rows:
        first.setdefault(row.id, row)
    return list(first.values())


def _merged(row: SessionRow, stored: Sequence[Any]) -> ConversationSession:
    created_at, updated_at, version = stored
    return decode_session(row._replace(created_at=created_at, updated_at=updated_at, version=version))


def _is_repeated(error: Exception) -> bool:
    """Whether an append failed because a message of that id is there; both drivers have the code."""
    return getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION
