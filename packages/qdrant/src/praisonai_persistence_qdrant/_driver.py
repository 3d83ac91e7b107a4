"""Qdrant's clients, and what their stores can be given."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import weakref
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import ApiKeyOptions, Driver, HttpErrors, client_option, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence_qdrant._transactions import Transaction

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["PAGE", "QdrantDriver", "QdrantOptions", "scrolled"]

PAGE = 1_000
"""Points in one request."""


class QdrantOptions(ApiKeyOptions):
    """What the stores in Qdrant can be given."""

    title = "Qdrant"
    schemes = ("qdrant", "async_qdrant")
    folders = memory = True
    default_port = 6333
    clients = ("client",)

    grpc_port = option(6334, "port", "of the server's gRPC interface", url=True, server=True)
    prefer_grpc = option(False, "flag", "use gRPC where the client can", url=True, server=True)
    https = option(False, "flag", "use TLS", url=True, server=True)
    client = client_option("a `QdrantClient`", "AsyncQdrantClient")
    exact = option(False, "flag", "searches look at every vector where a server has an index")
    on_disk = option(False, "flag", "a server keeps the vectors of new collections on its disk")


class QdrantDriver(Driver):
    """A client of a server, or the local mode, which is the engine itself: stores in one folder share it.

    Args:
        options: of the store.
        asynchronous: whether to use the async client; the one of the local mode would block the loop.
    """

    imports = ("qdrant_client",)
    packages = ("qdrant_client", "httpx", "httpcore", "grpc", "pydantic", "pydantic_core", "portalocker", "numpy")

    makes = ("collection", "meta.json", ".lock")

    def __init__(self, options: QdrantOptions, *, asynchronous: bool) -> None:
        super().__init__(options)
        self._options = options
        self.asynchronous = asynchronous and options.path is None
        if options.path is not None or self.given is not None:
            # The local mode, which a client may be in too, is not made for threads, and keeps what it has read.
            self.turns, self.forks = "none" if self.asynchronous else "all", "refuse"
        if options.path == ":memory:":
            self.interrupts = "keep"
        elif options.path is not None:
            self.place = self.path = options.path
        self._rolled_back: weakref.WeakSet[Any] = weakref.WeakSet()
        self._errors = HttpErrors(self.where, "check its API key")

    def exists(self) -> bool:
        return self.path is None or os.path.exists(os.path.join(self.path, "meta.json"))

    def open(self, deadline: Deadline) -> Any:
        if self._options.path is not None:
            return self._open_local()
        import qdrant_client

        kind = qdrant_client.AsyncQdrantClient if self.asynchronous else qdrant_client.QdrantClient
        options = self._options
        return kind(
            **options.arguments("host", "port", "grpc_port", "prefer_grpc", "https", "api_key"),
            timeout=max(1, round(options.timeout)),
            # Otherwise gRPC has one connection for all clients of the process, and waits with it when it was lost.
            grpc_options={"grpc.use_local_subchannel_pool": 1},
            check_compatibility=False,  # it would ask the server before anybody wants something of it
        )

    def _open_local(self) -> Any:
        from qdrant_client import QdrantClient

        path = self._options.path
        if self.path is not None:
            make_folder(self.path, folders=["collection"])
        try:
            # The turn that every operation takes is what the check of threads is for.
            return QdrantClient(path=path, force_disable_check_same_thread=True) if self.path else QdrantClient(path)
        except (OSError, RuntimeError, sqlite3.OperationalError) as error:  # it keeps its points in SQLite files
            raise ConnectionFailedError(
                f"{self.where} cannot be opened; another process may have it open, and only one can (start a server "
                f"for more), or this one may not write there"
            ) from error
        except (ValueError, sqlite3.DatabaseError) as error:
            raise ConnectionFailedError(f"{self.where} cannot be opened: its files are damaged") from error

    def close(self, client: Any) -> Any:
        return client.close()

    def abandon(self, client: Any) -> None:
        # Collecting one closes it, which waits for its pool's lock: an interrupt may have left that locked.
        client.close = _leave_open

    def begin(self, client: Any, *, write: bool) -> AbstractContextManager[Any]:
        if not write or self.path is None:
            return contextlib.nullcontext(client)
        return Transaction(client, self._rolled_back.add)

    def spoiled(self, client: Any) -> bool:
        return client in self._rolled_back

    def probe(self) -> Steps[None]:
        # Does the server answer, and let us in?
        yield lambda client: client.get_collections()

    def translate(self, error: Exception) -> PersistenceError | None:
        from qdrant_client.http.exceptions import ResponseHandlingException

        # A ValueError inside is an answer that is not what the client expects.
        if isinstance(error, ResponseHandlingException) and not isinstance(error.source, ValueError):
            return self._errors.silent(error)
        if isinstance(error, ValueError):  # of the local mode
            text = str(error)
            code = 404 if text.endswith("not found") else 409 if text.endswith("already exists") else None
            return self._errors.error(code, error)
        return self._errors.read(error)


def scrolled(collection: str, chosen: Any, most: int, payload: list[str]) -> Steps[list[Any]]:
    """Return all points that a filter chooses (None: all), without their vectors.

    Args:
        collection: Qdrant's name of it.
        chosen: the filter.
        most: how many points one request asks for.
        payload: what is read of each.
    """
    found: list[Any] = []
    offset = None
    while True:
        points, offset = yield lambda client, start=offset: client.scroll(
            collection, scroll_filter=chosen, limit=most, offset=start, with_payload=payload, with_vectors=False
        )
        found += points
        if offset is None:
            return found


def _leave_open() -> None:
    """Do nothing: the operating system closes the connections when nobody refers to them."""
