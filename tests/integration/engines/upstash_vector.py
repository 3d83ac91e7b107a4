"""Upstash Vector."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from ._engine import PASSWORD
from ._fakes import FakeEngine


class UpstashVector(FakeEngine):
    """A fake of an index, or one (``PERSISTENCE_UPSTASH_VECTOR_URL=https://:TOKEN@name.upstash.io``)."""

    name = knowledge = "upstash_vector"
    program_name = "upstash_vector.py"
    arguments = ("--delay", "0.01")

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"http://:{PASSWORD}@{host}:{port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """The vendor's client."""
        import upstash_vector

        parts = urlsplit(self.url)
        address = f"{parts.scheme}://{parts.netloc.partition('@')[2]}"
        client = upstash_vector.Index(address, unquote(parts.password or ""), retries=0, allow_telemetry=False)
        with contextlib.closing(client._client):
            yield client

    def spaces(self, prefix: str) -> list[tuple[Any, str]]:
        with self.client() as client:
            return [("", name) for name in client.list_namespaces() if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        with self.client() as client:
            for name in client.list_namespaces():
                if name.startswith(prefix):
                    client.delete_namespace(name)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        namespace = f"t{uuid.uuid4().hex[:12]}-"
        try:
            yield {"url": self.url, "namespace": namespace}
        finally:
            self.drop(namespace)
