"""Connections to a server: the vendor's own, with deadlines, each lent to one operation at a time."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import requests
import websockets
from surrealdb.connections.blocking_http import BlockingHttpSurrealConnection
from surrealdb.connections.blocking_ws import BlockingWsSurrealConnection
from surrealdb.data.cbor import decode
from surrealdb.errors import SurrealError
from websockets.protocol import State
from websockets.sync.client import connect

from praisonai_persistence.drivers.http import close_session
from praisonai_persistence.errors import UnsupportedOperationError

if TYPE_CHECKING:
    from praisonai_persistence_surrealdb._driver import SurrealOptions

__all__ = ["Pool", "http_status", "is_silent", "is_too_large"]

_IDLE = 8  # connections that are kept while nobody uses them
_OLDEST = 2  # major version of the server
_TOO_LARGE = 1009  # why a WebSocket was closed


class _WebSocket(BlockingWsSurrealConnection):
    """A WebSocket; ``whole`` says that no answer is outstanding."""

    def __init__(self, options: SurrealOptions) -> None:
        super().__init__(f"{options.address}/rpc")
        self.whole = True
        self.pid = os.getpid()
        self.seconds = options.connect_timeout

    def _send(self, message: Any, process: str, bypass: bool = False) -> dict[str, Any]:
        self.whole = False
        if self.socket is None:
            protocols = [websockets.Subprotocol("cbor")]
            opening = connect(
                self.raw_url,
                max_size=None,
                subprotocols=protocols,
                compression=None,
                open_timeout=self.seconds,
                close_timeout=1,
            )
            self.socket = opening.__enter__()  # as all versions of websockets have it; it is closed by `close`
        self.socket.send(message.WS_CBOR_DESCRIPTOR)
        received = self.socket.recv(timeout=self.seconds)
        answer: dict[str, Any] = decode(received if isinstance(received, bytes) else received.encode())
        self.whole = True
        if not bypass:
            self.check_response_for_error(answer, process)
        return answer

    def is_usable(self) -> bool:
        return self.whole and self.socket is not None and self.socket.protocol.state is State.OPEN

    def hang_up(self) -> None:
        """Drop the connection without a word to the server."""
        if self.socket is None:
            return
        with suppress(OSError):
            if self.pid == os.getpid():  # in a forked child the connection is still the parent's
                self.socket.socket.shutdown(socket.SHUT_RDWR)  # which ends the thread that reads
            self.socket.socket.close()


class _Http(BlockingHttpSurrealConnection):
    """The same over HTTP, on a connection that is kept open."""

    def __init__(self, options: SurrealOptions) -> None:
        super().__init__(options.address)
        self.whole = True
        self.seconds = options.connect_timeout
        self._connect_timeout = options.connect_timeout
        self._requests = requests.Session()

    def _send(self, message: Any, operation: str, bypass: bool = False) -> dict[str, Any]:
        self.whole = False
        headers = {"Accept": "application/cbor", "Content-Type": "application/cbor"}
        place = {"Surreal-NS": self.namespace, "Surreal-DB": self.database}
        headers.update((name, value) for name, value in place.items() if value)
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        response = self._requests.post(
            f"{self.raw_url}/rpc",
            headers=headers,
            data=message.WS_CBOR_DESCRIPTOR,
            timeout=(self._connect_timeout, self.seconds),
        )
        response.raise_for_status()
        answer: dict[str, Any] = decode(response.content)
        self.whole = True
        if not bypass:
            self.check_response_for_error(answer, operation)
        return answer

    def is_usable(self) -> bool:
        return self.whole

    def close(self) -> None:
        close_session(self._requests)

    def hang_up(self) -> None:
        self.close()


class Pool:
    """Connections to a server, which are signed in and use the store's database.

    Args:
        options: of the store.
    """

    def __init__(self, options: SurrealOptions) -> None:
        self._options = options
        self._idle: list[Any] = []
        self._token = options.token
        first = self._connect()
        try:
            _check_version(options, first.version())
        except BaseException:
            first.hang_up()
            raise
        self._idle.append(first)

    def lend(self) -> _Loan:
        """Return a context in which a connection is one's own."""
        return _Loan(self)

    def take(self) -> Any:
        """Return a connection that nobody uses, or a new one."""
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                connection = self._idle.pop()
                if connection.is_usable():
                    return connection
                connection.hang_up()
        return self._connect()

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next operation, if it is as good as new."""
        if connection.is_usable() and len(self._idle) < _IDLE:
            self._idle.append(connection)
        else:
            connection.hang_up()

    def close(self) -> None:
        """Close the connections."""
        while self._idle:
            self._idle.pop().close()

    def abandon(self) -> None:
        """Drop the connections without a word to the server."""
        while self._idle:
            self._idle.pop().hang_up()

    def _connect(self) -> Any:
        options = self._options
        connection: Any = (_WebSocket if options.transport.startswith("ws") else _Http)(options)
        try:
            if not self._shows_token(connection) and options.sign_in is not None:
                connection.signin(options.sign_in)
                self._token = connection.token  # to check a password takes the server a tenth of a second
            connection.use(options.namespace, options.database)
        except BaseException:
            connection.hang_up()
            raise
        connection.seconds = options.timeout
        return connection

    def _shows_token(self, connection: Any) -> bool:
        """Whether a token lets a connection in; one of an earlier connection may have expired."""
        if self._token is None:
            return False
        try:
            connection.authenticate(self._token)
        except SurrealError:
            self._token = self._options.token
            if self._token is not None:
                raise
            connection.token = None
            return False
        return True


class _Loan:
    """Lends a connection to one operation."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._connection: Any = None

    def __enter__(self) -> Any:
        self._connection = self._pool.take()
        return self._connection

    def __exit__(self, *error: object) -> None:
        self._pool.give_back(self._connection)


def _check_version(options: SurrealOptions, version: str) -> None:
    found = re.search(r"(\d+)\.\d+", version)
    if found is not None and int(found[1]) < _OLDEST:
        raise UnsupportedOperationError(
            f"{options.where} is SurrealDB {found[0]}; {_OLDEST}.0 or later is needed: upgrade the server"
        )


def http_status(error: Exception) -> int | None:
    """Return the HTTP status that an error is about."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def is_silent(error: Exception) -> bool:
    """Whether an error says that the server does not answer."""
    if http_status(error) is not None:
        return False
    return isinstance(error, (OSError, EOFError, websockets.ConnectionClosed, websockets.InvalidHandshake))


def is_too_large(error: Exception) -> bool:
    """Whether the server has closed the connection because a request was too large."""
    closed = getattr(error, "rcvd", None)
    return closed is not None and closed.code == _TOO_LARGE
