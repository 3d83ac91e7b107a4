"""Methods that are put around those of a custom store; see ``_custom``.

Each is written once, for sync and async stores: a generator that yields what a method of the store returned, and is
sent the result (see [driven][]).
"""

from __future__ import annotations

from praisonai_persistence.errors import (
    ConflictError,
    SerializationError,
    SessionNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import run, run_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from praisonai_persistence.records import ConversationMessage, ConversationSession, KnowledgeDocument
    from praisonai_persistence.steps import Steps

__all__ = [
    "conversation_get_messages",
    "conversation_update_session",
    "driven",
    "glob_of",
    "key_matches",
    "knowledge_count",
    "knowledge_search",
    "state_get",
    "state_get_json",
    "state_hget",
    "state_incr",
    "state_set_json",
]


def driven(
    method: Callable[..., Steps[Any]], *, asynchronous: bool, around: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a method that does what a generator method says.

    Args:
        method: yields results of the store's methods, and is sent each one back: as it is, or awaited.
        asynchronous: whether the results, and so the method itself, are to be awaited.
        around: the method whose place it takes, and whose name and documentation it gets; None: those of ``method``.
    """
    shown = around or method

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return run(method(self, *args, **kwargs), _same)

    async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await run_async(method(self, *args, **kwargs), _awaited)

    made: Any = acall if asynchronous else call
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(made, attribute, getattr(shown, attribute))
    made.__wrapped__ = shown
    return made  # type: ignore[no-any-return]


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _same(result: Any) -> Any:
    return result


# -------------------------------------------------------------------------------------------------------- conversations


def _check_version(stored: ConversationSession | None, session: ConversationSession, expected: int) -> None:
    if stored is None:
        raise SessionNotFoundError(f"there is no session {session.session_id!r}")
    if stored.version != expected:
        raise ConflictError(f"session {session.session_id!r} has version {stored.version}, not {expected}")


def conversation_update_session(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return a ``update_session`` with ``expected_version``, around one without."""

    def update_session(self: Any, session: Any, *, expected_version: int | None = None) -> Steps[Any]:
        if expected_version is not None:
            _check_version((yield self.get_session(session.session_id)), session, expected_version)
        return (yield function(self, session))

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


def conversation_get_messages(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
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
    ) -> Steps[Any]:
        if before_seq is not None or after_seq is not None:
            return _select((yield function(self, session_id, None, before, after)), limit, before_seq, after_seq)
        found = yield function(self, session_id, limit, before, after)
        return _numbered(found) if limit is before is after is None else found

    return get_messages


# ------------------------------------------------------------------------------------------------------------ knowledge


def _lacking(found: Sequence[KnowledgeDocument], wanted: bool) -> list[str]:
    return [document.id for document in found if document.embedding is None] if wanted else []


def _filled(found: Sequence[KnowledgeDocument], read: Iterable[KnowledgeDocument]) -> list[KnowledgeDocument]:
    from dataclasses import replace

    vectors = {document.id: document.embedding for document in read}
    return [replace(item, embedding=item.embedding or vectors.get(item.id)) for item in found]


def knowledge_search(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
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
    ) -> Steps[Any]:
        found = yield function(self, collection, query_embedding, limit, filters, score_threshold)
        ids = _lacking(found, with_embeddings)
        return _filled(found, (yield self.get(collection, ids))) if ids else found

    return search


def _no_filters(store: Any, filters: Any) -> None:
    if filters:
        raise UnsupportedOperationError(
            f"count() of {type(store).__name__} takes no filters; it counts all documents of a collection"
        )


def knowledge_count(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return a ``count`` that refuses filters, around one without."""

    def count(self: Any, collection: str, filters: Mapping[str, Any] | None = None) -> Steps[Any]:
        _no_filters(self, filters)
        return (yield function(self, collection))

    return count


# ---------------------------------------------------------------------------------------------------------------- state


def state_get(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return a ``get`` with ``default``, around one without."""

    def get(self: Any, key: str, default: Any = None) -> Steps[Any]:
        value = yield function(self, key)
        return default if value is None and default is not None and not (yield self.exists(key)) else value

    return get


def state_get_json(self: Any, key: str, default: Any = None) -> Steps[Any]:
    """Return what the text of a value says, as PraisonAI does; a value that is no text as it is.

    Raises:
        SerializationError: the text is not JSON.
    """
    value = yield self.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        return value
    from json import loads

    try:
        return loads(value)
    except (ValueError, RecursionError) as error:
        raise SerializationError("the value is text that is not JSON: get() returns it") from error


def state_set_json(self: Any, key: str, value: Any, ttl: float | None = None) -> Steps[None]:
    """Store a value as text, as PraisonAI does.

    Raises:
        SerializationError: it is not JSON.
    """
    from json import dumps

    try:
        text = dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SerializationError(f"the value is not JSON: {type(error).__name__}") from error
    yield self.set(key, text, ttl)


def state_hget(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return a ``hget`` with ``default``, around one without."""

    def hget(self: Any, key: str, field: str, default: Any = None) -> Steps[Any]:
        value = yield function(self, key, field)
        return default if value is None and default is not None and field not in (yield self.hgetall(key)) else value

    return hget


def state_incr(function: Callable[..., Any]) -> Callable[..., Steps[Any]]:
    """Return a ``incr`` with ``by`` and ``amount``, around one without."""

    def incr(self: Any, key: str, by: int = 1, *, amount: int | None = None) -> Steps[Any]:
        return (yield function(self, key, by if amount is None else amount))

    return incr


def glob_of(prefix: str) -> str:
    """Return a pattern that every key with this prefix matches, also where globs have no escapes."""
    return "*" if any(character in prefix for character in "*?[]\\") else f"{prefix}*"


def key_matches(keys: Iterable[str], prefix: str) -> Iterator[str]:
    """Iterate over the keys with a literal prefix, each once."""
    return iter(dict.fromkeys(key for key in keys if key.startswith(prefix)))
