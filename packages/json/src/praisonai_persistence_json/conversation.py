"""The conversation store on JSON documents."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from praisonai_persistence.errors import (
    SchemaError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.payload import decode_messages, decode_session
from praisonai_persistence.steps import Steps, done, reads, writes
from praisonai_persistence.stores import (
    AsyncStepConversationStore,
    ConversationSteps,
    DirectRunner,
    StepConversationStore,
    ThreadRunner,
)
from praisonai_persistence.stores.conversation import Selection, WholeSession, page_of, search_in
from praisonai_persistence_json._document import CorruptError, newest_first, parse, parse_around, read_head, render
from praisonai_persistence_json._errors import CorruptDocumentError
from praisonai_persistence_json._files import LINK_ERRORS, Change, Directory, file_stem, translated
from praisonai_persistence_json._location import check_switch, open_directory

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from io import BufferedReader

    from praisonai_persistence.integrity import Integrity
    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession

__all__ = ["AsyncJSONConversationStore", "CorruptDocumentError", "JSONConversationStore"]

P = ParamSpec("P")
T = TypeVar("T")

_MOST_PROBLEMS = 20
_LIMIT = 30.0  # seconds

_log = logging.getLogger("praisonai_persistence_json")


def _unknown(session_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"there is no session {session_id!r}")


def _check(row: SessionRow, stem: str) -> SessionRow:
    if file_stem(row.session_id) != stem:
        raise CorruptError("it holds another session than its file name says")
    return row


class JSONConversationSteps(ConversationSteps):
    """Reads a document, changes it in memory, writes it anew; who writes holds the session's lock meanwhile."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def _open(self, stem: str) -> BufferedReader | None:
        try:
            return self._directory.open(stem)
        except OSError as error:
            if error.errno in LINK_ERRORS:  # whoever made it decides what it leads to
                raise CorruptError("it is a symbolic link") from error
            raise

    def _read(self, stem: str) -> WholeSession | None:
        file = self._open(stem)
        if file is None:
            return None
        with file:
            session = parse(file.read())
        _check(session.row, stem)
        return session

    def _load(self, stem: str) -> WholeSession | None:
        """Read a document; a corrupt one is set aside and reported."""
        try:
            return self._read(stem)
        except CorruptError:
            return self._directory.change(stem, lambda change: self._load_locked(stem, change))

    def _load_locked(self, stem: str, change: Change) -> WholeSession | None:
        """Do the same when the lock is held."""
        try:
            return self._read(stem)
        except CorruptError as error:
            kept = self._directory.set_aside(stem, change)
            _log.warning("a session document is corrupt: %s; it is kept as %s", error, kept)
            raise CorruptDocumentError(f"a session document is corrupt: {error}; it is kept as {kept}", kept) from None

    def _load_around(self, stem: str, change: Change, ids: Iterable[str] = ()) -> tuple[WholeSession | None, bytes]:
        """Read a document to which messages of these ids are added; the lock is held.

        Returns:
            The session, if possible without its messages, and the bytes of these. Then the messages need neither be
            read nor written anew, which makes an append to a long session ten times faster.
        """
        with suppress(CorruptError):
            file = self._open(stem)
            if file is None:
                return None, b""
            with file:
                found = parse_around(file.read(), ids)
            if found is not None and file_stem(found[0].row.session_id) == stem:
                return found
        return self._load_locked(stem, change), b""

    def _load_row(self, stem: str) -> SessionRow | None:
        """Read a session, if possible without its messages."""
        with suppress(CorruptError):
            file = self._open(stem)
            if file is None:
                return None
            with file:
                head = read_head(file)
            if head is not None:
                return _check(head.row, stem)
        session = self._load(stem)
        return None if session is None else session.row

    def _load_newest(self, stem: str, selection: Selection) -> list[MessageRow] | None:
        """Read selected messages from the end of the document; None: it has to be read whole."""
        with suppress(CorruptError):
            file = self._open(stem)
            if file is None:
                return []
            with file:
                head = read_head(file)
                if head is not None:
                    _check(head.row, stem)
                    return selection.pick(newest_first(file, head.start))
        return None

    def _each(self, load: Callable[[str], T | None]) -> Iterator[T]:
        """Load every session; only the log tells of those that were corrupt."""
        for stem in self._directory.stems():
            with suppress(CorruptDocumentError):
                found = load(stem)
                if found is None:
                    self._directory.tidy(stem)
                else:
                    yield found

    def _write(self, stem: str, session: WholeSession, change: Change, kept: bytes = b"") -> ConversationSession:
        self._directory.write(stem, render(session, kept), change)
        return decode_session(session.row)

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        stem = file_stem(row.session_id)

        def work(change: Change) -> ConversationSession:
            if self._load_locked(stem, change) is not None:
                raise SessionExistsError(f"session {row.session_id!r} exists already")
            return self._write(stem, WholeSession(row), change)

        return done(self._directory.change(stem, work))

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        row = self._load_row(file_stem(session_id))
        return done(None if row is None else decode_session(row))

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        stem = file_stem(row.session_id)

        def work(change: Change) -> ConversationSession:
            session, kept = self._load_around(stem, change)
            if session is None:
                raise _unknown(row.session_id)
            session.update(row, expected_version, now)
            return self._write(stem, session, change, kept)

        return done(self._directory.change(stem, work))

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        stem = file_stem(row.session_id)

        def work(change: Change) -> ConversationSession:
            session, kept = self._load_around(stem, change)
            if session is None:
                session = WholeSession(row)
            else:
                session.update(row, None, now)
            return self._write(stem, session, change, kept)

        return done(self._directory.change(stem, work))

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        stem = file_stem(session_id)

        def work(change: Change) -> bool:
            if self._load_locked(stem, change) is None:
                return False
            self._directory.delete(stem, change)
            return True

        return done(self._directory.change(stem, work))

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        return done(page_of(self._each(self._load_row), user_id, agent_id, limit, offset))

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        stem = file_stem(session_id)
        ids = [row.id for row in rows]

        def work(change: Change) -> list[MessageRow]:
            session, kept = self._load_around(stem, change, ids)
            if session is None:
                raise _unknown(session_id)
            before = session.last_seq
            stored = session.append(rows, now)
            if session.last_seq != before:
                self._write(stem, session, change, kept)
            else:  # a retry: the first attempt may have died before its last sync, and this one is acknowledged
                self._directory.sync(stem, change)
            return stored

        return done(decode_messages(session_id, self._directory.change(stem, work)))

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        stem = file_stem(session_id)
        rows = None if selection.limit is None else self._load_newest(stem, selection)
        if rows is None:
            session = self._load(stem)
            rows = [] if session is None else session.select(selection)
        return done(decode_messages(session_id, rows))

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        stem = file_stem(session_id)

        def work(change: Change) -> int:
            session = self._load_locked(stem, change)
            count = 0 if session is None else session.delete(ids, now)
            if session is not None and count:
                self._write(stem, session, change)
            return count

        return done(self._directory.change(stem, work))

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        session = self._load(file_stem(session_id))
        return done(0 if session is None else len(session.messages))

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        return done(search_in(self._each(self._load), words, user_id, limit))

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        source = self._load(file_stem(session_id))  # as it stands now; the new session's lock is the only one to take
        if source is None:
            raise _unknown(session_id)
        stem = file_stem(new_session_id)

        def work(change: Change) -> ConversationSession:
            if self._load_locked(stem, change) is not None:
                raise SessionExistsError(f"session {new_session_id!r} exists already")
            return self._write(stem, source.fork(up_to_seq, new_session_id, now), change)

        return done(self._directory.change(stem, work))

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        stem = file_stem(row.session_id)

        def work(change: Change) -> ConversationSession:
            session = self._load_locked(stem, change)
            if version:
                if session is None:
                    raise _unknown(row.session_id)
                session.rewrite(row, rows, version, ids, now)
            else:
                if session is not None:
                    raise SessionExistsError(f"session {row.session_id!r} exists already")
                session = WholeSession(row)
                session.append(rows, now)
            return self._write(stem, session, change)

        return done(self._directory.change(stem, work))


