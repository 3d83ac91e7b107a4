"""Knowledge in LanceDB, embedded: a folder, no server."""

from __future__ import annotations

import math
import os
from datetime import timedelta
from typing import Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_count, check_identifier, check_prefix
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, ThreadRunner
from praisonai_persistence.urls import file_path
from praisonai_persistence_lancedb._database import Database
from praisonai_persistence_lancedb._runner import LanceRunner
from praisonai_persistence_lancedb.knowledge import INDEXES, LanceSteps

__all__ = ["AsyncLanceDBKnowledgeStore", "LanceDBKnowledgeStore"]


class _Store:
    """What both stores are given.

    Args:
        url: ``lancedb:///relative`` or ``lancedb:////absolute``: the folder.
        path: the folder's path, instead of a URL.
        table_prefix: separates stores in one folder.
        lock_timeout: seconds to wait for other writers.
        index: the kind of vector index that ``create_index`` makes and searches use: ``ivf_flat``, ``ivf_hnsw_sq``,
            ``ivf_pq``; ``none``: every vector is looked at.
        probes: how many partitions of an index are searched; None: LanceDB's own number.
        refine: for every document wanted so many are taken from an index, and ranked anew by their whole vectors.

    Raises:
        ConfigurationError: neither or both of url and path, or an option that cannot be.
        InvalidIdentifierError: the prefix cannot be part of a table's name.
    """

    backend: ClassVar[str] = "lancedb"
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "shared"})
    _threads: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        table_prefix: str = "praison_",
        lock_timeout: float = 60.0,
        index: str = "none",
        probes: int | None = None,
        refine: int = 30,
    ) -> None:
        if index not in INDEXES:
            raise ConfigurationError(f"index must be one of {', '.join(INDEXES)}")
        _check_positive("probes", probes, int)
        _check_positive("refine", refine, int)
        _check_positive("lock_timeout", lock_timeout, (int, float))
        database = Database(_folder(url, path), check_prefix(table_prefix), float(lock_timeout))
        runner = LanceRunner(database)
        super().__init__(  # type: ignore[call-arg]
            LanceSteps(index, probes, refine), ThreadRunner(runner) if self._threads else runner
        )


def _check_positive(name: str, value: Any, kind: Any) -> None:
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < math.inf):
        raise ConfigurationError(f"{name} must be a number above 0")


def _folder(url: str | None, path: Any) -> str:
    if (url is None) == (path is None):
        raise ConfigurationError("give either url='lancedb:///folder' or path='folder'")
    if url is not None:
        path, parameters = file_path(url, ("lancedb", "async_lancedb"))
        if parameters:
            raise ConfigurationError(f"a lancedb URL takes no parameters, not {', '.join(sorted(parameters))}")
    place = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(place, str) or not place or "\0" in place:
        raise ConfigurationError("path must be a folder's path as text, not empty, without NUL")
    if "://" in place:
        raise ConfigurationError(
            "path must be a local folder: object stores and LanceDB Cloud have no locks for writers"
        )
    return os.path.abspath(place)


def _age(keep_versions_for: Any) -> timedelta:
    return timedelta(seconds=check_count(keep_versions_for, "keep_versions_for"))


class LanceDBKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in a LanceDB folder."""

    _steps: LanceSteps

    def compact(self, collection: str, keep_versions_for: int = 60) -> None:
        """Merge a collection's small files, bring its indexes up to date, and remove old versions.

        Every write adds a file and a version. Every 32nd does this first, with the default, where there are up to
        40,000 documents, and a later one where there are more; call it where it is due sooner.

        Args:
            collection: the collection.
            keep_versions_for: seconds; younger versions stay for programs that read them at this moment.
        """
        self._runner.run(self._steps.compact, check_identifier(collection, "collection"), _age(keep_versions_for))

    def create_index(self, collection: str) -> None:
        """Make the indexes of a collection: for its ids, its metadata, and its vectors if ``index`` is not ``none``.

        Documents that are written later are found without being in an index; ``compact`` brings them in.
        """
        self._runner.run(self._steps.create_index, check_identifier(collection, "collection"))


class AsyncLanceDBKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in a LanceDB folder, for async callers: operations run on threads."""

    _steps: LanceSteps
    _threads = True

    async def compact(self, collection: str, keep_versions_for: int = 60) -> None:
        """See [LanceDBKnowledgeStore.compact][]."""
        await self._runner.run(self._steps.compact, check_identifier(collection, "collection"), _age(keep_versions_for))

    async def create_index(self, collection: str) -> None:
        """See [LanceDBKnowledgeStore.create_index][]."""
        await self._runner.run(self._steps.create_index, check_identifier(collection, "collection"))
