"""Who may use which connection: the places of a store, for sync callers and for the tasks of an event loop.

The driver's own pools lose a place, or lend a connection whose answer was not read, when an exception of a signal
handler comes at the wrong moment. Here a place is a lock that is held by ``with``, so it is given back for sure, and a
connection goes back to its place only by a store behind its last answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ResponseError

from praisonai_persistence._closing import Single
from praisonai_persistence._loops import hang_up, on_its_loop
from praisonai_persistence.errors import ConnectionFailedError, PersistenceError, StoreClosedError
from praisonai_persistence_redis._connections import Line, abort, is_stale, leave, send, watch
from praisonai_persistence_redis._errors import DRIVER_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from praisonai_persistence_redis._settings import Settings

__all__ = ["AsyncLender", "ClientLender", "Lender", "closed", "lender_of"]

T = TypeVar("T")

_LOOK_AGAIN = 0.05
"""Seconds after which who waits for a place looks by himself: an interrupt may have kept the one who would call him."""
_GOODBYE = 1.0
"""Seconds that a server has to end a connection that we close."""


def closed() -> StoreClosedError:
    """Return the error of calls after ``close``."""
    return StoreClosedError("this store is closed")


def _all_in_use(seconds: float) -> ConnectionFailedError:
    return ConnectionFailedError(f"all connections were in use for {seconds:g} seconds: raise max_size or pool_timeout")


class _Place:
    __slots__ = ("line", "lock")

    def __init__(self) -> None:
        self.lock: Any = threading.RLock()
        self.line: Line | None = None


class Lender(Single):
    """Lends connections of its own to sync callers.

    Args:
        make: makes a [Line][] that is not connected.
        size: how many there may be.
        wait: seconds to wait for one.
    """

    def __init__(self, make: Callable[[], Line], size: int, wait: float) -> None:
        self._make = make
        self._wait = wait
        self._places = [_Place() for _ in range(size)]
        self._waiting: deque[Any] = deque()
        self._closed = False

    def use(self, work: Callable[[Any], T]) -> T:
        """Return ``work(line)`` with a connection that nobody else uses meanwhile.

        A call in the middle of another one of the same thread (of a ``__del__``, of a signal handler) gets another
        connection; if there is none, one that is made for it.
        """
        end: float | None = None
        while True:
            inner = False
            for place in self._places:
                lock = place.lock
                if lock._is_owned():
                    inner = True
                    continue
                try:
                    if lock.acquire(False):
                        with lock:
                            lock.release()  # from here on `with` alone has it
                            return self._work(place, work)
                except BaseException:
                    if lock._is_owned():  # interrupted just behind `acquire`
                        lock.release()
                    raise
                finally:
                    if self._waiting:
                        self._call_next()
                    if self._closed:  # meanwhile, perhaps by this very thread
                        self._empty(place, wait=False)
            if inner:
                extra = _Place()
                try:
                    return self._work(extra, work)
                finally:
                    if extra.line is not None:
                        extra.line.drop()
            end = self._await_place(end)

    def _call_next(self) -> None:
        with contextlib.suppress(IndexError, RuntimeError):
            self._waiting.popleft().release()

    def _await_place(self, end: float | None) -> float:
        if self._closed:
            raise closed()
        now = time.monotonic()
        if end is None:
            end = now + self._wait
        elif now >= end:
            raise _all_in_use(self._wait)
        turn = threading.Lock()
        turn.acquire()
        self._waiting.append(turn)
        turn.acquire(timeout=max(0.0, min(_LOOK_AGAIN, end - now)))
        with contextlib.suppress(ValueError):
            self._waiting.remove(turn)
        return end

    def _work(self, place: _Place, work: Callable[[Any], T]) -> T:
        if self._closed:
            raise closed()
        line, place.line = place.line, None
        try:
            if line is None:
                line = self._make()
            line.connect()
            return work(line)
        finally:
            # An exchange that has not ended is behind no interrupt: `owed` is set before it and taken back behind it.
            if line is not None:
                if line.owed or self._closed:
                    line.drop()
                else:
                    place.line = line

    def forget_idle(self) -> None:
        """Disconnect what nobody uses: those connections lead to where nobody answers, or not any more."""
        for place in self._places:
            self._empty(place, wait=False)

    def _empty(self, place: _Place, *, wait: bool) -> None:
        lock = place.lock
        if lock._is_owned():
            return  # by a call of this thread that is under way; its end looks whether the store was closed
        try:
            if lock.acquire(wait):
                with lock:
                    lock.release()
                    line, place.line = place.line, None
                    if line is not None:
                        line.drop()
        except BaseException:
            if lock._is_owned():
                lock.release()
            raise

    def close(self) -> None:
        """Refuse calls from now on, wait for those that are under way, and disconnect.

        In the middle of a call of the same thread it waits for nobody: each call that ends disconnects then.
        """
        self._closed = True
        inner = any(place.lock._is_owned() for place in self._places)
        for place in self._places:
            self._empty(place, wait=not inner)


class ClientLender(Single):
    """Lends a client of the driver: one of a cluster, or the caller's own.

    Args:
        make: makes a client; None with ``client``.
        client: the caller's, which is not closed.
    """

    def __init__(self, make: Callable[[], Any] | None, client: Any) -> None:
        self._make = make
        self._client: Any = client
        self._under_way: dict[Any, None] = {}
        self._lock = threading.RLock()
        self._closed = False

    def use(self, work: Callable[[Any], T]) -> T:
        """Return ``work(client)``."""
        mine: Any = threading.RLock()
        self._under_way[mine] = None
        try:
            with mine:
                if self._closed:
                    raise closed()
                return self._work(work)
        finally:
            self._under_way.pop(mine, None)
            if self._closed and not self._under_way:
                self._finish()

    def _work(self, work: Callable[[Any], T]) -> T:
        client = self._client
        if client is None:
            client = self._own(self._make)
        if self._make is not None:
            try:
                return work(client)
            except (PersistenceError, *DRIVER_ERRORS):
                raise
            except BaseException:
                # Nobody knows in what state it is, so the next call makes another one.
                if self._client is client:
                    self._client = None
                raise
        pool = getattr(client, "connection_pool", None)
        if pool is None or client.connection is not None:  # a cluster's, or one that has a single connection
            return work(client)
        return _on_connection_of(pool, client, work)

    def _own(self, make: Any) -> Any:
        client = make()
        with self._lock:
            if self._client is None:
                self._client = client
                return client
        client.close()  # another thread was faster
        return self._client or client

    def forget_idle(self) -> None:
        """The driver's business."""

    def close(self) -> None:
        """Refuse calls from now on, wait for those that are under way, and close what was made here.

        In the middle of a call of the same thread it waits for nobody: the last call that ends closes then.
        """
        self._closed = True
        under_way = list(self._under_way)
        if any(lock._is_owned() for lock in under_way):
            return
        for lock in under_way:
            with lock:
                pass
        self._finish()

    def _finish(self) -> None:
        if self._make is not None:
            client, self._client = self._client, None
            if client is not None:
                client.close()


