"""SQLite's full-text index while it is being filled."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from sql_search import SearchTests, fill

from praisonai_persistence_sqlite import SQLiteConversationStore


class TestSearch(SearchTests):
    @pytest.fixture
    def open_store(self, tmp_path):
        with contextlib.ExitStack() as stack:
            yield lambda: stack.enter_context(SQLiteConversationStore(path=tmp_path / "a.db", lock_timeout=5.0))
        with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            with contextlib.suppress(sqlite3.OperationalError):  # no search, no index
                connection.execute("INSERT INTO praison_search_words (praison_search_words) VALUES ('integrity-check')")
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_nothing_of_a_deleted_message_is_left_in_the_index(self, open_store, tmp_path):
        store = open_store()
        fill(store)
        store.search_messages("filler")
        store.delete_messages("s", ["3"])
        store.delete_session("s")
        store.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as connection:
            connection.execute("CREATE VIRTUAL TABLE words USING fts5vocab('praison_search_words', 'row')")
            assert connection.execute("SELECT * FROM words").fetchall() == []
