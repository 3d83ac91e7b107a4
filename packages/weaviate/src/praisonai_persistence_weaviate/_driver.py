"""Weaviate's clients, and what their stores can be given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import ApiKeyOptions, GrpcDriver, HttpErrors, client_option, option
from praisonai_persistence.errors import ConfigurationError, SchemaError

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["WeaviateDriver", "WeaviateOptions"]

_NO_INDEX = re.compile('index for target vector "[a-z]+" not found|vector index not found for')


class WeaviateOptions(ApiKeyOptions):
    """What the stores in Weaviate can be given."""

    title = "Weaviate"
    schemes = ("weaviate", "async_weaviate", "http", "https")
    default_port = 8080
    clients = ("client",)
    tls_is = "https"
    clouds = (".weaviate.cloud", ".weaviate.network")  # which have gRPC at a host of its own

    https = option(None, "flag", "use TLS; by default for https:// and for Weaviate's cloud", url=True, server=True)
    grpc_port = option(None, "port", "of gRPC; by default 50051, in Weaviate's cloud 443", url=True, server=True)
    grpc_host = option(None, "text", "of gRPC, where it is another host", url=True, server=True)
    additional_headers = option({}, "headers", "sent with every request", server=True, secret=True)
    client = client_option("a connected `WeaviateClient`", "WeaviateAsyncClient")
    consistency_level = option("QUORUM", ("ONE", "QUORUM", "ALL"), "replicas that take part in each request", url=True)
    replicas = option(1, "count", "of new collections")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        self.grpc_host = self.grpc_host or (f"grpc-{self.host}" if self.in_cloud else self.host)
        self.grpc_port = self.grpc_port or (443 if self.in_cloud else 50051)
        if self.host is not None and (self.grpc_host, self.grpc_port) == (self.host, self.port):
            raise ConfigurationError("grpc_port must be another one than the port, unless grpc_host is another host")


class WeaviateDriver(GrpcDriver):
    """A client of a server; see ``GrpcDriver``."""

    imports = ("weaviate",)
    packages = ("weaviate", "httpx", "httpcore", "grpc", "pydantic", "pydantic_core", "authlib")

    def __init__(self, options: WeaviateOptions, *, asynchronous: bool) -> None:
        super().__init__(options, asynchronous=asynchronous)
        self._options = options
        gone = "could not find class", "no such prop"
        self._errors = HttpErrors(self.where, "check its API key", gone=gone, taken=["already exists"])

    def open(self, deadline: Deadline) -> Any:
        import weaviate
        from weaviate.classes.init import AdditionalConfig, Auth, Timeout
        from weaviate.config import GrpcConfig

        options, seconds = self._options, self.timeout
        rest, by_grpc = (str(options.host), options.port), (options.grpc_host, options.grpc_port)
        client = weaviate.WeaviateClient(
            weaviate.connect.ConnectionParams.from_params(*rest, options.https, *by_grpc, options.https),
            auth_client_secret=Auth.api_key(options.api_key) if options.api_key else None,
            additional_headers=dict(options.additional_headers) or None,
            # The checks would ask the package index for a newer client as well. What they ask the server is asked here.
            skip_init_checks=True,
            additional_config=AdditionalConfig(
                timeout=Timeout(init=seconds, query=seconds, insert=seconds),
                # Else clients share connections, also one that is dead.
                grpc_config=GrpcConfig(channel_options=[("grpc.use_local_subchannel_pool", 1)]),
            ),
        )
        try:
            client.connect()
            self.connected(client._connection._grpc_channel, f"{options.grpc_host}:{options.grpc_port}", deadline)
            self.fails_at_once(client._connection.grpc_stub, "Search", "Aggregate", "BatchObjects", "BatchDelete")
        except BaseException:
            client.close()  # or it warns that it was left open
            raise
        return client

    def probe(self) -> Steps[None]:
        said = yield lambda client: client.get_meta()
        self.check_version("Weaviate", str(said["version"]), (1, 33))  # the first whose filters can be negated

    def translate(self, error: Exception) -> PersistenceError:
        import httpx
        from weaviate.exceptions import WeaviateConnectionError, WeaviateTimeoutError

        if _NO_INDEX.search(str(error)):
            return SchemaError(
                f"{self.where} has no index of this collection's vectors any more: somebody dropped it. Its documents "
                "can be read (get, count): take them along with 'praisonai-persistence copy --kind knowledge "
                "--from URL --to URL', or delete the collection"
            )
        return self._errors.read(error, httpx.TransportError, WeaviateConnectionError, WeaviateTimeoutError)
