"""Milvus."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from ._engine import Engine
from ._servers import Local


class Milvus(Engine):
    """Milvus Lite's server. It does one request at a time: its engine does not stand writers at the same time."""

    name = "milvus"
    programs = (sys.executable,)
    in_memory = True
    question = "list_collections"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"milvus://{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("milvus_lite") else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        where = ("--data-dir", str(local.folder / "data"), "--host", "127.0.0.1", "--port", str(local.port))
        return [sys.executable, "-m", "milvus_lite", "server", *where, "--max-workers", "1"]

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A client of Milvus's own."""
        from pymilvus import MilvusClient

        parts = urlsplit(self.url)
        own = {"grpc.use_local_subchannel_pool": 1}
        uri = f"http://{parts.hostname}:{parts.port}"
        with contextlib.closing(MilvusClient(uri, timeout=5, dedicated=True, grpc_options=own)) as client:
            yield client

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Call a method of the client."""
        with self.client() as client:
            return [(getattr(client, sql)(*parameters, timeout=10),)]

    @property
    def version(self) -> str:
        return f"Milvus Lite {self.execute('get_server_version')[0][0].removeprefix('milvus_lite-')}"

    def tables(self, prefix: str) -> list[str]:
        return [name for name in self.execute("list_collections")[0][0] if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        with self.client() as client:
            for name in client.list_collections():
                if name.startswith(prefix):
                    client.drop_collection(name)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        if self.tables(""):
            pytest.fail("the tests need a server without collections, because they delete them", pytrace=False)
        try:
            yield {"url": self.url}
        finally:
            self.drop("")
