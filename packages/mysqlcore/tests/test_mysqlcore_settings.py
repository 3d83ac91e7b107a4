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
from praisonai_persistence_mysqlcore.settings import settings_of

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
        ("mysql://u:s3cret@h/d?ssl=true&ssl_disabled=true", {}),
        ("mysql://u:s3cret@h/d?ssl_verify_cert=perhaps", {}),
        ("mysql://u:s3cret@h/d?ssl_key=/k.pem", {}),
        ("mysql://u:s3cret@h/d?timeout=5&read_timeout=4", {}),
        ("mysql://u:s3cret@h/d?collation=latin1_bin", {}),
        ("mysql://u:s3cret@h/d?use_unicode=0", {}),
        ("mysql://u:s3cret@h/d?unix_socket=", {}),
        ("mysql://u:s3cret@h/d?program_name=" + "x" * 101, {}),
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


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("connect_timout", "did you mean 'connect_timeout'?"),
        ("charsett", "did you mean 'charset'?"),
        ("connectTimeout", "did you mean 'connect_timeout'?"),
        ("pool_size", "did you mean 'max_size'?"),
        ("autocommit", "the store sets up its connections itself"),
        ("read_default_file", "connection_factory="),
        ("password", "before the parameters"),
        ("no_such_thing", "takes connect_timeout, .*, not 'no_such_thing'"),
    ],
)
@pytest.mark.parametrize("store", STORES)
def test_parameters_that_there_are_not(store, name, told):
    with pytest.raises(ConfigurationError, match=told):
        store(f"mysql://h/d?{name}=1")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ssl_ca=/ca.pem", {"tls": "verify", "tls_ca": "/ca.pem"}),
        ("ssl_ca=/ca.pem&ssl_mode=REQUIRED", {"tls": "require", "tls_ca": "/ca.pem"}),
        (
            "ssl_cert=/c.pem&ssl_key=/k.pem&ssl_key_password=x",
            {"tls": "require", "tls_cert": "/c.pem", "tls_key": "/k.pem"},
        ),
        ("ssl_verify_cert=true", {"tls": "verify"}),
        ("ssl_mode=REQUIRED&ssl_verify_identity=1", {"tls": "verify"}),
        ("ssl_verify_cert=false&ssl=preferred", {"tls": "prefer"}),
        ("ssl_disabled=true", {"tls": "disable"}),
        ("useSSL=true", {"tls": "verify"}),
        ("socket=/run/My.sock", {"unix_socket": "/run/My.sock"}),
        ("read_timeout=4&timeout=4", {"timeout": 4.0}),
        ("charset=UTF8MB4&collation=utf8mb4_unicode_ci&use_unicode=1", {}),
        ("program_name=agents", {"program_name": "agents"}),
    ],
)
def test_parameters_as_drivers_write_them(query, expected):
    settings = settings_of(f"mysql://u:p@h.example/d?{query}", {})
    assert {name: getattr(settings, name) for name in expected} == expected


def test_a_socket_in_the_place_of_the_host():
    settings = settings_of("mysql://u:p@%2Frun%2FMySQL%2Fmysqld.sock/agents", {})
    assert (settings.unix_socket, settings.tls, settings.database) == ("/run/MySQL/mysqld.sock", "disable", "agents")
    assert settings.place == "/run/MySQL/mysqld.sock"


@pytest.mark.parametrize(("host", "tls"), [("::1", "disable"), ("2001:db8::7", "prefer")])
def test_addresses_of_ipv6(host, tls):
    settings = settings_of(f"mysql://u:p@[{host}]:3307/agents", {})
    assert (settings.host, settings.port, settings.tls) == (host, 3307, tls)
    assert settings.place == f"[{host}]:3307"


@pytest.mark.anyio
@pytest.mark.parametrize("options", [{"tls_ca": "/no/such.pem"}, {"tls_ca": "EMPTY"}, {"tls_cert": "EMPTY"}])
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_certificates_that_cannot_be_read(store, options, tmp_path, anyio_backend):
    (tmp_path / "empty.pem").touch()
    given = {name: path.replace("EMPTY", str(tmp_path / "empty.pem")) for name, path in options.items()}
    one = store("mysql://127.0.0.1:9/d", **given)
    with pytest.raises(ConfigurationError, match="tls_ca"):
        if (answer := one.connect()) is not None:
            await answer
