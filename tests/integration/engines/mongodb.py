"""MongoDB."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from ._engine import Engine


class MongoDB(Engine):
    """MongoDB, with one node."""

    name = "mongodb"
    image = "mongo:8.0"
    port = 27017
    question = "ping"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"mongodb://{host}:{port}"

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a command, in the database that the parameter names."""
        import pymongo

        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=5000) as client:
            return [(client.get_database(*parameters or ("admin",)).command(sql),)]

    @property
    def version(self) -> str:
        return f"{self.name} {self.execute('buildInfo')[0][0]['version']}"

    def tables(self, prefix: str) -> list[str]:
        """The collections of a prefix, in the database that stores take where the URL names none."""
        import pymongo

        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=5000) as client:
            names = client.get_database("praisonai").list_collection_names()
            return [name for name in names if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        import pymongo

        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=5000) as client:
            for name in self.tables(prefix):
                client.get_database("praisonai").drop_collection(name)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:10]}"
        try:
            yield {"url": f"{self.url}/{database}"}
        finally:
            self.execute("dropDatabase", database)
