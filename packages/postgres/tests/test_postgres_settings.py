"""What needs no server: options, names, statements."""

from __future__ import annotations

import subprocess
import sys

import pytest

from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError
from praisonai_persistence_pg.dialect import Postgres
from praisonai_persistence_pg.errors import classify, state_of, translate
from praisonai_persistence_pg.settings import FOLLOWS, settings
from praisonai_persistence_postgres import AsyncPostgresStateStore, PostgresConversationStore
from praisonai_persistence_postgres.conversation import PostgresConversationSteps, _lexeme


def _settings(url=None, connect_timeout=None, statement_timeout=None, cockroach=None, **address):
    return settings(url, address, connect_timeout, statement_timeout, cockroach)


def test_a_url_is_taken_apart_and_options_win():
    found = _settings("postgresql+asyncpg://u:p%40@h:5433/d%20b?sslmode=require", host="other")
    assert found.address == {"host": "other", "port": 5433, "user": "u", "password": "p@", "dbname": "d b"}
    assert found.for_psycopg()["sslmode"] == "require"
    assert found.for_asyncpg()["dsn"] == "postgresql://?sslmode=require"
    assert found.for_asyncpg()["database"] == "d b"
    assert "p@" not in found.where


def test_parameters_of_libpq_alone_are_kept_from_asyncpg():
    found = _settings("postgresql://h/d?channel_binding=require&keepalives_idle=5&host=/run/postgresql")
    assert found.address["host"] == "/run/postgresql"
    assert found.for_psycopg()["channel_binding"] == "require"
    assert found.for_asyncpg()["dsn"] == "postgresql://?"


def test_timeouts():
    assert _settings("postgresql://h/d").connect_timeout == 10
    assert _settings("postgresql://h/d?connect_timeout=3").connect_timeout == 3
    assert _settings("postgresql://h/d?connect_timeout=3", connect_timeout=4).connect_timeout == 4
    assert _settings("postgresql://h/d", statement_timeout=1.5).for_psycopg()["options"] == "-c statement_timeout=1500"
    assert (
        _settings("postgresql://h/d", statement_timeout=1).for_asyncpg()["server_settings"]["statement_timeout"]
        == "1000"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://h/d", False),
        ("cockroachdb://h/d", True),
        ("postgresql://h:26257/d", True),
        ("postgresql://a.cockroachlabs.cloud/d", True),
    ],
)
def test_cockroach_is_told_by_its_address(url, expected):
    assert _settings(url).cockroach is expected
    assert _settings(url, cockroach=not expected).cockroach is not expected


def test_poolers_get_no_prepared_statements():
    found = _settings("postgresql://u@ep-x-pooler.eu.neon.tech/d", statement_timeout=5)
    assert found.for_psycopg()["prepare_threshold"] is None
    assert found.for_asyncpg()["statement_cache_size"] == 0
    assert found.server_settings == {}


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_serverless_hosts_are_not_spoken_to_in_the_clear(mode):
    with pytest.raises(ConfigurationError, match="TLS"):
        _settings(f"postgresql://u@x.neon.tech/d?sslmode={mode}")


def test_tables_have_their_schema_and_new_indexes_none():
    names = Postgres("agents").tables("p_", ["sessions", "sessions_by_user", "search_by_word"])
    assert names == {
        "sessions": '"agents"."p_sessions"',
        "sessions_by_user": '"p_sessions_by_user"',
        "search_by_word": '"p_search_by_word"',
    }
    assert Postgres().tables("p_", ["sessions"]) == {"sessions": '"p_sessions"'}


def test_migrations_of_one_place_share_a_lock():
    assert Postgres("a").migration_lock("p_") == Postgres("a").migration_lock("p_")
    locks = {Postgres(schema).migration_lock(prefix)[1] for schema in (None, "a") for prefix in ("p_", "q_")}
    assert len(locks) == 4


@pytest.mark.parametrize(
    ("state", "broken", "expected"),
    [("40001", False, "repeat"), ("40P01", False, "repeat"), ("57P01", False, "lost"), ("08006", False, "lost"),
     (None, True, "lost"), ("23505", False, "other"), (None, False, "other")],
)  # fmt: skip
def test_what_errors_mean(state, broken, expected):
    assert classify(state, connection_error=broken) == expected


def test_errors_in_our_words():
    assert isinstance(translate("42501", "no", "h", connection_error=False), BackendError)
    assert "grant" in str(translate("42501", "no", "h", connection_error=False))
    for state in ("28P01", "3D000", "53300", "57P01"):
        assert isinstance(translate(state, "no", "h", connection_error=False), ConnectionFailedError)
    assert state_of('FATAL:  password authentication failed for user "u"') == "28P01"
    assert state_of('FATAL:  database "d" does not exist') == "3D000"
    assert state_of("something else") is None


def test_words_of_the_full_text_index():
    steps = PostgresConversationSteps(Postgres(), "p_")
    assert steps._part("B1, a b1", 0) == ("'b1' 'a'", None)
    assert steps._query(["a"]) == "'a'"
    assert steps._query(["a", "bc"]) == "('a' & 'bc') | ('_' & 'bc')"
    assert len(_lexeme("x" * 10_000).encode()) <= 255
    assert _lexeme("x" * 10_000) != _lexeme("x" * 10_001)


def test_each_part_of_a_long_content_fits_into_a_tsvector():
    steps = PostgresConversationSteps(Postgres(), "p_")
    content = " ".join(f"\U0001d7d8\U00020000{number}" for number in range(100_000))  # letters of four bytes
    start, number = 0, 0
    while start is not None:
        text, start = steps._part(content, start)
        number += text.count("' '")  # every row but for the last word has one, which marks it
        assert text.endswith(" '_'")
        assert len(text.encode()) < 2**20
    assert number == 100_000


def test_nothing_is_opened_or_imported_before_it_is_needed():
    for store in (PostgresConversationStore, AsyncPostgresStateStore):
        store("postgresql://u:p@127.0.0.1:1/d")
    code = (
        "import sys, praisonai_persistence_postgres as p; "
        "p.PostgresStateStore('postgresql://h/d'); assert 'asyncpg' not in sys.modules; "
        "p.AsyncPostgresStateStore('postgresql://h/d'); assert 'asyncpg' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_server_gives_up_before_the_client_does():
    def times(url="postgresql://h/d", statement_timeout=FOLLOWS, timeout=None):
        found = settings(url, {}, None, statement_timeout, None, timeout=timeout)
        return found.timeout, found.statement_timeout

    assert times() == (30, 25)
    assert times(timeout=12) == (12, 10)
    assert times(statement_timeout=60) == (65, 60)
    assert times(statement_timeout=60, timeout=10) == (10, 60)
    assert times(statement_timeout=None) == (30, None)
    assert times("postgresql://h/d?timeout=6") == (6, 5)
    assert "timeout" not in settings("postgresql://h/d?timeout=6", {}, None, FOLLOWS, None).for_psycopg()
    for wrong in (0, -1, "soon"):
        with pytest.raises(ConfigurationError, match="timeout"):
            times(timeout=wrong)
