"""Conversations in SurrealDB: a record for each session, for each message, and for the id of each message.

The record id of a message is its session and its seq, so the latest messages are a range of record ids. Each operation
that writes is one block of statements, which the engine does as one transaction, in one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConflictError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.payload import (
    UPDATED_AT_STEP,
    MessageRow,
    SessionRow,
    decode_message,
    decode_messages,
    decode_session,
    match_stored,
    next_updated_at,
)
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import ConversationSteps
from praisonai_persistence.stores.vector_errors import TakenError
from praisonai_persistence_surrealdb._driver import ask
from praisonai_persistence_surrealdb._schema import Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.conversation import Selection
    from praisonai_persistence_surrealdb._driver import SurrealOptions

__all__ = ["SurrealConversationSteps"]

_MOST = 2**62  # above every seq and every number of sessions; SurrealDB's integers have 64 bits
_GROWTH = 4  # of the range that is read, while too few of its messages are selected
_SESSION = f"[{', '.join(SessionRow._fields)}]"
_NAMES = ("message_id", *MessageRow._fields[1:])
_FIELDS = ", ".join(f"{name}: $new.{name}" for name in _NAMES[:-1])

# `@` stands before what depends on the prefix. All values are bound.
_LEAST, _LARGEST, _PART = (f"{number!r}f" for number in UPDATED_AT_STEP)  # `f` is SurrealQL's mark of a float
_NOW = f"math::max([$now, updated_at + math::min([math::max([updated_at, {_LEAST}]), {_LARGEST}]) * {_PART}])"
_OLD = "LET $old = (SELECT * FROM ONLY @session)"
_CHANGES = ", ".join(f"{name} = $row.{name}" for name in SessionRow._fields[1:6])
_CHANGE = f"UPDATE @session SET {_CHANGES}, version = $old.version + 1, updated_at = {_NOW} RETURN NONE"
_GET = f"SELECT VALUE {_SESSION} FROM ONLY @session"
_CREATE = """{
    IF (SELECT VALUE id FROM ONLY @session) != NONE { RETURN false };
    CREATE @session CONTENT $row RETURN NONE;
    RETURN true
}"""
_UPDATE = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN NONE }};
    IF $version != NONE AND $old.version != $version {{ RETURN $old.version }};
    {_CHANGE};
    RETURN {_GET}
}}"""
_UPSERT = f"""{{
    {_OLD};
    IF $old = NONE {{ CREATE @session CONTENT $row RETURN NONE }} ELSE {{ {_CHANGE} }};
    RETURN {_GET}
}}"""
_DELETE = """{
    IF (SELECT VALUE id FROM ONLY @session) = NONE { RETURN false };
    DELETE @every_message RETURN NONE;
    DELETE @every_id RETURN NONE;
    DELETE @session RETURN NONE;
    RETURN true
}"""
# On a full disk the engine may keep a part of a transaction, in the order of its keys: ids, messages, and last the
# session. So the session decides what counts, and what is there beyond its last_seq is written over.
_COUNTS = "message.seq <= $old.last_seq AND message.message_id = record::id(id)[1]"
_KNOWN = f"""LET $known = (SELECT VALUE [{", ".join(f"message.{name}" for name in _NAMES)}] FROM $ids WHERE {_COUNTS});
    IF array::len($known) > 0 {{ RETURN $known }}"""
# The messages of $rows have their place in the batch as seq.
_WRITE = f"""LET $last = $old.last_seq ?? 0;
    FOR $new IN $rows {{
        LET $seq = $last + $new.seq;
        UPSERT @messages:[$sid, $seq] CONTENT {{ {_FIELDS}, seq: $seq }} RETURN NONE;
        UPSERT @ids:[$sid, $new.message_id] CONTENT {{ message: @messages:[$sid, $seq] }} RETURN NONE
    }}"""
