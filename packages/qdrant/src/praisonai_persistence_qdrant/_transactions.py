"""One transaction of SQLite for each operation of the local mode, which by itself commits after every point."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = ["Transaction"]


class _Connection:
    """What a collection of the local mode works on in place of its SQLite connection: the operation's end commits.

    The client writes within ``with connection:``, and some versions call ``commit()``. Python's module for SQLite
    begins a transaction before the first change.

    Attributes:
        real: the connection.
        written: whether the client has ended a change since the operation began.
    """

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.written = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.written = True

    def commit(self) -> None:
        """Leave it to the end of the operation."""
        self.written = True


class Transaction:
    """The context of an operation that writes. It may end with an exception, and then nothing of it is stored.

    A client that keeps its points elsewhere than the ones known here works as it does by itself.

    Args:
        client: a ``QdrantClient`` in local mode, of which nobody else makes use meanwhile.
        spoiled: called with the client when something was rolled back, which it still has in its memory.
    """

    def __init__(self, client: Any, spoiled: Callable[[Any], None]) -> None:
        self._client = client
        self._spoiled = spoiled
        self._connections: list[_Connection] = []

    def __enter__(self) -> Any:
        local = getattr(self._client, "_client", None)
        for collection in getattr(local, "collections", {}).values():
            storage: Any = getattr(collection, "storage", None)
            connection = getattr(storage, "storage", None)
            if connection is None:
                continue
            if not isinstance(connection, _Connection):
                connection = storage.storage = _Connection(connection)
            connection.written = False
            self._connections.append(connection)
        return self._client

    def __exit__(self, kind: object, *_: object) -> None:
        written = [connection for connection in self._connections if connection.written]
        try:
            if kind is None:
                for connection in written:
                    connection.real.commit()
                written = []
        finally:
            if written:
                self._spoiled(self._client)
                for connection in written:
                    with suppress(Exception):  # a connection that cannot is closed, which does it as well
                        connection.real.rollback()
