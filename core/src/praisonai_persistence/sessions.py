"""Session stores: chat histories under plain ids, as PraisonAI's agents and bots keep them.

[SessionStoreProtocol][] is all that a caller may rely on: five methods, no inheritance. There are three stores of this
project: [StoreBackedSessionStore][], over any conversation store; and in ``praisonai-persistence-json``, but importable
from here, ``DefaultSessionStore`` and ``HierarchicalSessionStore``, whose files PraisonAI reads and writes as well.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence import payload
from praisonai_persistence._arguments import named_arguments
from praisonai_persistence._custom import refuses_unknown_sessions
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._store import AsyncStore
from praisonai_persistence.conversation import ConversationStore
from praisonai_persistence.errors import (
    ConfigurationError,
    ConflictError,
    InvalidValueError,
    PersistenceError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.records import ConversationSession
from praisonai_persistence.session_protocols import (
    CheckpointQueryProtocol,
    IncrementalSessionStoreProtocol,
    PortableSessionStoreProtocol,
    RuntimeStateMirroringProtocol,
    SearchableSessionStoreProtocol,
    SessionMirrorProtocol,
    SessionStoreProtocol,
)
from praisonai_persistence.stores._session_files import FILE_STORES, bot_session_key, file_stores
from praisonai_persistence.stores._session_records import (
    RESERVED_KEY,
    difference,
    document_of,
    message_of,
    record_of,
    same,
    session_of,
)
from praisonai_persistence.stores._session_search import archived_in
from praisonai_persistence.stores.sessions import (
    CompactionCheckpoint,
    Document,
    ExtendedSessionData,
    HierarchicalSessions,
    ImportReport,
    Message,
    SessionData,
    SessionHit,
    SessionMessage,
    SessionSnapshot,
    SessionSummary,
    latest,
    new_document,
    unanswered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "RESERVED_KEY",
    "CheckpointQueryProtocol",
    "CompactionCheckpoint",
    "ExtendedSessionData",
    "ImportReport",
    "IncrementalSessionStoreProtocol",
    "PortableSessionStoreProtocol",
    "RuntimeStateMirroringProtocol",
    "SearchableSessionStoreProtocol",
    "SessionData",
    "SessionHit",
    "SessionMessage",
    "SessionMirrorProtocol",
    "SessionSnapshot",
    "SessionStoreProtocol",
    "SessionSummary",
    "StoreBackedSessionStore",
    "bot_session_key",
    "get_default_session_store",
    "get_hierarchical_session_store",
    "set_default_session_store",
]

T = TypeVar("T")


# --------------------------------------------------------------------------------------------- over conversation stores

_PAGE, _MOST_FOUND = 500, 1_000_000
_HIDDEN = "praisonai_session:snapshot"
"""The agent of sessions that keep a snapshot, by which they are found."""
_GRACE, _SWEEP_EVERY = 3600.0, 3600.0
"""Seconds that a snapshot may take to be named by its session, and between two looks for those that are not."""


@named_arguments
class StoreBackedSessionStore(HierarchicalSessions):
    """Sessions with forks and snapshots in any conversation store.

    Messages are messages of the store and are appended as such, one call each; they are never trimmed, so a limit only
    limits what is given. What records have no field for stands in the session's metadata under [RESERVED_KEY][]. A
    snapshot is a session of its own, which this store does not list and removes with the session.

    Args:
        store: a sync store, or an async one, which is run through ``praisonai_persistence.bridge``. It is not closed.
        max_messages: how many messages ``get_chat_history`` gives unless told otherwise; None: all.
        mirror: gets a copy of every message after it is stored; see ``SessionMirrorProtocol``. It is not closed.
    """

    def __init__(self, store: Any, *, max_messages: int | None = 100, mirror: Any = None) -> None:
        self.capabilities = frozenset({"checks", "hierarchy", "tool_calls"})
        if isinstance(store, AsyncStore) and store.kind == "conversation":
            from praisonai_persistence import bridge

            store = bridge.as_sync(store)
        if not isinstance(store, ConversationStore):
            raise ConfigurationError(f"a conversation store is needed, not {type(store).__name__}")
        if max_messages is not None:
            payload.check_count(max_messages, "max_messages")
        self._store = store
        self._owned = False
        self._looks_first = not refuses_unknown_sessions(store)
        self._limit = max_messages
        self.max_messages = payload.MAX_INTEGER if max_messages is None else max_messages
        self.capabilities |= store.capabilities & {"durable", "shared"}
        if "rewrite" in store.capabilities:
            self.capabilities |= {"atomic"}
        self._next_sweep = 0.0
        self._mirror_to(mirror)

    @classmethod
    def open(cls, url: str, *, max_messages: int | None = 100, **options: Any) -> StoreBackedSessionStore:
        """Return sessions in the conversation store of a URL, which is closed with them.

        ``options`` are those of the store; see ``open_conversation_store``.
        """
        from praisonai_persistence.registry import open_conversation_store

        sessions = cls(open_conversation_store(url, mode="sync", **options), max_messages=max_messages)
        sessions._owned = True
        return sessions

    def close(self) -> None:
        """Close the conversation store, too, if [open][StoreBackedSessionStore.open] opened it."""
        super().close()
        if self._owned:
            self._store.close()

    @property
    def _default_limit(self) -> int | None:
        return self._limit

    # What the base asks for.

    def _load(self, session_id: str) -> Document | None:
        session = self._store.get_session(session_id)
        while session is not None:
            messages = self._store.get_messages(session_id)
            again = self._store.get_session(session_id)
            if again is not None and again.version == session.version:
                return document_of(session, messages)
            session = again  # both were replaced meanwhile, and belong together
        return None

    def _head(self, session_id: str) -> Document | None:
        session = self._store.get_session(session_id)
        return None if session is None else document_of(session, None)

    def _count(self, document: Document) -> int:
        return self._store.count_messages(document["session_id"])

    def _recent(self, session_id: str, limit: int | None) -> list[Message]:
        if limit == 0:
            return []
        # One more than asked for: whether something is left out decides what may begin the history.
        found = self._store.get_messages(session_id, limit=None if limit is None else limit + 1)
        messages = [message_of(message) for message in found]
        if limit is None or len(messages) <= limit:
            return messages
        if unanswered(messages):  # the call may be further back, so this cannot be decided from here
            messages = [message_of(message) for message in self._store.get_messages(session_id)]
        return latest(messages, limit)

    def _append(self, session_id: str, message: Message) -> None:
        record = record_of(message)
        while True:
            try:
                if self._looks_first and self._store.get_session(session_id) is None:
                    raise SessionNotFoundError
                self._store.add_message(session_id, record)
            except SessionNotFoundError:
                try:
                    self._store.rewrite_session(ConversationSession(session_id), [record], expected_version=0)
                except SessionExistsError:  # somebody else was first
                    continue
            return

    def _create(self, document: Document) -> None:
        records = [record_of(message) for message in document["messages"]]
        with self._hiding(document["session_id"]) as hidden:
            self._keep_imported(document, hidden)
            self._store.rewrite_session(session_of(document), records, expected_version=0)

    def _edit(
        self, session_id: str, change: Callable[[Document], T], *, create: bool = True, history: bool = False
    ) -> T:
        while True:
            session = self._store.get_session(session_id)
            if session is None:
                if not create:
                    raise SessionNotFoundError(f"there is no session {session_id!r}")
                document = new_document(session_id, hierarchy=True)
                result = change(document)
                try:
                    self._create(document)
                except SessionExistsError:
                    continue
                return result
            stored = self._store.get_messages(session_id) if history else None
            before = session_of(document_of(session, None), session)
            document = document_of(session, stored)
            result = change(document)
            after = session_of(document, session)
            gone, new = difference(stored or (), document["messages"] if history else ())
            try:
                if gone or new:
                    self._store.rewrite_session(after, new, expected_version=session.version, remove=gone)
                elif not same(before, after):
                    self._store.update_session(after, expected_version=session.version)
            except (ConflictError, SessionNotFoundError):
                continue
            return result

    def _erase(self, session_id: str) -> None:
        snapshots = (self._head(session_id) or {}).get("snapshots", ())
        if snapshots:
            self._sweep()
        self._store.delete_session(session_id)
        self._drop(session_id, [snapshot["kept_in"] for snapshot in snapshots])

    def _replace(self, document: Document) -> None:
        session_id = document["session_id"]
        before = [snapshot["kept_in"] for snapshot in (self._head(session_id) or {}).get("snapshots", ())]
        with self._hiding(session_id) as hidden:
            self._keep_imported(document, hidden)
            super()._replace(document)
        self._drop(session_id, before)

    @contextmanager
    def _hiding(self, session_id: str) -> Iterator[list[str]]:
        """Give a list for the ids of new sessions that keep snapshots; they go if their session cannot name them."""
        hidden: list[str] = []
        try:
            yield hidden
        except BaseException:
            with suppress(PersistenceError):
                self._drop(session_id, hidden)
            raise

    def _drop(self, session_id: str, hidden: Sequence[str]) -> None:
        """Remove sessions of snapshots that their session does not name."""
        if hidden:
            named = [snapshot["kept_in"] for snapshot in (self._head(session_id) or {}).get("snapshots", ())]
            for kept_in in hidden:
                # An old fork that was not finished may name the snapshots of its parent.
                if kept_in not in named and (self._head(kept_in) or {}).get("snapshot_of") == session_id:
                    self._store.delete_session(kept_in)

    def _sweep(self) -> None:
        """Remove what a killed process left of snapshots; every now and then."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_EVERY
        orphans: dict[str, list[str]] = {}
        for session in self._pages(agent_id=_HIDDEN):
            if session.created_at < time.time() - _GRACE:  # nobody is about to name it
                of = document_of(session, None).get("snapshot_of")
                orphans.setdefault(str(of), []).append(session.session_id)
        for session_id, hidden in orphans.items():
            self._drop(session_id, hidden)

    def _heads(self) -> Iterator[Document]:
        documents = (document_of(session, None) for session in self._pages())
        return (document for document in documents if "snapshot_of" not in document)

    def _searched(self, query: str) -> Iterator[Document]:
        if "search" not in self._store.capabilities:
            yield from super()._searched(query)
            return
        sessions_with = getattr(self._store, "_sessions_with", None)
        if sessions_with is None:  # a store of somebody else
            found = [message.session_id for message in self._store.search_messages(query, limit=_MOST_FOUND)]
        else:
            found = list(sessions_with(query))
        # Archived messages, which came with an import, are no messages of the store.
        found += [head["session_id"] for head in self._heads() if archived_in(head)]
        for session_id in dict.fromkeys(found):
            document = self._load(session_id)
            if document is not None and "snapshot_of" not in document:
                yield document

    def _pages(self, **filters: str) -> Iterator[ConversationSession]:
        offset = 0
        seen: set[str] = set()
        while True:
            page = self._store.list_sessions(limit=_PAGE, offset=offset, **filters)
            for session in page:
                # What is written to meanwhile moves to the front, and pushes others onto the next page again.
                if session.session_id not in seen:
                    seen.add(session.session_id)
                    yield session
            if len(page) < _PAGE:
                return
            offset += _PAGE

    # Snapshots.

    def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """Copy the session as it is now, and return the id that ``revert_to_snapshot`` takes.

        Raises:
            SessionNotFoundError: there is no such session.
        """
        session_id = self._id(session_id)
        self._sweep()
        kept_in = str(uuid.uuid4())
        snapshot = {**self._new_snapshot(session_id, label, metadata), "kept_in": kept_in}
        now = self._need(session_id)
        snapshot["message_index"] = len(now["messages"]) - 1

        def change(document: Document) -> None:
            document["snapshots"] = [*document["snapshots"], snapshot]

        with self._hiding(session_id) as hidden:
            hidden.append(kept_in)
            self._hide(kept_in, session_id, now)
            self._edit(session_id, change, create=False)
        return str(snapshot["id"])

    def _hide(self, kept_in: str, session_id: str, transcript: dict[str, Any]) -> None:
        """Make the session that keeps a snapshot. It is nothing to anybody until its session names it."""
        names = ("messages", "archived_messages", "last_compaction")
        kept = {name: transcript[name] for name in names if transcript.get(name) is not None}
        fresh = new_document(kept_in, hierarchy=True)
        self._create({**fresh, **kept, "agent_id": _HIDDEN, "snapshot_of": session_id})

    def _kept(self, document: Document, snapshot: dict[str, Any]) -> dict[str, Any] | None:
        return self._load(snapshot["kept_in"])

    def _keep_imported(self, document: Document, hidden: list[str]) -> None:
        """Give every snapshot that came with its transcript a session; note their ids before."""
        kept = []
        for snapshot in document["snapshots"]:
            transcript = snapshot.get("transcript")
            if not isinstance(transcript, dict):
                continue  # its messages were lost before the export
            own = {key: value for key, value in snapshot.items() if key != "transcript"}
            hidden.append(str(uuid.uuid4()))
            kept.append({**own, "kept_in": hidden[-1]})
            self._hide(hidden[-1], document["session_id"], transcript)
        document["snapshots"] = kept

    def import_session(self, data: Document, new_session_id: str | None = None) -> str:
        """See [HierarchicalSessions.import_session][]."""
        if isinstance(data, dict):  # what is not, is refused there
            data = {key: value for key, value in data.items() if key != "snapshot_of"}
            if data.get("snapshots"):
                self._sweep()
        return super().import_session(data, new_session_id)

    def export_session(self, session_id: str) -> Document:  # type: ignore[override]  # as in the base
        """See [HierarchicalSessions.export_session][]."""
        document = super().export_session(session_id)
        for snapshot in document["snapshots"]:
            del snapshot["kept_in"]
        return document


