"""Qdrant."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from ._collections import CollectionsEngine
from ._engine import PASSWORD, json_request
from ._servers import Local


class Qdrant(CollectionsEngine):
    """Qdrant: its server, or ``qdrant_server``, which has the server's engine and the REST interface of the stores."""

    name = "qdrant"
    image = "qdrant/qdrant:v1.17.0"
    port = 6333
    programs = (str(Path(__file__).parents[1] / "qdrant_server.py"),)
    system_user = "nobody"
    container_environment: ClassVar[dict[str, str]] = {"QDRANT__SERVICE__API_KEY": PASSWORD}
    collections = "/collections"
    question = "GET /collections"
    in_memory = True  # a collection is some twenty synced files, of 4 ms each, and the suite makes some thousand

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"qdrant://:{PASSWORD}@{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("qdrant_edge") else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        address = ("--host", "127.0.0.1", "--port", str(local.port), "--path", str(local.folder / "data"))
        return [sys.executable, cls.programs[0], *address, "--api-key", PASSWORD]

    @property
    def stands_in(self) -> bool:
        """Whether it is ``qdrant_server``, and not Qdrant's own server."""
        return isinstance(self._server, Local)

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON."""
        key = unquote(urlsplit(self.url).password or "")
        return [(json_request(self.url, sql, {"api-key": key}, *parameters),)]

    @property
    def version(self) -> str:
        found = self.execute("GET /")[0][0]
        return f"{found['title']} {found['version']}"

    def names(self) -> list[str]:
        return [item["name"] for item in self.execute("GET /collections")[0][0]["result"]["collections"]]
