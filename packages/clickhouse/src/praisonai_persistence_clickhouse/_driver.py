"""ClickHouse's clients, and what their stores can be given."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Driver, HttpErrors, Options, client_option, http, option
from praisonai_persistence.errors import ConfigurationError, UnsupportedOperationError
from praisonai_persistence.payload import check_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["Ask", "ClickHouseDriver", "ClickHouseOptions"]

_PARTS = 4_096  # numbers in one parameter: a server takes 128 KiB in each
_WRITES = {
    "async_insert": 0,  # else a write is acknowledged before it can be read
    "insert_deduplicate": 0,  # else a replicated table drops a batch that is equal to an earlier one
    "materialize_skip_indexes_on_insert": 0,  # merges do that
    # One batch becomes one part, which is there as a whole or not at all.
    "max_insert_block_size": 1_000_000_000,
    "min_insert_block_size_rows": 1_000_000_000,
    "min_insert_block_size_bytes": 0,
    "input_format_parallel_parsing": 0,
}
_ON_REPLICAS = {"insert_quorum": "auto", "insert_quorum_parallel": 0, "select_sequential_consistency": 1}
# ClickHouse's error codes.
# No such table, database or column, or it is being dropped, or the table is of another kind.
_GONE = frozenset({10, 16, 47, 60, 81, 181, 218})
_LOGIN = frozenset({192, 193, 194, 497, 516})
_LATE = frozenset({159, 209, 210, 279, 319})
_BUSY = frozenset({202, 241, 252})


class ClickHouseOptions(Options):
    """What the stores in ClickHouse can be given."""

    title = "ClickHouse"
    schemes = ("clickhouse", "async_clickhouse", "http", "https")
    servers = True
    default_host = "localhost"
    default_port = 8123
    clients = ("client",)
    user_is, password_is, path_is = "username", "password", "database"
    tls_is, tls_port = "secure", 8443

    username = option("default", "text", "who logs in; in a URL `//USER:PASSWORD@`", server=True)
    password = option("", "text", "their password", server=True, secret=True)
    database = option("praisonai", "text", "the database, created when it is missing; in a URL the path")
    secure = option(None, "flag", "use TLS, at port 8443; by default for https://", url=True, server=True)
    settings = option({}, "object", "ClickHouse's settings by name, sent with each request", server=True)
    cluster = option(None, "text", "the name of a cluster, on whose replicas collections are created", url=True)
    index_above = option(50_000, "count", "documents from which on a collection gets an approximate index", url=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered")
    client = client_option("a client of `clickhouse_connect.get_client`", "get_async_client")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if given.get("password") == "":
            del given["password"]
        super().__init__(url, **given)
        check_identifier(self.database, "database")
        if self.cluster is not None:
            check_identifier(self.cluster, "cluster")
        if not isinstance(self.settings, dict) or not all(isinstance(name, str) for name in self.settings):
            raise ConfigurationError("settings must be a dict of ClickHouse's settings by name")


class Ask(NamedTuple):
    """A request.

    Attributes:
        sql: one statement, with ``{}`` for each parameter that the server puts in.
        values: of the parameters: text, numbers, and lists of text or of 32-bit floats, not empty.
        settings: of ClickHouse, for this request.
        rows: what a statement that ends with the names of columns is to insert, as ``RowBinary``.
    """

    sql: str
    values: Sequence[Any] = ()
    settings: Mapping[str, Any] = {}
    rows: bytes | None = None


class ClickHouseDriver(Driver):
    """A client by HTTP, sync or async.

    Args:
        options: of the store.
        asynchronous: whether the store is that of async callers. It may be given a sync client, which is then used on
            threads.
    """

    imports = ("clickhouse_connect", "numpy")
    packages = ("clickhouse_connect", "urllib3", "aiohttp")

    def __init__(self, options: ClickHouseOptions, *, asynchronous: bool) -> None:
        super().__init__(options)
        self._options = options
        given = self.given is not None and type(self.given).__name__ == "AsyncClient"
        if given and not asynchronous:
            raise ConfigurationError("client is an async one: give it to AsyncClickHouseKnowledgeStore")
        self.asynchronous = asynchronous and (self.given is None or given)
        self._errors = HttpErrors(self.where, "check username and password, and what this user may do")

    def open(self, deadline: Deadline) -> Any:
        import clickhouse_connect

        # It logs errors with their texts, which may hold what was to be stored.
        logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
        options, left = self._options, deadline.left()
        arguments = {
            **options.arguments("host", "port", "username", "password", "settings"),
            "secure": options.secure,
            "interface": "https" if options.secure else "http",
            "database": "",  # every statement names it
            "compress": False,
            "show_clickhouse_errors": False,
            "autogenerate_session_id": False,
            "query_retries": 0,
        }
        if self.asynchronous:
            return self._open(arguments, left)
        whole = math.ceil(left)  # it takes no fractions of seconds here
        client = clickhouse_connect.get_client(
            **arguments, connect_timeout=whole, send_receive_timeout=whole, dedicated_pool=True
        )
        from urllib3 import Timeout

        client.timeout = Timeout(connect=self.connect_timeout, read=self.timeout)  # type: ignore[attr-defined]
        return client

    async def _open(self, arguments: dict[str, Any], left: float) -> Any:
        import clickhouse_connect

        return await clickhouse_connect.get_async_client(
            **arguments, connect_timeout=left, send_receive_timeout=self.timeout
        )

    def close(self, client: Any) -> Any:
        return client.close()

    def abandon(self, client: Any) -> None:
        if not self.asynchronous:
            client.close()  # which says nothing to the server, and does not wait
        elif client._session is not None:
            http.hang_up_aiohttp([client._session])

    def probe(self) -> Steps[None]:
        yield Ask("SELECT 1")

    def perform(self, on: Any, request: Any) -> Any:
        settings = {**(_ON_REPLICAS if self._options.cluster is not None else {}), **request.settings}
        names: list[str] = []
        parameters: dict[str, Any] = {}
        for value in request.values:
            said = []
            for kind, part in _parts(value):
                said.append(f"{{p{len(parameters)}:{kind}}}")
                parameters[f"p{len(parameters)}"] = part
            names.append(said[0] if len(said) == 1 else f"arrayConcat({', '.join(said)})")
        sql = request.sql.format(*names)
        if request.rows is not None or sql.startswith("INSERT "):
            settings.update(_WRITES)
        if request.rows is None:
            return on.raw_query(sql, parameters=parameters or None, settings=settings)
        into, _, columns = sql.partition(" ")
        return on.raw_insert(into, columns.split(), request.rows, fmt="RowBinary", settings=settings)

    def translate(self, error: Exception) -> PersistenceError | None:
        code, where = getattr(error, "code", None), self.where
        if code in _GONE:
            return self._errors.error(404, error)
        if code == 57:
            return self._errors.error(409, error)
        if code in _LOGIN:
            return self._errors.error(401, error)
        if code in _BUSY:
            return self._errors.error(429, error)
        if code in {46, 62}:
            return UnsupportedOperationError(f"{where} cannot do this: it has to be ClickHouse 24.8 or later")
        if code in {115, 164, 452}:
            return ConfigurationError(f"{where} does not take a setting: check settings=, and what the user may set")
        if type(error).__name__ == "ProgrammingError" and code is None:
            return ConfigurationError(f"{where} cannot be used so: check settings= and client=")
        if code in _LATE or (code is None and type(error).__name__ == "OperationalError"):
            return self._errors.late()
        return self._errors.read(error, OSError, TimeoutError)


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the parameters that a value takes, each with its type."""
    if isinstance(value, list):
        kind = "Array(String)" if isinstance(value[0], str) else "Array(Float32)"
        return [(kind, value[start : start + _PARTS]) for start in range(0, len(value), _PARTS)]
    return [({str: "String", float: "Float64", int: "UInt64"}[type(value)], value)]
