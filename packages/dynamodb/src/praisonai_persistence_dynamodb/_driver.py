"""The clients of DynamoDB, and what its stores can be given."""

from __future__ import annotations

import re
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import Driver, HttpErrors, Options, ThrottledError, http, option
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError
from praisonai_persistence.stores import MovedError
from praisonai_persistence.urls import scheme_of

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL
    from praisonai_persistence_dynamodb.engine import Call, DynamoDBEngine

__all__ = [
    "DynamoDBConversationOptions",
    "DynamoDBDriver",
    "DynamoDBOptions",
    "MissingTableError",
    "TableExistsError",
]

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ENDPOINT = re.compile(r"(?i:https?)://[^\s/@?#]+/?")
_CONNECTIONS = 64
_BUSY = re.compile("Throttl|ThroughputExceeded|LimitExceeded|TransactionConflict|TransactionInProgress")
_UNKNOWN = re.compile("UnrecognizedClient|Signature|MissingAuthenticationToken|InvalidAccessKey|InvalidClientToken")
_EXPIRED = re.compile("ExpiredToken|RequestExpired")
_MOVED = "ConditionalCheckFailed"
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
_LOGIN = "renew them, as with: aws sso login"
_ROLE = (
    "check its credentials, and that they may GetItem, BatchGetItem, Query, PutItem, UpdateItem, DeleteItem of the "
    "table (and CreateTable, DescribeTable, UpdateTimeToLive, for the store to make it)"
)


class MissingTableError(BackendError):
    """There is no such table, or it is not ready yet."""


class TableExistsError(BackendError):
    """There is such a table already."""


class DynamoDBOptions(Options):
    """What the stores in DynamoDB can be given."""

    title = "DynamoDB"
    schemes = ("dynamodb", "async_dynamodb")
    clients = ("table_name",)
    hint = (
        "; credentials are those of the AWS SDK (profile=..., AWS_PROFILE, AWS_ACCESS_KEY_ID, a role), an emulator's "
        "address is endpoint_url=..."
    )

    table_name: str = option(
        None,
        "text",
        "the table; in a URL `dynamodb://TABLE`; by default `praisonai_state`, of conversations "
        "`praisonai_conversation`",
    )
    region = option(None, "text", "of AWS; by default the one of the profile, or `AWS_DEFAULT_REGION`", url=True)
    profile = option(None, "text", "of the files of the AWS SDK; by default `AWS_PROFILE`", url=True)
    endpoint_url = option(
        None, "text", "`http://host:port` of an emulator, or of an endpoint in your network", url=True
    )
    auto_create_table = option(True, "flag", "make the table where there is none, billed by request", url=True)
    client = option(
        None,
        "object",
        "a DynamoDB client of yours, of `boto3` (for the async store of `aiobotocore`); it stays open, and keeps its "
        "timeouts and retries: switch the retries off, as they repeat increments whose answer was lost. A forked child "
        "is refused, as its connections would be the parent's, too",
    )
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(
        30.0,
        "seconds",
        "seconds in which a request has to be answered, retries while the table is busy included",
        url=True,
    )

    default: ClassVar[str] = "praisonai_state"

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if url is None and given.get("table_name") is None:
            given["table_name"] = self.default
        super().__init__(url, **given)
        if self.path is not None:
            self.table_name, self.path = self.path or self.default, None
        if not _TABLE.fullmatch(self.table_name):
            raise ConfigurationError("table_name must be 3 to 255 letters, digits, and _.-, as in dynamodb://my-table")
        if self.endpoint_url is not None and not _ENDPOINT.fullmatch(self.endpoint_url):
            raise ConfigurationError("endpoint_url must be http://host:port or https://host")

    @classmethod
    def forms(cls) -> str:
        return "url='dynamodb://table', table_name=..."

    def _path_of(self, parsed: StoreURL, url: str) -> str:
        if parsed.username is not None or parsed.password is not None or parsed.port is not None:
            raise ConfigurationError(f"{parsed} has a user or a port, which a table has not{self.hint}")
        return super()._path_of(parsed, url).rstrip("/") if parsed.host else ""

    def _folder(self, path: Any) -> str:
        return str(path)

    @property
    def where(self) -> str:
        at = "" if self.endpoint_url is None else f" at {self.endpoint_url}"
        return f"the DynamoDB table {self.table_name}{at}"


