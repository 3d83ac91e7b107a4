"""What adapters to agent frameworks share: a store of this project as a framework's own kind of store."""

from __future__ import annotations

from praisonai_persistence.frameworks.calls import Call, Calls, NoCopies, both, later, need_store, now
from praisonai_persistence.frameworks.conversations import (
    append,
    function_call,
    read_call,
    remove_all,
    remove_at,
    replace,
    session_ids,
)
from praisonai_persistence.frameworks.documents import all_documents, ask, named, nearest_of, put
from praisonai_persistence.frameworks.objects import class_named, has

__all__ = [
    "Call",
    "Calls",
    "NoCopies",
    "all_documents",
    "append",
    "ask",
    "both",
    "class_named",
    "function_call",
    "has",
    "later",
    "named",
    "nearest_of",
    "need_store",
    "now",
    "put",
    "read_call",
    "remove_all",
    "remove_at",
    "replace",
    "session_ids",
]
