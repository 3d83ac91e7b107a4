"""The clients and the runners around them.

In the local mode the client is the engine: a folder belongs to one client, so the stores of a process that work in one
folder share it, and take turns, because it is not made for threads. A server takes as many clients as it likes.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import reads, run, run_async
from praisonai_persistence.stores import AsyncRunner, Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_qdrant._location import Location

__all__ = ["AsyncQdrantRunner", "GoneError", "QdrantRunner", "TakenError"]

P = ParamSpec("P")
T = TypeVar("T")


class GoneError(BackendError):
    """There is no such collection."""


class TakenError(BackendError):
    """There is such a collection already."""


class _Shared:
    """The client of a folder, for all stores of this process."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.users = 0
        self.turn = threading.Lock()


_folders: dict[str, _Shared] = {}
_opening = threading.Lock()


def _open_local(location: Location) -> _Shared:
    """Return the client of the local mode; give it back with [_close_local][]."""
    from qdrant_client import QdrantClient

    path = location.path
    if path is None or path == ":memory:":
        return _Shared(QdrantClient(location=":memory:"))
    with _opening:
        shared = _folders.get(path)
        if shared is None:
            try:
                # The turn that every operation takes is what the check of threads is for.
                shared = _Shared(QdrantClient(path=path, force_disable_check_same_thread=True))
            except (OSError, RuntimeError, sqlite3.OperationalError) as error:  # it keeps its points in SQLite files
                raise ConnectionFailedError(
                    f"{location.name} cannot be opened; another process may have it open, and only one can (start a "
                    f"server for more), or this one may not write there"
                ) from error
            except (ValueError, sqlite3.DatabaseError) as error:
                raise ConnectionFailedError(f"{location.name} cannot be opened: its files are damaged") from error
            _folders[path] = shared
        shared.users += 1
        return shared


def _close_local(location: Location, shared: _Shared) -> None:
    with _opening:
        shared.users -= 1
        if shared.users > 0:
            return
        _folders.pop(location.path or "", None)
        with shared.turn:
            shared.client.close()


@reads
def _ask() -> Steps[None]:
    """See that the server answers, and lets us in: its client would wait for the first operation."""
    yield lambda client: client.get_collections()


def _options(location: Location, timeout: float) -> dict[str, Any]:
    return {
        "host": location.host,
        "port": location.port,
        "grpc_port": location.grpc_port,
        "prefer_grpc": location.prefer_grpc,
        "https": location.https,
        "api_key": location.api_key,
        "timeout": max(1, round(timeout)),
        "check_compatibility": False,  # it would ask the server before anybody wants something of it
    }


def _translated(error: Exception, name: str) -> PersistenceError:
    """Return an error in our words; without its text, which may quote what was to be stored."""
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    code: Any = None
    if isinstance(error, UnexpectedResponse):
        code = error.status_code
    elif callable(getattr(error, "code", None)):  # of gRPC
        code = getattr(error.code(), "name", None)  # type: ignore[attr-defined]
    if code in {404, "NOT_FOUND"} or (isinstance(error, ValueError) and str(error).endswith("not found")):
        return GoneError(f"{name} has no such collection")
    if code in {409, "ALREADY_EXISTS"} or (isinstance(error, ValueError) and str(error).endswith("already exists")):
        return TakenError(f"{name} has such a collection already")
    if code in {401, 403, "UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return ConnectionFailedError(f"{name} does not let this client in: check its API key")
    # A ValueError is an answer that is not what the client expects.
    silent = isinstance(error, ResponseHandlingException) and not isinstance(error.source, ValueError)
    if silent or code in {408, 502, 503, 504, "UNAVAILABLE", "DEADLINE_EXCEEDED"}:
        return ConnectionFailedError(f"{name} does not answer ({type(error).__name__})")
    return BackendError(f"{name} failed: {type(error).__name__}" + ("" if code is None else f" {code}"))


class QdrantRunner(Runner):
    """Runs operations whose steps yield functions of a client.

    Args:
        location: where; None with ``client``.
        timeout: seconds within which a server has to answer.
        client: a ``QdrantClient`` to use instead of an own one; it stays open.
    """

    def __init__(self, location: Location | None, timeout: float, client: Any = None) -> None:
        self._location = location
        self._timeout = timeout
        self._given = client
        self._name = location.name if location is not None else "Qdrant"
        self._closed = False
        self._forked = False
        self._reset()
        renew_in_child(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = self._given
        self._shared = None if self._given is None else _Shared(self._given)

    def _renew(self) -> None:
        local = self._location is None or self._location.path is not None
        self._forked = self._client is not None and local
        self._reset()

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self.run(_ask)

    def _connected(self) -> Any:
        if self._closed:
            raise StoreClosedError("this store is closed")
        if self._forked:
            raise UnsupportedOperationError(f"{self._name} does not survive a fork: start processes with 'spawn'")
        if self._client is not None:
            return self._client
        with self._lock:
            return self._open()

    def _open(self) -> Any:
        if self._client is None and self._location is not None:  # another thread may have been first
            if self._location.path is not None:
                self._shared = _open_local(self._location)
                self._client = self._shared.client
            else:
                from qdrant_client import QdrantClient

                self._client = QdrantClient(**_options(self._location, self._timeout))
        return self._client

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        client = self._connected()

        def perform(request: Callable[[Any], Any]) -> Any:
            try:
                return request(client)
            except PersistenceError:
                raise
            except Exception as error:
                raise _translated(error, self._name) from error

        with contextlib.nullcontext() if self._shared is None else self._shared.turn:
            if self._closed:  # meanwhile
                raise StoreClosedError("this store is closed")
            return run(operation(*args, **kwargs), perform)

    def close(self) -> None:
        """See [Runner.close][]."""
        with self._lock:
            self._closed = True
            client, shared = self._client, self._shared
            self._client = self._shared = None
        if client is None or self._given is not None:
            return
        if shared is not None and self._location is not None:
            _close_local(self._location, shared)
        else:
            client.close()


class AsyncQdrantRunner(AsyncRunner):
    """[QdrantRunner][] for async clients.

    Args:
        location: of a server; None with ``client``.
        timeout: seconds within which a server has to answer.
        client: an ``AsyncQdrantClient`` to use instead of an own one; it stays open.
    """

    def __init__(self, location: Location | None, timeout: float, client: Any = None) -> None:
        self._location = location
        self._timeout = timeout
        self._given = client
        self._client: Any = client
        self._name = location.name if location is not None else "Qdrant"
        self._closed = False
        renew_in_child(self)

    def _renew(self) -> None:
        self._client = self._given

    async def connect(self) -> None:
        """See [AsyncRunner.connect][]."""
        await self.run(_ask)

    def _connected(self) -> Any:
        if self._closed:
            raise StoreClosedError("this store is closed")
        if self._client is None and self._location is not None:
            from qdrant_client import AsyncQdrantClient

            self._client = AsyncQdrantClient(**_options(self._location, self._timeout))
        return self._client

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [AsyncRunner.run][]."""
        client = self._connected()

        async def perform(request: Callable[[Any], Any]) -> Any:
            try:
                return await request(client)
            except PersistenceError:
                raise
            except Exception as error:
                raise _translated(error, self._name) from error

        return await run_async(operation(*args, **kwargs), perform)

    async def close(self) -> None:
        """See [AsyncRunner.close][]."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None and self._given is None:
            await client.close()
