"""The log of a session as documents: its head, its entries, and which of its messages are deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.payload import MessageRow, SessionRow
from praisonai_persistence.stores.document_engine import MovedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Documents, Stored

__all__ = ["Head", "Log", "Run", "head_of", "runs_of"]

INLINE = 8_000
"""Longest text of a head, in bytes: what is longer would be written again with each message, so it goes to parts."""
MAX_RUNS = 1_000
"""Most runs of deleted messages that one change of a head deletes."""

Run = list[int]
"""Deleted messages that follow each other: first and last position of their entries, first and last seq."""


class Head(NamedTuple):
    """The document of a session. Changing it, by compare-and-set, is what makes any write visible.

    ``text`` holds name, state and metadata, as JSON. ``user_id``, ``agent_id`` and ``updated_at`` are there for engines
    that can query. The rest is about the log:

    Attributes:
        generation: the name of the log; a session that is deleted and created again has another one.
        position: of the last entry that belongs to the session. There may be entries after it, of appends under way.
        seq: of the last message in it.
        messages: how many there are, without those deleted.
        floor: all messages up to this position are deleted.
        stripped: up to this position they are out of their entries, too.
        deletes: how often messages were deleted.
        gone: runs of messages that are deleted, but perhaps not out of their entries yet; JSON.
    """

    session_id: str
    user_id: str | None
    agent_id: str | None
    created_at: float
    updated_at: float
    version: int
    text: str
    parts: str
    generation: str
    position: int = 0
    seq: int = 0
    messages: int = 0
    floor: int = 0
    stripped: int = 0
    deletes: int = 0
    gone: str = "[]"

    def row(self, text: str) -> SessionRow:
        """Return the session; ``text`` is that of the head, also if it stands in parts."""
        name, state, metadata = json.loads(text)
        return SessionRow(
            self.session_id,
            self.user_id,
            self.agent_id,
            name,
            state,
            metadata,
            self.created_at,
            self.updated_at,
            self.version,
        )


def head_of(document: Document) -> Head:
    """Return the head that a document holds."""
    return Head(**{name: document[name] for name in Head._fields})


def text_of_row(row: SessionRow) -> str:
    """Return the text of a head."""
    return _dumps([row.name, row.state, row.metadata])


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def runs_of(places: Iterable[tuple[int, int]]) -> list[Run]:
    """Return runs of (position, seq)."""
    runs: list[Run] = []
    for position, seq in sorted(places):
        if runs and runs[-1][3] == seq - 1:
            runs[-1][1], runs[-1][3] = position, seq
        else:
            runs.append([position, position, seq, seq])
    return runs


class Entry(NamedTuple):
    """One entry of a log, read: a message or a whole batch.

    Attributes:
        position: of the entry; 1, 2, 3 ... without gaps.
        before: the seq before its first message.
        seq: that of its last message.
        size: how many messages it was written with.
        rows: its messages; deleted ones may be among them.
        document: as it is stored.
        version: of the document.
    """

    position: int
    before: int
    seq: int
    size: int
    rows: list[MessageRow]
    document: Document
    version: Any


class Log:
    """The entries of one generation, and the index of its ids.

    Args:
        documents: where.
        session_id: whose; written into the entries for those who look at the database.
        generation: which.
    """

    def __init__(self, documents: Documents, session_id: str, generation: str) -> None:
        self._documents = documents
        self._session_id = session_id
        self.generation = generation
        self._entries = documents.folder("entries", generation)
        self._ids = documents.folder("ids", generation)

    # --------------------------------------------------------------------------------------------------------- entries

    def key(self, position: int) -> str:
        """Return the key of an entry."""
        return f"{self._entries}{position:015d}"

    def put(self, position: int, before: int, rows: Sequence[MessageRow]) -> Steps[list[MessageRow]]:
        """Write an entry if the position is free; return its rows, with their seq (kept, where there is one).

        Raises:
            MovedError: it is taken; nothing is left behind.
        """
        stored, document = yield from self.entry_of(position, before, rows)
        try:
            yield from self._documents.engine.put(self.key(position), document, None)
        except MovedError:
            yield from self.drop(document)
            raise
        yield from self._documents.settle(document)
        return stored

    def entry_of(
        self, position: int, before: int, rows: Sequence[MessageRow]
    ) -> Steps[tuple[list[MessageRow], Document]]:
        """Return rows with their seq, and the document of an entry of them.

        If it has parts, they are written; once it is written, too, ``settle`` it, else ``drop`` it.
        """
        stored = [row if row.seq else row._replace(seq=before + count) for count, row in enumerate(rows, 1)]
        document: Document = {
            "session_id": self._session_id,
            "before": before,
            "seq": stored[-1].seq,
            "size": len(stored),
            "deletes": 0,
            **(yield from self._fields(stored, position)),
        }
        return stored, document

    def _fields(self, rows: Sequence[MessageRow], position: int) -> Steps[Document]:
        place = self._session_id, self.key(position)
        return self._documents.folded(_dumps(rows), self.generation, place=place)

    def drop(self, document: Document) -> Steps[None]:
        """Delete the parts of an entry that was not written."""
        yield from self._documents.drop_parts(document, self.generation)
        yield from self._documents.settle(document)

    def index_documents(self, ids: Iterable[str], position: int) -> dict[str, Document]:
        """Return the documents of an index, by key."""
        return {self._documents.encode(item, self._ids): {"id": item, "position": position, "text": ""} for item in ids}

    def between(self, start: int, end: int) -> Steps[list[Entry]]:
        """Return the entries after position ``start`` up to ``end``, in order.

        Raises:
            MovedError: not all of them are there.
        """
        found: list[Entry] = []
        while start < end:
            page = yield from self.page(start, end - start)
            if not page or page[0].position != start + 1 or page[-1].position != start + len(page):
                raise MovedError("an entry is gone")
            found += page
            start += len(page)
        return found

    def page(self, start: int, limit: int) -> Steps[list[Entry]]:
        """Return the first entries after a position, of a batch of the engine's at the most."""
        return (yield from self._read_all((yield from self._documents.page(self._entries, self.key(start), limit))))

    def _read_all(self, listed: Iterable[tuple[str, Stored | None]]) -> Steps[list[Entry]]:
        entries = []
        for key, stored in listed:
            if stored is not None:
                entries.append((yield from self._entry(key, stored)))
        return entries

    def at(self, positions: Iterable[int]) -> Steps[list[Entry]]:
        """Return some entries; those that are gone are left out."""
        keys = [self.key(position) for position in positions]
        found = yield from self._documents.read_many(keys)
        return (yield from self._read_all((key, found.get(key)) for key in keys))

    def _entry(self, key: str, stored: Stored) -> Steps[Entry]:
        document, version = stored
        text = yield from self._documents.text_of(document, self.generation)
        rows = [MessageRow(*row) for row in json.loads(text)]
        position = int(key.removeprefix(self._entries))
        return Entry(position, document["before"], document["seq"], document["size"], rows, document, version)

    def strip(self, entries: Sequence[Entry], runs: Sequence[Run], head: Head) -> Steps[None]:
        """Write entries without their deleted messages.

        Raises:
            MovedError: others wrote some of them meanwhile; read them again.
        """
        changes: dict[str, tuple[Document, Any]] = {}
        old: dict[str, Document] = {}
        for entry in entries:
            kept = [row for row in entry.rows if entry.position > head.floor and not _within(row.seq, runs)]
            if len(kept) < len(entry.rows):
                key = self.key(entry.position)
                fields = yield from self._fields(kept, entry.position)
                changes[key] = ({**entry.document, "deletes": head.deletes, **fields}, entry.version)
                old[key] = entry.document
        written = yield from self._documents.put_many(changes)
        for key, (document, _) in changes.items():
            yield from self._documents.drop_parts(old[key] if key in written else document, self.generation)
            yield from self._documents.settle(document)
        if len(written) < len(changes):
            raise MovedError("an entry was written meanwhile")

    # ----------------------------------------------------------------------------------------------------------- index

    def find(self, ids: Iterable[str]) -> Steps[dict[str, tuple[int, Any]]]:
        """Return for ids that are in the index the position of their entry, and the version of the index document."""
        keys = {self._documents.encode(item, self._ids): item for item in ids}
        found = yield from self._documents.read_many(keys)
        return {keys[key]: (document["position"], version) for key, (document, version) in found.items()}

    def index(self, positions: dict[str, int], known: dict[str, tuple[int, Any]]) -> Steps[None]:
        """Note the positions of ids. A position only rises, so it does not matter how many do this, and in which order.

        Args:
            positions: of each id.
            known: what ``find`` returned.
        """
        while positions:
            keys = {self._documents.encode(item, self._ids): item for item in positions}
            changes = {
                key: ({"id": item, "position": positions[item], "text": ""}, known.get(item, (0, None))[1])
                for key, item in keys.items()
                if known.get(item, (0, None))[0] < positions[item]
            }
            written = yield from self._documents.put_many(changes)
            positions = {keys[key]: positions[keys[key]] for key in changes if key not in written}
            known = (yield from self.find(positions)) if positions else {}

    def remove(self) -> Steps[None]:
        """Delete all documents of the log."""
        yield from self._documents.remove_folder(self._entries)
        yield from self._documents.remove_folder(self._ids)
        yield from self._documents.remove_folder(self._documents.folder("parts", self.generation))


def _within(seq: int, runs: Sequence[Run]) -> bool:
    return any(run[2] <= seq <= run[3] for run in runs)


def visible(head: Head, entries: Iterable[Entry]) -> list[MessageRow]:
    """Return the messages of entries that are not deleted, in order.

    Raises:
        MovedError: an entry has lost messages that this head still has; it is an old one.
    """
    runs: list[Run] = json.loads(head.gone)
    found: list[MessageRow] = []
    for entry in entries:
        if entry.document["deletes"] > head.deletes:
            raise MovedError("messages were deleted meanwhile")
        if entry.position > head.floor:
            found += [row for row in entry.rows if not _within(row.seq, runs)] if runs else entry.rows
    return found
