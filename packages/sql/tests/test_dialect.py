"""Shared statements in an engine's own words."""

from __future__ import annotations

from typing import ClassVar

import pytest

from praisonai_persistence import InvalidIdentifierError
from praisonai_persistence_sql import Dialect


class Format(Dialect):
    paramstyle = "format"


class Numeric(Dialect):
    paramstyle = "numeric"


def test_tables_are_quoted_and_prefixed():
    assert Dialect().tables("app_", ["sessions"]) == {"sessions": '"app_sessions"'}
    assert Dialect().tables("", ["sessions"]) == {"sessions": '"sessions"'}


@pytest.mark.parametrize("prefix", ['x"; DROP TABLE y; --', "1x", "a b", "é", "x" * 32, "a-b", None, 5])
def test_prefixes_that_cannot_be_part_of_a_name_are_refused(prefix):
    with pytest.raises(InvalidIdentifierError):
        Dialect().tables(prefix, ["sessions"])


def test_placeholders():
    sql = "SELECT a % 2 FROM {t} WHERE b = ? AND c = ?"
    tables = {"t": '"t"'}
    assert Dialect().prepare(sql, tables) == 'SELECT a % 2 FROM "t" WHERE b = ? AND c = ?'
    assert Format().prepare(sql, tables) == 'SELECT a %% 2 FROM "t" WHERE b = %s AND c = %s'
    assert Numeric().prepare(sql, tables) == 'SELECT a % 2 FROM "t" WHERE b = $1 AND c = $2'


def test_types_are_the_dialects_own():
    class Other(Dialect):
        types: ClassVar = {**Dialect.types, "real": "FLOAT8"}

    assert Other().prepare("a {t_real}, b {t_id}", {}) == "a FLOAT8, b TEXT"


def test_inserts():
    dialect = Dialect()
    assert (
        dialect.insert_new('"t"', ["a", "b"], ["a"])
        == 'INSERT INTO "t" (a, b) VALUES (?, ?) ON CONFLICT (a) DO NOTHING'
    )
    assert dialect.upsert('"t"', ["a", "b", "c"], ["a", "b"]) == (
        'INSERT INTO "t" (a, b, c) VALUES (?, ?, ?) ON CONFLICT (a, b) DO UPDATE SET c = excluded.c'
    )
