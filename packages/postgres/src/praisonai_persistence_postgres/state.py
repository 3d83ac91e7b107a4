"""State in PostgreSQL: the shared SQL, with the usual writes as single statements.

Each of them does what it can do alone, and returns no row where more is to be said: a hash where a plain value is
wanted, a key whose time is up. The shared steps then do it with locks, in a transaction of several statements.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from praisonai_persistence.steps import Steps, writes
from praisonai_persistence_sql import Alone, Execute, Fetch, SQLStateSteps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence_pg.dialect import Postgres

__all__ = ["PostgresStateSteps"]

_SWEEPS = 0.1  # of writes with a time to live; each takes up to twenty expired keys along


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
            yield from self._sweep(now)

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
        return (yield from super().delete(keys, now))

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        keys = sorted(texts)  # one order for everybody, so that two of these never wait for each other
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
