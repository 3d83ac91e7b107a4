"""What only reads leaves a file as it is."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from praisonai_persistence import ConversationSession
from praisonai_persistence_turso import TursoConversationStore

pytest.importorskip("libsql")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "agent.db"
    with TursoConversationStore(path=path) as store:
        store.create_session(ConversationSession(session_id="s"))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode=DELETE").fetchone() == ("delete",)
    return path


def test_looking_at_the_schema_leaves_the_journal_mode_and_every_byte_as_they_are(path):
    before = path.read_bytes()
    with TursoConversationStore(path=path) as store:
        assert (store.schema_status().version, store.migrate_schema(dry_run=True).statements) == (1, ())
        assert store.adopt_legacy("praisonai_", dry_run=True) is None
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["agent.db"]


def test_looking_waits_for_another_process_that_writes(path):
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        waiting = threading.Timer(0.3, other.rollback)
        waiting.start()
        with TursoConversationStore(path=path) as store:
            assert store.schema_status().version == 1
        waiting.join()


def test_looking_at_the_schema_of_an_open_store(path):
    with TursoConversationStore(path=path) as store:
        store.create_session(ConversationSession(session_id="t"))
        assert store.schema_status().version == 1
        store.create_session(ConversationSession(session_id="u"))
        assert {session.session_id for session in store.list_sessions()} == {"s", "t", "u"}
