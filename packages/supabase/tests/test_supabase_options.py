"""What the stores can be given, and the script; nothing here asks a server."""

import base64
import json
import re

import pytest

from praisonai_persistence import open_conversation_store
from praisonai_persistence.errors import ConfigurationError, InvalidIdentifierError
from praisonai_persistence_supabase import (
    AsyncSupabaseConversationStore,
    SupabaseConversationStore,
    SupabaseOptions,
    schema_script,
)

URL = "https://project.supabase.co"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("SUPABASE_URL", "SUPABASE_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_defaults_are_those_of_praisonai():
    options = SupabaseOptions(URL, key="k")
    given = {
        name: getattr(options, name) for name in ("table_prefix", "auto_create_tables", "max_retries", "retry_delay")
    }
    assert given == {"table_prefix": "praison_", "auto_create_tables": False, "max_retries": 3, "retry_delay": 2.0}


@pytest.mark.parametrize(
    ("url", "given", "place"),
    [
        (URL, {"key": "k"}, ("project.supabase.co", 443, True, "rest/v1")),
        (f"{URL}/rest/v1", {"key": "k"}, ("project.supabase.co", 443, True, "rest/v1")),
        ("supabase://:k@project.supabase.co", {}, ("project.supabase.co", 443, True, "rest/v1")),
        ("http://127.0.0.1:54321", {"key": "k"}, ("127.0.0.1", 54321, False, "rest/v1")),
        ("HTTP://localhost:54321", {"key": "k"}, ("localhost", 54321, False, "rest/v1")),
        ("http://localhost:3000", {"key": "k", "rest_path": "/"}, ("localhost", 3000, False, "/")),
        (None, {"host": "db", "port": 8000, "key": "k", "tls": False}, ("db", 8000, False, "rest/v1")),
    ],
)
def test_places(url, given, place):
    options = SupabaseOptions(url, **given)
    assert (options.host, options.port, options.tls, options.rest_path) == place
    assert options.key == "k"


def test_the_environment(monkeypatch):
    with pytest.raises(ConfigurationError, match="say where"):
        SupabaseOptions(key="k")
    with pytest.raises(ConfigurationError, match="needs a key"):
        SupabaseOptions(URL)
    monkeypatch.setenv("SUPABASE_URL", URL)
    monkeypatch.setenv("SUPABASE_KEY", "of-the-environment")
    assert SupabaseOptions().key == "of-the-environment"
    options = SupabaseOptions("https://other.supabase.co", key="k")
    assert (options.host, options.key) == ("other.supabase.co", "k")


@pytest.mark.parametrize(
    "given",
    [
        {"key": "with space"},
        {"key": "k\n"},
        {"key": "schl\u00fcssel"},
        {"key": "k", "access_token": "a b"},
        {"key": "k", "access_token": 5},
        {"key": "k", "max_retries": -1},
        {"key": "k", "max_retries": True},
        {"key": "k", "max_retries": 1.5},
        {"key": "k", "retry_delay": -1},
        {"key": "k", "rest_path": ""},
    ],
)
def test_what_cannot_be(given):
    for store in (SupabaseConversationStore, AsyncSupabaseConversationStore):
        with pytest.raises(ConfigurationError) as caught:
            store(URL, **given)
        assert "schl" not in str(caught.value)


def test_urls_that_cannot_be():
    with pytest.raises(ConfigurationError, match="needs a port"):
        SupabaseOptions("http://project.supabase.co", key="k")
    with pytest.raises(ConfigurationError, match="http:// is without TLS, and tls=True with it"):
        SupabaseOptions("Http://localhost:1", key="k", tls=True)
    with pytest.raises(ConfigurationError, match="a user"):
        SupabaseOptions("supabase://ada:k@project.supabase.co")


def test_secrets_are_not_shown():
    store = SupabaseConversationStore("supabase://:s3cret@project.supabase.co", access_token="t0ken")
    assert not re.search("s3cret|t0ken", f"{store!r} {store._runner!r}")


def test_both_names_open():
    for scheme in ("supabase", "async_supabase"):
        with open_conversation_store(f"{scheme}://:k@project.supabase.co", "sync") as store:
            assert store.capabilities == {"atomic_batch", "durable", "fork", "prefix", "rewrite", "search", "shared"}


def test_the_script():
    script = SupabaseConversationStore(URL, key="s3cret", table_prefix="app_").schema_script()
    assert script == schema_script("app_")
    assert "s3cret" not in script
    assert "praison_" not in script
    assert not re.findall(r"\{\w+\}", script)
    made = re.findall(r'CREATE OR REPLACE FUNCTION public\."(\w+)"', script)
    assert len(made) == len(set(made)) == 21
    assert script.count("ENABLE ROW LEVEL SECURITY") == 5
    definers = re.findall(
        r'FUNCTION public\."app_(\w+)"\([^)]*\) RETURNS \w+\nLANGUAGE \w+ (?:STABLE )?SECURITY DEFINER', script
    )
    assert definers == ["info", "session_is_there", "messages_are_there", "forget_words"]
    assert script.count("SET search_path = ''") == len(made)
    with pytest.raises(InvalidIdentifierError):
        schema_script('a"; DROP TABLE x; --')


def _jwt(claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


@pytest.mark.parametrize(
    ("given", "searches"),
    [
        ({"key": "sb_secret_x"}, True),
        ({"key": "sb_publishable_x"}, False),
        ({"key": "sb_secret_x", "access_token": "t"}, False),
        ({"key": _jwt({"role": "service_role"})}, True),
        ({"key": _jwt({"role": "anon"})}, False),
        ({"key": _jwt({"role": None})}, True),
        ({"key": _jwt([])}, True),
        ({"key": "not.a.token"}, True),
    ],
)
def test_who_is_under_policies_has_no_search(given, searches):
    for store in (SupabaseConversationStore(URL, **given), AsyncSupabaseConversationStore(URL, **given)):
        assert ("search" in store.capabilities) is searches
