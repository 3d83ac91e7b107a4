"""Keeping connections open for tasks: what ``pooling`` does for threads, with a pool for each event loop."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from praisonai_persistence._closing import Single
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._loops import on_its_loop
from praisonai_persistence_sql.pooling import CLOSE_TIMEOUT, abandoned, full, shut

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

__all__ = ["AsyncLender", "AsyncLoan"]

C = TypeVar("C")


class _Turns(Generic[C]):
    """What a lender has in one event loop.

    Attributes:
        idle: the connections, and since when; the one used last at the right end.
        free: how many more may be lent.
        waiting: the callers that wait.
        drained: done when nothing is lent any more; made by who waits for that.
        guard: closes the connections when the loop's asynchronous generators are shut down, as ``asyncio.run`` does.
    """

    __slots__ = ("drained", "free", "guard", "idle", "loop", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int) -> None:
        self.loop = loop
        self.free = size
        self.idle: deque[tuple[C, float]] = deque()
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.drained: asyncio.Future[None] | None = None
        self.guard: AsyncGenerator[None, None] | None = None


class AsyncLender(Single, Generic[C]):
    """[Lender][] for tasks.

    Connections belong to a loop, so each running loop has its own, up to ``max_size`` of them; several loops may run
    at once in threads. Those of a loop that ended are closed by ``asyncio.run``, and otherwise when another loop comes.

    Args:
        connect: makes one.
        alive: whether an idle one can still be used.
        close: closes one; must not fail.
        abandon: lets go of one whose loop is gone, without waiting; must not fail.
        max_size: how many there may be at a time in one loop.
        timeout: seconds to wait for one.
        max_idle: seconds after which an idle one is closed, when another is given back.
        close_timeout: seconds that ``close`` waits for the operations that are under way.
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
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._close = close
        self._abandon = abandon
        self._max_size = max_size
        self._timeout = timeout
        self._max_idle = max_idle
        self._close_timeout = close_timeout
        self._closed = False
        self._fresh()
        renew_in_child(self)

    def _fresh(self) -> None:
        self._loops: dict[asyncio.AbstractEventLoop, _Turns[C]] = {}  # each is touched by its own loop's thread
        self._at_end = weakref.finalize(self, _let_go, self._loops, self._abandon)

    def _renew(self) -> None:
        self._at_end.detach()
        abandoned.append(self._loops)
        self._fresh()

    async def _enter(self, loop: asyncio.AbstractEventLoop) -> _Turns[C]:
        if self._closed:
            raise shut()
        for other in list(self._loops):
            if other.is_closed():
                self._forget(other)
        self._loops[loop] = turns = _Turns[C](loop, self._max_size)
        turns.guard = _until_the_end(self._loops, turns, self._close, self._abandon)
        await turns.guard.asend(None)  # does not wait: nobody else gets in between
        return turns

    def _forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of what belongs to a loop that does not run."""
        turns = self._loops.pop(loop, None)
        while turns is not None and turns.idle:
            self._abandon(turns.idle.pop()[0])

    async def acquire(self) -> C:
        """Return a connection that is the caller's until it is released.

        Raises:
            ConnectionFailedError: all were in use for too long.
            StoreClosedError: after ``close``.
        """
        loop = asyncio.get_running_loop()
        turns = self._loops.get(loop) or await self._enter(loop)
        if turns.free > 0:
            turns.free -= 1
        else:
            await self._wait(turns)
        try:
            while not self._closed:
                try:
                    connection, _ = turns.idle.pop()
                except IndexError:
                    return await self._open()
                if self._alive(connection):
                    return connection
                self._abandon(connection)
            raise shut()
        except BaseException:
            self._pass_on(turns)
            raise

    async def _open(self) -> C:
        connection = await self._connect()
        if self._closed:  # meanwhile
            self._abandon(connection)
            raise shut()
        return connection

    async def _wait(self, turns: _Turns[C]) -> None:
        if self._closed:
            raise shut()
        turn: asyncio.Future[None] = turns.loop.create_future()
        turns.waiting.append(turn)
        alarm = turns.loop.call_later(self._timeout, self._give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turns)  # the turn came together with the cancellation
            raise
        finally:
            alarm.cancel()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(full(self._max_size, self._timeout))

    def _pass_on(self, turns: _Turns[C]) -> None:
        while turns.waiting:
            turn = turns.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        turns.free += 1
        if turns.drained is not None and turns.free >= self._max_size and not turns.drained.done():
            turns.drained.set_result(None)

    async def release(self, connection: C, *, broken: bool = False) -> None:
        """Take a connection back; a broken one is closed."""
        turns = self._loops.get(asyncio.get_running_loop())
        if turns is None:  # the loop is about to end, or the store was closed in another one
            self._abandon(connection)
            return
        try:
            if broken:
                self._abandon(connection)
            elif self._closed:
                await self._close(connection)
            else:
                now = time.monotonic()
                turns.idle.append((connection, now))
                if turns.idle[0][1] < now - self._max_idle:
                    await self._close(turns.idle.popleft()[0])
        finally:
            self._pass_on(turns)

    async def fill(self, number: int) -> None:
        """Open so many connections at least."""
        connections: list[C] = []
        try:
            while len(connections) < min(number, self._max_size):
                connections.append(await self.acquire())
        finally:
            for connection in connections:
                await self.release(connection)

    async def close(self) -> None:
        """Let nobody in any more, wait for the operations that are under way in this loop, and close all connections.

        Those that are under way in other loops close their connections when they end, and so does one here that has
        not ended within ``close_timeout``.
        """
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, turns in list(self._loops.items()):
            if loop is here:
                continue
            try:
                if loop.is_running():
                    loop.call_soon_threadsafe(self._shut_down, turns)
                    continue
            except RuntimeError:  # it ended just now
                pass
            self._forget(loop)
        if here in self._loops:
            turns = self._loops[here]
            self._refuse(turns)
            try:
                await _close_idle(turns, self._close, self._abandon)
                if turns.free < self._max_size:
                    turns.drained = here.create_future()
                    await asyncio.wait([turns.drained], timeout=self._close_timeout)
            finally:
                self._loops.pop(here, None)
            if turns.guard is not None:
                await turns.guard.aclose()

    def _refuse(self, turns: _Turns[C]) -> None:
        for turn in turns.waiting:
            if not turn.done():
                turn.set_exception(shut())
        turns.waiting.clear()

    def _shut_down(self, turns: _Turns[C]) -> None:
        self._refuse(turns)
        self._forget(turns.loop)


# What has to work without the lender, which may have been dropped.


async def _until_the_end(
    loops: dict[asyncio.AbstractEventLoop, _Turns[C]],
    turns: _Turns[C],
    close: Callable[[C], Awaitable[None]],
    abandon: Callable[[C], None],
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        loops.pop(turns.loop, None)
        await _close_idle(turns, close, abandon)


async def _close_idle(turns: _Turns[C], close: Callable[[C], Awaitable[None]], abandon: Callable[[C], None]) -> None:
    left = [connection for connection, _ in turns.idle]
    turns.idle.clear()
    try:
        await asyncio.gather(*map(close, left))  # together: a silent server is waited for once
        left = []
    finally:  # when this is called off
        for connection in left:
            abandon(connection)


def _let_go(loops: dict[asyncio.AbstractEventLoop, _Turns[C]], abandon: Callable[[C], None]) -> None:
    """Abandon what a lender has left that was dropped, or is still there at the end of the process."""

    def abandon_all(idle: deque[tuple[C, float]]) -> None:
        while idle:
            abandon(idle.pop()[0])

    for loop, turns in list(loops.items()):
        loops.pop(loop, None)
        on_its_loop(loop, partial(abandon_all, turns.idle))


class AsyncLoan(Generic[C]):
    """A connection for one operation of a task; a class, because a generator takes longer, and this is on every path.

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
