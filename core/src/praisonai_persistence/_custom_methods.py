"""Methods that are put around those of a custom store; see ``_custom``."""

from __future__ import annotations

from praisonai_persistence.errors import ConflictError, SessionNotFoundError, UnsupportedOperationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument

__all__ = [
    "async_conversation_get_messages",
    "async_conversation_update_session",
    "async_knowledge_count",
    "async_knowledge_search",
    "async_state_get",
    "async_state_hget",
    "async_state_incr",
    "conversation_get_messages",
    "conversation_update_session",
    "glob_of",
    "key_matches",
    "knowledge_count",
    "knowledge_search",
    "state_get",
    "state_hget",
    "state_incr",
]


# -------------------------------------------------------------------------------------------------------- conversations


def _check_version(stored: ConversationSession | None, session: ConversationSession, expected: int) -> None:
    if stored is None:
        raise SessionNotFoundError(f"there is no session {session.session_id!r}")
    if stored.version != expected:
        raise ConflictError(f"session {session.session_id!r} has version {stored.version}, not {expected}")


def conversation_update_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``update_session`` with ``expected_version``, around one without."""

    def update_session(self: Any, session: Any, *, expected_version: int | None = None) -> Any:
        if expected_version is not None:
            _check_version(self.get_session(session.session_id), session, expected_version)
        return function(self, session)

    return update_session


def async_conversation_update_session(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``update_session`` with ``expected_version``, awaited, around one without."""

    async def update_session(self: Any, session: Any, *, expected_version: int | None = None) -> Any:
        if expected_version is not None:
            _check_version(await self.get_session(session.session_id), session, expected_version)
        return await function(self, session)

    return update_session


def _select(
    messages: Sequence[ConversationMessage], limit: int | None, before_seq: int | None, after_seq: int | None
) -> list[ConversationMessage]:
    """Number messages whose store does not, by their places, and return the latest of those between two numbers."""
    numbered = _numbered(messages)
    found = [
        message
        for message in numbered
        if (before_seq is None or message.seq < before_seq) and (after_seq is None or message.seq > after_seq)
    ]
    return found if limit is None else found[max(0, len(found) - limit) :]


def _numbered(messages: Sequence[ConversationMessage]) -> list[ConversationMessage]:
    if not messages or any(message.seq for message in messages):
        return list(messages)
    from dataclasses import replace

    return [replace(message, seq=place) for place, message in enumerate(messages, 1)]


def conversation_get_messages(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``get_messages`` with ``before_seq`` and ``after_seq``, around one without."""

    def get_messages(
        self: Any,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> Any:
        if before_seq is not None or after_seq is not None:
            return _select(function(self, session_id, None, before, after), limit, before_seq, after_seq)
        found = function(self, session_id, limit, before, after)
        return _numbered(found) if limit is before is after is None else found

    return get_messages


def async_conversation_get_messages(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``get_messages`` with ``before_seq`` and ``after_seq``, awaited, around one without."""

    async def get_messages(
        self: Any,
        session_id: str,
        limit: int | None = None,
        before: float | None = None,
        after: float | None = None,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> Any:
        if before_seq is not None or after_seq is not None:
            return _select(await function(self, session_id, None, before, after), limit, before_seq, after_seq)
        found = await function(self, session_id, limit, before, after)
        return _numbered(found) if limit is before is after is None else found

    return get_messages


# ------------------------------------------------------------------------------------------------------------ knowledge


def _lacking(found: Sequence[KnowledgeDocument], wanted: bool) -> list[str]:
    return [document.id for document in found if document.embedding is None] if wanted else []


def _filled(found: Sequence[KnowledgeDocument], read: Iterable[KnowledgeDocument]) -> list[KnowledgeDocument]:
    from dataclasses import replace

    vectors = {document.id: document.embedding for document in read}
    return [replace(item, embedding=item.embedding or vectors.get(item.id)) for item in found]


def knowledge_search(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``search`` with ``with_embeddings``, around one without."""

    def search(
        self: Any,
        collection: str,
        query_embedding: Sequence[float],
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        score_threshold: float | None = None,
        *,
        with_embeddings: bool = False,
    ) -> Any:
        found = function(self, collection, query_embedding, limit, filters, score_threshold)
        ids = _lacking(found, with_embeddings)
        return _filled(found, self.get(collection, ids)) if ids else found

    return search


def async_knowledge_search(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``search`` with ``with_embeddings``, awaited, around one without."""

    async def search(
        self: Any,
        collection: str,
        query_embedding: Sequence[float],
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        score_threshold: float | None = None,
        *,
        with_embeddings: bool = False,
    ) -> Any:
        found = await function(self, collection, query_embedding, limit, filters, score_threshold)
        ids = _lacking(found, with_embeddings)
        return _filled(found, await self.get(collection, ids)) if ids else found

    return search


def _no_filters(store: Any, filters: Any) -> None:
    if filters:
        raise UnsupportedOperationError(
            f"count() of {type(store).__name__} takes no filters; it counts all documents of a collection"
        )


def knowledge_count(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``count`` that refuses filters, around one without."""

    def count(self: Any, collection: str, filters: Mapping[str, Any] | None = None) -> Any:
        _no_filters(self, filters)
        return function(self, collection)

    return count


def async_knowledge_count(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``count`` that refuses filters, awaited, around one without."""

    async def count(self: Any, collection: str, filters: Mapping[str, Any] | None = None) -> Any:
        _no_filters(self, filters)
        return await function(self, collection)

    return count


# ---------------------------------------------------------------------------------------------------------------- state


def state_get(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``get`` with ``default``, around one without."""

    def get(self: Any, key: str, default: Any = None) -> Any:
        value = function(self, key)
        return default if value is None and default is not None and not self.exists(key) else value

    return get


def async_state_get(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``get`` with ``default``, awaited, around one without."""

    async def get(self: Any, key: str, default: Any = None) -> Any:
        value = await function(self, key)
        return default if value is None and default is not None and not await self.exists(key) else value

    return get


def state_hget(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``hget`` with ``default``, around one without."""

    def hget(self: Any, key: str, field: str, default: Any = None) -> Any:
        value = function(self, key, field)
        return default if value is None and default is not None and field not in self.hgetall(key) else value

    return hget


def async_state_hget(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``hget`` with ``default``, awaited, around one without."""

    async def hget(self: Any, key: str, field: str, default: Any = None) -> Any:
        value = await function(self, key, field)
        return default if value is None and default is not None and field not in await self.hgetall(key) else value

    return hget


def _by(by: int, amount: int | None) -> int:
    return by if amount is None else amount


def state_incr(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``incr`` with ``by`` and ``amount``, around one without."""

    def incr(self: Any, key: str, by: int = 1, *, amount: int | None = None) -> Any:
        return function(self, key, _by(by, amount))

    return incr


def async_state_incr(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a ``incr`` with ``by`` and ``amount``, awaited, around one without."""

    async def incr(self: Any, key: str, by: int = 1, *, amount: int | None = None) -> Any:
        return await function(self, key, _by(by, amount))

    return incr


def glob_of(prefix: str) -> str:
    """Return a pattern that every key with this prefix matches, also where globs have no escapes."""
    return "*" if any(character in prefix for character in "*?[]\\") else f"{prefix}*"


def key_matches(keys: Iterable[str], prefix: str) -> Iterator[str]:
    """Iterate over the keys with a literal prefix, each once."""
    return iter(dict.fromkeys(key for key in keys if key.startswith(prefix)))
