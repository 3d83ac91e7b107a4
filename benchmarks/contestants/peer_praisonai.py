"""PraisonAI's own persistence: its conversation stores, and the session files that its agents use by default.

The conversation stores' ``limit`` returns the oldest messages, so who resumes reads all of them, as PraisonAI's own
adapter does.
"""

from __future__ import annotations

from typing import Any

from base import Conversations, content, files_durability, living, postgres_durability, sqlite_durability


class PraisonAI(Conversations):
    """Sessions and messages of the conversation stores."""

    tasks = True

    def open(self) -> None:
        from praisonai.persistence.conversation.base import ConversationMessage, ConversationSession

        self.message, self.session = ConversationMessage, ConversationSession
        self.store = self.make()

    def make(self) -> Any:
        """The sync store."""
        raise NotImplementedError

    def make_async(self) -> Any:
        """The async store."""
        raise NotImplementedError

    def close(self) -> None:
        self.store.close()

    async def open_async(self) -> None:
        from praisonai.persistence.conversation.base import ConversationMessage

        self.message = ConversationMessage
        self.async_store = self.make_async()
        await self.async_store.init()

    async def close_async(self) -> None:
        await self.async_store.close()

    def create(self, session: str, user: str) -> None:
        self.store.create_session(self.session(session_id=session, user_id=user))

    def append(self, session: str, text: str) -> None:
        self.store.add_message(session, self.message(role="user", content=text))

    async def append_async(self, session: str, text: str) -> None:
        await self.async_store.add_message(session, self.message(role="user", content=text))

    def last(self, session: str, count: int) -> list[str]:
        return [found.content for found in self.store.get_messages(session)[-count:]]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return [found.session_id for found in self.store.list_sessions(user_id=user, limit=count)]


class PraisonAIOnSQLite(PraisonAI):
    """SQLite."""

    name = "PraisonAI SQLiteConversationStore"
    imports = "from praisonai.persistence.conversation.sqlite import SQLiteConversationStore"
    engine = "sqlite"
    requirements = ("praisonai>=4.7", "praisonaiagents>=1.7", "aiosqlite>=0.20")

    def make(self) -> Any:
        from praisonai.persistence.conversation.sqlite import SQLiteConversationStore

        return SQLiteConversationStore(path=self.place)

    def make_async(self) -> Any:
        from praisonai.persistence.conversation.async_sqlite import AsyncSQLiteConversationStore

        return AsyncSQLiteConversationStore(path=self.place)

    def durability(self) -> str:
        return sqlite_durability(self.place)


class PraisonAIOnPostgres(PraisonAI):
    """PostgreSQL."""

    name = "PraisonAI PostgresConversationStore"
    imports = "from praisonai.persistence.conversation.postgres import PostgresConversationStore"
    engine = "postgres"
    requirements = ("praisonai>=4.7", "praisonaiagents>=1.7", "psycopg2-binary>=2.9", "asyncpg>=0.30")

    def make(self) -> Any:
        from praisonai.persistence.conversation.postgres import PostgresConversationStore

        return PostgresConversationStore(url=self.place)

    def make_async(self) -> Any:
        from praisonai.persistence.conversation.async_postgres import AsyncPostgresConversationStore

        return AsyncPostgresConversationStore(url=self.place)

    def durability(self) -> str:
        from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever its name

        def ask(query: str) -> Any:
            connection = next(one for one in living(Connection) if not one.closed)
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchone()[0]

        return postgres_durability(ask)


class PraisonAISessionFiles(Conversations):
    """The session store; it keeps the latest 100 messages at hand and the rest in an archive."""

    name = "PraisonAI DefaultSessionStore"
    beside = "OnSessionFiles"
    engine = "files"
    requirements = ("praisonaiagents>=1.7",)
    imports = "from praisonaiagents.session import DefaultSessionStore"

    def open(self) -> None:
        from praisonaiagents.session import DefaultSessionStore

        self.store = DefaultSessionStore(session_dir=self.place)

    def durability(self) -> str:
        return files_durability(lambda: self.append("first", content(1)))

    def append(self, session: str, text: str) -> None:
        if not self.store.add_message(session, "user", text):
            raise OSError("it said that the message was not saved")

    def last(self, session: str, count: int) -> list[str]:
        if count > 100:
            found = self.store.get_session(session)
            messages = [*found.archived_messages, *found.messages]
            return [item.content for item in messages if not item.metadata.get("compaction")][-count:]
        return [found["content"] for found in self.store.get_chat_history(session, max_messages=count)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return [found["session_id"] for found in self.store.list_sessions(limit=count)]
