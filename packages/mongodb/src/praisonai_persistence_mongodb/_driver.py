"""PyMongo's clients, and what their stores can be given."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_plus

from praisonai_persistence.drivers import Driver, FreshOptions, Options, check_fields, matching, option
from praisonai_persistence.drivers.guarded import on_own_thread
from praisonai_persistence.errors import ConfigurationError, StoreNotFoundError
from praisonai_persistence.payload import check_identifier
from praisonai_persistence_mongodb._cosmos_index import KINDS
from praisonai_persistence_mongodb._engine import Bulk
from praisonai_persistence_mongodb._letting_go import (
    bound_selection,
    close,
    close_unconnected,
    forget_sessions,
    hold,
    let_go,
    take_end,
)
from praisonai_persistence_mongodb._refusals import refused

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_mongodb._engine import MongoEngine

__all__ = ["MongoDriver", "MongoOptions", "MongoVectorOptions", "listed"]

_INDEX = matching("(?s).{1,100}", "text of 1 to 100 characters")
_FIELD = matching("[A-Za-z][A-Za-z0-9_]{0,99}", "a letter, and then at most 99 letters, digits and _")
MAX_ATOMIC = 1_000
"""Documents of a transaction."""
_OURS = {"connecttimeoutms", "serverselectiontimeoutms", "sockettimeoutms", "timeoutms"}
"""Parameters of a URL that are options of ours, in milliseconds."""
_REFUSED = {
    "readpreference": "the store reads from the primary, for others may not have what was acknowledged",
    "maxstalenessseconds": "the store reads from the primary",
}


class MongoOptions(Options):
    """What the stores in MongoDB can be given."""

    title = "MongoDB"
    schemes: ClassVar[tuple[str, ...]] = ("mongodb", "async_mongodb", "mongodb_async", "motor")
    servers = True
    default_port = 27017
    default_host = "localhost"
    clients = ("client",)
    user_is, password_is, path_is = "username", "password", "database"

    database = option("praisonai", "text", "of the server; in a URL the path", server=True)
    collection = option(None, "text", "its name behind the prefix; by default `state` or `conversations`", url=True)
    username = option(None, "text", "in a URL before the host", server=True)
    password = option(None, "text", "in a URL before the host", server=True, secret=True)
    client = option(
        None,
        "object",
        "a `MongoClient` (`AsyncMongoClient` for the async store) of yours instead of a place; it stays open",
    )
    client_options = option(None, "object", "a mapping: more keyword arguments of the client", server=True)
    connect_timeout = option(10.0, "seconds", "seconds to find a server and connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a server has to answer a request", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        self.uri: str | None = None
        super().__init__(url, **given)
        self.database = _database(self.database)
        if self.collection is not None:
            check_identifier(self.collection, "collection")
        self.client_options = dict(self.client_options or {})
        _check_client_options(self.client_options)
        if self.host is not None and self.uri is None:
            self.uri = f"mongodb://{self.authority}/"

    def _from_url(
        self, url: str, place: dict[str, Any], found: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        from praisonai_persistence.urls import mask, parse_url

        parsed = parse_url(url)
        head, _, query = url.partition("?")
        scheme, _, rest = head.partition("://")
        srv = parsed.variant == "srv"
        if srv and (parsed.port is not None or "," in (parsed.host or "")):
            raise ConfigurationError(f"{mask(url)!r}: mongodb+srv takes one name, and no port")
        own: list[str] = []
        drivers: list[str] = []
        for part in filter(None, re.split("[&;]", query)):
            name = part.partition("=")[0]
            (own if name in self.declared and name.lower() not in _REFUSED else drivers).append(part)
        stated = {part.partition("=")[0] for part in own}
        times = {name: seconds for name, seconds in _check_parameters("&".join(drivers)).items() if name not in stated}
        drivers = [part for part in drivers if part.partition("=")[0].lower() not in _OURS]
        if parsed.host is None:
            head = f"{scheme}://localhost{rest}"
        place, found = super()._from_url("?".join(filter(None, (head, "&".join(own)))), place, {**times, **found})
        authority, slash, path = head.partition("://")[2].partition("/")
        self.uri = f"mongodb{'+srv' if srv else ''}://{authority}/{path if slash else ''}?{'&'.join(drivers)}"
        return place, found

    @property
    def where(self) -> str:
        if self.host is None:
            return self.title
        if self.uri is not None and self.uri.startswith("mongodb+srv"):
            return f"MongoDB at {self.host}"
        return f"the MongoDB servers at {self.host}" if "," in self.host else super().where


class MongoVectorOptions(MongoOptions, FreshOptions):
    """What the knowledge stores in MongoDB can be given."""

    schemes = (*MongoOptions.schemes, "mongodb_vector", "async_mongodb_vector", "mongodb_atlas", "mongo_vector")

    collection = option("vectors", "text", "its name behind the prefix; it says which collections there are", url=True)
    index_name = option("vector_index", _INDEX, "of the vector search indexes that are made", url=True)
    embedding_field = option("embedding", _FIELD, "the field of embeddings in new collections", url=True)
    text_field = option("content", _FIELD, "the field of contents in new collections", url=True)
    vector_search = option(
        "auto",
        ("auto", "atlas", "cosmos", "exact"),
        "new collections have a vector search index (`atlas`), one of Azure's Cosmos DB for MongoDB vCore, which is "
        "DocumentDB by now (`cosmos`), or none, and every vector is compared (`exact`); `auto`: `atlas` where the "
        "server has it, else `exact`; never `cosmos`",
        url=True,
    )
    cosmos_index = option(
        KINDS[0], KINDS, "which index `cosmos` makes; a cluster below M30 has `vector-ivf` only", url=True
    )
    exact_documents = option(
        100_000, "count", "of how many documents that may match the store compares the vectors itself", url=True
    )
    index_from = option(1_000, "count", "up to how many it does so also where there is an index", url=True)
    num_candidates = option(
        None, "count", "`numCandidates` of a search, at least; by default 20 times what is asked for", url=True
    )
    index_timeout = option(300.0, "seconds", "seconds within which a new index has to be ready", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        check_fields(self, ("embedding_field", "text_field"), OWN_FIELDS)


OWN_FIELDS = ("metadata", "content_hash", "created_at", "writer", "batch", "tokens", "given")
"""Fields of documents beside ``_id``, content and embedding."""


def _database(name: Any) -> str:
    if not name or len(name.encode()) > 63 or set(name) & set('/\\. "$\0'):
        raise ConfigurationError('database must have 1 to 63 bytes, and none of / \\ . " $, spaces or NUL')
    return str(name)


def _check_parameters(query: str) -> dict[str, Any]:
    """Check the client's parameters in a URL; return our options among them.

    Raises:
        ConfigurationError: there is no such parameter, or the store cannot do with it.
    """
    from pymongo.errors import PyMongoError
    from pymongo.uri_parser_shared import split_options

    if not query:
        return {}
    names = ", ".join(sorted(unquote_plus(part.partition("=")[0]) for part in query.split("&")))
    try:
        values = split_options(query)
    except (PyMongoError, ValueError, TypeError):
        raise ConfigurationError(
            f"among the parameters {names} of the URL is one that MongoDB's clients do not know, or its value is wrong"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"among the parameters {names} of the URL is one whose file cannot be read ({type(error).__name__})"
        ) from None
    return _check_client_options(values)


def _check_client_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the client's options; return ours among them, in seconds."""
    lower = {name.lower(): value for name, value in values.items()}
    if str(lower.get("readpreference", "primary")).lower() != "primary":
        raise ConfigurationError(f"readPreference: {_REFUSED['readpreference']}")
    if lower.get("w") == 0:
        raise ConfigurationError("w=0: the store has to know what was written")
    times = {
        "connect_timeout": lower.get("serverselectiontimeoutms", lower.get("connecttimeoutms")),
        "timeout": lower.get("timeoutms", lower.get("sockettimeoutms")),
    }
    return {name: float(seconds) for name, seconds in times.items() if seconds}


