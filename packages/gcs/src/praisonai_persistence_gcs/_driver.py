"""The client of Google Cloud Storage, and what its stores can be given."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, HttpErrors, Options, ThrottledError, option
from praisonai_persistence.drivers.http import close_session
from praisonai_persistence.errors import BackendError, ConfigurationError, UnsupportedOperationError
from praisonai_persistence.stores import MovedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL

__all__ = ["GCSDriver", "GCSOptions", "MissingError", "busy", "is_refusal", "is_throttled"]

# What Google's libraries say about the version of grpcio whenever they are imported; this store uses HTTP alone.
warnings.filterwarnings("ignore", r".*grpcio < ", FutureWarning)

_LONGEST = 200
"""Bytes of a prefix; a name may have 1,024, of which the keys take some 300."""
_CONNECTIONS = 32
_EMULATOR = "STORAGE_EMULATOR_HOST"
_AGAIN = frozenset({408, 500, 502, 503, 504})


class MissingError(BackendError):
    """There is no such object, or no such bucket."""


def busy(where: str) -> ThrottledError:
    """Return the error of a service that is too busy."""
    return ThrottledError(
        f"{where} has had too many requests for now (an object takes about one write a second); try again later, or "
        f"raise timeout"
    )


def is_refusal(error: Exception | None) -> bool:
    """Whether an error of the client is about one object alone: it has moved, or is gone, or cannot be written now."""
    code = getattr(error, "code", None)
    return is_throttled(error) or code == 412 or (code == 404 and not _lacks_bucket(error))


def is_throttled(error: Exception | None) -> bool:
    """Whether the service was too busy and has done nothing."""
    return getattr(error, "code", None) in {409, 429}


def _lacks_bucket(error: Exception | None) -> bool:
    return "bucket does not exist" in str(error)


class GCSOptions(Options):
    """What the stores in Google Cloud Storage can be given."""

    title = "Google Cloud Storage"
    schemes = ("gcs", "gs", "async_gcs")
    clients = ("bucket_name", "bucket")
    hint = "; credentials are files: credentials_path=..."

    bucket_name = option(None, "text", "the bucket, which has to exist; in a URL `gcs://BUCKET`")
    bucket = option(None, "text", "another name of `bucket_name`")
    prefix = option("praisonai_state/", "text", "where names of objects begin; in a URL `gcs://BUCKET/PREFIX`")
    project = option(None, "text", "of Google Cloud; by default the one of the credentials", url=True)
    credentials_path = option(
        None,
        "text",
        "the JSON file of a service account; by default the application default credentials are used",
        url=True,
    )
    emulator_host = option(
        None, "text", f"`http://host:port` of an emulator, as the variable `{_EMULATOR}` names it", url=True
    )
    client = option(None, "object", "a `google.cloud.storage.Client` of yours; it stays open")
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered, retries included", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if self.path is None:
            self.bucket_name = self.bucket_name or self.bucket
        else:
            self.bucket_name, _, prefix = self.path.partition("/")
            if prefix and given.get("prefix") is not None:
                raise ConfigurationError("prefix is in the URL already")
            self.prefix = prefix or self.prefix
            self.path = None
        if not self.bucket_name or "/" in self.bucket_name:
            raise ConfigurationError("bucket_name must be the name of a bucket, as in gcs://my-bucket")
        self.prefix = self.prefix.strip("/") + "/"
        if len(self.prefix.encode()) > _LONGEST or any(ord(character) < 32 for character in self.prefix):
            raise ConfigurationError(f"prefix must have at most {_LONGEST} bytes, and no control characters")
        if self.client is None:
            self.emulator_host = self.emulator_host or os.environ.get(_EMULATOR) or None
            if self.emulator_host is not None:
                self.emulator_host = self._address(self.emulator_host)

    def _address(self, text: str) -> str:
        from urllib.parse import urlsplit

        try:
            parts: SplitResult = urlsplit(text if "://" in text else f"http://{text}")
            if parts.scheme in {"http", "https"} and parts.hostname and parts.username is None:
                self.host, self.port = parts.hostname, parts.port or 443
                return f"{parts.scheme}://{self.authority}"
        except ValueError:
            pass
        raise ConfigurationError("emulator_host must be http://host:port, an IPv6 address in brackets: http://[::1]:80")

    @classmethod
    def forms(cls) -> str:
        return "url='gcs://bucket', bucket_name=..."

    def _path_of(self, parsed: StoreURL, url: str) -> str:
        if parsed.username is not None or parsed.password is not None or parsed.port is not None:
            raise ConfigurationError(f"{parsed} has a user or a port, which a bucket has not{self.hint}")
        return (parsed.host or "") + parsed.path

    def _folder(self, path: Any) -> str:
        return str(path)

    @property
    def where(self) -> str:
        at = "" if self.emulator_host is None else f" of the emulator at {self.emulator_host.partition('://')[2]}"
        return f"the bucket {self.bucket_name}{at}"


class GCSDriver(Driver):
    """A client of the service.

    Args:
        options: of the store.
        look: see [Driver][].
    """

    imports = ("google.cloud.storage",)
    packages = ("google", "requests", "urllib3")

    def __init__(self, options: GCSOptions, look: Callable[[], Steps[None]]) -> None:
        super().__init__(options, look)
        self._options = options
        if self.given is not None:
            self.forks = "refuse"  # its connections would be the parent's, too
        self._errors = HttpErrors(
            self.where, "check its credentials, and that they have the role Storage Object User on the bucket"
        )

    def open(self, deadline: Deadline) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.storage import Client  # type: ignore[import-untyped]
        from requests.adapters import HTTPAdapter

        options = self._options
        if options.emulator_host is not None:
            at = {"api_endpoint": options.emulator_host}
            nobody = AnonymousCredentials()  # type: ignore[no-untyped-call]
            client = Client(options.project or "emulator", nobody, client_options=at)
        elif options.credentials_path is not None:
            try:
                client = Client.from_service_account_json(options.credentials_path, project=options.project)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigurationError(
                    f"{self.where}: the file of credentials_path is not the key of a service account, or cannot be "
                    f"read ({type(error).__name__})"
                ) from error
        else:
            client = Client(options.project)
        # It would ask for the bucket by itself, on threads that no deadline ends.
        client._bucket_metadata_cache = None
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS)
        for scheme in ("http://", "https://"):
            client._http.mount(scheme, adapter)
        return client

    def close(self, client: Any) -> None:
        close_session(client._http)
        client.close()

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        from requests.exceptions import ConnectionError as LostError
        from requests.exceptions import ConnectTimeout

        cause = error.__cause__
        lost = isinstance(cause, LostError) and not isinstance(cause, ConnectTimeout)
        return not write and (lost or getattr(cause, "code", None) in _AGAIN)

    def translate(self, error: Exception) -> PersistenceError | None:
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
        from requests.exceptions import RequestException

        if isinstance(error, DefaultCredentialsError):
            return ConfigurationError(
                f"{self.where} needs credentials: give credentials_path=, set GOOGLE_APPLICATION_CREDENTIALS, or run "
                f"gcloud auth application-default login"
            )
        if isinstance(error, (RequestException, TransportError)):
            return self._errors.silent(error)
        if isinstance(error, GoogleAuthError):
            return self._errors.error(401, error)
        if not isinstance(error, GoogleAPICallError):
            return None
        if error.code == 404:
            return MissingError("bucket" if _lacks_bucket(error) else "object")
        if error.code == 412:
            return MovedError("the object has another generation")
        if is_throttled(error):
            return busy(self.where)
        if error.code in {405, 501}:
            asked = getattr(getattr(error, "response", None), "request", None)
            return UnsupportedOperationError(
                f"{self.where} lacks a feature that the store needs ({getattr(asked, 'method', 'a request')}: "
                f"{error.code}): take the service, or an emulator that has it, as fake-gcs-server"
            )
        return self._errors.error(error.code, error)
