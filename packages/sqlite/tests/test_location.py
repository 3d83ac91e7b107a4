"""Where a store's file is: URLs, paths, options."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from praisonai_persistence import (
    BackendError,
    ConfigurationError,
    ConversationMessage,
    ConversationSession,
    InvalidIdentifierError,
    create_conversation_store,
    create_state_store,
)
from praisonai_persistence_sqlite import (
    AsyncSQLiteStateStore,
    SQLiteConversationStore,
    SQLiteKnowledgeStore,
    SQLiteStateStore,
)
from praisonai_persistence_sqlite._location import locate


def where(url=None, path=None):
    return locate(url, path, "FULL", 60.0).path


def test_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert where("sqlite:///rel.db") == str(tmp_path / "rel.db")
    assert where("sqlite:///sub/rel.db") == str(tmp_path / "sub" / "rel.db")
    assert where("sqlite:////abs/a%20b.db") == "/abs/a b.db"
    assert where("sqlite://") is None
    assert where("sqlite:///") is None
    assert where("sqlite:///:memory:") is None
    assert where("sqlite+aiosqlite:///rel.db") == where("aiosqlite:///rel.db") == str(tmp_path / "rel.db")
    assert where("rel.db") == str(tmp_path / "rel.db")
    assert where("/abs/x.sqlite3") == "/abs/x.sqlite3"


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert where(path="x") == str(tmp_path / "x")
    assert where(path=tmp_path / "x.db") == str(tmp_path / "x.db")
    assert where(path=os.fsencode(tmp_path / "x.db")) == str(tmp_path / "x.db")
    assert where(path=":memory:") is None


def test_a_url_may_hold_options():
    location = locate("sqlite:///x.db?synchronous=normal&lock_timeout=2.5", None, "FULL", 60.0)
    assert (location.synchronous, location.lock_timeout) == ("NORMAL", 2.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either url"),
        ({"url": "sqlite:///x.db", "path": "x.db"}, "give either url"),
        ({"url": "postgresql://h/x"}, "has the scheme 'postgresql', not sqlite"),
        ({"url": "nonsense"}, "is not a store URL"),
        ({"url": "sqlite://user:secret@h/x.db"}, r"sqlite://user:\*\*\*@h/x.db"),
        ({"url": "sqlite:///x.db?cache=shared"}, "takes synchronous, lock_timeout, not 'cache'"),
        ({"url": "sqlite:///x.db?lock_timeout=soon"}, "lock_timeout in the URL must be a number"),
        ({"path": ""}, "path is empty"),
        ({"path": "a\0b"}, "NUL"),
        ({"path": "x.db", "synchronous": "OFF"}, "synchronous must be FULL"),
        ({"path": "x.db", "lock_timeout": 0}, "lock_timeout must be"),
        ({"path": "x.db", "lock_timeout": float("nan")}, "lock_timeout must be"),
        ({"path": "x.db", "lock_timeout": float("inf")}, "lock_timeout must be"),
    ],
)
@pytest.mark.parametrize("store", [SQLiteConversationStore, AsyncSQLiteStateStore])
def test_what_cannot_be_is_refused(store, options, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        store(**options)
    assert "secret" not in str(caught.value)


def test_a_prefix_that_is_no_identifier_is_refused():
    with pytest.raises(InvalidIdentifierError):
        SQLiteKnowledgeStore(path=":memory:", table_prefix='x"; --')


def test_construction_makes_no_file(tmp_path):
    SQLiteConversationStore(path=tmp_path / "x.db")
    assert list(tmp_path.iterdir()) == []


def test_the_registry_finds_it_under_all_its_names(tmp_path):
    for name, kind in (
        ("sqlite", "SQLiteConversationStore"),
        ("async_sqlite", "AsyncSQLiteConversationStore"),
        ("aiosqlite", "AsyncSQLiteConversationStore"),
        ("sqlite_async", "AsyncSQLiteConversationStore"),
    ):
        store = create_conversation_store(name, path=tmp_path / "x.db")
        assert type(store).__name__ == kind


@pytest.mark.parametrize("seconds", [10**400, "3", True, 0, float("nan")])
def test_what_is_no_time_to_wait_is_refused(seconds):
    with pytest.raises(ConfigurationError, match="lock_timeout must be a number of seconds above 0"):
        SQLiteStateStore(path="x.db", lock_timeout=seconds)


@pytest.mark.parametrize("options", [{"path": "x.db", "lock_timeuot": 3}, {"url": "sqlite:///x.db?lock_timeuot=3"}])
def test_the_nearest_name_of_an_option_is_told(options):
    with pytest.raises(ConfigurationError, match="did you mean 'lock_timeout'"):
        create_state_store("sqlite", **options)


def test_the_first_call_of_an_async_store_without_a_descriptor_left_has_a_typed_error(tmp_path):
    code = (
        "import asyncio, os, resource, sys\n"
        "from praisonai_persistence import open_state_store\n"
        "from praisonai_persistence.errors import PersistenceError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n"
        "store = open_state_store(f'sqlite:///{sys.argv[1]}/a.db', mode='async')\n"
        "async def main():\n"
        "    opened = []\n"
        "    try:\n"
        "        while True: opened.append(os.open('/dev/null', os.O_RDONLY))\n"
        "    except OSError: pass\n"
        "    try: await store.get('k')\n"
        "    except PersistenceError as error: found = type(error).__name__\n"
        "    for descriptor in opened: os.close(descriptor)\n"
        "    print(found, await store.get('k'))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ConnectionFailedError None\n", "")


def test_text_that_is_no_utf_8_any_more_is_not_quoted(tmp_path):
    path = tmp_path / "a.db"
    with SQLiteConversationStore(path=path) as store:
        store.upsert_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(content="needle " * 100))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"needle ", b"\xff\xfe\xffdle "))
    with SQLiteConversationStore(path=path) as store, pytest.raises(BackendError, match="no UTF-8") as failed:
        store.get_messages("s")
    assert "dle" not in str(failed.value)
