"""What a process of the laboratory does to itself when it is ordered to: interrupts, forks, descriptors used up."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import random
import resource
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from telling import tell
from work import Item, Workload

from praisonai_persistence.errors import PersistenceError, UnsupportedOperationError
from praisonai_persistence.testing._facade import awaitable, drive
from praisonai_persistence.testing._places import Watched, visit
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Interrupted", "Interrupts", "descriptors_used_up", "fork_in_the_middle"]

LIMIT = 30.0
"""Seconds within which a cancelled call, the child of a fork, or a store that has its descriptors back has to end."""
_PIECES = 3
"""How many items the child of a fork writes."""


class SoftLimitError(Exception):
    """What a framework raises into a call that takes too long."""


class StopNow(BaseException):
    """What ends a program."""


class Interrupted(Exception):
    """The call was interrupted, and its caller got the exception that was raised into it, unchanged."""


class Interrupts:
    """Interrupts as many calls of the process as were ordered, each once."""

    def __init__(self) -> None:
        self._ordered = threading.Semaphore(0)
        self._places = {True: 0, False: 0}
        self._lost: list[Any] = []
        sys.unraisablehook = lambda unraisable: self._lost.append(unraisable.exc_value)

    def order(self) -> None:
        """Have one call interrupted."""
        self._ordered.release()

    async def call(self, workload: Workload, store: Any, item: Item, mode: str) -> Any:
        """Write an item, and perhaps interrupt that.

        Raises:
            Interrupted: the call was interrupted; it is done or not done.
            AssertionError: it was interrupted, and its caller was told something else.
        """
        if not self._ordered.acquire(blocking=False):
            return await workload.write(store, item)
        struck = False
        try:
            if mode == "async":
                return await self._cancel(workload.write(store, item))
            return self._raise_into(lambda: drive(workload.write(store, item)), store)
        except Interrupted:
            struck = True
            tell({"struck": 1})
            raise
        finally:
            if not struck:  # it ended before: it is another one's turn
                self._ordered.release()

    async def _cancel(self, write: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(write)
        if random.random() < 0.5:
            for _ in range(random.randint(0, 20)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(random.uniform(0.0, 0.01))
        cancelled = task.cancel()
        await asyncio.wait({task}, timeout=LIMIT)
        assert task.done(), f"a cancelled call has not ended after {LIMIT:.0f} seconds"
        if task.cancelled():
            raise Interrupted
        if not cancelled or task.exception() is not None:  # it ended before, or failed by itself
            return task.result()
        raise AssertionError("a cancelled call returned, and its caller did not hear of the cancellation")

    def _raise_into(self, call: Callable[[], Any], store: Any) -> Any:
        drivers = random.random() < 0.3
        # In a driver's frames an ``except Exception`` is its own affair: there only what ends a program is raised.
        exception = StopNow() if drivers or random.random() < 0.5 else SoftLimitError()

        def act() -> None:
            raise exception

        number = random.randint(1, self._places[drivers]) if self._places[drivers] else None
        found = visit(call, Watched(store.raw, drivers=drivers), number, act)
        if found.where is None:
            self._places[drivers] = found.places
        if found.error is exception:
            raise Interrupted
        if found.where is not None and exception not in self._lost:
            became = "a result" if found.error is None else repr(found.error)
            raise AssertionError(f"the exception raised at {found.where} did not reach the caller; {became} did")
        if found.error is not None:
            raise found.error
        return found.result


@contextlib.contextmanager
def _runner(mode: str) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Give what runs a coroutine of a store of that mode; an event loop has all that it needs from now on."""
    if mode == "sync":
        yield drive
        return
    loop = asyncio.new_event_loop()
    try:
        yield loop.run_until_complete
    finally:
        loop.close()


async def _write(workload: Workload, store: Any, writer: str, number: int) -> str:
    """Write one item, and return the error that was told, or nothing."""
    item = workload.item(writer, number)
    tell({"try": item, "repeatable": workload.repeatable(item), "writer": writer})
    return await _again(workload, store, item, writer)


async def _again(workload: Workload, store: Any, item: Item, writer: str) -> str:
    try:
        answer = await workload.write(store, item)
    except PersistenceError as error:
        tell({"error": f"{type(error).__name__}: {error}", "writer": writer})
        return type(error).__name__
    tell({"done": answer, "writer": writer})
    return ""


# --------------------------------------------------------------------------------------------------------------- forks


def fork_in_the_middle(workload: Workload, store: Any, mode: str, name: str) -> None:
    """Fork, and have the child write some items through the store that this process uses; wait until it has ended.

    Raises:
        AssertionError: the child hung, or failed by anything but a typed error.
    """
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        code = 1
        try:
            with _runner(mode) as run:
                run(_child(workload, store, name))
            code = 0
        except BaseException as error:
            tell({"fatal": f"the child of a fork: {type(error).__name__}: {error}", "writer": None})
        finally:
            os._exit(code)
    end = time.monotonic() + LIMIT + 5
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            raise AssertionError("the child of a fork hung")
        time.sleep(0.005)
    code = os.waitstatus_to_exitcode(status)
    assert not code, f"the child of a fork ended with {code}; -11 is a crash, 1 a hang or another error"


async def _child(workload: Workload, store: Any, name: str) -> None:
    number = 0
    while number < _PIECES:
        item = workload.item(name, number)
        tell({"try": item, "repeatable": workload.repeatable(item), "writer": name})
        number += 1
        while error := await _again(workload, store, item, name):
            if error == UnsupportedOperationError.__name__:  # declared: the message says how to start processes
                return
            if not workload.repeatable(item):
                break
            time.sleep(0.05)
    if random.random() < 0.5:  # else it just ends
        await store.close()


# --------------------------------------------------------------------------------------------------------- descriptors


def descriptors_used_up(spec: StoreSpec, workload: Workload, mode: str, name: str) -> None:
    """Leave nothing to open a file or a connection with, for a moment, in which a new store is used, too.

    Raises:
        AssertionError: the new store did not work when descriptors were back.
    """
    with _runner(mode) as run:
        store = awaitable(spec.open(mode))
        try:
            with _nothing_to_open():
                run(_write(workload, store, name, 0))
                time.sleep(random.uniform(0.0, 0.1))
            end = time.monotonic() + LIMIT
            number = 1
            while error := run(_write(workload, store, name, number)):
                assert time.monotonic() < end, f"{LIMIT:.0f} seconds after descriptors were back: {error}"
                number += 1
        finally:
            run(store.close())


@contextlib.contextmanager
def _nothing_to_open() -> Iterator[None]:
    """Take all descriptors that the process may have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(int(one) for one in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(highest + 1, limits[0]), limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for one in taken:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
