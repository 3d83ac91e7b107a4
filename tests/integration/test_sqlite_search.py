"""SQLite's full-text index while it is being filled."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import pytest
from sql_search import SearchTests, fill, ids

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import AsyncSQLiteConversationStore, SQLiteConversationStore


def left(path):
    """Words that are in the index, and messages that wait to be taken out of it; ends the index."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5vocab('praison_search_words', 'row')")
        words = {word for word, *_ in connection.execute("SELECT * FROM words")}
        connection.execute("DROP TABLE words")
        return words, connection.execute("SELECT * FROM praison_search_gone WHERE row_id > 0").fetchall()


def steps_of(store, work=lambda: None):
    """Let something be done behind each step that takes words out of the index; return what the steps return."""
    run, told = store._runner.run, []

    def observed(operation, *arguments):
        found = run(operation, *arguments)
        if operation == store._steps.clear_index:
            told.append(found)
            work()
        return found

    store._runner.run = observed
    return told


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

    @pytest.mark.parametrize("call", ["delete_session", "delete_messages", "by id", "rewrite_session"])
    def test_a_writer_gets_its_turn_while_a_deletion_clears_the_index(self, open_store, tmp_path, call):
        store, other = open_store(), open_store()
        fill(store)
        other.create_session(ConversationSession("t"))
        assert len(store.search_messages("filler")) == 8
        written, found = [], []

        def work():
            written.append(other.add_message("t", ConversationMessage(content=f"apple {len(written)}")))
            found.append(len(other._runner.run(other._steps.search_messages, ["filler"], None, 20)))

        told = steps_of(store, work)
        if call == "delete_session":
            assert store.delete_session("s")
        elif call == "delete_messages":
            assert store.delete_messages("s") == 8
        elif call == "by id":
            assert store.delete_messages("s", [str(n) for n in range(8)]) == 8
        else:
            session = store.get_session("s")
            store.rewrite_session(session, expected_version=session.version, remove=[str(n) for n in range(8)])
        assert len(told) >= 3
        assert told == [True] * (len(told) - 1) + [False]
        assert not any(found), "a search finds what was deleted"
        assert left(tmp_path / "a.db") == (set(), [])
        assert len(store.search_messages("apple")) == len(written)

    def test_one_message_longer_than_a_step_is_taken_out_in_several(self, open_store, tmp_path):
        store = open_store()
        store.create_session(ConversationSession("s"))
        text = " ".join(f"word{n}" for n in range(300_000))
        store.add_messages("s", [ConversationMessage("1", content=text), ConversationMessage("2", content="kept")])
        assert ids(store.search_messages("word299999")) == {"1"}
        told = steps_of(store)
        assert store.delete_messages("s", ["1"]) == 1
        assert len(told) >= 3
        assert left(tmp_path / "a.db") == ({"kept"}, [])
        assert ids(store.search_messages("kept")) == {"2"}

    def test_a_few_words_are_taken_out_with_the_messages(self, open_store, tmp_path):
        store = open_store()
        fill(store, 1)
        store.search_messages("filler")
        told = steps_of(store)
        store.delete_messages("s")
        assert told == []

    @pytest.mark.parametrize("steps", [0, 1, 2])
    def test_a_process_that_dies_while_it_clears_the_index_leaves_that_to_the_next(self, open_store, tmp_path, steps):
        store = open_store()
        fill(store)
        store.search_messages("filler")
        store._runner.run(store._steps.delete_session, "s")
        for _ in range(steps):
            assert store._runner.run(store._steps.clear_index)
        store.close()
        store = open_store()
        # These have the numbers of those that are gone.
        store.create_session(ConversationSession("s"))
        store.add_messages("s", [ConversationMessage(f"new{n}", content=f"pear number{n}") for n in range(8)])
        assert store.search_messages("filler") == []
        assert len(store.search_messages("pear")) == 8
        assert left(tmp_path / "a.db") == ({"pear", *(f"number{n}" for n in range(8))}, [])
        assert store.delete_messages("s", ["new3"]) == 1
        assert ids(store.search_messages("pear")) == {f"new{n}" for n in range(8) if n != 3}

    def test_an_index_that_is_not_complete_is_cleared(self, open_store, tmp_path):
        store = open_store()
        fill(store)
        store._runner.run(store._steps.update_index, None, None)  # ends within the third message
        assert store.delete_session("s")
        fill(store, 4)
        assert ids(store.search_messages("middle1")) == {"1"}
        store.delete_session("s")
        assert left(tmp_path / "a.db") == (set(), [])

    def test_the_async_store_clears_the_index_too(self, tmp_path, open_store):
        async def use():
            async with AsyncSQLiteConversationStore(path=tmp_path / "a.db") as store:
                for call in ("delete_session", "delete_messages"):
                    fill(open_store())
                    assert len(await store.search_messages("filler")) == 8
                    assert await getattr(store, call)("s")
                    assert left(tmp_path / "a.db") == (set(), [])

        asyncio.run(use())
