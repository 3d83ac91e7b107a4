"""PraisonAI's session stores with SQLite: session files with an index, and sessions in one database.

Both may use a place together with PraisonAI, as those of [sessions][praisonai_persistence_json.sessions] do.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._paths import local_path
from praisonai_persistence.errors import BackendError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.stores._session_search import searchable, words_of
from praisonai_persistence.stores.conversation import query_words
from praisonai_persistence.stores.sessions import Document, new_document
from praisonai_persistence_json._errors import CorruptDocumentError
from praisonai_persistence_json._sqlite import in_database
from praisonai_persistence_json.sessions import DefaultSessionStore, parse, serialise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["SqliteSessionStore", "SqliteTranscriptStore"]

T = TypeVar("T")

_log = logging.getLogger("praisonai_persistence_json")
_MEMORY = ":memory:"


class _WithDatabase(DefaultSessionStore):
    """A session store with a database: ``db_path``, or one of this name in its folder."""

    _database: str

    def __init__(
        self,
        session_dir: str | os.PathLike[str] | None = None,
        db_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(session_dir, **options)
        if db_path is None:
            self.db_path = os.path.join(self.session_dir, self._database)
        else:
            self.db_path = _MEMORY if db_path == _MEMORY else local_path(os.fspath(db_path), "db_path")


# --------------------------------------------------------------------------------------------------------- transcripts


_TABLE = "SELECT 1 FROM sqlite_master WHERE name = 'sessions'"
_ALL = "SELECT session_id, data FROM sessions"
_BY = {name: f"{_ALL} WHERE {name} = ?" for name in ("session_id", "agent_name", "gateway_session_id", "agent_id")}


class _Rows:
    """PraisonAI's table of sessions: each is one row, with its document and what it is found by."""

    def __init__(self, store: SqliteTranscriptStore) -> None:
        self._store = store

    def _opened(self) -> AbstractContextManager[sqlite3.Connection]:
        return in_database(self._store.db_path, self._store.lock_timeout, sync=self._store._sync)

    def select(self, field: str = "", value: str = "") -> list[tuple[str, str]]:
        """Return the ids and documents of all rows, or of those with a value; none where there is no table."""
        takes_over = self._store._has_files()
        if not takes_over and not os.path.lexists(self._store.db_path):
            return []
        with self._opened() as connection:
            if takes_over:
                self._make(connection)
            elif not connection.execute(_TABLE).fetchone():
                return []
            query, values = (_BY[field], (value,)) if field else (_ALL, ())
            found: list[tuple[str, str]] = connection.execute(query, values).fetchall()
            return found

    def change(self, session_id: str, work: Callable[[str | None], Document | None]) -> None:
        """Write what ``work`` makes of a document, in one step; None: the row is removed, if there is one."""
        with self._opened() as connection:
            self._make(connection)
            connection.execute("BEGIN IMMEDIATE")
            row = connection.execute(_BY["session_id"], (session_id,)).fetchone()
            self._put(connection, session_id, work(None if row is None else row[1]))
            connection.execute("COMMIT")

    @staticmethod
    def _put(connection: sqlite3.Connection, session_id: str, document: Document | None) -> None:
        if document is None:
            connection.execute("DELETE FROM sessions WHERE session_id = ?", (session_id,))
            return
        found_by = [column(document.get(name)) for name in ("agent_name", "gateway_session_id", "agent_id")]
        row = (session_id, serialise(document).decode(), *found_by, document["updated_at"])
        connection.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)", row)

    def _make(self, connection: sqlite3.Connection) -> None:
        """Make the table where there is none, and take over the session files beside it, as PraisonAI does."""
        if connection.execute(_TABLE).fetchone():
            return
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute(_TABLE).fetchone():
            connection.execute(
                "CREATE TABLE sessions (session_id TEXT PRIMARY KEY, data TEXT NOT NULL, agent_name TEXT,"
                " gateway_session_id TEXT, agent_id TEXT, updated_at TEXT)"
            )
            for name in ("gateway_session_id", "agent_id", "agent_name", "updated_at"):
                short = {"gateway_session_id": "gateway", "agent_id": "agent", "updated_at": "updated"}.get(name, name)
                connection.execute(f"CREATE INDEX idx_sessions_{short} ON sessions({name})")
            for document in self._store._files():
                self._put(connection, document["session_id"], document)
        connection.execute("COMMIT")


