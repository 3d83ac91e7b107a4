"""What drivers and options of hosted services have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import http
from praisonai_persistence.drivers.driver import Driver
from praisonai_persistence.drivers.options import Options, option
from praisonai_persistence.drivers.throttling import ThrottledError
from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from praisonai_persistence.errors import PersistenceError
    from praisonai_persistence.steps import Steps
    from praisonai_persistence.urls import StoreURL

__all__ = ["FreshOptions", "HttpxDriver", "ServiceOptions", "then"]


class ServiceOptions(Options):
    """Options of a hosted service, which is reached with TLS unless a URL says ``http://``, and shown a secret.

    The secret is the option ``password_is``. It, and where the service is, may stand in variables of the environment.
    """

    servers = True
    default_port = 443
    tls_is = "https"

    variables: ClassVar[tuple[str | None, str | None]] = (None, None)
    """Which hold the URL and the secret; None: none does, or the class reads them itself."""

    https = option(True, "flag", "use TLS", url=True, server=True)
    _has_port = False

    def __init__(self, url: str | None = None, **given: Any) -> None:
        place, secret = self.variables
        client = any(given.get(name) is not None for name in self.clients)
        if place is not None and url is None and given.get("host") is None and not client:
            url = os.environ.get(place) or None
        self._has_port = given.get("port") is not None
        super().__init__(url, **given)
        name = self.password_is
        if secret is not None and name is not None and not client:
            setattr(self, name, getattr(self, name) or os.environ.get(secret) or None)
            if getattr(self, name) is None:
                raise ConfigurationError(f"{self.where} needs its {name}: give {name}=..., or set {secret}")

    @property
    def address(self) -> str:
        """Where the service is, as its clients are given it."""
        return f"{'https' if self.https else 'http'}://{self.authority}"

    def _of_server(self, parsed: StoreURL) -> dict[str, Any]:
        if parsed.scheme == "http" and parsed.port is None and not self._has_port:
            raise ConfigurationError(f"{parsed} needs a port; {self.title} itself is asked by https://")
        return super()._of_server(parsed)


class FreshOptions(Options):
    """Options of what shows a write some time after it was acknowledged."""

    freshness = option(
        "all", ("all", "own"), "who sees a write as soon as it returns: all stores, or the one that wrote", url=True
    )
    freshness_timeout = option(30.0, "seconds", "seconds within which a write has to be visible", url=True)

    def unseen(self) -> ThrottledError:
        """Return the error of a write that is not visible in time."""
        return ThrottledError(
            f"what was written is stored, but not visible within {self.freshness_timeout:g} seconds: raise "
            f"freshness_timeout"
        )


class HttpxDriver(Driver):
    """A client, sync or async, whose connections are those of ``httpx`` clients.

    Args:
        options: of the store.
        look: see [Driver][].
        asynchronous: whether its client is the async one.
    """

    def __init__(self, options: Options, look: Callable[[], Steps[None]] | None = None, *, asynchronous: bool) -> None:
        super().__init__(options, look)
        self.asynchronous = asynchronous

    def connections(self, client: Any) -> Sequence[Any]:
        """Return the ``httpx`` clients of a client; by default it is one itself."""
        return [client]

    def close(self, client: Any) -> Any:
        """See [Driver.close][]."""
        if self.asynchronous:
            return _close(self.connections(client))
        for one in self.connections(client):
            one.close()
        return None

    def abandon(self, client: Any) -> None:
        """See [Driver.abandon][]."""
        if self.asynchronous:
            for one in self.connections(client):
                http.hang_up(one)

    def repeats(self, error: PersistenceError, *, write: bool) -> bool:
        """Whether a read has lost its connection; the client's own error may stand before that of ``httpx``."""
        import httpx

        reasons = error.__cause__, getattr(error.__cause__, "__cause__", None)
        lost = any(isinstance(reason, (httpx.NetworkError, httpx.RemoteProtocolError)) for reason in reasons)
        return lost and not write


def then(answer: Any, read: Callable[[Any], Any]) -> Any:
    """Return what is read from the answer of a client; of an async one both are awaited."""
    return _later(answer, read) if hasattr(answer, "__await__") else read(answer)


async def _later(answer: Any, read: Callable[[Any], Any]) -> Any:
    return read(await answer)


async def _close(clients: Sequence[Any]) -> None:
    for one in clients:
        await http.close(one)
