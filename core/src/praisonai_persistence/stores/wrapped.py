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
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence.bridge import as_sync
from praisonai_persistence.drivers import Driver, Options, OptionsStore, option
from praisonai_persistence.drivers.guarded import on_own_thread
from praisonai_persistence.errors import ConfigurationError, InvalidValueError
from praisonai_persistence.filters import Filter, parse
from praisonai_persistence.knowledge import AsyncKnowledgeStore, KnowledgeStore
from praisonai_persistence.memory import MemoryKnowledgeStore
from praisonai_persistence.payload import check_count
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores._joined import IDS, Joined, Wrapped, plain_metadata, plain_text
from praisonai_persistence.stores.knowledge import AsyncStepKnowledgeStore, KnowledgeSteps, StepKnowledgeStore

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
        steps: the class of the steps.
        sidecar_url: what errors name as an example of a sidecar's URL.
    """

    base: ClassVar[type[Any]]
    volatile: ClassVar[tuple[type[Any], ...]]
    instance: ClassVar[str]
    joined: ClassVar[type[Joined]] = Joined
    steps: ClassVar[type[WrappedSteps]] = WrappedSteps
    sidecar_url: ClassVar[str] = "sqlite:///FILE"

    sidecar = option(None, "object", "a knowledge store, or the URL of one, for all that the vector store cannot keep")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        names = self.instance, f"{self.instance}_cls"
        if url is not None:
            raise ConfigurationError(
                f"{self.title} has no URL: a program gives {'=... or '.join(self.clients)}=...; commands read the "
                f"documents from the sidecar, which has all of them, by its URL: {self.sidecar_url}"
            )
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

    @property
    def where(self) -> str:
        """What errors call the place."""
        return f"the {self.cls.__name__}"

    def driver(self) -> WrappedDriver:
        """Return the driver of a store with these options."""
        packages = {cls.__module__.partition(".")[0] for cls in self.cls.__mro__} - {"builtins", "abc", "typing"}
        return WrappedDriver(
            self.where,
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

    _owner: Any
    """What the store was given to wrap; None: it is made when it is needed."""
    capabilities: frozenset[str] = frozenset({"prefix", "atomic_batch"})

    def _make(self, options: WrappedOptions) -> tuple[WrappedSteps, WrappedDriver]:
        self.capabilities = options.capabilities_of(self.capabilities)
        self._owner = options.owner
        return options.steps(), options.driver()


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
