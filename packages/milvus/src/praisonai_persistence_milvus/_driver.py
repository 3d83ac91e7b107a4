"""Milvus's clients, and what their stores can be given."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Driver, HttpErrors, Options, client_option, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL

__all__ = ["CAPACITY", "Ask", "Expression", "MilvusDriver", "MilvusOptions"]

_READS = frozenset({"query", "search"})
_GONE = frozenset({100, 101, 103, 200})  # no such collection, one that is not loaded, or not fully, no such partition
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
# A field that only the collection has that was opened; another one has its name now.
_NO_FIELD = re.compile(r"\b(id|vector)_[0-9a-f]{32}\b.*(not found|not exist)|(unknown field|not in schema|unexpected f)")
_PLAIN = re.compile(r"[0-9a-f-]*")


class MilvusOptions(Options):
    """What the stores in Milvus can be given."""

    title = "Milvus"
    schemes = ("milvus", "async_milvus", "http", "https")
    servers = folders = True
    default_host = "localhost"
    default_port = 19530
    clients = ("client",)
    user_is = "user"
    password_is = "token"  # noqa: S105 - the name of an option
    path_is = "db_name"
    hint = "; a token is written milvus://:TOKEN@host"

    token = option(None, "text", "an API key, or `user:password`", server=True, secret=True)
    user = option(None, "text", "who logs in; `token` is then the password", server=True)
    db_name = option("default", "text", "the database, which has to exist; in a URL `milvus://host/DB`", server=True)
    secure = option(None, "flag", "use TLS; by default for https://", url=True, server=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered")
    client = client_option("a `MilvusClient`", "AsyncMilvusClient")
    consistency_level = option(
        "Strong", ("Strong", "Session", "Bounded", "Eventually"), "of reads; with another one they may be stale", url=True
    )
    index_type = option("FLAT", ("FLAT", "HNSW"), "of new collections: `FLAT` compares every vector", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if self.secure is None:
            self.secure = (url or "").lower().startswith("https://")
        if (url or "").lower().startswith("https://") and given.get("port") is None and not _names_port(url):
            self.port = 443
        if self.user is not None:
            self.token = f"{self.user}:{self.token or ''}"

    def _of_server(self, parsed: StoreURL) -> dict[str, Any]:
        return super()._of_server(parsed)


def _names_port(url: str | None) -> bool:
    from praisonai_persistence.urls import parse_url

    return parse_url(url or "").port is not None


class Expression(NamedTuple):
    """A filter, with ``{}`` where values stand.

    Attributes:
        text: in Milvus's language; no value of a caller is in it.
        values: tokens and keys made by the store, or lists of them.
    """

    text: str
    values: tuple[str | list[str], ...] = ()


class Ask(NamedTuple):
    """A request: a method of the client, the collection, and further arguments; a ``filter`` is an [Expression][]."""

    method: str
    collection: str | None = None
    arguments: Mapping[str, Any] = {}


class MilvusDriver(Driver):
    """A client of a server, or of Milvus Lite in this process, which the stores in one folder share.

    Args:
        options: of the store.
        asynchronous: whether the store is that of async callers. It has the sync client on threads, unless it was given
            an async one: of that, nothing can be closed any more once its event loop has ended.
    """

    imports = ("pymilvus", "numpy")
    forks = "refuse"  # gRPC does not survive one
    lost = "reopen"  # gRPC goes on asking on a connection that is dead without a sign, as long as TCP believes in it
    packages = ("pymilvus", "grpc", "google", "milvus_lite", "pyarrow")

    def __init__(self, options: MilvusOptions, *, asynchronous: bool) -> None:
        super().__init__(options)
        self._options = options
        self.asynchronous = asynchronous and type(self.given).__name__.startswith("Async")
        self._lite = options.path is not None
        if options.path is not None:
            self.place = self.path = options.path
            self.turns = "writes"
            self.imports = (*self.imports, "milvus_lite.adapter.grpc.server")  # type: ignore[misc]
        self._errors = HttpErrors(self.where, "check its token")

    def open(self, deadline: Deadline) -> Any:
        # The client logs each error with its text, which may hold what was to be stored.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        options = self._options
        if options.path is not None:
            return self._open_lite(options.path, deadline)
        host = f"[{options.host}]" if ":" in str(options.host) else options.host
        scheme = "https" if options.secure else "http"
        return self._connected(f"{scheme}://{host}:{options.port}", deadline)

    def _connected(self, uri: str, deadline: Deadline) -> Any:
        from pymilvus import MilvusClient

        client = MilvusClient(
            uri,
            token=self._options.token or "",
            db_name=self._options.db_name,
            timeout=deadline.left(),
            dedicated=True,
            # Else clients share connections, also one that is dead.
            grpc_options={"grpc.use_local_subchannel_pool": 1},
        )
        client._handler._on_rpc_error = _give_up
        return client

    def _open_lite(self, path: str, deadline: Deadline) -> Any:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError

        logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)  # as above
        make_folder(path)
        try:
            # One request at a time: the engine does not stand writers at the same time.
            server, engine, port = start_server_in_thread(path, max_workers=1)
        except DataDirLockedError as error:
            raise ConnectionFailedError(
                f"{self.where} is in use by another process, and it serves one only; for more, start a server"
            ) from error
        try:
            client = self._connected(f"http://127.0.0.1:{port}", deadline)
            client.lite = server, engine, identity(path)
        except BaseException:
            server.stop(None)
            engine.close()
            raise
        return client

    def close(self, client: Any) -> Any:
        client.close()
        if hasattr(client, "lite"):
            server, engine, opened = client.lite
            server.stop(5).wait()
            if identity(self.path) == opened:
                engine.close()
            else:
                _leave(engine)

    def abandon(self, client: Any) -> None:
        client.close()  # which says nothing to the server, and does not wait

    def probe(self) -> Steps[None]:
        version = yield Ask("get_server_version")
        self._lite = str(version).startswith("milvus_lite")
        yield Ask("list_collections")  # are we let in, and is there such a database?

    def perform(self, on: Any, request: Any) -> Any:
        method, collection, arguments = request
        if method == "is_lite":
            return self._lite
        more = {**arguments, "timeout": self.timeout}
        if "filter" in more:
            text, values = more["filter"]
            if self._lite:  # which has no templates
                more["filter"] = text.format(*map(_literal, values))
            else:
                more["filter"] = text.format(*(f"{{p{number}}}" for number in range(len(values))))
                more["filter_params"] = {f"p{number}": value for number, value in enumerate(values)}
        if method in _READS:
            more.setdefault("consistency_level", self._options.consistency_level)
        return getattr(on, method)(*([] if collection is None else [collection]), **more)

    def translate(self, error: Exception) -> PersistenceError | None:
        import grpc  # type: ignore[import-untyped]
        from pymilvus.exceptions import MilvusException

        if isinstance(error, grpc.RpcError):
            return self._of_grpc(error.code().name, error)
        if not isinstance(error, MilvusException):
            return None
        if isinstance(error.__cause__, grpc.RpcError):
            return self._of_grpc(error.__cause__.code().name, error)
        text = error.message or ""
        if error.code in _GONE or _NO_FIELD.search(text):
            return GoneError(f"{self.where} has no such collection")
        if "already exist" in text or "duplicate" in text or "already has an index" in text:
            return TakenError(f"{self.where} has it already")
        if error.code == 2 and "connect" in text:
            return self._errors.silent(error)
        if "database" in text and ("not exist" in text or "not found" in text):
            return ConfigurationError(f"{self.where} has no database {self._options.db_name!r}: create it, or db_name=")
        if "auth" in text and "fail" in text:
            return self._errors.error(401, error)
        if "exceeds max_capacity" in text or "array length" in text:
            return SerializationError(CAPACITY)
        if error.code == 8:
            return self._errors.error(429, error)
        return BackendError(f"{self.where} failed: {type(error).__name__} {int(error.code)}")

    def _of_grpc(self, code: str, error: Exception) -> PersistenceError:
        if code == "DEADLINE_EXCEEDED":
            return ConnectionFailedError(
                f"{self.where} does not answer within {self.timeout:g} seconds; a write may have been done all the "
                f"same, and can be repeated"
            )
        if code == "RESOURCE_EXHAUSTED":
            return SerializationError(f"{self.where} does not take or send as much in one request: smaller documents")
        if code == "UNIMPLEMENTED":
            return UnsupportedOperationError(f"{self.where} cannot do this: it needs Milvus 2.5 or later")
        return self._errors.error(401 if code in _REFUSED else code, error)


CAPACITY = "a document's metadata may have up to 4,096 keys (2,048 that hold text) and items of lists in Milvus"


def _leave(engine: Any) -> None:
    """Close the files of Milvus Lite, which by itself would write what it has in its memory into its folder.

    What stands there now is another one, or nothing.
    """
    for collection in list(engine._collections.values()):
        collection._bg_closed = True
        collection._bg_executor.shutdown(wait=True)
        for sink in (collection._wal._data_sink, collection._wal._delta_sink):
            if sink is not None:
                sink.close()
    engine._collections.clear()
    engine._release_lock()


def _give_up(error: Exception) -> bool:
    """Stand in for what the client does about a lost connection, for which it would take more than the timeout."""
    raise error


def _literal(value: str | list[str]) -> str:
    """Write a value of an expression as a literal: texts of hexadecimal digits and hyphens, and no others."""
    texts = [value] if isinstance(value, str) else value
    if not all(map(_PLAIN.fullmatch, texts)):
        raise ValueError("a value that this module did not make")
    return json.dumps(value)
