"""The clients of Couchbase, and what its stores can be given."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from praisonai_persistence.drivers import Driver, FreshOptions, ThrottledError, check_fields, matching, option
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SerializationError,
    StoreNotFoundError,
    UnsupportedOperationError,
)
from praisonai_persistence.stores.vector_errors import GoneError, TakenError
from praisonai_persistence.urls import scheme_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps

__all__ = ["DURABLE", "CouchbaseDriver", "CouchbaseOptions", "Each", "UnseenError"]

DURABLE = ("majority_and_persist_to_active", "persist_to_majority")
"""Levels of durability at which a write is on a disk when it is acknowledged."""
_NAME = matching(
    "_default|[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}", "letters, digits, -, _ and %, and begin with none of _ and %"
)
_INDEX = matching("[A-Za-z][A-Za-z0-9_-]{0,150}", "a letter, and then letters, digits, - and _")
_FIELD = matching("[A-Za-z][A-Za-z0-9_]*", "a letter, and then letters, digits and _")
_DESCRIPTORS = 16  # that a client may need when it is opened
_LATE = ("UnAmbiguousTimeoutException", "AmbiguousTimeoutException", "TemporaryFailException")
_UNFED = "mismatched partition, uuid: ,"  # what an index says of a part of the bucket that it knows nothing of yet
_TOO_LARGE = 104  # the client's number for what is larger than a value may be


class CouchbaseOptions(FreshOptions):
    """What the stores in Couchbase can be given."""

    title = "Couchbase"
    schemes = ("couchbase", "couchbases", "async_couchbase")
    servers = True
    default_host = "localhost"
    default_port = 11210
    user_is, password_is, path_is = "username", "password", "bucket_name"

    connection_string = option(
        None, "text", "Couchbase's own, with more nodes or parameters; instead of a URL", server=True
    )
    username = option("Administrator", "text", "of an account; in a URL the user")
    password = option("", "text", "of the account; in a URL the password", secret=True)
    bucket_name = option("praisonai", _NAME, "a bucket that is there; in a URL the path")
    scope_name = option("_default", _NAME, "a scope that is there", url=True)
    collection_name = option("vectors", _NAME, "of documents; is made where there is none", url=True)
    index_name = option("vector_index", _INDEX, "what the names of the search indexes begin with", url=True)
    vector_field = option("embedding", _FIELD, "where a document has its vector", url=True)
    text_field = option("content", _FIELD, "where a document has its text", url=True)
    durability = option(
        DURABLE[0], ("none", "majority", *DURABLE), "where a write has to be when it is acknowledged", url=True
    )
    index_timeout = option(60.0, "seconds", "seconds within which a new index has to answer", url=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in")
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered")

    def __init__(self, url: str | None = None, **given: Any) -> None:
        own = given.get("connection_string")
        if own is not None:
            found = re.fullmatch(r"(?i:couchbases?)://([^\s/@?,]+)[^\s@]*", own) if isinstance(own, str) else None
            if url is not None or given.get("host") is not None or found is None:
                raise ConfigurationError(
                    "connection_string must be couchbase://HOST,HOST?PARAMETERS, without a password, and no url or "
                    "host can be given beside it"
                )
            own = f"{scheme_of(own)}://{own.partition('://')[2]}"  # the client knows it in lower case only
            given["host"] = found[1].strip("[").partition("]" if "]" in found[1] else ":")[0]
        super().__init__(url, **given)
        secure = "s" if scheme_of(url) == "couchbases" else ""
        authority = self.authority.removesuffix(f":{self.default_port}")
        self.connection_string = own or f"couchbase{secure}://{authority}"
        check_fields(self, ("vector_field", "text_field"), ("id", "place", "tokens", "numbers", "facts"))


class Each(NamedTuple):
    """A request: one operation for each of some keys, all at a time; the answer has a result by key.

    Attributes:
        operation: ``get``, ``upsert``, ``insert``, ``replace`` or ``remove``.
        values: by key what is written; None where nothing is.
        versions: by key the ``cas`` that it must have.
        expected: errors of Couchbase that are results, by the names of their classes.
    """

    operation: str
    values: Mapping[str, Any]
    versions: Mapping[str, int] = {}
    expected: tuple[str, ...] = ()


class UnseenError(ConnectionFailedError):
    """A query has ended without the writes that it had to see: in vain, or because its time was over."""


class _NotConnectedError(ConnectionFailedError):
    """The client has no connection at the beginning of a call."""


class CouchbaseDriver(Driver):
    """A cluster's client, which is given requests of the class ``Each``, and functions of a scope.

    Args:
        options: of the store.
    """

    imports = ("couchbase.cluster", "couchbase.search")
    packages = ("couchbase",)
    lost = "reopen"  # it would wait for answers on a connection that is dead

    def __init__(self, options: CouchbaseOptions) -> None:
        super().__init__(options)
        self._options = options

    def open(self, deadline: Deadline) -> Any:
        from couchbase.auth import PasswordAuthenticator
        from couchbase.cluster import Cluster
        from couchbase.options import (
            ClusterMetricsOptions,
            ClusterOptions,
            ClusterTimeoutOptions,
            ClusterTracingOptions,
        )

        options = self._options
        _check_descriptors(self.where)
        left, long = timedelta(seconds=deadline.left()), timedelta(seconds=options.timeout)
        connecting = {f"{name}_timeout": left for name in ("bootstrap", "connect", "resolve")}
        working = {f"{name}_timeout": long for name in ("kv", "kv_durable", "search", "management")}
        wanted = ClusterOptions(
            PasswordAuthenticator(options.username, options.password),
            timeout_options=ClusterTimeoutOptions(**connecting, **working),
            # Each of these is a thread that writes to logs what may be slow.
            tracing_options=ClusterTracingOptions(enable_tracing=False),
            metrics_options=ClusterMetricsOptions(enable_metrics=False),
        )
        cluster = Cluster.connect(options.connection_string, wanted)
        try:
            return _Client(cluster, cluster.bucket(options.bucket_name), options)
        except BaseException:
            cluster.close()
            raise

    def close(self, client: Any) -> None:
        client.cluster.close()

    def probe(self) -> Steps[None]:
        """Make the collection, unless it is there."""
        options = self._options
        if options.collection_name == "_default":
            return
        scopes = yield lambda client: client.bucket.collections().get_all_scopes()
        names = {scope.name: {one.name for one in scope.collections} for scope in scopes}
        if options.scope_name not in names:
            raise ConfigurationError(f"{self.where} has no scope {options.scope_name!r} in its bucket: make it first")
        if options.collection_name in names[options.scope_name]:
            return
        if self.must_exist:
            raise StoreNotFoundError(f"there is no store yet: {self.where}, collection {options.collection_name}")
        try:
            yield lambda client: client.bucket.collections().create_collection(
                options.scope_name, options.collection_name
            )
        except TakenError:  # somebody else was first
            return

    def begin(self, client: Any, *, write: bool) -> AbstractContextManager[Any]:
        """Refuse a client that has lost its servers: it would repeat a request until ``timeout``."""
        if not client.is_connected():
            raise _NotConnectedError(f"{self.where} does not answer")
        return super().begin(client, write=write)  # type: ignore[return-value]

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        """Nothing has been sent to a client that is not connected; the next one is, or cannot be opened."""
        return isinstance(error, _NotConnectedError)

    def perform(self, on: Any, request: Any) -> Any:
        """See [Driver.perform][]."""
        if not isinstance(request, Each):
            return request(on)
        return on.each(request)

    def translate(self, error: Exception) -> PersistenceError | None:
        where, kind = self.where, type(error).__name__
        context = getattr(error, "error_context", None)
        status, said = getattr(context, "response_code", None), _said(context)
        if status == 429:  # the client repeats no request of these
            return ThrottledError(f"{where} has no memory for this request for now: try again later")
        if kind == "AuthenticationException":
            return ConnectionFailedError(
                f"{where} does not let this client in: check username and password, and what the account may do"
            )
        if kind == "SearchIndexNotFoundException" or "index not found" in said:
            return GoneError(f"{where} has no such collection")
        if kind in {"CollectionAlreadyExistsException", "CasMismatchException", "DocumentExistsException"}:
            return TakenError("somebody else was first")
        if kind in {"BucketNotFoundException", "ScopeNotFoundException", "CollectionNotFoundException"}:
            return ConfigurationError(f"{where} has no such bucket, scope or collection ({kind}): make it first")
        if status == 412 or ("pindex_consistency" in said and _UNFED not in said):  # late, or after a failover
            return UnseenError(f"{where} does not show the writes that a query has to see ({kind})")
        if kind in {"TemporaryFailException", "RateLimitedException"} or "pindex" in said:  # or it is not fed yet
            return ThrottledError(f"{where} is busy, or its index is not ready ({kind}): try again later")
        if kind == "QuotaLimitedException" or "num_fts_indexes" in said:
            return BackendError(f"{where} has no room for more indexes: delete a collection, or raise its limit")
        if "Timeout" in kind and type(context).__name__ == "SearchErrorContext":
            return UnseenError(
                f"{where} did not answer a query in time ({kind}): is it up, and does it run this service?"
            )
        if kind in {"AmbiguousTimeoutException", "DurabilitySyncWriteAmbiguousException"}:
            return ConnectionFailedError(
                f"{where} did not answer in time. A write may have been done: it is safe to repeat"
            )
        if kind == "DurabilitySyncWriteInProgressException":
            return ThrottledError(f"{where} has not ended another write of a document: try again later")
        if kind.startswith("Durability"):
            return BackendError(
                f"{where} cannot keep a write as durable as durability={self._options.durability} asks ({kind}): "
                f"its bucket needs nodes for its replicas, or choose another durability"
            )
        if "Timeout" in kind or kind in {"RequestCanceledException", "ServiceUnavailableException"}:
            return ConnectionFailedError(f"{where} does not answer ({kind}): is it up, and does it run this service?")
        if kind == "FeatureUnavailableException":
            return UnsupportedOperationError(f"{where} cannot do that: vector search takes Couchbase 7.6.4")
        if kind == "ValueFormatException" or getattr(error, "error_code", None) == _TOO_LARGE:
            return SerializationError(f"{where} takes documents of at most 20 MB: split the content")
        return None


def _said(context: Any) -> str:
    """Return what the server said is wrong, in lower case; its answer, and the client's text, have the request, too."""
    body = str(getattr(context, "response_body", None) or "")
    with suppress(ValueError, KeyError, TypeError):  # it may be no JSON, or of another form
        body = str(json.loads(body)["error"])
    return body.lower()


