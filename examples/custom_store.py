"""A store of your own: derive from the interface, write its methods, and use it by class, by name or by URL.

Run it: `python examples/custom_store.py`.

This one keeps sessions in a dict; put your engine in its place. It takes some work off its shoulders from the core:

* `payload` checks and encodes records (all of what the contract refuses is refused there),
* `WholeSession` is the contract for engines that hold a session as a whole.

For an engine with transactions, and for both modes from one piece of code, see docs/plugins.md.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from praisonai_persistence import (
    AsyncConversationStore,
    ConversationMessage,
    ConversationSession,
    SessionExistsError,
    SessionNotFoundError,
    StoreClosedError,
    create_conversation_store,
    get_default_registry,
    open_conversation_store,
)
from praisonai_persistence.payload import (
    check_count,
    check_id,
    check_many,
    check_optional_id,
    decode_messages,
    decode_session,
    encode_messages,
    encode_session,
)
from praisonai_persistence.stores.conversation import Selection, WholeSession, page_of

_sessions_of: dict[str, dict[str, WholeSession]] = {}


class DictStore(AsyncConversationStore):
    """Conversations in a dict; stores of one title share it.

    Args:
        url: `dict://title`. Every factory takes a URL, so that its scheme can lead here.
        title: the same, without a URL.
    """

    backend = "dict"
    # No capability: nothing is durable, two processes share nothing, there are neither prefixes nor search nor fork.

    def __init__(self, url: str | None = None, *, title: str = "untitled") -> None:
        self._title = title if url is None else url.partition("://")[2]
        self._closed = False

    @property
    def _sessions(self) -> dict[str, WholeSession]:
        if self._closed:
            raise StoreClosedError("this store is closed")
        return _sessions_of.setdefault(self._title, {})

    def _need(self, session_id: str) -> WholeSession:
        if session_id not in self._sessions:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return self._sessions[session_id]

    async def connect(self) -> None:
        """Connect your engine here; a dict has nothing to connect."""
        _ = self._sessions

    async def close(self) -> None:
        """Close what this store opened, which is nothing, and refuse whatever comes later."""
        self._closed = True

    async def create_session(self, session: ConversationSession) -> ConversationSession:
        """C01, C02."""
        row = encode_session(session)
        if row.session_id in self._sessions:
            raise SessionExistsError(f"session {row.session_id!r} exists already")
        self._sessions[row.session_id] = WholeSession(row)
        return decode_session(row)

    async def get_session(self, session_id: str) -> ConversationSession | None:
        """C03."""
        session = self._sessions.get(check_id(session_id))
        return None if session is None else decode_session(session.row)

    async def update_session(
        self, session: ConversationSession, *, expected_version: int | None = None
    ) -> ConversationSession:
        """C04, C05."""
        row = encode_session(session)
        stored = self._need(row.session_id)
        stored.update(row, expected_version, time.time())
        return decode_session(stored.row)

    async def delete_session(self, session_id: str) -> bool:
        """C07."""
        return self._sessions.pop(check_id(session_id), None) is not None

    async def list_sessions(
        self, user_id: str | None = None, agent_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[ConversationSession]:
        """C08."""
        user, agent = check_optional_id(user_id, "user_id"), check_optional_id(agent_id, "agent_id")
        rows = [session.row for session in self._sessions.values()]
        return page_of(rows, user, agent, check_count(limit, "limit"), check_count(offset, "offset"))

    async def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        """C09 to C11."""
        return (await self.add_messages(session_id, [message]))[0]

    async def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        """C12."""
        session_id = check_id(session_id)
        rows = encode_messages(session_id, messages)
        return decode_messages(session_id, self._need(session_id).append(rows, time.time()))

    async def get_messages(
        self,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[ConversationMessage]:
        """C13."""
        selection = Selection(limit, before, after, before_seq, after_seq)
        session = self._sessions.get(check_id(session_id))
        rows = [] if session is None or limit == 0 else session.select(selection)
        return decode_messages(session_id, rows)

    async def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        """C14."""
        ids = message_ids if message_ids is None else [check_id(i) for i in check_many(message_ids, "message_ids")]
        session = self._sessions.get(check_id(session_id))
        return 0 if session is None else session.delete(ids, time.time())


async def greet(store: Any, how: str) -> None:
    """Use a store that was made in one way or another."""
    async with store:
        session = await store.upsert_session(ConversationSession("hello"))
        await store.add_message(session.session_id, ConversationMessage(content=f"made {how}"))
        print([message.content for message in await store.get_messages("hello")])


async def main() -> None:
    """Three ways to the same store."""
    await greet(DictStore(title="greetings"), "by its class")

    get_default_registry("conversation").register("dict", DictStore, aliases=["notebook"])
    await greet(create_conversation_store("dict", title="greetings"), "by its name")
    await greet(open_conversation_store("notebook://greetings"), "by a URL")


if __name__ == "__main__":
    asyncio.run(main())