def _on_connection_of(pool: Any, client: Any, work: Callable[[Any], T]) -> T:
    """Return ``work(line)`` with a connection of the caller's pool; it goes back without an answer that is outstanding.

    What an interrupt within the pool's own methods does to the pool is the driver's. A connection that it put back
    half-way through a handshake is disconnected, as all that lie idle.
    """
    connection = None
    line = None
    ended = False
    try:
        connection = pool.get_connection()
        line = Line(connection, client)
        answer = work(line)
        ended = True
        return answer
    except (PersistenceError, *DRIVER_ERRORS):
        ended = True
        raise
    finally:
        if connection is not None:
            if line is None or line.owed:
                connection.disconnect()
            pool.release(connection)
        if not ended:
            pool.disconnect(inuse_connections=False)


def lender_of(settings: Settings | None, client: Any) -> Lender | ClientLender:
    """Return what lends to sync callers."""
    if settings is None:
        return ClientLender(None, client)
    if settings.cluster:
        return ClientLender(settings.cluster_client, None)
    codec: Any = None  # made with the first connection: it reads a file

    def make() -> Line:
        nonlocal codec
        if codec is None:
            codec = settings.codec(asynchronous=False)
        return Line(connection(), codec, of_sentinels=settings.service is not None)

    lender = Lender(make, settings.max_size, settings.pool_timeout)
    connection = settings.connections(lender.forget_idle, asynchronous=False)
    return lender


