"""Conversations in MongoDB: a document for each message or whole batch, one for each id, and one for each session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.stores import DocumentConversationSteps
from praisonai_persistence.stores.document_conversation import Head, head_of
from praisonai_persistence_mongodb._engine import MongoEngine, key_range

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps

__all__ = ["MongoConversationSteps"]


class MongoConversationSteps(DocumentConversationSteps):
    """Conversations in MongoDB; the server finds the sessions of a user and of an agent."""

    def __init__(self) -> None:
        super().__init__(MongoEngine(), "conversation")

    engine: MongoEngine

    def heads(self, user_id: str | None, agent_id: str | None) -> Steps[list[Head]]:
        """See the base; the server leaves out those of others."""
        wanted: dict[str, Any] = {"_id": key_range(self._heads, self._heads)}
        given = {"user_id": user_id, "agent_id": agent_id}
        wanted.update({name: value for name, value in given.items() if value is not None})
        found = yield lambda collection: collection.find(wanted, {"_v": 0}).to_list()
        return [head_of({name: value for name, value in one.items() if name != "_id"}) for one in found]
