"""Reading connection URLs, and showing them without their secrets."""

from __future__ import annotations

import random
import traceback
from pathlib import PurePosixPath
from urllib.parse import quote

import pytest

from praisonai_persistence import urls
from praisonai_persistence.errors import ConfigurationError, PersistenceError
from praisonai_persistence.urls import file_path, mask, parse_url

# ------------------------------------------------------------------------------------------------------------- reading


def test_every_part_of_a_url() -> None:
    url = parse_url("PostgreSQL+AsyncPG://me%40home:p%2Fw%20d@DB.example:5433/my%20db?sslmode=require&x=&sslmode=off")
    assert (url.scheme, url.variant) == ("postgresql", "asyncpg")
    assert (url.username, url.password) == ("me@home", "p/w d")
    assert (url.host, url.port, url.path) == ("db.example", 5433, "/my db")
    assert url.query == {"sslmode": "off", "x": ""}


def test_an_at_sign_where_nothing_is_ambiguous() -> None:
    assert parse_url("db://host/we@ird").path == "/we@ird"
    assert parse_url("db://host:1/x?user=me@home&y=1").query == {"user": "me@home", "y": "1"}
    assert parse_url("db://host:1?user=me@home").query == {"user": "me@home"}
    assert parse_url("db://me:p%40@host:1/we%40ird").path == "/we@ird"
    assert file_path("sqlite:///we@ird.db", ("sqlite",)) == ("we@ird.db", {})
    assert file_path("sqlite://Dir/n@me.db", ("sqlite",)) == ("Dir/n@me.db", {})


@pytest.mark.parametrize(
    "password", ["12{}zebra", "s3cr{}zebra", "{}zebra", "1{}2{}zebra", "1{}a=zebra", "s{}a=b&zebra"]
)
@pytest.mark.parametrize("rest", ["127.0.0.1:5432/d", "h/d?x=1", "h", "[::1]/d", "one:1,two:2/d"])
@pytest.mark.parametrize("user", ["app", "", "me@home"])
def test_a_password_without_its_escapes_is_refused_with_the_way_out(user: str, password: str, rest: str) -> None:
    for character in "/@#?:":
        secret = password.replace("{}", character)
        with pytest.raises(ConfigurationError, match=r"write / as %2F.*@ as %40") as caught:
            parse_url(f"postgresql://{user}:{secret}@{rest}")
        assert "zebra" not in str(caught.value)
        assert "12" not in str(caught.value).replace("127", "")
    escaped = quote(password.replace("{}", "/@#?:"), safe="")
    assert "zebra" in str(parse_url(f"postgresql://{quote(user)}:{escaped}@{rest}").password)


def test_a_url_without_parts() -> None:
    url = parse_url("memory://")
    assert (url.scheme, url.variant, url.username, url.password) == ("memory", "", None, None)
    assert (url.host, url.port, url.path, url.query) == (None, None, "", {})


def test_hosts_in_brackets() -> None:
    url = parse_url("redis://u@[2001:db8::1]:6380/0")
    assert (url.host, url.port, url.username, url.password) == ("2001:db8::1", 6380, "u", None)


def test_several_hosts() -> None:
    url = parse_url("redis+sentinel://u:p%2Cw@One:26379,two,three:1/service/0?x=1")
    assert (url.scheme, url.variant, url.username, url.password) == ("redis", "sentinel", "u", "p,w")
    assert (url.host, url.port, url.path) == ("one:26379,two,three:1", None, "/service/0")
    url = parse_url("postgresql://u:p@[::1]:5432,[2001:DB8::1],%2Frun%2Fpg/d?a=1")
    assert (url.host, url.port, url.path) == ("[::1]:5432,[2001:db8::1],%2frun%2fpg", None, "/d")
    for broken in ("redis://one:port,two", "redis://one:26379,", "redis://one,two:123456"):
        with pytest.raises(ConfigurationError, match="port"):
            parse_url(broken)


@pytest.mark.parametrize("path", ["agent.db", "/abs/a b%20.DB", "C:\\x\\y.sqlite", "we@ird?#.sqlite3", "zeile\n.db"])
def test_a_bare_path_of_a_database_is_taken_as_it_is(path: str) -> None:
    url = parse_url(path)
    assert (url.scheme, url.path, url.query) == ("sqlite", "/" + path, {})
    assert file_path(path, ("sqlite",)) == (path, {})


