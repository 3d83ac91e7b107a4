"""State and conversations in Google Firestore: a document a key, a document a message or batch."""

from __future__ import annotations

from typing import ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    AsyncStepStateStore,
    DocumentConversationSteps,
    DocumentStateSteps,
    StepConversationStore,
    StepStateStore,
)
from praisonai_persistence_firestore._driver import FirestoreDriver, FirestoreOptions
from praisonai_persistence_firestore.engine import FirestoreEngine

__all__ = [
    "AsyncFirestoreConversationStore",
    "AsyncFirestoreStateStore",
    "FirestoreConversationStore",
    "FirestoreOptions",
    "FirestoreStateStore",
]


class _Store(OptionsStore):
    options_class = FirestoreOptions
    backend: ClassVar[str] = "firestore"

    def _parts(self, options: FirestoreOptions, kind: str) -> tuple[FirestoreEngine, str, FirestoreDriver]:
        engine = FirestoreEngine(options.collection or f"praisonai_{kind}", options.timeout)
        driver = FirestoreDriver(options, engine)
        return engine, f"{options.table_prefix}{kind}", driver


class _StateStore(_Store):
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})

    def _make(self, options: FirestoreOptions) -> tuple[DocumentStateSteps, FirestoreDriver]:
        engine, space, driver = self._parts(options, "state")
        return DocumentStateSteps(engine, space), driver


class FirestoreStateStore(_StateStore, StepStateStore):
    """State in Google Firestore."""


class AsyncFirestoreStateStore(_StateStore, AsyncStepStateStore):
    """The same for async callers: the sync client on threads."""

    _asynchronous = True


class _ConversationStore(_Store):
    capabilities: frozenset[str] = frozenset(
        {"atomic_batch", "durable", "fork", "prefix", "rewrite", "search", "shared"}
    )

    def _make(self, options: FirestoreOptions) -> tuple[DocumentConversationSteps, FirestoreDriver]:
        engine, space, driver = self._parts(options, "conversation")
        return DocumentConversationSteps(engine, space), driver


class FirestoreConversationStore(_ConversationStore, StepConversationStore):
    """Conversations in Google Firestore."""


class AsyncFirestoreConversationStore(_ConversationStore, AsyncStepConversationStore):
    """The same for async callers: the sync client on threads."""

    _asynchronous = True