class _Runner(DirectRunner):
    """A direct runner whose callers see our errors instead of the operating system's."""

    def __init__(self, directory: Directory, adopts: bool) -> None:
        super().__init__(self._make, exists=directory.exists, where=f"JSON documents in {directory.path}")
        self._directory = directory
        self._adopts = adopts

    def _make(self) -> None:
        if self._adopts and not self._directory.exists():
            from praisonai_persistence_json._adoption import adopt  # seldom

            adopt(self._directory)
        self._directory.connect()

    def connect(self) -> None:
        with translated(self._directory.path):
            super().connect()

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with translated(self._directory.path):
            return super().run(operation, *args, **kwargs)


def _check_integrity(directory: Directory, seconds: float) -> Integrity:
    """Read every document, for so many seconds at the most; what is damaged stays where it is."""
    from praisonai_persistence.integrity import Integrity

    steps = JSONConversationSteps(directory)
    end = time.monotonic() + seconds
    problems: list[str] = []
    with translated(directory.path):
        for stem in directory.stems() if directory.exists() else []:
            if time.monotonic() > end or len(problems) == _MOST_PROBLEMS:
                return Integrity(tuple(problems), complete=False)
            try:
                steps._read(stem)
            except (CorruptError, SchemaError) as error:
                problems.append(f"{directory.document(stem)}: {error}")
            except (ValueError, RecursionError) as error:
                problems.append(f"{directory.document(stem)}: {type(error).__name__}")
    return Integrity(tuple(problems))


