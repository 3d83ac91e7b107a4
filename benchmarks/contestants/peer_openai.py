"""The sessions of the OpenAI Agents SDK: an object for each conversation, whose methods are coroutines."""

from __future__ import annotations

from typing import Any

from base import AsyncConversations, postgres_durability, sqlite_durability, sqlite_settings


class Sessions(AsyncConversations):
    """What ``SQLiteSession`` and ``SQLAlchemySession`` have in common. They have no list of conversations."""

    def session(self, session: str) -> Any:
        """The object of a conversation; an application keeps it as long as it talks."""
        if session not in self.sessions:
            self.sessions[session] = self.make(session)
        return self.sessions[session]

    def make(self, session: str) -> Any:
        """A new one."""
        raise NotImplementedError

    async def append_async(self, session: str, text: str) -> None:
        await self.fill_async(session, [text])

    async def fill_async(self, session: str, texts: list[str]) -> None:
        await self.session(session).add_items([{"role": "user", "content": text} for text in texts])

    async def last_async(self, session: str, count: int) -> list[str]:
        return [item["content"] for item in await self.session(session).get_items(limit=count)]


class OpenAISQLite(Sessions):
    """``SQLiteSession``, which runs ``sqlite3`` on threads."""

    name = "OpenAI Agents SQLiteSession"
    engine = "sqlite"
    requirements = ("openai-agents>=0.24",)
    imports = "from agents import SQLiteSession"

    async def open_async(self) -> None:
        self.sessions: dict[str, Any] = {}

    async def close_async(self) -> None:
        for session in self.sessions.values():
            session.close()

    def make(self, session: str) -> Any:
        from agents import SQLiteSession

        return SQLiteSession(session, self.place)

    async def durability_async(self) -> str:
        return sqlite_durability(self.place)


class OpenAISQLAlchemy(Sessions):
    """``SQLAlchemySession``; one engine for all conversations."""

    imports = "from agents.extensions.memory import SQLAlchemySession"
    scheme = ""

    async def open_async(self) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self.sessions: dict[str, Any] = {}
        self.sql = create_async_engine(f"{self.scheme}{self.place.partition('://')[2] or self.place}")

    async def close_async(self) -> None:
        await self.sql.dispose()

    def make(self, session: str) -> Any:
        from agents.extensions.memory import SQLAlchemySession

        return SQLAlchemySession(session, engine=self.sql, create_tables=True)

    async def durability_async(self) -> str:
        async with self.sql.connect() as connection:
            return await connection.run_sync(lambda on: self.settings(lambda query: on.exec_driver_sql(query).scalar()))

    def settings(self, ask: Any) -> str:
        """Read the settings of the engine."""
        raise NotImplementedError


class OpenAISQLAlchemyOnSQLite(OpenAISQLAlchemy):
    """With aiosqlite."""

    name = "OpenAI Agents SQLAlchemySession (aiosqlite)"
    engine = "sqlite"
    requirements = ("openai-agents[sqlalchemy]>=0.24", "aiosqlite>=0.20")
    scheme = "sqlite+aiosqlite:///"

    def settings(self, ask: Any) -> str:
        return sqlite_settings(ask)


class OpenAISQLAlchemyOnPostgres(OpenAISQLAlchemy):
    """With asyncpg."""

    name = "OpenAI Agents SQLAlchemySession (asyncpg)"
    engine = "postgres"
    requirements = ("openai-agents[sqlalchemy]>=0.24", "asyncpg>=0.30")
    scheme = "postgresql+asyncpg://"

    def settings(self, ask: Any) -> str:
        return postgres_durability(ask)
