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
from praisonai_persistence_postgres.conversation import PostgresConversationSteps
from praisonai_persistence_sql.tsvector import lexeme


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
    assert len(lexeme("x" * 10_000).encode()) <= 255
    assert lexeme("x" * 10_000) != lexeme("x" * 10_001)


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


def test_several_hosts_ipv6_and_folders():
    def address(url, **given):
        found = _settings(url, **given)
        return found.address.get("host"), found.address.get("port"), found.where

    assert address("postgresql://u:p@One:5433,two/d") == ("one,two", "5433,5432", "one:5433, two:5432, database 'd'")
    assert address("postgresql://[::1]:5433,[2001:DB8::1]:5433/d")[:2] == ("::1,2001:db8::1", 5433)
    assert address("postgresql://%2FRun%2Fpg:1/d")[:2] == ("/Run/pg", 1)
    assert address("postgresql:///d?host=a,b&port=1,2")[:2] == ("a,b", "1,2")
    assert address("postgresql://a,b/d", host="c", port=7)[:2] == ("c", 7)
    assert address("postgresql://[::1]/d")[2] == "[::1]:5432, database 'd'"
    for wrong in ({"port": "x"}, {"port": 0}, {"port": True}, {"port": "1,2,3"}, {"host": 5}):
        with pytest.raises(ConfigurationError, match=r"port|host"):
            _settings("postgresql://a,b/d", **wrong)


def test_one_host_after_the_other_and_together_they_have_the_time():
    found = _settings("postgresql://a:1,b:2/d?target_session_attrs=prefer-standby&connect_timeout=20").attempts()
    assert [(one.address["host"], one.address["port"], one.connect_timeout) for one in found] == [
        ("a", "1", 5), ("b", "2", 5), ("a", "1", 5), ("b", "2", 5),
    ]  # fmt: skip
    assert [one.parameters["target_session_attrs"] for one in found] == ["standby", "standby", "any", "any"]
    (alone,) = _settings("postgresql://a/d").attempts()
    assert alone.connect_timeout == 10


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sslmode=no-such", "sslmode must be disable or"),
        ("prepare_threshold=0", "no parameter 'prepare_threshold'.*application_name.*options="),
        ("service=x", "no parameter 'service'"),
        ("target_session_attrs=master", "target_session_attrs must be any or"),
        ("keepalives_idle=soon", "whole number"),
        ("client_encoding=LATIN1", "UTF8"),
        ("sslrootcert=system&sslmode=require", "verify-full"),
        ("pooler=perhaps", "pooler must be"),
        ("sslmode=verify-full", "sslrootcert"),
        ("sslmode=verify-ca&sslrootcert=/no/such/file", "no file"),
        ("sslcert=/no/such/file", "no file"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_both(query, message, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    for store in (PostgresConversationStore, AsyncPostgresStateStore):
        with pytest.raises(ConfigurationError, match=message):
            store(f"postgresql://h/d?{query}")


@pytest.mark.parametrize("query", ["gssencmode=require", "sslsni=0", "load_balance_hosts=random"])
def test_what_asyncpg_has_not(query):
    PostgresConversationStore(f"postgresql://h/d?{query}")
    with pytest.raises(ConfigurationError, match=f"asyncpg has no {query}.*mode='sync'"):
        AsyncPostgresStateStore(f"postgresql://h/d?{query}")


def test_the_certificates_of_the_system():
    found = _settings("postgresql://h/d?sslrootcert=system&ssl_min_protocol_version=TLSv1.3")
    assert found.for_psycopg()["sslmode"] == "verify-full"
    context = found.for_asyncpg()["ssl"]
    assert context.check_hostname
    assert context.minimum_version.name == "TLSv1_3"


def test_poolers_are_known_by_their_places_or_looked_for():
    def pooler(url, given=None):
        found = settings(url, {}, None, FOLLOWS, None, pooler=given)
        return found.pooler, found.look_for_pooler

    assert pooler("postgresql://h/d") == (False, True)
    assert pooler("postgresql://h:6432/d") == pooler("postgresql://x.pooler.supabase.com:6543/d") == (True, False)
    assert pooler("postgresql://x.proxy-abc.eu-central-1.rds.amazonaws.com/d") == (True, False)
    assert pooler("postgresql://ep-x.eu.neon.tech/d") == (False, False)
    assert pooler("postgresql://h:6432/d", False) == (False, False)
    assert pooler("postgresql://h/d?pgbouncer=true") == pooler("postgresql://h/d?pooler=1") == (True, False)
    assert pooler("postgresql://h/d?pooler=true", False) == (False, False)
    for wrong in (1, "yes"):
        with pytest.raises(ConfigurationError, match="pooler"):
            pooler("postgresql://h/d", wrong)


def test_errors_of_poolers_name_the_option():
    for state, text in (("26000", "no"), ("42P05", "no"), ("08P01", "unsupported startup parameter: options")):
        assert "pooler=True" in str(translate(state, text, "h", connection_error=False))
