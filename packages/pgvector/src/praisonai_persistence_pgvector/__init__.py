"""Knowledge in PostgreSQL with the extension vector (pgvector)."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError, PersistenceError
from praisonai_persistence.payload import check_identifier
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_pg import PostgresStore
from praisonai_persistence_pgvector._tables import Wire
from praisonai_persistence_pgvector.knowledge import EXACT, Options, PgvectorKnowledgeSteps
from praisonai_persistence_sql import AsyncSchema, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.records import KnowledgeDocument

__all__ = ["AsyncPgvectorKnowledgeStore", "PgvectorKnowledgeStore"]

_log = logging.getLogger(__name__)
_SCANS = ("relaxed_order", "strict_order", "off")


def _whole(value: Any, what: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigurationError(f"{what} must be a whole number from {least} to {most}")
    return value


class _Store(PostgresStore):
    """What both stores are given, beside what all stores in PostgreSQL are (see ``PostgresStore``).

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=require``.
        index: ``hnsw``: a collection that has grown gets an index, with the write that made it so large. ``none``: it
            does not; ``build_index()`` makes it later. What has an index is searched by it, whoever made it.
        index_from: documents from which on there is an index; fewer are searched one by one, exactly.
        exact: search without the index.
        m: of an index that is made: neighbours of a document.
        ef_construction: of an index that is made: candidates for them.
        ef_search: candidates of a search by the index; more find more of the nearest, and take longer.
        iterative_scan: what a search by the index does when filters left too few: ``relaxed_order`` and
            ``strict_order`` look on, ``off`` looks at everything at once.
        max_scan_tuples: how many documents it looks at in this way; after them it looks at everything.
        **connection: where the server is, and how to talk to it.

    Raises:
        ConfigurationError: an option that cannot be, or no hint where the server is.
        InvalidIdentifierError: prefix or schema cannot be part of a table's name.
    """

    backend: ClassVar[str] = "pgvector"
    capabilities: ClassVar[frozenset[str]] = frozenset({"atomic_batch", "durable", "prefix", "schema", "shared"})

    def __init__(
        self,
        url: str | None = None,
        *,
        index: str = "hnsw",
        index_from: int = 4 * EXACT,
        exact: bool = False,
        m: int = 16,
        ef_construction: int = 64,
        ef_search: int = 100,
        iterative_scan: str = "relaxed_order",
        max_scan_tuples: int = 20_000,
        **connection: Any,
    ) -> None:
        if index not in {"hnsw", "none"}:
            raise ConfigurationError("index must be 'hnsw' or 'none'")
        if iterative_scan not in _SCANS:
            raise ConfigurationError(f"iterative_scan must be one of {', '.join(_SCANS)}")
        _whole(m, "m", 2, 100)
        if _whole(ef_construction, "ef_construction", 4, 1000) < 2 * m:
            raise ConfigurationError("ef_construction must be at least twice m")
        self._session = {
            "hnsw.ef_search": str(_whole(ef_search, "ef_search", 1, 1000)),
            "hnsw.iterative_scan": iterative_scan,
            "jit": "off",  # which takes longer than a search
            "hnsw.max_scan_tuples": str(_whole(max_scan_tuples, "max_scan_tuples", 1, 2**31 - 1)),
        }
        # What is not ours is not taught, and has its own settings.
        pool = connection.get("pool") is not None
        options = Options(
            index == "hnsw",
            bool(exact),
            m,
            ef_construction,
            _whole(index_from, "index_from", EXACT + 1, 2**31 - 1),
            self._session,
            not pool and connection.get("connection_factory") is None,
            Wire(vectors=not pool, lists=self._async),
        )
        self._make_steps = partial(PgvectorKnowledgeSteps, options=options)  # type: ignore[assignment, misc]
        super().__init__(url, **connection)

    @classmethod
    def _driver(cls) -> Any:
        driver: Any
        if cls._async:
            from praisonai_persistence_pgvector import _asyncpg as driver
        else:
            from praisonai_persistence_pgvector import _psycopg as driver
        return driver


def _unbuilt(steps: PgvectorKnowledgeSteps, collection: str, error: PersistenceError) -> None:
    """Go on without an index: what was written stands, and is found."""
    steps.put_off(collection)
    _log.warning("collection %s is searched without an index, because it cannot be made: %s", collection, error)


class PgvectorKnowledgeStore(_Store, Schema, StepKnowledgeStore):
    """Knowledge in PostgreSQL, on psycopg."""

    _steps: PgvectorKnowledgeSteps

    def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids = super().insert(collection, documents)
        self._after_write(collection)
        return ids

    def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids = super().upsert(collection, documents)
        self._after_write(collection)
        return ids

    def _after_write(self, collection: str) -> None:
        if self._steps.wants_index(collection):
            try:
                self.build_index(collection)
            except PersistenceError as error:
                _unbuilt(self._steps, collection, error)

    def build_index(self, collection: str) -> bool:
        """Make the index of a collection with ``index_from`` documents or more, unless it has one.

        Returns:
            Whether it has one now.

        Raises:
            CollectionNotFoundError: there is no such collection.
        """
        built: bool = self._runner.run(self._steps.build_index, check_identifier(collection, "collection"))
        return built


class AsyncPgvectorKnowledgeStore(_Store, AsyncSchema, AsyncStepKnowledgeStore):
    """Knowledge in PostgreSQL, on asyncpg."""

    _async = True
    _steps: PgvectorKnowledgeSteps

    async def insert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids = await super().insert(collection, documents)
        await self._after_write(collection)
        return ids

    async def upsert(self, collection: str, documents: Sequence[KnowledgeDocument]) -> list[str]:
        ids = await super().upsert(collection, documents)
        await self._after_write(collection)
        return ids

    async def _after_write(self, collection: str) -> None:
        if self._steps.wants_index(collection):
            try:
                await self.build_index(collection)
            except PersistenceError as error:
                _unbuilt(self._steps, collection, error)

    async def build_index(self, collection: str) -> bool:
        """See [PgvectorKnowledgeStore.build_index][]."""
        built: bool = await self._runner.run(self._steps.build_index, check_identifier(collection, "collection"))
        return built
