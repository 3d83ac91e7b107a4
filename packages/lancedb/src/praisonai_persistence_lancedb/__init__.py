"""Knowledge in LanceDB, embedded: a folder, no server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from praisonai_persistence.drivers import OptionsStore
from praisonai_persistence.payload import check_count, check_identifier
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore
from praisonai_persistence_lancedb._driver import LanceDriver, LanceOptions
from praisonai_persistence_lancedb.knowledge import LanceSteps

__all__ = ["AsyncLanceDBKnowledgeStore", "LanceDBKnowledgeStore", "LanceOptions"]


class _Store(OptionsStore):
    options_class = LanceOptions
    backend: ClassVar[str] = "lancedb"
    capabilities: frozenset[str] = frozenset({"atomic_batch", "durable", "prefix", "shared"})

    def _make(self, options: LanceOptions) -> tuple[LanceSteps, LanceDriver]:
        return LanceSteps(options), LanceDriver(options)


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
    _asynchronous = True

    async def compact(self, collection: str, keep_versions_for: int = 60) -> None:
        """See [LanceDBKnowledgeStore.compact][]."""
        await self._runner.run(self._steps.compact, check_identifier(collection, "collection"), _age(keep_versions_for))

    async def create_index(self, collection: str) -> None:
        """See [LanceDBKnowledgeStore.create_index][]."""
        await self._runner.run(self._steps.create_index, check_identifier(collection, "collection"))