# One message: fewer statements, which take most of the time of an append. It fails where something is there already.
_APPEND_ONE = f"""{{
    LET $seq = (UPDATE @session SET last_seq += 1, messages += 1, updated_at = {_NOW} RETURN VALUE last_seq)[0];
    IF $seq = NONE {{ RETURN NONE }};
    CREATE @ids:[$sid, $message_id] SET message = @messages:[$sid, $seq] RETURN NONE;
    CREATE @messages:[$sid, $seq] SET %s, seq = $seq RETURN NONE;
    RETURN $seq
}}"""
_APPEND = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN NONE }};
    {_KNOWN};
    {_WRITE};
    UPDATE @session SET last_seq = $last + array::len($rows), messages = $old.messages + array::len($rows),
        updated_at = {_NOW} RETURN NONE;
    RETURN $last
}}"""
_WINDOW = """{
    LET $end = $until ?? (SELECT VALUE last_seq FROM ONLY @session) ?? 0;
    LET $begin = math::max([$start, $end - $n + 1]);
    RETURN [$end, (SELECT * OMIT id FROM @messages:[$sid, $begin]..=[$sid, $end])]
}"""
_COUNT = "SELECT VALUE messages FROM ONLY @session"
_LESS = f"""UPDATE @session SET messages = $old.messages - $n, updated_at = {_NOW} RETURN NONE;
    RETURN $n"""
_DELETE_ALL = f"""{{
    {_OLD};
    LET $n = $old.messages ?? 0;
    IF $n = 0 {{ RETURN 0 }};
    DELETE @every_message RETURN NONE;
    DELETE @every_id RETURN NONE;
    {_LESS}
}}"""
_DELETE_SOME = f"""{{
    {_OLD};
    LET $gone = (SELECT VALUE message FROM $ids WHERE {_COUNTS});
    LET $n = array::len($gone);
    IF $n = 0 {{ RETURN 0 }};
    DELETE $gone RETURN NONE;
    DELETE $ids RETURN NONE;
    {_LESS}
}}"""
_FORK = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN 'missing' }};
    IF (SELECT VALUE id FROM ONLY @sessions:[$other]) != NONE {{ RETURN 'exists' }};
    LET $end = math::min([$until, $old.last_seq]);
    LET $copied = (SELECT * OMIT id FROM @messages:[$sid, 0]..=[$sid, $end]);
    FOR $new IN $copied {{
        CREATE @messages:[$other, $new.seq] CONTENT $new RETURN NONE;
        CREATE @ids:[$other, $new.message_id] SET message = @messages:[$other, $new.seq] RETURN NONE
    }};
    LET $row = (SELECT * OMIT id FROM ONLY @session);
    CREATE @sessions:[$other] CONTENT $row RETURN NONE;
    UPDATE @sessions:[$other] SET session_id = $other, created_at = $now, updated_at = $now, version = 1,
        messages = array::len($copied), last_seq = array::last($copied.seq) ?? 0 RETURN NONE;
    RETURN SELECT VALUE {_SESSION} FROM ONLY @sessions:[$other]
}}"""
_REWRITE = f"""{{
    {_OLD};
    IF ($old.version ?? 0) != $version {{ RETURN $old.version ?? 0 }};
    {_KNOWN};
    LET $gone = (SELECT VALUE message FROM $removed WHERE {_COUNTS});
    DELETE $gone RETURN NONE;
    DELETE $removed RETURN NONE;
    {_WRITE};
    IF $old = NONE {{ CREATE @session CONTENT $row RETURN NONE }} ELSE {{ {_CHANGE} }};
    UPDATE @session SET last_seq = $last + array::len($rows),
        messages = ($old.messages ?? 0) + array::len($rows) - array::len($gone) RETURN NONE;
    RETURN {{ session: ({_GET}) }}
}}"""


