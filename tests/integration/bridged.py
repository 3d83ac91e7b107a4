"""Stores behind the bridge, as factories that other processes can name."""

from __future__ import annotations

from typing import Any

from praisonai_persistence import as_async, as_sync, memory


def sync_conversation(**options: Any) -> Any:
    return as_sync(memory.AsyncMemoryConversationStore(**options))


def async_conversation(**options: Any) -> Any:
    return as_async(memory.MemoryConversationStore(**options))


def sync_state(**options: Any) -> Any:
    return as_sync(memory.AsyncMemoryStateStore(**options))


def async_state(**options: Any) -> Any:
    return as_async(memory.MemoryStateStore(**options))


def sync_knowledge(**options: Any) -> Any:
    return as_sync(memory.AsyncMemoryKnowledgeStore(**options))


def async_knowledge(**options: Any) -> Any:
    return as_async(memory.MemoryKnowledgeStore(**options))
