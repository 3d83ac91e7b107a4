"""The clients of Cosmos DB, and what its stores can be given."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import (
    ApiKeyOptions,
    Driver,
    HttpErrors,
    ServiceOptions,
    ThrottledError,
    check_fields,
    http,
    matching,
    option,
    then,
)
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.stores.vector_errors import TakenError
from praisonai_persistence_cosmosdb._refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["Clients", "CosmosDBDriver", "CosmosDBOptions"]

_KEY = "COSMOS_CONNECTION_STRING"
_FIELD = matching("[A-Za-z][A-Za-z0-9_]{0,59}", "a letter, and then at most 59 letters, digits and _")
_CONTAINER = matching(
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,199}", "letters, digits, and characters of _.- behind the first, at most 200"
)
_LOGIN = "check its key, that it may write, and the clock of this machine, because requests are dated"
_OWN = frozenset({"id", "collection", "name", "facts"})
_RESERVED = frozenset(
    {"and", "array", "as", "asc", "between", "by", "desc", "distinct", "exists", "false", "from", "group", "in", "join"}
    | {"left", "like", "limit", "not", "null", "offset", "or", "order", "right", "select", "top", "true", "udf"}
    | {"undefined", "value", "where"}
)
"""Words of the query language, which cannot stand behind a dot."""


class CosmosDBOptions(ServiceOptions, ApiKeyOptions):
    """What the stores in Cosmos DB can be given."""

    title = "Cosmos DB"
    schemes = ("cosmosdb", "async_cosmosdb", "cosmos", "azure_cosmos", "https", "http")

    connection_string = option(
        None, "text", f"of the account, instead of a URL; by default the variable `{_KEY}`", server=True, secret=True
    )
    api_key = option(None, "text", "the account's key; in a URL the password", server=True, secret=True)
    api_mode = option("nosql", "text", "`nosql`; an account of another API is refused", url=True)
    database = option("praisonai", _CONTAINER, "is made where it is missing", url=True)
    collection = option("vectors", _CONTAINER, "what the names of the containers begin with", url=True)
    embedding_field = option("embedding", _FIELD, "the field of an item that holds the vector", url=True)
    text_field = option("content", _FIELD, "the field of an item that holds the content", url=True)
    vector_index = option("diskANN", ("diskANN", "quantizedFlat", "flat"), "of the containers that are made", url=True)
    freshness = option(
        "all",
        ("all", "own"),
        "what a read sees: all writes that were acknowledged before, or those of its store",
        url=True,
    )

    def __init__(self, url: str | None = None, **given: Any) -> None:
        _check_mode(given.get("api_mode") or "nosql")
        said = given.get("connection_string")
        if url is None and given.get("host") is None:
            said = said or os.environ.get(_KEY) or None
        if said is not None:
            url, given = self._of_string(url, said, given)
        super().__init__(url, **given)
        try:
            wrong = self.api_key is None or not base64.b64decode(self.api_key, validate=True)
        except ValueError:
            wrong = True
        if wrong:
            raise ConfigurationError(
                f"{self.where} needs a key, as the portal shows it: give api_key=..., or set {_KEY}"
            )
        _check_mode(self.api_mode)
        check_fields(self, ("embedding_field", "text_field"), _OWN)
        if self.embedding_field.lower() in _RESERVED:
            raise ConfigurationError(f"embedding_field: {self.embedding_field!r} is a word of the query language")

    @staticmethod
    def _of_string(url: str | None, said: Any, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        if url is not None or given.get("host") is not None:
            raise ConfigurationError("connection_string says where the account is: no url and no host beside it")
        parts = dict(one.partition("=")[::2] for one in str(said).split(";") if one)
        if not {"AccountEndpoint", "AccountKey"} <= set(parts):
            raise ConfigurationError(
                "connection_string must have AccountEndpoint=...;AccountKey=..., as that of the API for NoSQL has; "
                "one of the MongoDB API is for the backend mongodb_vector"
            )
        return parts["AccountEndpoint"].rstrip("/"), {
            **given,
            "connection_string": None,
            "api_key": parts["AccountKey"],
        }


def _check_mode(mode: str) -> None:
    if mode != "nosql":
        raise ConfigurationError(
            "api_mode: only nosql is there; an account of the MongoDB API is one for the backend mongodb_vector, with "
            "vector_search='cosmos'"
        )


class Clients:
    """The client of an account. What its methods return is awaited where it is the async one.

    Args:
        options: of the store.
        asynchronous: whether it is.
    """

    def __init__(self, options: CosmosDBOptions, *, asynchronous: bool) -> None:
        from azure.cosmos import CosmosClient
        from azure.cosmos.aio import CosmosClient as AsyncCosmosClient
        from azure.cosmos.documents import ConnectionPolicy

        self._options = options
        self._asynchronous = asynchronous
        policy: Any = ConnectionPolicy()
        policy.RequestTimeout = policy.DBAConnectionTimeout = options.connect_timeout
        policy.ReadTimeout = policy.DBAReadTimeout = options.timeout
        policy.RetryOptions._max_retry_attempt_count = 0  # what is throttled is asked again by the store
        kind: Any = AsyncCosmosClient if asynchronous else CosmosClient
        self.client = kind(
            options.address,
            options.api_key,
            connection_policy=policy,
            enable_endpoint_discovery=False,
            connection_timeout=options.connect_timeout,
            read_timeout=options.timeout,
            retry_total=0,  # they would multiply the timeout
            retry_connect=0,
            retry_read=0,
            retry_status=0,
            enable_compact_utf8_item_writes=True,
        )
        # It looks for other regions in the background, also where it shall not.
        manager = self.client.client_connection._global_endpoint_manager
        if not asynchronous and manager._refresh_thread is not None:
            manager._refresh_thread.join(options.connect_timeout)
        manager.refresh_endpoint_list = _nothing_awaited if asynchronous else _nothing

    def account(self) -> Any:
        """Return the account's consistency."""
        client = self.client
        answer = client._get_database_account() if self._asynchronous else client.get_database_account()
        return then(answer, lambda found: found.ConsistencyPolicy["defaultConsistencyLevel"])

    def _container(self, name: str) -> Any:
        return self.client.get_database_client(self._options.database).get_container_client(name)

    def make_database(self) -> Any:
        """Make the database."""
        return self.client.create_database(self._options.database)

    def make(self, name: str, **more: Any) -> Any:
        """Make a container."""
        from azure.cosmos import PartitionKey

        database = self.client.get_database_client(self._options.database)
        return database.create_container(name, PartitionKey("/collection"), **more)

    def properties(self, name: str) -> Any:
        """Return what a container is."""
        return self._container(name).read()

    def query(self, name: str, text: str, partition: str, token: str | None, parameters: dict[str, Any]) -> Any:
        """Return what a query finds in one partition."""
        found = self._container(name).query_items(
            text,
            parameters=[{"name": key, "value": value} for key, value in parameters.items()],
            partition_key=partition,
            max_item_count=1_000,
            **({} if token is None else {"session_token": token}),
        )
        return _collected(found) if self._asynchronous else list(found)

    def read(self, name: str, key: str, partition: str, token: str | None) -> Any:
        """Return an item."""
        return self._container(name).read_item(key, partition, **({} if token is None else {"session_token": token}))

    def write(self, name: str, item: dict[str, Any], *, new: bool = False) -> Any:
        """Write an item; return the session token."""
        container = self._container(name)
        return then((container.create_item if new else container.upsert_item)(item), _token)

    def batch(self, name: str, operations: list[Any], partition: str) -> Any:
        """Do all of some writes or none; return the session token, and the version of each item that was written."""
        # The client takes conditions out of what it is given, which is sent again where the service was too busy.
        given = [(kind, parts, dict(*more)) for kind, parts, *more in operations]
        return then(self._container(name).execute_item_batch(given, partition), _written)

    def transport(self) -> Any:
        """Return the connections: of requests, or of aiohttp."""
        return self.client.client_connection.pipeline_client._pipeline._transport.session


