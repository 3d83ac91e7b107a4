"""All three kinds in memory: the reference that every other backend is compared with, and the ``memory`` backend.

Without a name, a store has its data to itself and they go with it. Stores of one name (``memory://name``) share their
data inside the process, for as long as one of them lives.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    DocumentExistsError,
    SessionExistsError,
    SessionNotFoundError,
    WrongTypeError,
)
from praisonai_persistence.filters import Filter, matches
from praisonai_persistence.knowledge import CollectionInfo, KnowledgeDocument
from praisonai_persistence.payload import (
    MessageRow,
    SessionRow,
    check_prefix,
    copy,
    decode_messages,
    decode_session,
    dumps,
    equal,
    loads,
)
from praisonai_persistence.steps import Steps, done, reads, writes
from praisonai_persistence.stores import (
    AsyncRunner,
    AsyncStepConversationStore,
    AsyncStepKnowledgeStore,
    AsyncStepStateStore,
    ConversationSteps,
    DirectRunner,
    KnowledgeSteps,
    StateSteps,
    StepConversationStore,
    StepKnowledgeStore,
    StepStateStore,
)
from praisonai_persistence.stores.conversation import Selection, WholeSession, page_of, search_in
from praisonai_persistence.stores.knowledge import DocumentRow, Search, decode_document, same_collection
from praisonai_persistence.stores.state import PAGE
from praisonai_persistence.vectors import check_dimension, score

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = [
    "AsyncMemoryConversationStore",
    "AsyncMemoryKnowledgeStore",
    "AsyncMemoryStateStore",
    "MemoryConversationStore",
    "MemoryKnowledgeStore",
    "MemoryStateStore",
]

T = TypeVar("T")


class _Data:
    """What stores of one name share: one lock, and one table of every kind for every prefix."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tables: dict[tuple[type, str], Any] = {}
        with _named_lock:  # a fork looks at all of them, and must not meet one that is just coming into being
            _every.add(self)

    def table(self, kind: type[T], prefix: str) -> T:
        with self.lock:
            return self.tables.setdefault((kind, prefix), kind())  # type: ignore[no-any-return]


_every: weakref.WeakSet[_Data] = weakref.WeakSet()
_named: weakref.WeakValueDictionary[str, _Data] = weakref.WeakValueDictionary()
_named_lock = threading.RLock()


_held: list[_Data] = []


def _before_fork() -> None:
    """Wait until no thread is in the middle of a change: the child gets a copy of everything as it is now."""
    _named_lock.acquire()
    _held[:] = _every
    for data in _held:
        data.lock.acquire()


def _after_fork() -> None:
    for data in _held:
        data.lock.release()
    _held.clear()
    _named_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _open(url: str | None, name: str | None) -> _Data:
    if url is not None:
        scheme, separator, rest = url.partition("://")
        if scheme != "memory" or not separator:
            raise ConfigurationError("the memory backend takes the URL 'memory://' or 'memory://name'")
        name = name or rest.strip("/")
    if not name:
        return _Data()
    with _named_lock:
        data = _named.get(name)
        if data is None:
            _named[name] = data = _Data()
        return data


class _AsyncDirectRunner(AsyncRunner):
    """A direct runner for async callers: nothing in memory is worth a thread."""

    def __init__(self) -> None:
        self._runner = DirectRunner()

    async def connect(self) -> None:
        self._runner.connect()

    async def run(self, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any) -> T:
        return self._runner.run(operation, *args, **kwargs)

    async def close(self) -> None:
        self._runner.close()


# -------------------------------------------------------------------------------------------------------- conversation


class _Sessions(dict[str, WholeSession]):
    def need(self, session_id: str) -> WholeSession:
        if session_id not in self:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return self[session_id]


