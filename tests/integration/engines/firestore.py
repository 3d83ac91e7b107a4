"""Google Firestore."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import Engine
from ._servers import Local

_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"


class Firestore(Engine):
    """The vendor's emulator, of the Google Cloud SDK; it keeps everything in memory."""

    name = "firestore"
    question = "GET /"

    @classmethod
    def make_url(cls, host: str, port: int, *others: int) -> str:
        return f"http://{host}:{port}"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        gcloud = shutil.which("gcloud")
        if gcloud is None or shutil.which("java") is None:
            return None
        jar = Path(os.path.realpath(gcloud)).parents[1] / _JAR
        return str(jar) if jar.is_file() else None

    @classmethod
    def command(cls, local: Local) -> list[str]:
        main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
        java = ["java", "-Duser.language=en", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", str(cls.program())]
        return [*java, main, "start", "--host=127.0.0.1", f"--port={local.port}"]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON; return the text of the answer."""
        method, path = sql.split()
        data = json.dumps(parameters[0]).encode() if parameters else None
        made = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(made, timeout=30) as answer:
            return [(answer.read().decode(),)]

    @property
    def version(self) -> str:
        return "Firestore emulator"

    def tables(self, prefix: str) -> list[str]:
        return []

    @property
    def address(self) -> str:
        """Its host and port."""
        return self.url.partition("//")[2]

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, Any]]:
        project = f"t{uuid.uuid4().hex[:20]}"
        try:
            yield {"url": f"firestore://{project}", "emulator_host": self.address}
        finally:
            self.execute(f"DELETE /emulator/v1/projects/{project}/databases/(default)/documents")
