"""Pinecone."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from ._engine import PASSWORD
from ._fakes import FakeEngine


class Pinecone(FakeEngine):
    """A fake of Pinecone, or Pinecone itself (``PERSISTENCE_PINECONE_URL=pinecone://:KEY@api.pinecone.io``)."""

    name = knowledge = "pinecone"
    program_name = "pinecone.py"
    arguments = ("--delay", "0.01")

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"pinecone://:{PASSWORD}@{host}:{port}?https=false"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """The vendor's client."""
        import pinecone

        parts = urlsplit(self.url)
        https = "https=false" not in parts.query
        host = f"{'https' if https else 'http'}://{parts.netloc.partition('@')[2]}"
        # Certificates take long to load, for each client and each index.
        with pinecone.Pinecone(unquote(parts.password or ""), host=host, ssl_verify=https) as client:
            yield client

    @contextlib.contextmanager
    def index(self, name: str) -> Iterator[Any]:
        """The vendor's client of an index."""
        with self.client() as client:
            host = client.indexes.describe(name).host
            scheme = urlsplit(client.config.host).scheme
            with client.index(host=f"{scheme}://{host.rpartition('://')[2]}") as index:
                yield index

    def spaces(self, prefix: str) -> list[tuple[Any, str]]:
        with self.client() as client:
            indexes = [index.name for index in client.indexes.list() if index.name.startswith("praisonai-")]
        found = []
        for name in indexes:
            with self.index(name) as index:
                found += [(name, one.name) for page in index.list_namespaces(prefix=prefix) for one in page.namespaces]
        return found

    def drop(self, prefix: str) -> None:
        for name, namespace in self.spaces(prefix):
            with self.index(name) as index:
                index.delete_namespace(name=namespace)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        namespace = f"t{uuid.uuid4().hex[:12]}-"
        try:
            yield {"url": self.url, "namespace": namespace}
        finally:
            self.drop(namespace)
