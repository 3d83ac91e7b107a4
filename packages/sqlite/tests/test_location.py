"""Where a store's file is: URLs, paths, options."""

from __future__ import annotations

import os

import pytest

from praisonai_persistence import ConfigurationError, InvalidIdentifierError, create_conversation_store
from praisonai_persistence_sqlite import AsyncSQLiteStateStore, SQLiteConversationStore, SQLiteKnowledgeStore
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
        ({"url": "sqlite:///x.db?cache=shared"}, "takes the parameters synchronous and lock_timeout, not cache"),
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
