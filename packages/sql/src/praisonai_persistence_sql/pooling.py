"""Keeping connections open, for drivers that come without a pool, or with one that does not say why it failed.

Connections are made by the caller who needs one, so an error of the driver reaches it at once and as it is. Callers
beyond the largest number wait for a time, first come first served. A connection that broke while it lay idle is
noticed before it is lent, without a round trip, if the driver can tell.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

__all__ = ["AsyncLender", "AsyncLoan", "Lender", "Loan"]

C = TypeVar("C")

_abandoned: list[object] = []  # the parent's connections in a forked child: closing them would end the parent's session


def _full(size: int, timeout: float) -> ConnectionFailedError:
    return ConnectionFailedError(
        f"all {size} connections of the pool were in use for {timeout:g} seconds: raise max_size, or pool_timeout, or "
        f"look for calls that take long"
    )


class Lender(Generic[C]):
    """Lends connections to threads.

    Args:
        connect: makes one.
        alive: whether an idle one can still be used.
        close: closes one; must not fail.
        max_size: how many there may be at a time.
        timeout: seconds to wait for one.
        max_idle: seconds after which an idle one is closed, when another is given back.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        alive: Callable[[C], bool],
        close: Callable[[C], None],
        *,
        max_size: int,
        timeout: float,
        max_idle: float = 300.0,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._close = close
        self._max_size = max_size
        self._timeout = timeout
        self._max_idle = max_idle
        self._closed = False
        self._idle: deque[tuple[C, float]] = deque()  # the one used last at the right end
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        # Who gets one of these may have a connection; a semaphore does the same in several times the time.
        self._slots: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._max_size):
            self._slots.put(None)
        _abandoned.extend(self._idle)
        self._idle.clear()

    def acquire(self) -> C:
        """Return a connection that is the caller's until it is released.

        Raises:
            ConnectionFailedError: all were in use for too long.
            StoreClosedError: after ``close``.
        """
        try:
            self._slots.get(timeout=self._timeout)
        except Empty:
            raise _full(self._max_size, self._timeout) from None
        try:
            while not self._closed:
                try:
                    connection, _ = self._idle.pop()
                except IndexError:
                    return self._connect()
                if self._alive(connection):
                    return connection
                self._close(connection)
            raise StoreClosedError("this store is closed")
        except BaseException:
            self._slots.put(None)
            raise

    def release(self, connection: C, *, broken: bool = False) -> None:
        """Take a connection back; a broken one is closed."""
        slots = self._slots
        if broken or self._is_closed():
            self._close(connection)
        else:
            now = time.monotonic()
            self._idle.append((connection, now))
            if self._idle[0][1] < now - self._max_idle:
                self._close(self._idle.popleft()[0])
            if self._is_closed():  # meanwhile
                self._close_idle()
        slots.put(None)

    def fill(self, number: int) -> None:
        """Open so many connections at least."""
        connections: list[C] = []
        try:
            while len(connections) < min(number, self._max_size):
                connections.append(self.acquire())
        finally:
            for connection in connections:
                self.release(connection)

    def close(self) -> None:
        """Close the idle connections, and the others when they are given back."""
        self._closed = True
        self._close_idle()

    def _is_closed(self) -> bool:
        return self._closed

    def _close_idle(self) -> None:
        while True:
            try:
                connection, _ = self._idle.pop()
            except IndexError:
                return
            self._close(connection)


class Loan(Generic[C]):
    """A connection for one operation; a class, because a generator takes longer, and this is on every path.

    Args:
        acquire: gets it.
        release: takes it back, with the error that ended the operation, or None.
    """

    __slots__ = ("_acquire", "_connection", "_release")

    def __init__(self, acquire: Callable[[], C], release: Callable[[C, BaseException | None], None]) -> None:
        self._acquire = acquire
        self._release = release

    def __enter__(self) -> C:
        self._connection = self._acquire()
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._release(self._connection, error)


class AsyncLender(Generic[C]):
    """[Lender][] for tasks. Connections belong to a loop: another one gets connections of its own.

    Args:
        connect: makes one.
        alive: whether an idle one can still be used.
        close: closes one; must not fail.
        abandon: lets go of one whose loop is gone, without waiting; must not fail.
        max_size: how many there may be at a time.
        timeout: seconds to wait for one.
        max_idle: seconds after which an idle one is closed, when another is given back.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[C]],
        alive: Callable[[C], bool],
        close: Callable[[C], Awaitable[None]],
        abandon: Callable[[C], None],
        *,
        max_size: int,
        timeout: float,
        max_idle: float = 300.0,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._close = close
        self._abandon = abandon
        self._max_size = max_size
        self._timeout = timeout
        self._max_idle = max_idle
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: deque[tuple[C, float]] = deque()
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        _abandoned.extend(self._idle)
        self._idle = deque()
        self._free = self._max_size
        self._waiting: deque[asyncio.Future[None]] = deque()

    def _enter_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        for connection, _ in self._idle:
            self._abandon(connection)
        self._idle = deque()
        self._free = self._max_size
        self._waiting = deque()
        self._loop = loop

    async def acquire(self) -> C:
        """See [Lender.acquire][]."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._enter_loop(loop)
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(loop)
        try:
            while not self._closed:
                try:
                    connection, _ = self._idle.pop()
                except IndexError:
                    return await self._connect()
                if self._alive(connection):
                    return connection
                self._abandon(connection)
            raise StoreClosedError("this store is closed")
        except BaseException:
            self._pass_on(loop)
            raise

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        alarm = loop.call_later(self._timeout, self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(loop)  # the turn came together with the cancellation
            raise
        finally:
            alarm.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(_full(self._max_size, self._timeout))

    def _pass_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is not self._loop:
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def release(self, connection: C, *, broken: bool = False) -> None:
        """See [Lender.release][]."""
        loop = asyncio.get_running_loop()
        try:
            if broken or loop is not self._loop:
                self._abandon(connection)
            elif self._closed:
                await self._close(connection)
            else:
                now = time.monotonic()
                self._idle.append((connection, now))
                if self._idle[0][1] < now - self._max_idle:
                    await self._close(self._idle.popleft()[0])
        finally:
            self._pass_on(loop)

    async def fill(self, number: int) -> None:
        """See [Lender.fill][]."""
        connections: list[C] = []
        try:
            while len(connections) < min(number, self._max_size):
                connections.append(await self.acquire())
        finally:
            for connection in connections:
                await self.release(connection)

    async def close(self) -> None:
        """See [Lender.close][]."""
        self._closed = True
        left = [connection for connection, _ in self._idle]
        self._idle = deque()
        try:
            if self._loop is asyncio.get_running_loop():
                await asyncio.gather(*map(self._close, left))  # together: a silent server is waited for once
                left = []
        finally:  # those of another loop, and all when this is called off
            for connection in left:
                self._abandon(connection)


class AsyncLoan(Generic[C]):
    """[Loan][] for tasks.

    Args:
        acquire: gets the connection.
        release: takes it back, with the error that ended the operation, or None.
    """

    __slots__ = ("_acquire", "_connection", "_release")

    def __init__(
        self,
        acquire: Callable[[], Awaitable[C]],
        release: Callable[[C, BaseException | None], Coroutine[Any, Any, None]],
    ) -> None:
        self._acquire = acquire
        self._release = release

    async def __aenter__(self) -> C:
        self._connection = await self._acquire()
        return self._connection

    def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> Coroutine[Any, Any, None]:
        return self._release(self._connection, error)