class MongoDriver(Driver):
    """A client, which has a pool of connections.

    Args:
        options: of the store.
        collection: its name.
        indexes: of a new collection: keyword arguments of PyMongo's ``IndexModel``.
        asynchronous: whether to use the async client.
        engine: is told where the server has transactions; None: it needs none.
    """

    imports = ("pymongo",)
    packages: ClassVar[tuple[str, ...]] = ("pymongo", "bson", "dns", "gridfs")

    def __init__(
        self,
        options: MongoOptions,
        collection: str,
        indexes: list[dict[str, Any]],
        *,
        asynchronous: bool,
        engine: MongoEngine | None = None,
    ) -> None:
        super().__init__(options)
        self._engine = engine
        self._options = options
        self._collection = collection
        self._indexes = indexes
        self.asynchronous = asynchronous
        self._opened: tuple[Any, Any] = (None, None)
        self._timeout: Any = None
        self._pid = os.getpid()

    def open(self, deadline: Deadline) -> Any:
        import pymongo
        from pymongo.driver_info import DriverInfo

        kind = pymongo.AsyncMongoClient if self.asynchronous else pymongo.MongoClient
        options = self._options
        login = {"username": options.username, "password": options.password}
        self._pid = os.getpid()
        client = kind(
            options.uri,
            **{name: value for name, value in login.items() if value is not None},
            **{
                "serverSelectionTimeoutMS": round(options.connect_timeout * 1000),
                "connectTimeoutMS": round(options.connect_timeout * 1000),
                "socketTimeoutMS": round(options.timeout * 1000),
                "waitQueueTimeoutMS": round(options.timeout * 1000),
                "driver": DriverInfo("praisonai-persistence"),
                **options.client_options,
            },
        )
        return self._connect(hold(client)) if self.asynchronous else client

    async def _connect(self, client: Any) -> Any:
        """Find the server.

        It is asked in a task of its own, which may have to be cancelled more than once: before Python 3.12 a
        cancellation that comes together with news of the server is lost in PyMongo, which goes on waiting.
        """
        import pymongo

        with pymongo.timeout(self.connect_timeout):
            asking = asyncio.ensure_future(client.admin.command("ping"))
        try:
            await asyncio.wait([asking])
            asking.result()
        except BaseException:
            try:
                while not asking.done():
                    asking.cancel()
                    await asyncio.wait([asking], timeout=0.05)
            finally:
                asking.add_done_callback(take_end)
                await close(client)
            raise
        return client

    def close(self, client: Any) -> Any:
        if self.asynchronous:
            return close(client)
        forget_sessions(client)
        return client.close()

    def abandon(self, client: Any) -> None:
        let_go(client, self._pid, asynchronous=self.asynchronous)

    def begin(self, client: Any, *, write: bool) -> Any:
        known, on = self._opened
        if known is not client:
            on = contextlib.nullcontext(self._open_collection(client))
            self._opened = client, on
        return on

    def _open_collection(self, client: Any) -> Any:
        from bson.codec_options import CodecOptions
        from pymongo import ReadPreference, WriteConcern, timeout
        from pymongo.read_concern import ReadConcern

        self._timeout = timeout
        concern = client.write_concern
        if concern.is_server_default or not concern.acknowledged:
            concern = WriteConcern(w="majority")
        return client.get_database(self._options.database).get_collection(
            self._collection,
            codec_options=CodecOptions(),
            read_preference=ReadPreference.PRIMARY,
            write_concern=concern,
            read_concern=ReadConcern("local"),  # of the primary: it sees what was acknowledged
        )

    def perform(self, on: Any, request: Any) -> Any:
        """See the base. The time includes that of PyMongo's retries (L05)."""
        if self.asynchronous:
            return self._perform(on, request)
        # The deadline ends with its context: an interrupt leaves none behind.
        run = contextvars.copy_context().run
        if isinstance(request, Bulk):
            # To write many documents, PyMongo's C code calls Python code, and loses what is raised there (L03).
            return on_own_thread(functools.partial(run, self._request, on, request))
        return run(self._request, on, request)

    def _request(self, on: Any, request: Any) -> Any:
        with self._timeout(self.timeout):
            return request(on)

    async def _perform(self, on: Any, request: Any) -> Any:
        try:
            with self._timeout(self.timeout):
                return await request(on)
        except asyncio.CancelledError as error:
            close_unconnected(error)
            raise

    def probe(self) -> Steps[None]:
        """Look at the collection; make it, with its indexes, where there is none.

        Raises:
            ConfigurationError: its collation does not tell ids apart.
            StoreNotFoundError: there is none, and must be.
        """
        from pymongo import IndexModel

        found = yield self._first
        if self.given is None:
            bound_selection(self._opened[0], self.connect_timeout)
        if self._engine is not None:
            self._engine.max_atomic = MAX_ATOMIC if has_transactions(self._opened[0]) else 0
        for one in [one for one in found if one["name"] == self._collection]:
            if one.get("options", {}).get("collation"):
                raise ConfigurationError(
                    f"the collection {self._collection} of {self.where} has a collation, under which different keys "
                    "may be equal; name another one, or drop it and let the store make it"
                )
            return
        if self.must_exist:
            raise StoreNotFoundError(f"there is no store yet: {self.where} has no collection {self._collection}")
        models = [IndexModel(**one) for one in self._indexes]
        yield lambda collection: collection.create_indexes(models)

    def _first(self, collection: Any) -> Any:
        """List the collection, which is the first request: it has the time to connect in, and no more."""
        import pymongo

        if self.asynchronous:
            return _list(collection)
        with pymongo.timeout(self.connect_timeout):
            return _list(collection)

    def translate(self, error: Exception) -> PersistenceError | None:
        return refused(error, self.where, self._options.database, self.timeout)


def has_transactions(client: Any) -> bool:
    """Whether the servers have transactions: those of replica sets and sharded clusters."""
    servers = client.topology_description.server_descriptions().values()
    return any(server.server_type_name in {"RSPrimary", "Mongos", "LoadBalancer"} for server in servers)


def _list(collection: Any) -> Any:
    return listed(collection.database.list_collections(filter={"name": collection.name}))


def listed(found: Any) -> Any:
    """Return all that a cursor has; of an async client awaited, also where the cursor itself has to be awaited."""
    return _awaited(found) if asyncio.iscoroutine(found) else found.to_list()


async def _awaited(found: Any) -> Any:
    return await (await found).to_list()
