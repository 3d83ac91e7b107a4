"""LlamaIndex's chat store in a conversation store."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.storage.chat_store.base import BaseChatStore

from praisonai_persistence.conversation import AsyncConversationStore, ConversationStore
from praisonai_persistence.errors import ConflictError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.frameworks import Call, Calls, append, both, need_store
from praisonai_persistence.records import ConversationSession
from praisonai_persistence_llamaindex._messages import from_record, to_record
from praisonai_persistence_llamaindex._whole import NoCopies

__all__ = ["PersistentChatStore"]

_PAGE = 1000


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
        while True:
            session = yield Call(self._store, "get_session", (key,))
            if session is None:
                new = ConversationSession(key, **self._owner)
                with contextlib.suppress(SessionExistsError):  # another writer was first
                    yield Call(self._store, "rewrite_session", (new, records), {"expected_version": 0})
                    return
                continue
            found = yield Call(self._store, "get_messages", (key,))
            same = 0
            while same < min(len(found), len(records)) and from_record(found[same]) == messages[same]:
                same += 1
            if same == len(found) == len(records):
                return
            how = {"expected_version": session.version, "remove": [record.id for record in found[same:]]}
            with contextlib.suppress(ConflictError, SessionNotFoundError):
                yield Call(self._store, "rewrite_session", (session, records[same:]), how)
                return

    def _get(self, key: str) -> Calls[list[ChatMessage]]:
        """Return the messages of a key, oldest first."""
        found = yield Call(self._store, "get_messages", (key,))
        return [from_record(record) for record in found]

    def _add(self, key: str, message: ChatMessage) -> Calls[None]:
        """Append a message. What is not JSON in it is refused with ``SerializationError``."""
        return append(self._store, key, [to_record(message)], **self._owner)

    def _delete_all(self, key: str) -> Calls[list[ChatMessage] | None]:
        """Remove and return the messages of a key; the session stays. None: there is no such key."""
        found = yield Call(self._store, "get_messages", (key,))
        if not found and (yield Call(self._store, "get_session", (key,))) is None:
            return None
        with contextlib.suppress(SessionNotFoundError):  # by id: what others append meanwhile stays
            yield Call(self._store, "delete_messages", (key, [record.id for record in found]))
        return [from_record(record) for record in found]

    def _delete(self, key: str, idx: int) -> Calls[ChatMessage | None]:
        """Remove and return a message by its place, from the end if it is negative. None: there is no such message."""
        while True:
            found = yield Call(self._store, "get_messages", (key,), {"limit": -idx if idx < 0 else None})
            if not -len(found) <= idx < len(found):
                return None
            with contextlib.suppress(SessionNotFoundError):
                if (yield Call(self._store, "delete_messages", (key, [found[idx].id]))):
                    return from_record(found[idx])  # otherwise another caller has removed it

    def _delete_last(self, key: str) -> Calls[ChatMessage | None]:
        """Remove and return the last message. None: there is none."""
        return self._delete(key, -1)

    def _keys(self) -> Calls[list[str]]:
        """Return the ids of all sessions, also of those without messages."""
        keys: dict[str, None] = {}
        for number in range(0, 2**62, _PAGE):
            page = yield Call(self._store, "list_sessions", (), {**self._owner, "limit": _PAGE, "offset": number})
            keys.update(dict.fromkeys(session.session_id for session in page))
            if len(page) < _PAGE:
                break
        return list(keys)

    set_messages, aset_messages = both(_set)
    get_messages, aget_messages = both(_get)
    add_message, async_add_message = both(_add)
    delete_messages, adelete_messages = both(_delete_all)
    delete_message, adelete_message = both(_delete)
    delete_last_message, adelete_last_message = both(_delete_last)
    get_keys, aget_keys = both(_keys)
