"""The client of one store, and the runner around it.

An embedded Chroma keeps its vector index in the memory of the process, and does not see there what another process
writes. So a folder is one process' at a time: it holds a lock for as long as it has a store open on it. Stores of one
process share the engine (Chroma sees to that) and a lock that their writers hold.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from urllib.parse import quote

from filelock import FileLock, Timeout

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import is_write, run
from praisonai_persistence.stores import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.steps import Steps
    from praisonai_persistence_chroma._location import Location

__all__ = ["ChromaRunner", "Client", "TakenError"]

P = ParamSpec("P")
T = TypeVar("T")


class TakenError(BackendError):
    """Somebody else created the collection meanwhile."""


class _GoneError(BackendError):
    """The collection was deleted, by somebody else, after it had been opened."""


class _Folder:
    """What the stores of this process share that are in one place."""

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.users = 0
        self.writers = threading.Lock()
        self._lock: FileLock | None = None

    def take(self) -> None:
        if self.path is None:
            return
        try:
            os.makedirs(self.path, exist_ok=True)
            lock = FileLock(os.path.join(self.path, "praisonai.lock"), thread_local=False)
            lock.acquire(0)
        except Timeout as error:
            raise ConnectionFailedError(
                f"{self.path} is in use by another process, and an embedded Chroma serves one only; for more, start "
                f"a server (chroma run --path ...)"
            ) from error
        except OSError as error:
            raise ConnectionFailedError(f"cannot use the folder {self.path}: {error.strerror}") from error
        self._lock = lock

    def give_back(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


_folders: dict[str | None, _Folder] = {}
_opening = threading.Lock()  # Chroma's own table of engines has none for this


class Client:
    """A connection, and the collections that were opened with it. Safe to share between threads.

    Args:
        location: where.
        connect_timeout: seconds until a server has to answer a connection.
        timeout: seconds until it has to answer a request.
    """

    def __init__(self, location: Location, connect_timeout: float, timeout: float) -> None:
        self.location = location
        self._timeouts = connect_timeout, timeout
        self._forked = False
        self._reset()
        renew_in_child(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = None
        self._folder: _Folder | None = None
        self.opened: dict[str, Any] = {}

    def _renew(self) -> None:
        self._forked = self._client is not None and self.location.host is None
        self._reset()

    @property
    def chroma(self) -> Any:
        """Chroma's own client."""
        return self._client

    @property
    def writers(self) -> contextlib.AbstractContextManager[Any]:
        """What a writer holds: a server has writers of many processes, so it is nothing there."""
        return contextlib.nullcontext() if self._folder is None else self._folder.writers

    def connect(self) -> None:
        """Connect if that has not happened yet.

        Raises:
            ConnectionFailedError: nobody answers, or the folder cannot be used.
        """
        if self.connected():
            return
        if self._forked:
            raise UnsupportedOperationError(
                "an embedded Chroma does not survive a fork: start processes with 'spawn', or use a server"
            )
        with self._lock:
            if self.connected():  # another thread was first
                return
            if self.location.host is None:
                self._embed()
            else:
                self._client = self._reach(self.location.host)

    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._client is not None

    def _reach(self, host: str) -> Any:
        import chromadb
        import httpx

        connect_timeout, timeout = self._timeouts
        limits = httpx.Timeout(timeout, connect=connect_timeout)
        location = self.location
        address = f"{'https' if location.ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{location.port}"
        database = f"tenants/{quote(location.tenant, safe='')}/databases/{quote(location.database, safe='')}"
        try:
            # Asked for first, because Chroma's client waits for ever, and keeps its connection when it is refused.
            answer = httpx.get(
                f"{address}/api/v2/{database}", headers=dict(location.headers), timeout=limits, verify=location.ssl
            )
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ConnectionFailedError(f"{location.name} does not answer ({type(error).__name__})") from error
        if answer.status_code != httpx.codes.OK:
            raise ConnectionFailedError(
                f"{location.name} has no database {location.database!r} of tenant {location.tenant!r}, or does not let "
                f"this client in (HTTP {answer.status_code})"
            )
        try:
            client = chromadb.HttpClient(
                host,
                location.port,
                location.ssl,
                dict(location.headers),
                # Without TLS there is nothing to verify, and to load the certificates takes longer than all the rest.
                self._settings() if location.ssl else self._settings(chroma_server_ssl_verify=False),
                location.tenant,
                location.database,
            )
        except Exception as error:
            raise ConnectionFailedError(f"{location.name} refuses a client ({type(error).__name__})") from error
        for session in _sessions(client):
            session.timeout = limits
        return client

    def _embed(self) -> None:
        import chromadb

        path = self.location.path
        with _opening:
            folder = _folders.get(path)
            if folder is None:
                folder = _Folder(path)
                folder.take()
            try:
                options = {"tenant": self.location.tenant, "database": self.location.database}
                if path is None:
                    client = chromadb.EphemeralClient(self._settings(), **options)
                else:
                    client = chromadb.PersistentClient(path, self._settings(), **options)
            except BaseException as error:
                if not folder.users:
                    folder.give_back()
                if not isinstance(error, Exception):
                    raise
                raise ConnectionFailedError(
                    f"{self.location.name} cannot be opened, or has no such tenant or database ({type(error).__name__})"
                ) from error
            folder.users += 1
            _folders[path] = folder
            self._folder, self._client = folder, client

    @staticmethod
    def _settings(**settings: Any) -> Any:
        from chromadb.config import Settings

        return Settings(anonymized_telemetry=False, **settings)

    def close(self) -> None:
        """Release the connection."""
        with self._lock:
            client, folder = self._client, self._folder
            self._client = self._folder = None
            self.opened = {}
        if client is None:
            return
        with _opening if folder is not None else contextlib.nullcontext():
            sessions = _sessions(client)
            client.close()
            for session in sessions:  # which Chroma leaves open
                session.close()
            if folder is not None:
                folder.users -= 1
                if not folder.users:
                    del _folders[folder.path]
                    folder.give_back()


