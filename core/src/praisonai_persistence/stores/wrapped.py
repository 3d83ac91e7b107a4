"""Knowledge in a framework's vector store, with a store of this project beside it.

The interfaces of frameworks have no collections, no exact counts, and no filters that mean the same everywhere; some
return no ids, no embeddings, or no texts. So all documents are also in a knowledge store of this project, the sidecar,
and what the contract promises is read there. What the wrapped store is asked is to rank: texts by its own embedding
function, and vectors where it says by which distance.

Each writing of a document has an id of its own in the wrapped store. A write is first done there and then, in one step,
in the sidecar. What was interrupted in between leaves an entry in the wrapped store that no search returns.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence.bridge import as_sync
from praisonai_persistence.drivers import Driver, Options, OptionsStore, option
from praisonai_persistence.drivers.guarded import on_own_thread
from praisonai_persistence.errors import (
    CollectionNotFoundError,
    ConfigurationError,
    DocumentExistsError,
    InvalidIdentifierError,
    InvalidValueError,
)
from praisonai_persistence.filters import And, Compare, Filter, Not, matches, parse
from praisonai_persistence.frameworks import all_documents, now
from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.payload import check_count
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.steps import reads, run, writes
from praisonai_persistence.stores.knowledge import (
    AsyncStepKnowledgeStore,
    KnowledgeSteps,
    StepKnowledgeStore,
    decode_document,
    encode_document,
)
from praisonai_persistence.stores.ranking import TOLERANCE, Candidate, nearest
from praisonai_persistence.vectors import check_dimension

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.knowledge import CollectionInfo
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.stores.knowledge import DocumentRow, Search

__all__ = [
    "IDS",
    "AsyncTextStore",
    "Joined",
    "TextStore",
    "Wrapped",
    "WrappedDriver",
    "WrappedOptions",
    "WrappedSteps",
    "WrappedStore",
    "plain_metadata",
    "plain_text",
]

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


class WrappedSteps(KnowledgeSteps):
    """The operations, each one request to both stores."""

    @writes
    def create_collection(self, info: CollectionInfo, metadata: str | None) -> Steps[None]:
        yield lambda joined: joined.create(info)

    @writes
    def delete_collection(self, name: str) -> Steps[None]:
        yield lambda joined: joined.drop(name)

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield lambda joined: joined.need(name))  # type: ignore[no-any-return]

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return (yield lambda joined: joined.names())  # type: ignore[no-any-return]

    @writes
    def insert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield lambda joined: joined.write(collection, rows, new=True)

    @writes
    def upsert(self, collection: str, rows: Sequence[DocumentRow]) -> Steps[None]:
        yield lambda joined: joined.write(collection, rows, new=False)

    @reads
    def search(self, collection: str, search: Search) -> Steps[list[KnowledgeDocument]]:
        return (yield lambda joined: joined.search(collection, search))  # type: ignore[no-any-return]

    @reads
    def similar(
        self, text: str, limit: int, filters: Filter | None, collection: str | None
    ) -> Steps[list[KnowledgeDocument]]:
        """Find by text; ``collection`` None: in all of them."""
        return (yield lambda joined: joined.similar(text, limit, filters, collection))  # type: ignore[no-any-return]

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        return (yield lambda joined: joined.get(collection, ids))  # type: ignore[no-any-return]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        return (yield lambda joined: joined.count(collection, filters))  # type: ignore[no-any-return]

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        return (yield lambda joined: joined.document_ids(collection, filters))  # type: ignore[no-any-return]

    @writes
    def delete(self, collection: str, ids: Sequence[str] | None, filters: Filter | None) -> Steps[int]:
        return (yield lambda joined: joined.delete(collection, ids, filters))  # type: ignore[no-any-return]


class _Place(NamedTuple):
    """What is open: the wrapped store, and sidecars by what they were asked as."""

    wrapped: Wrapped
    sidecars: dict[Any, KnowledgeStore]


_volatile: dict[tuple[int, str], MemoryKnowledgeStore] = {}
_lock = threading.RLock()


def _beside(owner: Any, prefix: str) -> KnowledgeStore:
    """Return the sidecar of a vector store in memory, which lives as long as that."""
    key = id(owner), prefix
    with _lock:
        if key not in _volatile:
            _volatile[key] = MemoryKnowledgeStore()
            weakref.finalize(owner, _volatile.pop, key, None).atexit = False
        return _volatile[key]


class WrappedDriver(Driver):
    """The wrapped store and its sidecar; calls take turns, as vector stores in memory take one at a time.

    Args:
        where: what errors call it.
        make: returns the framework's vector store, which a call of the store needs for the first time.
        wrap: makes of it what the steps need.
        owner: the framework's vector store, if there is one already.
        sidecar: a knowledge store, which stays open, or the URL of one; None: in memory, beside ``owner``.
        prefix: separates stores, where the sidecar is not a store of the caller's.
        packages: names of the packages whose exceptions are the vector store's.
        joined: the class of what the steps work on.
    """

    turns = "all"
    forks = "refuse"  # a child has a copy of what is in memory
    interrupts = "keep"

    def __init__(
        self,
        where: str,
        make: Callable[[], Any],
        wrap: Callable[[Any], Wrapped],
        owner: Any,
        sidecar: Any,
        prefix: str,
        packages: tuple[str, ...],
        joined: type[Joined],
    ) -> None:
        super().__init__()
        self.where = where
        self.place = None if owner is None else id(owner)
        self._make, self._wrap, self._owner = make, wrap, owner
        self._sidecar, self._prefix, self._joined = sidecar, prefix, joined
        self.packages = packages  # type: ignore[misc]

    def open(self, deadline: Deadline) -> _Place:
        made = self._make()
        if self._owner is None:
            self._owner = made
        return _Place(self._wrap(made), {})

    def begin(self, client: _Place, *, write: bool) -> AbstractContextManager[Joined]:
        key = (self._sidecar if isinstance(self._sidecar, str) else id(self._sidecar)), self._prefix
        with _lock:
            if key not in client.sidecars:
                client.sidecars[key] = self._open_sidecar()
        return contextlib.nullcontext(self._joined(client.wrapped, client.sidecars[key]))

    def perform(self, on: Joined, request: Callable[[Joined], Any]) -> Any:
        return on_own_thread(lambda: request(on))  # what is raised into a framework's code may leave it half done

    def _open_sidecar(self) -> KnowledgeStore:
        if self._sidecar is None:
            return _beside(self._owner, self._prefix)
        if not isinstance(self._sidecar, str):
            sidecar: KnowledgeStore = as_sync(self._sidecar)
            return sidecar
        from praisonai_persistence.opening import open_knowledge_store

        return open_knowledge_store(self._sidecar, "sync", table_prefix=self._prefix)

    def close(self, client: _Place) -> None:
        try:
            client.wrapped.close()
        finally:
            for key, sidecar in client.sidecars.items():
                if isinstance(key[0], str):
                    sidecar.close()


class WrappedOptions(Options):
    """What a store over a framework's vector store can be given; derive from it, with options of the names given here.

    Attributes:
        base: the framework's class.
        volatile: its classes that keep everything in memory.
        instance: the option that is a vector store; its class and the arguments of that are ``instance`` with ``_cls``
            and ``_kwargs`` behind it.
        joined: the class of what the steps work on.
    """

    base: ClassVar[type[Any]]
    volatile: ClassVar[tuple[type[Any], ...]]
    instance: ClassVar[str]
    joined: ClassVar[type[Joined]] = Joined

    sidecar = option(None, "object", "a knowledge store, or the URL of one, for all that the vector store cannot keep")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        names = self.instance, f"{self.instance}_cls"
        if url is not None:
            raise ConfigurationError(f"{self.title} has no URL: give {names[0]}=..., or {names[1]}=...")
        super().__init__(None, **given)
        self.owner, cls = (getattr(self, name) for name in names)
        if self.owner is not None and not isinstance(self.owner, self.base):
            raise ConfigurationError(
                f"{names[0]} must be a {self.base.__name__} of {self.base.__module__.partition('.')[0]}, "
                f"not {type(self.owner).__name__}"
            )
        if self.owner is None and not (isinstance(cls, type) and issubclass(cls, self.base)):
            raise ConfigurationError(f"{names[1]} must be a class derived from {self.base.__name__}")
        self.cls: type[Any] = cls if self.owner is None else type(self.owner)
        if self.sidecar is not None and not isinstance(self.sidecar, (str, KnowledgeStore, AsyncKnowledgeStore)):
            raise ConfigurationError(
                f"sidecar must be a knowledge store or the URL of one, not {type(self.sidecar).__name__}"
            )
        in_memory = issubclass(self.cls, self.volatile)
        if self.sidecar is None and (not in_memory or self.owner is None):
            raise ConfigurationError(
                f"{self.cls.__name__} may outlive the process, and so must what it cannot keep: "
                "give sidecar='sqlite:///FILE', or another knowledge store of this project"
            )
        lasts = isinstance(self.sidecar, str) or "durable" in getattr(self.sidecar, "capabilities", ())
        if in_memory and lasts:
            raise ConfigurationError(
                f"{self.cls.__name__} is in memory, and its sidecar is not: after a restart it would have no document "
                "that the sidecar has; leave the sidecar out, or use it alone"
            )

    def capabilities_of(self, capabilities: frozenset[str]) -> frozenset[str]:
        """Return what a store has of its capabilities with this sidecar."""
        if self.sidecar is None:
            return capabilities
        if isinstance(self.sidecar, str):
            return capabilities - {"atomic_batch"}
        return capabilities & frozenset(self.sidecar.capabilities) - {"prefix"}

    def wrap(self, store: Any) -> Wrapped:
        """Return how a vector store is used."""
        raise NotImplementedError

    def make(self) -> Any:
        """Return the vector store, when a call needs it for the first time."""
        return self.cls(**dict(getattr(self, f"{self.instance}_kwargs") or {})) if self.owner is None else self.owner

    def driver(self) -> WrappedDriver:
        """Return the driver of a store with these options."""
        packages = {cls.__module__.partition(".")[0] for cls in self.cls.__mro__} - {"builtins", "abc", "typing"}
        return WrappedDriver(
            f"the {self.cls.__name__}",
            self.make,
            self.wrap,
            self.owner,
            self.sidecar,
            self.table_prefix,
            (*sorted(packages), "numpy"),
            self.joined,
        )


class WrappedStore(OptionsStore):
    """A store with [WrappedOptions][]; mixed in before the base of its kind."""

    capabilities: frozenset[str] = frozenset({"prefix", "atomic_batch"})

    def _make(self, options: WrappedOptions) -> tuple[WrappedSteps, WrappedDriver]:
        self.capabilities = options.capabilities_of(self.capabilities)
        return WrappedSteps(), options.driver()


def _text(query_text: Any, limit: Any, filters: Any, collection: str | None) -> tuple[Any, ...]:
    if not isinstance(query_text, str):
        raise InvalidValueError(f"query_text must be text, not {type(query_text).__name__}")
    return plain_text(query_text), check_count(limit, "limit"), parse(filters), collection


class TextStore(WrappedStore, StepKnowledgeStore):
    """A store whose wrapped store has ``similar``."""

    def similarity_search(
        self,
        query_text: str,
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        *,
        collection: str | None = None,
    ) -> list[KnowledgeDocument]:
        """Return the documents nearest to a text, ranked by the wrapped store; None: of all collections."""
        steps: Any = self._steps
        return self._runner.run(steps.similar, *_text(query_text, limit, filters, collection))


class AsyncTextStore(WrappedStore, AsyncStepKnowledgeStore):
    """[TextStore][] for async callers: operations run on threads."""

    _asynchronous = True

    async def similarity_search(
        self,
        query_text: str,
        limit: int = 5,
        filters: Mapping[str, Any] | None = None,
        *,
        collection: str | None = None,
    ) -> list[KnowledgeDocument]:
        """See [TextStore.similarity_search][]."""
        steps: Any = self._steps
        return await self._runner.run(steps.similar, *_text(query_text, limit, filters, collection))
