"""What the stores in Supabase can be given, and what the answers of PostgREST mean."""

from __future__ import annotations

import base64
import inspect
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import Driver, HttpErrors, Options, http, option
from praisonai_persistence.drivers.driver import from_outside
from praisonai_persistence.errors import (
    BackendError,
    ConfigurationError,
    ConnectionFailedError,
    SchemaError,
    SerializationError,
    StoreNotFoundError,
)
from praisonai_persistence_supabase._schema import FUNCTIONS, SCHEMA, function_of, schema_script
from praisonai_persistence_supabase._steps import AsleepError, Call, again

if TYPE_CHECKING:
    from collections.abc import Iterator

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL

__all__ = ["SupabaseDriver", "SupabaseOptions"]

_URL, _KEY = "SUPABASE_URL", "SUPABASE_KEY"
_KEYS = "Project Settings, API Keys"
_LOGIN = f"check its key ({_KEYS})"
# Codes of PostgREST: https://docs.postgrest.org/en/stable/references/errors.html
_NOT_CONNECTED = frozenset({"PGRST000", "PGRST002", "PGRST003", "53300", "57P03"})
_ABSENT = frozenset({"PGRST202", "PGRST203", "PGRST204", "PGRST205", "42883", "42P01", "42703"})
_UNDONE = frozenset({"40001", "40P01", "55P03"})
_TOKEN = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303"})
_HINTS = {
    "42501": "write a policy for this role, and grant it the tables and functions; the README has examples",
    "57014": "it took longer than the statement_timeout of the role: ask for less at once, or raise it "
    "(ALTER ROLE authenticator SET statement_timeout = '30s')",
    "25006": "the database is read-only: it may be full, or a replica",
    "23505": "a row of this key is there already, and a policy of row-level security hides it",
}
_THEN = (
    "and what it prints once in the SQL editor of the project (in Python: print(store.schema_script()), or the script "
    "of this error)"
)
_PAUSED = 540
_GATEWAY = frozenset({408, 429, 500, 502, 503, 504, *range(520, 531)})


_FREE = frozenset({"", "service_role"})
"""Roles of keys which are JSON Web Tokens: none is told, or it bypasses policies."""


def _role_of(key: str) -> str:
    """Return the role that a JSON Web Token names; the empty text: it names none, or this is no such token."""
    parts = key.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return ""
    role = claims.get("role") if isinstance(claims, dict) else None
    return role if isinstance(role, str) else ""


class SupabaseOptions(Options):
    """What the stores in Supabase can be given."""

    title = "Supabase"
    schemes = ("supabase", "async_supabase", "https", "http")
    servers = True
    default_port = 443
    tls_is = "tls"
    password_is = "key"  # noqa: S105 - the name of an option
    path_is = "rest_path"
    hint = "; a key is written supabase://:KEY@host"

    key = option(
        None,
        "text",
        "of the API: a secret (or `service_role`) key, or a publishable (or `anon`) one, for which policies must say "
        f"what it may do; in a URL `supabase://:KEY@host`; by default the variable `{_KEY}`",
        server=True,
        secret=True,
    )
    access_token = option(
        None,
        "object",
        "the token of a signed-in user, or a function that returns it and is called for each request (for async stores "
        "it may be a coroutine function; None from it is an error); policies then see that user",
        server=True,
        secret=True,
    )
    tls = option(True, "flag", "use TLS; a URL `http://host:port` does not", url=True, server=True)
    rest_path = option("rest/v1", "text", "where PostgREST is, also as the path of the URL; `/` without a gateway")
    auto_create_tables = option(
        False,
        "flag",
        "taken as PraisonAI has it; it has no effect, because PostgREST runs no DDL: see `migrate --print`",
    )
    max_retries = option(3, "object", "how often a request is made again while the service is not ready")
    retry_delay = option(2.0, "seconds", "seconds to wait before that")
    connect_timeout = option(30.0, "seconds", "seconds to connect in, and to wait for a database that starts", url=True)
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered", url=True)

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if url is None and given.get("host") is None:
            url = os.environ.get(_URL) or None
        super().__init__(url, **given)
        self.key = self.key or os.environ.get(_KEY) or None
        if self.key is None:
            raise ConfigurationError(f"{self.where} needs a key: give key=..., or set {_KEY}")
        if not _is_token(self.key):
            raise ConfigurationError("key must be text of printable ASCII characters without spaces")
        if not (self.access_token is None or callable(self.access_token) or _is_token(self.access_token)):
            raise ConfigurationError("access_token must be text of printable ASCII characters, or a function")
        retries = self.max_retries
        if not isinstance(retries, int) or isinstance(retries, bool) or not 0 <= retries <= 1000:
            raise ConfigurationError("max_retries must be a whole number from 0 to 1000")

    @property
    def under_policies(self) -> bool:
        """Whether policies apply to who has this key, as far as the key tells."""
        key = str(self.key)
        return self.access_token is not None or key.startswith("sb_publishable_") or _role_of(key) not in _FREE

    def _of_server(self, parsed: StoreURL) -> dict[str, Any]:
        if parsed.scheme == "http" and parsed.port is None:
            raise ConfigurationError(f"{parsed} needs a port; Supabase itself is asked by https://")
        return super()._of_server(parsed)


