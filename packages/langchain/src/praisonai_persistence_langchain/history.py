"""LangChain's chat history in a conversation store."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from langchain_core.chat_history import BaseChatMessageHistory

from praisonai_persistence.errors import SessionNotFoundError
from praisonai_persistence.frameworks import Call, Calls, append, both, later, need_store, now
from praisonai_persistence.payload import check_count
from praisonai_persistence_langchain._messages import from_record, to_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore

__all__ = ["PersistentChatMessageHistory"]


class PersistentChatMessageHistory(BaseChatMessageHistory):
    """The messages of one session, for sync and async callers.

    A session that is not there is created by the first message. Each call of ``add_messages`` is one atomic append. The
    store stays open: it is whoever opened it that closes it.

    Args:
        store: a conversation store, sync or async.
        session_id: the session.
        user_id: of a session that is created here.
        agent_id: of a session that is created here.
        limit: read the latest so many messages; None: all.
    """

    def __init__(
        self,
        store: ConversationStore | AsyncConversationStore,
        session_id: str,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
        limit: int | None = None,
    ) -> None:
        self.store = need_store(store, "conversation")
        self.session_id = session_id
        self._user_id, self._agent_id = user_id, agent_id
        self._limit = None if limit is None else check_count(limit, "limit")

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]
        """The messages, oldest first."""
        return now(self._read())

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages, oldest first."""
        return await later(self._read())

    def _read(self) -> Calls[list[BaseMessage]]:
        found = yield Call(self.store, "get_messages", (self.session_id,), {"limit": self._limit})
        return [from_record(record) for record in found]

    def _append(self, messages: Sequence[BaseMessage]) -> Calls[None]:
        """Append messages: all of them or none. What is not JSON in one is refused with ``SerializationError``."""
        records = [to_record(message) for message in messages]
        return append(self.store, self.session_id, records, user_id=self._user_id, agent_id=self._agent_id)

    def _clear(self) -> Calls[None]:
        """Remove all messages; the session stays."""
        with contextlib.suppress(SessionNotFoundError):
            yield Call(self.store, "delete_messages", (self.session_id,))

    add_messages, aadd_messages = both(_append)
    clear, aclear = both(_clear)
