"""Conversations on an engine of versioned documents."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, TypeVar

from praisonai_persistence.errors import (
    ConflictError,
    SessionExistsError,
    SessionNotFoundError,
)
from praisonai_persistence.payload import decode_messages, decode_session, next_updated_at
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores._document_log import (
    INLINE,
    MAX_RUNS,
    Head,
    Log,
    head_of,
    runs_of,
    text_of_row,
    visible,
)
from praisonai_persistence.stores._document_sessions import Sessions, new_head
from praisonai_persistence.stores.conversation import ConversationSteps
from praisonai_persistence.stores.document_engine import Attempts, MovedError
from praisonai_persistence.stores.whole_session import WholeSession, newest_messages, newest_sessions, search_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from praisonai_persistence.payload import MessageRow, SessionRow
    from praisonai_persistence.records import ConversationMessage, ConversationSession
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores._document_log import Run
    from praisonai_persistence.stores.conversation import Selection
    from praisonai_persistence.stores.document_engine import DocumentEngine

__all__ = ["DocumentConversationSteps", "Head", "head_of"]

T = TypeVar("T")

PAGE = 200
"""Entries that are read at a time."""


class DocumentConversationSteps(Sessions, ConversationSteps):
    """The whole contract of conversations, search and forks included, on the four operations of a [DocumentEngine][].

    **Documents.** A session has a head, one document with its fields and counters. Its log is a row of entries, one
    document for each message or whole batch, keyed by generation and position; and an index, one document for each id.
    Entries are written only where none is, and the head is changed by compare-and-set: that is the moment at which a
    write is visible, and after which it is acknowledged. So a batch is there whole or not at all, ``seq`` has no gaps,
    and an append that died half-way is finished by the next one. Deleting a session deletes its head; an append that
    comes late finds no head of its generation.

    **Requests** of a call on a session that nobody else writes: ``add_message`` 5 (head, id, entry, id, head);
    ``add_messages`` of n messages 3 + 2n, or 5 where the engine's ``read_many`` and ``put_many`` are one request each;
    3 for either with ``max_atomic``; ``get_messages`` of the latest n 2, however long the session is, if n is at most
    ``max_batch``; with ``before_seq`` about log2 more where batches were appended; ``count_messages`` and
    ``get_session`` 1; create 1, update and upsert 2. A text that is longer than a document adds one for each part to
    write it, two for a note of what may have to be swept, and to read it one for each part, or for 4 MB of them where
    ``read_many`` is one request.

    **Bytes** written for a message: its own and about 250 for the entry, about 100 and its id for the index, and the
    head again, about 500 and the session's name, state and metadata where these take at most 8,000 bytes together
    (longer ones are documents of their own, and only written when they change).

    **Lists and search** read the heads of all sessions of the store, and search reads all messages of those of the
    user. An engine that can query overrides ``heads``; one that has a full-text index, ``search_messages``.

    What a deleted session or a write of a long text leaves behind when the process dies is swept after an hour, by a
    later ``delete_session`` or append of a long message.

    Args:
        engine: the engine.
        space: where the keys begin; stores of other prefixes have another one.
    """

    def __init__(self, engine: DocumentEngine, space: str = "conversation") -> None:
        super().__init__(engine, space)

    # -------------------------------------------------------------------------------------------------------- sessions

    @writes
    def create_session(self, row: SessionRow) -> Steps[ConversationSession]:
        generation = self.new_generation(row.session_id)
        note = None
        if self.documents.is_long(text_of_row(row), INLINE):
            note = yield from self.documents.leave_note(row.session_id, generation)
        head = new_head(row, generation, (yield from self._text(row, generation)))
        yield from self._put_new(head, note)
        return decode_session(row)

    @reads
    def get_session(self, session_id: str) -> Steps[ConversationSession | None]:
        return (yield from self._settled(session_id, self._session))

    @writes
    def update_session(self, row: SessionRow, expected_version: int | None, now: float) -> Steps[ConversationSession]:
        attempts = Attempts("the session")
        while True:
            head, version = yield from self._need(row.session_id)
            if expected_version is not None and head.version != expected_version:
                raise ConflictError(
                    f"session {row.session_id!r} has version {head.version}, not {expected_version}: read it again"
                )
            place = row.session_id, self._key(row.session_id)
            text = yield from self._text(row, head.generation, place)
            new = head._replace(
                user_id=row.user_id,
                agent_id=row.agent_id,
                updated_at=next_updated_at(head.updated_at, now),
                version=head.version + 1,
                **text,
            )
            try:
                yield from self._write(new, version)
            except MovedError:
                yield from self.documents.drop_parts(text, head.generation)
                yield from self.documents.settle(text)
                yield from attempts.wait()
            else:
                yield from self.documents.settle(text)
                yield from self.documents.drop_parts(head._asdict(), head.generation)
                return decode_session(new.row(text_of_row(row)))

    @writes
    def upsert_session(self, row: SessionRow, now: float) -> Steps[ConversationSession]:
        while True:
            try:
                return (yield from self.update_session(row, None, now))
            except SessionNotFoundError:
                pass
            try:
                return (yield from self.create_session(row))
            except SessionExistsError:  # created in between
                pass

    @writes
    def delete_session(self, session_id: str) -> Steps[bool]:
        if self.documents.is_sweeping_due():
            yield from self._sweep()
        attempts = Attempts("the session")
        while True:
            head, version = yield from self._read(session_id)
            if head is None:
                return False
            # It stays: an append that is under way may still write an entry, which is swept later.
            note = yield from self.documents.leave_note(session_id, head.generation)
            try:
                yield from self.engine.delete(self._key(session_id), version)
            except MovedError:
                yield from self.engine.delete(note, None)
                yield from attempts.wait()
            else:
                yield from self._forget(head)
                return True

    def _forget(self, head: Head) -> Steps[None]:
        """Remove what else there is of a session, whose head has just been deleted as it is given."""
        yield from self._log(head).remove()

    @reads
    def list_sessions(
        self, user_id: str | None, agent_id: str | None, limit: int, offset: int
    ) -> Steps[list[ConversationSession]]:
        attempts = Attempts("the list of sessions")
        while True:
            heads = yield from self.heads(user_id, agent_id)
            page = newest_sessions(heads, user_id, agent_id, limit, offset)
            try:
                return (yield from self._sessions(page))
            except MovedError:
                yield from attempts.wait()

    def _sessions(self, heads: Sequence[Head]) -> Steps[list[ConversationSession]]:
        sessions = []
        for head in heads:
            session = yield from self._session(head)
            sessions.append(session)
        return sessions

    # --------------------------------------------------------------------------------------------------------- appends

    @writes
    def add_message(self, session_id: str, row: MessageRow, now: float) -> Steps[ConversationMessage]:
        return (yield from self.add_messages(session_id, [row], now))[0]

    @writes
    def add_messages(self, session_id: str, rows: Sequence[MessageRow], now: float) -> Steps[list[ConversationMessage]]:
        if any(self.documents.is_long(row.content or "") for row in rows) and self.documents.is_sweeping_due():
            yield from self._sweep()
        attempts = Attempts("the session")
        while True:
            head, version = yield from self._need(session_id)
            try:
                stored = yield from self._append(head, version, {row.id: row for row in rows}, now)
            except MovedError:
                yield from attempts.wait()
            else:
                return decode_messages(session_id, [stored[row.id] for row in rows])

    # ----------------------------------------------------------------------------------------------------------- reads

    @reads
    def get_messages(self, session_id: str, selection: Selection) -> Steps[list[ConversationMessage]]:
        rows = yield from self._settled(session_id, lambda head: self._select(head, selection))
        return decode_messages(session_id, rows or [])

    def _select(self, head: Head, selection: Selection) -> Steps[list[MessageRow]]:
        log = self._log(head)
        end, rest = head.position, copy.copy(selection)
        if selection.before_seq is not None and selection.before_seq <= head.seq:
            end = yield from self._last_before(log, head, selection.before_seq)
        pages: list[list[MessageRow]] = []
        size = min(selection.limit or PAGE, PAGE)
        while end > head.floor and rest.limit != 0:
            start = max(head.floor, end - size)
            entries = yield from log.between(start, end)
            pages.append(rest.pick(reversed(visible(head, entries))))
            if rest.limit is not None:
                rest.limit -= len(pages[-1])
            if rest.after_seq is not None and entries[0].before <= rest.after_seq:
                break
            end, size = start, min(size * 2, PAGE)
        return [row for page in reversed(pages) for row in page]

    def _last_before(self, log: Log, head: Head, seq: int) -> Steps[int]:
        """Return the last position whose entry begins before a seq; 0 if none does."""
        low, high = 0, min(head.position, seq - 1)  # an entry holds a message at least, so its seq is not below this
        middle = high
        while low < high:
            entries = yield from log.at([middle])
            if not entries:
                if middle > head.floor:
                    raise MovedError("an entry is gone")
                low = middle
            elif entries[0].before < seq - 1:
                low = middle
            else:
                high = middle - 1
            middle = (low + high + 1) // 2
        return max(low, 0)

    @reads
    def count_messages(self, session_id: str) -> Steps[int]:
        head, _ = yield from self._read(session_id)
        return 0 if head is None else head.messages

    @reads
    def search_messages(
        self, words: Sequence[str], user_id: str | None, limit: int
    ) -> Steps[list[ConversationMessage]]:
        found: list[ConversationMessage] = []
        for item in (yield from self.heads(user_id, None)):
            if user_id is None or item.user_id == user_id:
                whole = yield from self._settled(item.session_id, self._whole)
                if whole is not None and (user_id is None or whole.row.user_id == user_id):
                    found = newest_messages([*found, *search_in([whole], words, user_id, limit)], limit)
        return found

    def _whole(self, head: Head) -> Steps[WholeSession]:
        entries = yield from self._log(head).between(head.floor, head.position)
        text = yield from self.documents.text_of(head._asdict(), head.generation)
        return WholeSession(head.row(text), visible(head, entries), head.seq)

    # --------------------------------------------------------------------------------------------------------- deletes

    @writes
    def delete_messages(self, session_id: str, ids: Sequence[str] | None, now: float) -> Steps[int]:
        attempts = Attempts("the session")
        total = 0
        while True:
            head, version = yield from self._read(session_id)
            if head is None:
                return total
            if head.gone != "[]" or head.stripped < head.floor:  # somebody has not finished
                yield from self._strip(head)
                continue
            try:
                new, count, more = yield from self._deleted(head, ids)
                if new is None:
                    return total
                yield from self._write(new._replace(updated_at=next_updated_at(head.updated_at, now)), version)
            except MovedError:
                yield from attempts.wait()
                continue
            total += count
            yield from self._strip(new)
            if not more:
                return total

    def _deleted(self, head: Head, ids: Sequence[str] | None) -> Steps[tuple[Head | None, int, bool]]:
        """Return the head without those messages, or None if there are none; how many; whether some are left.

        The latter when they are in more than ``MAX_RUNS`` places.
        """
        if not head.messages:
            return None, 0, False
        if ids is None:
            return head._replace(floor=head.position, messages=0, deletes=head.deletes + 1), head.messages, False
        log = self._log(head)
        known = yield from log.find(dict.fromkeys(ids))
        positions = {position for position, _ in known.values() if head.floor < position <= head.position}
        wanted = set(known)
        places = []
        for entry in (yield from log.at(sorted(positions))):
            places += [(entry.position, row.seq) for row in visible(head, [entry]) if row.id in wanted]
        all_runs = runs_of(places)
        if not all_runs:
            return None, 0, False
        runs = all_runs[:MAX_RUNS]
        count = sum(last - first + 1 for _, _, first, last in runs)
        gone = json.dumps(runs, separators=(",", ":"))
        new = head._replace(gone=gone, messages=head.messages - count, deletes=head.deletes + 1)
        return new, count, len(all_runs) > MAX_RUNS

    def _strip(self, head: Head) -> Steps[None]:
        """Take deleted messages out of their entries, and note in the head that this is done."""
        log = self._log(head)
        runs = json.loads(head.gone)
        spans = [(run[0] - 1, run[1]) for run in runs]
        spans += [(head.stripped, head.floor)] if head.stripped < head.floor else []
        for start, end in spans:
            for first in range(start, end, PAGE):
                yield from self._strip_some(log, range(first + 1, min(first + PAGE, end) + 1), runs, head)
        attempts = Attempts("the session")
        while True:
            now, version = yield from self._read(head.session_id)
            if now is None or now.generation != head.generation:
                return
            left = [run for run in json.loads(now.gone) if run not in runs]
            done = now._replace(gone=json.dumps(left, separators=(",", ":")), stripped=max(now.stripped, head.floor))
            if done == now:
                return
            try:
                yield from self._write(done, version)
            except MovedError:
                yield from attempts.wait()
            else:
                return

    def _strip_some(self, log: Log, positions: range, runs: list[Run], head: Head) -> Steps[None]:
        attempts = Attempts("the session")
        while True:
            try:
                yield from log.strip((yield from log.at(positions)), runs, head)
            except MovedError:
                yield from attempts.wait()
            else:
                return

    # ----------------------------------------------------------------------------------------------------------- forks

    @writes
    def fork_session(
        self, session_id: str, up_to_seq: int | None, new_session_id: str, now: float
    ) -> Steps[ConversationSession]:
        attempts = Attempts("the session")
        generation = self.new_generation(new_session_id)
        while True:
            source, _ = yield from self._need(session_id)
            if (yield from self._read(new_session_id))[0] is not None:
                raise SessionExistsError(f"session {new_session_id!r} exists already")
            try:
                whole = (yield from self._whole(source)).fork(up_to_seq, new_session_id, now)
            except MovedError:
                yield from attempts.wait()
            else:
                break
        note = yield from self.documents.leave_note(new_session_id, generation)
        yield from self._put_new((yield from self._write_log(whole, generation)), note)
        return decode_session(whole.row)

    def _write_log(self, whole: WholeSession, generation: str) -> Steps[Head]:
        """Write a session as a generation of its own, and return its head, which is not written."""
        head = new_head(whole.row, generation, (yield from self._text(whole.row, generation)))
        log = self._log(head)
        ids: dict[str, int] = {}
        for rows in self._entries_of(whole.messages):
            position = head.position + 1
            yield from log.put(position, head.seq, rows)
            ids.update((row.id, position) for row in rows)
            head = head._replace(position=position, seq=rows[-1].seq, messages=head.messages + len(rows))
        yield from log.index(ids, {})
        return head._replace(seq=whole.last_seq)

    @writes
    def rewrite_session(
        self, row: SessionRow, rows: Sequence[MessageRow], version: int, ids: Sequence[str], now: float
    ) -> Steps[ConversationSession]:
        generation = self.new_generation(row.session_id)
        if not version:
            whole = WholeSession(row)
            whole.append(rows, now)
            note = yield from self.documents.leave_note(row.session_id, generation)
            yield from self._put_new((yield from self._write_log(whole, generation)), note)
            return decode_session(whole.row)
        attempts = Attempts("the session")
        while True:
            head, found = yield from self._need(row.session_id)
            try:
                whole = yield from self._whole(head)
                whole.rewrite(row, rows, version, ids, now)
                yield from self._switch(head, found, (yield from self._written(whole, generation)))
            except MovedError:
                generation = self.new_generation(row.session_id)
                yield from attempts.wait()
            else:
                return decode_session(whole.row)

    def _written(self, whole: WholeSession, generation: str) -> Steps[tuple[Head, str]]:
        note = yield from self.documents.leave_note(whole.row.session_id, generation)
        return (yield from self._write_log(whole, generation)), note

    def _switch(self, old: Head, version: Any, written: tuple[Head, str]) -> Steps[None]:
        """Let a new generation take the place of the one of a head, which was read with this version.

        Raises:
            MovedError: the head was written meanwhile; the new generation is gone.
        """
        new, note = written
        # It stays: an append that is under way may still write an entry, which is swept later.
        old_note = yield from self.documents.leave_note(old.session_id, old.generation)
        try:
            yield from self._write(new, version)
        except MovedError:
            yield from self._log(new).remove()
            yield from self.engine.delete(note, None)
            yield from self.engine.delete(old_note, None)
            raise
        yield from self.engine.delete(note, None)
        yield from self._log(old).remove()

    def _entries_of(self, rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
        """Split messages into entries of about half the size that a document can have."""
        entries: list[list[MessageRow]] = []
        size = 0
        for row in rows:
            length = 200 + 4 * sum(len(value) for value in row if isinstance(value, str))
            if not entries or size + length > self.engine.max_document_bytes or len(entries[-1]) == PAGE:
                entries.append([])
                size = 0
            entries[-1].append(row)
            size += length
        return entries
