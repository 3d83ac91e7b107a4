"""Stores that read what another program wrote, in that program's own layout, and change nothing.

They are found by entry points, in the groups that [layout_registry][] names: with that registry, a URL that opens a
store of a backend opens what the other program has in the same place.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from praisonai_persistence import _entry_points
from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.errors import CollectionNotFoundError, ConfigurationError, UnsupportedOperationError
from praisonai_persistence.filters import parse
from praisonai_persistence.knowledge import CollectionInfo
from praisonai_persistence.records import KnowledgeDocument
from praisonai_persistence.registry import StoreRegistry, get_default_registry
from praisonai_persistence.steps import reads, writes
from praisonai_persistence.stores.knowledge import KnowledgeSteps, StepKnowledgeStore
from praisonai_persistence.stores.state import StateSteps
from praisonai_persistence.stores.vector_documents import pages
from praisonai_persistence.stores.vector_engine import Collection
from praisonai_persistence.stores.vector_errors import GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from praisonai_persistence.filters import Filter
    from praisonai_persistence.steps import Steps

__all__ = [
    "ForeignDocument",
    "ForeignKnowledgeSteps",
    "ForeignKnowledgeStore",
    "ForeignStateSteps",
    "UnprefixedStore",
    "layout_registry",
    "refuse_prefix",
]


def layout_registry(layout: str, kind: str) -> StoreRegistry:
    """Return the readers of a layout: the entry-point group ``praisonai.<kind>_layouts.<layout>``, by backend.

    They have the names and aliases of the backends of the same distributions.

    Args:
        layout: whose: ``praisonai``.
        kind: ``knowledge`` or ``state``.
    """
    readers = StoreRegistry(kind)
    aliases = get_default_registry(kind).list_aliases()
    for point in _entry_points.select(f"praisonai.{kind}_layouts.{layout}"):
        others = [alias for alias, name in aliases.items() if name == point.name]
        readers.register(point.name, partial(_make, point.value), aliases=others)
    return readers


def _make(reference: str, **options: Any) -> Any:
    return _entry_points.load(reference)(**options)


@writes
def _refused(*_: Any) -> Steps[None]:
    yield from ()
    raise UnsupportedOperationError("another program's data are only read here: copy them into a store first")


_refuse: Any = _refused  # stands for operations that return anything


class ForeignDocument(NamedTuple):
    """A document as the other program has it. What is not known is None, or empty."""

    id: str
    content: str | None
    embedding: list[float]
    metadata: Mapping[str, Any] | None = None
    content_hash: str | None = None
    created_at: Any = None


def _seconds(found: Any) -> float:
    """Return a time that the other program has; 0.0 where it is none."""
    try:
        return float(found or 0.0)
    except (TypeError, ValueError):
        return 0.0


class ForeignKnowledgeSteps(KnowledgeSteps):
    """Documents of another program.

    Searches and filters are refused.
    """

    distances: ClassVar[Mapping[str, str]] = {}
    """The store's distances by the engine's names of them; under any other name it is ``cosine``."""
    most_ids: ClassVar[int | None] = None
    """How many ids ``_documents`` gets at a time; None: any number."""

    @abstractmethod
    def _names(self) -> Steps[Sequence[str]]:
        """Return the names of the other program's collections, in any order."""

    @abstractmethod
    def _open(self, name: str) -> Steps[Collection | None]:
        """Return a collection; None, or ``GoneError``, where there is none of this name."""

    @abstractmethod
    def _ids(self, opened: Collection) -> Steps[Sequence[str]]:
        """Return the ids of all its documents."""

    @abstractmethod
    def _documents(self, opened: Collection, ids: Sequence[str]) -> Steps[Iterable[ForeignDocument]]:
        """Return the documents that there are of these ids, which are all different, in any order."""

    def _collection(
        self, name: str, dimension: int, distance: str | None, engine: Any, metadata: Mapping[str, Any] | None = None
    ) -> Collection:
        """Return what ``_open`` has found.

        Args:
            name: of the collection.
            dimension: of its vectors.
            distance: the engine's name of it.
            engine: see [Collection][].
            metadata: of the collection; none where they are empty.
        """
        known: Any = self.distances.get(distance or "", "cosine")
        return Collection(CollectionInfo(name, dimension, known, dict(metadata or {}) or None), engine)

    def _need(self, name: str) -> Steps[Collection]:
        try:
            opened = yield from self._open(name)
        except GoneError:
            opened = None
        if opened is None:
            raise CollectionNotFoundError(f"there is no collection {name!r}")
        return opened

    @reads
    def list_collections(self) -> Steps[list[str]]:
        return sorted((yield from self._names()))

    @reads
    def get_collection(self, name: str) -> Steps[CollectionInfo]:
        return (yield from self._need(name)).info

    @reads
    def document_ids(self, collection: str, filters: Filter | None) -> Steps[list[str]]:
        if filters is not None:
            yield from _refuse()
        return sorted((yield from self._ids((yield from self._need(collection)))))

    @reads
    def get(self, collection: str, ids: Sequence[str]) -> Steps[list[KnowledgeDocument]]:
        opened = yield from self._need(collection)
        found: dict[str, KnowledgeDocument] = {}
        for some in pages(list(dict.fromkeys(ids)), self.most_ids):
            for row in (yield from self._documents(opened, some)):
                found[row.id] = KnowledgeDocument(
                    row.id,
                    row.content or "",
                    row.embedding,
                    dict(row.metadata or {}) or None,
                    row.content_hash or None,
                    _seconds(row.created_at),
                )
        return [found[item] for item in ids if item in found]

    @reads
    def count(self, collection: str, filters: Filter | None) -> Steps[int]:
        return len((yield from self.document_ids(collection, filters)))

    create_collection = delete_collection = insert = upsert = search = delete = _refuse


class ForeignKnowledgeStore(StepKnowledgeStore):
    """A knowledge store of [ForeignKnowledgeSteps][]. A collection may have any name here."""

    capabilities: frozenset[str] = frozenset()
    _steps: ForeignKnowledgeSteps

    def get_collection(self, name: str) -> CollectionInfo:
        return self._runner.run(self._steps.get_collection, name)

    def get(self, collection: str, ids: Sequence[str]) -> list[KnowledgeDocument]:
        return self._runner.run(self._steps.get, collection, ids)

    def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        return self._runner.run(self._steps.count, collection, parse(filters))

    def document_ids(self, collection: str, filters: Mapping[str, Any] | None = None) -> list[str]:
        return self._runner.run(self._steps.document_ids, collection, parse(filters))


def refuse_prefix(options: Mapping[str, Any]) -> None:
    """Refuse the option ``table_prefix``, where the other program's collections have no prefix.

    Raises:
        ConfigurationError: it is given.
    """
    if "table_prefix" in options:
        raise ConfigurationError("collections in this layout have no prefix: leave table_prefix out")


class UnprefixedStore(OptionsStore, ForeignKnowledgeStore):
    """One of a backend with ``Options``, where the other program's collections have no prefix.

    Raises:
        ConfigurationError: a prefix is given, and what [OptionsStore][] raises.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:
        refuse_prefix(options)
        super().__init__(url, **options)


class ForeignStateSteps(StateSteps):
    """State keys of another program: what reads is the engine's, what writes is refused."""

    set = delete = expire = hset = hdel = set_if_absent = compare_and_set = incr = set_many = clear = _refuse
