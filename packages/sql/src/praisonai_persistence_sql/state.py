"""The state contract in SQL that every engine understands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.payload import dumps, equal, loads
from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence.stores import StateSteps
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence_sql.migrations import Migrations
from praisonai_persistence_sql.requests import Execute, ExecuteMany, Fetch
from praisonai_persistence_sql.schema import STATE, STATE_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from praisonai_persistence_sql.dialect import Dialect

__all__ = ["SQLStateSteps"]

_LIVE = "(ends_at IS NULL OR ends_at > ?)"
_RANGES = 50  # of one statement
_NO_LIMIT = 2**31 - 1
_SWEEP = 20  # expired keys that a write with a time to live takes along, so that they never pile up


class SQLStateSteps(StateSteps):
    """Keys in one table, the fields of hashes in another. The row of a key is the lock of its fields.

    An expired key stays until something writes it, or until writes of keys with a time to live sweep it away; no read
    sees it.

    Args:
        dialect: of the engine.
        prefix: the ``table_prefix``.
    """

    def __init__(self, dialect: Dialect, prefix: str) -> None:
        self.migrations = Migrations(dialect, prefix, "state", STATE_TABLES, STATE)
        self._dialect = dialect
        self._tables = dialect.tables(prefix, STATE_TABLES)
        state, fields = self._tables["state"], self._tables["state_fields"]
        columns = ["name", "value", "ends_at"]
        self._get = self._sql(f"SELECT value FROM {{state}} WHERE name = ? AND {_LIVE}")
        self._ends = self._sql(f"SELECT ends_at FROM {{state}} WHERE name = ? AND {_LIVE}")
        self._lock = self._sql("SELECT value, ends_at FROM {state} WHERE name = ?" + dialect.for_update)
        self._insert = self._sql(dialect.insert_new(state, columns, ["name"]))
        self._upsert = self._sql(dialect.upsert(state, columns, ["name"]))
        self._update = self._sql("UPDATE {state} SET value = ?, ends_at = ? WHERE name = ?")
        self._delete = self._sql("DELETE FROM {state} WHERE name = ?")
        self._delete_fields = self._sql("DELETE FROM {state_fields} WHERE name = ?")
        self._hget = self._sql(
            "SELECT s.value, f.value FROM {state} s LEFT JOIN {state_fields} f ON f.name = s.name AND f.field = ? "
            f"WHERE s.name = ? AND {_LIVE}"
        )
        self._hgetall = self._sql(
            "SELECT s.value, f.field, f.value FROM {state} s LEFT JOIN {state_fields} f ON f.name = s.name "
            f"WHERE s.name = ? AND {_LIVE}"
        )
        self._hset = self._sql(dialect.upsert(fields, ["name", "field", "value"], ["name", "field"]))
        self._any_field = self._sql("SELECT 1 FROM {state_fields} WHERE name = ? LIMIT 1")
        self._scan = {
            (bounded, begun): self._sql(
                f"SELECT name FROM {{state}} WHERE name {'>' if begun else '>='} ?{' AND name < ?' if bounded else ''} "
                f"AND {_LIVE} ORDER BY name LIMIT {PAGE}"
            )
            for bounded in (True, False)
            for begun in (True, False)
        }
        _skip = dialect.for_update and dialect.for_update + " SKIP LOCKED"  # a key in use is not to be waited for
        self._expired = self._sql(
            f"SELECT name FROM {{state}} WHERE ends_at <= ? ORDER BY ends_at LIMIT {_SWEEP}" + _skip
        )
        self._count = self._sql(f"SELECT COUNT(*) FROM {{state}} WHERE {_LIVE}")
        self._clear = self._sql("DELETE FROM {state}")
        self._clear_fields = self._sql("DELETE FROM {state_fields}")

    def _sql(self, sql: str) -> str:
        return self._dialect.prepare(sql, self._tables)

    # ----------------------------------------------------------------------------------------------------------- keys

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        rows = yield Fetch(self._get, (key, now))
        return plain(key, rows[0][0]) if rows else None

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        ends = None if ttl is None else now + ttl
        while True:
            found = yield from self._claim(key, now)
            if found is not None:
                plain(key, found[0])
                yield Execute(self._update, (text, ends, key))
                break
            if (yield Execute(self._insert, (key, text, ends))):
                break
        if ttl is not None:
            yield from self._sweep(now)

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        found: dict[str, float | None] = {}
        for sql, some in self._in("SELECT name, ends_at FROM {state}", sorted(keys), lock=True):
            found.update((yield Fetch(sql, some)))
        yield from self._remove(list(found))  # what is locked; a key that came since is somebody else's
        return sum(1 for ends in found.values() if ends is None or ends > now)

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        return bool((yield Fetch(self._ends, (key, now))))

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        rows = yield Fetch(self._ends, (key, now))
        return None if not rows or rows[0][0] is None else rows[0][0] - now

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        found = yield from self._claim(key, now)
        if found is None:
            return False
        yield Execute(self._update, (found[0], now + ttl, key))
        return True

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        end = successor(prefix)
        bounds = [prefix if cursor is None else cursor, *([] if end is None else [end])]
        rows = yield Fetch(self._scan[end is not None, cursor is not None], (*bounds, now))
        keys = [row[0] for row in rows]
        return keys, keys[-1] if len(keys) == PAGE else None

    @reads
    def scan_prefixes(self, prefixes: Sequence[str], now: float) -> Steps[list[str]]:
        found: list[str] = []
        for start in range(0, len(prefixes), _RANGES):
            bounds = [(prefix, successor(prefix)) for prefix in prefixes[start : start + _RANGES]]
            # Several ranges with OR would have some engines read the whole table, and so would the time, in some,
            # before they have counted rows: what has ended is left out here. The limit, which is none, keeps
            # PostgreSQL from starting processes for so little.
            parts = [
                f"SELECT name, ends_at FROM (SELECT name, ends_at FROM {{state}} WHERE name >= ?"
                f"{'' if end is None else ' AND name < ?'} LIMIT {_NO_LIMIT}) AS one"
                for _, end in bounds
            ]
            values = [value for pair in bounds for value in pair if value is not None]
            rows = yield Fetch(self._sql(" UNION ALL ".join(parts)), tuple(values))
            found += [name for name, ends in rows if ends is None or ends > now]
        return found

    @writes
    def clear(self, now: float) -> Steps[int]:
        live = (yield Fetch(self._count, (now,)))[0][0]
        yield Execute(self._clear_fields)
        yield Execute(self._clear)
        return int(live)

    # --------------------------------------------------------------------------------------------------------- hashes

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        rows = yield Fetch(self._hget, (field, key, now))
        return _hash(key, rows)[0][1] if rows else None

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        while True:
            found = yield from self._claim(key, now)
            if found is not None:
                _hash(key, [found])
                break
            if (yield Execute(self._insert, (key, None, None))):
                break
        yield Execute(self._hset, (key, field, text))

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        rows = yield Fetch(self._hgetall, (key, now))
        return {field: text for _, field, text in _hash(key, rows) if field is not None}

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        found = yield from self._claim(key, now)
        if found is None:
            return 0
        _hash(key, [found])
        gone = 0
        for sql, some in self._in("DELETE FROM {state_fields}", fields, column="field", where="name = ? AND "):
            gone += yield Execute(sql, (key, *some))
        if gone and not (yield Fetch(self._any_field, (key,))):
            yield Execute(self._delete, (key,))
        return gone

    # --------------------------------------------------------------------------------------------------------- atomic

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        while True:
            found = yield from self._claim(key, now)
            if found is not None:
                plain(key, found[0])
                return False
            if (yield Execute(self._insert, (key, text, None if ttl is None else now + ttl))):
                return True

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        found = yield from self._claim(key, now)
        if found is None or not equal(loads(plain(key, found[0])), expected):
            return False
        yield Execute(self._update, (text, None if ttl is None else now + ttl, key))
        return True

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        while True:
            found = yield from self._claim(key, now)
            if found is None:
                if (yield Execute(self._insert, (key, dumps(by), None))):
                    return by
                continue
            number = loads(plain(key, found[0]))
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            yield Execute(self._update, (dumps(number + by), found[1], key))
            return int(number + by)

    # ----------------------------------------------------------------------------------------------------------- many

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        texts: dict[str, str] = {}
        for sql, some in self._in("SELECT name, value FROM {state}", keys, where=f"{_LIVE} AND "):
            for key, value in (yield Fetch(sql, (now, *some))):
                texts[key] = plain(key, value)
        return texts

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        keys = sorted(texts)  # one order for everybody, so that two of these never wait for each other
        yield from self._refuse_hashes(keys, now)
        ends = None if ttl is None else now + ttl
        yield ExecuteMany(self._upsert, [(key, texts[key], ends) for key in keys])
        if ttl is not None:
            yield from self._sweep(now)

    # -------------------------------------------------------------------------------------------------------- helpers

    def _claim(self, key: str, now: float) -> Steps[tuple[str | None, float | None] | None]:
        """Lock a key and return its value and end; one that has ended is removed, and is None like an absent one."""
        rows = yield Fetch(self._lock, (key,))
        if not rows:
            return None
        value, ends = rows[0]
        if ends is not None and ends <= now:
            yield from self._remove([key])
            return None
        return value, ends

    def _refuse_hashes(self, keys: Sequence[str], now: float) -> Steps[None]:
        """Lock keys, remove those that have ended, and raise if one of the others is a hash."""
        expired: list[str] = []
        for sql, some in self._in("SELECT name, value, ends_at FROM {state}", keys, lock=True):
            for key, value, ends in (yield Fetch(sql, some)):
                if ends is not None and ends <= now:
                    expired.append(key)
                else:
                    plain(key, value)
        yield from self._remove(expired)

    def _remove(self, keys: Sequence[str]) -> Steps[None]:
        for table in ("{state_fields}", "{state}"):
            for sql, some in self._in(f"DELETE FROM {table}", keys):
                yield Execute(sql, some)

    def _sweep(self, now: float) -> Steps[None]:
        rows = yield Fetch(self._expired, (now,))
        yield from self._remove([row[0] for row in rows])

    def _in(
        self, statement: str, values: Sequence[str], *, column: str = "name", where: str = "", lock: bool = False
    ) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield a statement for rows by name or field, in pieces that the engine takes."""
        # In one order for everybody, so that two of these never wait for each other.
        end = f" ORDER BY name{self._dialect.for_update}" if lock and self._dialect.for_update else ""
        for start in range(0, len(values), self._dialect.max_parameters):
            some = values[start : start + self._dialect.max_parameters]
            yield self._sql(f"{statement} WHERE {where}{column} IN ({', '.join('?' * len(some))}){end}"), some


def plain(key: str, value: str | None) -> str:
    if value is None:
        raise WrongTypeError(f"key {key!r} holds a hash")
    return value


def _hash(key: str, rows: Any) -> Any:
    if rows and rows[0][0] is not None:
        raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
    return rows


def successor(prefix: str) -> str | None:
    """Return the smallest text above all that start with ``prefix``, in code point order; None: there is none."""
    for position in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[position]) + 1
        if 0xD800 <= point <= 0xDFFF:
            point = 0xE000
        if point <= sys.maxunicode:
            return prefix[:position] + chr(point)
    return None