class DynamoDBConversationOptions(DynamoDBOptions):
    """What the stores of conversations can be given."""

    default = "praisonai_conversation"


class DynamoDBDriver(Driver):
    """A client of the service.

    Args:
        options: of the store.
        engine: makes the requests.
        asynchronous: whether to use the async client.
    """

    packages = ("botocore", "boto3", "aiobotocore", "aiohttp", "urllib3")

    def __init__(self, options: DynamoDBOptions, engine: DynamoDBEngine, *, asynchronous: bool) -> None:
        super().__init__(options)
        self._options = options
        self._engine = engine
        self.asynchronous = asynchronous
        self._whole: Any = None
        self._check = f"{__name__} {id(self)}"  # each store's own: it goes when that one is closed
        if self.given is not None:
            self.forks = "refuse"  # its connections would be the parent's, too
        self.imports = ("aiobotocore.session",) if asynchronous else ("boto3.session",)  # type: ignore[misc]
        # The first operation may make the table, and wait for it.
        self.connect_timeout += options.timeout
        self._errors = HttpErrors(self.where, _ROLE)

    def open(self, deadline: Deadline) -> Any:
        options = self._options
        settings = {
            "connect_timeout": options.connect_timeout,
            "read_timeout": options.timeout,
            "max_pool_connections": _CONNECTIONS,
            "parameter_validation": False,
            # Of its own it would repeat writes whose answer was lost.
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        how: dict[str, Any] = {"region_name": options.region, "endpoint_url": options.endpoint_url}
        if self.asynchronous:
            from aiobotocore.config import AioConfig  # type: ignore[import-untyped]
            from aiobotocore.session import AioSession  # type: ignore[import-untyped]

            if scheme_of(options.endpoint_url) == "http":
                how["verify"] = False  # no certificates to read
            session = AioSession(profile=options.profile)
            return session.create_client("dynamodb", config=AioConfig(**settings), **how).__aenter__()
        from boto3.session import Session  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]

        return Session(profile_name=options.profile).client("dynamodb", config=Config(**settings), **how)

    def close(self, client: Any) -> Any:
        if self.asynchronous:
            return client.__aexit__(None, None, None)
        # At the end of the process nobody else does it any more, and Python warns about the connections.
        pools = client._endpoint.http_session._manager.pools
        for key in pools.keys():  # noqa: SIM118 - it cannot be iterated over
            pools[key].close()
        return client.close()

    def abandon(self, client: Any) -> None:
        if self.asynchronous:
            http.hang_up_aiohttp((client._endpoint.http_session._sessions or {}).values())

    def begin(self, client: Any, *, write: bool) -> Any:
        if not self.asynchronous and self._whole is not client:  # also one that was handed in
            client.meta.events.register("after-call.dynamodb", _check_whole, unique_id=self._check)
            self._whole = client
            if client is self.given:  # a store that is dropped without being closed leaves it as it was, too
                unregister = client.meta.events.unregister
                weakref.finalize(self, unregister, "after-call.dynamodb", _check_whole, unique_id=self._check)
        return super().begin(client, write=write)

    def give_back(self) -> None:
        """Leave a client that was handed in as it was: no answer is checked any more."""
        client, self._whole = self._whole, None
        if client is not None and client is self.given:
            client.meta.events.unregister("after-call.dynamodb", _check_whole, unique_id=self._check)

    def probe(self) -> Steps[None]:
        return self._engine.look(creates=self._options.auto_create_table and not self.must_exist)

    def perform(self, on: Any, request: Call) -> Any:
        return getattr(on, request.operation)(**request.parameters)

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        from botocore.exceptions import ConnectionClosedError  # type: ignore[import-untyped]

        cause = error.__cause__
        return not write and (isinstance(cause, ConnectionClosedError) or _status(cause) >= 500)

    def translate(self, error: Exception) -> PersistenceError | None:
        from botocore import exceptions as of_client  # type: ignore[import-untyped]
        from botocore.parsers import ResponseParserError  # type: ignore[import-untyped]

        where, kind = self.where, type(error).__name__
        if isinstance(error, of_client.ClientError):
            return self._refusal(error)
        if isinstance(error, ResponseParserError):
            return self._errors.strange("DynamoDB", "endpoint_url")
        if isinstance(error, of_client.NoRegionError):
            return ConfigurationError(f"{where} needs a region: give region=, or set AWS_DEFAULT_REGION")
        if isinstance(error, of_client.ProfileNotFound):
            return ConfigurationError(
                f"{where}: the files of the AWS SDK have no such profile; see: aws configure list"
            )
        if kind in _NO_CREDENTIALS:
            return ConfigurationError(
                f"{where} needs credentials ({kind}): give profile=, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                f"run aws configure, or run with a role"
            )
        if "Token" in kind or "SSO" in kind:
            return ConnectionFailedError(f"{where}: the credentials are out of date ({kind}): {_LOGIN}")
        if isinstance(error, (of_client.HTTPClientError, of_client.EndpointConnectionError)):
            return self._errors.silent(error)
        return None

    def _refusal(self, error: Any) -> PersistenceError:
        """Return our error for what the service said."""
        said = error.response.get("Error", {})
        code, message = str(said.get("Code", "")), said.get("Message", "")
        error.args = (code,)  # it is the cause of ours, and printed with it
        if code == "TransactionCanceledException":
            codes = sorted(str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ()))
            code = next((one for one in codes if one == _MOVED or _BUSY.search(one)), code)
        if code in {_MOVED, f"{_MOVED}Exception"}:
            return MovedError("the item has another version")
        if _BUSY.search(code):
            return ThrottledError(
                f"{self.where} has had too many requests for now ({code}); try again later, raise its capacity, or "
                f"raise timeout"
            )
        if code == "ResourceNotFoundException":
            return MissingTableError(f"{self.where} does not exist")
        if code == "ResourceInUseException":
            return TableExistsError(f"{self.where} is there")
        if _EXPIRED.match(code):
            return ConnectionFailedError(f"{self.where}: the credentials are out of date ({code}): {_LOGIN}")
        if _UNKNOWN.search(code):
            return ConnectionFailedError(f"{self.where} does not know these credentials ({code}): check them")
        if code.startswith("AccessDenied"):
            return self._errors.error(403, error)
        if code == "ValidationException" and "key element" in message:
            return ConfigurationError(
                f"{self.where} has another key schema than pk (text, partition key) and sk (text, sort key): it is not "
                f"one of these stores; give another table_name"
            )
        if code == "UnknownOperationException" or code.isdigit():
            # A server of another kind, or an emulator that lacks an operation.
            return self._errors.strange("DynamoDB", "endpoint_url", error.operation_name)
        return self._errors.silent(error) if _status(error) >= 500 else self._errors.error(code, error)


def _check_whole(http_response: Any, **_: Any) -> None:
    """Refuse an answer that was cut off: botocore does not see that, and takes the rest for one that says less."""
    from botocore.exceptions import ConnectionClosedError

    size, expected = len(http_response.content), http_response.headers.get("content-length")
    if size != int(expected or size) or (expected is None and not size):  # the headers may have been cut off, too
        raise ConnectionClosedError(endpoint_url=http_response.url)


def _status(error: Any) -> int:
    response = getattr(error, "response", None) or {}  # errors of the connection have it, too, as None
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
