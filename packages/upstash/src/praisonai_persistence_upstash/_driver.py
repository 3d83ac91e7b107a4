"""The clients of Upstash Redis."""

from __future__ import annotations

from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import HttpErrors, HttpxDriver
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    SerializationError,
    UnsupportedOperationError,
    WrongTypeError,
)
from praisonai_persistence_rediscore import Command, without_arguments
from praisonai_persistence_upstash.state import Pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_upstash._options import UpstashOptions

__all__ = ["UpstashDriver"]

_LOGIN = "check its token (UPSTASH_REDIS_REST_TOKEN in the console)"
_TOO_LARGE = "the plan of the database says how large it may be (1 MB or 10 MB); write less at once"
_ANSWERS = frozenset({401, 403, 404, 413, 429})


class UpstashDriver(HttpxDriver):
    """A client of the REST interface.

    Args:
        options: of the store.
        asynchronous: whether to use the async client.
    """

    imports = ("upstash_redis", "upstash_redis.asyncio", "httpx")
    packages = ("upstash_redis", "httpx", "httpcore", "anyio", "h11")

    def __init__(self, options: UpstashOptions, *, asynchronous: bool) -> None:
        super().__init__(options, asynchronous=asynchronous)
        self._options = options
        if self.given is not None:
            self.forks = "refuse"  # its connections would be the parent's, too
        self._errors = HttpErrors(self.where, _LOGIN, _TOO_LARGE)

    def open(self, deadline: Deadline) -> Any:
        import httpx
        import upstash_redis
        import upstash_redis.asyncio

        options = self._options
        kind: Any = upstash_redis.asyncio.Redis if self.asynchronous else upstash_redis.Redis
        client = kind(
            options.address,
            options.token,
            rest_encoding=None,  # all that is stored is text
            rest_retries=0,  # it would repeat increments
            allow_telemetry=False,
            read_your_writes=options.read_your_writes,
        )
        client._http._client.timeout = httpx.Timeout(options.timeout, connect=options.connect_timeout)
        client._http._client.event_hooks = {"response": [_look_async if self.asynchronous else _look]}
        return client

    def connections(self, client: Any) -> list[Any]:
        return [client._http._client]

    def probe(self) -> Steps[None]:
        yield Command("PING")

    def perform(self, on: Any, request: Any) -> Any:
        if not isinstance(request, Pipeline):
            return on.execute(_texts(request))
        pipeline = on.pipeline()
        for command in request.commands:
            pipeline.execute(_texts(command))
        return pipeline.exec()

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx
        from upstash_redis.errors import UpstashError

        if isinstance(error, UpstashError):
            return self._refusal(error)
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in {404, 405}:
            return self._errors.error(error.response.status_code, error)
        if isinstance(error, httpx.TransportError):
            return self._errors.silent(error)
        if isinstance(error, (JSONDecodeError, KeyError, AttributeError, TypeError, httpx.HTTPError)):
            return self._errors.strange("Upstash")
        return None

    def _refusal(self, error: Exception) -> PersistenceError:
        """Return our error for what the server said."""
        message = without_arguments(str(error))
        error.args = (message,)  # it is the cause of ours, and printed with it
        if "WRONGTYPE" in message:
            return WrongTypeError(
                "a key holds a hash where a plain value is asked for, or the reverse; nothing was changed"
            )
        if "request size" in message:
            return SerializationError(f"{self.where} does not take a request as large as this: {_TOO_LARGE}")
        if "size exceeded" in message:  # of a record, a field or a member
            return SerializationError(
                f"{self.where} does not take a value as large as this: see the limits of its plan"
            )
        if "capacity quota" in message:
            return BackendError(f"{self.where} has no room for more: delete keys, or raise its plan ({message})")
        if "WRONGPASS" in message or "Unauthorized" in message:
            return ConnectionFailedError(f"{self.where} does not let this client in: {_LOGIN}")
        if "NOPERM" in message:
            return ConnectionFailedError(
                f"{self.where} does not allow this token to do that: it must not be read-only, and may use EVAL"
            )
        if "unknown command" in message:
            return UnsupportedOperationError(
                f"{self.where} lacks a command that the store needs ({message}): take Upstash, or a server that has it"
            )
        if "limit exceeded" in message:
            return ConnectionFailedError(
                f"{self.where} has had all requests of its plan for now: raise the plan, or wait ({message})"
            )
        return BackendError(f"{self.where}: {message}")


def _texts(command: Command) -> list[str]:
    """Return a command as texts: in JSON, large numbers would be rounded on their way."""
    return [str(argument) for argument in command.arguments]


def _look(response: Any) -> None:
    """Raise the error of an answer that is not Redis' own."""
    json = _headers(response).get("content-type", "").startswith("application/json")
    if response.status_code in _ANSWERS or (response.status_code >= 400 and not json):
        response.raise_for_status()


async def _look_async(response: Any) -> None:
    _look(response)


def _headers(response: Any) -> Mapping[str, str]:
    headers: Mapping[str, str] = response.headers
    return headers
