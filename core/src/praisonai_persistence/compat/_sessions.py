"""What is put into ``praisonaiagents.session``."""

from __future__ import annotations

import sys
from typing import Any

from praisonai_persistence import sessions
from praisonai_persistence.sessions import (
    CompactionCheckpoint,
    ExtendedSessionData,
    SessionData,
    SessionMessage,
    SessionSnapshot,
)

__all__ = [
    "CompactionCheckpoint",
    "DefaultSessionStore",
    "ExtendedSessionData",
    "HierarchicalSessionStore",
    "SessionData",
    "SessionMessage",
    "SessionSnapshot",
    "SqliteSessionStore",
    "SqliteTranscriptStore",
    "get_default_session_store",
    "get_hierarchical_session_store",
]

DefaultSessionStore: Any = sessions.DefaultSessionStore
HierarchicalSessionStore: Any = sessions.HierarchicalSessionStore
SqliteSessionStore: Any = sessions.SqliteSessionStore
SqliteTranscriptStore: Any = sessions.SqliteTranscriptStore
get_hierarchical_session_store = sessions.get_hierarchical_session_store


def get_default_session_store() -> Any:
    """Return the store that a program put into ``_default_store`` of the module, else that of this process."""
    injected = getattr(sys.modules.get("praisonaiagents.session.store"), "_default_store", None)
    return sessions.get_default_session_store() if injected is None else injected
