"""Conversations in Cassandra: a partition a session, and lists of sessions beside them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores import DocumentConversationSteps, MovedError
from praisonai_persistence.stores.document_conversation import head_of
from praisonai_persistence.stores.document_engine import new_token
from praisonai_persistence_cassandra.engine import CassandraDocuments, place_of

if TYPE_CHECKING:
    from praisonai_persistence.payload import MessageRow
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores._document_log import Log
    from praisonai_persistence.stores.document_conversation import Head
    from praisonai_persistence.stores.document_engine import Document
    from praisonai_persistence_cassandra.engine import CassandraEngine

__all__ = ["CassandraConversationSteps"]


class _AgainError(Exception):
    """Another append was faster."""


class CassandraConversationSteps(DocumentConversationSteps):
    """A session's head, entries and index are in one partition, so an append is one conditional batch.

    Which sessions there are is in partitions beside: of all sessions, and of each user. There a row stands for one
    generation of a session; it is written before the head, and deleted after the session. A generation is never used
    again, so nobody deletes what somebody else has written. Rows of sessions that are gone do no harm.

    Args:
        engine: the engine.
        space: where the keys begin.
    """

    engine: CassandraEngine

    def __init__(self, engine: CassandraEngine, space: str) -> None:
        super().__init__(engine, space)
        self.documents = CassandraDocuments(engine, space)

    def new_generation(self, session_id: str) -> str:
        return place_of(self._key(session_id).rpartition("/")[2]) + new_token()

    # -------------------------------------------------------------------------------------------------------- sessions

    def _listed(self, head: Head) -> dict[str, Document]:
        """Return the rows that lists find a session by."""
        row: Document = {"text": self._key(head.session_id)}
        rows = {self.documents.folder("listed") + head.generation: row}
        if head.user_id is not None:
            rows[self._users(head.user_id) + head.generation] = row
        return rows

    def _users(self, user_id: str) -> str:
        return self.documents.folder("users", hashlib.sha256(user_id.encode()).hexdigest())

    def _write(self, head: Head, version: Any) -> Steps[None]:
        yield from self.engine.put_plain(self._listed(head))
        try:
            yield from super()._write(head, version)
        except MovedError:
            # Nobody but this writer has rows of a generation that does not come to be, or is gone.
            if version is None or not (yield from self._stands(head)):
                yield from self.engine.delete_plain(self._listed(head))
            raise

    def _stands(self, head: Head) -> Steps[bool]:
        now, _ = yield from self._read(head.session_id)
        return now is not None and now.generation == head.generation

    def heads(self, user_id: str | None, agent_id: str | None) -> Steps[list[Head]]:
        folder = self.documents.folder("listed") if user_id is None else self._users(user_id)
        start_after, limit = folder, self.engine.max_batch
        keys: dict[str, None] = {}
        while True:
            page = yield from self.documents.page(folder, start_after, limit)
            keys.update((stored[0]["text"], None) for _, stored in page if stored is not None)
            if len(page) < limit:
                break
            start_after = page[-1][0]
        found = yield from self.documents.read_many(keys)
        return [head_of(document) for document, _ in found.values()]

    def _forget(self, head: Head) -> Steps[None]:
        yield from super()._forget(head)
        yield from self.engine.delete_plain(self._listed(head))

    def _switch(self, old: Head, version: Any, written: tuple[Head, str]) -> Steps[None]:
        yield from super()._switch(old, version, written)
        yield from self.engine.delete_plain(self._listed(old))

    # --------------------------------------------------------------------------------------------------------- appends

    def _append(
        self, head: Head, version: Any, rows: dict[str, MessageRow], now: float
    ) -> Steps[dict[str, MessageRow]]:
        try:
            return (yield from super()._append(head, version, rows, now))
        except _AgainError as error:
            raise MovedError("another append was faster") from error

    def _append_at_once(
        self,
        log: Log,
        head: Head,
        version: Any,
        rows: list[MessageRow],
        known: dict[str, tuple[int, Any]],
        now: float,
    ) -> Steps[dict[str, MessageRow]]:
        try:
            return (yield from super()._append_at_once(log, head, version, rows, known, now))
        except MovedError:
            # Whoever was faster has written the head as well, unless the entry is one of a writer that died.
            if (yield from self._read(head.session_id))[1] != version:
                raise _AgainError from None
            raise
