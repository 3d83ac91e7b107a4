"""Fakes of services for which no engine runs here."""

from __future__ import annotations

import sys
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ._engine import PASSWORD, Engine, json_request
from ._servers import Local

FOLDER = Path(__file__).parents[1] / "fakes"


class FakeEngine(Engine):
    """A fake of the folder ``fakes``, or the service itself, whose URL is in the environment.

    What tests leave is removed by the client of the vendor, so that it is the same on both.
    """

    program_name: ClassVar[str]
    arguments: ClassVar[tuple[str, ...]] = ()
    """Of the program."""

    @classmethod
    def program(cls, name: str | None = None) -> str | None:
        return str(FOLDER / cls.program_name)

    @classmethod
    def command(cls, local: Local) -> list[str]:
        places = ["--port", str(local.port), "--path", str(local.folder / "data"), "--key", PASSWORD]
        return [sys.executable, str(FOLDER / cls.program_name), *places, *cls.arguments]

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Give the fake an order."""
        return [(json_request(self.url, f"POST /_fake/{sql}", {}, *(parameters or (None,))),)]

    def order(self, name: str, value: Any = None) -> Any:
        """Give the fake an order; return what it answers."""
        return self.execute(name, value)[0][0]

    question = "asked"

    @property
    def version(self) -> str:
        return f"fake of {self.name}" if self.restartable else self.name

    def tables(self, prefix: str) -> list[str]:
        return [name for _, name in self.spaces(prefix)]

    @abstractmethod
    def spaces(self, prefix: str) -> list[tuple[Any, str]]:
        """The namespaces of a prefix, each behind where it is."""
