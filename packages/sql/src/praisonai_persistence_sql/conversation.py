"""The conversation contract in SQL that every engine understands."""

from __future__ import annotations

from operator import attrgetter

from praisonai_persistence.errors import ConflictError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.payload import (
    SessionRow,
    decode_messages,
    decode_session,
    match_stored,
    next_updated_at,
)
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import ConversationSteps
from praisonai_persistence_sql.adoption import ConversationMigrations
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch
from praisonai_persistence_sql.schema import CONVERSATION, CONVERSATION_TABLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.conversation import Selection
    from praisonai_persistence_sql.dialect import Dialect
    from praisonai_persistence_sql.migrations import Migration

__all__ = ["MESSAGE_COLUMNS", "SESSION_COLUMNS", "SQLConversationSteps"]

SESSION_COLUMNS = "session_id, user_id, agent_id, name, state, metadata, created_at, updated_at, version"
MESSAGE_COLUMNS = "id, role, content, tool_calls, tool_call_id, metadata, created_at, seq"
_BOUNDS = ("seq < ?", "seq > ?", "created_at < ?", "created_at > ?")
_bounds_and_limit = attrgetter("before_seq", "after_seq", "before", "after", "limit")


class SQLConversationSteps(ConversationSteps):
    """Sessions and messages, one row each. The row of a session is the lock of its messages.

    Args:
        dialect: of the engine.
        prefix: the ``table_prefix``.
        migrations: the schema, where an engine adds to the shared one.
        tables: names of tables and indexes that the added migrations mention.
    """

    def __init__(
        self,
        dialect: Dialect,
        prefix: str,
        migrations: Sequence[Migration] = CONVERSATION,
        tables: Sequence[str] = (),
    ) -> None:
        names = (*CONVERSATION_TABLES, *tables)
        self.migrations = ConversationMigrations(dialect, prefix, "conversation", names, migrations)
        self._dialect = dialect
        self._tables = dialect.tables(prefix, names)
        self._selects: dict[tuple[bool, ...], str] = {}
        sessions = self._tables["sessions"]
        columns = SESSION_COLUMNS.split(", ")
        self._insert_session = self._sql(dialect.insert_new(sessions, [*columns, "last_seq"], ["session_id"]))
        self._get_session = self._sql(f"SELECT {SESSION_COLUMNS} FROM {{sessions}} WHERE session_id = ?")
        self._lock_session = self._sql(
            "SELECT last_seq, version, created_at, updated_at FROM {sessions} WHERE session_id = ?" + dialect.for_update
        )
        self._update_session = self._sql(
            "UPDATE {sessions} SET user_id = ?, agent_id = ?, name = ?, state = ?, metadata = ?, updated_at = ?, "
            "version = ? WHERE session_id = ?"
        )
        self._delete_session = self._sql("DELETE FROM {sessions} WHERE session_id = ?")
        self._touch_session = self._sql("UPDATE {sessions} SET last_seq = ?, updated_at = ? WHERE session_id = ?")
        self._insert_message = self._sql(
            f"INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._delete_all = self._sql("DELETE FROM {messages} WHERE session_id = ?")
        self._count = self._sql("SELECT COUNT(*) FROM {messages} WHERE session_id = ?")
        self._last = self._sql("SELECT MAX(seq) FROM {messages} WHERE session_id = ?")
        self._last_up_to = self._sql("SELECT MAX(seq) FROM {messages} WHERE session_id = ? AND seq <= ?")
        self._copy_messages = self._sql(
            f"INSERT INTO {{messages}} (session_id, {MESSAGE_COLUMNS}) "
            f"SELECT ?, {MESSAGE_COLUMNS} FROM {{messages}} WHERE session_id = ? AND seq <= ?"
        )

    def _sql(self, sql: str) -> str:
        return self._dialect.prepare(sql, self._tables)

    # ------------------------------------------------------------------------------------------------------- sessions

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        if not (yield Execute(self._insert_session, (*row, 0))):
            raise SessionExistsError(f"session {row.session_id!r} exists already")
        return decode_session(row)

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        rows = yield Fetch(self._get_session, (session_id,))
        return decode_session(rows[0]) if rows else None

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        _, version, created_at, updated_at = yield from self._lock(row.session_id)
        if expected_version is not None and version != expected_version:
            raise ConflictError(
                f"session {row.session_id!r} has version {version}, not {expected_version}: read it again"
            )
        stored = row._replace(created_at=created_at, updated_at=next_updated_at(updated_at, now), version=version + 1)
        changes = (*stored[1:6], stored.updated_at, stored.version, stored.session_id)
        yield Execute(self._update_session, changes)
        return decode_session(stored)

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        if (yield Execute(self._insert_session, (*row, 0))):
            return decode_session(row)
        return (yield from self.update_session(row, None, now))

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        if not (yield Fetch(self._lock_session, (session_id,))):
            return False
        yield from self._delete_rows(session_id, None)
        yield Execute(self._delete_session, (session_id,))
        return True

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        wanted = {"user_id": user_id, "agent_id": agent_id}
        filters = [name for name, value in wanted.items() if value is not None]
        where = f" WHERE {' AND '.join(f'{name} = ?' for name in filters)}" if filters else ""
        sql = f"SELECT {SESSION_COLUMNS} FROM {{sessions}}{where} ORDER BY updated_at DESC, session_id LIMIT ? OFFSET ?"
        rows = yield Fetch(self._sql(sql), (*(wanted[name] for name in filters), limit, offset))
        return [decode_session(row) for row in rows]

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        yield from self._lock(session_id)
        rows = yield Fetch(self._get_session, (session_id,))
        if up_to_seq is None:
            found = yield Fetch(self._last, (session_id,))
        else:
            found = yield Fetch(self._last_up_to, (session_id, up_to_seq))
        last = found[0][0] or 0
        fork = SessionRow(*rows[0])._replace(session_id=new_session_id, created_at=now, updated_at=now, version=1)
        if not (yield Execute(self._insert_session, (*fork, last))):
            raise SessionExistsError(f"session {new_session_id!r} exists already")
        yield Execute(self._copy_messages, (new_session_id, session_id, last))
        return decode_session(fork)

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        # The methods of this class, whatever an engine has instead: those may commit, or undo, on their own.
        if version:
            yield from SQLConversationSteps.update_session(self, row, version, now)
            yield from self._delete_rows(row.session_id, ids)
        else:
            yield from SQLConversationSteps.create_session(self, row)
        if rows:
            yield from SQLConversationSteps.add_messages(self, row.session_id, rows, now)
        return decode_session((yield Fetch(self._get_session, (row.session_id,)))[0])

    def _lock(self, session_id: str) -> Steps[tuple[int, int, float, float]]:
        """Return last_seq, version, created_at and updated_at, and keep others from changing them."""
        rows = yield Fetch(self._lock_session, (session_id,))
        if not rows:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return rows[0]  # type: ignore[no-any-return]

    # ------------------------------------------------------------------------------------------------------- messages

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        last, _, _, updated_at = yield from self._lock(session_id)
        stored: dict[str, Sequence[Any]] = {}
        for sql, ids in self._in(f"SELECT {MESSAGE_COLUMNS} FROM {{messages}}", [row.id for row in rows]):
            stored.update({found[0]: found for found in (yield Fetch(sql, (session_id, *ids)))})
        new: list[Sequence[Any]] = []
        for row in rows:
            if row.id in stored:
                match_stored(stored[row.id], row)
            else:
                last += 1
                stored[row.id] = row._replace(seq=last)
                new.append((session_id, *stored[row.id]))
        if new:
            yield ExecuteMany(self._insert_message, new)
            yield Execute(self._touch_session, (last, next_updated_at(updated_at, now), session_id))
        return decode_messages(session_id, [stored[row.id] for row in rows])

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        values = _bounds_and_limit(selection)
        shape = tuple([value is not None for value in values])
        sql = self._selects.get(shape) or self._select(shape)
        rows = yield Fetch(sql, (session_id, *[value for value in values if value is not None]))
        if selection.limit is not None:
            rows.reverse()
        return decode_messages(session_id, rows)

    def _select(self, shape: tuple[bool, ...]) -> str:
        where = "".join(f" AND {condition}" for condition, given in zip(_BOUNDS, shape, strict=False) if given)
        order = " DESC LIMIT ?" if shape[-1] else ""
        sql = self._sql(f"SELECT {MESSAGE_COLUMNS} FROM {{messages}} WHERE session_id = ?{where} ORDER BY seq{order}")
        self._selects[shape] = sql
        return sql

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        locked = yield Fetch(self._lock_session, (session_id,))
        if not locked:
            return 0
        last, _, _, updated_at = locked[0]
        gone = yield from self._delete_rows(session_id, ids)
        if gone:
            yield Execute(self._touch_session, (last, next_updated_at(updated_at, now), session_id))
        return gone

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        return int((yield Fetch(self._count, (session_id,)))[0][0])

    def _in(self, statement: str, ids: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the statement for messages of a session by id, in pieces that the engine takes."""
        for start in range(0, len(ids), self._dialect.max_parameters):
            some = ids[start : start + self._dialect.max_parameters]
            yield self._sql(f"{statement} WHERE session_id = ? AND id IN ({', '.join('?' * len(some))})"), some

    def _delete_rows(self, session_id: str, ids: Sequence[str] | None) -> Steps[int]:
        """Delete messages, all with None; where an engine keeps a full-text index, it overrides this."""
        if ids is None:
            return int((yield Execute(self._delete_all, (session_id,))))
        gone = 0
        for sql, some in self._in("DELETE FROM {messages}", ids):
            gone += yield Execute(sql, (session_id, *some))
        return gone