class MemoryConversationSteps(ConversationSteps):
    """The reference of the conversation contract: a dict of ``WholeSession`` under a lock."""

    def __init__(self, data: _Data, prefix: str) -> None:
        self._data = data
        self._sessions = data.table(_Sessions, prefix)

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        with self._data.lock:
            if row.session_id in self._sessions:
                raise SessionExistsError(f"session {row.session_id!r} exists already")
            self._sessions[row.session_id] = WholeSession(row)
        return done(decode_session(row))

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        session = self._sessions.get(session_id)
        return done(None if session is None else decode_session(session.row))

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        with self._data.lock:
            session = self._sessions.need(row.session_id)
            session.update(row, expected_version, now)
            return done(decode_session(session.row))

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        with self._data.lock:
            if row.session_id in self._sessions:
                return self.update_session(row, None, now)
            return self.create_session(row)

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        with self._data.lock:
            return done(self._sessions.pop(session_id, None) is not None)

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        with self._data.lock:
            rows = [session.row for session in self._sessions.values()]
        return done(page_of(rows, user_id, agent_id, limit, offset))

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            stored = self._sessions.need(session_id).append(rows, now)
        return done(decode_messages(session_id, stored))

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            session = self._sessions.get(session_id)
            rows = [] if session is None else session.select(selection)
        return done(decode_messages(session_id, rows))

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        with self._data.lock:
            session = self._sessions.get(session_id)
            return done(0 if session is None else session.delete(ids, now))

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        with self._data.lock:  # half of a batch is never counted
            session = self._sessions.get(session_id)
            return done(0 if session is None else len(session.messages))

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        with self._data.lock:
            return done(search_in(self._sessions.values(), words, user_id, limit))

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        with self._data.lock:
            source = self._sessions.need(session_id)
            if new_session_id in self._sessions:
                raise SessionExistsError(f"session {new_session_id!r} exists already")
            self._sessions[new_session_id] = fork = source.fork(up_to_seq, new_session_id, now)
            return done(decode_session(fork.row))


class _ConversationOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"search", "fork", "prefix"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryConversationSteps:
        return MemoryConversationSteps(_open(url, name), check_prefix(table_prefix))