class SurrealConversationSteps(ConversationSteps):
    """Conversations in SurrealDB.

    Args:
        options: of the store.
    """

    def __init__(self, options: SurrealOptions) -> None:
        self._names = {
            "@sessions": f"{options.table_prefix}sessions",
            "@session": f"{options.table_prefix}sessions:[$sid]",
            "@every_message": f"{options.table_prefix}messages:[$sid, 0]..=[$sid, {_MOST}]",
            "@messages": f"{options.table_prefix}messages",
            "@every_id": f"{options.table_prefix}message_ids:[$sid, '']..[$sid, {{}}]",
            "@ids": f"{options.table_prefix}message_ids",
        }
        self.schema = Schema("conversation", tuple(self._names[name] for name in ("@sessions", "@messages", "@ids")))
        self._seconds = options.timeout
        self._texts: dict[str, str] = {}

    def _ask(self, template: str, session_id: str | None = None, /, **values: Any) -> Steps[Any]:
        text = self._texts.get(template)
        if text is None:
            text = template
            for name, meant in self._names.items():
                text = text.replace(name, meant)
            self._texts[template] = text
        return (yield from ask(self._seconds, text, sid=session_id, **values))

    def _records(self, session_id: str, ids: Sequence[str]) -> list[Any]:
        """Return the records that stand for ids of messages."""
        from surrealdb import RecordID

        return [RecordID(self._names["@ids"], [session_id, item]) for item in ids]

    # -------------------------------------------------------------------------------------------------------- sessions

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        if not (yield from self._ask(_CREATE, row.session_id, row=_new(row))):
            raise _exists(row.session_id)
        return decode_session(row)

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        found = yield from self._ask(_GET, session_id)
        return None if found is None else decode_session(found)

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        found = yield from self._ask(_UPDATE, row.session_id, row=_new(row), version=expected_version, now=now)
        return _decode(row.session_id, found, expected_version)

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        return decode_session((yield from self._ask(_UPSERT, row.session_id, row=_new(row), now=now)))

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        return bool((yield from self._ask(_DELETE, session_id)))

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        wanted = {"user_id": user_id, "agent_id": agent_id}
        where = " AND ".join(f"{name} = ${name}" for name, value in wanted.items() if value is not None)
        text = f"SELECT * FROM @sessions {where and 'WHERE '}{where} ORDER BY updated_at DESC, session_id ASC"
        page = {"limit": min(limit, _MOST), "offset": min(offset, _MOST)}
        rows = yield from self._ask(f"{text} LIMIT $limit START $offset", **wanted, **page)
        return [decode_session([row.get(name) for name in SessionRow._fields]) for row in rows]

    # -------------------------------------------------------------------------------------------------------- messages

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        values = {name: value for name, value in zip(_NAMES[:-1], row, strict=False) if value is not None}
        text = _APPEND_ONE % ", ".join(f"{name} = ${name}" for name in values)
        try:
            seq = yield from self._ask(text, session_id, now=now, **values)
        except TakenError:
            return decode_message(session_id, (yield from self._append(session_id, [row], now))[0])
        if seq is None:
            raise _missing(session_id)
        return decode_message(session_id, row._replace(seq=seq))

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        return decode_messages(session_id, (yield from self._append(session_id, rows, now)))

    def _append(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[MessageRow]]:
        stored: dict[str, MessageRow] = {}
        while new := _unstored(rows, stored):
            ids = self._records(session_id, list(new))
            found = yield from self._ask(_APPEND, session_id, ids=ids, rows=_numbered(new), now=now)
            if found is None:
                raise _missing(session_id)
            if isinstance(found, int):
                stored.update((row.id, row._replace(seq=found + n)) for n, row in enumerate(new.values(), 1))
            else:  # some have been there before; nothing was written
                stored.update((row[0], MessageRow._make(row)) for row in found)
        return [stored[row.id] for row in rows]

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        start = min(max(selection.after_seq or 0, 0), _MOST) + 1
        until = None if selection.before_seq is None else min(max(selection.before_seq, 1), _MOST) - 1
        size = min(selection.limit or _MOST, _MOST)
        newest: list[MessageRow] = []
        while True:
            end, rows = yield from self._ask(_WINDOW, session_id, start=start, until=until, n=size)
            newest += (MessageRow._make(map(row.get, _NAMES)) for row in reversed(rows))
            picked = selection.pick(newest)
            if len(picked) == selection.limit or end - size < start:
                return decode_messages(session_id, picked)
            until, size = end - size, size * _GROWTH

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        if ids is None:
            return int((yield from self._ask(_DELETE_ALL, session_id, now=now)))
        return int((yield from self._ask(_DELETE_SOME, session_id, ids=self._records(session_id, ids), now=now)))

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        return (yield from self._ask(_COUNT, session_id)) or 0

    # ----------------------------------------------------------------------------------------------- the whole session

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        until = _MOST if up_to_seq is None else max(min(up_to_seq, _MOST), 0)
        found = yield from self._ask(_FORK, session_id, other=new_session_id, until=until, now=now)
        if found == "missing":
            raise _missing(session_id)
        if found == "exists":
            raise _exists(new_session_id)
        return decode_session(found)

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        if not version:
            ids = []
            if rows:
                row = row._replace(updated_at=next_updated_at(row.updated_at, now))
        stored: dict[str, MessageRow] = {}
        while True:
            new = _unstored(rows, stored)
            found = yield from self._ask(
                _REWRITE,
                row.session_id,
                row=_new(row),
                version=version,
                ids=self._records(row.session_id, [item for item in new if item not in set(ids)]),
                removed=self._records(row.session_id, ids),
                rows=_numbered(new),
                now=now,
            )
            if isinstance(found, int):
                if not version:
                    raise _exists(row.session_id)
                return _decode(row.session_id, found or None, version)
            if isinstance(found, dict):
                return decode_session(found["session"])
            stored.update((known[0], MessageRow._make(known)) for known in found)


def _new(row: SessionRow) -> dict[str, Any]:
    return {**row._asdict(), "last_seq": 0, "messages": 0}


def _unstored(rows: Sequence[MessageRow], stored: dict[str, MessageRow]) -> dict[str, MessageRow]:
    """Return the rows that are not stored, by id; see that the others, and those with one id, are equal."""
    new: dict[str, MessageRow] = {}
    for row in rows:
        if row.id in stored:
            match_stored(stored[row.id], row)
        else:
            match_stored(new.setdefault(row.id, row), row)
    return new


def _numbered(rows: dict[str, MessageRow]) -> list[dict[str, Any]]:
    """Return rows as they are stored, each with its place among them as its seq."""
    return [dict(zip(_NAMES, (*row[:-1], number), strict=True)) for number, row in enumerate(rows.values(), 1)]


def _decode(session_id: str, found: Any, version: int | None) -> ConversationSession:
    """Return a session; or raise: none was found, or only the number of its version."""
    if found is None:
        raise _missing(session_id)
    if isinstance(found, int):
        raise ConflictError(f"session {session_id!r} has version {found}, not {version}: read it again")
    return decode_session(found)


def _missing(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")


def _exists(session_id: str) -> SessionExistsError:
    return SessionExistsError(f"session {session_id!r} exists already")
