"""The runner for tasks: each event loop has connections, or a client, of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import redis

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import PersistenceError, UnsupportedOperationError
from praisonai_persistence.steps import Pause, Steps, run_async
from praisonai_persistence.stores import AsyncRunner
from praisonai_persistence.stores.batching import Batching
from praisonai_persistence_redis._errors import DRIVER_ERRORS, is_silence, translate
from praisonai_persistence_redis._exchange import exchange_all, fit
from praisonai_persistence_redis._lending import AsyncLender
from praisonai_persistence_redis._runner import Attempts, Common, _of_parents
from praisonai_persistence_rediscore import Command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from praisonai_persistence.stores.batching import Outcome

__all__ = ["AsyncRedisRunner"]

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds, at the most, that a cancelled caller waits for the answer to what was sent."""


class _Loop:
    """What an event loop has.

    Attributes:
        client: what requests are given: an [AsyncLender][], or a client of the driver.
        own: the lender, or None.
        ready: whether the server was looked at.
        running: how many operations are under way.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.own = client if isinstance(client, AsyncLender) else None
        self.ready = False
        self.probing: asyncio.Task[None] | None = None
        self.running = 0
        self.ended: asyncio.Event | None = None
        self.guard: AsyncGenerator[None, None] | None = None


def _abandoned() -> Exception:
    """Return the error of those whose batch was given up: reads are repeated then, writes may be done or not."""
    return redis.ConnectionError("no answer, and a cancelled call of the same connection did not wait longer")


def _heard(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()  # so that nobody complains that it was not looked at


class AsyncRedisRunner(Common, AsyncRunner):
    """Runs operations on connections of ``redis.asyncio``, or on a client of its clusters; each event loop has its own.

    Commands that arrive while another one is under way become a batch: a connection takes many at once, and the server
    does one after the other whatever the number of connections.
    """

    _asynchronous = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        timeout = None if self._settings is None else self._settings.timeout
        self._patience = _PATIENCE if timeout is None else min(timeout, _PATIENCE)
        self._loops: dict[asyncio.AbstractEventLoop, _Loop] = {}
        self._new()
        renew_in_child(self)

    def _new(self) -> None:
        self._lock = threading.RLock()
        self._loops = {}
        self._commands: Batching[_Loop, Command, Any] = Batching(
            self._exchange, self._exchange_all, fit, patience=self._patience, abandoned=_abandoned
        )

    def _renew(self) -> None:
        for here in self._loops.values():
            _of_parents.append(here)
            if here.own is not None:
                here.own.abandon(keep=_of_parents)
        self._new()

    # ------------------------------------------------------------------------------------------------------ the loops

    def _here(self) -> _Loop:
        loop = asyncio.get_running_loop()
        here = self._loops.get(loop)
        return here if here is not None else self._arrive(loop)

    def _arrive(self, loop: asyncio.AbstractEventLoop) -> _Loop:
        with self._lock:
            self._refuse_if_closed()
            ended = {other: its for other, its in self._loops.items() if other.is_closed()}
            left = {other: its for other, its in self._loops.items() if other not in ended}
            for its in ended.values():
                if its.own is not None:
                    its.own.abandon()
            if left and self._injected is not None:
                raise UnsupportedOperationError(
                    "a client of redis.asyncio belongs to one event loop, and this one is used in another: "
                    "give the store an address, or make a client and a store for each loop"
                )
            here = left[loop] = _Loop(self._new_client())
            self._loops = left
            return here

    def _new_client(self) -> Any:
        if self._settings is None:
            return self._injected
        return (
            self._settings.cluster_client(asynchronous=True) if self._settings.cluster else AsyncLender(self._settings)
        )

    def _forget(self, here: _Loop) -> None:
        """Let the next call of this loop make what it needs anew."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._loops.get(loop) is here:
                del self._loops[loop]

    async def _guard(self, here: _Loop) -> AsyncGenerator[None, None]:
        """Close what a loop has when it ends: ``asyncio.run`` ends the generators that are left."""
        try:
            yield
        finally:
            self._forget(here)
            await self._release(here)

    async def _release(self, here: _Loop) -> None:
        if here.own is not None:
            await here.own.close()
        elif self._injected is None:
            await here.client.aclose()

    # ------------------------------------------------------------------------------------------------- connect, close

    async def connect(self) -> None:
        """See [AsyncRunner.connect][]."""
        self._refuse_if_closed()
        here = self._here()
        here.running += 1
        try:
            await self._get_ready(here)
        finally:
            self._leave(here)

    async def _get_ready(self, here: _Loop) -> None:
        if here.ready:
            return
        if here.probing is None or here.probing.done():
            # One for all: those who waited for each other's attempts would wait for many timeouts.
            here.probing = asyncio.ensure_future(self._look(here))
            here.probing.add_done_callback(_heard)
        await asyncio.shield(here.probing)

    async def _look(self, here: _Loop) -> None:
        self._refuse_if_closed()
        if here.guard is None:
            here.guard = self._guard(here)
            await here.guard.__anext__()
        await self._attempts(here, self._initialise)
        await self._attempts(here, self._probe)
        here.ready = True

    @staticmethod
    def _initialise() -> Steps[None]:
        # A cluster's client has to know its nodes before it can be asked for the one of a key.
        yield lambda client: client.initialize()

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [AsyncRunner.run][]."""
        self._refuse_if_closed()
        here = self._here()
        here.running += 1
        try:
            if not here.ready:
                await self._get_ready(here)
            return await self._attempts(here, operation, *args, **kwargs)
        finally:
            self._leave(here)

    @staticmethod
    def _leave(here: _Loop) -> None:
        here.running -= 1
        if not here.running and here.ended is not None:
            here.ended.set()

    async def close(self) -> None:
        """See [AsyncRunner.close][]."""
        with self._lock:
            self._closed = True
            loops, self._loops = self._loops, {}
        mine = asyncio.get_running_loop()
        others = []
        for loop, here in loops.items():
            if loop is mine:
                continue
            if loop.is_running():
                with contextlib.suppress(RuntimeError):  # it ends just now
                    others.append(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._end(here), loop)))
            elif here.own is not None:
                here.own.abandon()
        if mine in loops:
            await self._end(loops[mine])
        if others:
            done, _ = await asyncio.wait(others, timeout=self._patience)
            for future in done:
                _heard(future)

    async def _end(self, here: _Loop) -> None:
        if here.running:
            here.ended = asyncio.Event()
            await here.ended.wait()  # each operation has a deadline of its own
        if here.guard is not None:
            await here.guard.aclose()
        else:
            await self._release(here)

    # ----------------------------------------------------------------------------------------------------- operations

    async def _attempts(self, here: _Loop, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        batches = here.own is not None

        async def perform(request: Any) -> Any:
            if batches and type(request) is Command:
                return await self._commands.call(here, request)
            if type(request) is Pause:
                return await asyncio.sleep(request.seconds)
            return await self._to_its_end(here, request(here.client))

        attempts: Attempts | None = None
        while True:
            try:
                return await run_async(operation(*args, **kwargs), perform)
            except PersistenceError:  # some are an OSError, too
                raise
            except DRIVER_ERRORS as error:
                if is_silence(error) and here.own is not None:
                    here.own.forget_idle()
                attempts = attempts or self._new_attempts()
                wait = attempts.wait(error, operation, worked=here.ready)
                if wait is None:
                    raise translate(error, self._where) from error
            await asyncio.sleep(wait)

    async def _exchange(self, here: _Loop, command: Command) -> Any:
        return await self._to_its_end(here, here.client.exchange(command.arguments))

    async def _exchange_all(self, here: _Loop, commands: list[Command]) -> list[Outcome]:
        return await self._to_its_end(here, exchange_all(here.client, commands), since=time.monotonic())

    async def _to_its_end(self, here: _Loop, answer: Awaitable[T], since: float | None = None) -> T:
        """Await an answer. Who is cancelled meanwhile waits until it is there, or gives the connection up.

        Args:
            here: whose connection.
            answer: waits for it.
            since: the time from which the patience counts; None: from the cancellation.
        """
        task = asyncio.ensure_future(answer)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The server has the command, or may have: whoever cancelled hears of it when it is done.
            end = self._patience + (time.monotonic() if since is None else since)
            while not task.done():
                left: float | None = max(0.0, end - time.monotonic())
                if not left:
                    if here.own is None and self._injected is None:
                        self._forget(here)  # nobody knows in what state the client of a cluster is
                    task.cancel()
                    left = None  # it ends at once, and its connection is not used again
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([task], timeout=left)
            _heard(task)
            raise
