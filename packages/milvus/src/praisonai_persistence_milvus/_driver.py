"""Milvus's clients, and what their stores can be given."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import GrpcDriver, HttpErrors, Options, client_option, option
from praisonai_persistence.drivers.folders import make_folder
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import (
    BackendNotInstalledError,
    ConfigurationError,
    ConnectionFailedError,
    DimensionLimitError,
    UnsupportedOperationError,
)
from praisonai_persistence.urls import scheme_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["Ask", "MilvusDriver", "MilvusOptions"]

_GONE = frozenset({100, 101, 103})  # there is no such collection, or it is not loaded, or not fully
# Names a field that only the collection had that was opened. Another one has its name now.
_NO_FIELD = re.compile(
    r"\b(id|vector)_[0-9a-f]{32}\b.*(not found|not exist|not in schema)|unknown field|(unexpected|missed an) field"
)
_NO_DATABASE = re.compile("database.*not (exist|found)")
_TOO_LONG = re.compile(r"vector dimension should be in range \d+ ~ (\d+)")
_PLAIN = re.compile("[0-9a-f-]*")
_FOLDERS = ("collections", "databases", ".database-staging")
"""What Milvus Lite makes in its folder, with all that it stores."""


class MilvusOptions(Options):
    """What the stores in Milvus can be given."""

    title = "Milvus"
    schemes = ("milvus", "async_milvus", "http", "https")
    servers = folders = True
    default_host = "localhost"
    default_port = 19530
    clients = ("client",)
    user_is, password_is, path_is = "user", "token", "db_name"
    tls_is, tls_port = "secure", 19530

    token = option(None, "text", "an API key, or `user:password`; in a URL `//:TOKEN@`", server=True, secret=True)
    user = option(None, "text", "who logs in; `token` is then the password; in a URL `//USER:PASSWORD@`", server=True)
    db_name = option("default", "text", "the database, which has to exist; in a URL the path", server=True)
    secure = option(None, "flag", "use TLS; by default for https://", url=True, server=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered")
    client = client_option("a `MilvusClient`", "AsyncMilvusClient")
    consistency_level = option(
        "Strong", ("Strong", "Session", "Bounded", "Eventually"), "of reads: only `Strong` sees all writes", url=True
    )
    index_type = option("FLAT", ("FLAT", "HNSW"), "of new collections: `FLAT` compares every vector", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if scheme_of(url) == "https" and given.get("port") is None and f":{self.port}" not in str(url):
            self.port = 443
        if self.user is not None:
            self.token = f"{self.user}:{self.token or ''}"


class Ask(NamedTuple):
    """A request: a method of the client, the collection, and more arguments.

    A ``filter`` is an [Expression][], whose values are tokens and keys that the store has made, or lists of them.
    """

    method: str
    collection: str | None = None
    arguments: Mapping[str, Any] = {}


IS_LITE = Ask("is_lite")
"""Whether it is Milvus Lite, which lacks some things; the driver knows."""


class MilvusDriver(GrpcDriver):
    """A client of a server, or of Milvus Lite in this process, which the stores in one folder share."""

    imports = ("pymilvus", "numpy")
    packages = ("pymilvus", "grpc", "google", "milvus_lite", "pyarrow")

    makes = (*_FOLDERS, "LOCK")

    def __init__(self, options: MilvusOptions, *, asynchronous: bool) -> None:
        super().__init__(options, asynchronous=asynchronous)
        self._options = options
        self._lite = options.path is not None
        if options.path is not None:
            self.place = self.path = options.path
            self.turns = "writes"
        self._errors = HttpErrors(self.where, "check its token", taken=["already exist", "duplicate"])

    def open(self, deadline: Deadline) -> Any:
        # Both log errors with their texts, which may hold what was to be stored.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        options = self._options
        if self.path is None:
            return self._connected(f"{'https' if options.secure else 'http'}://{options.authority}", deadline)
        try:
            from milvus_lite.adapter.grpc.server import start_server_in_thread  # type: ignore[import-untyped]
            from milvus_lite.exceptions import DataDirLockedError  # type: ignore[import-untyped]
        except ImportError as error:
            raise BackendNotInstalledError(
                f"{self.where} needs Milvus Lite (not on Windows): pip install 'praisonai-persistence-milvus[lite]'"
            ) from error

        logging.getLogger("milvus_lite").setLevel(logging.CRITICAL)
        make_folder(self.path, folders=_FOLDERS, files=["LOCK"])
        try:
            # One request at a time: the engine does not stand writers at the same time.
            server, engine, port = start_server_in_thread(self.path, max_workers=1)
        except DataDirLockedError as error:
            raise ConnectionFailedError(
                f"{self.where} is in use by another process, and it serves one only; for more, start a server"
            ) from error
        try:
            client = self._connected(f"http://127.0.0.1:{port}", deadline)
        except BaseException:
            server.stop(None)
            engine.close()
            raise
        client.lite = server, engine, identity(self.path)
        return client

    def _connected(self, uri: str, deadline: Deadline) -> Any:
        from pymilvus import MilvusClient  # type: ignore[import-untyped]

        login = {"token": self._options.token or "", "db_name": self._options.db_name}
        # Else clients share connections, also one that is dead.
        own: dict[str, Any] = {"dedicated": True, "grpc_options": {"grpc.use_local_subchannel_pool": 1}}
        client = MilvusClient(uri, **login, timeout=deadline.left(), **own)
        client._handler._on_rpc_error = _give_up
        return client

    def close(self, client: Any) -> Any:
        client.close()
        if hasattr(client, "lite"):
            server, engine, opened = client.lite
            server.stop(5).wait()
            if identity(self.path) != opened:
                _forget(engine)
            engine.close()

    def probe(self) -> Steps[None]:
        version = str((yield Ask("get_server_version")))
        self._lite = version.startswith("milvus_lite")
        self.check_version("Milvus", version, (2, 5))  # the first that has values bound in filters
        yield Ask("list_collections")  # are we let in, and is there such a database?

    def perform(self, on: Any, request: Any) -> Any:
        if request is IS_LITE:
            return self._lite
        more = {"timeout": self.timeout, **request.arguments}
        if "filter" in more:
            text, values = more["filter"]
            if self._lite:  # which has no templates
                more["filter"] = text.format(*map(_literal, values))
            else:
                more["filter"] = text.format(*(f"{{p{number}}}" for number in range(len(values))))
                more["filter_params"] = {f"p{number}": value for number, value in enumerate(values)}
        if request.method in {"query", "search"}:
            more.setdefault("consistency_level", self._options.consistency_level)
        place = [] if request.collection is None else [request.collection]
        return getattr(on, request.method)(*place, **more)

    def translate(self, error: Exception) -> PersistenceError | None:
        # The client raises its own for those of gRPC, or those themselves.
        code, text, where = getattr(error, "code", None), str(error), self.where
        if code in _GONE or _NO_FIELD.search(text):
            return self._errors.error(404, error)
        if _NO_DATABASE.search(text):
            return ConfigurationError(f"{where} has no database {self._options.db_name!r}: create it, or give db_name=")
        if too_long := _TOO_LONG.search(text):
            limit = f"{where} takes vectors of at most {int(too_long[1]):,} numbers"
            return DimensionLimitError(f"{limit}: its proxy.maxDimension can allow more")
        if code == 8:
            return self._errors.error(429, error)
        if "DEADLINE_EXCEEDED" in text or "Retry timeout" in text:
            return self._errors.late()
        if "UNIMPLEMENTED" in text:
            return UnsupportedOperationError(f"{where} cannot do this: it has to be Milvus 2.5 or later")
        return self._errors.read(error)


def _forget(engine: Any) -> None:
    """Have Milvus Lite forget what it has in its memory, which it would write into the folder that stands there now."""
    for collection in list(engine._collections.values()):
        collection._bg_executor.shutdown(wait=True)
        for sink in (collection._wal._data_sink, collection._wal._delta_sink):
            if sink is not None:
                sink.close()
    engine._collections.clear()


def _give_up(error: Exception) -> bool:
    """Stand in for what the client does about a lost connection, which would take longer than the timeout."""
    raise error


def _literal(value: str | list[str]) -> str:
    """Return a value of an expression as a literal: texts of hexadecimal digits and hyphens, and no others."""
    if not all(map(_PLAIN.fullmatch, [value] if isinstance(value, str) else value)):
        raise ValueError("a value that this package has not made")
    return json.dumps(value)
