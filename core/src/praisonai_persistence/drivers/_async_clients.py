"""The open clients of event loops: waiting for their answers, closing them, and letting go of dropped ones.

A runner may be dropped while its clients are open, so nothing here needs the runner. The client of a loop is closed by
an asynchronous generator, the guard, that is shut down with the loop. If the loop was closed without that, the client
is abandoned. A guard is never left to the garbage collector: it would make a coroutine that closes it, and Python 3.13
complains when the loop ends before that has run.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import os
from typing import TYPE_CHECKING, Any

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.drivers.driver import Deadline, from_outside
from praisonai_persistence.drivers.shared import inherited, let_go

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from praisonai_persistence.drivers.driver import Driver
    from praisonai_persistence.errors import PersistenceError

__all__ = [
    "CLOSING",
    "HeldAsync",
    "OnLoop",
    "abandon",
    "close_at_end_of_loop",
    "dispose",
    "let_go_of_all",
    "let_go_of_left",
    "within",
]

CLOSING = 5.0
"""Seconds at the most to close a client in, and to wait for a call that was called off."""


class HeldAsync:
    """An open client.

    Attributes:
        client: the driver's.
        pid: of the process that opened it. In a forked child it is neither closed nor abandoned, but kept.
        uses: how many operations are at work on it.
        broken: a request was not answered in time, or called off: its state is not known.
        ended: no operation begins on it any more.
    """

    def __init__(self, client: Any = None) -> None:
        self.client = client
        self.pid = os.getpid()
        self.uses = 0
        self.broken = self.ended = False


class OnLoop:
    """What belongs to one event loop.

    Attributes:
        loop: the loop.
        held: the client, once it is open.
        calls: the tasks of the calls that are under way.
        connecting: those of them that wait for a client and have not asked for anything yet.
        opening: held by whoever opens the client.
        turn: held by those who take turns.
        attempts: how often somebody has tried to open a client.
        failure: the number of the last attempt, and its error, if it failed.
        guard: closes the client when the loop ends.
        closing: closes the client of a runner that was dropped.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.held: HeldAsync | None = None
        self.calls: set[asyncio.Task[Any]] = set()
        self.connecting: set[asyncio.Task[Any] | None] = set()
        self.opening = asyncio.Lock()
        self.turn = asyncio.Lock()
        self.attempts = 0
        self.failure: tuple[int, PersistenceError] | None = None
        self.guard: AsyncGenerator[None, None] | None = None
        self.closing: Coroutine[Any, Any, None] | None = None

    def let_go(self, driver: Driver) -> None:
        """Abandon the client, and end what was to close it. Harmless when repeated."""
        held, self.held = self.held, None
        abandon(driver, held)
        closing, self.closing = self.closing, None
        if closing is not None:
            closing.close()
        self.end_guard()

    def end_guard(self) -> None:
        """End the guard, which has no client to close any more and so does not wait."""
        guard, self.guard = self.guard, None
        if guard is not None:
            # Stopped: it has ended. A RuntimeError: it is the guard that is closing the client.
            with contextlib.suppress(StopIteration, RuntimeError):
                guard.aclose().__await__().send(None)


async def within(driver: Driver, held: HeldAsync, seconds: float, answer: Any) -> Any:
    """Await an answer of the client.

    After ``seconds`` the waiting is cancelled. A client that does not end then is cancelled again every ``seconds``, at
    least every 5 seconds.

    Raises:
        ConnectionFailedError: the answer did not come in time. The client is marked as broken.
    """
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    late = 0
    alarm: asyncio.TimerHandle

    def stop() -> None:
        nonlocal late, alarm
        late += 1
        held.broken = True
        if task is not None:
            task.cancel()
        alarm = loop.call_later(min(seconds, CLOSING), stop)

    # A call that is called off hears of it itself: no need for a task of its own, as wait_for makes.
    alarm = loop.call_later(seconds, stop)
    try:
        return await answer
    except asyncio.CancelledError:
        if late:
            raise Deadline(seconds, driver.where).missed() from None
        raise
    finally:
        alarm.cancel()
        for _ in range(late):
            _uncancel(task)


def _uncancel(task: asyncio.Task[Any] | None) -> None:
    """Take back a cancellation that was ours (Python 3.11 counts them)."""
    uncancel = getattr(task, "uncancel", None)
    if uncancel is not None:
        uncancel()


async def dispose(driver: Driver, held: HeldAsync) -> None:
    """Close a client, or let go of it if its state is not known."""
    if held.broken or held.pid != os.getpid():
        abandon(driver, held)
    elif driver.given is None:
        client, held.client = held.client, None
        try:
            closing = driver.close(client)
            if inspect.isawaitable(closing):
                await within(driver, held, CLOSING, closing)
        except (asyncio.CancelledError, GeneratorExit):  # this loop ends in the middle of it
            let_go(driver, client, abandon=True)
            raise
        except Exception as error:
            if from_outside(driver, error):
                raise


def abandon(driver: Driver, held: HeldAsync | None) -> None:
    """Let go of a client without a word to the server. Harmless when repeated."""
    if held is not None and held.client is not None and driver.given is None:
        client, held.client = held.client, None
        if held.pid == os.getpid():
            let_go(driver, client, abandon=True)
        else:
            inherited.append(client)


async def close_at_end_of_loop(
    driver: Driver, heres: dict[asyncio.AbstractEventLoop, OnLoop], here: OnLoop
) -> AsyncGenerator[None, None]:
    """Close the client of a loop when this generator is closed, as the end of a loop does with all that have begun."""
    try:
        yield
    finally:
        if heres.get(here.loop) is here:
            del heres[here.loop]
        held, here.held = here.held, None
        _left.pop(here, None)
        if held is not None:
            await dispose(driver, held)


_left: dict[OnLoop, Driver] = {}
"""What belongs to stores that were dropped while the loop ran, until their clients are closed or the loop is."""


def let_go_of_all(driver: Driver, heres: dict[asyncio.AbstractEventLoop, OnLoop]) -> None:
    """Let go of what a runner has left that was dropped, or is still there at the end of the process."""
    for loop, here in list(heres.items()):
        heres.pop(loop, None)
        if here.held is not None and loop.is_running():
            _left[here] = driver
            with contextlib.suppress(RuntimeError):  # it is closed by now
                loop.call_soon_threadsafe(_close_left, driver, here)
        else:
            here.let_go(driver)
    let_go_of_left()


def _close_left(driver: Driver, here: OnLoop) -> None:
    """Have the client closed, on its loop."""
    here.closing = _closed(driver, here)
    task = here.loop.create_task(here.closing)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # if the loop stops before, it is let go of


async def _closed(driver: Driver, here: OnLoop) -> None:
    held, here.held = here.held, None
    try:
        if held is not None:
            await dispose(driver, held)
    finally:
        _left.pop(here, None)
        here.end_guard()


def let_go_of_left(*, end: bool = False) -> None:
    """Let go of the clients whose loops were closed; at the end of the process of all whose loops do not run."""
    for here, driver in list(_left.items()):
        if here.loop.is_closed() or (end and not here.loop.is_running()):
            _left.pop(here, None)
            here.let_go(driver)


class _LeftByParent:
    """In a child, what is left is the parent's."""

    def _renew(self) -> None:
        inherited.append(dict(_left))
        _left.clear()


_left_by_parent = _LeftByParent()
renew_in_child(_left_by_parent)
atexit.register(let_go_of_left, end=True)
