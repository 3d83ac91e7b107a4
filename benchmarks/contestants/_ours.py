"""This project, whatever the backend: its public interface, as an application calls it."""

from __future__ import annotations

import itertools
from typing import Any

from base import Conversations

from praisonai_persistence import ConversationMessage, ConversationSession

_ids = itertools.count()


def message(text: str) -> ConversationMessage:
    """A message with an id of its own."""
    return ConversationMessage(id=f"m{next(_ids)}", role="user", content=text)


class Ours(Conversations):
    """The store's public API; subclasses make the stores."""

    tasks = True

    def make(self) -> Any:
        """The sync store."""
        raise NotImplementedError

    def make_async(self) -> Any:
        """The async store."""
        raise NotImplementedError

    def open(self) -> None:
        self.store = self.make()
        self.store.connect()

    def close(self) -> None:
        self.store.close()

    async def open_async(self) -> None:
        self.async_store = self.make_async()
        await self.async_store.connect()

    async def close_async(self) -> None:
        await self.async_store.close()

    def create(self, session: str, user: str) -> None:
        self.store.create_session(ConversationSession(session, user_id=user))

    def append(self, session: str, text: str) -> None:
        self.store.add_message(session, message(text))

    async def append_async(self, session: str, text: str) -> None:
        await self.async_store.add_message(session, message(text))

    def fill(self, session: str, texts: list[str]) -> None:
        for start in range(0, len(texts), 5000):
            self.store.add_messages(session, [message(text) for text in texts[start : start + 5000]])

    def last(self, session: str, count: int) -> list[str]:
        return [found.content or "" for found in self.store.get_messages(session, limit=count)]

    def newest_sessions(self, user: str, count: int) -> list[str]:
        return [found.session_id for found in self.store.list_sessions(user_id=user, limit=count)]