class _Client:
    """A cluster, and the collection of a store in it."""

    def __init__(self, cluster: Any, bucket: Any, options: CouchbaseOptions) -> None:
        self.cluster, self.bucket = cluster, bucket
        self.scope = bucket.scope(options.scope_name)
        self._collection = self.scope.collection(options.collection_name)
        self._durability = options.durability
        self._timeout = options.timeout
        self._first = min(options.connect_timeout, options.timeout)  # seconds that a read waits before a look around

    def is_connected(self) -> bool:
        """Whether there is a connection to the bucket; asks no server."""
        from couchbase.diagnostics import EndpointState, ServiceType

        found = self.cluster.diagnostics().endpoints.get(ServiceType.KeyValue, ())
        return any(one.state is EndpointState.Connected and one.namespace == self.bucket.name for one in found)

    def _given(self, request: Each, key: str, seconds: float) -> Any:
        """Return the options of an operation that may take so many seconds."""
        from couchbase import options
        from couchbase.durability import Durability, ServerDurability

        given: dict[str, Any] = {"timeout": timedelta(seconds=seconds)}
        if key in request.versions:
            given["cas"] = request.versions[key]
        if request.operation != "get" and self._durability != "none":
            given["durability"] = ServerDurability(Durability[self._durability.upper()])
        return getattr(options, f"{request.operation.capitalize()}Options")(**given)

    def each(self, request: Each) -> dict[str, Any]:
        """Do a request, on this thread.

        The client may learn only while it waits that its servers are gone, and then repeats a request until its time is
        over. So a read, with which each call begins, waits as long as connecting may take, and goes on if there is a
        connection then.
        """
        if request.operation != "get":
            return _checked(request, self._ask(request, self._timeout))
        found = self._ask(request, self._first)
        late = {key: None for key, answer in found.items() if type(answer).__name__ in _LATE}
        left = self._timeout - self._first
        if late and left > 0 and self.is_connected():
            found.update(self._ask(request._replace(values=late), left))
        return _checked(request, found)

    def _ask(self, request: Each, seconds: float) -> dict[str, Any]:
        """Return answers and errors by key."""
        if not request.values:
            return {}
        own = {key: self._given(request, key, seconds) for key in request.values}
        written = request.operation not in {"get", "remove"}
        answers = getattr(self._collection, f"{request.operation}_multi")(
            request.values if written else list(request.values), per_key_options=own, return_exceptions=True
        )
        found = {**answers.results, **answers.exceptions}
        return {key: found[key] for key in request.values}


def _checked(request: Each, found: dict[str, Any]) -> dict[str, Any]:
    for answer in found.values():
        if isinstance(answer, BaseException) and type(answer).__name__ not in request.expected:
            raise answer
    return found


def _check_descriptors(where: str) -> None:
    """Refuse where the client could open no sockets and timers, because it then ends the process."""
    taken: list[int] = []
    try:
        while len(taken) < _DESCRIPTORS:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise ConnectionFailedError(f"{where} cannot be reached: this process may open no more files") from error
    finally:
        for one in taken:
            os.close(one)
