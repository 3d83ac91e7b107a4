"""Chroma's client, and what its stores can be given.

An embedded Chroma keeps its vector index in the memory of the process, and does not see there what another process
writes. So a folder is one process' at a time: it holds a lock for as long as it has a store open on it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from praisonai_persistence.drivers import Driver, HttpErrors, Options, option
from praisonai_persistence.drivers.folders import has_room, take_folder
from praisonai_persistence.drivers.guarded import while_there
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.locks import FileLock
    from praisonai_persistence.steps import Steps

__all__ = ["FULL", "PAGE", "ChromaDriver", "ChromaOptions", "Client", "collection_names", "the_client"]

PAGE = 1_000
"""Ids in one request, and collections in one answer."""
FULL = ["documents", "metadatas", "embeddings"]
"""All that Chroma has of a document beside its id."""
_DATABASE = "chroma.sqlite3"
_SPACE = 8 * 2**20
"""Bytes that have to be free on a folder's disk before a write. Where Chroma's engine finds the disk full in the middle
of a transaction, it may leave the transaction open: its next request waits for that one's lock, and holds the lock of
the interpreter meanwhile, so that the whole process stands still."""


class ChromaOptions(Options):
    """What the stores in Chroma can be given."""

    title = "Chroma"
    schemes = ("chroma", "async_chroma", "chromadb")
    servers = folders = memory = True
    default_port = 8000
    hint = "; Chroma takes its token as a header: headers={...}"

    ssl = option(False, "flag", "whether to use HTTPS", url=True, server=True)
    headers = option(
        {}, "headers", 'sent with every request, for example `{"X-Chroma-Token": "..."}`', server=True, secret=True
    )
    tenant = option("default_tenant", "text", "Chroma's tenant, which has to exist", url=True)
    database = option("default_database", "text", "its database, which has to exist", url=True)
    connect_timeout = option(10.0, "seconds", "seconds within which a server has to take a connection")
    timeout = option(60.0, "seconds", "seconds within which it has to answer a request")
    hnsw = option({}, "object", "of the index of new collections: `ef_construction`, `ef_search`, `max_neighbors` ...")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **{name: value for name, value in given.items() if name != "headers" or value})
        if not isinstance(self.hnsw, Mapping) or "space" in self.hnsw:
            raise ConfigurationError("hnsw must be a mapping without 'space': that is the distance's")


class Client(NamedTuple):
    """Chroma's own client of a tenant and a database, its opened collections by name, and by id which are large."""

    chroma: Any
    opened: dict[str, Any]
    large: dict[Any, list[bool]]
    folder: tuple[int, int] | None  # the identity of the place's
    full: bool = False  # the disk has no room for a write, which is what it is lent for


class Place(NamedTuple):
    """What is open in one place: clients by tenant and database, and the lock of a folder."""

    clients: dict[tuple[str, str], Client]
    opening: threading.Lock  # Chroma's own table of engines has none for this
    lock: FileLock | None
    folder: tuple[int, int] | None  # its identity


class ChromaDriver(Driver):
    """A server, a folder, or the memory of this process, which all stores there share.

    Args:
        options: of the store.
    """

    imports = ("chromadb", "httpx")
    packages = ("chromadb", "httpx", "httpcore", "chromadb_rust_bindings", "pydantic", "pydantic_core", "numpy")

    makes = ("chroma.sqlite3*", "????????-????-????-????-????????????")  # a folder for the vectors of a collection

    def __init__(self, options: ChromaOptions) -> None:
        super().__init__(options)
        self._options = options
        self._key = options.tenant, options.database
        self._errors = HttpErrors(self.where, "check its headers")
        if options.host is None:
            self.place, self.forks, self.turns = options.path, "refuse", "writes"
            if options.path == ":memory:":
                self.interrupts = "keep"
            else:
                self.path = options.path

    def exists(self) -> bool:
        if self.path is None:
            return True
        database = os.path.join(self.path, _DATABASE)
        return os.path.exists(database) and os.path.getsize(database) > 0  # it is empty before Chroma has opened it

    def open(self, deadline: Deadline) -> Place:
        instead = "for more, start a server (chroma run --path ...)"
        lock = None if self.path is None else take_folder(self.path, "praisonai.lock", instead, files=[_DATABASE])
        place = Place({}, threading.Lock(), lock, identity(self.path))
        try:
            self._client(place)
        except BaseException:
            self.close(place)
            raise
        return place

    def begin(self, place: Place, *, write: bool) -> AbstractContextManager[Client]:
        client = place.clients.get(self._key) or self._client(place)
        full = write and self.path is not None and not has_room(self.path, _SPACE)
        return nullcontext(client._replace(full=True) if full else client)

    def probe(self) -> Steps[None]:
        yield _look  # the place may have been opened for another tenant and database

    def _client(self, place: Place) -> Client:
        with place.opening:
            if self._key not in place.clients:
                host = self._options.host
                chroma = self._guard(self._embed, place.folder) if host is None else self._reach(host)
                place.clients[self._key] = Client(chroma, {}, {}, place.folder)
            return place.clients[self._key]

    def perform(self, on: Client, request: Callable[[Client], Any]) -> Any:
        if request is the_client:  # nothing is asked of Chroma, which might never answer
            return on
        if on.full and request is not _look:
            raise BackendError(f"{self.where}: the disk is full ({_SPACE // 2**20} MiB have to be free for a write)")
        return self._guard(lambda: request(on), on.folder)

    def _guard(self, call: Callable[[], Any], folder: tuple[int, int] | None) -> Any:
        """Do a call, which may never return when the folder has gone."""
        return call() if self.path is None else while_there(call, self.path, folder, self.where)

    def spoiled(self, place: Place) -> bool:
        return identity(self.path) != place.folder

    def _reach(self, host: str) -> Any:
        import chromadb
        import httpx

        options = self._options
        limits = httpx.Timeout(self.timeout, connect=self.connect_timeout)
        address = f"{'https' if options.ssl else 'http'}://{options.authority}"
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
            *self._key,
        )
        for session in _sessions(client):
            session.timeout = limits
        return client

    def _embed(self) -> Any:
        import chromadb

        try:
            if self.path is None:
                return chromadb.EphemeralClient(_settings(), *self._key)
            return chromadb.PersistentClient(self.path, _settings(), *self._key)
        except Exception as error:
            raise ConnectionFailedError(
                f"{self.where} cannot be opened, or has no such tenant or database ({type(error).__name__})"
            ) from error

    def close(self, place: Place) -> None:
        try:
            for client in place.clients.values():
                sessions = _sessions(client.chroma)
                self._guard(client.chroma.close, place.folder)
                for session in sessions:  # which Chroma leaves open
                    session.close()
        finally:
            if place.lock is not None:
                place.lock.release()

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


def the_client(client: Client) -> Client:
    """Return it: for what is known of it without a request."""
    return client


def collection_names(client: Client) -> list[str]:
    """Return the names of all of Chroma's collections in the database."""
    found: list[str] = []
    while len(page := client.chroma.list_collections(limit=PAGE, offset=len(found))) == PAGE:
        found += [item.name for item in page]
    return [*found, *(item.name for item in page)]


def _look(_: Client) -> None:
    """Write nothing."""


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