def _sessions(client: Any) -> list[Any]:
    """Return the HTTP connections of Chroma's client, which has no public way to them."""
    import httpx

    owners = (client, getattr(client, "_admin_client", None))
    servers = {id(server): server for owner in owners if (server := getattr(owner, "_server", None)) is not None}
    found = (getattr(server, "_session", None) for server in servers.values())
    return [session for session in found if isinstance(session, httpx.Client)]


class ChromaRunner(Runner):
    """Runs operations whose steps yield functions of a [Client][].

    Args:
        client: where.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._closed = False

    def connect(self) -> None:
        """See [Runner.connect][]."""
        if self._closed:
            raise StoreClosedError("this store is closed")
        self._client.connect()

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        self.connect()
        try:
            return self._run(operation, *args, **kwargs)
        except _GoneError:
            self._client.opened = {}
            return self._run(operation, *args, **kwargs)

    def _run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        with self._client.writers if is_write(operation) else contextlib.nullcontext():
            return run(operation(*args, **kwargs), self._perform)

    def _perform(self, request: Callable[[Client], Any]) -> Any:
        try:
            return request(self._client)
        except PersistenceError:
            raise
        except Exception as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> PersistenceError:
        """Return an error in our words; without its text, which may quote what was to be stored."""
        import httpx
        from chromadb import errors

        name = self._client.location.name
        if isinstance(error, errors.NotFoundError):
            return _GoneError(f"{name}: a collection is not there any more")
        if isinstance(error, errors.UniqueConstraintError) or "already exists" in str(error):
            return TakenError(f"{name}: the collection exists already")
        if isinstance(error, httpx.TransportError):
            return ConnectionFailedError(f"{name} does not answer ({type(error).__name__})")
        if isinstance(error, (errors.ChromaAuthError, errors.AuthorizationError)):
            return ConnectionFailedError(f"{name} does not let this client in: check its headers")
        return BackendError(f"{name} failed: {type(error).__name__}")

    def close(self) -> None:
        """See [Runner.close][]."""
        self._closed = True
        self._client.close()
