"""LlamaIndex's chat store in a conversation store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base import BaseChatStore

from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
from praisonai_persistence.frameworks import Call, Calls, NoCopies, both, conversations, need_store
from praisonai_persistence.records import ConversationMessage
from praisonai_persistence_llamaindex._messages import from_record, to_record

__all__ = ["PersistentChatStore"]


def _message(record: ConversationMessage | None) -> ChatMessage | None:
    return None if record is None else from_record(record)


def _messages(records: list[ConversationMessage] | None) -> list[ChatMessage] | None:
    return None if records is None else [from_record(record) for record in records]


class PersistentChatStore(NoCopies, BaseChatStore):
    """Sessions as the keys of a chat store, for sync and async callers.

    A session that is not there is created by the first message. The store stays open: it is whoever opened it that
    closes it.

    Args:
        store: a conversation store, sync or async.
        user_id: of sessions that are created here, and of those that ``get_keys`` returns.
        agent_id: the same.
    """

    _store: Any = PrivateAttr()
    _owner: dict[str, str | None] = PrivateAttr()

    def __init__(
        self,
        store: ConversationStore | AsyncConversationStore,
        *,
        user_id: str | None = None,
        agent_id: str | None = None,
    ) -> None:
        super().__init__()
        self._store = need_store(store, "conversation")
        self._owner = {"user_id": user_id, "agent_id": agent_id}

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex knows it by."""
        return "PersistentChatStore"

    def _set(self, key: str, messages: Sequence[ChatMessage]) -> Calls[None]:
        """Replace the messages of a key in one step; those at the beginning that are equal stay as they are stored."""
        records = [to_record(message) for message in messages]

        def same(old: ConversationMessage, place: int) -> bool:
            return from_record(old) == messages[place]

        return conversations.replace(self._store, key, records, same, **self._owner)

    def _get(self, key: str) -> Calls[list[ConversationMessage]]:
        """Return the messages of a key, oldest first."""
        return (yield Call(self._store, "get_messages", (key,)))  # type: ignore[no-any-return]

    def _add(self, key: str, message: ChatMessage) -> Calls[None]:
        """Append a message. What is not JSON in it is refused with ``SerializationError``."""
        return conversations.append(self._store, key, [to_record(message)], **self._owner)

    def _delete_all(self, key: str) -> Calls[list[ConversationMessage] | None]:
        """Remove and return the messages of a key; the session stays. None: there is no such key."""
        return conversations.remove_all(self._store, key)

    def _delete(self, key: str, idx: int) -> Calls[ConversationMessage | None]:
        """Remove and return a message by its place, from the end if it is negative. None: there is no such message."""
        return conversations.remove_at(self._store, key, idx)

    def _delete_last(self, key: str) -> Calls[ConversationMessage | None]:
        """Remove and return the last message. None: there is none."""
        return conversations.remove_at(self._store, key, -1)

    def _keys(self) -> Calls[list[str]]:
        """Return the ids of all sessions, also of those without messages."""
        return conversations.session_ids(self._store, **self._owner)

    set_messages, aset_messages = both(_set)
    get_messages, aget_messages = both(_get, _messages)
    add_message, async_add_message = both(_add)
    delete_messages, adelete_messages = both(_delete_all, _messages)
    delete_message, adelete_message = both(_delete, _message)
    delete_last_message, adelete_last_message = both(_delete_last, _message)
    get_keys, aget_keys = both(_keys)
