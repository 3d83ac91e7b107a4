"""What engines of versioned documents have in common: four operations, and what is made of them.

A document is a flat mapping of short names to text, whole numbers of 64 bits, floats, booleans or None. An engine keeps
documents under keys, and writes one only if it still has the version that the caller has seen (compare-and-set).
``DocumentConversationSteps`` and ``DocumentStateSteps`` need nothing else: no transactions, no queries, no secondary
indexes.
"""

from __future__ import annotations

import hashlib
import random
import string
import time
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import BackendError, PersistenceError
from praisonai_persistence.steps import Pause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from praisonai_persistence.steps import Steps

__all__ = ["Attempts", "Document", "DocumentEngine", "Documents", "MovedError", "Stored", "expiry_of", "new_token"]

Document = dict[str, Any]
"""A flat document. The longest text in it stands under ``text``."""
Stored = tuple[Document, Any]
"""A document and its version, which is the engine's business; it is never None."""

PATIENCE = 30.0
"""Seconds that an operation tries again when others write the same documents."""
GRACE = 3600.0
"""Seconds after which nobody can be in the middle of an operation any more: what it left behind may be swept."""
SWEEP_EVERY = 600.0
"""Seconds between two looks of one store at what may be swept."""
_TOGETHER = 4_000_000
"""Bytes of parts that are read at once."""
_MARK = "=="
_HASHED = len(_MARK) + 64


class MovedError(PersistenceError):
    """A document does not have the version that a write named. The bases catch it; it reaches no caller of a store."""


