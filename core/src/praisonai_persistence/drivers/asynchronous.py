"""The runner of drivers with an async client."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import weakref
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.drivers._async_clients import (
    CLOSING,
    HeldAsync,
    OnLoop,
    abandon,
    close_at_end_of_loop,
    dispose,
    let_go_of_all,
    let_go_of_left,
    within,
)
from praisonai_persistence.drivers.background import Background
from praisonai_persistence.drivers.driver import (
    GRACE,
    Deadline,
    check_attributes,
    check_exists,
    from_outside,
    is_loaded,
    load,
    ours,
)
from praisonai_persistence.drivers.shared import inherited
from praisonai_persistence.errors import (
    BackendError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.steps import Pause, is_write, run_async
from praisonai_persistence.stores.runners import AsyncRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from praisonai_persistence.drivers.driver import Driver
    from praisonai_persistence.steps import Steps

__all__ = ["AsyncDriverRunner"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOK = 0.05
"""Seconds between two looks whether another loop is still there."""


class AsyncDriverRunner(AsyncRunner):
    """Runs operations on the async client of a [Driver][]; each event loop has a client of its own.

    A call is a task of its own. A caller that is cancelled waits for its end, for ``timeout`` seconds or 10 at the
    most; then the call is called off and its client abandoned (L04). A call that still waits for a client is called off
    at once. Each request has ``timeout`` seconds (L05).

    Args:
        driver: says how to open the client, and what its errors mean.
    """

    def __init__(self, driver: Driver) -> None:
        check_attributes(driver)
        self._driver = driver
        self._closed = False
        self._forked = False
        self._grace = min(driver.timeout, GRACE)
        self._fresh()
        renew_in_child(self)

    def _fresh(self) -> None:
        self._heres: dict[asyncio.AbstractEventLoop, OnLoop] = {}
        self._at_end = weakref.finalize(self, let_go_of_all, self._driver, self._heres)

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

        async def call(here: OnLoop) -> T:
            return await self._attempts(here, operation, *args, **kwargs)

        return await self._begin(call)

    # ----------------------------------------------------------------------------------------------------------- calls

    async def _begin(self, call: Callable[[OnLoop], Coroutine[Any, Any, T]]) -> T:
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

    async def _call_off(self, here: OnLoop, task: asyncio.Task[Any]) -> None:
        """Wait for the end of a call whose caller was cancelled; for how long is limited."""
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)  # it may not have begun
        for seconds in (0.0 if task in here.connecting else self._grace, CLOSING):
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

    def _here(self) -> OnLoop:
        loop = asyncio.get_running_loop()
        here = self._heres.get(loop)
        if here is None:
            if self._forked and self._driver.forks != "reopen":
                raise UnsupportedOperationError(
                    f"{self._driver.where} does not survive a fork: start processes with 'spawn', or open the store in "
                    f"the child only"
                )
            let_go_of_left()
            for other, its in list(self._heres.items()):
                if other.is_closed():  # what belongs to it cannot be closed any more, only let go of
                    self._heres.pop(other, None)
                    its.let_go(self._driver)
            here = self._heres[loop] = OnLoop(loop)
        return here

    async def _guarded(self, here: OnLoop) -> None:
        """Have the client closed when the loop ends: ``asyncio.run`` shuts its asynchronous generators down then."""
        if here.guard is None:
            here.guard = close_at_end_of_loop(self._driver, self._heres, here)
            await here.guard.asend(None)  # does not wait

    async def _attempts(self, here: OnLoop, operation: Callable[P, Steps[T]], *args: Any, **kwargs: Any) -> T:
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
                    abandon(self._driver, held)

    def _repeats(self, error: PersistenceError, write: bool) -> bool:
        try:
            return bool(self._driver.repeats(error, write=write))
        except Exception as failed:
            raise ours(self._driver, failed, "repeats()") from failed

    async def _operate(
        self, here: OnLoop, held: HeldAsync, write: bool, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any
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
                            answer = await within(driver, held, driver.timeout, answer)
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

    async def _connected(self, here: OnLoop) -> HeldAsync:
        held = here.held
        if held is not None and not held.broken:
            return held
        task = asyncio.current_task()
        here.connecting.add(task)
        try:
            return await self._reconnected(here)
        finally:
            here.connecting.discard(task)

    async def _reconnected(self, here: OnLoop) -> HeldAsync:
        arrived = here.attempts
        async with here.opening:
            if self._closed:
                raise StoreClosedError("this store is closed")
            held = here.held
            if held is not None and held.broken:
                here.held, held.ended = None, True
                if not held.uses:  # else its last user does it
                    abandon(self._driver, held)
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

    async def _open(self, here: OnLoop) -> HeldAsync:
        driver, held = self._driver, HeldAsync()
        check_exists(driver)
        if driver.given is not None:
            held.client = driver.given
        else:
            await _load(driver)
            try:
                client = driver.open(Deadline(driver.connect_timeout, driver.where))
                if inspect.isawaitable(client):
                    client = await within(driver, held, driver.connect_timeout, client)
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
            await dispose(self._driver, held)
            if from_outside(driver, error):
                raise
            raise ours(driver, error, "probe()") from error
        if probe is not None:
            try:
                await within(driver, held, driver.connect_timeout, self._operate(here, held, True, lambda: probe))
            except BaseException:
                await dispose(self._driver, held)
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
                its.let_go(self._driver)
            else:
                await self._end_there(its)

    async def _end_there(self, here: OnLoop) -> None:
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
        here.let_go(self._driver)

    async def _end(self, here: OnLoop) -> None:
        own = asyncio.current_task()
        while calls := [task for task in here.calls if task is not own]:
            await asyncio.wait(calls)
        self._heres.pop(here.loop, None)
        held, here.held = here.held, None
        if held is not None:
            await dispose(self._driver, held)
        here.end_guard()


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
    Background(work).start()
    await asyncio.wrap_future(job)
