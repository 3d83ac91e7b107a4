"""A framework's vector store and the store of this project beside it: what is done with both; see ``wrapped``."""

from __future__ import annotations

import contextlib
import json
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import CollectionNotFoundError, DocumentExistsError, InvalidIdentifierError
from praisonai_persistence.filters import And, Compare, Filter, Not, matches
from praisonai_persistence.frameworks import all_documents, now
from praisonai_persistence.knowledge import KnowledgeStore
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.steps import run
from praisonai_persistence.stores.knowledge import decode_document, encode_document
from praisonai_persistence.stores.ranking import TOLERANCE, Candidate, nearest
from praisonai_persistence.vectors import check_dimension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow, Search

__all__ = ["IDS", "Joined", "Wrapped", "plain_metadata", "plain_text"]

IDS = "wrapped_ids"
"""The sidecar's collection of the wrapped store's ids, each with a collection and an id there."""
_SPARE = 10
_GROWTH = 4


class Wrapped(ABC):
    """A framework's vector store, as it is used here. What its methods raise is translated."""

    distance: str | None = None
    """By what it ranks vectors; None: it is not asked."""

    @abstractmethod
    def add(self, documents: Sequence[KnowledgeDocument]) -> None:
        """Add documents, whose ids are new and have 32 characters."""

    @abstractmethod
    def remove(self, ids: Sequence[str]) -> None:
        """Remove entries, as far as the store can."""

    def nearest(self, query: Sequence[float], limit: int) -> Sequence[str]:
        """Return the ids of the entries nearest to a vector, best first; fewer only when there are no more."""
        raise NotImplementedError

    def similar(self, text: str, limit: int) -> Sequence[tuple[str | None, float]]:
        """Return ids and scores of the entries nearest to a text, best first; None for an entry of others."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Close what was opened here; the last store has been closed."""


def plain_metadata(metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Return those entries of metadata that all vector stores take: texts, numbers and flags."""
    found = (metadata or {}).items()
    return {key: value for key, value in found if isinstance(value, (str, bool, float)) or _small(value)}


def _small(value: Any) -> bool:
    return isinstance(value, int) and abs(value) < 2**53


def plain_text(text: str) -> str:
    """Return a text without what is no UTF-8."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")


class _IncompleteError(Exception):
    """The wrapped store does not have all documents."""


