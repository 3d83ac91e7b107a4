"""LangChain's ``SQLChatMessageHistory``: an object for each conversation, here on one engine for all of them.

It reads a conversation as a whole, and has no list of conversations.
"""

from __future__ import annotations

from typing import Any

from base import Conversations, postgres_durability, sqlite_settings


class LangChain(Conversations):
    """Histories on SQLAlchemy."""

    imports = "from langchain_community.chat_message_histories import SQLChatMessageHistory"
    tasks = True
    scheme = ""
    async_scheme = ""

    def url(self, scheme: str) -> str:
        """The place as a URL of SQLAlchemy."""
        return f"{scheme}{self.place.partition('://')[2] or self.place}"

    def open(self) -> None:
        from sqlalchemy import create_engine

        self.histories: dict[str, Any] = {}
        self.sql: Any = create_engine(self.url(self.scheme))

    def close(self) -> None:
        self.sql.dispose()

    async def open_async(self) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self.histories = {}
        self.sql = create_async_engine(self.url(self.async_scheme))

    async def close_async(self) -> None:
        await self.sql.dispose()

    def history(self, session: str) -> Any:
        """The object of a conversation."""
        from langchain_community.chat_message_histories import SQLChatMessageHistory

        if session not in self.histories:
            self.histories[session] = SQLChatMessageHistory(session, connection=self.sql)
        return self.histories[session]

    def ask(self, query: str) -> Any:
        """Ask on a connection of its engine."""
        with self.sql.connect() as connection:
            return connection.exec_driver_sql(query).scalar()

    def append(self, session: str, text: str) -> None:
        from langchain_core.messages import HumanMessage

        self.history(session).add_message(HumanMessage(text))

    async def append_async(self, session: str, text: str) -> None:
        from langchain_core.messages import HumanMessage

        await self.history(session).aadd_message(HumanMessage(text))

    def fill(self, session: str, texts: list[str]) -> None:
        from langchain_core.messages import HumanMessage

        self.history(session).add_messages([HumanMessage(text) for text in texts])

    def last(self, session: str, count: int) -> list[str]:
        return [found.content for found in self.history(session).messages[-count:]]


class LangChainOnSQLite(LangChain):
    """SQLite."""

    name = "LangChain SQLChatMessageHistory (sqlite)"
    engine = "sqlite"
    requirements = ("langchain-community>=0.4", "sqlalchemy[asyncio]>=2", "aiosqlite>=0.20")
    scheme = "sqlite:///"
    async_scheme = "sqlite+aiosqlite:///"

    def durability(self) -> str:
        return sqlite_settings(self.ask)


class LangChainOnPostgres(LangChain):
    """PostgreSQL."""

    name = "LangChain SQLChatMessageHistory (psycopg)"
    engine = "postgres"
    requirements = ("langchain-community>=0.4", "sqlalchemy[asyncio]>=2", "psycopg[binary]>=3.2")
    scheme = "postgresql+psycopg://"
    async_scheme = "postgresql+psycopg://"

    def durability(self) -> str:
        return postgres_durability(self.ask)