# ------------------------------------------------------------------------------------------------------ one per process


class _Default:
    """The session store of this process."""

    def __init__(self) -> None:
        self._renew()
        self.chosen: SessionStoreProtocol | None = None
        self._made: dict[str, tuple[str, Any]] = {}
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a finalizer may ask while this thread makes the store

    def get(self) -> SessionStoreProtocol:
        if self.chosen is not None:
            return self.chosen
        made: SessionStoreProtocol = self._of_files("DefaultSessionStore")
        return made

    def hierarchical(self) -> Any:
        if isinstance(self.chosen, HierarchicalSessions):
            return self.chosen
        return self._of_files("HierarchicalSessionStore")

    def _of_files(self, kind: str) -> Any:
        files = file_stores()
        folder = files.default_session_dir()
        with self._lock:
            made = self._made.get(kind)
            if made is None or made[0] != folder:
                options = files.from_environment() if kind == "DefaultSessionStore" else {}  # as in PraisonAI
                made = self._made[kind] = folder, getattr(files, kind)(folder, **options)
            return made[1]


_default = _Default()


def get_default_session_store() -> SessionStoreProtocol:
    """Return the session store of this process: the same object for every caller, in every thread.

    Unless ``set_default_session_store`` chose another one, it is a ``DefaultSessionStore`` on PraisonAI's own folder,
    ``~/.praisonai/sessions``, or the one below ``PRAISONAI_HOME``. ``PRAISONAI_SESSION_RETENTION`` and
    ``PRAISONAI_SESSION_ACTIVE_WINDOW`` are its ``retention`` and ``active_window``; a value that cannot be one is left
    out, with a warning in the log. A forked child may go on using it.

    Raises:
        BackendNotInstalledError: ``praisonai-persistence-json`` is missing.
    """
    return _default.get()


def get_hierarchical_session_store() -> Any:
    """Return the session store of this process if it has forks and snapshots, else one on PraisonAI's own folder.

    Raises:
        BackendNotInstalledError: ``praisonai-persistence-json`` is missing.
    """
    return _default.hierarchical()


def set_default_session_store(store: SessionStoreProtocol | None) -> None:
    """Choose what ``get_default_session_store`` returns from now on; None: PraisonAI's folder again.

    Raises:
        InvalidValueError: it has not the five methods.
    """
    if store is not None and not isinstance(store, SessionStoreProtocol):
        raise InvalidValueError(f"a {type(store).__name__} has not the five methods of a session store")
    _default.chosen = store


# ------------------------------------------------------------------------------------------------ what json hands out


def __getattr__(name: str) -> Any:
    if name in FILE_STORES:
        return getattr(file_stores(FILE_STORES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
