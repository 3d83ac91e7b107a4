"""Chroma."""

from __future__ import annotations

import contextlib
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import Engine, json_request
from ._servers import Local


class Chroma(Engine):
    """Chroma: the server that comes with its Python package."""

    name = "chroma"
    image = "chromadb/chroma:1.5.9"
    port = 8000
    programs = (str(Path(sys.executable).with_name("chroma")),)
    system_user = "nobody"
    question = "GET /heartbeat"
    _databases = "/tenants/default_tenant/databases"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"chroma://{host}:{port}"

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("--host", "127.0.0.1", "--port", str(local.port), "--path", str(local.folder / "data"))
        return [cls.program() or "chroma", "run", *address]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path below ``/api/v2``, and what to send as JSON."""
        return [(json_request(self.url, sql.replace(" ", " /api/v2", 1), {}, *parameters),)]

    @property
    def version(self) -> str:
        return f"Chroma {self.execute('GET /version')[0][0]}"

    def tables(self, prefix: str) -> list[str]:
        """Chroma's own names of the collections of a prefix."""
        found = self.execute(f"GET {self._databases}/default_database/collections")[0][0]
        return [item["name"] for item in found if item["name"].startswith(f"x{prefix}")]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DELETE {self._databases}/default_database/collections/{name}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:10]}"
        self.execute(f"POST {self._databases}", {"name": database})
        try:
            yield {"url": self.url, "database": database}
        finally:
            self.execute(f"DELETE {self._databases}/{database}")