class CosmosDBDriver(Driver):
    """A client of an account.

    Args:
        options: of the store.
        look: returns steps for the first connection.
        asynchronous: whether to use the async client.
    """

    imports = ("azure.cosmos", "azure.cosmos.aio", "azure.core.pipeline.transport", "aiohttp", "requests")
    packages = ("azure", "requests", "urllib3", "aiohttp")

    def __init__(self, options: CosmosDBOptions, look: Callable[[], Steps[None]], *, asynchronous: bool) -> None:
        super().__init__(options, look)
        self._options = options
        self.asynchronous = asynchronous
        self._errors = HttpErrors(self.where, _LOGIN, "write fewer documents at once")

    def open(self, deadline: Deadline) -> Any:
        clients = Clients(self._options, asynchronous=self.asynchronous)
        return _opened(clients) if self.asynchronous else clients

    def close(self, client: Any) -> Any:
        if self.asynchronous:
            return client.client.close()
        http.close_session(client.transport())
        client.client.client_connection._global_endpoint_manager.executor.shutdown(wait=False)
        return client.client.close()

    def abandon(self, client: Any) -> None:
        if self.asynchronous:
            session = client.transport()
            http.hang_up_aiohttp([] if session is None else [session])

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        from azure.core.exceptions import ServiceRequestError, ServiceResponseError

        return not write and isinstance(error.__cause__, (ServiceRequestError, ServiceResponseError))

    def translate(self, error: Exception) -> PersistenceError | None:
        from azure.core.exceptions import AzureError, DecodeError, ServiceRequestError, ServiceResponseError
        from azure.cosmos.exceptions import (
            CosmosBatchOperationError,
            CosmosClientTimeoutError,
            CosmosHttpResponseError,
        )

        if isinstance(error, (ServiceRequestError, ServiceResponseError, CosmosClientTimeoutError)):
            return self._errors.silent(error)
        if isinstance(error, (CosmosHttpResponseError, CosmosBatchOperationError)):  # of a request, or within a batch
            return self._refusal(error, error.status_code or 0, _reason(error))
        if isinstance(error, DecodeError):
            return self._errors.strange("Cosmos DB")
        if isinstance(error, AzureError):
            return self._errors.error(getattr(error, "status_code", None), error)
        if isinstance(error, (KeyError, AttributeError, TypeError, ValueError)):
            return self._errors.strange("Cosmos DB")
        return None

    def _refusal(self, error: Any, status: int, reason: int) -> PersistenceError:
        """Return our error for what the service refused.

        Args:
            error: the client's.
            status: of HTTP.
            reason: the sub-status, where one status has several reasons; else 0.
        """
        where = self.where
        said, error.args = str(error).lower(), (f"status {status}",)  # the message may have what was sent
        error.message = f"status {status}"
        if status == 412:
            return TakenError(f"{where} has another version of an item")
        if status == 429:
            text = f"{where} has had too many requests for now; raise its request units, or timeout"
            return ThrottledError(text, http.asked_to_wait(error))
        if status == 449:  # several writes of one item at once: nothing was done
            text = f"{where} has had too many writes of one item at once; try again later"
            return ThrottledError(text, http.asked_to_wait(error))
        known = refused(where, status, reason, said)
        return self._errors.error(status, error) if known is None else known


def _reason(error: Any) -> int:
    """Return the sub-status of a refusal, or of the operation that was refused in a batch; 0: none."""
    operations = getattr(error, "operation_responses", None)
    inside = operations[error.error_index].get("subStatusCode") if operations else None
    return int(inside or error.sub_status or 0)


def _token(found: Any) -> str | None:
    headers = found.get_response_headers()
    return next((str(value) for name, value in headers.items() if name.lower() == "x-ms-session-token"), None)


def _written(found: Any) -> tuple[str | None, list[str | None]]:
    return _token(found), [(one.get("resourceBody") or {}).get("_etag") for one in found]


def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _nothing_awaited(*_: Any, **__: Any) -> None:
    return None


async def _opened(clients: Clients) -> Clients:
    try:
        await clients.client.__aenter__()
    except BaseException:
        await clients.client.close()
        raise
    return clients


async def _collected(found: Any) -> list[Any]:
    return [one async for one in found]
