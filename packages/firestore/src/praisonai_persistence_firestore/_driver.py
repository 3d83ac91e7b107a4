"""The client of Firestore, and what its stores can be given."""

from __future__ import annotations

import os
import re
import warnings
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, HttpErrors, Options, ThrottledError, option
from praisonai_persistence.errors import ConfigurationError, SerializationError, UnsupportedOperationError
from praisonai_persistence.stores import MovedError

if TYPE_CHECKING:
    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL
    from praisonai_persistence_firestore.engine import FirestoreEngine

__all__ = ["FirestoreDriver", "FirestoreOptions"]

# What Google's libraries say about the version of grpcio whenever they are imported.
warnings.filterwarnings("ignore", r".*grpcio < ", FutureWarning)

_EMULATOR = "FIRESTORE_EMULATOR_HOST"
_COLLECTION = re.compile(r"(?!__.*__$)[^/]{1,200}(?<!^\.)(?<!^\.\.)", re.DOTALL)
_ADDRESS = re.compile(r"(?i:http://)?((?:\[[\da-fA-F:.]+\]|[^/@\s:\[\]]+):\d{1,5})/?")
_AGAIN = frozenset({"UNAVAILABLE", "INTERNAL", "UNKNOWN"})
_BUSY = frozenset({"ABORTED", "RESOURCE_EXHAUSTED"})
_MOVED = frozenset({"ALREADY_EXISTS", "FAILED_PRECONDITION"})


class FirestoreOptions(Options):
    """What the stores in Firestore can be given."""

    title = "Google Firestore"
    schemes = ("firestore", "async_firestore")
    clients = ("project", "client")
    hint = "; credentials are files: credentials_path=..."

    project = option(
        None, "text", "of Google Cloud, in a URL `firestore://PROJECT`; by default the one of the credentials"
    )
    database = option("(default)", "text", "the id of the database; in a URL `firestore://PROJECT/DATABASE`")
    collection = option(
        None, "text", "of all documents; by default `praisonai_state`, `praisonai_conversation`", url=True
    )
    credentials_path = option(
        None,
        "text",
        "the JSON file of a service account; by default the application default credentials are used",
        url=True,
    )
    emulator_host = option(None, "text", f"`host:port` of an emulator, as the variable `{_EMULATOR}` has it", url=True)
    client = option(None, "object", "a `google.cloud.firestore.Client` of yours; it stays open")
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered, retries included", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if url is None and given.get("project") is None and given.get("client") is None:
            url = "firestore://"
        super().__init__(url, **given)
        if self.path is not None:
            project, _, database = self.path.partition("/")
            self.project, self.database, self.path = project or None, database or self.database, None
        if not self.database or "/" in self.database:
            raise ConfigurationError("database must be the id of a database, as in firestore://my-project/my-database")
        if self.collection is not None and not _COLLECTION.fullmatch(self.collection):
            raise ConfigurationError(
                "collection must have 1 to 200 characters without '/', and be none of '.', '..' and '__name__'"
            )
        if self.client is None:
            self.emulator_host = self.emulator_host or os.environ.get(_EMULATOR) or None
            if self.emulator_host is not None:
                found = _ADDRESS.fullmatch(self.emulator_host)
                if found is None:
                    raise ConfigurationError("emulator_host must be host:port, an IPv6 address in brackets: [::1]:8080")
                self.emulator_host = found[1]

    @classmethod
    def forms(cls) -> str:
        return "url='firestore://project', project=..., client=..."

    def _path_of(self, parsed: StoreURL, url: str) -> str:
        if parsed.username is not None or parsed.password is not None or parsed.port is not None:
            raise ConfigurationError(f"{parsed} has a user or a port, which a project has not{self.hint}")
        return (parsed.host or "") + parsed.path

    def _folder(self, path: Any) -> str:
        return str(path)

    @property
    def where(self) -> str:
        at = "" if self.emulator_host is None else f" of the emulator at {self.emulator_host}"
        return f"the Firestore database {self.database}{at}"