@dataclass(frozen=True)
class Joined:
    """The wrapped store and its sidecar: operations, one at a time."""

    wrapped: Wrapped
    sidecar: KnowledgeStore

    def create(self, info: CollectionInfo) -> None:
        """See ``KnowledgeStore.create_collection``."""
        if info.name == IDS:
            raise InvalidIdentifierError(f"{IDS} is a name that the store uses itself")
        self.sidecar.create_collection(info.name, info.dimension, info.distance, info.metadata)

    def need(self, name: str) -> CollectionInfo:
        """Return what a collection was created with."""
        if name == IDS:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return self.sidecar.get_collection(name)

    def drop(self, name: str) -> None:
        """Remove a collection."""
        self.need(name)
        entries = [_entry(document) for document in now(all_documents(self.sidecar, name, None))]
        self.sidecar.delete_collection(name)
        self.forget(entries)

    def write(self, name: str, rows: Sequence[DocumentRow], *, new: bool) -> None:
        """Add or replace documents."""
        info = self.need(name)
        for row in rows:
            check_dimension(len(row.embedding), info.dimension)
        if not rows:
            return
        before = self.sidecar.get(name, [row.id for row in rows])
        if new and before:
            raise DocumentExistsError(f"document {before[0].id!r} exists already; nothing was written")
        documents = [decode_document(*row) for row in rows]
        entries = [uuid.uuid4().hex for _ in rows]
        marks = [
            KnowledgeDocument(entry, json.dumps([name, document.id]), [1.0])
            for entry, document in zip(entries, documents, strict=True)
        ]
        try:
            self.sidecar.insert(IDS, marks)
        except CollectionNotFoundError:
            self.sidecar.create_collection(IDS, 1, "dot")
            self.sidecar.insert(IDS, marks)
        written = False
        try:
            pairs = list(zip(entries, documents, strict=True))
            # A vector of zeros has no direction: engines that rank by cosine refuse it, or rank others wrongly then.
            zeros = self.wrapped.distance == "cosine"
            handed = [pair for pair in pairs if not zeros or any(pair[1].embedding or ())]
            if handed:
                self.wrapped.add([replace(document, id=entry) for entry, document in handed])
            kept = [replace(document, content_hash=_marked(entry, document)) for entry, document in pairs]
            if new:
                self.sidecar.insert(name, kept)
            else:
                self.sidecar.upsert(name, kept)
            written = True
        finally:
            self.forget([_entry(document) for document in before] if written else entries)

    def forget(self, entries: Sequence[str]) -> None:
        """Remove entries of the wrapped store that no document has any more."""
        if entries:
            self.wrapped.remove(entries)
            with contextlib.suppress(CollectionNotFoundError):
                self.sidecar.delete(IDS, entries)

    def current(self, entries: Sequence[str], collection: str | None) -> list[tuple[int, KnowledgeDocument]]:
        """Return the documents that entries are of, each with the place of its entry."""
        try:
            marks = {mark.id: json.loads(mark.content) for mark in self.sidecar.get(IDS, entries)}
        except CollectionNotFoundError:
            return []
        wanted: dict[str, list[str]] = {}
        for name, id_ in marks.values():
            if collection in {None, name}:
                wanted.setdefault(name, []).append(id_)
        found: dict[str, KnowledgeDocument] = {}
        for name, ids in wanted.items():
            with contextlib.suppress(CollectionNotFoundError):
                found.update({_entry(document): document for document in self.sidecar.get(name, ids)})
        return [(place, _unmarked(found[entry])) for place, entry in enumerate(entries) if entry in found]

    def search(self, name: str, search: Search) -> list[KnowledgeDocument]:
        """See ``KnowledgeStore.search``."""
        info = self.need(name)
        check_dimension(len(search.query), info.dimension, "query_embedding")
        if self.wrapped.distance == info.distance and search.limit and any(search.query):
            with contextlib.suppress(_IncompleteError):
                total = self.sidecar.count(name)
                asked = nearest(
                    search,
                    info.distance,
                    lambda limit: self._candidates(name, search.query, limit, total),
                    exact=search.filters is None,
                )
                best = run(asked, lambda request: request)
                # By cosine, the wrapped store has no vectors of zeros, whose score is 0.
                full = len(best) == search.limit and (best[-1].score or 0.0) > 2 * TOLERANCE
                if full or info.distance != "cosine":
                    return best
        found = self.sidecar.search(
            name,
            list(search.query),
            search.limit,
            _filter(search.filters),
            search.score_threshold,
            with_embeddings=search.with_embeddings,
        )
        return [_unmarked(document) for document in found]

    def _candidates(self, name: str, query: Sequence[float], limit: int, total: int) -> Steps[list[Candidate]]:
        yield from ()  # nothing is asked for
        wanted = min(limit, total)
        asked = wanted + _SPARE
        while True:
            entries = list(self.wrapped.nearest(query, asked))
            found = [document for _, document in self.current(entries, name)]
            if len(found) >= wanted:
                return [Candidate(*encode_document(document)) for document in found[:limit]]
            if len(entries) < asked:
                raise _IncompleteError
            asked *= _GROWTH

    def similar(self, text: str, limit: int, filters: Filter | None, name: str | None) -> list[KnowledgeDocument]:
        """Return the documents nearest to a text by the wrapped store's own embedding function, best first."""
        asked = limit
        while True:
            answer = self.wrapped.similar(text, asked) if asked else []
            mine = [(entry, score) for entry, score in answer if entry is not None]
            found = [
                replace(document, score=mine[place][1], embedding=None)
                for place, document in self.current([entry for entry, _ in mine], name)
                if filters is None or matches(filters, document.metadata)
            ]
            if len(found) >= limit or len(answer) < asked:
                return found[:limit]
            asked *= _GROWTH

    def get(self, name: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        """See ``KnowledgeStore.get``."""
        self.need(name)
        return [_unmarked(document) for document in self.sidecar.get(name, ids)]

    def count(self, name: str, filters: Filter | None) -> int:
        """See ``KnowledgeStore.count``."""
        self.need(name)
        return self.sidecar.count(name, _filter(filters))

    def document_ids(self, name: str, filters: Filter | None) -> list[str]:
        """See ``KnowledgeStore.document_ids``."""
        self.need(name)
        return self.sidecar.document_ids(name, _filter(filters))

    def delete(self, name: str, ids: Sequence[str] | None, filters: Filter | None) -> int:
        """Remove what is named and matches."""
        self.need(name)
        if ids is None:
            found = now(all_documents(self.sidecar, name, _filter(filters)))
        else:
            named = self.sidecar.get(name, ids)
            found = [document for document in named if filters is None or matches(filters, document.metadata)]
        gone = self.sidecar.delete(name, [document.id for document in found]) if found else 0
        self.forget([_entry(document) for document in found])
        return gone

    def names(self) -> list[str]:
        """Return the names of all collections."""
        return [name for name in self.sidecar.list_collections() if name != IDS]


def _marked(entry: str, document: KnowledgeDocument) -> str:
    return entry if document.content_hash is None else f"{entry}:{document.content_hash}"


def _entry(document: KnowledgeDocument) -> str:
    return (document.content_hash or "").partition(":")[0]


def _unmarked(document: KnowledgeDocument) -> KnowledgeDocument:
    _, colon, own = (document.content_hash or "").partition(":")
    return replace(document, content_hash=own if colon else None)


def _filter(tree: Filter | None) -> dict[str, Any] | None:
    """Return the mapping that a tree is parsed from."""
    if tree is None:
        return None
    if isinstance(tree, Compare):
        escaped = f"\\{tree.key}" if tree.key.lstrip("\\").startswith("$") else tree.key
        return {escaped: {tree.operator: tree.value}}
    if isinstance(tree, Not):
        return {"$not": _filter(tree.part)}
    parts = [_filter(part) for part in tree.parts]
    return {"$and" if isinstance(tree, And) else "$or": parts} if parts else {}
