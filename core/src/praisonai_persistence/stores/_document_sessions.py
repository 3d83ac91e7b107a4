"""Sessions as versioned documents: heads, and appending to their logs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from praisonai_persistence.errors import DuplicateMessageError, SessionExistsError, SessionNotFoundError
from praisonai_persistence.payload import decode_session, match_stored, next_updated_at
from praisonai_persistence.stores._document_log import INLINE, Head, Log, head_of, text_of_row, visible
from praisonai_persistence.stores.document_engine import Attempts, Documents, MovedError, new_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores._document_log import Entry
    from praisonai_persistence.stores.document_engine import Document, DocumentEngine

__all__ = ["Sessions", "new_head"]

T = TypeVar("T")


class Sessions:
    """The documents of sessions.

    Args:
        engine: the engine.
        space: where the keys begin.
    """

    def __init__(self, engine: DocumentEngine, space: str) -> None:
        self.engine = engine
        self.documents = Documents(engine, space)
        self._heads = self.documents.folder("sessions")

    def _key(self, session_id: str) -> str:
        return self.documents.encode(session_id, self._heads)

    def new_generation(self, session_id: str) -> str:
        """Return the name of a new log of a session, which no other log has had.

        By default random. Override it where the name decides where documents are kept, as in an engine that writes
        documents all or none only if they are in one place: it may hold the place of the session's head.
        """
        return new_token()

    def _read(self, session_id: str) -> Steps[tuple[Head | None, Any]]:
        stored = yield from self.engine.read(self._key(session_id))
        return (None, None) if stored is None else (head_of(stored[0]), stored[1])

    def _need(self, session_id: str) -> Steps[tuple[Head, Any]]:
        head, version = yield from self._read(session_id)
        if head is None:
            raise SessionNotFoundError(f"there is no session {session_id!r}")
        return head, version

    def _write(self, head: Head, version: Any) -> Steps[None]:
        yield from self.engine.put(self._key(head.session_id), head._asdict(), version)

    def _log(self, head: Head) -> Log:
        return Log(self.documents, head.session_id, head.generation)

    def _text(self, row: SessionRow, generation: str, place: tuple[str, str] | None = None) -> Steps[Document]:
        return self.documents.folded(text_of_row(row), generation, INLINE, place)

    def _session(self, head: Head) -> Steps[ConversationSession]:
        text = yield from self.documents.text_of(head._asdict(), head.generation)
        return decode_session(head.row(text))

    def _settled(self, session_id: str, read: Callable[[Head], Steps[T]]) -> Steps[T | None]:
        """Return what ``read`` makes of a head, None without one; from the start when documents changed meanwhile."""
        attempts = Attempts("the session")
        while True:
            head, _ = yield from self._read(session_id)
            if head is None:
                return None
            try:
                return (yield from read(head))
            except MovedError:
                yield from attempts.wait()

    def heads(self, user_id: str | None, agent_id: str | None) -> Steps[list[Head]]:
        """Return the heads of all sessions, or at least of those of a user and an agent (``head_of(document)``).

        Reads the heads of all sessions of the store. Override it where the engine can query.
        """
        found: list[Head] = []
        start_after, limit = self._heads, self.engine.max_batch
        while True:
            page = yield from self.documents.page(self._heads, start_after, limit)
            found += [head_of(stored[0]) for _, stored in page if stored is not None]
            if len(page) < limit:
                return found
            start_after = page[-1][0]

    def _put_new(self, head: Head, note: str | None) -> Steps[None]:
        try:
            yield from self._write(head, None)
        except MovedError:
            if note is not None:
                yield from self._log(head).remove()
                yield from self.engine.delete(note, None)
            raise SessionExistsError(f"session {head.session_id!r} exists already") from None
        if note is not None:
            yield from self.engine.delete(note, None)

    def _sweep(self) -> Steps[None]:
        for key, note in (yield from self.documents.old_notes()):
            head, _ = yield from self._read(note["about"])
            if head is None or head.generation != note["owner"]:
                yield from Log(self.documents, note["about"], note["owner"]).remove()
            elif note.get("parts"):
                named = yield from self.engine.read(note["place"])
                if named is None or named[0]["parts"] != note["parts"]:
                    yield from self.documents.drop_parts(note, note["owner"])
            yield from self.engine.delete(key, None)

    # --------------------------------------------------------------------------------------------------------- appends

    def _append(
        self, head: Head, version: Any, rows: dict[str, MessageRow], now: float
    ) -> Steps[dict[str, MessageRow]]:
        """Append what is not there yet; return all of ``rows`` as they are stored.

        Raises:
            MovedError: the session was deleted meanwhile; it may have been created again.
        """
        log = self._log(head)
        known = yield from log.find(rows)  # after the head was read: entries up to it are indexed
        stored = yield from self._stored(log, head, known, rows)
        if len(stored) == len(rows):
            return stored
        new = [row for item, row in rows.items() if item not in stored]
        if len(new) + 2 <= self.engine.max_atomic:
            with suppress(MovedError):  # somebody else appends, too
                stored.update((yield from self._append_at_once(log, head, version, new, known, now)))
                return stored
        tail, refusal = yield from self._place(log, head, rows, stored)
        yield from self._show(log, head, version, tail, known, now)
        if refusal is not None:
            raise refusal
        return stored

    def _append_at_once(
        self,
        log: Log,
        head: Head,
        version: Any,
        rows: list[MessageRow],
        known: dict[str, tuple[int, Any]],
        now: float,
    ) -> Steps[dict[str, MessageRow]]:
        """Write the entry behind the head, its index and the head in one transaction; return the rows.

        Raises:
            MovedError: the head moved, or there is an entry behind it; nothing was written.
        """
        position = head.position + 1
        stored, entry = yield from log.entry_of(position, head.seq, rows)
        new_head = head._replace(
            position=position,
            seq=stored[-1].seq,
            messages=head.messages + len(stored),
            updated_at=next_updated_at(head.updated_at, now),
        )
        changes: dict[str, tuple[Document | None, Any]] = {
            log.key(position): (entry, None),
            self._key(head.session_id): (new_head._asdict(), version),
        }
        for row in stored:
            for key, document in log.index_documents([row.id], position).items():
                changes[key] = document, known.get(row.id, (0, None))[1]
        try:
            yield from self.engine.write_all(changes)
        except MovedError:
            yield from log.drop(entry)
            raise
        yield from self.documents.settle(entry)
        return {row.id: row for row in stored}

    def _stored(
        self, log: Log, head: Head, known: dict[str, tuple[int, Any]], rows: dict[str, MessageRow]
    ) -> Steps[dict[str, MessageRow]]:
        """Return those of ``rows`` that the session has."""
        positions = {position for position, _ in known.values() if head.floor < position <= head.position}
        if not positions:
            return {}
        present = visible(head, (yield from log.at(sorted(positions))))
        stored = {row.id: row for row in present if row.id in rows}
        for item, row in stored.items():
            match_stored(row, rows[item])
        return stored

    def _place(
        self, log: Log, head: Head, rows: dict[str, MessageRow], stored: dict[str, MessageRow]
    ) -> Steps[tuple[list[Tail], DuplicateMessageError | None]]:
        """Write an entry behind all others; add its rows, and those found in others on the way, to ``stored``.

        Return the entries behind the head, and the refusal if one of them has an id with other content: those entries
        count, although nobody may have acknowledged them yet.
        """
        tail: list[Tail] = []
        position, seq = head.position + 1, head.seq
        while True:
            try:
                placed = yield from log.put(position, seq, [row for item, row in rows.items() if item not in stored])
            except MovedError:
                pass
            else:
                stored.update((row.id, row) for row in placed)
                tail.append((position, seq + len(placed), len(placed), [row.id for row in placed]))
                return tail, None
            others = yield from log.page(position - 1, self.engine.max_batch)
            if not others or others[0].position != position:
                raise MovedError("the log is gone")
            for entry in others:
                if entry.position != position:
                    raise MovedError("the log is gone")
                tail.append(_tail_of(entry))
                position, seq = position + 1, entry.seq
                refusal = _take(entry, rows, stored)
                if refusal is not None:
                    return tail, refusal
            if len(stored) == len(rows):
                return tail, None

    def _show(
        self, log: Log, head: Head, version: Any, tail: list[Tail], known: dict[str, tuple[int, Any]], now: float
    ) -> Steps[None]:
        """Index the entries behind the head, then raise the head to the last of them."""
        attempts = Attempts("the session")
        indexed, last = head.position, tail[-1][0]
        if len(tail) > 1:  # those who wrote the others have perhaps done it
            head, version = yield from self._same(head)
        while head.position < last:
            positions = {
                item: place[0] for place in tail if place[0] > max(indexed, head.position) for item in place[3]
            }
            yield from log.index(positions, known)
            indexed = last
            new = [place for place in tail if place[0] > head.position]
            raised_head = head._replace(
                position=last,
                seq=new[-1][1],
                messages=head.messages + sum(place[2] for place in new),
                updated_at=next_updated_at(head.updated_at, now),
            )
            try:
                yield from self._write(raised_head, version)
            except MovedError:
                yield from attempts.wait()
                head, version = yield from self._same(head)
            else:
                return

    def _same(self, head: Head) -> Steps[tuple[Head, Any]]:
        """Read a head again.

        Raises:
            MovedError: the session was deleted; an entry that was written meanwhile is not acknowledged.
        """
        again, version = yield from self._read(head.session_id)
        if again is None or again.generation != head.generation:
            raise MovedError("the session was deleted")
        return again, version


Tail = tuple[int, int, int, list[str]]
"""An entry behind the head: its position, its last seq, how many messages it has, and their ids."""


def _tail_of(entry: Entry) -> Tail:
    return entry.position, entry.seq, entry.size, [row.id for row in entry.rows]


def _take(entry: Entry, rows: dict[str, MessageRow], stored: dict[str, MessageRow]) -> DuplicateMessageError | None:
    """Add those of ``rows`` that an entry holds to ``stored``; return the refusal if one of them has other content."""
    for row in entry.rows:
        if row.id in rows and row.id not in stored:
            try:
                match_stored(row, rows[row.id])
            except DuplicateMessageError as error:
                return error
            stored[row.id] = row
    return None


def new_head(row: SessionRow, generation: str, text: Document) -> Head:
    return Head(
        row.session_id,
        row.user_id,
        row.agent_id,
        row.created_at,
        row.updated_at,
        row.version,
        generation=generation,
        **text,
    )
