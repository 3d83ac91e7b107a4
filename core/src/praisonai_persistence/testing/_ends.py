"""Ends of a process with a store that nobody closed: ``python -m praisonai_persistence.testing._ends``.

The only line on standard input is the job as JSON: the spec, one for a place that cannot be reached (or None), and
which end. The process then ends by itself, and whatever it prints on standard error is a fault. Imports no pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import uuid
import warnings
from typing import TYPE_CHECKING, Any

from praisonai_persistence.bridge import as_async, as_sync
from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.testing._facade import awaitable, drive
from praisonai_persistence.testing._lifecycle_work import work_on
from praisonai_persistence.testing.spec import StoreSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from praisonai_persistence.testing._forks import Start

__all__ = ["ENDS", "USUAL", "found_at_the_ends"]

_MODULE = "praisonai_persistence.testing._ends"
_TIME = 60.0
"""Seconds until a process that has not ended counts as one that hangs."""
_FAILED = "the connection failed"
_AT_WORK = 4
"""How many threads or tasks are in the middle of calls."""

_kept: list[Any] = []
"""What lives until the interpreter takes its modules apart."""


def _keep(store: Any) -> Any:
    """Keep a store to the very end, in a cycle too, as applications do."""
    around = [store]
    around.append(around)
    _kept.append(around)
    return awaitable(store)


async def _use(store: Any, kind: str) -> None:
    work = work_on(kind)
    await work.prepare(store)
    await work.batch(store, uuid.uuid4().hex)  # other processes write there, too
    await work.known(store)


# -------------------------------------------------------------------------------------------------------- sync stores


def _left_open(spec: StoreSpec, _: StoreSpec | None) -> None:
    drive(_use(_keep(spec.open("sync")), spec.kind))


def _dropped(spec: StoreSpec, _: StoreSpec | None) -> None:
    for _turn in range(2):
        drive(_use(awaitable(spec.open("sync")), spec.kind))
        gc.collect()


def _threads_at_work(spec: StoreSpec, _: StoreSpec | None) -> None:
    store, work = _keep(spec.open("sync")), work_on(spec.kind)
    drive(work.prepare(store))
    begun = threading.Semaphore(0)

    def body() -> None:
        with contextlib.suppress(PersistenceError):  # no call is begun any more at the end of a process
            while True:
                drive(work.known(store))
                begun.release()

    for _worker in range(_AT_WORK):
        threading.Thread(target=body, daemon=True).start()
    for _call in range(5 * _AT_WORK):
        begun.acquire()


def _threaded(spec: StoreSpec, _: StoreSpec | None) -> None:
    asyncio.run(_use(_keep(as_async(spec.open("sync"))), spec.kind))


def _failed(_: StoreSpec, unreachable: StoreSpec | None) -> None:
    assert unreachable is not None
    store, work = _keep(unreachable.open("sync")), work_on(unreachable.kind)
    for call in (store.connect, lambda: work.known(store)):
        with contextlib.suppress(PersistenceError):
            drive(call())


# ------------------------------------------------------------------------------------------------------- async stores


def _on_a_loop(body: Coroutine[Any, Any, None]) -> None:
    """Run a body without what ``asyncio.run`` does at its end: the loop is only closed."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(body)
    loop.close()


def _async_left_open(spec: StoreSpec, _: StoreSpec | None) -> None:
    asyncio.run(_use(_keep(spec.open("async")), spec.kind))


def _loop_closed(spec: StoreSpec, _: StoreSpec | None) -> None:
    store = _keep(spec.open("async"))
    for _turn in range(2):
        _on_a_loop(_use(store, spec.kind))
        gc.collect()


def _async_dropped(spec: StoreSpec, _: StoreSpec | None) -> None:
    async def body() -> None:
        for _turn in range(2):
            await _use(spec.open("async"), spec.kind)
            gc.collect()

    asyncio.run(body())
    _on_a_loop(_use(spec.open("async"), spec.kind))
    gc.collect()


def _tasks_at_work(spec: StoreSpec, _: StoreSpec | None) -> None:
    store, work = _keep(spec.open("async")), work_on(spec.kind)

    async def forever(begun: asyncio.Semaphore) -> None:
        while True:
            await work.known(store)
            begun.release()
            await asyncio.sleep(0)  # a store in memory never waits

    async def body() -> None:
        await work.prepare(store)
        begun = asyncio.Semaphore(0)
        _kept.append([asyncio.ensure_future(forever(begun)) for _ in range(_AT_WORK)])
        for _call in range(5 * _AT_WORK):
            await begun.acquire()

    asyncio.run(body())


