"""Copying the rows of the tables that PraisonAI itself wrote into ours.

Nothing is lost: what has no place in our columns (JSON that is broken, or no object where one belongs; ids that we
refuse; times that are none) is kept as text in the metadata of its session or message, under ``praisonai_legacy``.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import InvalidValueError, SchemaError, SessionExistsError
from praisonai_persistence.payload import MessageRow, SessionRow, check_id, dumps, encode_text
from praisonai_persistence.steps import Steps
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence_sql.dialect import Dialect

__all__ = ["MESSAGE", "SESSION", "Copy"]

KEPT = "praisonai_legacy"
"""The key in our metadata under which stands what has no place elsewhere."""
NO_SESSION = "praisonai-legacy-no-session"
"""The session of messages that name none."""
SESSION = ("session_id", "user_id", "agent_id", "name", "state", "metadata", "created_at", "updated_at")
MESSAGE = ("id", "session_id", "role", "content", "tool_calls", "tool_call_id", "metadata", "created_at")
_SESSIONS_AT_ONCE = 200
_MESSAGES_AT_ONCE = 500
_CHARACTERS_AT_ONCE = 4_000_000
_NO_LIMIT = 2**62


class Copy:
    """Copies the rows of PraisonAI's two tables into two of ours.

    Args:
        dialect: of the engine.
        tables: quoted: ``sessions``, ``messages`` (ours), ``old_sessions``, ``old_messages``, ``scratch``.
        index: the name of the scratch table's index, quoted.
        missing: columns that the old tables lack, as ``table.column``.
    """

    def __init__(self, dialect: Dialect, tables: dict[str, str], index: str, missing: Sequence[str]) -> None:
        self._dialect = dialect
        self._tables = tables
        self._index = index
        self._how = dialect.legacy
        self._missing = frozenset(missing)
        self.drop = f"DROP TABLE {tables['scratch']}"
        ours = ", ".join((*SessionRow._fields, "last_seq"))
        self._insert_session = self._sql(f"INSERT INTO {{sessions}} ({ours}) VALUES ({', '.join('?' * 10)})")
        ours = ", ".join(("session_id", *MessageRow._fields))
        self._insert_message = self._sql(f"INSERT INTO {{messages}} ({ours}) VALUES ({', '.join('?' * 9)})")
        self._set_last = self._sql("UPDATE {sessions} SET last_seq = ? WHERE session_id = ?")
        self._raise_time = self._sql("UPDATE {sessions} SET updated_at = ? WHERE session_id = ? AND updated_at < ?")

    def _sql(self, sql: str) -> str:
        return self._dialect.prepare(sql, self._tables)

    def _text(self, table: str, name: str) -> str:
        """A column as text; NULL where the table lacks it."""
        return "NULL" if f"{table}.{name}" in self._missing else self._how.text.format(f"{table[0]}.{name}")

    # ------------------------------------------------------------------------------------------------------- before

    def check_absent(self) -> Steps[None]:
        """Raise ``SessionExistsError`` if one of the old sessions is in our table."""
        for table in ("old_sessions", "old_messages"):
            same = self._how.id.format("o.session_id")
            found = yield Fetch(
                self._sql(
                    f"SELECT t.session_id FROM {{{table}}} o JOIN {{sessions}} t ON t.session_id = {same} LIMIT 1"
                )
            )
            if found:
                raise SessionExistsError(f"session {found[0][0]!r} exists already; nothing was adopted")

    def count_orphans(self) -> Steps[int]:
        """Return how many sessions the messages name that the old sessions do not have."""
        rows = yield Fetch(
            self._sql(
                f"SELECT COUNT(DISTINCT {self._orphan()}) FROM {{old_messages}} m "
                "LEFT JOIN {old_sessions} s ON s.session_id = m.session_id WHERE s.session_id IS NULL"
            )
        )
        return int(rows[0][0])

    def _orphan(self) -> str:
        key = self._how.key.format
        return f"COALESCE({key('m.session_id')}, {key(repr(NO_SESSION))})"

    # ------------------------------------------------------------------------------------------------------ copying

    def order(self) -> Steps[None]:
        """Make the scratch table: a row for each message, in order, and how many characters there are up to it."""
        how = self._how
        key = f"COALESCE({how.key.format('s.session_id')}, {self._orphan()})"
        size = " + ".join(
            f"COALESCE(LENGTH({self._text('messages', name)}), 0)"
            for name in ("content", "tool_calls", "metadata")
            if f"messages.{name}" not in self._missing
        )
        order = f"ORDER BY {key}, COALESCE(m.created_at, s.created_at, 0), m.{how.order}"
        select = self._sql(
            f"SELECT ROW_NUMBER() OVER ({order}) AS n, m.{how.message_row} AS row_id, {key} AS session_id, "
            "CASE WHEN s.session_id IS NULL THEN 0 ELSE 1 END AS known, s.created_at AS session_time, "
            f"SUM({size}) OVER ({order} ROWS UNBOUNDED PRECEDING) AS characters "
            "FROM {old_messages} m LEFT JOIN {old_sessions} s ON s.session_id = m.session_id"
        )
        for sql in self._dialect.create_numbered(self._tables["scratch"], self._index, select):
            yield Execute(sql)

    def rows(self) -> Steps[tuple[int, int]]:
        """Copy everything; return how many sessions and messages. [Copy.order][] comes first."""
        sessions = yield from self._copy_sessions()
        made, messages = yield from self._copy_messages()
        return sessions + made, messages

    def _copy_sessions(self) -> Steps[int]:
        row = f"s.{self._how.session_row}"
        texts = ", ".join(self._text("sessions", name) for name in SESSION[:6])
        select = f"SELECT {row}, {texts}, s.created_at, s.updated_at FROM {{old_sessions}} s"
        end = f"ORDER BY {row} LIMIT {_SESSIONS_AT_ONCE}"
        found = yield Fetch(self._sql(f"{select} {end}"))
        onward = self._sql(f"{select} WHERE {row} > ? {end}")
        count = 0
        while found:
            yield ExecuteMany(self._insert_session, [(*_session(old), 0) for old in found])
            count += len(found)
            found = yield Fetch(onward, (found[-1][0],))
        return count

    def _copy_messages(self) -> Steps[tuple[int, int]]:
        columns = ("id", "role", "content", "tool_calls", "tool_call_id", "metadata")
        texts = ", ".join(self._text("messages", name) for name in columns)
        select = self._sql(
            f"SELECT a.n, a.characters, a.session_id, a.known, a.session_time, {texts}, m.created_at "
            f"FROM {{scratch}} a JOIN {{old_messages}} m ON m.{self._how.message_row} = a.row_id "
            "WHERE a.n > ? AND a.n <= ? AND (a.n = ? OR a.characters <= ?) ORDER BY a.n"
        )
        total = (yield Fetch(self._sql("SELECT COUNT(*) FROM {scratch}")))[0][0]
        n = characters = made = seq = copied = 0
        session: Any = None
        while n < total:
            rows = yield Fetch(select, (n, n + _MESSAGES_AT_ONCE, n + 1, characters + _CHARACTERS_AT_ONCE))
            if not rows:
                break
            new, orphans, last = [], [], {}
            for n, characters, key, known, session_time, *old in rows:  # noqa: B007  the last ones are where it goes on
                if key != session:
                    session, seq = key, 0
                    session_id, why = _id(key, "session_id")
                    if not known:
                        orphans.append((session_id, why, _time(old[-1]) or _time(session_time) or 0.0))
                seq += 1
                message = _message(old, session_time, n, seq)
                new.append((session_id, *message))
                last[session_id] = (seq, message.created_at, known)
            made += len(orphans)
            copied += len(new)
            n, characters = int(n), int(characters)
            if orphans:
                yield ExecuteMany(self._insert_session, [(*_orphan(*orphan), 0) for orphan in orphans])
            yield ExecuteMany(self._insert_message, new)
            yield ExecuteMany(self._set_last, [(number, item) for item, (number, _, _) in last.items()])
            times = [(at, item, at) for item, (_, at, known) in last.items() if not known]
            if times:
                yield ExecuteMany(self._raise_time, times)
        if copied != total:
            raise SchemaError(
                "the old tables changed while they were adopted: stop what writes to them, then run "
                "'praisonai-persistence migrate --adopt' again"
            )
        return made, copied


# ------------------------------------------------------------------------------------------------------------ the rows


def _string(value: Any) -> str | None:
    """Return what stands in a text column: text, or the bytes of it, or with SQLite anything."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape")
    return None if value is None else str(value)


