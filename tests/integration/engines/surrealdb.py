"""SurrealDB's RPC."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._engine import PASSWORD, USER, Engine
from ._servers import Local


class SurrealDB(Engine):
    """The embedded engine behind ``fakes/surrealdb_server``; a server's URL can be given instead."""

    name = "surrealdb"
    programs = (str(Path(__file__).parents[1] / "fakes" / "surrealdb_server.py"),)
    question = "RETURN 1"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"surrealdb://{USER}:{PASSWORD}@{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("surrealdb") else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        data = f"surrealkv://{local.folder / 'data'}"
        user = ("--user", USER, "--password", PASSWORD)
        return [sys.executable, cls.programs[0], "--port", str(local.port), "--url", data, *user]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement of SurrealQL in the namespace and the database ``test``, or those given."""
        from surrealdb import Surreal

        parts = urlsplit(self.url)
        with Surreal(f"http://{parts.hostname}:{parts.port}") as client:
            client.signin({"username": parts.username or "", "password": parts.password or ""})
            client.use(*(parameters or ("test", "test")))
            return [(client.query(sql),)]

    @property
    def version(self) -> str:
        from surrealdb import Surreal

        parts = urlsplit(self.url)
        with Surreal(f"http://{parts.hostname}:{parts.port}") as client:
            return client.version()

    def tables(self, prefix: str) -> list[str]:
        """The namespaces of a prefix."""
        return [name for name in self.execute("INFO FOR ROOT")[0][0]["namespaces"] if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for namespace in self.tables(prefix):
            self.execute(f"REMOVE NAMESPACE IF EXISTS `{namespace}`")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        namespace = f"t{uuid.uuid4().hex[:20]}"
        try:
            yield {"url": self.url, "namespace": namespace}
        finally:
            self.drop(namespace)
