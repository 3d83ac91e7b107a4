"""The clients of Pinecone, and what its stores can be given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import (
    ApiKeyOptions,
    FreshOptions,
    HttpErrors,
    HttpxDriver,
    ServiceOptions,
    matching,
    option,
    then,
)
from praisonai_persistence.errors import BackendError, ConfigurationError, ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["Clients", "PineconeDriver", "PineconeOptions"]

_KEY = "PINECONE_API_KEY"


class PineconeOptions(ServiceOptions, FreshOptions, ApiKeyOptions):
    """What the stores in Pinecone can be given."""

    title = "Pinecone"
    schemes = ("pinecone", "async_pinecone", "https", "http")
    default_host = "api.pinecone.io"
    variables = (None, _KEY)

    api_key = option(None, "text", f"by default the variable `{_KEY}`; in a URL the password", server=True, secret=True)
    index_name = option(
        None,
        matching("[a-z0-9](?:[a-z0-9-]{0,43}[a-z0-9])?", "at most 45 lower-case letters, digits, and hyphens between"),
        "one index for all collections; by default one for each dimension and metric",
        url=True,
    )
    index_host = option(None, "text", "the host of that index; the control plane is not asked then", url=True)
    namespace = option(
        "",
        matching(r"[\x20-\x7e]{0,200}", "ASCII text of at most 200 characters"),
        "what the names of all namespaces begin with",
        url=True,
    )
    cloud = option("aws", "text", "where new indexes are made", url=True)
    region = option("us-east-1", "text", "where new indexes are made", url=True)
    environment = option(None, "text", "of pods, for indexes that are made of these", url=True)
    pod_type = option("p1.x1", "text", "of these pods", url=True)
    index_timeout = option(300.0, "seconds", "seconds within which a new index has to be ready", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if self.index_host is not None and self.index_name is not None:
            raise ConfigurationError("index_host says which index it is: index_name cannot be given beside it")


class Clients:
    """The client of the control plane, and one for each index that was used.

    Args:
        options: of the store.
        asynchronous: whether they are the async ones.
    """

    def __init__(self, options: PineconeOptions, *, asynchronous: bool) -> None:
        import httpx
        import pinecone

        self._options = options
        self._asynchronous = asynchronous
        kind: Any = pinecone.AsyncPinecone if asynchronous else pinecone.Pinecone
        self._kind: Any = pinecone.AsyncIndex if asynchronous else pinecone.Index
        seconds = httpx.Timeout(options.timeout, connect=options.connect_timeout, pool=None)
        # Certificates take long to load, so that is left out where they are not needed.
        self._common = {"api_key": options.api_key, "timeout": seconds, "ssl_verify": options.https}
        self._indexes: dict[str, Any] = {}
        self.control = kind(host=self._url(options.authority), **self._common)
        self._calm(self.control)

    def _url(self, host: str) -> str:
        # The SDK puts https:// before the hosts of indexes.
        return f"{'https' if self._options.https else 'http'}://{host.rpartition('://')[2]}"

    def index(self, host: str) -> Any:
        """Return the client of an index."""
        found = self._indexes.get(host)
        if found is None:
            made = self._kind(host=self._url(host), **self._common)
            self._calm(made)
            found = self._indexes.setdefault(host, made)
        return found

    def delete(self, host: str, body: dict[str, Any]) -> Any:
        """Delete vectors, and return what headers say, which the client's own method drops."""
        from pinecone._internal.adapters.vectors_adapter import extract_response_info as read

        return then(self.index(host)._http.post("/vectors/delete", json=body), read)

    def https(self) -> list[Any]:
        """Return the clients of HTTP, of ``httpx``."""
        return [client._http._client for client in [self.control, *self._indexes.values()]]

    def _calm(self, client: Any) -> None:
        if self._asynchronous:
            client._http._ensure_client()
        inner = client._http._client
        inner._transport = inner._transport._transport  # without repetitions, which would multiply the timeout


class PineconeDriver(HttpxDriver):
    """Clients of the control plane and of indexes.

    Args:
        options: of the store.
        look: returns steps for the first connection.
        asynchronous: whether to use the async clients.
    """

    imports = ("pinecone", "pinecone.async_client.async_index", "pinecone.index", "httpx")
    packages = ("pinecone", "httpx", "httpcore", "anyio", "h11", "msgspec", "orjson")

    def __init__(self, options: PineconeOptions, look: Callable[[], Steps[None]], *, asynchronous: bool) -> None:
        super().__init__(options, look, asynchronous=asynchronous)
        self._options = options
        login = f"check its API key ({_KEY}), and that it may write"
        self._errors = HttpErrors(self.where, login, "write fewer documents at once")

    def open(self, deadline: Deadline) -> Any:
        return Clients(self._options, asynchronous=self.asynchronous)

    def connections(self, client: Any) -> list[Any]:
        return client.https()  # type: ignore[no-any-return]

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx
        from pinecone import errors

        said, where = str(error).lower(), self.where
        if isinstance(error, (errors.PineconeTimeoutError, errors.PineconeConnectionError, httpx.TransportError)):
            return self._errors.silent(error)
        if isinstance(error, errors.RateLimitError) and "month" in said:
            return ConnectionFailedError(f"{where} has had the requests of its plan for this month: raise the plan")
        if isinstance(error, errors.PaymentRequiredError):
            return ConnectionFailedError(f"{where} wants to be paid first: see its console")
        if isinstance(error, errors.ForbiddenError) and "max" in said:
            return BackendError(
                f"{where} has as many indexes as its plan allows: delete one, raise the plan, or give the "
                f"index_name of one that is there"
            )
        if isinstance(error, errors.NotFoundError) and "region" in said:
            options = self._options
            return ConfigurationError(f"{where} has no region {options.region!r} of the cloud {options.cloud!r}")
        if isinstance(error, errors.ResponseParsingError):
            return self._errors.strange("Pinecone")
        if isinstance(error, errors.PineconeValueError) and "api key" in said:
            return ConfigurationError(f"{where}: the API key has characters that cannot be sent")
        return self._errors.error(getattr(error, "status_code", None), error)
