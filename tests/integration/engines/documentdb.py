"""Vector search of Azure DocumentDB: a fake before the MongoDB of the other tests, or the service itself."""

from __future__ import annotations

import sys

from ._fakes import FOLDER
from ._servers import Local
from .atlas import Atlas


class DocumentDB(Atlas):
    """A fake of Azure DocumentDB, or the service itself (``PERSISTENCE_DOCUMENTDB_URL=mongodb+srv://USER:PASSWORD@HOST``)."""

    name = "documentdb"

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return str(FOLDER / "documentdb.py")

    @classmethod
    def command(cls, local: Local) -> list[str]:
        _, _, *more = super().command(local)
        return [sys.executable, str(FOLDER / "documentdb.py"), *more]