class _Store:
    backend: ClassVar[str] = "json"
    capabilities: frozenset[str] = frozenset({"durable", "shared", "prefix", "search", "fork", "rewrite"})

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        table_prefix: str = "praison_",
        lock_timeout: float = 30.0,
        sync: bool = True,
        private: bool = True,
        adopt_legacy: bool = False,
    ) -> None:
        check_switch(adopt_legacy, "adopt_legacy")
        self._directory = directory = open_directory(url, path, table_prefix, lock_timeout, sync, private)
        runner = self._in_this_mode(_Runner(directory, adopt_legacy))
        super().__init__(JSONConversationSteps(directory), runner)  # type: ignore[call-arg]

    def _in_this_mode(self, runner: _Runner) -> Any:
        """Return the runner of this store."""
        return runner


class JSONConversationStore(_Store, StepConversationStore):
    """Conversations as files, one readable JSON document per session.

    Every write rewrites the document of its session: for sessions of some thousand messages take another backend.

    Args:
        url: ``json:///relative/directory`` or ``json:////absolute/directory``.
        path: the directory, without a URL. It is made by the first call.
        table_prefix: separates stores in one directory.
        lock_timeout: how many seconds to wait for another writer of the same session before ``BackendError``.
        sync: True: what was acknowledged survives a power failure. False: it survives the death of the process; a power
            failure may take the last writes and damage the documents that they were made to.
        private: True: what is written can be read by the owner alone. False: the process's umask decides.
        adopt_legacy: True: where there is no store yet, the first call takes over what PraisonAI's own JSON store wrote
            into the directory. Its files stay as they are.

    Raises:
        ConfigurationError: an option that cannot be used.
    """

    def check_integrity(self, seconds: float = _LIMIT) -> Integrity:
        """Read every document, for so many seconds at the most; nothing changes.

        Raises:
            StoreClosedError: after ``close``.
        """
        self._runner.refuse_if_closed()  # type: ignore[attr-defined]
        return _check_integrity(self._directory, seconds)


class AsyncJSONConversationStore(_Store, AsyncStepConversationStore):
    """[JSONConversationStore][] for async callers: whole operations on threads of its own."""

    def _in_this_mode(self, runner: _Runner) -> Any:
        return ThreadRunner(runner)

    async def check_integrity(self, seconds: float = _LIMIT) -> Integrity:
        """See [JSONConversationStore.check_integrity][]."""
        return await self._runner._offload(partial(_check_integrity, self._directory, seconds))  # type: ignore[attr-defined, no-any-return]
