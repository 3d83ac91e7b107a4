"""Azure Cosmos DB for NoSQL."""

from __future__ import annotations

import base64
import contextlib
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ._engine import PASSWORD
from ._fakes import FakeEngine


class CosmosDB(FakeEngine):
    """A fake of an account, or one (``PERSISTENCE_COSMOSDB_URL=https://:KEY@name.documents.azure.com:443``)."""

    name = knowledge = "cosmosdb"
    program_name = "cosmosdb.py"
    arguments = ("--delay", "0.01")
    key = base64.b64encode(PASSWORD.encode()).decode()

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"http://:{quote(cls.key, safe='')}@{host}:{port}"

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """The vendor's client."""
        from azure.cosmos import CosmosClient

        parts = urlsplit(self.url)
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        client = CosmosClient(address, unquote(parts.password or ""), enable_endpoint_discovery=False)
        try:
            yield client
        finally:
            client.client_connection.pipeline_client._pipeline._transport.session.close()
            client.close()

    def spaces(self, prefix: str) -> list[tuple[Any, str]]:
        with self.client() as client:
            return [("", one["id"]) for one in client.list_databases() if one["id"].startswith(prefix)]

    def drop(self, prefix: str) -> None:
        with self.client() as client:
            for _, name in self.spaces(prefix):
                client.delete_database(name)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:12]}"
        try:
            yield {"url": self.url, "database": database}
        finally:
            self.drop(database)
