"""Upstash Redis."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import PASSWORD, Engine, json_request
from ._packages import npm_packages
from ._servers import Local

PACKAGES = ("@humanwhocodes/upstash-redis-server@1.0.0", "@hono/node-server@1.19.7")
_SCRIPT = str(Path(__file__).parents[1] / "upstash_server.mjs")


class Upstash(Engine):
    """A server of the REST interface over the Redis of these tests, in a database that they do not use otherwise."""

    name = "upstash"
    question = "PING"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"upstash://:{PASSWORD}@{host}:{port}?https=false"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return shutil.which("node") and _SCRIPT if npm_packages("upstash-redis-server-1.0.0", *PACKAGES) else None

    @classmethod
    def redis_url(cls) -> str:
        """The URL of the database below."""
        from . import engine

        redis = engine("redis")
        last = getattr(redis, "databases", 1) - 1
        return f"{redis.url.rpartition('/')[0]}/{last}" if redis.restartable else redis.url

    @classmethod
    def command(cls, local: Local) -> list[str]:
        folder = npm_packages("upstash-redis-server-1.0.0", *PACKAGES)
        node = shutil.which("node")
        return [str(node), _SCRIPT, str(folder), str(local.port), PASSWORD, cls.redis_url()]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one command, of words and parameters."""
        headers = {"Authorization": f"Bearer {PASSWORD}"}
        return [(json_request(self.url, "POST /", headers, [*sql.split(), *parameters])["result"],)]

    @property
    def version(self) -> str:
        return "upstash-redis-server 1.0.0 over Redis"

    def tables(self, prefix: str) -> list[str]:
        return list(self.execute("KEYS", f"{{{prefix}*")[0][0])

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        assert self.execute("DBSIZE")[0][0] == 0, "the tests need a database without keys, because they empty it"
        try:
            yield {"url": self.url}
        finally:
            self.execute("FLUSHDB")
