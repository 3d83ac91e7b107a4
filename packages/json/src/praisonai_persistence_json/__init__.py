"""Conversations as files: one readable JSON document per session."""

from praisonai_persistence_json.conversation import (
    AsyncJSONConversationStore,
    CorruptDocumentError,
    JSONConversationStore,
)

__all__ = ["AsyncJSONConversationStore", "CorruptDocumentError", "JSONConversationStore"]
