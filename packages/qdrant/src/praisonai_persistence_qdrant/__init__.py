"""Knowledge in Qdrant: on a server, or in the client's local mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.errors import ConfigurationError, InvalidValueError
from praisonai_persistence.payload import check_identifier, check_prefix
from praisonai_persistence.stores import AsyncStepKnowledgeStore, StepKnowledgeStore, ThreadRunner
from praisonai_persistence_qdrant._client import AsyncQdrantRunner, QdrantRunner
from praisonai_persistence_qdrant._location import locate
from praisonai_persistence_qdrant.knowledge import QdrantSteps

if TYPE_CHECKING:
    import os

__all__ = ["AsyncQdrantKnowledgeStore", "QdrantKnowledgeStore"]


class _Store:
    """What both stores are given.

    Args:
        url: ``qdrant://:API-KEY@host:6333`` with the parameters ``https``, ``prefer_grpc`` and ``grpc_port``: a server;
            ``qdrant:///relative`` or ``qdrant:////absolute``: a folder of the local mode; ``qdrant://``: in memory, for
            this store alone.
        path: the folder's path, or ``:memory:``, instead of a URL.
        host: the server's, instead of a URL.
        port: of the server's REST interface; 6333 unless told otherwise.
        grpc_port: of its gRPC interface; 6334 unless told otherwise.
        prefer_grpc: whether to use gRPC where the client can.
        https: whether to use TLS.
        api_key: the server's.
        client: a ``QdrantClient`` (or ``AsyncQdrantClient``, for the async store) instead of all these; it stays open.
        table_prefix: separates stores in one place.
        timeout: seconds within which a server has to answer.
        exact: whether searches look at every vector where a server has an index.
        on_disk: whether a server keeps the vectors of collections created by this store on its disk.

    Raises:
        ConfigurationError: not exactly one of url, path, host and client, or an option that cannot be.
        InvalidIdentifierError: the prefix cannot be part of a collection's name.
    """

    backend: ClassVar[str] = "qdrant"
    capabilities: frozenset[str] = frozenset({"durable", "prefix", "shared"})
    max_document_bytes: ClassVar[int] = 16 * 1024 * 1024
    _async: ClassVar[bool] = False

    def __init__(
        self,
        url: str | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        host: str | None = None,
        port: int | None = None,
        grpc_port: int | None = None,
        prefer_grpc: bool | None = None,
        https: bool | None = None,
        api_key: str | None = None,
        client: Any = None,
        table_prefix: str = "praison_",
        timeout: float = 30.0,
        exact: bool = False,
        on_disk: bool = False,
    ) -> None:
        options = {
            "port": port,
            "grpc_port": grpc_port,
            "prefer_grpc": prefer_grpc,
            "https": https,
            "api_key": api_key,
        }
        if type(timeout) not in {int, float} or not 0 < timeout < math.inf:
            raise ConfigurationError("timeout must be a number of seconds above 0")
        location = None
        if client is None:
            location = locate(url, path, host, **options)
        elif any(value is not None for value in (url, path, host, *options.values())):
            raise ConfigurationError("a client knows its server: url, path, host and their options do not go with it")
        local = location is not None and location.path is not None
        if location is not None and location.path is not None:
            memory = location.path == ":memory:"
            self.capabilities = type(self).capabilities - ({"durable", "shared"} if memory else {"shared"})
        steps = QdrantSteps(check_prefix(table_prefix), server=not local, exact=exact, on_disk=on_disk)
        runner: Any
        if not self._async:
            runner = QdrantRunner(location, timeout, client)
        elif local:  # whose async client is the sync one, and blocks the loop
            runner = ThreadRunner(QdrantRunner(location, timeout))
        else:
            runner = AsyncQdrantRunner(location, timeout, client)
        super().__init__(steps, runner)  # type: ignore[call-arg]


def _keys(keys: tuple[Any, ...]) -> tuple[str, ...]:
    if not all(isinstance(key, str) for key in keys):
        raise InvalidValueError("metadata keys must be text")
    return keys


class QdrantKnowledgeStore(_Store, StepKnowledgeStore):
    """Knowledge in Qdrant."""

    _steps: QdrantSteps

    def create_payload_index(self, collection: str, *keys: str) -> None:
        """Have a server index metadata: for equality, ``$in``, ``$exists`` and ``$contains`` under every key.

        Args:
            collection: the collection.
            keys: metadata keys under which numbers are compared with ``$gt`` and its kin; these get an index each.
        """
        self._runner.run(self._steps.create_index, check_identifier(collection, "collection"), _keys(keys))


class AsyncQdrantKnowledgeStore(_Store, AsyncStepKnowledgeStore):
    """Knowledge in Qdrant, for async callers: by the async client on a server, on threads in the local mode."""

    _steps: QdrantSteps
    _async = True

    async def create_payload_index(self, collection: str, *keys: str) -> None:
        """See [QdrantKnowledgeStore.create_payload_index][]."""
        await self._runner.run(self._steps.create_index, check_identifier(collection, "collection"), _keys(keys))
