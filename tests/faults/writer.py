"""A process of the laboratory: ``work`` writes until killed, ``python writer.py JOB`` reads everything back.

A writer talks in lines of JSON: ``ready``, ``try`` (an item, before it is written), ``done`` (it was
acknowledged), ``error`` (the store raised one of its typed errors; the writer writes the item again, or goes on with
the next one where a repetition would count twice), ``fatal`` (anything else).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from work import WORKLOADS, Item, Workload

from praisonai_persistence.errors import BackendError, ConnectionFailedError
from praisonai_persistence.testing._facade import awaitable, drive
from praisonai_persistence.testing.spec import StoreSpec

PAUSE = 0.004
"""Longest pause between two items: an agent thinks between two turns, and others get their time."""
PATIENCE = 0.05
"""Pause after an error."""


def tell(message: dict[str, Any]) -> None:
    """Send a line to the laboratory, at once and in one piece."""
    data = json.dumps(message).encode("ascii") + b"\n"
    with _telling:
        while data:
            data = data[os.write(_pipe.fileno(), data) :]


_telling = threading.Lock()
_pipe: Connection


class Writer:
    """One thread, or one task."""

    def __init__(self, workload: Workload, store: Any, seat: dict[str, Any], sleep: Any) -> None:
        self.workload = workload
        self.store = store
        self.name: str = seat["writer"]
        self.next: int = seat["next"]
        self.left: Item | None = seat["left"]
        self.sleep = sleep

    async def work(self) -> None:
        if self.left is not None:
            await self.write(self.left)
        while True:
            item = self.workload.item(self.name, self.next)
            self.next += 1
            repeatable = self.workload.repeatable(item)
            tell({"try": item, "repeatable": repeatable, "writer": self.name})
            await self.write(item)
            await self.sleep(random.uniform(0.0, PAUSE))

    async def write(self, item: Item) -> None:
        while True:
            try:
                answer = await self.workload.write(self.store, item)
            except (BackendError, ConnectionFailedError) as error:
                tell({"error": f"{type(error).__name__}: {error}", "writer": self.name})
                await self.sleep(PATIENCE)
                if not self.workload.repeatable(item):
                    return
            else:
                tell({"done": answer, "writer": self.name})
                return


async def _prepare(workload: Workload, store: Any, sleep: Any) -> None:
    while True:
        try:
            await workload.prepare(store)
            await store.connect()
        except (BackendError, ConnectionFailedError) as error:
            tell({"error": f"{type(error).__name__}: {error}", "writer": None})
            await sleep(PATIENCE)
        else:
            return


async def _pause(seconds: float) -> None:
    time.sleep(seconds)


def work(job: dict[str, Any], pipe: Connection) -> None:
    """Write until killed.

    Args:
        job: the ``spec`` of the store, the ``mode`` to take, and for each writer a seat: its name, the number of its
            next item, and the item that its predecessor left undone.
        pipe: to the laboratory.
    """
    global _pipe
    _pipe = pipe
    try:
        spec = StoreSpec.from_json(job["spec"])
        write = _write_in_tasks if job["mode"] == "async" else _write_in_threads
        write(job["seats"], spec, WORKLOADS[spec.kind]())
    except BaseException:
        tell({"fatal": traceback.format_exc(), "writer": None})
        raise SystemExit(1) from None


def _write_in_threads(seats: list[dict[str, Any]], spec: StoreSpec, workload: Workload) -> None:
    store = awaitable(spec.open_sync())
    drive(_prepare(workload, store, _pause))
    tell({"ready": os.getpid()})
    threads = [threading.Thread(target=_guarded, args=(Writer(workload, store, seat, _pause),)) for seat in seats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _guarded(writer: Writer) -> None:
    try:
        drive(writer.work())
    except BaseException:
        tell({"fatal": traceback.format_exc(), "writer": writer.name})
        os._exit(1)


def _write_in_tasks(seats: list[dict[str, Any]], spec: StoreSpec, workload: Workload) -> None:
    async def write() -> None:
        store = spec.open_async()
        await _prepare(workload, store, asyncio.sleep)
        tell({"ready": os.getpid()})
        await asyncio.gather(*(Writer(workload, store, seat, asyncio.sleep).work() for seat in seats))

    asyncio.run(write())


def _check(job: dict[str, Any]) -> None:
    spec = StoreSpec.from_json(job["spec"])
    tries = json.loads(Path(job["journal"]).read_text(encoding="utf-8"))

    async def check(store: Any) -> Any:
        try:
            return await WORKLOADS[spec.kind]().check(store, tries)
        finally:
            await store.close()

    print(json.dumps(drive(check(awaitable(spec.open_sync())))))


if __name__ == "__main__":
    _check(json.loads(sys.argv[1]))