class DocumentEngine(ABC):
    """Versioned documents under keys. Derive from it and write the four abstract methods, as steps.

    A step yields requests to the engine's client and returns what the method says; see ``praisonai_persistence.steps``.
    Reads see every write that was acknowledged before they began (strongly consistent reads).

    Keys are text of at most ``max_key_bytes`` bytes: the characters of ``key_characters``, ``=``, and ``/`` between the
    parts. Every prefix that ``scan`` is asked for holds the whole folder of its keys, which is all up to the last
    ``/``; so an engine with partitions may take the folder as the partition and the rest as the sort key, and one whose
    keys cannot hold ``/`` may replace it.

    A document may be stored as JSON text. An engine that stores its fields one by one can index them; see the bases for
    what the fields mean.
    """

    max_document_bytes: ClassVar[int] = 200_000
    """Largest ``text`` of one document, in bytes of UTF-8; what is longer is split. Leave room for 40,000 bytes of
    other fields, and for what the engine's own encoding adds to the text."""
    max_key_bytes: ClassVar[int] = 240
    """Longest key. Ids whose keys would be longer are shortened, and told apart by their SHA-256. At least 200."""
    key_characters: ClassVar[frozenset[str]] = frozenset(string.ascii_letters + string.digits + "-_")
    """ASCII characters that keys may hold as they are; others of an id are written as ``=`` and two hexadecimal digits
    for each byte. Leave out the capital letters if the engine does not tell ``A`` from ``a``. It must hold the digits,
    the letters a to z, and ``-``."""
    max_batch: ClassVar[int] = 100
    """Most documents that ``read_many``, ``put_many``, ``delete_many`` and ``scan`` are asked for at once."""

    remembers: ClassVar[int] = 0
    """Keys of which a store of state remembers the document that it has last read or written, if its text is short. Its
    next write of such a key is one request: it names the version, and the document is read only if that has moved. For
    engines whose ``put`` can do no more than compare versions."""

    max_atomic: int = 0
    """Most documents that ``write_all`` takes; 0: the engine has no transactions. It may find out when it connects."""

    @abstractmethod
    def read(self, key: str) -> Steps[Stored | None]:
        """Return the document and its version, or None."""

    @abstractmethod
    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        """Write a document if the stored one has this version; None: if there is none. Return the new version.

        A version is never used again for the same key, also not after the document was deleted and made again. A client
        that repeats a write by itself after a lost answer finds that the version moved, by what it wrote itself: switch
        that off, or compare the stored version with the one that was to be written.

        Raises:
            MovedError: the version is another one, or the document is there, or is gone; nothing was written.
        """

    @abstractmethod
    def delete(self, key: str, version: Any) -> Steps[None]:
        """Delete a document if it has this version; None: whichever it has, if it is there.

        Raises:
            MovedError: it has another version, or there is none and a version was given.
        """

    @abstractmethod
    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        """Return the first ``limit`` keys that start with ``prefix`` and come after ``start_after``, in order.

        The order is ascending, by the keys' characters. Fewer are returned only when there are no more. Each key comes
        with its document and version where that is cheap, else with None.
        """

    def peek(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        """Do ``scan`` for one who needs no ``text``: where it would cost more, it may be left empty.

        By default it is ``scan``. For engines that list the fields of documents without what they hold.
        """
        return (yield from self.scan(prefix, start_after, limit))

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        """Return what there is of some documents. By default one request for each key."""
        found = {}
        for key in keys:
            stored = yield from self.read(key)
            if stored is not None:
                found[key] = stored
        return found

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        """Do ``put`` for each key; return the new versions of those that had not moved. It need not be atomic.

        By default one request for each key.
        """
        versions = {}
        for key, (document, version) in changes.items():
            with suppress(MovedError):
                versions[key] = yield from self.put(key, document, version)
        return versions

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        """Do ``delete`` for each key; return the keys that had moved. It need not be atomic.

        By default one request for each key.
        """
        moved = set()
        for key, version in versions.items():
            try:
                yield from self.delete(key, version)
            except MovedError:
                moved.add(key)
        return moved

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        """Do ``put`` for each key, or ``delete`` where the document is None, all or none of them.

        Only for engines with ``max_atomic``: with it an append takes 3 requests, and a batch of keys 2.

        Raises:
            MovedError: one of them moved; nothing was written.
        """
        raise NotImplementedError(f"{type(self).__name__} has max_atomic, but no write_all()")


def expiry_of(document: Document) -> float | None:
    """Return the Unix time from which on an engine may delete a document by itself; None: it may not.

    It may not if the document takes part in a batch or has parts; the store's own sweeping deletes those.
    """
    if document.get("kind") is None or document["pending"] or document["owner"]:
        return None
    ends: float | None = document["ends"]
    return ends


def new_token() -> str:
    """Return a name that nobody else has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def _note_name() -> str:
    return f"{int(time.time() * 1000):015d}-{new_token()}"


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class Attempts:
    """Tries an operation again for ``PATIENCE`` seconds, with random waits that grow."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._end = time.monotonic() + PATIENCE
        self._count = 0

    def wait(self) -> Steps[None]:
        """Wait for the next attempt.

        Raises:
            BackendError: it has been tried for long enough.
        """
        if time.monotonic() > self._end:
            raise BackendError(f"{self._what} kept changing for {PATIENCE:g} seconds: other writers were always first")
        self._count += 1
        yield Pause(random.uniform(0, min(0.1, 0.001 * 2 ** min(self._count, 10))))


class Documents:
    """An engine with what both bases need: keys of ids, batches, long texts in parts, and sweeping.

    A text that is longer than a document can hold stands in documents of its own, the parts, which are written before
    the one that names them (``parts``: how many, and their token) and deleted after it.

    Args:
        engine: the engine.
        space: where the keys of this kind begin.
    """

    def __init__(self, engine: DocumentEngine, space: str) -> None:
        self.engine = engine
        self.space = space
        self._next_sweep = 0.0

    # ------------------------------------------------------------------------------------------------------------ keys

    def folder(self, *names: str) -> str:
        """Return the prefix of a folder."""
        return "/".join((self.space, *names, ""))

    def encode(self, text: str, folder: str) -> str:
        """Return the key of an id in a folder; other ids have other keys."""
        name = self._escape(text)
        room = self.engine.max_key_bytes - len(folder)
        if len(name) > room:
            name = name[: room - _HASHED] + _MARK + hashlib.sha256(text.encode()).hexdigest()
        return folder + name

    def encode_prefix(self, text: str, folder: str) -> str:
        """Return what the keys of all ids that start with ``text`` start with; those of some others may, too."""
        return folder + self._escape(text)[: self.engine.max_key_bytes - len(folder) - _HASHED]

    def _escape(self, text: str) -> str:
        allowed = self.engine.key_characters
        if allowed.issuperset(text):
            return text
        return "".join(
            character if character in allowed else "".join(f"={byte:02x}" for byte in character.encode())
            for character in text
        )

    # --------------------------------------------------------------------------------------------------------- batches

    def read_many(self, keys: Iterable[str]) -> Steps[dict[str, Stored]]:
        found: dict[str, Stored] = {}
        for batch in _batches(keys, self.engine.max_batch):
            if len(batch) == 1:
                stored = yield from self.engine.read(batch[0])
                if stored is not None:
                    found[batch[0]] = stored
            else:
                found.update((yield from self.engine.read_many(batch)))
        return found

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[dict[str, Any]]:
        versions: dict[str, Any] = {}
        for batch in _batches(changes.items(), self.engine.max_batch):
            versions.update((yield from self.engine.put_many(dict(batch))))
        return versions

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        moved: set[str] = set()
        for batch in _batches(versions.items(), self.engine.max_batch):
            moved |= yield from self.engine.delete_many(dict(batch))
        return moved

    def page(
        self, prefix: str, start_after: str, limit: int, *, text: bool = True
    ) -> Steps[list[tuple[str, Stored | None]]]:
        """Do the engine's ``scan`` for at most ``max_batch`` keys, with documents; None: deleted meanwhile.

        Without ``text`` it is ``peek``.
        """
        look = self.engine.scan if text else self.engine.peek
        listed = yield from look(prefix, start_after, min(limit, self.engine.max_batch))
        bare = [key for key, stored in listed if stored is None]
        found = (yield from self.read_many(bare)) if bare else {}
        return [(key, stored or found.get(key)) for key, stored in listed]

    def remove_folder(self, folder: str) -> Steps[None]:
        """Delete all documents of a folder."""
        start_after = folder
        while True:
            listed = yield from self.engine.peek(folder, start_after, self.engine.max_batch)
            if listed:
                yield from self.delete_many(dict.fromkeys((key for key, _ in listed), None))
                start_after = listed[-1][0]
            if len(listed) < self.engine.max_batch:
                return

    # ----------------------------------------------------------------------------------------------------------- parts

    def is_long(self, text: str, limit: int | None = None) -> bool:
        """Whether a text does not fit into one document, or is longer than ``limit`` bytes."""
        limit = min(limit or self.engine.max_document_bytes, self.engine.max_document_bytes)
        return len(text) > limit or (len(text) * 4 > limit and len(text.encode()) > limit)

    def split(self, text: str, owner: str, place: tuple[str, str] | None = None) -> Steps[Document]:
        """Write a text as parts in the folder of its owner; return the fields of the document that names them.

        Args:
            text: the text.
            owner: whose.
            place: about whom a note is left before, and the key of the document that will name the parts: where it
                does not, an hour later, they are swept. ``settle`` deletes the note. None: the owner has a note.
        """
        token = new_token() if place is None else _note_name()
        data, limit, texts, start = text.encode(), self.engine.max_document_bytes, [], 0
        while start < len(data):
            end = start + limit
            while end < len(data) and data[end] & 0xC0 == 0x80:  # not in the middle of a character
                end -= 1
            texts.append(data[start:end].decode())
            start = end
        document = {"text": "", "parts": f"{len(texts)}-{token}"}
        if place is not None:
            note = {"about": place[0], "owner": owner, "place": place[1], **document}
            yield from self.engine.put(self.folder("notes") + token, note, None)
        for key, part in zip(self._part_keys(document, owner), texts, strict=True):
            yield from self.engine.put(key, {"text": part}, None)
        return document

    def folded(
        self, text: str, owner: str, limit: int | None = None, place: tuple[str, str] | None = None
    ) -> Steps[Document]:
        """Return the fields of a document for a text, which is written as parts if it is long; see ``split``."""
        if self.is_long(text, limit):
            return (yield from self.split(text, owner, place))
        return {"text": text, "parts": ""}

    def settle(self, document: Document) -> Steps[None]:
        """Delete the note about the parts of a document, which names them now, or will never do so."""
        token = document["parts"].partition("-")[2]
        if "-" in token:
            yield from self.engine.delete(self.folder("notes") + token, None)

    def _part_keys(self, document: Document, owner: str) -> list[str]:
        count, _, token = document["parts"].partition("-")
        folder = self.folder("parts", owner)
        return [f"{folder}{token}-{number:05d}" for number in range(int(count))]

    def text_of(self, document: Document, owner: str) -> Steps[str]:
        """Return the text of a document.

        Raises:
            MovedError: parts of it are gone, because the document has been replaced or deleted meanwhile.
        """
        if not document["parts"]:
            return str(document["text"])
        at_once = min(max(1, _TOGETHER // self.engine.max_document_bytes), self.engine.max_batch)
        texts: list[str] = []
        for keys in _batches(self._part_keys(document, owner), at_once):
            found = yield from self.read_many(keys)
            if len(found) < len(keys):
                raise MovedError("a part of the document is gone")
            texts += [found[key][0]["text"] for key in keys]
        return "".join(texts)

    def drop_parts(self, document: Document, owner: str) -> Steps[None]:
        """Delete the parts of a document that was replaced or deleted."""
        if document["parts"]:
            for key in self._part_keys(document, owner):
                yield from self.engine.delete(key, None)

    # -------------------------------------------------------------------------------------------------------- sweeping

    def leave_note(self, about: str, owner: str) -> Steps[str]:
        """Note, before it begins, that something may have to be swept: the parts of ``owner``, and ``about`` whom.

        Return the key of the note, which is deleted when nothing was left behind.
        """
        key = self.folder("notes") + _note_name()
        yield from self.engine.put(key, {"about": about, "owner": owner, "text": ""}, None)
        return key

    def is_sweeping_due(self) -> bool:
        """Whether it is time to look for what may be swept; not again for a while, then."""
        due = time.monotonic() >= self._next_sweep
        if due:
            self._next_sweep = time.monotonic() + SWEEP_EVERY
        return due

    def old_notes(self) -> Steps[list[tuple[str, Document]]]:
        """Return a few notes that are older than ``GRACE``."""
        folder = self.folder("notes")
        end = f"{folder}{int((time.time() - GRACE) * 1000):015d}"
        page = yield from self.page(folder, folder, 20, text=False)
        old = [(key, stored[0]) for key, stored in page if stored is not None and key < end]
        if old and len(old) == len(page):
            self._next_sweep = 0.0  # there may be more
        return old
