"""NX-27017: MongoDB's protocol over SQLite."""

from __future__ import annotations

import sys
from pathlib import Path

from ._servers import Local
from .mongodb import MongoDB


class NX27017(MongoDB):
    """A second opinion on what MongoDB's commands do."""

    name = "nx27017"
    image = ""
    programs = (str(Path(sys.executable).with_name("nx-27017")),)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        files = ("--data-dir", str(local.folder / "data"), "--pid-file", str(local.folder / "data" / "pid"))
        return [cls.programs[0], *files, "--log-file", "/dev/null", "--host", "127.0.0.1", "-p", str(local.port)]
