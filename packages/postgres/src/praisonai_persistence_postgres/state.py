"""State in PostgreSQL: the shared SQL, with the usual writes as single statements.

Each of them does what it can do alone, and returns no row where more is to be said: a hash where a plain value is
wanted, a key whose time is up. The shared steps then do it with locks, in a transaction of several statements. That
which sets several keys divides by zero then, which undoes what it did with the others.

Lists of keys are one parameter, an array: with one for each key, every number of keys would be a statement that the
server has to plan anew.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from praisonai_persistence.steps import Steps, reads, writes
from praisonai_persistence_sql import Alone, Execute, Fetch, SilentError, SQLStateSteps, Undo
from praisonai_persistence_sql.failures import from_outside
from praisonai_persistence_sql.state import plain, successor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["PostgresStateSteps"]

_DIVISION_BY_ZERO = "22012"
_DRIVERS = frozenset({"asyncpg", "psycopg", "psycopg_binary", "psycopg_c", "psycopg_pool", "uvloop"})
_SWEEPS = 0.1  # of writes with a time to live
_SWEEP = 20  # expired keys that each of these takes along


class PostgresStateSteps(SQLStateSteps):
    """State in PostgreSQL.

    Args:
        dialect: with the schema of the tables.
        prefix: the ``table_prefix``.
    """

    def __init__(self, dialect: Postgres, prefix: str) -> None:
        super().__init__(dialect, prefix)
        insert = "INSERT INTO {state} AS t (name, value, ends_at) "
        values = f"{insert}VALUES ($1, $2, $3::float8) ON CONFLICT (name) DO "
        change = "UPDATE SET value = excluded.value, ends_at = excluded.ends_at WHERE t.value IS NOT NULL"
        live = "(t.ends_at IS NULL OR t.ends_at > {}::float8)"
        self._set_plain = self._sql(f"{values}{change} RETURNING 1")
        self._set_new = self._sql(f"{values}{change} AND t.ends_at <= $4::float8 RETURNING 1")
        self._set_plains = self._sql(
            f"{insert}SELECT k, v, $3::float8 FROM unnest($1::text[], $2::text[]) AS u(k, v) "
            f"ON CONFLICT (name) DO {change} RETURNING name"
        )
        self._set_all = self._sql(
            f"WITH done AS ({insert}SELECT k, v, $3::float8 FROM unnest($1::text[], $2::text[]) AS u(k, v) "
            f"ON CONFLICT (name) DO {change} RETURNING 1) "
            "SELECT 1 / (COUNT(*) = cardinality($1::text[]))::int FROM done"
        )
        self._get_all = self._sql(
            "SELECT name, value FROM {state} AS t WHERE name = ANY ($1::text[]) AND " + live.format("$2")
        )
        self._delete_all = self._sql(
            "WITH held AS (SELECT name, value IS NULL AS hash, ends_at FROM {state} WHERE name = ANY ($1::text[]) "
            "ORDER BY name FOR UPDATE), gone AS (DELETE FROM {state} AS t USING held WHERE t.name = held.name "
            "AND NOT EXISTS (SELECT 1 FROM held WHERE hash)) "
            "SELECT COUNT(*) FILTER (WHERE ends_at IS NULL OR ends_at > $2::float8), COUNT(*) FILTER (WHERE hash) "
            "FROM held"
        )
        # Not hashes: one statement would leave fields that came while it waited for the lock.
        self._sweep_plain = self._sql(
            f"WITH held AS (SELECT name, value IS NULL AS hash FROM {{state}} WHERE ends_at <= $1::float8 "
            f"ORDER BY ends_at LIMIT {_SWEEP}{dialect.for_update} SKIP LOCKED), gone AS (DELETE FROM {{state}} AS t "
            "USING held WHERE t.name = held.name AND NOT held.hash) SELECT COUNT(*) FROM held WHERE hash"
        )
        # The limit, which is none, keeps PostgreSQL from starting processes for so little.
        self._scan_all = self._sql(
            "SELECT t.name FROM unnest($1::text[], $2::text[]) AS r(low, high) CROSS JOIN LATERAL "
            "(SELECT name, ends_at FROM {state} WHERE name >= r.low AND name < r.high LIMIT 2147483647) AS t WHERE "
            + live.format("$3")
        )
        self._add = self._sql(
            "UPDATE {state} AS t SET value = (t.value::numeric + $2::text::numeric)::text "
            f"WHERE name = $1 AND length(t.value) < 1000 AND t.value ~ '^-?[0-9]+$' AND {live.format('$3')} "
            "RETURNING t.value"
        )
        self._delete_plain = self._sql(
            "DELETE FROM {state} AS t WHERE name = $1 AND t.value IS NOT NULL RETURNING t.ends_at"
        )
        self._hset_one = self._sql(
            f"WITH k AS ({insert}VALUES ($1, NULL, NULL) ON CONFLICT (name) DO UPDATE SET value = NULL "
            f"WHERE t.value IS NULL AND {live.format('$4')} RETURNING 1) "
            "INSERT INTO {state_fields} (name, field, value) SELECT $1, $2::text, $3::text FROM k "
            "ON CONFLICT (name, field) DO UPDATE SET value = excluded.value RETURNING 1"
        )
        self._clear_all = self._sql(
            "WITH gone AS (DELETE FROM {state} RETURNING ends_at) "
            "SELECT COUNT(*) FROM gone WHERE ends_at IS NULL OR ends_at > $1::float8"
        )
        # Not all fields: those of a key that another transaction has made since are its own.
        self._clear_orphans = self._sql(
            "DELETE FROM {state_fields} AS f WHERE NOT EXISTS (SELECT 1 FROM {state} AS t WHERE t.name = f.name)"
        )

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        if not (yield Alone(self._set_plain, (key, text, None if ttl is None else now + ttl))):
            yield from super().set(key, text, ttl, now)
        elif ttl is not None and random.random() < _SWEEPS:
            yield from self._sweep_after(now)

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        if (yield Alone(self._set_new, (key, text, None if ttl is None else now + ttl, now))):
            return True
        return (yield from super().set_if_absent(key, text, ttl, now))

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        found = yield Alone(self._add, (key, str(by), now)) if abs(by) < 10**1000 else Alone("SELECT 1 LIMIT 0")
        return int(found[0][0]) if found else (yield from super().incr(key, by, now))

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        if len(keys) == 1:
            found = yield Alone(self._delete_plain, tuple(keys))
            if found:
                return int(found[0][0] is None or found[0][0] > now)
        elif keys:
            live, hashes = (yield Alone(self._delete_all, (list(keys), now)))[0]
            if not hashes:
                return int(live)
        return (yield from super().delete(keys, now))

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        rows = (yield Fetch(self._get_all, (list(keys), now))) if keys else ()
        return {key: plain(key, value) for key, value in rows}

    @reads
    def scan_prefixes(self, prefixes: Sequence[str], now: float) -> Steps[list[str]]:
        ends = [successor(prefix) for prefix in prefixes]
        if None in ends:
            return (yield from super().scan_prefixes(prefixes, now))
        return [row[0] for row in (yield Fetch(self._scan_all, (list(prefixes), ends, now)))]

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        keys = sorted(texts)  # one order for everybody, so that two of these never wait for each other
        if keys:
            values = [texts[key] for key in keys]
            if (yield from _alone(self._set_all, keys, values, None if ttl is None else now + ttl)):
                if ttl is not None and random.random() < _SWEEPS:
                    yield from self._sweep_after(now)
                return
        while keys:
            values = [texts[key] for key in keys]
            rows = yield Fetch(self._set_plains, (keys, values, None if ttl is None else now + ttl))
            done = {row[0] for row in rows}
            keys = [key for key in keys if key not in done]
            yield from self._refuse_hashes(keys, now)  # raises, or removes hashes whose time is up
        if ttl is not None and random.random() < _SWEEPS:
            yield from self._sweep(now)

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        if not (yield Alone(self._hset_one, (key, field, text, now))):
            yield from super().hset(key, field, text, now)

    @writes
    def clear(self, now: float) -> Steps[int]:
        live = (yield Fetch(self._clear_all, (now,)))[0][0]
        yield Execute(self._clear_orphans)
        return int(live)

    def _sweep_after(self, now: float) -> Steps[None]:
        """Sweep when the operation is durable already: whatever the driver says, it is neither failed nor repeated."""
        try:
            if (yield Alone(self._sweep_plain, (now,)))[0][0]:
                yield from self._sweep(now)
        except Exception as error:
            if not _is_drivers(error):
                raise
            try:
                yield Undo()  # of what was begun for hashes
            except Exception as undoing:
                if not _is_drivers(undoing):
                    raise


def _is_drivers(error: Exception) -> bool:
    """Whether an error is the driver's own, or the server's silence, and hides none that was raised from outside."""
    own = isinstance(error, SilentError) or type(error).__module__.partition(".")[0] in _DRIVERS
    return own and from_outside(error, _DRIVERS) is None


def _alone(sql: str, *parameters: Any) -> Steps[Any]:
    """Run a statement of several keys by itself and return its rows: none if it undid itself."""
    try:
        return (yield Alone(sql, parameters))
    except Exception as error:
        if getattr(error, "sqlstate", None) != _DIVISION_BY_ZERO:  # both drivers have the code
            raise
        return ()
