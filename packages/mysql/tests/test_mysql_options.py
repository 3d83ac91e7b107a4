"""URLs and options: what is understood, what is refused, and that no secret shows."""

from __future__ import annotations

import ssl

import pytest

from praisonai_persistence import ConfigurationError, InvalidIdentifierError, create_conversation_store
from praisonai_persistence_mysql import (
    AsyncMySQLConversationStore,
    AsyncMySQLStateStore,
    MySQLConversationStore,
    MySQLStateStore,
)
from praisonai_persistence_mysql._options import settings_of

URL = "mysql://ada:s3cr%40t@db.example:3307/agents"
STORES = [AsyncMySQLConversationStore, AsyncMySQLStateStore, MySQLConversationStore, MySQLStateStore]


def test_a_url_is_read():
    settings = settings_of(URL + "?connect_timeout=2.5&max_size=3&charset=utf8mb4", {})
    assert (settings.host, settings.port, settings.database) == ("db.example", 3307, "agents")
    assert (settings.user, settings.password) == ("ada", "s3cr@t")
    assert (settings.connect_timeout, settings.max_size) == (2.5, 3)
    assert "s3cr" not in repr(settings)


def test_options_win_over_the_url():
    settings = settings_of(URL, {"host": "other", "password": "", "port": None})
    assert (settings.host, settings.port, settings.password) == ("other", 3307, "")


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+aiomysql", "aiomysql"])
def test_schemes(scheme):
    assert settings_of(f"{scheme}://h/d", {}).database == "d"


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("postgres://u:s3cret@h/d", {}),
        ("mysql://u:s3cret@h", {}),
        ("mysql://u:s3cret@h/", {}),
        ("mysql://u:s3cret@h/a/b", {}),
        ("mysql://u:s3cret@h/d?what=1", {}),
        ("mysql://u:s3cret@h/d?charset=latin1", {}),
        ("mysql://u:s3cret@h/d?connect_timeout=soon", {}),
        ("mysql://u:s3cret@h/d?tls=perhaps", {}),
        ("mysql://u:s3cret@h/d", {"port": 0}),
        ("mysql://u:s3cret@h/d", {"port": "3306"}),
        ("mysql://u:s3cret@h/d", {"connect_timeout": 0}),
        ("mysql://u:s3cret@h/d", {"connect_timeout": -1.0}),
        ("mysql://u:s3cret@h/d", {"pool_timeout": float("nan")}),
        ("mysql://u:s3cret@h/d", {"read_timeout": "soon"}),
        ("mysql://u:s3cret@h/d", {"statement_timeout": 0}),
        ("mysql://u:s3cret@h/d", {"tls": 7}),
        ("mysql://u:s3cret@h/d", {"host": ""}),
        ("mysql://u:s3cret@h/d", {"user": "a\0b"}),
        ("mysql://u:s3cret@x.connect.psdb.cloud/d", {"tls": False}),
    ],
)
def test_what_cannot_be_is_refused(url, options):
    with pytest.raises(ConfigurationError) as caught:
        settings_of(url, options)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("store", STORES)
def test_a_database_must_be_named(store):
    with pytest.raises(ConfigurationError, match="database"):
        store(host="h")


@pytest.mark.parametrize("store", STORES)
def test_pool_or_connection_factory(store):
    with pytest.raises(ConfigurationError, match="not both"):
        store(pool=object(), connection_factory=print)


@pytest.mark.parametrize("url", ["mysql://h/d", "mysql://h/d?max_size=0", "mysql://h/d?max_size=1.5"])
@pytest.mark.parametrize("size", [0, True, -1, 2.5, "3"])
@pytest.mark.parametrize("store", STORES)
def test_sizes(store, url, size):
    options = {"max_size": size} if "?" not in url else {}
    with pytest.raises(ConfigurationError, match="max_size"):
        store(url, **options)


def test_retries_need_a_time():
    with pytest.raises(ConfigurationError, match="retry_timeout"):
        MySQLConversationStore("mysql://h/d", retry_timeout=0)


@pytest.mark.parametrize("prefix", ["a-b", "a`b", "1a", "A_", "x" * 40, "a b", "é"])
@pytest.mark.parametrize("store", STORES)
def test_prefixes_are_checked_before_anything_else_happens(store, prefix):
    with pytest.raises(InvalidIdentifierError):
        store("mysql://h/d", table_prefix=prefix)


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("127.0.0.1", None, "disable"),
        ("localhost", None, "disable"),
        ("db.example", None, "prefer"),
        ("aws.connect.psdb.cloud", None, "verify"),
        ("db.example", True, "verify"),
        ("db.example", False, "disable"),
        ("db.example", "REQUIRED", "require"),
        ("db.example", "verify_identity", "verify"),
    ],
)
def test_tls(host, given, expected):
    settings = settings_of(None, {"host": host, "database": "d", "tls": given})
    assert settings.tls == expected
    assert settings.tls_required == (expected in {"require", "verify"})


@pytest.mark.parametrize("query", ["?sslaccept=strict", '?ssl={"rejectUnauthorized":true}', "?ssl-mode=VERIFY_CA"])
def test_tls_in_urls_as_providers_write_them(query):
    assert settings_of("mysql://u:p@h.example/d" + query, {}).tls == "verify"


def test_contexts():
    def context(tls: object) -> ssl.SSLContext | None:
        return settings_of("mysql://h.example/d", {"tls": tls}).context()

    assert context("disable") is None
    assert context("prefer").verify_mode == ssl.CERT_NONE
    assert context("verify").verify_mode == ssl.CERT_REQUIRED
    assert context("verify").check_hostname
    mine = ssl.create_default_context()
    assert context(mine) is mine


def test_serverless_hosts_may_take_their_time():
    assert settings_of("mysql://u@x.connect.psdb.cloud/d", {}).connect_timeout == 30.0
    assert settings_of("mysql://u@db.example/d", {}).connect_timeout == 10.0
    assert settings_of("mysql://u@x.connect.psdb.cloud/d", {"connect_timeout": 3}).connect_timeout == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mysql", MySQLConversationStore),
        ("mariadb", MySQLConversationStore),
        ("async_mysql", AsyncMySQLConversationStore),
        ("aiomysql", AsyncMySQLConversationStore),
        ("mysql_async", AsyncMySQLConversationStore),
    ],
)
def test_names(name, expected):
    assert type(create_conversation_store(name, url="mysql://h/d")) is expected


def test_the_deadline_of_an_answer():
    def times(url="mysql://h/d", **options):
        found = settings_of(url, options)
        return found.timeout, found.write_timeout, found.statement_timeout

    assert times() == (30, 30, None)
    assert times(timeout=5) == (5, 5, None)
    assert times(statement_timeout=60) == (65, 65, 60)
    assert times(timeout=5, write_timeout=7, statement_timeout=60) == (5, 7, 60)
    assert times("mysql://h/d?read_timeout=4") == times(read_timeout=4) == (4, 4, None)
    assert times("mysql://h/d?timeout=4") == (4, 4, None)
