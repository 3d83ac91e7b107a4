"""The stores of conversations."""

from __future__ import annotations

from praisonai_persistence.stores import AsyncStepConversationStore, StepConversationStore
from praisonai_persistence_sql import AsyncConversationSchema, ConversationSchema
from praisonai_persistence_sqlite._stores import AsyncChecked, Checked, Store
from praisonai_persistence_sqlite.conversation import SQLiteConversationSteps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["AsyncSQLiteConversationStore", "SQLiteConversationStore"]


class _Conversation(Store):
    capabilities: frozenset[str] = frozenset({"durable", "fork", "prefix", "rewrite", "schema", "search", "shared"})
    _make_steps = SQLiteConversationSteps


class SQLiteConversationStore(_Conversation, Checked, ConversationSchema, StepConversationStore):
    """Conversations in a SQLite file."""

    _steps: SQLiteConversationSteps

    def delete_session(self, session_id: str) -> bool:
        existed = super().delete_session(session_id)
        self._clear_index()
        return existed

    def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        gone = super().delete_messages(session_id, message_ids)
        self._clear_index()
        return gone

    def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        stored = super().rewrite_session(session, messages, expected_version=expected_version, remove=remove)
        self._clear_index()
        return stored

    def _clear_index(self) -> None:
        """Take what was deleted out of the full-text index, in transactions between which others get their turn."""
        while self._steps.index_left and self._runner.run(self._steps.clear_index):
            import time

            time.sleep(self._steps.index_pause)


class AsyncSQLiteConversationStore(_Conversation, AsyncChecked, AsyncConversationSchema, AsyncStepConversationStore):
    """Conversations in a SQLite file, for async callers: operations run on threads."""

    _threads = True
    _steps: SQLiteConversationSteps

    async def delete_session(self, session_id: str) -> bool:
        existed = await super().delete_session(session_id)
        await self._clear_index()
        return existed

    async def delete_messages(self, session_id: str, message_ids: Sequence[str] | None = None) -> int:
        gone = await super().delete_messages(session_id, message_ids)
        await self._clear_index()
        return gone

    async def rewrite_session(
        self,
        session: ConversationSession,
        messages: Sequence[ConversationMessage] = (),
        *,
        expected_version: int,
        remove: Sequence[str] = (),
    ) -> ConversationSession:
        stored = await super().rewrite_session(session, messages, expected_version=expected_version, remove=remove)
        await self._clear_index()
        return stored

    async def _clear_index(self) -> None:
        while self._steps.index_left and await self._runner.run(self._steps.clear_index):
            import asyncio

            await asyncio.sleep(self._steps.index_pause)
