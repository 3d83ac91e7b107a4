"""The clients of Upstash Vector."""

from __future__ import annotations

from json import JSONDecodeError
from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers import HttpErrors, HttpxDriver
from praisonai_persistence.errors import ConfigurationError, ConnectionFailedError, SerializationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from praisonai_persistence.drivers import Deadline
    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence_upstash._options import UpstashVectorOptions

__all__ = ["UpstashVectorDriver"]


class _RefusedError(Exception):
    """An answer that is no success, of which the client keeps the message only.

    Args:
        status: of HTTP.
        message: what it says.
        headers: of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"status {status}")  # the message may have what was sent
        self.status = status
        self.message = message.lower()
        self.headers = headers


class UpstashVectorDriver(HttpxDriver):
    """A client of an index.

    Args:
        options: of the store.
        look: returns steps for the first connection.
        asynchronous: whether to use the async client.
    """

    imports = ("upstash_vector", "httpx")
    packages = ("upstash_vector", "httpx", "httpcore", "anyio", "h11")

    def __init__(self, options: UpstashVectorOptions, look: Callable[[], Steps[None]], *, asynchronous: bool) -> None:
        super().__init__(options, look, asynchronous=asynchronous)
        self._options = options
        login = f"check its token ({options.variables[1]} in the console), and that it is not read-only"
        self._errors = HttpErrors(self.where, login, "write fewer documents at once")

    def open(self, deadline: Deadline) -> Any:
        import httpx
        import upstash_vector

        options = self._options
        kind: Any = upstash_vector.AsyncIndex if self.asynchronous else upstash_vector.Index
        client = kind(
            options.address,
            options.token,
            retries=0,  # they would multiply the timeout
            allow_telemetry=False,
        )
        client._client.timeout = httpx.Timeout(options.timeout, connect=options.connect_timeout)
        client._client.event_hooks = {"response": [_look_async if self.asynchronous else _look]}
        return client

    def connections(self, client: Any) -> list[Any]:
        return [client._client]

    def translate(self, error: Exception) -> PersistenceError | None:
        import httpx
        from upstash_vector.errors import UpstashError

        if isinstance(error, _RefusedError):
            return self._refusal(error)
        if isinstance(error, UpstashError):  # of a client that was handed in
            return self._refusal(_RefusedError(401 if "nauthorized" in str(error) else 400, str(error)))
        if isinstance(error, httpx.TransportError):
            return self._errors.silent(error)
        if isinstance(error, (JSONDecodeError, KeyError, AttributeError, TypeError, httpx.HTTPError)):
            return self._errors.strange("Upstash")
        return None

    def _refusal(self, error: _RefusedError) -> PersistenceError:
        """Return our error for what the service refused. Few of its messages are documented."""
        status, said, where = error.status, error.message, self.where
        if "daily" in said or "monthly" in said:
            return ConnectionFailedError(f"{where} has had all requests of its plan for now: raise the plan, or wait")
        if "exceed" in said:
            return SerializationError(f"{where} refuses what exceeds a limit of its plan: see its console")
        if "dimension" in said:
            return ConfigurationError(f"{where} has another dimension than when this collection was made: make it anew")
        return self._errors.error(status, error)


def _refused(response: Any) -> _RefusedError:
    """Return the error of an answer that was read."""
    try:
        message = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        message = ""
    return _RefusedError(response.status_code, str(message), response.headers)


def _look(response: Any) -> None:
    if response.status_code >= 400:
        response.read()
        raise _refused(response)


async def _look_async(response: Any) -> None:
    if response.status_code >= 400:
        await response.aread()
        raise _refused(response)
