"""The runner of drivers with an async client."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import threading
import weakref
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.drivers.driver import GRACE, Deadline, check_exists, from_outside, is_loaded, load, ours
from praisonai_persistence.drivers.shared import inherited, let_go
from praisonai_persistence.errors import (
    BackendError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Pause, is_write, run_async
from praisonai_persistence.stores.runners import AsyncRunner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from praisonai_persistence.drivers.driver import Driver
    from praisonai_persistence.steps import Steps

__all__ = ["AsyncDriverRunner"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOK = 0.05
"""Seconds between two looks whether another loop is still there."""
_FAREWELL = 5.0
"""Seconds at the most to close a client in, and to wait for a call that was called off."""


class _Held:
    """An open client.

    Attributes:
        client: the driver's.
        uses: how many operations are at work on it.
        broken: a request was not answered in time, or called off: its state is not known.
        ended: no operation begins on it any more.
    """

    def __init__(self, client: Any = None) -> None:
        self.client = client
        self.uses = 0
        self.broken = self.ended = False


class _Here:
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
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.held: _Held | None = None
        self.calls: set[asyncio.Task[Any]] = set()
        self.connecting: set[asyncio.Task[Any] | None] = set()
        self.opening = asyncio.Lock()
        self.turn = asyncio.Lock()
        self.attempts = 0
        self.failure: tuple[int, PersistenceError] | None = None
        self.guard: AsyncGenerator[None, None] | None = None


class AsyncDriverRunner(AsyncRunner):
    """Runs operations on the async client of a [Driver][]; each event loop has a client of its own.

    A call is a task of its own. A caller that is cancelled waits for its end, for ``timeout`` seconds or 10 at the
    most; then the call is called off and its client abandoned (L04). A call that still waits for a client is called off
    at once. Each request has ``timeout`` seconds (L05).

    Args:
        driver: says how to open the client, and what its errors mean.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._closed = False
        self._forked = False
        self._grace = min(driver.timeout, GRACE)
        self._fresh()
        renew_in_child(self)

    def _fresh(self) -> None:
        self._heres: dict[asyncio.AbstractEventLoop, _Here] = {}
        self._at_end = weakref.finalize(self, _let_go_of_all, self._driver, self._heres)

    def _renew(self) -> None:
        self._at_end.detach()
        heres = self._heres
        self._fresh()
        inherited.append(heres)
        self._forked = self._forked or any(here.held is not None for here in heres.values())

    @property
    def driver(self) -> Driver:
        """What the runner was made with."""
        return self._driver

    def expect_existing(self) -> None:
        """See [Runner.expect_existing][]."""
        self._driver.must_exist = True

    async def connect(self) -> None:
        """See [Runner.connect][]."""
        await self._begin(self._connected)

    async def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""

        async def call(here: _Here) -> T:
            return await self._attempts(here, operation, *args, **kwargs)

        return await self._begin(call)

    # ----------------------------------------------------------------------------------------------------------- calls

    async def _begin(self, call: Callable[[_Here], Coroutine[Any, Any, T]]) -> T:
        if self._closed:
            raise StoreClosedError("this store is closed")
        here = self._here()
        task = here.loop.create_task(call(here))
        here.calls.add(task)
        task.add_done_callback(here.calls.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                await self._call_off(here, task)
            elif not task.cancelled():
                task.exception()  # so that nobody complains that it was not looked at
            raise

    async def _call_off(self, here: _Here, task: asyncio.Task[Any]) -> None:
        """Wait for the end of a call whose caller was cancelled; for how long is limited."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # it may not have begun
        for seconds in (0.0 if task in here.connecting else self._grace, _FAREWELL):
            end = here.loop.time() + seconds
            while not task.done() and here.loop.time() < end:
                try:
                    await asyncio.wait([task], timeout=end - here.loop.time())
                except asyncio.CancelledError:
                    continue
            if task.done():
                if not task.cancelled():
                    task.exception()
                return
            if here.held is not None and task not in here.connecting:
                here.held.broken = True
            task.cancel()

    def _here(self) -> _Here:
        loop = asyncio.get_running_loop()
        here = self._heres.get(loop)
        if here is None:
            if self._forked and self._driver.forks == "refuse":
                raise UnsupportedOperationError(
                    f"{self._driver.where} does not survive a fork: start processes with 'spawn', or open the store in "
                    f"the child only"
                )
            _let_go_of_left()
            for other, its in list(self._heres.items()):
                if other.is_closed():  # what belongs to it cannot be closed any more, only let go of
                    self._heres.pop(other, None)
                    _abandon(self._driver, its.held)
            here = self._heres[loop] = _Here(loop)
        return here

    async def _guarded(self, here: _Here) -> None:
        """Have the client closed when the loop's asynchronous generators are shut down, as ``asyncio.run`` does."""
        if here.guard is None:
            here.guard = _until_the_end(self._driver, self._heres, here)
            await here.guard.asend(None)  # does not wait

    async def _attempts(self, here: _Here, operation: Callable[P, Steps[T]], *args: Any, **kwargs: Any) -> T:
        write = is_write(operation)
        turns = self._driver.turns
        repeated = False
        while True:
            held = await self._connected(here)
            held.uses += 1
            try:
                if turns == "none" or (turns == "writes" and not write):
                    return await self._operate(here, held, write, operation, *args, **kwargs)
                async with here.turn:
                    return await self._operate(here, held, write, operation, *args, **kwargs)
            except PersistenceError as error:
                if repeated or not self._repeats(error, write):
                    raise
                repeated = True
            finally:
                held.uses -= 1
                if held.ended and not held.uses:
                    _abandon(self._driver, held)

    def _repeats(self, error: PersistenceError, write: bool) -> bool:
        try:
            return bool(self._driver.repeats(error, write=write))
        except Exception as failed:
            raise ours(self._driver, failed, "repeats()") from failed

    async def _operate(
        self, here: _Here, held: _Held, write: bool, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any
    ) -> T:
        driver, hook = self._driver, "begin()"
        try:
            async with AsyncExitStack() as stack:
                context: Any = driver.begin(held.client, write=write)
                if hasattr(context, "__aenter__"):
                    on = await stack.enter_async_context(context)
                else:
                    on = stack.enter_context(context)
                hook = ""

                async def ask(request: Any) -> Any:
                    if type(request) is Pause:
                        return await asyncio.sleep(request.seconds)
                    try:
                        answer = driver.perform(on, request)
                        if inspect.isawaitable(answer):
                            answer = await _within(driver, held, driver.timeout, answer)
                    except PersistenceError:
                        raise
                    except Exception as error:
                        if from_outside(driver, error):
                            raise
                        raise ours(driver, error) from error
                    return answer

                return await run_async(operation(*args, **kwargs), ask)
        except PersistenceError:
            raise
        except Exception as error:
            if from_outside(driver, error):
                held.broken = True
                raise
            raise ours(driver, error, hook) from error

    # ------------------------------------------------------------------------------------------------------ connecting

    async def _connected(self, here: _Here) -> _Held:
        held = here.held
        if held is not None and not held.broken:
            return held
        task = asyncio.current_task()
        here.connecting.add(task)
        try:
            return await self._reconnected(here)
        finally:
            here.connecting.discard(task)

    async def _reconnected(self, here: _Here) -> _Held:
        arrived = here.attempts
        async with here.opening:
            if self._closed:
                raise StoreClosedError("this store is closed")
            held = here.held
            if held is not None and held.broken:
                here.held, held.ended = None, True
                if not held.uses:  # else its last user does it
                    _abandon(self._driver, held)
            if here.held is None:
                if here.failure is not None and here.failure[0] > arrived:
                    # Somebody has tried since, in vain: the next in the queue does not wait for as long again.
                    raise type(here.failure[1])(*here.failure[1].args) from here.failure[1].__cause__
                here.attempts = attempt = here.attempts + 1
                await self._guarded(here)
                try:
                    here.held = await self._open(here)
                except PersistenceError as error:
                    here.failure = attempt, error
                    raise
                here.failure = None
            return here.held

    async def _open(self, here: _Here) -> _Held:
        driver, held = self._driver, _Held()
        check_exists(driver)
        if driver.given is not None:
            held.client = driver.given
        else:
            await _load(driver)
            try:
                client = driver.open(Deadline(driver.connect_timeout, driver.where))
                if inspect.isawaitable(client):
                    client = await _within(driver, held, driver.connect_timeout, client)
            except PersistenceError:
                raise
            except Exception as error:
                if from_outside(driver, error):
                    raise
                raise ours(driver, error, "open()") from error
            if client is None:
                raise BackendError(f"open() of {type(driver).__name__} returned None instead of a client")
            held.client = client
        here.connecting.discard(asyncio.current_task())
        try:
            probe = driver.probe()
            if probe is not None:
                iter(probe)
        except Exception as error:
            await _dispose(self._driver, held)
            if from_outside(driver, error):
                raise
            raise ours(driver, error, "probe()") from error
        if probe is not None:
            try:
                await _within(driver, held, driver.connect_timeout, self._operate(here, held, True, lambda: probe))
            except BaseException:
                await _dispose(self._driver, held)
                raise
        return held

    # --------------------------------------------------------------------------------------------------------- closing

    async def close(self) -> None:
        """See [Runner.close][]."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, its in list(self._heres.items()):
            if loop is here:
                await self._end(its)
            elif loop.is_closed() or not loop.is_running():
                self._heres.pop(loop, None)
                _abandon(self._driver, its.held)
            else:
                await self._end_there(its)

    async def _end_there(self, here: _Here) -> None:
        """End what belongs to another loop, which does it; or let go of it when that loop stops meanwhile."""
        own, ended, ending = asyncio.get_running_loop(), asyncio.Event(), self._end(here)

        def start() -> None:
            task = here.loop.create_task(ending)
            task.add_done_callback(lambda _: own.call_soon_threadsafe(ended.set))
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # if the loop stops, that is seen below

        try:
            here.loop.call_soon_threadsafe(start)
            while not ended.is_set() and not here.loop.is_closed():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(ended.wait(), _LOOK)
        except RuntimeError:  # it is closed by now
            pass
        if here.loop.is_closed():
            ending.close()
        self._heres.pop(here.loop, None)
        _abandon(self._driver, here.held)

    async def _end(self, here: _Here) -> None:
        own = asyncio.current_task()
        while calls := [task for task in here.calls if task is not own]:
            await asyncio.wait(calls)
        self._heres.pop(here.loop, None)
        held, here.held = here.held, None
        if held is not None:
            await _dispose(self._driver, held)
        if here.guard is not None:
            await here.guard.aclose()


# What has to work without the runner, which may have been dropped.


async def _load(driver: Driver) -> None:
    """Import what a driver needs, on a thread of its own.

    Raises:
        BackendNotInstalledError: it is not installed.
    """
    if is_loaded(driver):
        return
    job: Future[None] = Future()

    def work() -> None:
        try:
            job.set_result(load(driver))  # type: ignore[func-returns-value]
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            job.set_exception(error)

    job.set_running_or_notify_cancel()  # an import that has begun goes on when the caller is cancelled
    try:
        threading.Thread(target=work, name="praisonai-persistence-import").start()
    except RuntimeError:  # the interpreter is shutting down
        work()
    await asyncio.wrap_future(job)


async def _within(driver: Driver, held: _Held, seconds: float, answer: Any) -> Any:
    """Await an answer of the client, for so long at the most, and as long again, up to 5 seconds, for what ends it."""
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
        alarm = loop.call_later(min(seconds, _FAREWELL), stop)

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


async def _dispose(driver: Driver, held: _Held) -> None:
    """Close a client, or let go of it if its state is not known."""
    if held.broken:
        _abandon(driver, held)
    elif driver.given is None:
        client, held.client = held.client, None
        try:
            closing = driver.close(client)
            if inspect.isawaitable(closing):
                await _within(driver, held, _FAREWELL, closing)
        except (asyncio.CancelledError, GeneratorExit):  # this loop ends in the middle of it
            let_go(driver, client, abandon=True)
            raise
        except Exception as error:
            if from_outside(driver, error):
                raise


def _abandon(driver: Driver, held: _Held | None) -> None:
    if held is not None and held.client is not None and driver.given is None:
        client, held.client = held.client, None
        let_go(driver, client, abandon=True)


async def _until_the_end(
    driver: Driver, heres: dict[asyncio.AbstractEventLoop, _Here], here: _Here
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if heres.get(here.loop) is here:
            del heres[here.loop]
        held, here.held = here.held, None
        if held is not None:
            try:
                await _dispose(driver, held)
            finally:
                _left.pop(held, None)


_left: dict[_Held, tuple[Driver, asyncio.AbstractEventLoop]] = {}
"""Clients of stores that were dropped while the loop ran. Their guards close them, unless the loop stops before."""


def _let_go_of_all(driver: Driver, heres: dict[asyncio.AbstractEventLoop, _Here]) -> None:
    """Let go of what a runner has left that was dropped, or is still there at the end of the process."""
    for loop, here in list(heres.items()):
        heres.pop(loop, None)
        if not loop.is_running():
            held, here.held = here.held, None
            _abandon(driver, held)
        elif here.held is not None:
            _left[here.held] = driver, loop
    _let_go_of_left()


def _let_go_of_left(*, end: bool = False) -> None:
    """Let go of the clients whose loops were closed; at the end of the process of all whose loops do not run."""
    for held, (driver, loop) in list(_left.items()):
        if loop.is_closed() or (end and not loop.is_running()):
            _left.pop(held, None)
            _abandon(driver, held)


class _LeftByParent:
    """In a child, what is left is the parent's."""

    def _renew(self) -> None:
        inherited.append(dict(_left))
        _left.clear()


_left_by_parent = _LeftByParent()
renew_in_child(_left_by_parent)
atexit.register(_let_go_of_left, end=True)


def _uncancel(task: asyncio.Task[Any] | None) -> None:
    """Take back a cancellation that was ours (Python 3.11 counts them)."""
    uncancel = getattr(task, "uncancel", None)
    if uncancel is not None:
        uncancel()
