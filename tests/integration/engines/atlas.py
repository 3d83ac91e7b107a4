"""Vector search of MongoDB Atlas: a fake before the MongoDB of the other tests, or Atlas itself."""

from __future__ import annotations

import sys
from typing import Any

from ._fakes import FOLDER
from ._servers import Local
from .mongodb import MongoDB


class Atlas(MongoDB):
    """A fake of Atlas, or Atlas itself (``PERSISTENCE_ATLAS_URL=mongodb+srv://USER:PASSWORD@HOST``)."""

    name = "atlas"
    knowledge = "mongodb_vector"
    image = ""

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return str(FOLDER / "atlas.py")

    @classmethod
    def command(cls, local: Local) -> list[str]:
        from . import engine

        behind = engine("mongodb").url
        places = ["--port", str(local.port), "--path", str(local.folder / "data"), "--upstream", behind]
        return [sys.executable, str(FOLDER / "atlas.py"), *places, "--delay", "0.02"]

    def order(self, name: str, value: Any = None) -> Any:
        """Give the fake an order; return what it answers."""
        import pymongo

        with pymongo.MongoClient(self.url, serverSelectionTimeoutMS=5000) as client:
            return client.admin.command({"fake": name, "value": value})["answer"]
