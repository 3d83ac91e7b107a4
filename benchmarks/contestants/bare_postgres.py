"""The bare drivers on PostgreSQL: the least that does the same durable, numbered append; one statement, committed."""

from __future__ import annotations

import itertools
import time
from typing import Any

import asyncpg
import psycopg
from base import Conversations, postgres_durability

_ids = itertools.count()
_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (session_id text PRIMARY KEY, user_id text, updated_at float8, last_seq bigint);
CREATE INDEX IF NOT EXISTS listing ON sessions (user_id, updated_at);
CREATE TABLE IF NOT EXISTS messages (session_id text REFERENCES sessions, seq bigint, id text, role text, content text,
    tool_calls text, tool_call_id text, metadata text, created_at float8, PRIMARY KEY (session_id, seq),
    UNIQUE (session_id, id));
"""
_APPEND = """WITH s AS (UPDATE sessions SET last_seq = last_seq + 1, updated_at = {now} WHERE session_id = {session}
    RETURNING session_id, last_seq)
    INSERT INTO messages SELECT session_id, last_seq, {id}, 'user', {content}, NULL, NULL, NULL, {now} FROM s
    RETURNING seq"""
_PSYCOPG = _APPEND.format(session="%(session)s", id="%(id)s::text", content="%(content)s::text", now="%(now)s::float8")
_ASYNCPG = _APPEND.format(session="$1", id="$2::text", content="$3::text", now="$4::float8")
_RAISE = """UPDATE sessions SET last_seq = last_seq + %s, updated_at = %s WHERE session_id = %s
    RETURNING last_seq"""
_RESUME = """SELECT id, role, content, tool_calls, tool_call_id, metadata, created_at, seq FROM messages
    WHERE session_id = %s ORDER BY seq DESC LIMIT %s"""


def _id() -> str:
    return f"m{next(_ids)}"


class BarePostgres(Conversations):
    """A connection for each thread, and for tasks a pool of ten, as large as that of this project."""

    name = "bare drivers (psycopg, asyncpg)"
    engine = "postgres"
    role = "bare"
    requirements = ("psycopg[binary]>=3.2", "asyncpg>=0.30")
    imports = "import psycopg"
    threads = False
    tasks = True

    def open(self) -> None:
        self.connection = psycopg.connect(self.place, autocommit=True)
        self.connection.execute(_TABLES)

    def close(self) -> None:
        self.connection.close()

    async def open_async(self) -> None:
        self.pool: Any = await asyncpg.create_pool(self.place, max_size=10)

    async def close_async(self) -> None:
        await self.pool.close()

    def durability(self) -> str:
        return postgres_durability(lambda query: self.connection.execute(query).fetchone()[0])

    def create(self, session: str, user: str) -> None:
        self.connection.execute("INSERT INTO sessions VALUES (%s, %s, %s, 0)", (session, user, time.time()))

    def append(self, session: str, text: str) -> None:
        values = {"session": session, "id": _id(), "content": text, "now": time.time()}
        self.connection.execute(_PSYCOPG, values).fetchone()

    async def append_async(self, session: str, text: str) -> None:
        async with self.pool.acquire() as connection:
            await connection.fetchval(_ASYNCPG, session, _id(), text, time.time())

    def fill(self, session: str, texts: list[str]) -> None:
        with self.connection.transaction(), self.connection.cursor() as cursor:
            now = time.time()
            last = cursor.execute(_RAISE, (len(texts), now, session)).fetchall()[0][0] - len(texts)
            with cursor.copy("COPY messages (session_id, seq, id, role, content, created_at) FROM STDIN") as copy:
                for seq, text in enumerate(texts, last + 1):
                    copy.write_row((session, seq, _id(), "user", text, now))

    def last(self, session: str, count: int) -> list[str]:
        return [row[2] for row in reversed(self.connection.execute(_RESUME, (session, count)).fetchall())]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        query = "SELECT * FROM sessions WHERE user_id = %s ORDER BY updated_at DESC LIMIT %s"
        return [row[0] for row in self.connection.execute(query, (user, count))]