class FirestoreDriver(Driver):
    """A client of the service; async stores use it on threads.

    Args:
        options: of the store.
        engine: asks the first question.
    """

    imports = ("google.cloud.firestore",)
    packages = ("google", "grpc", "proto")
    forks = "refuse"  # gRPC does not survive one
    lost = "reopen"  # gRPC keeps a connection that is dead without a sign, for as long as TCP believes in it

    def __init__(self, options: FirestoreOptions, engine: FirestoreEngine) -> None:
        super().__init__(options)
        self._options = options
        self._engine = engine
        self._errors = HttpErrors(
            self.where, "check its credentials, and that they have the role Cloud Datastore User (roles/datastore.user)"
        )

    def open(self, deadline: Deadline) -> Any:
        client = self._client()
        _connect(client)
        return client

    def _client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.firestore import Client

        options = self._options
        if options.emulator_host is not None:
            nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
            client = Client(options.project or "emulator", nobody, options.database)
            client._emulator_host = options.emulator_host  # which it would take from the environment alone
            return client
        if options.credentials_path is None:
            return Client(options.project, database=options.database)
        from google.oauth2.service_account import Credentials

        try:
            credentials = Credentials.from_service_account_file(options.credentials_path)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"{self.where}: the file of credentials_path is not the key of a service account, or cannot be read "
                f"({type(error).__name__})"
            ) from error
        return Client(options.project or credentials.project_id, credentials, options.database)

    def close(self, client: Any) -> None:
        self.abandon(client)

    def abandon(self, client: Any) -> None:
        # The client has no close(). This says nothing to the server, and does not wait.
        if client._firestore_api_internal is not None:
            client._firestore_api_internal.transport.close()

    def probe(self) -> Steps[None]:
        return self._engine.look(self.connect_timeout)

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        return not write and _status(error.__cause__) in _AGAIN

    def translate(self, error: Exception) -> PersistenceError | None:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError

        if isinstance(error, DefaultCredentialsError):
            return ConfigurationError(
                f"{self.where} needs credentials: give credentials_path=, set GOOGLE_APPLICATION_CREDENTIALS, or run "
                f"gcloud auth application-default login"
            )
        if isinstance(error, TransportError):
            return self._errors.silent(error)
        if isinstance(error, GoogleAuthError):
            return self._errors.error(401, error)
        if isinstance(error, OSError) and "project" in str(error).lower():
            return ConfigurationError(f"{self.where}: the credentials name no project; give project=")
        if not isinstance(error, GoogleAPICallError):
            return None
        status = _status(error)
        text = str(error)
        if status == "FAILED_PRECONDITION" and "datastore mode" in text.lower():
            return ConfigurationError(f"{self.where} is in Datastore mode; name one in native mode: database=...")
        if status == "NOT_FOUND" and re.search("(project|database) .*(does not exist|not found)", text):
            return ConfigurationError(
                f"{self.where} does not exist in this project, or there is no such project; check project=, or make it "
                f"with: gcloud firestore databases create --database='{self._options.database}' --location=LOCATION"
            )
        if status == "UNIMPLEMENTED":
            return UnsupportedOperationError(
                f"{self.where} lacks a feature that the store needs ({_method(error)} UNIMPLEMENTED): take the "
                f"service, or the emulator of the Google Cloud SDK"
            )
        if status in _MOVED or status == "NOT_FOUND":
            return MovedError("the document was written meanwhile")
        if status in _BUSY:
            return ThrottledError(
                f"{self.where} has had too many requests for now (a document takes about one write a second); try "
                f"again later, or raise timeout"
            )
        if status == "INVALID_ARGUMENT" and ("larger than" in text or "maximum" in text):
            return SerializationError(f"{self.where}: a document may have 1 MiB, with the names of its fields")
        if status == "UNAVAILABLE" and "invalid_grant" in text:  # said when the client asked for a token
            return self._errors.error(401, error)
        if status in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}:
            return self._errors.silent(error)
        return self._errors.error(status, error)


def _connect(client: Any) -> None:
    """Give a client a connection of its own. By default gRPC shares them in a process, also one that is dead."""
    import grpc  # type: ignore[import-untyped]
    from google.cloud.firestore_v1.services.firestore import FirestoreClient
    from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", 30_000),  # as the client has it
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    if client._emulator_host is not None:
        channel = grpc.insecure_channel(client._emulator_host, options)
    else:
        channel = FirestoreGrpcTransport.create_channel(client._target, client._credentials, options=options)
    client._transport = FirestoreGrpcTransport(host=client._target, channel=channel)
    client._firestore_api_internal = FirestoreClient(transport=client._transport)


def _method(error: Exception) -> str:
    """Return what was asked for, as far as the error says it."""
    found = re.search(r"[Mm]ethod[^\w/]+([\w./]+)", str(error))
    return found[1] if found else type(error).__name__


def _status(error: BaseException | None) -> str | None:
    """Return the name of the gRPC status of an error."""
    name = getattr(getattr(error, "grpc_status_code", None), "name", None)
    return None if name is None else str(name)
