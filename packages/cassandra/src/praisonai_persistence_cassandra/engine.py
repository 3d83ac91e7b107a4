"""Versioned documents as rows, written by lightweight transactions."""

from __future__ import annotations

import hashlib
import json
import random
import string
import time
import zlib
from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.steps import Pause
from praisonai_persistence.stores import DocumentEngine, MovedError
from praisonai_persistence.stores.document_engine import Documents, expiry_of, new_token
from praisonai_persistence_cassandra._driver import Ask, Asks, Batches, Each, UndecidedError
from praisonai_persistence_cassandra._versions import chain, fate, new_link

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.document_engine import Document, Stored

__all__ = ["CassandraDocuments", "CassandraEngine", "place_of"]

SPREAD = 16
"""Partitions of the keys of a store, and of what else is not about one session. Another number looks elsewhere."""
PART_SPREAD = 8
"""Partitions of the parts of one owner's long texts."""
_PLAIN = frozenset({"notes", "parts", "listed", "users"})
"""Documents whose keys are never used again, which nobody changes: written without conditions."""
_TOLD = frozenset({"entries", "ids"})
"""Documents that are read after the head of their session, whose reading has finished what was under way."""
_TEXTS = 50  # rows of an answer that have texts
_IDS = 250  # keys of a question, of rows without
_ROWS = 1_000  # rows of an answer without
_REQUEST = 4_000_000  # bytes of text of one transaction; Cassandra takes 16 MB
_END = "\x7f"  # comes after every character of a key
_LONGEST_TTL = 20 * 365 * 24 * 3600  # seconds; Cassandra takes no more

Change = tuple["Document | None", Any]
"""A new document, or None to delete it; and the version that it has to have."""