def _bridged(spec: StoreSpec, _: StoreSpec | None) -> None:
    drive(_use(_keep(as_sync(spec.open("async"))), spec.kind))


def _async_failed(_: StoreSpec, unreachable: StoreSpec | None) -> None:
    assert unreachable is not None
    store, work = _keep(unreachable.open("async")), work_on(unreachable.kind)

    async def cancelled() -> None:
        for steps in range(12):
            one = unreachable.open("async")
            tasks = [asyncio.ensure_future(call) for call in (one.connect(), work.known(one))]
            for _step in range(steps):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()

    async def body() -> None:
        await asyncio.gather(*[work.known(store) for _ in range(_AT_WORK)], return_exceptions=True)
        await cancelled()

    asyncio.run(body())
    _on_a_loop(cancelled())
    gc.collect()


ENDS: dict[str, dict[str, Callable[[StoreSpec, StoreSpec | None], None]]] = {
    "sync": {
        "left open": _left_open,
        "dropped": _dropped,
        "threads at work": _threads_at_work,
        "left open behind as_async": _threaded,
        _FAILED: _failed,
    },
    "async": {
        "left open": _async_left_open,
        "its loop closed": _loop_closed,
        "dropped": _async_dropped,
        "tasks at work": _tasks_at_work,
        "left open behind as_sync": _bridged,
        _FAILED: _async_failed,
    },
}
"""Mode, then what was done with the store before the end of the process, then what does it."""
USUAL = ("left open", "its loop closed", "dropped")
"""The ends that every run tries."""


def found_at_the_ends(
    start: Start, spec: StoreSpec, unreachable: StoreSpec | None, mode: str, ends: Sequence[str]
) -> list[str]:
    """End a process in each of these ways; all at the same time, where the store can be shared by processes.

    Args:
        start: starts a process.
        spec: the store.
        unreachable: one whose place cannot be reached, where there is such a thing.
        mode: of the store.
        ends: those of ``ENDS`` to try; what a mode does not have is left out.

    Returns:
        A text for each that printed something on standard error, failed, or did not end.
    """
    together = "shared" in spec.open(mode).capabilities
    found: list[str] = []
    processes: list[_Process] = []
    try:
        for end in ends:
            if end not in ENDS[mode] or (unreachable is None and end == _FAILED):
                continue
            processes.append(_Process(start, spec, unreachable, mode, end))
            if not together:
                found += processes.pop().end()
        while processes:
            found += processes.pop(0).end()
    finally:
        for process in processes:
            process.end(0.0)
    return found


class _Process:
    """A process that comes to one of the ends."""

    def __init__(self, start: Start, spec: StoreSpec, unreachable: StoreSpec | None, mode: str, end: str) -> None:
        self._end = end
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed in end()
        self._process = start(_MODULE, self._errors)
        job = {"spec": spec.to_json(), "unreachable": unreachable and unreachable.to_json(), "mode": mode, "end": end}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        with self._process.stdin as orders:
            orders.write(json.dumps({**job, "path": sys.path}).encode() + b"\n")

    def end(self, seconds: float = _TIME) -> list[str]:
        """Wait for the end; return a text if there is something wrong with it."""
        wrong = ""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
            wrong = f"the process has not ended after {seconds:.0f} seconds"
        with self._errors as errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if not wrong and (said or code):
            wrong = f"exit status {code}"
        return [f"{self._end}: {wrong}, printed:\n{said}"] if wrong else []


def main() -> None:
    """Come to one of the ends."""
    job = json.loads(sys.stdin.readline())
    sys.path[:] = job["path"]
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    warnings.simplefilter("always", ResourceWarning)
    warnings.simplefilter("ignore", UserWarning)  # what a driver thinks of its arguments (a key without TLS)
    unreachable = StoreSpec.from_json(job["unreachable"]) if job["unreachable"] else None
    ENDS[job["mode"]][job["end"]](StoreSpec.from_json(job["spec"]), unreachable)


if __name__ == "__main__":
    main()
