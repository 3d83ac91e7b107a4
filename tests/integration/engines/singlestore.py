"""SingleStore, or its syntax in front of MariaDB."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlsplit

from ._fakes import FOLDER
from ._servers import Server, free_port
from .mariadb import MariaDB


class SingleStore(MariaDB):
    """SingleStore itself (``PERSISTENCE_SINGLESTORE_URL``), else a translating proxy in front of MariaDB."""

    name = "singlestore"

    def __init__(self, server: Server) -> None:
        self._proxy: subprocess.Popen[bytes] | None = None
        super().__init__(server)
        self.untranslated = self.url
        """Where tables can be made as other programs make them."""
        if server.restartable:
            there, port = urlsplit(self.url), free_port()
            command = [sys.executable, str(FOLDER / "singlestore.py"), "--port", str(port)]
            self._proxy = subprocess.Popen([*command, "--mariadb", f"{there.hostname}:{there.port}"])
            self.url = f"singlestore://{there.username}:{there.password}@127.0.0.1:{port}{there.path}"
            self.wait()

    def remove(self) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            self._proxy.wait()
        super().remove()
