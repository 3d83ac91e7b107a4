"""The driver's connections, with what they lack: a deadline for the handshake, and whether anything was sent."""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from typing import Any

import redis
from redis.exceptions import ReadOnlyError, ResponseError

from praisonai_persistence._closing import Single

_BUFFER = 32_768
"""Bytes of what was not sent yet, beyond which it is waited for."""

__all__ = ["Line", "abort", "async_timed", "is_stale", "leave", "owing", "send", "timed", "watch"]


# The classes here are made for any of the driver's classes, which have no types to speak of.


def timed(base: Any) -> Any:
    """Return a connection class that connects within ``socket_connect_timeout``, the handshake included.

    Its failures to connect have an attribute ``unsent``: no command was sent.
    """

    class Timed(base):  # type: ignore[misc]
        _until: float | None = None

        def connect(self) -> None:
            if self._sock is not None:
                return
            limit = self.socket_connect_timeout
            self._until = None if limit is None else time.monotonic() + limit
            attributes: dict[str, Any] = self.__dict__
            attributes["read_response"] = self._read_of_handshake
            try:
                super().connect()
            except redis.RedisError as error:
                self.disconnect()
                error.unsent = True  # type: ignore[attr-defined]
                raise
            finally:
                attributes.pop("read_response", None)
                self._until = None
            sock: Any = self._sock
            sock.settimeout(self.socket_timeout)

        def _in_time(self, sock: Any) -> None:
            if self._until is not None:
                left = self._until - time.monotonic()
                if left <= 0:
                    raise redis.TimeoutError("Timeout connecting to server")
                sock.settimeout(left)

        def _read_of_handshake(self, *args: Any, **options: Any) -> Any:
            self._in_time(self._sock)
            method: Any = type(self).read_response
            return method(self, *args, **options)

        def _wrap_socket_with_ssl(self, sock: Any) -> Any:
            self._in_time(sock)
            return super()._wrap_socket_with_ssl(sock)

    return Timed


def async_timed(base: Any) -> Any:
    """[timed][] for connections of ``redis.asyncio``."""

    class Timed(base):  # type: ignore[misc]
        async def connect(self) -> None:
            if self.is_connected:
                return
            try:
                await asyncio.wait_for(super().connect(), self.socket_connect_timeout)
            except asyncio.TimeoutError:
                abort(self)
                error = redis.TimeoutError("Timeout connecting to server")
                error.unsent = True  # type: ignore[attr-defined]
                raise error from None
            except redis.RedisError as error:
                abort(self)
                error.unsent = True  # type: ignore[attr-defined]
                raise

    return Timed


def owing(base: Any) -> Any:
    """Return a connection class with the attribute ``owed``: whether a command's answer was not read to its end.

    For the driver's own clients, which send one command at a time.
    """

    class Owing(base):  # type: ignore[misc]
        owed = False

        def send_packed_command(self, *args: Any, **options: Any) -> None:
            self.owed = True
            super().send_packed_command(*args, **options)

        def read_response(self, *args: Any, **options: Any) -> Any:
            try:
                answer = super().read_response(*args, **options)
            except ResponseError:
                self.owed = False
                raise
            self.owed = False
            return answer

        def disconnect(self, *args: Any, **options: Any) -> None:
            super().disconnect(*args, **options)
            self.owed = False

    return Owing


def _poll(sock: Any) -> Any:
    """Return what tells whether there is something to read, or None where the system has no such call."""
    if sock is None or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return poll


