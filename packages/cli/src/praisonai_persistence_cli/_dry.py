"""Stores that read as another one does, and let all writes pass without writing: for dry runs.

What writes goes the way that it would go, and comes to the same counts and conflicts. What only the engine would refuse
(a value over its limits) is not found out, and there is nothing to verify.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import CollectionExistsError, SessionExistsError, StoreNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
    from praisonai_persistence_cli._options import Target

__all__ = ["opened_target"]


def opened_target(stack: ExitStack, target: Target, *, dry_run: bool) -> Any:
    """Connect to a store to write to; for a dry run one in which nothing is written, and none is made."""
    if not dry_run:
        store = stack.enter_context(target.open())
        store.connect()
        return store
    reads = {"conversation": _Sessions, "knowledge": _Collections, "state": _Keys}[target.kind]
    try:
        store = stack.enter_context(target.open(must_exist=True))
        store.connect()
    except StoreNotFoundError:
        return reads(None)
    return reads(store)


class _Dry:
    def __init__(self, store: Any | None) -> None:
        self._store = store


class _Sessions(_Dry):
    def create_session(self, session: ConversationSession) -> ConversationSession:
        if self.get_session(session.session_id) is not None:
            raise SessionExistsError(f"there is a session {session.session_id!r} already")
        return session

    def get_session(self, session_id: str) -> ConversationSession | None:
        found: ConversationSession | None = None if self._store is None else self._store.get_session(session_id)
        return found

    def get_messages(self, session_id: str, *args: Any, **options: Any) -> list[ConversationMessage]:
        found: list[ConversationMessage] = []
        return found if self._store is None else self._store.get_messages(session_id, *args, **options)

    def add_messages(self, session_id: str, messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
        return [*messages]

    def update_session(self, session: ConversationSession) -> ConversationSession:
        return session


class _Keys(_Dry):
    def get_many(self, keys: Sequence[str]) -> dict[str, Any]:
        return {} if self._store is None else self._store.get_many(keys)

    def get(self, key: str, default: Any = None) -> Any:
        return default if self._store is None else self._store.get(key, default)

    def hgetall(self, key: str) -> dict[str, Any]:
        return {} if self._store is None else self._store.hgetall(key)

    def ttl(self, key: str) -> float | None:
        return None if self._store is None else self._store.ttl(key)

    def set_if_absent(self, key: str, value: Any, ttl: float | None = None) -> bool:
        return self._store is None or not self._store.exists(key)

    def set(self, key: str, value: Any, ttl: float | None = None) -> None:
        return

    def hset(self, key: str, field: str, value: Any) -> None:
        return

    def hdel(self, key: str, *fields: str) -> int:
        return len(fields)

    def expire(self, key: str, ttl: float) -> bool:
        return True

    def delete(self, key: str) -> bool:
        return True


class _Collections(_Dry):
    def create_collection(
        self, name: str, dimension: int, distance: str = "cosine", metadata: dict[str, Any] | None = None
    ) -> None:
        if not self._has(name):
            return
        info = self._store.get_collection(name)  # type: ignore[union-attr]
        if (info.dimension, info.distance, info.metadata) != (dimension, distance, metadata):
            raise CollectionExistsError(f"there is a collection {name!r} already, created with other arguments")

    def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        found: list[KnowledgeDocument] = []
        return self._store.get(collection, ids) if self._has(collection) else found  # type: ignore[union-attr]

    def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        return [document.id for document in documents]

    def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        return [document.id for document in documents]

    def _has(self, name: str) -> bool:
        return self._store is not None and self._store.collection_exists(name)
