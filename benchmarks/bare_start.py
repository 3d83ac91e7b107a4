"""The hand-written program whose start is measured: it stores a session and a message durably, in a new file.

Tables, indexes, journal and durability are those of the store, and a message gets a random id. It has no metadata, so
there is no JSON to write.
"""

import sqlite3
import sys
import time
import uuid

TABLES = """
BEGIN IMMEDIATE;
CREATE TABLE praison_sessions (session_id TEXT NOT NULL PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT,
    state TEXT, metadata TEXT, created_at REAL NOT NULL, updated_at REAL NOT NULL, version INTEGER NOT NULL,
    last_seq INTEGER NOT NULL);
CREATE INDEX praison_sessions_by_user ON praison_sessions (user_id, updated_at DESC, session_id);
CREATE INDEX praison_sessions_by_time ON praison_sessions (updated_at DESC, session_id);
CREATE TABLE praison_messages (row_id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, seq INTEGER NOT NULL,
    id TEXT NOT NULL, role TEXT NOT NULL, content TEXT, tool_calls TEXT, tool_call_id TEXT, metadata TEXT,
    created_at REAL NOT NULL, UNIQUE (session_id, seq));
CREATE UNIQUE INDEX praison_messages_by_id ON praison_messages (session_id, id);
COMMIT;
"""
SESSION = "INSERT INTO praison_sessions VALUES (?, NULL, NULL, NULL, NULL, NULL, ?, ?, 1, 0)"
MESSAGE = "INSERT INTO praison_messages VALUES (NULL, 's', 1, ?, 'user', 'text', NULL, NULL, NULL, ?)"

connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("PRAGMA synchronous=FULL")
connection.executescript(TABLES)
now = time.time()
connection.execute(SESSION, ("s", now, now))
connection.execute("BEGIN IMMEDIATE")
connection.execute(MESSAGE, (str(uuid.uuid4()), now))
connection.execute("UPDATE praison_sessions SET last_seq = 1, updated_at = ? WHERE session_id = 's'", (now,))
connection.execute("COMMIT")
connection.close()
