"""Appends to one session that would wait for each other, sent together.

The row of a session is the lock of its messages, held until the commit: of many appends to one session a server does
one at a time, whatever the number of connections. So those that come while one is under way are sent as one batch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConnectionFailedError, PersistenceError, StoreClosedError
from praisonai_persistence.payload import check_id, encode_message
from praisonai_persistence.stores import AsyncStepConversationStore
from praisonai_persistence.stores.batching import Batching, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.records import ConversationMessage
    from praisonai_persistence.stores import AsyncRunner, ConversationSteps

__all__ = ["AsyncSQLConversationStore"]

_MESSAGES, _CHARACTERS = 100, 500_000  # of one batch at the most, so that nobody waits long for it
_PATIENCE = 10.0  # seconds that a cancelled caller waits for the end of its batch


class AsyncSQLConversationStore(AsyncStepConversationStore):
    """An async conversation store on a server; appends to one session go together while another one is under way.

    Each keeps an outcome of its own: when a batch fails, each append is done on its own, which is safe because appends
    may be repeated. Only of what all of them would meet, a server that is away, all learn at once.

    Args:
        steps: the engine's operations.
        runner: runs them; closed with the store.
    """

    def __init__(self, steps: ConversationSteps, runner: AsyncRunner) -> None:
        super().__init__(steps, runner)
        self._appends: Batching[str, MessageRow, ConversationMessage] = Batching(
            self._append, self._append_all, _fit, patience=_PATIENCE
        )

    async def add_message(self, session_id: str, message: ConversationMessage) -> ConversationMessage:
        session_id = check_id(session_id)
        row = encode_message(session_id, message, self.max_message_bytes)
        return await self._appends.call(session_id, row)

    async def _append(self, session_id: str, row: MessageRow) -> ConversationMessage:
        return await self._runner.run(self._steps.add_message, session_id, row, time.time())

    async def _append_all(self, session_id: str, rows: list[MessageRow]) -> list[Outcome] | None:
        try:
            messages = await self._runner.run(self._steps.add_messages, session_id, rows, time.time())
        except (ConnectionFailedError, StoreClosedError):
            raise
        except PersistenceError:
            return None
        return [Outcome(message) for message in messages]


def _fit(rows: Sequence[MessageRow]) -> int:
    """Return how many may go together: each with an id of its own, because a batch has one message for an id."""
    ids: set[str] = set()
    size = 0
    for row in rows[:_MESSAGES]:
        texts: tuple[Any, ...] = row[:6]
        size += sum(len(text) for text in texts if text is not None)
        if ids and (size > _CHARACTERS or row.id in ids):
            break
        ids.add(row.id)
    return len(ids)
