"""Google Firestore."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._engine import Engine, json_request
from ._servers import Local, Server

_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"


class Firestore(Engine):
    """The vendor's emulator, of the Google Cloud SDK. It keeps everything in memory; stopping saves it to files."""

    name = "firestore"
    image = "google/cloud-sdk:528.0.0-emulators"
    port = 8080
    container_command = ["gcloud", "emulators", "firestore", "start", "--host-port=0.0.0.0:8080"]  # noqa: RUF012
    programs = (f"java and {_JAR} of the Google Cloud SDK",)
    question = "GET /"
    required = False

    def __init__(self, server: Server) -> None:
        self._projects: set[str] = set()
        self._saved: set[str] = set()
        super().__init__(server)

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
        java = ["java", "-Duser.language=en", "-Xmx2g", "-XX:TieredStopAtLevel=1", "-cp", str(cls.program())]
        return [*java, main, "start", "--host=127.0.0.1", f"--port={local.port}"]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Make a request: a method and a path, and what to send as JSON; return what was answered, as JSON if it is."""
        if sql == self.question:
            with urllib.request.urlopen(self.url, timeout=30) as answer:
                return [(answer.read().decode(),)]
        return [(json_request(self.url, sql, {}, *parameters),)]

    @property
    def version(self) -> str:
        return "Firestore emulator"

    def tables(self, prefix: str) -> list[str]:
        return []

    @property
    def address(self) -> str:
        """Its host and port."""
        return self.url.partition("//")[2]

    def stop(self) -> None:
        if self.restartable:
            for project in self._projects:
                self._move(f"{project}:export", self._folder, export_name=project)
            self._saved = set(self._projects)
        super().stop()

    def kill(self) -> None:
        self._saved = set()
        super().kill()

    def start(self) -> None:
        super().start()
        for project in self._saved:
            self._move(f"{project}:import", f"{self._folder}/{project}/{project}.overall_export_metadata")

    @property
    def _folder(self) -> str:
        return str(getattr(self._server, "folder", "/tmp")) + "/data"

    def _move(self, what: str, folder: str, **others: str) -> None:
        """Have the documents of a project written to files, or read from them."""
        database = f"projects/{what.partition(':')[0]}/databases/(default)"
        sent = {"database": database, "export_directory": folder, **others}
        self.execute(f"POST /emulator/v1/projects/{what}", sent)

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, Any]]:
        project = f"t{uuid.uuid4().hex[:20]}"
        self._projects.add(project)
        try:
            yield {"url": f"firestore://{project}", "emulator_host": self.url}
        finally:
            self._projects.remove(project)
            self.execute(f"DELETE /emulator/v1/projects/{project}/databases/(default)/documents")