class Line(Single):
    """A connection that is lent; steps take it for a client.

    Attributes:
        connection: the driver's.
        owed: whether an exchange has begun whose answer was not read to its end. Nobody may use the connection then.

    Args:
        connection: not connected yet, or ready for use.
        codec: a client of the driver, which reads answers; it makes no connections.
        of_sentinels: whether its server was named by sentinels.
    """

    __slots__ = ("_codec", "_of_sentinels", "_poll", "connection", "owed")

    def __init__(self, connection: Any, codec: Any, *, of_sentinels: bool = False) -> None:
        self.connection = connection
        self.owed = False
        self._codec = codec
        self._of_sentinels = of_sentinels
        self._poll: Any = None

    def get_connection_kwargs(self) -> dict[str, Any]:
        """See ``redis.Redis``."""
        return self._codec.get_connection_kwargs()  # type: ignore[no-any-return]

    def connect(self) -> None:
        """Connect, again if the server has ended the connection meanwhile."""
        connection = self.connection
        if connection._sock is not None:
            if not (self._poll.poll(0) if self._poll is not None else connection.can_read(0)):
                return
            connection.disconnect()
        self.owed = True
        connection.connect()
        self._poll = _poll(connection._sock)
        self.owed = False

    def exchange(self, arguments: tuple[Any, ...]) -> Any:
        """Send a command and return the answer as the server gave it."""
        connection = self.connection
        self.owed = True
        try:
            connection.send_command(*arguments)
            answer = connection.read_response()
        except ResponseError as error:
            self._refused(error)
            raise
        self.owed = False
        return answer

    def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command and return the answer as the driver's client would."""
        self.owed = True
        try:
            self.connection.send_command(*arguments)
            answer = self._codec.parse_response(self.connection, arguments[0], **options)
        except ResponseError as error:
            self._refused(error)
            raise
        self.owed = False
        return answer

    def _refused(self, error: ResponseError) -> None:
        """The server has refused a command, so nothing is owed."""
        if self._of_sentinels and isinstance(error, ReadOnlyError):
            # It was the master. Nothing was done, and the next connection goes to the one that the sentinels name then.
            self.connection.disconnect()
            moved = redis.ConnectionError("the server has become a replica")
            moved.unsent = True  # type: ignore[attr-defined]
            raise moved from error
        self.owed = False

    def drop(self) -> None:
        """Disconnect, whatever is under way."""
        self.connection.disconnect()


def is_stale(connection: Any) -> bool:
    """Whether a connection of ``redis.asyncio`` cannot be used: not connected, ended, or with something unread."""
    reader = connection._reader
    if reader is None or reader.at_eof() or reader.exception() is not None or getattr(reader, "_buffer", None):
        return True
    poll = getattr(connection, "_praisonai_poll", None)
    return bool(poll is not None and poll.poll(0))


def watch(connection: Any) -> None:
    """Prepare a connection of ``redis.asyncio``, which has just connected, for [is_stale][]."""
    connection._praisonai_poll = _poll(connection._writer.transport.get_extra_info("socket"))


async def send(connection: Any, packed: Any) -> None:
    """Send packed commands on a connection of ``redis.asyncio``.

    Its own methods start a task for each sending.
    """
    if connection.health_check_interval:
        await connection.check_health()
    writer = connection._writer
    if writer is None:
        raise redis.ConnectionError("the connection was closed")
    writer.writelines(packed)
    if writer.transport.get_write_buffer_size() > _BUFFER or writer.transport.is_closing():
        try:
            await asyncio.wait_for(writer.drain(), connection.socket_timeout)
        except asyncio.TimeoutError:
            raise redis.TimeoutError("Timeout writing to socket") from None
        except OSError as error:
            raise redis.ConnectionError(f"{type(error).__name__} while writing to socket") from error


def abort(connection: Any) -> None:
    """End a connection of ``redis.asyncio`` at once, waiting for nothing. Called in its event loop."""
    writer, connection._reader, connection._writer = connection._writer, None, None
    with contextlib.suppress(Exception):  # of a parser that was never connected
        connection._parser.on_disconnect()
    if writer is not None:
        writer.transport.abort()


def leave(connection: Any) -> Any:
    """Take the stream from a connection of ``redis.asyncio`` whose loop has ended, or is the parent's; return it.

    While somebody keeps what is returned, nothing is closed.
    """
    writer, connection._reader, connection._writer = connection._writer, None, None
    return writer
