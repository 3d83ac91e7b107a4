"""Session files with an index, and sessions in one database."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from praisonai_persistence.errors import BackendError, StoreClosedError
from praisonai_persistence.sessions import SqliteSessionStore, SqliteTranscriptStore
from praisonai_persistence_json.sessions import DefaultSessionStore


def found(store: DefaultSessionStore, query: str) -> list[str]:
    return sorted(hit.session_id for hit in store.search(query))


def settle(folder: Path) -> None:
    """Let the files be as old as those that an index trusts."""
    for path in folder.glob("*.json"):
        os.utime(path, (time.time() - 60, time.time() - 60))


def reads(store: DefaultSessionStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    read = store._read
    monkeypatch.setattr(store, "_read", lambda name: names.append(name) or read(name))
    return names


class TestIndex:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "sessions"
        with DefaultSessionStore(folder) as files:
            for number in range(5):
                files.add_message(f"s{number}", "user", f"Number {number} is here")
            files.set_gateway_info("s3", "gateway-3", "agent-3")
        settle(folder)
        return folder

    @pytest.fixture
    def store(self, folder):
        with SqliteSessionStore(folder) as store:
            yield store

    def test_only_what_has_changed_and_what_is_found_is_read(self, store, folder, monkeypatch):
        assert found(store, "number 3") == ["s3"]
        names = reads(store, monkeypatch)
        assert found(store, "HERE 4") == ["s4"]
        assert names == ["s4"]
        names.clear()
        assert {item["session_id"]: item["message_count"] for item in store.list_sessions()} == {
            f"s{number}": 1 for number in range(5)
        }
        assert store.list_sessions_by_gateway_agent("agent-3") == ["s3"]
        assert names == []
        assert store.get_by_gateway_session("gateway-3").session_id == "s3"

    def test_what_others_do_to_the_files_is_seen(self, store, folder):
        assert found(store, "number") == ["s0", "s1", "s2", "s3", "s4"]
        with DefaultSessionStore(folder) as other:
            other.add_message("s1", "user", "a needle")
            other.add_message("new", "user", "another needle")
            other.delete_session("s2")
            assert found(store, "needle") == ["new", "s1"]
            other.set_chat_history("s1", [])
        assert found(store, "needle") == ["new"]
        assert found(store, "number") == ["s0", "s3", "s4"]

    @pytest.mark.parametrize("text", [b"no database at all" * 100, b""])
    def test_an_index_that_is_damaged_is_done_without(self, folder, text, caplog):
        (folder / "sessions_index.db").write_bytes(text)
        with SqliteSessionStore(folder) as store:
            assert found(store, "number 3") == ["s3"]
            assert len(store.list_sessions()) == 5
        assert ("the index of sessions is not used" in caplog.text) == bool(text)

    def test_without_an_index(self, folder):
        with SqliteSessionStore(folder, ":memory:") as store:
            assert found(store, "number 3") == ["s3"]
        assert not list(folder.glob("*.db"))

    def test_nothing_is_made_by_looking(self, tmp_path):
        with SqliteSessionStore(tmp_path / "none") as store:
            assert store.search("word") == store.list_sessions() == []
        assert not (tmp_path / "none").exists()

    def test_what_cannot_be_read_is_left_out(self, store, folder, caplog):
        (folder / "s0.json").write_text("{")
        assert found(store, "number") == ["s1", "s2", "s3", "s4"]
        assert "s0.json" in caplog.text
        assert (folder / "s0.json").read_text() == "{"


class TestTranscripts:
    @pytest.fixture
    def place(self, tmp_path):
        return tmp_path / "sessions" / "sessions.db"

    @pytest.fixture
    def store(self, place):
        with SqliteTranscriptStore(place.parent) as store:
            yield store

    def rows(self, place: Path) -> list[tuple]:
        with closing(sqlite3.connect(place)) as connection:
            return connection.execute("SELECT * FROM sessions ORDER BY session_id").fetchall()

    def test_the_table_is_praisonais(self, store, place):
        store.add_message("s", "user", "Hi", {"a": "é\ud800"})
        store.set_agent_info("s", "Agent", "ada")
        store.set_gateway_info("s", "gateway", "agent")
        ((session_id, data, *found_by, updated_at),) = self.rows(place)
        document = json.loads(data)
        assert (session_id, found_by, updated_at) == ("s", ["Agent", "gateway", "agent"], document["updated_at"])
        assert document["messages"][0]["metadata"] == {"a": "é\ud800"}
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert {path.name for path in place.parent.iterdir()} == {"sessions.db"}
        assert store.list_sessions_by_agent("Agent") == store.list_sessions_by_gateway_agent("agent") == ["s"]
        assert store.get_by_gateway_session("gateway").user_id == "ada"

    def test_an_agent_of_any_name_is_found(self, store):
        for name in ("\ud800", "\\ud800"):
            store.set_agent_info(f"of {name.isascii()}", name)
        assert store.list_sessions_by_agent("\ud800") == ["of False"]
        assert store.list_sessions_by_agent("\\ud800") == ["of True"]

    def test_nothing_is_made_by_looking(self, store, place):
        assert store.get_chat_history("s") == store.list_sessions() == store.search("word") == []
        assert store.delete_session("s") is True
        assert not place.parent.exists()

    @pytest.mark.parametrize("first", ["read", "write"])
    def test_session_files_are_taken_over_once(self, place, first):
        with DefaultSessionStore(place.parent) as files:
            files.add_message("old", "user", "Hi")
            updated_at = files.get_session("old").updated_at
        (place.parent / "broken.json").write_text("{")
        with SqliteTranscriptStore(place.parent) as store:
            if first == "write":
                store.add_message("new", "user", "Hello")
            assert store.get_chat_history("old") == [{"role": "user", "content": "Hi"}]
            assert store.get_session("old").updated_at == updated_at
            store.delete_session("old")
            store.delete_session("new")
        with SqliteTranscriptStore(place.parent) as store:
            assert store.list_sessions() == []
        assert (place.parent / "old.json").exists()

    def test_a_limit_is_kept(self, place):
        with SqliteTranscriptStore(db_path=place, max_messages=2, retention="compact") as store:
            for number in range(4):
                store.add_message("s", "user", str(number))
            session = store.get_session("s")
        assert [message.content for message in session.messages] == ["2", "3"]
        assert [message.content for message in session.archived_messages] == ["0", "1"]

    def test_a_document_that_is_none(self, store, place):
        store.add_message("s", "user", "Hi")
        store.add_message("t", "user", "Hi")
        with closing(sqlite3.connect(place)) as connection, connection:
            connection.execute("UPDATE sessions SET data = '{' WHERE session_id = 's'")
        with pytest.raises(BackendError, match=r"sessions\.db"):
            store.add_message("s", "user", "Again")
        assert [item["session_id"] for item in store.list_sessions()] == ["t"]
        assert self.rows(place)[0][1] == "{"

    def test_a_place_that_is_no_database(self, store, place):
        place.parent.mkdir()
        place.write_bytes(b"something else" * 100)
        with pytest.raises(BackendError, match="cannot be used"):
            store.add_message("s", "user", "Hi")
        assert place.read_bytes() == b"something else" * 100

    def test_a_link_is_not_followed(self, store, place, tmp_path):
        place.parent.mkdir()
        place.symlink_to(tmp_path / "elsewhere.db")
        with pytest.raises(BackendError, match="symbolic link"):
            store.add_message("s", "user", "Hi")
        assert not (tmp_path / "elsewhere.db").exists()

    def test_another_writer_is_waited_for_until_the_deadline(self, place):
        with SqliteTranscriptStore(db_path=place, lock_timeout=0.2) as store:
            store.add_message("s", "user", "Hi")
            with closing(sqlite3.connect(place, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(BackendError, match="locked"):
                    store.add_message("s", "user", "Again")
                assert len(store.get_chat_history("s")) == 1
            store.add_message("s", "user", "Again")
            assert len(store.get_chat_history("s")) == 2

    def test_a_database_that_was_removed(self, store, place):
        store.add_message("s", "user", "Hi")
        place.unlink()
        assert store.session_exists("s") is False
        store.add_message("s", "user", "Again")
        with SqliteTranscriptStore(db_path=place) as other:
            assert other.get_chat_history("s") == [{"role": "user", "content": "Again"}]

    def test_closed(self, store):
        store.close()
        with pytest.raises(StoreClosedError):
            store.get_chat_history("s")

    def test_in_memory(self, tmp_path):
        with SqliteTranscriptStore(tmp_path / "none", ":memory:") as store:
            store.add_message("s", "user", "a needle")
            assert found(store, "needle") == ["s"]
            assert store.delete_session("s")
            assert store.list_sessions() == []
        assert not (tmp_path / "none").exists()
