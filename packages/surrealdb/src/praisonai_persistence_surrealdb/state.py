"""State in SurrealDB: a record for each key, and one for each field of a hash.

Each operation is one block of statements, which the engine does as one transaction, in one request. The record of a key
has its value, or ``is_hash``; and ``ends``, if it has a time to live. Every write of a field writes it too, so that two
writers of one hash see each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.payload import dumps, equal, loads
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores import StateSteps
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence_surrealdb._driver import ask
from praisonai_persistence_surrealdb._schema import Schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_surrealdb._driver import SurrealOptions

__all__ = ["SurrealStateSteps"]

_SWEPT = 20  # expired keys that a write with a time to live takes along, so that they never pile up
_LAST = "\U0010ffff" * 257  # behind a prefix this comes after every key, which has up to 1,024 bytes

# `@` stands before what depends on the prefix. All values are bound. Nothing scans where the same transaction has
# deleted: in SurrealDB 2.3 such a scan ends at the first deleted record.
_LIVE = "(ends = NONE OR ends > $now)"
_OLD = f"LET $old = (SELECT * FROM ONLY @key WHERE {_LIVE})"
_RENEW = "IF $old = NONE { DELETE @every_field RETURN NONE }"  # an expired hash may have been there
_PUT = "UPSERT @key CONTENT { value: $text, ends: $ends } RETURN NONE"
_GONE = """FOR $gone IN $expired {
        LET $key = record::id($gone)[0];
        DELETE @every_field RETURN NONE;
        DELETE @key RETURN NONE
    }"""
_SWEEP = f"""LET $expired = (SELECT VALUE id FROM @state WHERE ends > 0 AND ends <= $now LIMIT {_SWEPT});
    {_GONE}"""
_GET = "SELECT * OMIT id FROM ONLY @key"  # of all ways the fastest; whether it has ended is seen here
_SET_FOR_A_TIME = f"""{{
    IF (SELECT VALUE is_hash FROM ONLY @key) {{ RETURN 'hash' }};
    {_PUT};
    {_SWEEP}
}}"""
_SET_FOR_EVER = f"""{{
    IF (SELECT VALUE is_hash FROM ONLY @key) {{ RETURN 'hash' }};
    {_PUT}
}}"""
_SET = f"""{{
    {_OLD};
    IF $old.is_hash {{ RETURN 'hash' }};
    {_RENEW};
    {_PUT}
}}"""
_SET_IF_ABSENT = f"""{{
    {_OLD};
    IF $old.is_hash {{ RETURN 'hash' }};
    IF $old != NONE {{ RETURN false }};
    {_RENEW};
    {_PUT};
    RETURN true
}}"""
_REPLACE = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN NONE }};
    IF $old.is_hash {{ RETURN 'hash' }};
    IF $old.value != $was {{ RETURN [$old.value] }};
    LET $ends = IF $keep {{ $old.ends }} ELSE {{ $until }};
    {_PUT};
    RETURN true
}}"""
_SET_MANY = f"""{{
    LET $hashes = (SELECT VALUE id FROM $ids WHERE is_hash AND {_LIVE});
    IF array::len($hashes) > 0 {{ RETURN record::id($hashes[0])[0] }};
    FOR $old IN (SELECT VALUE id FROM $ids WHERE is_hash) {{
        LET $key = record::id($old)[0];
        DELETE @every_field RETURN NONE
    }};
    FOR $row IN $rows {{ LET $key = $row[0]; UPSERT @key CONTENT {{ value: $row[1], ends: $ends }} RETURN NONE }};
    IF $ends != NONE {{ {_SWEEP} }}
}}"""
_DELETE = f"""{{
    LET $expired = (SELECT VALUE id FROM $ids);
    LET $n = array::len((SELECT VALUE id FROM $ids WHERE {_LIVE}));
    {_GONE};
    RETURN $n
}}"""
_ENDS = f"SELECT VALUE [ends] FROM ONLY @key WHERE {_LIVE}"
_EXPIRE = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN false }};
    UPDATE @key SET ends = $ends RETURN NONE;
    RETURN true
}}"""
_GET_MANY = f"SELECT VALUE [record::id(id)[0], is_hash, value] FROM $ids WHERE {_LIVE}"
_HGET = f"""{{
    {_OLD};
    RETURN [$old != NONE, $old.is_hash, (SELECT VALUE value FROM ONLY @fields:[$key, $field])]
}}"""
_HGETALL = f"""{{
    {_OLD};
    RETURN [$old != NONE, $old.is_hash, (SELECT VALUE [record::id(id)[1], value] FROM @every_field)]
}}"""
_HSET = f"""{{
    {_OLD};
    IF $old != NONE AND !$old.is_hash {{ RETURN 'plain' }};
    {_RENEW};
    UPSERT @key CONTENT {{ is_hash: true, ends: $old.ends }} RETURN NONE;
    UPSERT @fields:[$key, $field] CONTENT {{ value: $text }} RETURN NONE
}}"""
_HDEL = f"""{{
    {_OLD};
    IF $old = NONE {{ RETURN 0 }};
    IF !$old.is_hash {{ RETURN 'plain' }};
    LET $n = array::len((SELECT VALUE id FROM $ids));
    LET $left = array::len((SELECT VALUE id FROM @every_field LIMIT $n + 1)) > $n;
    DELETE $ids RETURN NONE;
    IF $left {{ UPDATE @key SET is_hash = true RETURN NONE }} ELSE {{ DELETE @key RETURN NONE }};
    RETURN $n
}}"""
_CLEAR = f"""{{
    LET $n = count((SELECT VALUE id FROM @state WHERE {_LIVE}));
    DELETE @state RETURN NONE;
    DELETE @fields RETURN NONE;
    RETURN $n
}}"""


class SurrealStateSteps(StateSteps):
    """State in SurrealDB.

    Args:
        options: of the store.
    """

    def __init__(self, options: SurrealOptions) -> None:
        self._state, self._fields = f"{options.table_prefix}state", f"{options.table_prefix}state_fields"
        self._names = {
            "@state": self._state,
            "@key": f"{self._state}:[$key]",
            "@every_field": f"{self._fields}:[$key, '']..[$key, {{}}]",
            "@fields": self._fields,
        }
        ends = f"DEFINE INDEX IF NOT EXISTS {self._state}_ends ON {self._state} FIELDS ends"
        self.schema = Schema("state", (self._state, self._fields), (ends,))
        self._seconds = options.timeout
        self._texts: dict[str, str] = {}

    def _ask(self, template: str, key: str | None = None, /, **values: Any) -> Steps[Any]:
        text = self._texts.get(template)
        if text is None:
            text = template
            for name, meant in self._names.items():
                text = text.replace(name, meant)
            self._texts[template] = text
        return (yield from ask(self._seconds, text, key=key, **values))

    def _records(self, keys: Sequence[str]) -> list[Any]:
        from surrealdb import RecordID

        return [RecordID(self._state, [key]) for key in keys]

    # ----------------------------------------------------------------------------------------------------------- keys

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        return (yield from self._read(key, now))  # type: ignore[no-any-return]

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        values = {"text": text, "ends": _ends(ttl, now), "now": now}
        found = yield from self._ask(_SET_FOR_EVER if ttl is None else _SET_FOR_A_TIME, key, **values)
        if found == "hash":  # which may have expired
            found = yield from self._ask(_SET, key, **values)
        if found == "hash":
            raise _is_hash(key)

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        return int((yield from self._ask(_DELETE, ids=self._records(keys), now=now)))

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        return (yield from self._ask(_ENDS, key, now=now)) is not None

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        found = yield from self._ask(_ENDS, key, now=now)
        return None if found is None or found[0] is None else found[0] - now

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        return bool((yield from self._ask(_EXPIRE, key, ends=now + ttl, now=now)))

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        begin = "[$key].." if cursor is None else "[$key]>.."
        text = f"SELECT VALUE record::id(id)[0] FROM @state:{begin}[$last] WHERE {_LIVE} LIMIT {PAGE}"
        keys = yield from self._ask(text, prefix if cursor is None else cursor, last=prefix + _LAST, now=now)
        return keys, keys[-1] if len(keys) == PAGE else None

    @writes
    def clear(self, now: float) -> Steps[int]:
        return int((yield from self._ask(_CLEAR, now=now)))

    # --------------------------------------------------------------------------------------------------------- hashes

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        there, is_hash, text = yield from self._ask(_HGET, key, field=field, now=now)
        return _hash(key, text if there else None, there and not is_hash)  # type: ignore[no-any-return]

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        found = yield from self._ask(_HSET, key, field=field, text=text, now=now)
        _hash(key, None, found == "plain")

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        there, is_hash, rows = yield from self._ask(_HGETALL, key, now=now)
        return dict(_hash(key, rows if there else [], there and not is_hash))

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        from surrealdb import RecordID

        ids = [RecordID(self._fields, [key, field]) for field in fields]
        found = yield from self._ask(_HDEL, key, ids=ids, now=now)
        return int(_hash(key, found, found == "plain"))

    # --------------------------------------------------------------------------------------------------------- atomic

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        found = yield from self._ask(_SET_IF_ABSENT, key, text=text, ends=_ends(ttl, now), now=now)
        if found == "hash":
            raise _is_hash(key)
        return bool(found)

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        was = dumps(expected)  # most likely what is stored; equal values may have other texts
        while True:
            found = yield from self._replace(key, was, text, now, until=_ends(ttl, now), keep=False)
            if found is True or found is None or not equal(loads(found), expected):
                return found is True
            was = found

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        was = yield from self._read(key, now)
        while True:
            if was is None:
                if (yield from self._ask(_SET_IF_ABSENT, key, text=dumps(by), ends=None, now=now)) is True:
                    return by
                was = yield from self._read(key, now)
                continue
            number = loads(was)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            was = yield from self._replace(key, was, dumps(number + by), now, until=None, keep=True)
            if was is True:
                return int(number + by)

    def _read(self, key: str, now: float) -> Steps[Any]:
        """Return a plain value, or None."""
        found = yield from self._ask(_GET, key)
        if found is None or (found.get("ends") or math.inf) <= now:
            return None
        return _plain(key, found.get("is_hash"), found.get("value"))

    def _replace(self, key: str, was: str, text: str, now: float, **ends: Any) -> Steps[Any]:
        """Write a value over another; return True, or the text that is there instead, or None: the key is not there."""
        found = yield from self._ask(_REPLACE, key, was=was, text=text, now=now, **ends)
        if found == "hash":
            raise _is_hash(key)
        return found[0] if isinstance(found, list) else found

    # ----------------------------------------------------------------------------------------------------------- many

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        rows = yield from self._ask(_GET_MANY, ids=self._records(keys), now=now)
        return {key: _plain(key, is_hash, text) for key, is_hash, text in rows}

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        rows, ids = [list(item) for item in texts.items()], self._records(list(texts))
        found = yield from self._ask(_SET_MANY, ids=ids, rows=rows, ends=_ends(ttl, now), now=now)
        if found is not None:
            raise _is_hash(found)


def _ends(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl


def _plain(key: str, is_hash: Any, text: Any) -> str:
    if is_hash:
        raise _is_hash(key)
    return str(text)


def _is_hash(key: str) -> WrongTypeError:
    return WrongTypeError(f"key {key!r} holds a hash")


def _hash(key: str, found: Any, is_plain: bool) -> Any:
    if is_plain:
        raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
    return found