def _id(value: Any, what: str, instead: str = "") -> tuple[str, dict[str, str]]:
    """Return an id that we accept, and what has to be kept of one that we do not."""
    text = _string(value)
    if text is None:
        return instead, {}
    try:
        return check_id(text, what), {}
    except InvalidValueError:
        import hashlib

        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return f"praisonai-legacy-{digest[:32]}", {what: text}


def _optional_id(value: Any, what: str, kept: dict[str, str]) -> str | None:
    if value is None:
        return None
    found, why = _id(value, what)
    kept.update(why)
    return None if why else found


def _time(value: Any) -> float | None:
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def _first_time(what: str, kept: dict[str, str], value: Any, *others: Any) -> float:
    if value is not None and _time(value) is None:
        kept[what] = _string(value) or ""
    return next((time for time in map(_time, (value, *others)) if time is not None), 0.0)


def _json(value: Any, kind: type, what: str, kept: dict[str, str]) -> Any:
    """Return the object or list of a JSON column, or None, with what is neither in ``kept``."""
    text = _string(value)
    if text is None or not text.strip():
        return None
    try:
        found = json.loads(text)
        if isinstance(found, str):  # encoded twice: a driver that encodes was handed JSON text
            found = json.loads(found)
        if found is None:
            return None
        fits = isinstance(found, kind)
        if fits and (kind is dict or all(isinstance(item, dict) for item in found)):
            dumps(found, what, _NO_LIMIT)
            return found
    except (ValueError, RecursionError):
        pass
    kept[what] = text
    return None


