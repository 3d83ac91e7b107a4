"""Weaviate's clients, and what their stores can be given."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import ApiKeyOptions, FreshOptions, GrpcDriver, HttpErrors, client_option, option
from praisonai_persistence.errors import BackendError, ConfigurationError, PersistenceError, SchemaError
from praisonai_persistence.stores.vector_engine import GoneError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.steps import Steps

__all__ = ["WeaviateDriver", "WeaviateOptions"]

_READ_ONLY = (
    "a shard of this collection is read-only: somebody set it so, or the server's disk or memory was nearly full; "
    "give it room, and set the shard to READY"
)
_NO_INDEX = (
    "there is no index of this collection's vectors any more: somebody dropped it. Its documents can be read "
    "(get, count): take them along with 'praisonai-persistence copy --kind knowledge --from URL --to URL', or delete "
    "the collection"
)
_PROPERTY = "a property of this collection is of another type than the store gave it: somebody changed its schema"
_LENGTH = "vectors in this collection are of another length than it was created with: somebody else wrote to it"
# What a server's errors say, of which some quote what was to be stored; the type of ours, and what it says instead.
_REASONS: tuple[tuple[str, type[PersistenceError], str], ...] = (
    ("could not find class|no such prop", GoneError, "there is no such collection"),
    ("invalid [a-z]+ property", SchemaError, _PROPERTY),
    ("vector with length|vector (lengths|dimensions)", SchemaError, _LENGTH),
    ('index for target vector "[a-z]+" not found|vector index not found for', SchemaError, _NO_INDEX),
    ("read-?only", BackendError, _READ_ONLY),
)


def _told(text: str) -> tuple[type[PersistenceError], str] | None:
    return next(((kind, reason) for pattern, kind, reason in _REASONS if re.search(pattern, text)), None)


class WeaviateOptions(ApiKeyOptions, FreshOptions):
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
        self.lags = False
        """Whether the server may index vectors after it has acknowledged them (``ASYNC_INDEXING``)."""
        self._errors = HttpErrors(self.where, "check its API key", taken=["already exists"])

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
        nodes: list[dict[str, Any]] = [{}]
        with suppress(PersistenceError):  # a key may not see them
            answer = yield lambda client: client._connection.get("/nodes", error_msg="nodes")
            nodes = answer.json()["nodes"] if answer.status_code == 200 else nodes
        # A node that indexes later has no queue of batches, which is what the client looks at, too.
        self.lags = any("queueLength" not in (node.get("batchStats") or {}) for node in nodes)

    def translate(self, error: Exception) -> PersistenceError:
        import httpx
        from weaviate.exceptions import WeaviateConnectionError, WeaviateTimeoutError

        lost = httpx.TransportError, WeaviateConnectionError, WeaviateTimeoutError
        told = None if isinstance(error, lost) else _told(str(error))
        if told is not None:
            kind, reason = told
            return kind(f"{self.where} cannot do this: {reason}")
        return self._errors.read(error, *lost)

    def refused(self, reasons: Iterable[str], total: int) -> PersistenceError:
        """Return the error about a batch: of the type that its objects' errors have, if it is one for all of them.

        Args:
            reasons: what the server says of each object that it refused, which is not shown: it may quote documents.
            total: how many objects the batch has.
        """
        unknown = BackendError, "a reason that may quote the document, and stands in the cause of this error"
        found = Counter(_told(reason) or unknown for reason in reasons)
        kinds, refused = {kind for kind, _ in found}, found.total()
        kind = kinds.pop() if len(kinds) == 1 and refused == total else BackendError
        said = "; ".join(f"{reason} ({number})" for (_, reason), number in found.most_common())
        return kind(f"{self.where} refused {refused} of {total} documents: {said}")
