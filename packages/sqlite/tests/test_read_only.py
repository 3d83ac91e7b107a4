"""Files that this process may only read: what was written is read, and a write says why it cannot be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import SQLiteConversationStore

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")

READER = """
import os, sys
from praisonai_persistence import ConnectionFailedError, ConversationMessage
from praisonai_persistence_sqlite import SQLiteConversationStore
import praisonai_persistence_sqlite.conversation, praisonai_persistence.payload
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
path = sys.argv[1]
assert not os.access(path, os.W_OK) or not os.access(os.path.dirname(path), os.W_OK)
with SQLiteConversationStore(path=path) as store:
    for _ in range(2):
        print([message.content for message in store.get_messages("s")])
        try:
            store.add_message("s", ConversationMessage(role="user", content="more"))
            print("written")
        except ConnectionFailedError as error:
            print("can only be read" in str(error) or str(error))
"""


@pytest.fixture
def folder():
    """A folder that others may enter, unlike those of ``tmp_path``."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    yield made
    made.chmod(0o755)
    shutil.rmtree(made)


@pytest.fixture
def path(folder):
    path = folder / "agent.db"
    with SQLiteConversationStore(path=path) as store:
        store.create_session(ConversationSession("s"))
        store.add_message("s", ConversationMessage(role="user", content="one"))
    return path


def read(path):
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(("file_mode", "folder_mode"), [(0o444, 0o555), (0o444, 0o777), (0o666, 0o555)])
def test_what_is_there_is_read_and_a_write_says_why_it_cannot_be(path, folder, file_mode, folder_mode):
    path.chmod(file_mode)
    folder.chmod(folder_mode)
    assert read(path) == ["['one']", "True"] * 2
    assert os.listdir(folder) == ["agent.db"]
    folder.chmod(0o755)
    path.chmod(0o644)
    with SQLiteConversationStore(path=path) as store:  # nothing of the reader is in the way
        store.add_message("s", ConversationMessage(role="user", content="two"))
        assert store.count_messages("s") == 2


def test_a_log_that_cannot_be_read_with_the_file_is_no_reason_to_leave_it_out(path, folder):
    crashed = sqlite3.connect(path)
    crashed.execute("PRAGMA wal_autocheckpoint=0")
    crashed.execute("UPDATE praison_messages SET content = 'later'")
    crashed.commit()
    kept = (folder / "agent.db-wal").read_bytes()
    crashed.close()
    (folder / "agent.db-wal").write_bytes(kept)
    (folder / "agent.db-wal").chmod(0o600)
    path.chmod(0o644)
    folder.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ConnectionFailedError: cannot open" in done.stderr
    assert "copy the file and its log" in done.stderr


def test_a_folder_in_the_place_of_the_file_is_named(folder):
    from praisonai_persistence import ConnectionFailedError

    with pytest.raises(ConnectionFailedError, match="it is a folder; path must name a file"):
        SQLiteConversationStore(path=folder).connect()


OLD = """
import os, sys
from praisonai_persistence import ConnectionFailedError, SchemaError
from praisonai_persistence_sqlite import AsyncSQLiteConversationStore, SQLiteConversationStore
import asyncio, praisonai_persistence.schema, praisonai_persistence_sql.copying
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)

async def asked(path):
    async with AsyncSQLiteConversationStore(path=path, adopt_legacy=True) as store:
        await store.get_messages("s")

for adopts in (False, True):
    with SQLiteConversationStore(path=sys.argv[1], adopt_legacy=adopts) as store:
        try:
            store.get_messages("s")
        except SchemaError as error:
            print(error)
        print(store.adopt_legacy(dry_run=True).messages)
        try:
            store.adopt_legacy()
        except ConnectionFailedError as error:
            print(error)
try:
    asyncio.run(asked(sys.argv[1]))
except SchemaError as error:
    print(error)
"""


def make_old_tables(path, journal="delete"):
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA journal_mode={journal}")
    connection.execute(
        "CREATE TABLE praison_sessions (session_id TEXT PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,"
        " state TEXT, metadata TEXT, created_at REAL, updated_at REAL)"
    )
    connection.execute(
        "CREATE TABLE praison_messages (id TEXT PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, tool_calls TEXT,"
        " tool_call_id TEXT, metadata TEXT, created_at REAL)"
    )
    connection.execute("INSERT INTO praison_sessions (session_id, created_at, updated_at) VALUES ('s', 1, 2)")
    connection.execute("INSERT INTO praison_messages VALUES ('m', 's', 'user', 'one', NULL, NULL, NULL, 1)")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("folder_mode", [0o555, 0o777])
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_old_tables_of_praisonai_cannot_be_adopted_there_which_is_what_the_error_says(folder, folder_mode, journal):
    path = folder / "old.db"
    make_old_tables(path, journal)
    before = path.read_bytes()
    path.chmod(0o444)
    folder.chmod(folder_mode)
    done = subprocess.run([sys.executable, "-c", OLD, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    asks, planned, refused, says, *_, from_async = done.stdout.splitlines()
    assert "adopt them with" in asks
    assert planned == "1"
    assert "can only be read" in refused
    for error in (says, from_async):
        assert "which writes" in error
        assert "copy the file" in error
        assert "migrate --adopt --legacy-prefix praison_" in error
    assert path.read_bytes() == before
    folder.chmod(0o755)
    copied = folder / "copied.db"
    copied.write_bytes(before)
    with SQLiteConversationStore(path=copied, adopt_legacy=True) as store:  # the way out that it names
        assert [message.content for message in store.get_messages("s")] == ["one"]


OTHER = """
import os, sys
from praisonai_persistence import ConnectionFailedError
from praisonai_persistence_sqlite import SQLiteConversationStore
import praisonai_persistence.schema, praisonai_persistence_sql.copying
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
with SQLiteConversationStore(path=sys.argv[1], table_prefix="other_") as store:
    try:
        store.get_messages("s")
    except ConnectionFailedError as error:
        print(error)
"""


def test_old_tables_of_another_prefix_are_nothing_to_a_store(folder):
    path = folder / "old.db"
    make_old_tables(path)
    path.chmod(0o444)
    folder.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", OTHER, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "can only be read" in done.stdout
    assert "praison_" not in done.stdout
