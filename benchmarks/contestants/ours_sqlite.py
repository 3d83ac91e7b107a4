"""This project on SQLite."""

from __future__ import annotations

import itertools

from base import Conversations, sqlite_durability

from praisonai_persistence import ConversationMessage, ConversationSession
from praisonai_persistence_sqlite import AsyncSQLiteConversationStore, SQLiteConversationStore

_ids = itertools.count()


def message(text: str) -> ConversationMessage:
    """A message with an id of its own."""
    return ConversationMessage(id=f"m{next(_ids)}", role="user", content=text)


class OursOnSQLite(Conversations):
    """The store's public API."""

    name = "praisonai-persistence (sqlite)"
    engine = "sqlite"
    role = "ours"
    module = "praisonai_persistence_sqlite"
    tasks = True

    def open(self) -> None:
        self.store = SQLiteConversationStore(path=self.place)
        self.store.connect()

    def close(self) -> None:
        self.store.close()

    def durability(self) -> str:
        return sqlite_durability(self.place)

    def create(self, session: str, user: str) -> None:
        self.store.create_session(ConversationSession(session, user_id=user))

    def append(self, session: str, text: str) -> None:
        self.store.add_message(session, message(text))

    def fill(self, session: str, texts: list[str]) -> None:
        for start in range(0, len(texts), 5000):
            self.store.add_messages(session, [message(text) for text in texts[start : start + 5000]])

    def last(self, session: str, count: int) -> list[str]:
        return [found.content or "" for found in self.store.get_messages(session, limit=count)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return [found.session_id for found in self.store.list_sessions(user_id=user, limit=count)]

    async def open_async(self) -> None:
        self.async_store = AsyncSQLiteConversationStore(path=self.place)
        await self.async_store.connect()

    async def close_async(self) -> None:
        await self.async_store.close()

    async def append_async(self, session: str, text: str) -> None:
        await self.async_store.add_message(session, message(text))


CONTESTANT = OursOnSQLite
