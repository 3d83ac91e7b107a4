"""Vector servers that are asked by HTTP, and hold nothing but collections."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import pytest

from ._engine import Engine


class CollectionsEngine(Engine):
    """A server whose tests have all of its collections for themselves; its tables are collections."""

    collections: ClassVar[str]
    """The path below which each collection has one of its own."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names of all collections."""

    def tables(self, prefix: str) -> list[str]:
        return [name for name in self.names() if name.startswith(prefix)]

    def drop(self, prefix: str) -> None:
        for name in self.tables(prefix):
            self.execute(f"DELETE {self.collections}/{name}")

    @contextlib.contextmanager
    def space(self) -> Iterator[dict[str, str]]:
        if self.names():
            pytest.fail("the tests need a server without collections, because they delete them", pytrace=False)
        try:
            yield {"url": self.url}
        finally:
            self.drop("")
