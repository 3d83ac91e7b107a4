"""Couchbase."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from ._engine import PASSWORD
from ._fakes import FakeEngine


class Couchbase(FakeEngine):
    """A fake of Couchbase, or a cluster (``PERSISTENCE_COUCHBASE_URL=couchbase://USER:PASSWORD@HOST/BUCKET``)."""

    name = knowledge = "couchbase"
    program_name = "couchbase.py"
    arguments = ("--delay", "0.01")

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"couchbase://Administrator:{PASSWORD}@{host}:{port}/praisonai"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """The vendor's client: the cluster, and its bucket."""
        from couchbase.auth import PasswordAuthenticator
        from couchbase.cluster import Cluster
        from couchbase.options import ClusterOptions

        parts = urlsplit(self.url)
        place = parts.netloc.rpartition("@")[2]
        user = PasswordAuthenticator(unquote(parts.username or ""), unquote(parts.password or ""))
        cluster = Cluster.connect(f"{parts.scheme}://{place}", ClusterOptions(user))
        try:
            yield cluster, cluster.bucket(parts.path.strip("/"))
        finally:
            cluster.close()

    def spaces(self, prefix: str) -> list[tuple[Any, str]]:
        """The search indexes whose names begin with a prefix."""
        with self.client() as (_, bucket):
            found = bucket.scope("_default").search_indexes().get_all_indexes()
        return [("_default", index.name) for index in found if index.name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        with self.client() as (_, bucket):
            indexes = bucket.scope("_default").search_indexes()
            for _, name in self.spaces(prefix):
                indexes.drop_index(name)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        name = f"t{uuid.uuid4().hex[:12]}"
        try:
            yield {"url": self.url, "index_name": name, "collection_name": name}
        finally:
            self.drop(name)