class CassandraEngine(DocumentEngine):
    """A document is a row: ``part`` and ``key``, its version ``v``, its ``text``, and its other ``fields`` as JSON.

    All documents of a session but its long texts are in one partition, for conditional writes are atomic within one.
    Keys of a store of state are spread over ``SPREAD`` partitions by their hash; in each they are in order.

    Rows are only updated, never inserted: a row that was inserted would stay, without its columns, when these expire.

    Args:
        table: its name, with the keyspace.
        space: where the keys begin.
        timeout: seconds for which a write whose outcome is not known is looked after.
    """

    max_document_bytes: ClassVar[int] = 500_000
    max_key_bytes: ClassVar[int] = 1_000
    key_characters: ClassVar[frozenset[str]] = frozenset(
        set(string.ascii_letters + string.digits + string.punctuation) - {"/", "="}
    )
    max_batch: ClassVar[int] = 1_000

    def __init__(self, table: str, space: str, timeout: float) -> None:
        self._space = f"{space}/"
        self._timeout = timeout
        at = "WHERE part = ? AND key = ?"
        self._update = f"UPDATE {table} USING TTL ? SET v = ?, text = ?, fields = ? {at}"
        self._delete = f"DELETE FROM {table} {at}"
        self._drop = f"DELETE FROM {table} WHERE part = ? AND key >= ? AND key < ?"
        self._versions = f"SELECT key, v FROM {table} WHERE part = ? AND key IN ?"
        self._one = f"SELECT key, v, fields, text FROM {table} {at}"
        self._some = f"SELECT key, v, fields, text FROM {table} WHERE part = ? AND key IN ?"
        between = f"FROM {table} WHERE part = ? AND key >= ? AND key < ? LIMIT ?"
        self._range = {True: f"SELECT key, v, fields, text {between}", False: f"SELECT key, v, fields {between}"}

    # ---------------------------------------------------------------------------------------------------------- places

    def _place(self, key: str) -> tuple[str, str]:
        """Return the partition of a document and its key in there."""
        name = key.removeprefix(self._space)
        folder, _, rest = name.rpartition("/")
        kind, _, owner = folder.partition("/")
        if kind == "sessions":
            return f"{self._space}{place_of(rest)}", name
        if kind in _TOLD:
            return f"{self._space}{owner[:_PLACE]}", name
        if kind == "users":
            return f"{self._space}{folder}", name
        return f"{self._space}{folder}/{_bucket(rest, PART_SPREAD if kind == 'parts' else SPREAD)}", name

    def _partitions(self, prefix: str) -> list[str]:
        """Return the partitions in which documents of a prefix are."""
        folder = prefix.removeprefix(self._space).rpartition("/")[0]
        kind = folder.partition("/")[0]
        if kind in _TOLD or kind == "users":
            return [self._place(f"{self._space}{folder}/0")[0]]
        return [f"{self._space}{folder}/{number}" for number in range(PART_SPREAD if kind == "parts" else SPREAD)]

    def _by_partition(self, keys: Iterable[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for key in keys:
            found.setdefault(self._place(key)[0], []).append(key)
        return found

    def _kind(self, key: str) -> str:
        return key.removeprefix(self._space).partition("/")[0]

    # --------------------------------------------------------------------------------------------------------- reading

    def read(self, key: str) -> Steps[Stored | None]:
        serial = self._kind(key) not in _TOLD | _PLAIN
        page = yield from self._patient(Ask(self._one, self._place(key), serial=serial))
        return self._stored(page.rows[0])[1] if page.rows else None

    def read_many(self, keys: Sequence[str]) -> Steps[Mapping[str, Stored]]:
        asks = []
        for part, some in self._by_partition(dict.fromkeys(keys)).items():
            names = [self._place(key)[1] for key in some]
            size = _IDS if self._kind(some[0]) == "ids" else _TEXTS
            asks += [Ask(self._some, [part, batch]) for batch in _chunks(names, size)]
        rows = yield from self._all(asks)
        return dict(map(self._stored, rows))

    def _patient(self, request: Ask | Asks) -> Steps[Any]:
        """Read; again after a moment, if others write so much that it was not answered in the server's time."""
        end = time.monotonic() + self._timeout
        while True:
            try:
                answer = yield request
            except UndecidedError:
                if time.monotonic() > end:
                    raise
            else:
                return answer
            yield Pause(random.uniform(0, 0.05))

    def _all(self, asks: Sequence[Ask]) -> Steps[list[Any]]:
        rows: list[Any] = []
        for page in (yield from self._patient(Asks(asks))) if asks else ():
            rows += page.rows
        return rows

    def scan(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        return (yield from self._scan(prefix, start_after, limit, text=True))

    def peek(self, prefix: str, start_after: str, limit: int) -> Steps[Sequence[tuple[str, Stored | None]]]:
        return (yield from self._scan(prefix, start_after, limit, text=False))

    def _scan(
        self, prefix: str, start_after: str, limit: int, *, text: bool
    ) -> Steps[Sequence[tuple[str, Stored | None]]]:
        """Merge what the partitions have, each of which is in order."""
        low, high = (one.removeprefix(self._space) for one in (prefix, prefix + _END))
        if start_after >= prefix:  # no key has a character as low as a space
            low = start_after.removeprefix(self._space) + " "
        parts = self._partitions(prefix)
        most = min(limit, _TEXTS if text else _ROWS)
        size = most if len(parts) == 1 else min(most, 16 + 2 * limit // len(parts))
        lows, found = dict.fromkeys(parts, low), []
        behind = list(parts)  # those that may have more, before the last one of what is wanted
        while behind:
            asks = [Ask(self._range[text], [part, lows[part], high, size]) for part in behind]
            for part, page in zip(behind, (yield from self._patient(Asks(asks))), strict=True):
                found += page.rows
                if len(page.rows) < size:
                    del lows[part]
                else:
                    lows[part] = page.rows[-1][0] + " "
            found.sort(key=lambda row: row[0])
            end = found[limit - 1][0] if len(found) >= limit else None
            behind = [part for part, at in lows.items() if end is None or at <= end]
        return [self._stored(row) for row in found[:limit]]

    def _stored(self, row: Sequence[Any]) -> tuple[str, Stored]:
        key, version, fields, *text = row
        try:
            return self._space + key, ({**json.loads(fields), "text": text[0] if text else ""}, version)
        except (TypeError, ValueError) as error:
            raise BackendError("a row of the table is not one of this store's: choose another keyspace") from error

    # --------------------------------------------------------------------------------------------------------- writing

    def put(self, key: str, document: Document, version: Any) -> Steps[Any]:
        token = new_link()
        if self._kind(key) in _PLAIN:
            yield from self.put_plain({key: document})
        else:
            yield from self._commit({key: (document, version)}, token)
        return chain(token, version)

    def put_plain(self, documents: Mapping[str, Document]) -> Steps[None]:
        """Write documents that nobody changes, all at a time."""
        token = new_token()
        yield Each(self._update, [[*_columns(one, token), *self._place(key)] for key, one in documents.items()])

    def delete_plain(self, keys: Iterable[str]) -> Steps[None]:
        """Delete documents that nobody changes, all at a time."""
        yield Each(self._delete, [self._place(key) for key in keys])

    def put_many(self, changes: Mapping[str, tuple[Document, Any]]) -> Steps[Mapping[str, Any]]:
        return (yield from self._commit_each(changes))

    def delete(self, key: str, version: Any) -> Steps[None]:
        if self._kind(key) in _PLAIN:
            yield from self.delete_plain([key])
            return
        try:
            yield from self._commit({key: (None, version)}, new_link())
        except MovedError:
            if version is not None:
                raise

    def delete_many(self, versions: Mapping[str, Any]) -> Steps[set[str]]:
        done = yield from self._commit_each({key: (None, version) for key, version in versions.items()})
        return {key for key, version in versions.items() if version is not None and key not in done}

    def write_all(self, changes: Mapping[str, tuple[Document | None, Any]]) -> Steps[None]:
        try:
            yield from self._commit(changes, new_link())
        except ClashError as error:  # an append looks for its ids, and finds what it has written itself
            raise MovedError("others wrote the session meanwhile") from error

    def drop(self, folder: str) -> Steps[None]:
        """Delete all documents of a folder that nobody writes any more."""
        low = folder.removeprefix(self._space)
        yield Each(self._drop, [[part, low, low + _END] for part in self._partitions(folder)])

    # ---------------------------------------------------------------------------------------------------- transactions

    def _statement(self, key: str, document: Document | None, version: Any, token: str) -> tuple[str, list[Any]]:
        if document is not None:
            columns = _columns(document, chain(token, version))
            return f"{self._update} IF v = ?", [*columns, *self._place(key), version]
        if version is None:
            return f"{self._delete} IF EXISTS", [*self._place(key)]
        return f"{self._delete} IF v = ?", [*self._place(key), version]

    def _statements(self, changes: Mapping[str, Change], token: str) -> list[tuple[str, list[Any]]]:
        return [self._statement(key, *change, token) for key, change in changes.items()]

    def _commit(self, changes: Mapping[str, Change], token: str) -> Steps[None]:
        """Make changes in one partition, all or none.

        Where the outcome of an attempt is not known, a serial read ends what is under way and tells.

        A creation whose outcome is not known, and that somebody else has deleted since, is made again.

        Raises:
            MovedError: one of the documents moved; nothing was written.
            ClashError: the outcome is not known, and others have changed the document since.
            UndecidedError: the outcome is not known, and could not be found out in time, or at all.
        """
        end = time.monotonic() + self._timeout
        unsure: UndecidedError | None = None
        while True:
            if unsure is not None and (yield from self._became(changes, token, unsure)):
                return
            try:
                rows = (yield Batches([self._statements(changes, token)]))[0]
            except UndecidedError as error:
                unsure = error
            except (BackendError, ConnectionFailedError) as error:
                if unsure is None:
                    raise
                raise _still(unsure, error) from error
            else:
                if rows[0][0]:
                    return
                if unsure is None:
                    raise MovedError("a document was written meanwhile")
                # An attempt that seemed lost may have been done while this one waited: look again.
            if time.monotonic() > end:
                raise unsure
            yield Pause(random.uniform(0, 0.05))

    def _became(self, changes: Mapping[str, Change], token: str, unsure: UndecidedError) -> Steps[bool]:
        """Return whether changes were made, as ``_is_done``; raise ``unsure`` when the server does not say."""
        try:
            return (yield from self._is_done(changes, token))
        except ClashError:
            raise
        except (BackendError, ConnectionFailedError) as error:
            raise _still(unsure, error) from error

    def _is_done(self, changes: Mapping[str, Change], token: str) -> Steps[bool]:
        """Return whether changes in one partition were made; False: they can be made.

        Raises:
            MovedError: they were not made, and cannot be.
            ClashError: others have written since, so it can no longer be told.
        """
        part = self._place(next(iter(changes)))[0]
        names = {self._place(key)[1]: key for key in changes}
        page = yield from self._patient(Ask(self._versions, [part, list(names)], serial=True))
        found = {names[name]: version for name, version in page.rows}
        fates = {key: fate(*change, found.get(key), token) for key, change in changes.items()}
        if any(fates[key] == "done" for key, (document, _) in changes.items() if document is not None):
            return True
        ends = set(fates.values())
        if "moved" in ends or ends == {"done", "undone"}:  # the latter of deletions: others have deleted some
            raise MovedError("a document was written meanwhile")
        if "unknown" not in ends:
            return ends == {"done"}
        raise ClashError(
            "Cassandra did not say whether a write was done, and others have written the same since: look before you "
            "repeat it"
        )

    def _commit_each(self, changes: Mapping[str, Change]) -> Steps[dict[str, str]]:
        """Make changes, each or not; return the new versions of those that were made.

        Those of one partition are one transaction. If that fails, each is one.
        """
        done: dict[str, str] = {}
        for groups in self._rounds(changes):
            tokens = [new_link() for _ in groups]
            try:
                statements = [self._statements(*one) for one in zip(groups, tokens, strict=True)]
                made = [rows[0][0] for rows in (yield Batches(statements))]
                again = [not whole and len(group) > 1 for whole, group in zip(made, groups, strict=True)]
            except UndecidedError as error:
                made = []
                for group, token in zip(groups, tokens, strict=True):
                    try:
                        made.append((yield from self._became(group, token, error)))
                    except MovedError:
                        made.append(False)
                again = [not whole for whole in made]
            for group, token, whole, each in zip(groups, tokens, made, again, strict=True):
                if whole:
                    done.update((key, chain(token, version)) for key, (_, version) in group.items())
                for key, change in group.items() if each else ():
                    single = new_link()
                    with suppress(MovedError):
                        yield from self._commit({key: change}, single)
                        done[key] = chain(single, change[1])
        return done

    def _rounds(self, changes: Mapping[str, Change]) -> Iterator[list[dict[str, Change]]]:
        """Divide changes into those of one partition, of limited size; no round has two of the same partition."""
        rounds: list[dict[str, dict[str, Change]]] = []
        for part, keys in self._by_partition(changes).items():
            size, number = 0, 0
            for key in keys:
                document = changes[key][0]
                size += 0 if document is None else len(document["text"].encode())
                if size > _REQUEST:
                    size, number = 0, number + 1
                if number == len(rounds):
                    rounds.append({})
                rounds[number].setdefault(part, {})[key] = changes[key]
        for groups in rounds:
            yield list(groups.values())


class ClashError(UndecidedError):
    """The outcome of a write is not known, and cannot be found out, for others have written the document since."""


def _still(unsure: UndecidedError, later: PersistenceError) -> UndecidedError:
    """Return the error of a write whose outcome is not known, where a later request failed as well."""
    unsure.connected = isinstance(later, BackendError) or getattr(later, "connected", False)
    return unsure


class CassandraDocuments(Documents):
    """Documents of which whole folders are deleted at once."""

    engine: CassandraEngine

    def remove_folder(self, folder: str) -> Steps[None]:
        yield from self.engine.drop(folder)


_PLACE = 16


def place_of(name: str) -> str:
    """Return the place of a session, by the last part of its head's key. Sessions may share one."""
    return hashlib.sha256(name.encode()).hexdigest()[:_PLACE]


def _bucket(name: str, spread: int) -> int:
    return zlib.crc32(name.encode()) % spread


def _columns(document: Document, token: str) -> list[Any]:
    """Return the values that every write has first: the time to live, and the columns."""
    others = {name: value for name, value in document.items() if name != "text"}
    ends, ttl = expiry_of(document), 0
    if ends is not None and ends < time.time() + _LONGEST_TTL:
        ttl = max(1, ceil(ends - time.time()))
    return [ttl, token, document["text"], json.dumps(others)]


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