class _Memory:
    """The same in a dictionary."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def select(self, field: str = "", value: str = "") -> list[tuple[str, str]]:
        return [item for item in list(self._texts.items()) if field != "session_id" or item[0] == value]

    def change(self, session_id: str, work: Callable[[str | None], Document | None]) -> None:
        while True:
            before = self._texts.get(session_id)
            document = work(before)
            after = None if document is None else serialise(document).decode()
            with self._lock:  # nothing of others is called while it is held
                if self._texts.get(session_id) is not before:
                    continue
                if after is None:
                    self._texts.pop(session_id, None)
                else:
                    self._texts[session_id] = after
                return


def column(value: Any) -> str | None:
    """Return a text as a column can hold it, for looking it up; the document has it as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None


class SqliteTranscriptStore(_WithDatabase):
    """Sessions in one SQLite database, in PraisonAI's own table, which PraisonAI reads and writes as well.

    A message rewrites the document of its session, in one transaction. The database is made with the first write, or
    where there are session files, with the first call: then it takes them over, and they stay as they are.

    Args:
        session_dir: a folder, as for ``DefaultSessionStore``; nothing is written there but the database.
        db_path: the database; ``sessions.db`` in the folder by default. ``:memory:``: the sessions end with the store.
        options: of ``DefaultSessionStore``.
    """

    _database = "sessions.db"

    def __init__(
        self,
        session_dir: str | os.PathLike[str] | None = None,
        db_path: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(session_dir, db_path, **options)
        self._rows: _Rows | _Memory = _Memory() if self.db_path == _MEMORY else _Rows(self)
        if self.db_path == _MEMORY:
            self.capabilities -= {"durable", "shared"}

    def _has_files(self) -> bool:
        """Whether there are session files beside a database that is not there yet."""
        if os.path.lexists(self.db_path) or not os.path.isdir(self.session_dir):
            return False
        return any(name.endswith(".json") for name in os.listdir(self.session_dir))

    def _files(self) -> Iterator[Document]:
        return super()._heads()

    def _parsed(self, session_id: str, text: str) -> Document:
        document = parse(text.encode("utf-8", "surrogatepass"), self.db_path)
        return {**document, "session_id": session_id}

    def _load(self, session_id: str) -> Document | None:
        for found, text in self._rows.select("session_id", session_id):
            return self._parsed(found, text)
        return None

    def _edit(
        self, session_id: str, change: Callable[[Document], T], *, create: bool = True, history: bool = False
    ) -> T:
        results: list[T] = []

        def work(text: str | None) -> Document:
            if text is None and not create:
                raise SessionNotFoundError(f"there is no session {session_id!r}")
            document = new_document(session_id) if text is None else self._parsed(session_id, text)
            before = list(document["messages"])
            results.append(change(document))
            return self._changed(document, before)

        self._rows.change(session_id, work)
        return results[-1]

    def _create(self, document: Document) -> None:
        def work(text: str | None) -> Document:
            if text is not None:
                raise SessionExistsError(f"there is a session {document['session_id']!r} already")
            return self._changed(document, document["messages"])

        self._rows.change(document["session_id"], work)

    def _erase(self, session_id: str) -> None:
        if self._load(session_id) is not None:
            self._rows.change(session_id, lambda _: None)

    def _heads(self) -> Iterator[Document]:
        return self._where()

    def _whole(self) -> Iterator[Document]:
        return self._where(strict=True)

    def _where(self, field: str = "", value: str = "", *, strict: bool = False) -> Iterator[Document]:
        for session_id, text in self._rows.select(field, value):
            try:
                yield self._parsed(session_id, text)
            except CorruptDocumentError as error:
                if strict:
                    raise
                _log.warning("%s", error)

    def _heads_where(self, field: str, value: Any) -> Iterator[Document]:
        found = column(value)
        return iter(()) if found is None else self._where(field, found)


# --------------------------------------------------------------------------------------------------------------- index

_COUNTED = "message_count"
_FORM = "archived"
"""Tells what the index holds of a file from what an earlier version put there, which is then done anew."""
_SETTLED = 2.0
"""Seconds after which the time of a file tells every later change."""


class SqliteSessionStore(_WithDatabase):
    """Session files with an index, so that searching and listing read what has changed, and what was found.

    The index is brought up to date by the call that uses it, whoever wrote the files; writing a message costs what it
    costs without. If it cannot be used, the files are read instead.

    Args:
        session_dir: the folder, as for ``DefaultSessionStore``.
        db_path: the database of the index; ``sessions_index.db`` in the folder by default. It may be PraisonAI's, whose
            tables are left alone. ``:memory:``: there is no index.
        options: of ``DefaultSessionStore``.
    """

    _database = "sessions_index.db"

    def _count(self, document: Document) -> int:
        count = document.get(_COUNTED)
        return count if isinstance(count, int) else super()._count(document)

    def _heads(self) -> Iterator[Document]:
        heads = self._indexed("SELECT head FROM praison_files", ())
        if heads is None:
            yield from super()._heads()
            return
        for (text,) in heads:
            yield parse(text.encode(), self.db_path)

    def _searched(self, query: str) -> Iterator[Document]:
        words = [_number(word) for word in query_words(query)]
        held = " INTERSECT ".join(["SELECT name FROM praison_words WHERE word = ?"] * len(words))
        names = self._indexed(held, words)
        if names is None:
            yield from super()._searched(query)
            return
        for (name,) in names:
            with suppress(CorruptDocumentError):
                document = self._read(name)
                if document is not None:
                    yield document

    def _indexed(self, query: str, values: Any) -> list[tuple[str]] | None:
        """Return the rows of a query, from an index of the files as they are; None if that cannot be."""
        if self.db_path == _MEMORY or not os.path.isdir(self.session_dir):
            return None
        try:
            with in_database(self.db_path, self.lock_timeout, sync=False) as connection:
                connection.execute("BEGIN IMMEDIATE")
                self._refresh(connection)
                connection.execute("COMMIT")
                rows: list[tuple[str]] = connection.execute(query, values).fetchall()
                return rows
        except BackendError as error:
            _log.warning("the index of sessions is not used: %s", error)
            return None

    def _refresh(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS praison_files (name TEXT PRIMARY KEY, stamp TEXT, head TEXT) WITHOUT ROWID"
        )
        connection.execute(
            "CREATE TABLE IF NOT EXISTS praison_words (word INTEGER, name TEXT, PRIMARY KEY (word, name)) WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS praison_words_name ON praison_words (name)")
        known = dict(connection.execute("SELECT name, stamp FROM praison_files").fetchall())
        there = self._stamps()
        for name in known.keys() - there.keys():
            self._forget(connection, name)
        for name, stamp in there.items():
            if not stamp or known.get(name) != stamp:
                self._forget(connection, name)
                self._note(connection, name, stamp)

    def _stamps(self) -> dict[str, str]:
        """Return the files by their names, each with what is another one when the file is; empty if not known yet."""
        stamps = {}
        now = time.time()
        with os.scandir(self.session_dir) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    with suppress(FileNotFoundError):
                        told = entry.stat(follow_symlinks=False)
                        settled = told.st_mtime < now - _SETTLED
                        stamp = f"{_FORM} {told.st_mtime_ns} {told.st_size} {told.st_ino}" if settled else ""
                        stamps[entry.name.removesuffix(".json")] = stamp
        return stamps

    def _forget(self, connection: sqlite3.Connection, name: str) -> None:
        connection.execute("DELETE FROM praison_words WHERE name = ?", (name,))
        connection.execute("DELETE FROM praison_files WHERE name = ?", (name,))

    def _note(self, connection: sqlite3.Connection, name: str, stamp: str) -> None:
        try:
            document = self._read(name)
        except CorruptDocumentError as error:
            _log.warning("%s", error)
            return
        if document is None:
            return
        words = set().union(*map(words_of, searchable(document)))
        rows = [(word, name) for word in set(map(_number, words))]
        connection.executemany("INSERT INTO praison_words VALUES (?, ?)", rows)
        large = ("messages", "archived_messages", "runtime_state")
        head = {key: value for key, value in document.items() if key not in large}
        head[_COUNTED] = len(document["messages"])
        connection.execute("INSERT INTO praison_files VALUES (?, ?, ?)", (name, stamp, serialise(head).decode()))


def _number(word: str) -> int:
    """Return a number for a word; two words of one number are found for each other, and told apart by their text."""
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)