class MemoryConversationStore(_ConversationOptions, StepConversationStore):
    """Conversations in memory.

    Args:
        url: ``memory://``, or ``memory://name`` for data that stores of this process share.
        name: the same name, without a URL.
        table_prefix: separates stores of one name.
    """

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryConversationStore(_ConversationOptions, AsyncStepConversationStore):
    """[MemoryConversationStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), _AsyncDirectRunner())


# --------------------------------------------------------------------------------------------------------------- state


class _Entry:
    """A key: a plain value as JSON text, or a hash of them; and when it ends."""

    __slots__ = ("ends", "value")

    def __init__(self, value: str | dict[str, str], ends: float | None = None) -> None:
        self.value = value
        self.ends = ends


class _Entries(dict[str, _Entry]):
    def live(self, key: str, now: float) -> _Entry | None:
        """Return the entry unless it has ended; one that has is removed."""
        entry = self.get(key)
        if entry is not None and entry.ends is not None and entry.ends <= now:
            del self[key]
            return None
        return entry

    def text(self, key: str, now: float) -> str | None:
        entry = self.live(key, now)
        if entry is None:
            return None
        if not isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a hash")
        return entry.value

    def fields(self, key: str, now: float) -> dict[str, str] | None:
        entry = self.live(key, now)
        if entry is None:
            return None
        if isinstance(entry.value, str):
            raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
        return entry.value


def _ends(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl


class MemoryStateSteps(StateSteps):
    """The reference of the state contract, on dicts."""

    def __init__(self, data: _Data, prefix: str) -> None:
        self._data = data
        self._entries = data.table(_Entries, prefix)

    @reads
    def get(self, key: str, now: float) -> Steps[str | None]:
        with self._data.lock:
            return done(self._entries.text(key, now))

    @writes
    def set(self, key: str, text: str, ttl: float | None, now: float) -> Steps[None]:
        with self._data.lock:
            self._entries.text(key, now)
            self._entries[key] = _Entry(text, _ends(ttl, now))
        return done(None)

    @writes
    def delete(self, keys: Sequence[str], now: float) -> Steps[int]:
        with self._data.lock:
            live = [key for key in keys if self._entries.live(key, now)]
            for key in live:
                del self._entries[key]
        return done(len(live))

    @reads
    def exists(self, key: str, now: float) -> Steps[bool]:
        with self._data.lock:
            return done(self._entries.live(key, now) is not None)

    @reads
    def ttl(self, key: str, now: float) -> Steps[float | None]:
        with self._data.lock:
            entry = self._entries.live(key, now)
            return done(None if entry is None or entry.ends is None else entry.ends - now)

    @writes
    def expire(self, key: str, ttl: float, now: float) -> Steps[bool]:
        with self._data.lock:
            entry = self._entries.live(key, now)
            if entry is not None:
                entry.ends = now + ttl
            return done(entry is not None)

    @reads
    def scan(self, prefix: str, cursor: Any, now: float) -> Steps[tuple[list[str], Any]]:
        with self._data.lock:
            keys = sorted(
                key
                for key in list(self._entries)
                if key.startswith(prefix) and (cursor is None or key > cursor) and self._entries.live(key, now)
            )
        return done((keys[:PAGE], keys[PAGE - 1] if len(keys) > PAGE else None))

    @reads
    def hget(self, key: str, field: str, now: float) -> Steps[str | None]:
        with self._data.lock:
            return done((self._entries.fields(key, now) or {}).get(field))

    @writes
    def hset(self, key: str, field: str, text: str, now: float) -> Steps[None]:
        with self._data.lock:
            fields = self._entries.fields(key, now)
            if fields is None:
                self._entries[key] = _Entry({field: text})
            else:
                fields[field] = text
        return done(None)

    @reads
    def hgetall(self, key: str, now: float) -> Steps[dict[str, str]]:
        with self._data.lock:
            return done(dict(self._entries.fields(key, now) or {}))

    @writes
    def hdel(self, key: str, fields: Sequence[str], now: float) -> Steps[int]:
        with self._data.lock:
            stored = self._entries.fields(key, now)
            if stored is None:
                return done(0)
            gone = [field for field in fields if stored.pop(field, None) is not None]
            if not stored:
                del self._entries[key]
        return done(len(gone))

    @writes
    def set_if_absent(self, key: str, text: str, ttl: float | None, now: float) -> Steps[bool]:
        with self._data.lock:
            if self._entries.text(key, now) is not None:
                return done(False)
            self._entries[key] = _Entry(text, _ends(ttl, now))
        return done(True)

    @writes
    def compare_and_set(self, key: str, expected: Any, text: str, ttl: float | None, now: float) -> Steps[bool]:
        with self._data.lock:
            stored = self._entries.text(key, now)
            if stored is None or not equal(loads(stored), expected):
                return done(False)
            self._entries[key] = _Entry(text, _ends(ttl, now))
        return done(True)

    @writes
    def incr(self, key: str, by: int, now: float) -> Steps[int]:
        with self._data.lock:
            text = self._entries.text(key, now)
            number = 0 if text is None else loads(text)
            if type(number) is not int:
                raise WrongTypeError(f"key {key!r} holds a value that is no integer")
            number += by
            self._entries.setdefault(key, _Entry("")).value = dumps(number)
        return done(number)

    @reads
    def get_many(self, keys: Sequence[str], now: float) -> Steps[dict[str, str]]:
        with self._data.lock:
            texts = {key: self._entries.text(key, now) for key in keys}
        return done({key: text for key, text in texts.items() if text is not None})

    @writes
    def set_many(self, texts: Mapping[str, str], ttl: float | None, now: float) -> Steps[None]:
        with self._data.lock:
            for key in texts:
                self._entries.text(key, now)
            entries = {key: _Entry(text, _ends(ttl, now)) for key, text in texts.items()}
            self._entries.update(entries)  # one step, which no signal handler's exception can divide
        return done(None)

    @writes
    def clear(self, now: float) -> Steps[int]:
        with self._data.lock:
            live = sum(1 for key in list(self._entries) if self._entries.live(key, now))
            self._entries.clear()
        return done(live)


class _StateOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"prefix"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryStateSteps:
        return MemoryStateSteps(_open(url, name), check_prefix(table_prefix))


class MemoryStateStore(_StateOptions, StepStateStore):
    """State in memory; arguments as [MemoryConversationStore][]."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryStateStore(_StateOptions, AsyncStepStateStore):
    """[MemoryStateStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), _AsyncDirectRunner())


# ----------------------------------------------------------------------------------------------------------- knowledge


class _Collection:
    __slots__ = ("info", "rows")

    def __init__(self, info: CollectionInfo) -> None:
        self.info = info
        self.rows: dict[str, DocumentRow] = {}


class _Collections(dict[str, _Collection]):
    def need(self, name: str) -> _Collection:
        if name not in self:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return self[name]


def _selected(row: DocumentRow, filters: Filter | None) -> bool:
    return filters is None or matches(filters, None if row.metadata is None else loads(row.metadata))


class MemoryKnowledgeSteps(KnowledgeSteps):
    """The reference of the knowledge contract: every document is scored and every filter evaluated, exactly."""

    def __init__(self, data: _Data, prefix: str) -> None:
        self._data = data
        self._collections = data.table(_Collections, prefix)

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        with self._data.lock:
            found = self._collections.get(info.name)
            if found is None:
                self._collections[info.name] = _Collection(info)
            else:
                same_collection(found.info, info)
        return done(None)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        with self._data.lock:
            self._collections.need(name)
            del self._collections[name]
        return done(None)

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        info = self._collections.need(name).info
        return done(CollectionInfo(info.name, info.dimension, info.distance, copy(info.metadata)))

    @reads
    def list_collections(self) -> Steps[list[str]]:
        with self._data.lock:
            return done(sorted(self._collections))

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        with self._data.lock:
            target = self._collections.need(collection)
            for row in rows:
                check_dimension(len(row.embedding), target.info.dimension)
                if row.id in target.rows:
                    raise DocumentExistsError(f"document {row.id!r} exists already; nothing was written")
            target.rows.update({row.id: row for row in rows})
        return done(None)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        with self._data.lock:
            target = self._collections.need(collection)
            for row in rows:
                check_dimension(len(row.embedding), target.info.dimension)
            target.rows.update({row.id: row for row in rows})
        return done(None)

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        with self._data.lock:
            target = self._collections.need(collection)
            check_dimension(len(search.query), target.info.dimension, "query_embedding")
            rows = list(target.rows.values())
        scored = [
            (score(target.info.distance, search.query, row.embedding), row)
            for row in rows
            if _selected(row, search.filters)
        ]
        if search.score_threshold is not None:
            scored = [pair for pair in scored if pair[0] >= search.score_threshold]
        scored.sort(key=lambda pair: (-pair[0], pair[1].id))
        return done(
            [
                decode_document(
                    row.id, row.content, row.embedding if search.with_embeddings else None, *row[3:], score=value
                )
                for value, row in scored[: search.limit]
            ]
        )

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        with self._data.lock:
            rows = self._collections.need(collection).rows
            found = [rows[item] for item in ids if item in rows]
        return done([decode_document(*row) for row in found])

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        with self._data.lock:
            rows = list(self._collections.need(collection).rows.values())
        return done(sum(1 for row in rows if _selected(row, filters)))

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        with self._data.lock:
            rows = self._collections.need(collection).rows
            named = list(rows) if ids is None else [item for item in ids if item in rows]
            gone = [item for item in named if _selected(rows[item], filters)]
            for item in gone:
                del rows[item]
        return done(len(gone))


class _KnowledgeOptions:
    backend: ClassVar[str] = "memory"
    capabilities: frozenset[str] = frozenset({"prefix", "atomic_batch"})

    @staticmethod
    def _make(url: str | None, name: str | None, table_prefix: str) -> MemoryKnowledgeSteps:
        return MemoryKnowledgeSteps(_open(url, name), check_prefix(table_prefix))


class MemoryKnowledgeStore(_KnowledgeOptions, StepKnowledgeStore):
    """Knowledge in memory; arguments as [MemoryConversationStore][]."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), DirectRunner())


class AsyncMemoryKnowledgeStore(_KnowledgeOptions, AsyncStepKnowledgeStore):
    """[MemoryKnowledgeStore][] for async callers."""

    def __init__(self, url: str | None = None, *, name: str | None = None, table_prefix: str = "praison_") -> None:
        super().__init__(self._make(url, name, table_prefix), _AsyncDirectRunner())
