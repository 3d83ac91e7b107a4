"""SurrealDB as a client: embedded in this process, or on a server; and what its stores can be given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Driver, HttpErrors, Options, Pauses, ThrottledError, option
from praisonai_persistence.drivers.folders import take_folder
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError
from praisonai_persistence.stores.vector_errors import TakenError
from praisonai_persistence.urls import scheme_of
from praisonai_persistence_surrealdb._logs import hold, settle
from praisonai_persistence_surrealdb._schema import prepare

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.locks import FileLock
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_surrealdb._schema import Schema

__all__ = [
    "Query",
    "SurrealConversationOptions",
    "SurrealDriver",
    "SurrealOptions",
    "SurrealStateOptions",
    "SurrealVectorOptions",
    "ask",
]

_TRANSPORTS = ("ws", "wss", "http", "https")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_AGAIN = ("can be retried", "transaction conflict", "write conflict", "resource busy")
_REFUSED = (
    "authentication",
    "no record was returned",
    "not enough permissions",
    "not allowed",
    "iam error",
    "anonymous access",
    "expired",
)
_BROKEN = ("datastore", "io error", "log error", "no space", "os error")
_FIRST_PAUSE = 0.005  # seconds at the most; a transaction that conflicts with another is over in a moment


class SurrealOptions(Options):
    """What the stores in SurrealDB can be given."""

    title = "SurrealDB"
    schemes = ("surrealdb", "async_surrealdb", "surrealdb_vector", "async_surrealdb_vector", "surrealdb_v")
    servers = folders = memory = True
    default_host = "localhost"
    default_port = 8000
    user_is = "username"
    password_is = "password"  # noqa: S105 - the name of an option

    namespace = option("praisonai", "text", "SurrealDB's namespace", url=True)
    database = option("praisonai", "text", "the database in it", url=True)
    transport = option("ws", _TRANSPORTS, "how a server is spoken to", url=True, server=True)
    username = option(None, "text", "whom to sign in as; in a URL `surrealdb://USER:PASSWORD@host`", server=True)
    password = option(None, "text", "their password", server=True, secret=True)
    auth_level = option("root", ("root", "namespace", "database"), "where that user is defined", url=True, server=True)
    access = option(
        None, "text", "a record access method of the database to sign in with instead; see `variables`", server=True
    )
    variables = option({}, "object", "what the access method asks for: a mapping", server=True, secret=True)
    token = option(None, "text", "a token (JWT) instead of signing in", server=True, secret=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect to a server in", url=True)
    timeout = option(
        30.0, "seconds", "seconds within which a server has to answer, and for which a conflict is retried", url=True
    )

    def __init__(self, url: str | None = None, **given: Any) -> None:
        scheme, rest = scheme_of(url), url.partition("://")[2] if isinstance(url, str) else ""
        memory = url == "memory" or (scheme == "mem" and not rest)
        if memory or scheme in {"file", "surrealkv"}:  # as the vendor writes them
            if given.get("path") is not None or given.get("host") is not None:
                raise ConfigurationError(f"say where SurrealDB is by one of {self.forms()}")
            given["path"], url = rest or ":memory:", None
        elif scheme in _TRANSPORTS:
            given = {**given, "transport": given.get("transport") or scheme}
            address, mark, parameters = rest.partition("?")
            url = f"surrealdb://{re.sub('/rpc/?$', '', address)}{mark}{parameters}"
        super().__init__(url, **given)
        for name in ("namespace", "database"):
            if not _NAME.fullmatch(getattr(self, name)):
                raise ConfigurationError(f"{name} must be 1 to 63 ASCII letters, digits, '_' or '-'")
        if not isinstance(self.variables, Mapping):
            raise ConfigurationError("variables must be a mapping")
        ways = [name for name in ("username", "access", "token") if getattr(self, name) is not None]
        if len(ways) > 1 or (self.username is None) is not (self.password is None):
            raise ConfigurationError("sign in by username= and password=, or by access= and variables=, or by token=")

    @property
    def address(self) -> str:
        """The URL of the server, without the user."""
        return f"{self.transport}://{self.authority}"

    @property
    def sign_in(self) -> dict[str, Any] | None:
        """What is shown to the server; None: nothing, or a token."""
        place = {"namespace": self.namespace, "database": self.database}
        if self.access is not None:
            return {**place, "access": self.access, "variables": dict(self.variables)}
        if self.username is None:
            return None
        levels = {"root": (), "namespace": ("namespace",), "database": ("namespace", "database")}
        user = {"username": self.username, "password": self.password}
        return {**{name: place[name] for name in levels[self.auth_level]}, **user}


class SurrealConversationOptions(SurrealOptions):
    """What the conversation stores in SurrealDB can be given."""

    database = option("conversations", "text", "the database in it", url=True)


class SurrealVectorOptions(SurrealOptions):
    """What the knowledge stores in SurrealDB can be given."""

    database = option("vectors", "text", "the database in it", url=True)
    index = option(
        "none",
        ("none", "hnsw"),
        "the vector index of new collections, used where they have more than 10,000 documents; `none`: every vector is "
        "looked at",
        url=True,
    )
    ef = option(150, "count", "how many candidates a search in an index looks at, at least", url=True)


class SurrealStateOptions(SurrealOptions):
    """What the state stores in SurrealDB can be given."""

    database = option("state", "text", "the database in it", url=True)


class Query(NamedTuple):
    """A request: statements, of which the last one's result is the answer, and the values that they name."""

    text: str
    values: Mapping[str, Any]


