"""A process of the laboratory: ``work`` writes until killed, ``python writer.py JOB`` reads everything back.

A writer talks in lines of JSON: ``ready``, ``try`` (an item, before it is written), ``done`` (it was
acknowledged), ``error`` (the store raised one of its typed errors; the writer writes the item again, or goes on with
the next one where a repetition would count twice), ``struck`` (what the process was ordered to do to itself is done),
``fatal`` (anything else).
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from orders import Interrupted, Interrupts, descriptors_used_up, fork_in_the_middle
from telling import talk_to, tell
from work import WORKLOADS, Item, Workload

from praisonai_persistence.errors import (
    BackendError,
    CollectionNotFoundError,
    ConnectionFailedError,
    PersistenceError,
    SessionNotFoundError,
)
from praisonai_persistence.testing._facade import awaitable, drive
from praisonai_persistence.testing.spec import StoreSpec

PAUSE = 0.004
"""Longest pause between two items: an agent thinks between two turns, and others get their time."""
PATIENCE = 0.05
"""Pause after an error."""


class Crew:
    """What the writers of a process have in common.

    Args:
        job: see [work][].
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.spec = StoreSpec.from_json(job["spec"])
        self.mode: str = job["mode"]
        self.workload: Workload = WORKLOADS[self.spec.kind]()
        self.interrupts = Interrupts()
        self.vanishes: bool = job["vanishes"]
        self.name: str = job["name"]
        self.store: Any = None
        # Where what stands may vanish, a store may also say that what it had made is not there.
        self.told: tuple[type[Exception], ...] = (
            (PersistenceError,) if self.vanishes else (BackendError, ConnectionFailedError)
        )
        self.sleep = asyncio.sleep if self.mode == "async" else _pause

    def obey(self, orders: Connection) -> None:
        """Do what is ordered, until the process ends."""
        try:
            for number in itertools.count():
                order = orders.recv()
                name = f"{self.name}{order[0]}{number}"
                if order == "interrupt":
                    self.interrupts.order()
                    continue
                if order == "fork":
                    fork_in_the_middle(self.workload, self.store, self.mode, name)
                else:
                    descriptors_used_up(self.spec, self.workload, self.mode, name)
                tell({"struck": 1})
        except BaseException:
            tell({"fatal": traceback.format_exc(), "writer": None})
            os._exit(1)

    async def prepare(self) -> None:
        """Make what all need."""
        while True:
            try:
                await self.workload.prepare(self.store)
                await self.store.connect()
            except self.told as error:
                tell({"error": f"{type(error).__name__}: {error}", "writer": None})
                await self.sleep(PATIENCE)
            else:
                return


class Writer:
    """One thread, or one task."""

    def __init__(self, crew: Crew, seat: dict[str, Any]) -> None:
        self.crew = crew
        self.name: str = seat["writer"]
        self.next: int = seat["next"]
        self.left: Item | None = seat["left"]

    async def work(self) -> None:
        if self.left is not None:
            await self.write(self.left)
        while True:
            item = self.crew.workload.item(self.name, self.next)
            self.next += 1
            repeatable = self.crew.workload.repeatable(item)
            tell({"try": item, "repeatable": repeatable, "writer": self.name})
            await self.write(item)
            await self.crew.sleep(random.uniform(0.0, PAUSE))

    async def write(self, item: Item) -> None:
        workload, store = self.crew.workload, self.crew.store
        while True:
            try:
                answer = await self.crew.interrupts.call(workload, store, item, self.crew.mode)
            except Interrupted:
                # Half of them go on: what the interrupted call does later stands behind what was written since.
                if not workload.repeatable(item) or random.random() < 0.5:
                    return
            except self.crew.told as error:
                tell({"error": f"{type(error).__name__}: {error}", "writer": self.name})
                await self.crew.sleep(PATIENCE)
                if isinstance(error, (SessionNotFoundError, CollectionNotFoundError)):
                    with contextlib.suppress(*self.crew.told):  # it is tried again
                        await workload.make_again(store, item)
                if not workload.repeatable(item):
                    return
            else:
                tell({"done": answer, "writer": self.name})
                return


async def _pause(seconds: float) -> None:
    time.sleep(seconds)


def work(job: dict[str, Any], pipe: Connection, orders: Connection) -> None:
    """Write until killed.

    Args:
        job: the ``spec`` of the store, the ``mode`` to take, the ``name`` of the process, whether what stands may have
            vanished (``vanishes``), and for each writer a seat: its name, the number of its next item, and the item
            that its predecessor left undone.
        pipe: to the laboratory.
        orders: from the laboratory.
    """
    talk_to(pipe)
    faulthandler.register(signal.SIGUSR1)
    try:
        crew = Crew(job)
        write = _write_in_tasks if crew.mode == "async" else _write_in_threads
        write(crew, [Writer(crew, seat) for seat in job["seats"]], orders)
    except BaseException:
        tell({"fatal": traceback.format_exc(), "writer": None})
        raise SystemExit(1) from None


def _ready(crew: Crew, orders: Connection) -> None:
    tell({"ready": os.getpid()})
    threading.Thread(target=crew.obey, args=(orders,), daemon=True).start()


def _write_in_threads(crew: Crew, writers: list[Writer], orders: Connection) -> None:
    crew.store = awaitable(crew.spec.open_sync())
    drive(crew.prepare())
    _ready(crew, orders)
    threads = [threading.Thread(target=_guarded, args=(writer,)) for writer in writers]
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


def _write_in_tasks(crew: Crew, writers: list[Writer], orders: Connection) -> None:
    async def write() -> None:
        crew.store = crew.spec.open_async()
        await crew.prepare()
        _ready(crew, orders)
        await asyncio.gather(*(writer.work() for writer in writers))

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