def _call(method: Callable[[], Callable[[], None] | None]) -> None:
    found = method()
    if found is not None:
        found()


class AsyncLender(Single):
    """Lends connections of its own to the tasks of the running event loop.

    Args:
        settings: how to connect.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._codec = settings.codec(asynchronous=True)
        self._all: set[Any] = set()
        self._idle: list[Any] = []
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._at_end = weakref.finalize(self, on_its_loop, asyncio.get_running_loop(), partial(_let_go, self._all))
        moved = weakref.WeakMethod(self.forget_idle)  # the connections must not keep the lender
        self._make = settings.connections(partial(_call, moved), asynchronous=True)

    async def take(self) -> Any:
        """Return a connection that is connected, and nobody else's until it is given back."""
        await self._place()
        connection = None
        try:
            while self._idle:
                connection = self._idle.pop()
                if not is_stale(connection):
                    return connection
                self._drop(connection)
            connection = self._make()
            self._all.add(connection)
            await connection.connect()
            watch(connection)
        except BaseException:
            self.give(connection, clean=False)
            raise
        if self._closed:
            self.give(connection, clean=False)
            raise closed()
        return connection

    def give(self, connection: Any, *, clean: bool) -> None:
        """Take a connection back; what is not clean is disconnected."""
        if connection is not None:
            if clean and not self._closed:
                self._idle.append(connection)
            else:
                self._drop(connection)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)  # it has our place
                return
        self._used -= 1

    def stays(self, error: ResponseError) -> bool:
        """Whether a connection whose server has refused a command may be used for the next one."""
        return self._settings.stays(error)

    async def exchange(self, arguments: tuple[Any, ...]) -> Any:
        """Send a command and return the answer as the server gave it."""
        return await self._ask(arguments, lambda connection: connection.read_response())

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command and return the answer as the driver's client would."""
        parse = self._codec.parse_response
        return await self._ask(arguments, lambda connection: parse(connection, arguments[0], **options))

    async def _ask(self, arguments: tuple[Any, ...], read: Callable[[Any], Awaitable[Any]]) -> Any:
        connection, clean = await self.take(), False
        try:
            await send(connection, connection.pack_command(*arguments))
            answer = await read(connection)
            clean = True
            return answer
        except ResponseError as error:
            clean = self.stays(error)
            raise
        finally:
            self.give(connection, clean=clean)

    def get_connection_kwargs(self) -> dict[str, Any]:
        """See ``redis.asyncio.Redis``."""
        return self._codec.get_connection_kwargs()  # type: ignore[no-any-return]

    async def initialize(self) -> None:
        """Nothing: connections are made when they are needed."""

    async def _place(self) -> None:
        if self._closed:
            raise closed()
        if self._used < self._settings.max_size:
            self._used += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=self._settings.pool_timeout)
        except BaseException:
            if waiter.done():  # the place came together with the cancellation
                self.give(None, clean=False)
            else:
                waiter.cancel()
            raise
        if not waiter.done():
            waiter.cancel()
            raise _all_in_use(self._settings.pool_timeout)

    def forget_idle(self) -> None:
        """Disconnect what nobody uses."""
        while self._idle:
            self._drop(self._idle.pop())

    def _drop(self, connection: Any) -> None:
        self._all.discard(connection)
        abort(connection)

    async def close(self) -> None:
        """Refuse calls from now on, and disconnect what nobody uses; who uses one disconnects it."""
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            self._all.discard(connection)
            writer = leave(connection)
            if writer is None:
                continue
            writer.close()
            with contextlib.suppress(OSError, asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), _GOODBYE)
            writer.transport.abort()

    def abandon(self, *, keep: list[Any] | None = None) -> None:
        """Let go of everything, when the loop has ended, or (``keep``) is the parent's, whose sockets stay open."""
        self._closed = True
        for connection in self._all:
            writer = leave(connection)
            if writer is not None:
                if keep is None:
                    hang_up(writer.transport)
                else:
                    keep.append(writer)
        self._at_end.detach()
        self._idle.clear()
        self._all.clear()


def _let_go(connections: set[Any]) -> None:
    """Hang up what a lender has left that was dropped, or is still there at the end of the process."""
    while connections:
        writer = leave(connections.pop())
        if writer is not None:
            hang_up(writer.transport)
