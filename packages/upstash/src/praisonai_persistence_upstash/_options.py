"""What the stores in Upstash can be given."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, ClassVar

from praisonai_persistence.drivers import Options, option
from praisonai_persistence.errors import ConfigurationError
from praisonai_persistence.urls import scheme_of

if TYPE_CHECKING:
    from praisonai_persistence.urls import StoreURL

__all__ = ["UpstashOptions", "UpstashVectorOptions"]


class _RestOptions(Options):
    """Options of a REST interface: a URL and a token, which the console shows, and shows as variables."""

    servers = True
    default_port = 443
    clients = ("client",)
    password_is = "token"  # noqa: S105 - the name of an option

    variables: ClassVar[tuple[str, str]]
    """Which hold the URL and the token."""

    token = option(None, "text", "the token of the REST interface", server=True, secret=True)
    https = option(True, "flag", "use TLS", url=True, server=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered", url=True)
    client = option(None, "object", "a client of yours instead of a place; it stays open")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.hint = f"; a token is written {cls.schemes[0]}://:token@host"

    def __init__(self, url: str | None = None, **given: Any) -> None:
        if url is None and given.get("host") is None and given.get("client") is None:
            url = os.environ.get(self.variables[0]) or None
        if scheme_of(url) == "http" and given.get("https") is None:
            given["https"] = False
        super().__init__(url, **given)
        if self.client is None:
            self.token = self.token or os.environ.get(self.variables[1]) or None
            if self.token is None:
                raise ConfigurationError(f"{self.where} needs a token: give token=..., or set {self.variables[1]}")

    @property
    def address(self) -> str:
        """Where the REST interface is, as its clients are given it."""
        return f"{'https' if self.https else 'http'}://{self.authority}"

    def _of_server(self, parsed: StoreURL) -> dict[str, Any]:
        if parsed.scheme == "http" and parsed.port is None:
            raise ConfigurationError(f"{parsed} needs a port; Upstash itself is asked by https://")
        return super()._of_server(parsed)


class UpstashOptions(_RestOptions):
    """What the stores in Upstash Redis can be given."""

    title = "Upstash Redis"
    schemes = ("upstash", "async_upstash", "https", "http")
    variables = ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN")

    token = option(
        None,
        "text",
        f"the token of the REST interface; by default the variable `{variables[1]}`",
        server=True,
        secret=True,
    )
    read_your_writes = option(
        True, "flag", "reads of a store see its own writes, whichever replica answers", url=True, server=True
    )
    client = option(
        None,
        "object",
        "an `upstash_redis.Redis` (`upstash_redis.asyncio.Redis` for the async store) of yours instead of a place; it "
        "stays open, and keeps its own timeouts and retries",
    )


class UpstashVectorOptions(_RestOptions):
    """What the stores in Upstash Vector can be given."""

    title = "Upstash Vector"
    schemes = ("upstash_vector", "async_upstash_vector", "upstash_v", "https", "http")
    variables = ("UPSTASH_VECTOR_REST_URL", "UPSTASH_VECTOR_REST_TOKEN")

    token = option(
        None,
        "text",
        f"the token of the index's REST interface; by default the variable `{variables[1]}`",
        server=True,
        secret=True,
    )
    namespace = option("", "object", "what the names of all namespaces begin with", url=True)
    freshness = option(
        "all",
        ("all", "own"),
        "whose searches find a write as soon as it returns: those of all stores, or of the one that wrote",
        url=True,
    )
    freshness_timeout = option(30.0, "seconds", "seconds within which searches have to find a write", url=True)
    client = option(
        None,
        "object",
        "an `upstash_vector.Index` (`upstash_vector.AsyncIndex` for the async store) of yours instead of a place; it "
        "stays open, and keeps its own timeouts and retries",
    )

    def __init__(self, url: str | None = None, **given: Any) -> None:
        super().__init__(url, **given)
        if not isinstance(self.namespace, str) or not re.fullmatch(r"[A-Za-z0-9_.~-]{0,100}", self.namespace):
            raise ConfigurationError("namespace must have at most 100 letters, digits and characters of _.~-")