def ask(seconds: float, text: str, /, **values: Any) -> Steps[Any]:
    """Do a query, and again if its transaction conflicts with another one, for so many seconds; return the answer."""
    return (yield from Pauses(seconds, _FIRST_PAUSE).ask(Query(text, values)))


class Place:
    """A database of this process: an embedded client, which namespace and database it uses, and a folder's lock."""

    def __init__(self, client: Any, lock: FileLock | None) -> None:
        self.client = client
        self.lock = lock
        self.used: tuple[str, str] | None = None


class SurrealDriver(Driver):
    """A folder, memory, or a server.

    Args:
        options: of the store.
        schema: the tables that the store needs.
    """

    imports = ("surrealdb",)
    packages = ("surrealdb", "pydantic_core", "websockets", "requests", "urllib3")
    interrupts = "keep"  # a query is one call, which is over when an exception comes

    makes = ("clog", "manifest")
    reads_only = False
    """Whether whoever signed in may write nothing, which the server would pass over in silence."""

    def __init__(self, options: SurrealOptions, schema: Schema) -> None:
        super().__init__(options)
        self._options = options
        self.schema = schema
        self._key = options.namespace, options.database
        self._broken = False
        self._errors = HttpErrors(
            self.where,
            "check username and password (or access and variables, or token), auth_level, and that they may use "
            f"namespace {options.namespace!r} and database {options.database!r}",
            "send less at once, or raise its SURREAL_HTTP_MAX_RPC_BODY_SIZE or SURREAL_WEBSOCKET_MAX_MESSAGE_SIZE",
        )
        if options.host is None:
            self.forks, self.turns = "refuse", "all"  # the engine does one query at a time
            self.place = options.path
            if options.path != ":memory:":
                self.path = options.path

    def exists(self) -> bool:
        return self.path is None or os.path.exists(os.path.join(self.path, "manifest"))

    def open(self, deadline: Deadline) -> Any:
        if self._options.host is not None:
            from praisonai_persistence_surrealdb._server import Pool

            self.reads_only = False  # until the tables were looked at
            return Pool(self._options)
        from surrealdb.connections.blocking_embedded import BlockingEmbeddedSurrealConnection as Embedded

        if self.path is None:
            return Place(Embedded("mem://"), None)
        # The engine itself does not see that a folder is open already, and two clients would destroy it.
        instead = "for more, start a server (surreal start surrealkv://...)"
        lock = take_folder(self.path, "praisonai.lock", instead, folders=["clog"])
        try:
            hold(self.path)
            try:
                return Place(Embedded(f"surrealkv://{self.path}"), lock)
            finally:
                settle(self.path)
        except BaseException:
            lock.release()
            raise

    def begin(self, client: Any, *, write: bool) -> AbstractContextManager[Any]:
        if self._options.host is not None:
            if write and self.reads_only:
                raise BackendError(f"{self.where} lets this user only read: sign in as an EDITOR or an OWNER")
            return client.lend()  # type: ignore[no-any-return]
        if client.used != self._key:
            client.used = None
            client.client.use(*self._key)
            client.used = self._key
        return nullcontext(client.client)

    def perform(self, on: Any, request: Query) -> Any:
        from surrealdb.errors import parse_query_error, parse_rpc_error

        answer = on.query_raw(request.text, dict(request.values))
        if answer.get("error") is not None:
            raise parse_rpc_error(answer["error"])
        for result in answer["result"]:
            if result["status"] != "OK":
                raise parse_query_error(result)
        return answer["result"][-1]["result"]

    def probe(self) -> Steps[None]:
        return prepare(self)

    @property
    def is_limited(self) -> bool:
        """Whether whoever signs in may be one who sees no definitions."""
        return self._options.access is not None or self._options.token is not None

    @property
    def is_signed_in(self) -> bool:
        """Whether somebody signs in to a server, who may have any role."""
        return self.is_limited or self._options.username is not None

    @property
    def make_place(self) -> str:
        """Statements that make the namespace and the database, as far as whoever signs in may do that."""
        namespace, database = self._key
        first = f"DEFINE NAMESPACE IF NOT EXISTS `{namespace}`; USE NS `{namespace}`; "
        return ("" if self._options.auth_level != "root" else first) + f"DEFINE DATABASE IF NOT EXISTS `{database}`"

    def close(self, client: Any) -> None:
        if self._options.host is not None:
            client.close()
            return
        client.client = None  # which closes it; its own close() does nothing
        if client.lock is not None:
            client.lock.release()

    def abandon(self, client: Any) -> None:
        if self._options.host is not None:
            client.abandon()

    def translate(self, error: Exception) -> PersistenceError | None:
        text = str(error).lower()
        if any(part in text for part in _AGAIN):
            return ThrottledError(f"{self.where}: other writers were faster for too long; try again, or raise timeout")
        if re.search("record .* already exists", text, re.DOTALL) or getattr(error, "kind", "") == "AlreadyExists":
            return TakenError(f"{self.where}: such a record exists already")
        if self._options.host is None:
            if self.path is not None and not os.path.isdir(self.path):
                return ConnectionFailedError(f"{self.path} is no folder, or not there")
            if any(part in text for part in _BROKEN):
                self._broken = True
                return ConnectionFailedError(
                    f"{self.where} cannot be used ({type(error).__name__}): is it a folder of SurrealDB's, is there "
                    f"space, and may this process read, write and open more files?"
                )
            return None
        from praisonai_persistence_surrealdb._server import http_status, is_silent, is_too_large

        if is_too_large(error):
            return self._errors.error(413, error)
        if is_silent(error):
            return self._errors.silent(error)
        status = http_status(error)
        if status is not None:
            return self._errors.error(status, error)
        if any(part in text for part in _REFUSED):
            return self._errors.error(401, error)
        return None

    def spoiled(self, client: Any) -> bool:
        # After a write that failed in the middle, the engine would write on behind what is torn, and find nothing of
        # that when it opens the folder again. Opened anew, it removes the torn end first.
        broken, self._broken = self._broken and self.path is not None, False
        return broken

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        # A session that has expired did nothing; the next connection signs in anew.
        if "expired" in str(error.__cause__).lower():
            return True
        return not write and type(error) is ConnectionFailedError and self._options.host is not None
