"""Knowledge in Chroma: in a folder, on a server, or in memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.payload import check_prefix
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, ThreadRunner
from praisonai_persistence_chroma._client import ChromaRunner, Client
from praisonai_persistence_chroma._location import locate
from praisonai_persistence_chroma.knowledge import ChromaSteps

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["AsyncChromaKnowledgeStore", "ChromaKnowledgeStore"]


class _Store:
    """What both stores are given.

    Args:
        url: ``chroma://host:8000``, with the parameters ``ssl=true``, ``tenant`` and ``database``: a server;
            ``chroma:///relative`` or ``chroma:////absolute``: a folder; ``chroma://``: the memory of this process.
        path: the folder's path, or ``:memory:``, instead of a URL.
        host: the server's, instead of a URL.
        port: the server's; 8000 unless told otherwise.
        ssl: whether to use HTTPS.
        headers: sent with every request, for example ``{"X-Chroma-Token": "..."}``.
        tenant: Chroma's tenant, which has to exist.
        database: its database, which has to exist.
        table_prefix: separates stores in one database.
        connect_timeout: seconds within which a server has to take a connection.
        timeout: seconds within which it has to answer a request.
        hnsw: settings of the vector index of collections created by this store: ``ef_construction``, ``ef_search``,
            ``max_neighbors`` and others of Chroma.

    Raises:
        ConfigurationError: not exactly one of url, path and host, or an option that cannot be.
        InvalidIdentifierError: the prefix cannot be part of a collection's name.
    """

    backend: ClassVar[str] = "chroma"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    _threads: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        ssl: bool | None = None,
        headers: Mapping[str, str] | None = None,
        tenant: str | None = None,
        database: str | None = None,
        table_prefix: str = "praison_",
        connect_timeout: float = 10.0,
        timeout: float = 60.0,
        hnsw: Mapping[str, Any] | None = None,
    ) -> None:
        location = locate(url, path, host, headers, port=port, ssl=ssl, tenant=tenant, database=database)
        _check_seconds("connect_timeout", connect_timeout)
        _check_seconds("timeout", timeout)
        if "space" in (hnsw or {}):
            raise ConfigurationError("hnsw cannot set 'space': that is the distance's")
        if location.host is None:
            self.capabilities = type(self).capabilities - (
                {"shared"} if location.path is not None else {"durable", "shared"}
            )
        steps = ChromaSteps(check_prefix(table_prefix), dict(hnsw or {}), server=location.host is not None)
        runner = ChromaRunner(Client(location, connect_timeout, timeout))
        super().__init__(steps, ThreadRunner(runner) if self._threads else runner)  # type: ignore[call-arg]


def _check_seconds(name: str, value: Any) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
        raise ConfigurationError(f"{name} must be a number of seconds above 0")


class ChromaKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Chroma."""


class AsyncChromaKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Chroma, for async callers: operations run on threads."""

    _threads = True
