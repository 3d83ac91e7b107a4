"""Chroma's client, and what its stores can be given.

An embedded Chroma keeps its vector index in the memory of the process, and does not see there what another process
writes. So a folder is one process' at a time: it holds a lock for as long as it has a store open on it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from praisonai_persistence.drivers import Driver, HttpErrors, Options, option
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError
from praisonai_persistence.locks import FileLock, LockTimeoutError
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError

__all__ = ["ChromaDriver", "ChromaOptions", "Client"]


class ChromaOptions(Options):
    """What the stores in Chroma can be given."""

    title = "Chroma"
    schemes = ("chroma", "async_chroma", "chromadb")
    servers = folders = memory = True
    default_port = 8000
    hint = "; Chroma takes its token as a header: headers={...}"

    ssl = option(False, "flag", "whether to use HTTPS", url=True, server=True)
    headers = option(
        {}, "object", 'sent with every request, for example `{"X-Chroma-Token": "..."}`', server=True, secret=True
    )
    tenant = option("default_tenant", "text", "Chroma's tenant, which has to exist", url=True)
    database = option("default_database", "text", "its database, which has to exist", url=True)
    connect_timeout = option(10.0, "seconds", "seconds within which a server has to take a connection")
    timeout = option(60.0, "seconds", "seconds within which it has to answer a request")
    hnsw = option(
        {},
        "object",
        "settings of the vector index of collections created by this store: `ef_construction`, `ef_search`, "
        "`max_neighbors` and others of Chroma",
    )

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if not all(isinstance(part, str) for pair in dict(self.headers).items() for part in pair):
            raise ConfigurationError("headers must be a mapping of text to text")
        if "space" in self.hnsw:
            raise ConfigurationError("hnsw cannot set 'space': that is the distance's")


class Client:
    """A connection, and the collections that were opened with it.

    Attributes:
        chroma: Chroma's own client.
        opened: its collections by our names of them.
        lock: of a folder.
    """

    def __init__(self, chroma: Any, lock: FileLock | None = None) -> None:
        self.chroma = chroma
        self.lock = lock
        self.opened: dict[str, Any] = {}


class ChromaDriver(Driver):
    """A server, a folder, or the memory of this process, which all stores there share.

    Args:
        options: of the store.
    """

    imports = ("chromadb", "httpx")
    packages = ("chromadb", "httpx", "httpcore", "chromadb_rust_bindings", "pydantic", "pydantic_core", "numpy")

    def __init__(self, options: ChromaOptions) -> None:
        self._options = options
        self.where = options.where
        self.connect_timeout, self.timeout = options.connect_timeout, options.timeout
        self._errors = HttpErrors(self.where, "check its headers")
        if options.host is None:
            self.place, self.forks, self.turns = options.path, "refuse", "writes"
            if options.path == ":memory:":
                self.interrupts = "keep"
            else:
                self.path = options.path

    def open(self, deadline: Deadline) -> Client:
        return self._embed() if self._options.host is None else Client(self._reach(self._options.host))

    def _reach(self, host: str) -> Any:
        import chromadb
        import httpx

        options = self._options
        limits = httpx.Timeout(self.timeout, connect=self.connect_timeout)
        address = f"{'https' if options.ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{options.port}"
        database = f"tenants/{quote(options.tenant, safe='')}/databases/{quote(options.database, safe='')}"
        # Asked for first, because Chroma's client waits for ever, and keeps its connection when it is refused.
        answer = httpx.get(
            f"{address}/api/v2/{database}",
            headers=dict(options.headers),
            timeout=self.connect_timeout,
            verify=options.ssl,
        )
        if answer.status_code != httpx.codes.OK:
            raise ConnectionFailedError(
                f"{self.where} has no database {options.database!r} of tenant {options.tenant!r}, or does not let this "
                f"client in (HTTP {answer.status_code})"
            )
        client = chromadb.HttpClient(
            host,
            options.port,
            options.ssl,
            dict(options.headers),
            # Without TLS there is nothing to verify, and to load the certificates takes longer than all the rest.
            _settings() if options.ssl else _settings(chroma_server_ssl_verify=False),
            options.tenant,
            options.database,
        )
        for session in _sessions(client):
            session.timeout = limits
        return client

    def _embed(self) -> Client:
        import chromadb

        options = {"tenant": self._options.tenant, "database": self._options.database}
        if self.path is None:
            return Client(chromadb.EphemeralClient(_settings(), **options))
        lock = self._taken(self.path)
        try:
            return Client(chromadb.PersistentClient(self.path, _settings(), **options), lock)
        except Exception as error:
            lock.release()
            raise ConnectionFailedError(
                f"{self.where} cannot be opened, or has no such tenant or database ({type(error).__name__})"
            ) from error

    @staticmethod
    def _taken(path: str) -> FileLock:
        lock = FileLock(os.path.join(path, "praisonai.lock"))
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
            lock.acquire(0)
        except LockTimeoutError as error:
            raise ConnectionFailedError(
                f"{path} is in use by another process, and an embedded Chroma serves one only; for more, start a "
                f"server (chroma run --path ...)"
            ) from error
        except OSError as error:
            raise ConnectionFailedError(f"cannot use the folder {path}: {error.strerror}") from error
        return lock

    def close(self, client: Client) -> None:
        sessions = _sessions(client.chroma)
        try:
            client.chroma.close()
            for session in sessions:  # which Chroma leaves open
                session.close()
        finally:
            if client.lock is not None:
                client.lock.release()

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx
        from chromadb import errors

        if isinstance(error, errors.NotFoundError):
            return GoneError(f"{self.where}: a collection is not there any more")
        if isinstance(error, errors.UniqueConstraintError) or "already exists" in str(error):
            return TakenError(f"{self.where}: the collection exists already")
        if isinstance(error, (httpx.TransportError, httpx.InvalidURL)):
            return self._errors.silent(error)
        if isinstance(error, (errors.ChromaAuthError, errors.AuthorizationError)):
            return self._errors.error(401, error)
        return None


def _settings(**settings: Any) -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False, **settings)


def _sessions(client: Any) -> list[Any]:
    """Return the HTTP connections of Chroma's client, which has no public way to them."""
    import httpx

    owners = (client, getattr(client, "_admin_client", None))
    servers = {id(server): server for owner in owners if (server := getattr(owner, "_server", None)) is not None}
    found = (getattr(server, "_session", None) for server in servers.values())
    return [session for session in found if isinstance(session, httpx.Client)]
