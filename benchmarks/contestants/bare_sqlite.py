"""The bare driver on SQLite: the least that does the same durable, numbered append to the same tables and indexes."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time

from base import Conversations, sqlite_durability

_ids = itertools.count()
_TABLES = """
CREATE TABLE sessions (session_id TEXT NOT NULL PRIMARY KEY, user_id TEXT, agent_id TEXT, name TEXT, state TEXT,
    metadata TEXT, created_at REAL NOT NULL, updated_at REAL NOT NULL, version INTEGER NOT NULL,
    last_seq INTEGER NOT NULL);
CREATE INDEX sessions_by_user ON sessions (user_id, updated_at DESC, session_id);
CREATE INDEX sessions_by_time ON sessions (updated_at DESC, session_id);
CREATE TABLE messages (row_id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL,
    role TEXT NOT NULL, content TEXT, tool_calls TEXT, tool_call_id TEXT, metadata TEXT, created_at REAL NOT NULL,
    UNIQUE (session_id, seq));
CREATE UNIQUE INDEX messages_by_id ON messages (session_id, id);
"""
_CREATE = "INSERT INTO sessions VALUES (?, ?, NULL, NULL, NULL, NULL, ?, ?, 0, 0)"
_INSERT = "INSERT INTO messages VALUES (NULL, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?)"
_RESUME = """SELECT id, role, content, tool_calls, tool_call_id, metadata, created_at, seq FROM messages
    WHERE session_id = ? ORDER BY seq DESC LIMIT ?"""


class BareSQLite(Conversations):
    """One connection, one lock."""

    name = "bare driver (sqlite3)"
    engine = "sqlite"
    role = "bare"
    imports = "import sqlite3"

    def open(self) -> None:
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(self.place, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.executescript(_TABLES)

    def close(self) -> None:
        self.connection.close()

    def versions(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def durability(self) -> str:
        return sqlite_durability(self.place)

    def create(self, session: str, user: str) -> None:
        now = time.time()
        self.connection.execute(_CREATE, (session, user, now, now))

    def append(self, session: str, text: str) -> None:
        self.fill(session, [text])

    def fill(self, session: str, texts: list[str]) -> None:
        execute = self.connection.execute
        with self.lock:
            execute("BEGIN IMMEDIATE")
            now = time.time()
            [(last,)] = execute("SELECT last_seq FROM sessions WHERE session_id = ?", (session,)).fetchall()
            for seq, text in enumerate(texts, last + 1):
                execute(_INSERT, (session, seq, f"m{next(_ids)}", "user", text, now))
            update = "UPDATE sessions SET last_seq = ?, updated_at = ? WHERE session_id = ?"
            execute(update, (last + len(texts), now, session))
            execute("COMMIT")

    def last(self, session: str, count: int) -> list[str]:
        rows = self.connection.execute(_RESUME, (session, count)).fetchall()
        return [row[2] for row in reversed(rows)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        query = "SELECT * FROM sessions WHERE user_id = ? ORDER BY updated_at DESC LIMIT ?"
        return [row[0] for row in self.connection.execute(query, (user, count))]
