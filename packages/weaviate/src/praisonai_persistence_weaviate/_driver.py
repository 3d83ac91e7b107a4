"""Weaviate's clients, and what their stores can be given."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, HttpErrors, Options, option
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError
from praisonai_persistence.stores.vector_errors import GoneError, TakenError

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["WeaviateDriver", "WeaviateOptions"]

_CLOUD = (".weaviate.cloud", ".weaviate.network")
"""The ends of the host names of Weaviate's own hosting, which has gRPC at a host of its own."""


class WeaviateOptions(Options):
    """What the stores in Weaviate can be given."""

    title = "Weaviate"
    schemes = ("weaviate", "async_weaviate", "http", "https")
    servers = True
    default_port = 8080
    clients = ("client",)
    password_is = "api_key"  # noqa: S105 - the name of an option
    hint = "; an API key is written weaviate://:key@host"

    https = option(None, "flag", "use TLS; by default for https:// and for Weaviate's cloud", url=True, server=True)
    grpc_port = option(
        None, "port", "of the gRPC interface; by default 50051, in Weaviate's cloud 443", url=True, server=True
    )
    grpc_host = option(None, "text", "of the gRPC interface, where it is another host", url=True, server=True)
    api_key = option(None, "text", "the server's; in a URL `weaviate://:KEY@host`", server=True, secret=True)
    additional_headers = option({}, "object", "sent with every request", server=True, secret=True)
    client = option(
        None,
        "object",
        "a connected `WeaviateClient` (`WeaviateAsyncClient` for the async store) of yours instead of a place; it "
        "stays open",
    )
    consistency_level = option(
        "QUORUM", ("ONE", "QUORUM", "ALL"), "how many replicas take part in each request", url=True
    )
    replicas = option(1, "count", "of new collections")
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a server has to answer a request")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        headers = given.get("additional_headers") or {}
        if not isinstance(headers, dict) or not all(isinstance(x, str) for pair in headers.items() for x in pair):
            raise ConfigurationError("additional_headers must be a mapping of text to text")
        super().__init__(url, **{name: value for name, value in given.items() if name != "additional_headers"})
        self.additional_headers = headers
        cloud = self.host is not None and self.host.lower().endswith(_CLOUD)
        if self.https is None:
            self.https = cloud or (url or "").lower().startswith("https://")
        if self.https and self.port == self.default_port and given.get("port") is None and ":8080" not in (url or ""):
            self.port = 443
        self.grpc_host = self.grpc_host or (f"grpc-{self.host}" if cloud else self.host)
        self.grpc_port = self.grpc_port or (443 if cloud else 50051)
        if self.host is not None and (self.grpc_host, self.grpc_port) == (self.host, self.port):
            raise ConfigurationError("grpc_port must be another one than the port, unless grpc_host is another host")


class WeaviateDriver(Driver):
    """A client of a server.

    Args:
        options: of the store.
        asynchronous: whether the store is that of async callers. It has the sync client on threads, unless it was given
            an async one: of that, nothing can be closed any more once its event loop has ended.
    """

    imports = ("weaviate",)
    forks = "refuse"  # gRPC does not survive one
    lost = (
        "reopen"  # gRPC goes on asking on a connection that is dead without a sign, for as long as TCP believes in it
    )
    packages = ("weaviate", "httpx", "httpcore", "grpc", "pydantic", "pydantic_core", "authlib")

    def __init__(self, options: WeaviateOptions, *, asynchronous: bool) -> None:
        self._options = options
        self.where = options.where
        self.given = options.client
        self.asynchronous = asynchronous and not hasattr(self.given, "__enter__") and self.given is not None
        self.connect_timeout, self.timeout = options.connect_timeout, options.timeout
        self._errors = HttpErrors(self.where, "check its API key")

    def open(self, deadline: Deadline) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries below it that are about to change
            import weaviate
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout

        options, seconds = self._options, self.timeout
        client = weaviate.WeaviateClient(
            weaviate.connect.ConnectionParams.from_params(
                str(options.host), options.port, options.https, options.grpc_host, options.grpc_port, options.https
            ),
            auth_client_secret=Auth.api_key(options.api_key) if options.api_key else None,
            additional_headers=dict(options.additional_headers) or None,
            # The checks would ask the package index for a newer client as well. What they ask the server is asked here.
            skip_init_checks=True,
            additional_config=AdditionalConfig(timeout=Timeout(init=seconds, query=seconds, insert=seconds)),
        )
        try:
            client.connect()
            import grpc  # type: ignore[import-untyped]

            try:
                # Else the client would repeat each request for a minute.
                grpc.channel_ready_future(client._connection._grpc_channel).result(timeout=deadline.left())
            except grpc.FutureTimeoutError as error:
                raise ConnectionFailedError(
                    f"{self.where} does not answer by gRPC at {options.grpc_host}:{options.grpc_port}: check grpc_port "
                    f"and grpc_host"
                ) from error
        except BaseException:
            client.close()  # or it warns that it was left open
            raise
        return client

    def close(self, client: Any) -> Any:
        return client.close()

    def abandon(self, client: Any) -> None:
        client.close()  # which says nothing to the server, and does not wait

    def probe(self) -> Steps[None]:
        yield lambda client: client.get_meta()

    def translate(self, error: Exception) -> PersistenceError:
        import httpx
        from weaviate import exceptions

        if isinstance(error, exceptions.UnexpectedStatusCodeError):
            if error.status_code == 422 and "already exists" in str(error):
                return TakenError(f"{self.where} has such a collection already")
            return self._errors.error(error.status_code, error)
        if isinstance(error, exceptions.InsufficientPermissionsError):
            return self._errors.error(403, error)
        silent = (httpx.TransportError, exceptions.WeaviateConnectionError, exceptions.WeaviateTimeoutError)
        if isinstance(error, silent) or isinstance(error.__cause__, silent):
            return self._errors.silent(error)
        if isinstance(error, exceptions.WeaviateRetryError) or isinstance(
            error.__context__, exceptions.WeaviateRetryError
        ):
            return self._errors.silent(error)
        missing = ("could not find class", "no such prop")
        if isinstance(error, exceptions.WeaviateBaseError) and any(text in str(error) for text in missing):
            return GoneError(f"{self.where} has no such collection")
        code = getattr(error.__cause__ or error.__context__ or error, "code", None)
        return self._errors.error(getattr(code(), "name", None) if callable(code) else None, error)
