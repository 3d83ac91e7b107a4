"""The hand-written programs that the stores are measured against: nothing but sqlite3, as short as they can be.

They do the same work on the same tables: the files are made by the stores (so tables, indexes and columns are theirs),
opened with the same journal and the same durability, and an append gives the next number of its session, is harmless
when it is repeated, and raises the session's ``updated_at``, in one transaction. What they leave out is what a store is
for: checks, refusals, records, sharing between threads, waiting for other processes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["LIST", "RESUME", "append", "append_json", "connect", "fill", "get_state", "set_state", "with_metadata"]

Message = tuple[str, str, str, "dict[str, Any] | None", float]
"""id, role, content, metadata, created_at."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for durable appends."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


# Of the ways to write it, this was the fastest: INSERT ... SELECT ... RETURNING, and UPDATE ... RETURNING first, took
# longer.
_LAST = "SELECT last_seq FROM praison_sessions WHERE session_id = ?"
_INSERT = """INSERT INTO praison_messages
    (session_id, id, role, content, tool_calls, tool_call_id, metadata, created_at, seq)
    VALUES (?, ?, ?, ?, NULL, NULL, ?, ?, ?) ON CONFLICT (session_id, id) DO NOTHING"""
_STORED = "SELECT seq FROM praison_messages WHERE session_id = ? AND id = ?"
_RAISE = "UPDATE praison_sessions SET last_seq = ?, updated_at = max(?, updated_at + 1e-6) WHERE session_id = ?"


def append(connection: sqlite3.Connection, session_id: str, message: Message) -> int:
    """Append one message, durably; return its number in the session."""
    id, role, content, metadata, created_at = message  # noqa: A001
    text = None if metadata is None else json.dumps(metadata)
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    try:
        seq: int = execute(_LAST, (session_id,)).fetchone()[0] + 1
        if execute(_INSERT, (session_id, id, role, content, text, created_at, seq)).rowcount:
            execute(_RAISE, (seq, time.time(), session_id))
        else:
            seq = execute(_STORED, (session_id, id)).fetchone()[0]
        execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    return seq


def fill(connection: sqlite3.Connection, session_id: str, messages: Iterable[Message]) -> None:
    """Give a session without messages its messages, in one transaction."""
    rows = [
        (session_id, id, role, content, None if metadata is None else json.dumps(metadata), created_at, seq)
        for seq, (id, role, content, metadata, created_at) in enumerate(messages, 1)  # noqa: A001
    ]
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute(_RAISE, (len(rows), time.time(), session_id))
    connection.execute("COMMIT")


RESUME = """SELECT id, role, content, tool_calls, tool_call_id, metadata, created_at, seq FROM praison_messages
    WHERE session_id = ? ORDER BY seq DESC LIMIT ?"""


def with_metadata(query: Callable[[], list[tuple[Any, ...]]]) -> list[tuple[tuple[Any, ...], Any]]:
    """Return the rows of a ``RESUME``, each with its metadata as what they were."""
    return [(row, None if row[5] is None else json.loads(row[5])) for row in query()]


LIST = """SELECT session_id, user_id, agent_id, name, state, metadata, created_at, updated_at, version
    FROM praison_sessions WHERE user_id = ? ORDER BY updated_at DESC, session_id LIMIT ?"""

_SET = """INSERT INTO praison_state (name, value) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, ends_at = NULL"""
_GET = "SELECT value FROM praison_state WHERE name = ? AND (ends_at IS NULL OR ends_at > ?)"


def set_state(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Set a key, durably; a single statement is its own transaction."""
    connection.execute(_SET, (key, json.dumps(value)))


def get_state(connection: sqlite3.Connection, key: str) -> Any:
    """Return the value of a key."""
    row = connection.execute(_GET, (key, time.time())).fetchone()
    return None if row is None else json.loads(row[0])


def append_json(path: Path, message: Message) -> int:
    """Append one message to a session that is a JSON file, durably; return its number. One writer only: no lock."""
    id, role, content, metadata, created_at = message  # noqa: A001
    session = json.loads(path.read_bytes())
    messages = session["messages"]
    if all(item["id"] != id for item in messages):
        session["last_seq"] = seq = session["last_seq"] + 1
        session["updated_at"] = max(time.time(), session["updated_at"] + 1e-6)
        messages.append(
            {
                "seq": seq,
                "id": id,
                "role": role,
                "content": content,
                "tool_calls": None,
                "tool_call_id": None,
                "metadata": metadata,
                "created_at": created_at,
            }
        )
        temporary = path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(json.dumps(session, ensure_ascii=False).encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        with suppress(OSError):  # Windows opens no directories
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return int(session["last_seq"])
