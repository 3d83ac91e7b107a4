"""What session stores are made of: one document per session, and every public method in terms of it.

A session store keeps chat histories under plain ids, in the shape that language models take. [SessionStoreBase][] has
all methods that callers use; a store derives from it and writes how one document is read and changed.
[HierarchicalSessions][] adds forks, snapshots and shares to such a store.

A document is a JSON object, as PraisonAI writes it to a file::

    {"session_id": "chat-123", "messages": [...], "created_at": ISO 8601, "updated_at": ISO 8601, "agent_name": null,
     "user_id": null, "metadata": {}, "gateway_session_id": null, "agent_id": null, "runtime_state": {},
     "archived_messages": []}

and optionally ``last_compaction``, and of a hierarchy ``parent_id``, ``forked_from_message_id``, ``children_ids``,
``snapshots``, ``is_shared`` and ``title``. A message is ``{"role", "content", "timestamp", "metadata"}`` and optionally
``tool_calls`` and ``tool_call_id``. Fields of either that nobody knows are kept.

Capabilities that a session store may declare:

* ``tool_calls``: ``add_message`` takes ``tool_calls`` and ``tool_call_id``, and histories never split an exchange.
* ``hierarchy``: the methods of [HierarchicalSessions][].
* ``checks``: bad arguments are refused with a typed error before anything is written.
* ``atomic``: every change is one step for readers, and done or not done when it is interrupted or its process killed.
* ``durable``, ``shared``: as for conversation stores.
"""

from __future__ import annotations

from praisonai_persistence.stores._session_base import SessionStoreBase
from praisonai_persistence.stores._session_documents import (
    MIRRORED,
    CompactionCheckpoint,
    Document,
    ExtendedSessionData,
    Message,
    SessionData,
    SessionMessage,
    SessionSnapshot,
    first_kept,
    iso,
    latest,
    new_document,
    next_updated_at,
    unanswered,
)
from praisonai_persistence.stores._session_hierarchy import HierarchicalSessions
from praisonai_persistence.stores._session_portable import ImportReport
from praisonai_persistence.stores._session_search import SessionHit, SessionSummary

__all__ = [
    "MIRRORED",
    "CompactionCheckpoint",
    "Document",
    "ExtendedSessionData",
    "HierarchicalSessions",
    "ImportReport",
    "Message",
    "SessionData",
    "SessionHit",
    "SessionMessage",
    "SessionSnapshot",
    "SessionStoreBase",
    "SessionSummary",
    "first_kept",
    "iso",
    "latest",
    "new_document",
    "next_updated_at",
    "unanswered",
]
