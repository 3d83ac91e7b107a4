"""What the stores in Upstash can be given."""

from __future__ import annotations

from praisonai_persistence.drivers import FreshOptions, ServiceOptions, matching, option

__all__ = ["UpstashOptions", "UpstashVectorOptions"]


class _RestOptions(ServiceOptions):
    """Options of a REST interface: a URL and a token, which the console shows, and shows as variables."""

    clients = ("client",)
    password_is = "token"  # noqa: S105 - the name of an option

    token = option(None, "text", "the token of the REST interface", server=True, secret=True)
    connect_timeout = option(10.0, "seconds", "seconds to connect in", url=True)
    timeout = option(30.0, "seconds", "seconds in which a request has to be answered", url=True)
    client = option(None, "object", "a client of yours instead of a place; it stays open")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.hint = f"; a token is written {cls.schemes[0]}://:token@host"


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


class UpstashVectorOptions(_RestOptions, FreshOptions):
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
    namespace = option(
        "",
        matching("[A-Za-z0-9_.~-]{0,100}", "at most 100 letters, digits and characters of _.~-"),
        "what the names of all namespaces begin with",
        url=True,
    )
    client = option(
        None,
        "object",
        "an `upstash_vector.Index` (`upstash_vector.AsyncIndex` for the async store) of yours instead of a place; it "
        "stays open, and keeps its own timeouts and retries",
    )