def _dump(value: Any, what: str) -> str | None:
    return None if value is None else dumps(value, what, _NO_LIMIT)


def _with(metadata: dict[str, Any] | None, kept: dict[str, str]) -> str | None:
    if kept:
        key = KEPT
        while metadata and key in metadata:
            key += "_"
        metadata = {**(metadata or {}), key: kept}
    return _dump(metadata, "metadata")


def _encoded(value: Any) -> str | None:
    text = _string(value)
    return None if text is None else encode_text(text)


def _session(old: Sequence[Any]) -> SessionRow:
    row, session_id, user_id, agent_id, name, state, metadata, created_at, updated_at = old
    new_id, kept = _id(session_id, "session_id", f"praisonai-legacy-row-{row}")
    user_id = _optional_id(user_id, "user_id", kept)
    agent_id = _optional_id(agent_id, "agent_id", kept)
    state = _json(state, dict, "state", kept)
    metadata = _json(metadata, dict, "metadata", kept)
    created = _first_time("created_at", kept, created_at, updated_at)
    updated = _first_time("updated_at", kept, updated_at, created)
    return SessionRow(
        new_id, user_id, agent_id, _encoded(name), _dump(state, "state"), _with(metadata, kept), created, updated
    )


def _orphan(session_id: str, why: dict[str, str], created_at: float) -> SessionRow:
    metadata = _with(None, {**why, "session": "missing"})
    return SessionRow(session_id, None, None, None, None, metadata, created_at, created_at)


def _message(old: Sequence[Any], session_time: Any, n: int, seq: int) -> MessageRow:
    message_id, role, content, tool_calls, tool_call_id, metadata, created_at = old
    new_id, kept = _id(message_id, "id", f"praisonai-legacy-row-{n}")
    tool_calls = _json(tool_calls, list, "tool_calls", kept)
    metadata = _json(metadata, dict, "metadata", kept)
    created = _first_time("created_at", kept, created_at, session_time)
    return MessageRow(
        new_id,
        _encoded(role) or "",
        _encoded(content),
        _dump(tool_calls, "tool_calls"),
        _encoded(tool_call_id),
        _with(metadata, kept),
        created,
        seq,
    )
