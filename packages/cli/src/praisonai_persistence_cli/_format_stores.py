r"""The files that ``export`` writes of state and of knowledge; see ``_format`` for what they have in common.

    {"type": "header", "format": "praisonai-persistence", "version": 1, "kind": "state", ...}
    {"type": "key", "key": ..., "hash": false, "value": ..., "expires_at": null, "digest": ...}
    {"type": "trailer", "keys": 1, "digest": ...}

    {"type": "header", "format": "praisonai-persistence", "version": 1, "kind": "knowledge", ...}
    {"type": "collection", "name": ..., "dimension": 2, "distance": "cosine", "metadata": null}
    {"type": "document", "id": ..., "embedding": [...], ...}       its documents, every field but score
    {"type": "end", "name": ..., "documents": 1, "digest": ...}
    {"type": "trailer", "collections": 1, "documents": 1, "digest": ...}

``expires_at`` is in Unix seconds: time goes on for a key while it is in a file.
"""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.payload import dumps
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.stores.knowledge import encode_document
from praisonai_persistence_cli._copying import AT_ONCE
from praisonai_persistence_cli._documents import collection_digest, document_digest
from praisonai_persistence_cli._format import BaseReader, BaseWriter, pages_of, spool
from praisonai_persistence_cli._keys import Entry, Held
from praisonai_persistence_cli._reading import Total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["CollectionReader", "CollectionWriter", "KeyReader", "KeyWriter", "SpooledCollection"]


class _Keys:
    kind: ClassVar[str] = "state"
    unit: ClassVar[str] = "key"
    names: ClassVar[tuple[str, str]] = ("keys", "keys")


class KeyWriter(_Keys, BaseWriter):
    """Writes a file of keys."""

    def entries(self, entries: dict[str, Entry]) -> None:
        """Write keys with what they hold."""
        now = time.time()
        for key, (held, ttl) in entries.items():
            digest = held.digest(key)
            fields = {"key": key, "hash": held.is_hash, "value": held.value}
            self._line({"type": "key", **fields, "expires_at": None if ttl is None else now + ttl, "digest": digest})
            self._written(digest, 1)


class KeyReader(_Keys, BaseReader["tuple[str, Entry]"]):
    """Reads a file of keys; the time that one has left may be over, and is then not above 0."""

    def _units(self, line: bytes, fields: dict[str, Any]) -> Iterator[tuple[str, Entry]]:
        try:
            if not {"key", "hash", "value", "digest"} <= fields.keys():
                raise ValueError("it lacks key, hash, value or digest")
            key, expires_at = fields["key"], fields.get("expires_at")
            held = Held(fields["hash"] is True, fields["value"])
            if not isinstance(key, str) or type(expires_at) not in {float, int, type(None)}:
                raise ValueError("key must be a text, and expires_at a number or null")
            if held.is_hash and (not isinstance(held.value, dict) or not held.value):
                raise ValueError("the value of a hash must be an object with a field")
            dumps(held.value)
            digest = held.digest(key)
        except (PersistenceError, TypeError, ValueError) as error:
            raise self.lines.broken(f"no key: {error}") from error
        if digest != fields["digest"]:
            raise self.lines.broken(f"key {key!r} was changed since it was written")
        self._read(digest, 1)
        yield key, Entry(held, None if expires_at is None else expires_at - time.time())


class _Collections:
    kind: ClassVar[str] = "knowledge"
    unit: ClassVar[str] = "collection"
    names: ClassVar[tuple[str, str]] = ("collections", "documents")


class CollectionWriter(_Collections, BaseWriter):
    """Writes a file of collections."""

    def collection(self, info: CollectionInfo, pages: Iterable[Sequence[KnowledgeDocument]]) -> None:
        """Write a collection with all its documents."""
        total = Total([collection_digest(info)])
        fields = {"name": info.name, "dimension": info.dimension, "distance": info.distance, "metadata": info.metadata}
        self._line({"type": "collection", **fields})
        for page in pages:
            for document in page:
                fields = document.to_dict()
                del fields["score"]
                self._line({"type": "document", **fields})
                total.add(document_digest(document))
        count, digest = total.count - 1, total.hexdigest()
        self._line({"type": "end", "name": info.name, "documents": count, "digest": digest})
        self._written(digest, count)


class SpooledCollection(NamedTuple):
    """A collection that was read whole and found in order.

    Attributes:
        info: what it is created with.
        documents: how many it has.
        lines: its documents' lines.
    """

    info: CollectionInfo
    documents: int
    lines: IO[bytes]

    def pages(self) -> Iterator[list[KnowledgeDocument]]:
        """Yield its documents, in pages of some megabytes."""
        return pages_of(self.lines, KnowledgeDocument.from_dict, AT_ONCE)


class CollectionReader(_Collections, BaseReader[SpooledCollection]):
    """Reads a file of collections."""

    def _units(self, line: bytes, fields: dict[str, Any]) -> Iterator[SpooledCollection]:
        try:
            info = CollectionInfo(fields["name"], fields["dimension"], fields["distance"], fields.get("metadata"))
            if type(info.name) is not str or type(info.dimension) is not int or info.dimension < 1:
                raise ValueError("name must be a text, and dimension a number above 0")
            if info.distance not in {"cosine", "dot", "euclidean"}:
                raise ValueError("distance must be cosine, dot or euclidean")
            total = Total([collection_digest(info)])
        except KeyError as error:
            raise self.lines.broken(f"no collection: it lacks {error}") from error
        except (PersistenceError, TypeError, ValueError) as error:
            raise self.lines.broken(f"no collection: {error}") from error

        def check(fields: dict[str, Any]) -> None:
            if not {"id", "content", "embedding", "created_at"} <= fields.keys():
                raise ValueError("it lacks id, content, embedding or created_at")
            document = KnowledgeDocument.from_dict(fields)
            if len(encode_document(document).embedding) != info.dimension:
                raise ValueError(f"its embedding must have {info.dimension} numbers")
            total.add(document_digest(document))

        with spool() as lines:
            count = self._items_of(info.name, "document", check, lines)
            self._check_end("name", info.name, count, total.hexdigest())
            yield SpooledCollection(info, count, lines)