@pytest.mark.parametrize(
    ("url", "path", "parameters"),
    [
        ("sqlite:///rel.db", "rel.db", {}),
        ("sqlite:////abs/x.db", "/abs/x.db", {}),
        ("sqlite+aiosqlite:////abs/x.db", "/abs/x.db", {}),
        ("sqlite://", "", {}),
        ("sqlite:///", "", {}),
        ("sqlite:///:memory:", ":memory:", {}),
        ("sqlite://Dir/Name.db?a=1", "Dir/Name.db", {"a": "1"}),
        ("sqlite:///a%20b%23.db", "a b#.db", {}),
        ("sqlite:///a#b.db?x=#1", "a#b.db", {"x": "#1"}),
        ("sqlite:///C:/x.db", "C:/x.db", {}),
        ("sqlite:////we@ird:.db", "/we@ird:.db", {}),
    ],
)
def test_paths_of_embedded_backends(url: str, path: str, parameters: dict[str, str]) -> None:
    assert file_path(url, ("sqlite",)) == (path, parameters)


# ----------------------------------------------------------------------------------------------------------- malformed


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "a URL must be text, or the path of a SQLite file, not NoneType"),
        (b"sqlite://", "a URL must be text, or the path of a SQLite file, not bytes"),
        ("", "'' is not a store URL: write scheme://..., for example sqlite:///agent.db, or the path of a file that"),
        ("agent.txt", "'agent.txt' is not a store URL: write scheme://"),
        ("://host/db", "'://host/db' is not a store URL: write scheme://"),
        ("1a://host", "'1a://host' is not a store URL: write scheme://"),
        ("a+b+c://host", "'a+b+c://host' is not a store URL: write scheme://"),
        ("localhost:6379", "'localhost:6379' is not a store URL: write scheme://"),
        (
            "redis:host",
            "'redis:host' is not a store URL: write redis://...; for files redis:///name with a relative path",
        ),
        ("sqlite:agent.db", "'sqlite:agent.db' is not a store URL: write sqlite://...; for files sqlite:///name"),
        ("sqlite:/a/agent.db", "'sqlite:/a/agent.db' is not a store URL: write sqlite://...; for files sqlite:///name"),
        ("file:agent.db", "'file:agent.db' is not a store URL: write sqlite://...; for files sqlite:///name"),
        (PurePosixPath("notes"), "'notes' does not say which backend it is of: write a URL, as sqlite:///notes"),
        ("db://host:99999/x", "'db://host:99999/x' is not a store URL: its port is no number from 0 to 65535"),
        ("db://host:port/x", "'db://host:***/x' is not a store URL: its port is no number from 0 to 65535"),
        ("db://u:p/w@host/x", "'db://u:***@host/x' is not a store URL: its port is no number from 0 to 65535; in a"),
        ("db://[::1/x", "'db://[::1/x' is not a store URL: its host is malformed"),
        ("db://port\u2100/x", "'db://port\u2100/x' is not a store URL: its host is malformed"),
        ("sqlite:///a\nb.db", r"'sqlite:///a\nb.db' is not a store URL: it holds a control character; write it as %0A"),
        ("sqlite:///a\0.db", r"'sqlite:///a\x00.db' is not a store URL: it holds a control character"),
    ],
)
def test_what_is_no_url_is_refused_and_why(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, PersistenceError)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://x", "'redis://x' has the scheme 'redis', not sqlite or file"),
        ("sqlite://u:geheim@h/x.db", "'sqlite://u:***@h/x.db' names a user or a port; a file has none"),
        ("sqlite://@x.db", "'sqlite://***@x.db' names a user or a port; a file has none"),
        ("sqlite://h:1/x.db", "'sqlite://h:1/x.db' names a user or a port; a file has none"),
    ],
)
def test_what_a_file_has_not(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        file_path(url, ("sqlite", "file"))
    assert str(caught.value) == message


# ------------------------------------------------------------------------------------------------------------- masking


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:geheim@host:5432/db?sslmode=require", "postgresql://me:***@host:5432/db?sslmode=require"),
        ("postgresql+asyncpg://me:geheim@host/db", "postgresql+asyncpg://me:***@host/db"),
        ("redis://:geheim@host", "redis://:***@host"),
        ("libsql://geheim@host", "libsql://***@host"),  # a user without a password may be a token
        ("db://host/x?auth_token=geheim&y=1", "db://host/x?auth_token=***&y=1"),
        ("db://host/x?PASSWORD=geheim", "db://host/x?PASSWORD=***"),
        ("db://host/x?apiKey=geheim;x#y z", "db://host/x?apiKey=***"),
        ("db://host/x#access_token=geheim", "db://host/x#access_token=***"),
        # passwords that lack their escapes
        ("db://me:ge@he/im@host/x", "db://me:***@host/x"),
        ("db://me:ge/h?e#im@host/x", "db://me:***@host/x"),
        ("db://me:12/geheim@host/x", "db://me:***@host/x"),
        # no URLs, or nearly
        ("me:geheim@host/db", "me:***@host/db"),
        ("db:/me:geheim@host/x", "db:/me:***@host/x"),
        ("db//me:geheim@host/x", "db//me:***@host/x"),
        ("db:///me:geheim@host/x", "db:///me:***@host/x"),
        ("db://me:geheim", "db://me:***"),
        ("db://me:geheim/x", "db://me:***/x"),
        ("host=h password='geh eim' dbname=x", "host=h password=***"),
        ("host=h PWD = geheim", "host=h PWD =***"),
        ("Endpoint=https://x/;AccountKey=geheim==", "Endpoint=https://x/;AccountKey=***"),
        ("geheim@host", "***@host"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert mask(url) == shown
    assert mask(shown) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:///agent.db",
        "sqlite:////srv/we@ird.db",
        "sqlite:///:memory:",
        "sqlite:///C:/x.db",
        "C:\\x\\agent.db",
        "redis://host:6379/0?db=1",
        "redis://[::1]:6379/0",
        "redis://host:/0",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(url: str) -> None:
    assert mask(url) == url


def test_a_parsed_url_shows_no_secret() -> None:
    url = parse_url("db://me:geheim@host/x?token=geheim&y=1")
    assert str(url) == "db://me:***@host/x?token=***&y=1"
    assert repr(url) == "StoreURL('db://me:***@host/x?token=***&y=1')"
    assert url.password == "geheim"
    assert url.query["token"] == "geheim"


@pytest.mark.parametrize(
    "url",
    [
        "me:geheim@host/db",
        "db://me:geheim@[host/x",
        "db://me:geheim@host:port/x",
        "db://me:geheim@host:99999/x",
        "db://me:geheim@port\u2100/x",
        "db://me:geheim@host/\n",
        "db://me:ge/geheim@host/x",
        "db://me:geheim/x",
        "://me:geheim@host",
        "db://me:12/geheim@host/x",
        "db://me:12?geheim@host/x",
        "db://me:12?geheim=1@host/x",
        "db://me:12#geheim@host/x",
        "db://me:ge@im/geheim@host:5432/x",
        "db://me:ge@im?geheim@host/x",
        "db://me:ge@im#geheim@host/x",
        "db://me:12:geheim@im/geheim@host/x",
    ],
)
def test_no_error_shows_a_secret_nor_does_its_traceback(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    shown = "".join(traceback.format_exception(caught.value))
    assert "is not a store URL" in shown or "can be read in two ways" in shown
    assert caught.value.__cause__ is None
    assert "geheim" not in shown + repr(caught.value)


def test_plain_urls_are_read_as_all_others_are(monkeypatch):
    """Those of embedded stores take a shorter way, which must make no difference."""
    pieces = ["sqlite", "a", "B", "1", "_", "-", ".", "+", "://", "/", "//", "?", "#", "%41", "%", "@", ":", "[", "]"]
    pieces += ["x.db", "\u00e9", " ", "\0", "\x7f", ";", "&", "=", "\\", ",", "~", "\u2028", "x=1"]
    chance = random.Random(7)
    given = [
        ("" if number % 2 else "sqlite://") + "".join(chance.choices(pieces, k=chance.randint(0, 5)))
        for number in range(4000)
    ]

    def read(url):
        found = []
        for function in (parse_url, lambda url: file_path(url, ("sqlite", "a"))):
            try:
                found.append(function(url))
            except ConfigurationError as error:
                found.append(str(error))
        return found

    short = [read(url) for url in given]
    taken = sum(urls._parse_plain(url) is not None for url in given)
    monkeypatch.setattr(urls, "_parse_plain", lambda url: None)
    assert short == [read(url) for url in given]
    assert 400 < taken < 3600


def test_a_path_object_is_the_path_of_a_sqlite_file() -> None:
    for path in ("agent.db", "a:b.db", "/tmp/a b?#%.sqlite3"):
        place, parameters = file_path(PurePosixPath(path), ("sqlite",))
        assert (PurePosixPath(place), parameters) == (PurePosixPath(path), {})


@pytest.mark.parametrize("url", ["postgresql://ada:Zqx/Wvy7@127.0.0.1:9/db", "redis://ada:Zqx[Wvy7@[::1/0"])
def test_no_error_behind_the_refusal_quotes_a_password(url):
    with pytest.raises(ConfigurationError) as refused:
        parse_url(url)
    assert "Zqx" not in str(refused.value)
    assert refused.value.__cause__ is refused.value.__context__ is None
