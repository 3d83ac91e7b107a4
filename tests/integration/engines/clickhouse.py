"""ClickHouse."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from ._engine import PASSWORD, USER, Engine
from ._packages import python_packages
from ._servers import Local

_CHDB = "chdb==4.4.0"


class ClickHouse(Engine):
    """The engine as a library behind ``clickhouse_server``; a server's URL can be given instead.

    The library has about 830 MB, so it is no dependency: it is fetched by the first run that needs it.
    """

    name = "clickhouse"
    programs = (str(Path(__file__).parents[1] / "clickhouse_server.py"),)
    in_memory = True

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"clickhouse://{USER}:{PASSWORD}@{host}:{port}"

    @classmethod
    @functools.cache
    def library(cls) -> Path | None:
        """The folder that has the engine; None where it cannot be had."""
        return python_packages("chdb-4.4.0", _CHDB)

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        present = importlib.util.find_spec("clickhouse_connect") and cls.library()
        return super().program(name) if present else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        where = ("--port", str(local.port), "--path", str(local.folder / "data"), "--packages", str(cls.library()))
        return [sys.executable, cls.programs[0], *where, "--user", USER, "--password", PASSWORD]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement, with a parameter ``p0`` for each of the parameters; rows of text."""
        parts = urlsplit(self.url)
        given = urlencode({f"param_p{number}": value for number, value in enumerate(parameters)})
        headers = {"X-ClickHouse-User": parts.username or "default", "X-ClickHouse-Key": parts.password or ""}
        request = urllib.request.Request(
            f"http://{parts.hostname}:{parts.port}/?{given}", sql.encode(), headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return [tuple(line.split("\t")) for line in answer.read().decode().splitlines()]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from error

    @property
    def version(self) -> str:
        return f"ClickHouse {super().version}"

    def tables(self, prefix: str) -> list[str]:
        """The databases whose names start with a prefix, quoted."""
        return [f"`{name}`" for (name,) in self.execute("SHOW DATABASES") if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DROP DATABASE {name} SYNC")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        database = f"t{uuid.uuid4().hex[:20]}"
        try:
            yield {"url": f"{self.url}/{database}"}
        finally:
            self.drop(database)