def _is_token(text: Any) -> bool:
    return isinstance(text, str) and bool(text) and all("!" <= character <= "~" for character in text)


class _RefusedError(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        code: PostgREST's or PostgreSQL's; empty: it has none.
        message: of an error that names no values.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}".strip())
        self.status = status
        self.code = code
        self.message = message


class SupabaseDriver(Driver):
    """httpx's client, sync or async.

    Args:
        options: of the store.
        asynchronous: whether to use the async client.
    """

    imports = ("httpx",)
    packages = ("httpx", "httpcore", "h11", "anyio")

    def __init__(self, options: SupabaseOptions, *, asynchronous: bool) -> None:
        super().__init__(options)
        self.asynchronous = asynchronous
        self._options = options
        self._errors = HttpErrors(self.where, _LOGIN)
        self._prefix = options.table_prefix or '""'  # as it is typed

    def open(self, deadline: Deadline) -> Any:
        import httpx

        options = self._options
        path = f"/{options.rest_path.strip('/')}".rstrip("/")
        kind = httpx.AsyncClient if self.asynchronous else httpx.Client
        return kind(
            base_url=f"{'https' if options.tls else 'http'}://{options.authority}{path}/rpc/",
            headers={
                "apikey": options.key,
                "Authorization": f"Bearer {options.key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Content-Profile": "public",
            },
            verify=options.tls,  # certificates take long to load, so that is left out where they are not needed
            timeout=httpx.Timeout(options.timeout, connect=options.connect_timeout, pool=options.timeout),
            # Idle connections are ended before the server does it, which would take a request along.
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=4.0),
        )

    def close(self, client: Any) -> Any:
        return http.close(client) if self.asynchronous else client.close()

    def abandon(self, client: Any) -> None:
        if self.asynchronous:
            http.hang_up(client)

    def probe(self) -> Steps[None]:
        options = self._options
        call = Call(function_of(options.table_prefix, "info"), {}, True)
        try:
            found = yield from again(call, options.max_retries, options.retry_delay, options.connect_timeout)
        except SchemaError as error:
            if self.must_exist:
                raise StoreNotFoundError(str(error)) from None
            raise
        if not isinstance(found, dict) or not {"schema", "functions"} <= found.keys():
            raise SchemaError(
                f"{self.where} has functions of somebody else: choose another table_prefix, and run "
                f"'praisonai-persistence migrate --print' for it"
            )
        schema, functions = found["schema"] or 0, found["functions"]
        serves: Any = found.get("serves", functions)
        if serves <= FUNCTIONS < functions and found.get("tables") == schema:
            return  # of a newer release, whose functions serve this one
        if schema > SCHEMA or functions > FUNCTIONS:
            raise SchemaError(
                f"{self.where}: tables and functions have the versions {schema} and {functions}, this release knows up "
                f"to {SCHEMA} and {FUNCTIONS}: upgrade it (pip install --upgrade praisonai-persistence-supabase)"
            )
        if schema < SCHEMA or functions < FUNCTIONS:
            raise self._lacking(f"has tables and functions of the versions {schema} and {functions}")

    def perform(self, on: Any, request: Any) -> Any:
        content = json.dumps(request.arguments, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        if self.asynchronous:
            return self._perform_async(on, request.function, content)
        with self._asking():
            token = self._given_token()
        return _answer(on.post(request.function, content=content, headers=self._token(token)))

    async def _perform_async(self, on: Any, function: str, content: bytes) -> Any:
        with self._asking():
            token = self._given_token()
            if inspect.isawaitable(token):
                token = await token
        return _answer(await on.post(function, content=content, headers=self._token(token)))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """While a function of the user's is called for a token: what fails in it says nothing of the service."""
        try:
            yield
        except Exception as error:
            if from_outside(self, error):
                raise
            raise ConfigurationError(f"access_token failed: {type(error).__name__}") from error

    def _given_token(self) -> Any:
        token = self._options.access_token
        return token() if callable(token) else token

    def _token(self, token: Any) -> dict[str, str]:
        if self._options.access_token is None:
            return {}  # only then: with a key that may do everything, a user who signed out must not have its rights
        if not _is_token(token):
            raise ConfigurationError("access_token returned something else than a token")
        return {"Authorization": f"Bearer {token}"}

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx

        if isinstance(error, _RefusedError):
            return self._refusal(error)
        if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError)):
            nothing_done = isinstance(error, httpx.ConnectError)
            return AsleepError(str(self._errors.silent(error)), nothing_done=nothing_done, at_once=True)
        if isinstance(error, httpx.TransportError):
            return self._errors.silent(error)
        if isinstance(error, (ValueError, httpx.HTTPError, httpx.InvalidURL)):
            return ConnectionFailedError(f"{self.where} does not answer as PostgREST does; check the URL")
        return None

    def _lacking(self, what: str) -> SchemaError:
        error = SchemaError(
            f"{self.where} {what}, this release needs the versions {SCHEMA} and {FUNCTIONS}: run "
            f"'praisonai-persistence migrate --print --table-prefix {self._prefix} "
            f"--conversation-url supabase://:KEY@HOST', {_THEN}"
        )
        error.script = schema_script(self._options.table_prefix)
        return error

    def _refusal(self, error: _RefusedError) -> PersistenceError:
        """Return our error for what the service said."""
        status, code, where = error.status, error.code, self.where
        if code in _NOT_CONNECTED:
            return AsleepError(f"{where} has no connection to its database ({code})", nothing_done=True)
        if code in _UNDONE:
            return AsleepError(f"{where} undid a transaction ({code})", nothing_done=True, at_once=True)
        if code in _ABSENT:
            return self._lacking(f"lacks tables or functions ({code})")
        if code in _TOKEN or (status == 401 and code != "42501"):
            what = _LOGIN if self._options.access_token is None else f"check its access_token, then its key ({_KEYS})"
            if "expired" in error.message.lower():
                what = "its token has expired: sign in again"
            return ConnectionFailedError(f"{where} does not let this client in: {what}")
        if code in _HINTS:
            return BackendError(f"{where}: {error.message or code}; {_HINTS[code]}")
        if status == _PAUSED:
            return ConnectionFailedError(f"{where} is paused: restore the project in the dashboard")
        # PGRST001: the connection was lost while a statement ran, which may have been COMMIT.
        if code == "PGRST001" or code.startswith(("08", "57P")) or (not code and status in _GATEWAY):
            text = f"{where} is not ready ({error})"
            return AsleepError(text, nothing_done=status == 429)
        if status == 413:
            return SerializationError(f"{where} does not take a request as large as this: write less at once")
        if not code:
            return ConnectionFailedError(f"{where} does not answer as PostgREST does ({status}); check the URL")
        return BackendError(f"{where} failed: {error}")


def _answer(response: Any) -> Any:
    """Return what a function returned.

    Raises:
        _RefusedError: it is an error, or no answer of PostgREST.
        ValueError: it is no JSON.
    """
    status: int = response.status_code
    if status in {200, 204}:
        return json.loads(response.content) if response.content else None
    code = message = ""
    try:
        body = json.loads(response.content)
        code, message = str(body.get("code") or ""), str(body.get("message") or "")
    except (ValueError, AttributeError):
        pass
    raise _RefusedError(status, code, message)
