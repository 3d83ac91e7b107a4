"""Keys and values as versioned documents: reading and changing one, and batches of several that are all or none."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from praisonai_persistence.errors import WrongTypeError
from praisonai_persistence.stores.document_engine import (
    GRACE,
    Attempts,
    Document,
    Documents,
    MovedError,
    new_token,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import DocumentEngine, Stored

__all__ = ["Change", "Keys", "compact", "end_of", "hash_of", "is_over", "new_document", "plain_of"]

UNDECIDED = 5.0
"""Seconds to wait for a batch that was begun earlier before it is given up: whoever wrote it may have died."""
_SHORT = 8_000
"""Characters of a text that is remembered."""


T = TypeVar("T")
Change = Callable[[Document | None, str], tuple[T, Document | None]]
"""Makes the result of a write, and the new document, of the old one (None: there is none) and its text.

If it returns the very same document nothing is written.
"""


class Keys:
    """The documents of keys.

    Args:
        engine: the engine.
        space: where the keys begin.
    """

    def __init__(self, engine: DocumentEngine, space: str) -> None:
        self.engine = engine
        self.documents = Documents(engine, space)
        self._keys = self.documents.folder("keys")
        self._swept = self._keys
        self._known: dict[str, Stored] = {}

    def _key(self, key: str) -> str:
        return self.documents.encode(key, self._keys)

    def _batch_key(self, token: str) -> str:
        return self.documents.folder("batches") + token

    def _remember(self, name: str, document: Document | None, version: Any) -> None:
        """Keep a document as it was last seen, for the next write of its key; see ``remembers`` of the engine."""
        if not self.engine.remembers or document is None or document["pending"] or document["owner"]:
            return
        if len(document["text"]) <= _SHORT:
            if len(self._known) >= self.engine.remembers:
                self._known.clear()
            self._known[name] = document, version

    # -------------------------------------------------------------------------------------------------- one document

    def _state_of(self, document: Document) -> Steps[tuple[str, Document | None]]:
        """Return what became of the batch in which a document takes part, and what the document is thereby.

        ``open`` or ``off``: what it was before. ``done``: what the batch makes of it, with all of its text.
        """
        before = _before(document)
        batch = yield from self.engine.read(self._batch_key(document["pending"]))
        if batch is None:
            return "open", before
        if not batch[0]["committed"]:
            return "off", before
        text = yield from self.documents.text_of(batch[0], batch[0]["owner"])
        return "done", _after(document["key"], json.loads(text), batch[0]["ends"])

    def _current(self, key: str, document: Document, version: Any) -> Steps[Document | None]:
        """Return what a document that takes part in a batch is for readers.

        Raises:
            MovedError: it was written meanwhile.
        """
        state, found = yield from self._state_of(document)
        if state == "open":  # or it is over, and its document deleted; then this one has been written
            again = yield from self.engine.read(self._key(key))
            if again is None or again[1] != version:
                raise MovedError("the key was written")
        return found

    def _live(self, key: str, now: float, text: bool = True) -> Steps[tuple[Document | None, str]]:
        """Return the document of a key unless it has expired, and its text if that is wanted."""
        attempts = Attempts("the key")
        name = self._key(key)
        while True:
            stored = yield from self.engine.read(name)
            try:
                found = yield from self._seen(key, stored, now, text)
            except MovedError:
                yield from attempts.wait()
                continue
            if stored is not None:
                self._remember(name, *stored)
            return found

    def _seen(self, key: str, stored: Stored | None, now: float, text: bool) -> Steps[tuple[Document | None, str]]:
        document = None
        if stored is not None:
            document = stored[0]
            if document["pending"]:
                document = yield from self._current(key, *stored)
        if document is None or is_over(document, now):
            return None, ""
        return document, (yield from self.documents.text_of(document, document["owner"])) if text else ""

    def _settled(self, key: str, stored: Stored | None, token: str) -> Steps[tuple[Document | None, Any]]:
        """Return the document of a key and its version, in no batch any more.

        A batch that is under way is waited for if it was begun before this operation, but not for ever; it is called
        off if it was begun later. So of two that wait for each other one goes on.

        Args:
            key: which.
            stored: its document as it was just read.
            token: of this operation; tokens rise with time.
        """
        attempts = Attempts("the key")
        patience = time.monotonic() + UNDECIDED
        while stored is not None and stored[0]["pending"]:
            document, version = stored
            try:
                state, new = yield from self._state_of(document)
                if state == "done":
                    return new, (yield from self._write(document, version, new))
                if state == "off":
                    return new, (yield from self._undo(document, version))
                if document["pending"] > token or time.monotonic() > patience:
                    yield from self.engine.put(self._batch_key(document["pending"]), _CALLED_OFF, None)
                else:
                    yield from attempts.wait()
            except MovedError:
                yield from attempts.wait()
            stored = yield from self.engine.read(self._key(key))
        return stored or (None, None)

    def _undo(self, document: Document, version: Any) -> Steps[Any]:
        """Take a document out of a batch that was called off; return its version."""
        key, before = self._key(document["key"]), _before(document)
        if before is None:
            yield from self.engine.delete(key, version)
            return None
        return (yield from self.engine.put(key, before, version))

    def _write(self, old: Document | None, version: Any, new: Document | None) -> Steps[Any]:
        """Write a document in the place of another one, with its parts, or delete that; return the new version.

        Raises:
            MovedError: the old one was written meanwhile; nothing is left behind.
        """
        both = old or new
        if both is None:
            return None
        key = self._key(both["key"])
        owners = []
        if old is not None and old["owner"] and (new is None or new["owner"] != old["owner"]):
            owners.append(old["owner"])
        if new is not None and self.documents.is_long(new["text"]):
            new["owner"] = new_token()
            owners.append(new["owner"])
        notes = {}
        for owner in owners:
            notes[owner] = yield from self.documents.leave_note(key, owner)
        if new is not None and new["owner"] in notes:
            new.update((yield from self.documents.split(new["text"], new["owner"])))
        try:
            if new is None:
                yield from self.engine.delete(key, version)
                written = None
            else:
                written = yield from self.engine.put(key, new, version)
        except MovedError:
            yield from self._tidy(new, notes)
            raise
        yield from self._tidy(old, notes)
        return written

    def _tidy(self, useless: Document | None, notes: dict[str, str]) -> Steps[None]:
        if useless is not None and useless["owner"] in notes:
            yield from self.documents.drop_parts(useless, useless["owner"])
        for note in notes.values():
            yield from self.engine.delete(note, None)

    def _change(self, key: str, now: float, change: Change[T], text: bool = False) -> Steps[T]:
        """Read, change and write a document; from the start when somebody wrote in between.

        A document that this store has seen a while ago is not read again before it is written: the write names its
        version. What does not end with a write is never decided by it.

        Args:
            key: which.
            now: as of the operation.
            change: see ``Change``.
            text: whether it needs the text.
        """
        attempts = Attempts("the key")
        token = _new_batch()
        name = self._key(key)
        known = self._known.pop(name, None)
        if known is not None:
            with suppress(MovedError, WrongTypeError):
                document = None if is_over(known[0], now) else known[0]
                result, new = change(document, known[0]["text"] if document else "")
                if new is not document:
                    version = yield from self._write(*known, new)
                    self._remember(name, new, version)
                    return result
        while True:
            stored = yield from self.engine.read(name)
            try:
                document, version = yield from self._settled(key, stored, token)
                live = None if document is None or is_over(document, now) else document
                old = ""
                if text and live is not None:
                    old = yield from self.documents.text_of(live, live["owner"])
                result, new = change(live, old)
                if new is not live:
                    version = yield from self._write(document, version, new)
                    if known is None:  # else there are other writers, and it would be in vain again
                        self._remember(name, new, version)
                return result
            except MovedError:
                yield from attempts.wait()

    # --------------------------------------------------------------------------------------------------------- batches

    def change_all(self, texts: Mapping[str, str | None], ends: float | None, now: float) -> Steps[int]:
        """Set plain values, or delete (None), all or none; return how many of the keys there were.

        Each document is marked as taking part in a batch, which others respect. Then the batch itself is written, with
        all new values: from now on they count, whether or not the writer lives to write them into the documents.
        Where the engine has transactions one does it all.

        Raises:
            WrongTypeError: a key that is to be set holds a hash; nothing changed.
        """
        yield from self.sweep(now)
        attempts = Attempts("the keys")
        started = _new_batch()
        while True:
            token = f"{started}-{new_token()}"
            try:
                if len(texts) <= self.engine.max_atomic:
                    return (yield from self._change_at_once(token, texts, ends, now))
                return (yield from self._batch(token, texts, ends, now))
            except MovedError:  # an older one has called it off
                yield from attempts.wait()

    def _change_at_once(
        self, token: str, texts: Mapping[str, str | None], ends: float | None, now: float
    ) -> Steps[int]:
        """Do ``change_all`` in one transaction; long texts go the long way."""
        found = yield from self.documents.read_many(self._key(key) for key in texts)
        changes: dict[str, tuple[Document | None, Any]] = {}
        count = 0
        for key, text in texts.items():
            name = self._key(key)
            document, version = yield from self._settled(key, found.get(name), token)
            is_there = document is not None and not is_over(document, now)
            if is_there and text is not None:
                plain_of(document, key)
            if (document and document["owner"]) or (text is not None and self.documents.is_long(text)):
                return (yield from self._batch(token, texts, ends, now))
            count += is_there
            new = _after(key, texts, ends)
            if new is not None or version is not None:
                changes[name] = new, version
        if changes:
            yield from self.engine.write_all(changes)
        return count

    def _batch(self, token: str, texts: Mapping[str, str | None], ends: float | None, now: float) -> Steps[int]:
        marked: dict[str, Stored] = {}
        try:
            count = yield from self._mark(token, texts, now, marked)
        except WrongTypeError:
            yield from self._unmark(marked)
            raise
        if not marked:
            return 0
        name = self._batch_key(token)
        new = {document["key"]: texts[document["key"]] for document, _ in marked.values()}
        text, owner, notes = compact(new), "", {}
        if self.documents.is_long(text):
            owner = new_token()
            notes[owner] = yield from self.documents.leave_note(name, owner)
        fields = yield from self.documents.folded(text, owner)
        batch = {"committed": True, "owner": owner, "ends": ends, **fields}
        try:
            yield from self.engine.put(name, batch, None)
        except MovedError:
            stored = yield from self.engine.read(name)
            if stored is None or not stored[0]["committed"]:
                yield from self._unmark(marked)
                yield from self._tidy(batch, notes)
                yield from self.engine.delete(name, None)
                raise
            # It is ours: a client that repeats a write by itself is told that it moved.
        yield from self._fill(marked, new, ends)
        yield from self.engine.delete(name, None)
        yield from self._tidy(batch, notes)
        return count

    def _mark(self, token: str, texts: Mapping[str, str | None], now: float, marked: dict[str, Stored]) -> Steps[int]:
        """Mark the documents of a batch, and add them to ``marked``; return how many keys there were."""
        attempts = Attempts("the keys")
        waiting, count = {self._key(key): key for key in texts}, 0
        while waiting:
            found = yield from self.documents.read_many(waiting)
            changes: dict[str, tuple[Document, Any]] = {}
            live = {}
            for name, key in waiting.items():
                document, version = yield from self._settled(key, found.get(name), token)
                live[name] = document is not None and not is_over(document, now)
                if live[name] and texts[key] is not None:
                    plain_of(document, key)
                old = document or new_document(key, "none", "", None)
                changes[name] = ({**old, "pending": token, "ends": None, "held": old["ends"]}, version)
            if not marked and not any(live.values()) and not any(texts.values()):
                return 0  # nothing to delete
            written = yield from self.documents.put_many(changes)
            for name, version in written.items():
                marked[name] = changes[name][0], version
                count += live[name]
            waiting = {name: key for name, key in waiting.items() if name not in written}
            if waiting:
                yield from attempts.wait()
        return count

    def _unmark(self, marked: Mapping[str, Stored]) -> Steps[None]:
        # What moved was taken out by whoever called it off.
        before = {name: (_before(document), version) for name, (document, version) in marked.items()}
        yield from self.documents.put_many({name: (old, at) for name, (old, at) in before.items() if old is not None})
        yield from self.documents.delete_many({name: at for name, (old, at) in before.items() if old is None})

    def _fill(self, marked: Mapping[str, Stored], texts: Mapping[str, str | None], ends: float | None) -> Steps[None]:
        """Write the values of a batch into its documents; what moved, others have written already."""
        puts: dict[str, tuple[Document, Any]] = {}
        deletes: dict[str, Any] = {}
        for name, (document, version) in marked.items():
            new = _after(document["key"], texts, ends)
            if document["owner"] or (new is not None and self.documents.is_long(new["text"])):
                with suppress(MovedError):
                    yield from self._write(document, version, new)
            elif new is None:
                deletes[name] = version
            else:
                puts[name] = new, version
        yield from self.documents.put_many(puts)
        yield from self.documents.delete_many(deletes)

    # -------------------------------------------------------------------------------------------------------- sweeping

    def sweep(self, now: float) -> Steps[None]:
        """Once in a while, delete what dead processes left behind, and some documents whose time is up."""
        if not self.documents.is_sweeping_due():
            return
        for key, note in (yield from self.documents.old_notes()):
            stored = yield from self.engine.read(note["about"])
            if stored is None or stored[0]["owner"] != note["owner"]:
                yield from self.documents.remove_folder(self.documents.folder("parts", note["owner"]))
            yield from self.engine.delete(key, None)
        with suppress(MovedError):  # somebody else is sweeping
            yield from self._sweep_batches()
        page = yield from self.documents.page(self._keys, self._swept, self.engine.max_batch, text=False)
        self._swept = page[-1][0] if page else self._keys
        for _, stored in page:
            if stored is not None and is_over(stored[0], now) and not stored[0]["pending"]:
                with suppress(MovedError):
                    yield from self._write(*stored, None)

    def _sweep_batches(self) -> Steps[None]:
        folder = self.documents.folder("batches")
        end = folder + _new_batch(time.time() - GRACE)
        for name, stored in (yield from self.documents.page(folder, folder, self.engine.max_batch)):
            if stored is not None and name < end:
                text = yield from self.documents.text_of(stored[0], stored[0]["owner"])
                for key in json.loads(text or "{}"):
                    yield from self._settled(key, (yield from self.engine.read(self._key(key))), _new_batch())
                yield from self.engine.delete(name, None)
                yield from self.documents.drop_parts(stored[0], stored[0]["owner"])


_CALLED_OFF: Document = {"committed": False, "owner": "", "ends": None, "text": "", "parts": ""}


def _new_batch(at: float | None = None) -> str:
    return f"{int((time.time() if at is None else at) * 1e6):017d}"


def new_document(key: str, kind: str, text: str, ends: float | None) -> Document:
    return {
        "key": key,
        "kind": kind,
        "text": text,
        "parts": "",
        "owner": "",
        "ends": ends,
        "held": None,
        "pending": "",
    }


def _before(document: Document) -> Document | None:
    """Return what a document that takes part in a batch was before; None: there was none."""
    return None if document["kind"] == "none" else {**document, "pending": "", "ends": document["held"], "held": None}


def _after(key: str, texts: Mapping[str, str | None], ends: float | None) -> Document | None:
    """Return what a batch makes of a document."""
    text = texts[key]
    return None if text is None else new_document(key, "value", text, ends)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def end_of(ttl: float | None, now: float) -> float | None:
    return None if ttl is None else now + ttl


def is_over(document: Document, now: float) -> bool:
    return document["ends"] is not None and document["ends"] <= now


def plain_of(document: Document | None, key: str) -> Document | None:
    if document is not None and document["kind"] == "hash":
        raise WrongTypeError(f"key {key!r} holds a hash")
    return document


def hash_of(document: Document | None, key: str) -> Document | None:
    if document is not None and document["kind"] != "hash":
        raise WrongTypeError(f"key {key!r} holds a plain value, not a hash")
    return document
