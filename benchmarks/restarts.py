"""Restarts a database server under eight writers and looks for anything that was lost, doubled, or left out.

    python benchmarks/restarts.py [--engine postgres|mariadb] [--mode sync|async] [--seconds 30] [--restarts 3]

Without `--engine` and `--mode`: both engines, threads with the sync store and tasks with the async one. Half of the
writers share a session, the others have one each. A writer appends messages with known ids, every tenth time a batch of
three, and notes what was acknowledged; the server ends and comes back in equal intervals meanwhile. Then another store
reads everything back:

* lost: an acknowledged message is missing, or has another number than was acknowledged;
* doubled: an id stands twice in its session;
* gaps: a session is not numbered 1 to n, though nothing was deleted;
* torn: a part of a batch is there without the rest;
* failed: a writer got an error, though the restarts were within its `retry` time.

Servers are found as for the integration tests; only those that were started for it are restarted. Exits with 1 if there
is any of it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from measuring import servers

from praisonai_persistence import ConversationMessage, ConversationSession, create_conversation_store

engines = servers()

_WRITERS, _SHARED = 8, "shared"
_PATIENCE = 60.0
"""Seconds that a server may take to come back, and so that a store goes on trying."""
_BACKENDS = {"postgres": "postgres", "mariadb": "mysql"}  # by engine
_OPTIONS = {"retry_timeout": _PATIENCE, "max_size": _WRITERS}
_FAULTS = ("lost", "doubled", "gaps", "torn", "failed")


@dataclass
class Writer:
    """What one writer wrote.

    Attributes:
        number: 0 to 7.
        acknowledged: seq by id.
        batches: ids of each batch that was begun.
        slowest: seconds of the longest call.
        failed: the error that ended it.
    """

    number: int
    acknowledged: dict[str, int] = field(default_factory=dict)
    batches: list[list[str]] = field(default_factory=list)
    slowest: float = 0.0
    failed: BaseException | None = None

    @property
    def session(self) -> str:
        """Where it writes."""
        return _SHARED if self.number % 2 else f"own-{self.number}"

    def next(self) -> list[ConversationMessage]:
        """Return what to append next: one message, or three."""
        begun = len(self.acknowledged)
        count = 3 if begun % 10 == 9 else 1
        ids = [f"{self.number}-{begun + index}" for index in range(count)]
        if count > 1:
            self.batches.append(ids)
        return [ConversationMessage(id=name, role="user", content=f"content of {name}") for name in ids]

    def note(self, stored: list[ConversationMessage], start: float) -> None:
        """Keep what was acknowledged, and how long it took."""
        self.acknowledged.update((message.id, message.seq) for message in stored)
        self.slowest = max(self.slowest, time.monotonic() - start)


def in_threads(store: Any, writers: list[Writer], disturb: Callable[[], None]) -> None:
    """Write with threads until ``disturb`` has returned."""
    done = threading.Event()

    def write(writer: Writer) -> None:
        while not done.is_set():
            messages, start = writer.next(), time.monotonic()
            if len(messages) == 1:
                writer.note([store.add_message(writer.session, messages[0])], start)
            else:
                writer.note(store.add_messages(writer.session, messages), start)

    with ThreadPoolExecutor(len(writers)) as pool:
        jobs = [pool.submit(write, writer) for writer in writers]
        try:
            disturb()
        finally:
            done.set()
    for writer, job in zip(writers, jobs, strict=True):
        writer.failed = job.exception()


async def in_tasks(store: Any, writers: list[Writer], disturb: Callable[[], None]) -> None:
    """Write with tasks until ``disturb`` has returned."""
    done = asyncio.Event()

    async def write(writer: Writer) -> None:
        while not done.is_set():
            messages, start = writer.next(), time.monotonic()
            if len(messages) == 1:
                writer.note([await store.add_message(writer.session, messages[0])], start)
            else:
                writer.note(await store.add_messages(writer.session, messages), start)

    jobs = [asyncio.create_task(write(writer)) for writer in writers]
    try:
        await asyncio.to_thread(disturb)
    finally:
        done.set()
        results = await asyncio.gather(*jobs, return_exceptions=True)
    for writer, result in zip(writers, results, strict=True):
        writer.failed = result if isinstance(result, BaseException) else None


def opened(name: str, url: str, mode: str, **options: Any) -> Any:
    """Return a store of that mode."""
    return create_conversation_store(name, url, mode="async" if mode == "async" else "sync", **options)


def check(store: Any, writers: list[Writer]) -> Counter[str]:
    """Read everything back and count the faults."""
    faults: Counter[str] = Counter()
    for session in sorted({writer.session for writer in writers}):
        messages = store.get_messages(session)
        numbers = {message.id: message.seq for message in messages}
        faults["doubled"] += len(messages) - len(numbers)
        faults["gaps"] += [message.seq for message in messages] != list(range(1, len(messages) + 1))
        for writer in writers:
            if writer.session == session:
                faults["lost"] += sum(numbers.get(name) != seq for name, seq in writer.acknowledged.items())
                faults["torn"] += sum(len(numbers.keys() & set(batch)) not in {0, 3} for batch in writer.batches)
    faults["failed"] = sum(writer.failed is not None for writer in writers)
    return faults


def run(engine: Any, mode: str, seconds: float, restarts: int) -> Counter[str]:
    """Do it once and print a line."""
    name = _BACKENDS[engine.name]
    downtime: list[float] = []

    def disturb() -> None:
        start = time.monotonic()
        for number in range(1, restarts + 1):
            time.sleep(max(0.0, start + number * seconds / (restarts + 1) - time.monotonic()))
            began = time.monotonic()
            engine.restart()
            downtime.append(time.monotonic() - began)
        time.sleep(max(0.0, start + seconds - time.monotonic()))

    with engine.prefix() as prefix:
        options = {"table_prefix": prefix, **_OPTIONS}
        writers = [Writer(number) for number in range(_WRITERS)]
        with opened(name, engine.url, "sync", **options) as store:
            for session in {writer.session for writer in writers}:
                store.create_session(ConversationSession(session))
            if mode == "sync":
                in_threads(store, writers, disturb)
        if mode == "async":
            asyncio.run(_async(name, engine.url, options, writers, disturb))
        with opened(name, engine.url, "sync", table_prefix=prefix) as store:
            faults = check(store, writers)
    acknowledged = sum(len(writer.acknowledged) for writer in writers)
    print(
        f"{engine.name} ({engine.version.partition(' (')[0]}), {mode}: "
        f"{acknowledged:,} acknowledged in {seconds:g} s, "
        f"{len(downtime)} restarts of {', '.join(f'{away:.1f}' for away in downtime)} s, "
        f"slowest call {max(writer.slowest for writer in writers):.1f} s; "
        + ", ".join(f"{faults[fault]} {fault}" for fault in _FAULTS),
        flush=True,
    )
    for writer in writers:
        if writer.failed is not None:
            print(f"  writer {writer.number}: {type(writer.failed).__name__}: {writer.failed}")
    return faults


async def _async(
    name: str, url: str, options: dict[str, Any], writers: list[Writer], disturb: Callable[[], None]
) -> None:
    async with opened(name, url, "async", **options) as store:
        await in_tasks(store, writers, disturb)


def main() -> int:
    """Run what was asked for; 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(_BACKENDS), action="append")
    parser.add_argument("--mode", choices=["sync", "async"], action="append")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--restarts", type=int, default=3)
    arguments = parser.parse_args()
    total: Counter[str] = Counter()
    try:
        for name in arguments.engine or _BACKENDS:
            engine = engines.engine(name)
            if not engine.restartable:
                parser.error(f"the {name} server of the environment's URL is not ours to restart")
            for mode in arguments.mode or ["sync", "async"]:
                total += run(engine, mode, arguments.seconds, arguments.restarts)
    finally:
        engines.shut_down()
    return 1 if total.total() else 0


if __name__ == "__main__":
    sys.exit(main())
