"""The laboratory: processes that write, faults that strike them, and what was told beside what is there."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, ClassVar

import writer
from work import FINDINGS, Tried

from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["Crew", "Fault", "Lab", "Outcome", "Process", "experiment"]

WRITER = Path(writer.__file__)
PATIENCE = 90.0
"""Seconds that the writers may take to go on after a fault, before the experiment fails."""
PAUSE = 0.1
"""The longest time between the moment when everybody writes and the fault."""

_children = multiprocessing.get_context("forkserver")
# Drivers of which nothing runs after their import: a process that is started again has them at once. (Others start
# threads, which a fork would leave behind.)
_children.set_forkserver_preload(
    ["writer", "asyncpg", "chromadb", "lance_namespace", "numpy", "psycopg", "pydantic", "qdrant_client", "redis"]
)


@dataclass
class Outcome:
    """What an experiment found.

    Attributes:
        trials: how often the fault struck.
        counts: ``FINDINGS``, and ``tried``, ``acknowledged``, ``found`` (items; things), ``errors`` (typed ones, that
            writers were told and went on after), ``unsure`` (items that nobody acknowledged).
        seconds: how long it took.
    """

    trials: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: Outcome) -> None:
        """Add what another experiment found."""
        self.trials += other.trials
        self.counts.update(other.counts)
        self.seconds += other.seconds

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or torn."""
        return not any(self.counts[name] for name in FINDINGS)


class Process:
    """One process with a few writers, who live on when it is killed and started anew."""

    def __init__(
        self, spec: StoreSpec, mode: str, name: str, names: list[str], heard: threading.Condition, *, vanishes: bool
    ) -> None:
        self.spec = spec
        self.mode = mode
        self.name = name
        self.names = names
        self.vanishes = vanishes
        self.tries: dict[str, list[Tried]] = {name: [] for name in names}
        self.errors: Counter[str | None] = Counter()
        self.answers: Counter[str | None] = Counter()
        self.struck = 0
        self.lives = 0
        self.last_error = "none"
        self.fatal: list[str] = []
        self.silent = False
        self._heard = heard
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        """Begin the next life, with what the last one left undone."""
        seats = []
        for name in self.names:
            tries, left = self.tries[name], None
            if tries and tries[-1]["answer"] is None and tries[-1]["repeatable"]:
                left = tries[-1]["item"]
            seats.append({"writer": name, "next": len(tries), "left": left})
        self.lives += 1
        job = {
            "spec": self.spec.to_json(),
            "mode": self.mode,
            "name": f"{self.name}l{self.lives}",
            "vanishes": self.vanishes,
            "seats": seats,
        }
        self.silent = False
        pipe, theirs = _children.Pipe(duplex=False)
        hears, self._orders = _children.Pipe(duplex=False)
        self._process = _children.Process(target=writer.work, args=(job, theirs, hears), daemon=True)
        self._process.start()
        theirs.close()
        hears.close()
        self._thread = threading.Thread(target=self._listen, args=(pipe,), daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def pause(self) -> None:
        """Send SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self._signal(signal.SIGCONT)

    def tell_where(self) -> None:
        """Have it print to stderr what each of its threads does."""
        self._signal(signal.SIGUSR1)
        time.sleep(1.0)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def order(self, name: str) -> None:
        """Have the process do something to itself; see ``orders``."""
        self._orders.send(name)

    def bury(self) -> None:
        """Hear the rest of what the killed process told."""
        if self._process is None:
            return
        self._process.join()
        self._thread.join()
        self._orders.close()
        code = self._process.exitcode
        self._process.close()
        self._process = None
        if code is None or code >= 0:  # it ended by itself, and nothing but a mistake makes it do so
            self.fatal.append(f"the writers ended with {code}")

    def _listen(self, pipe: Connection) -> None:
        with pipe, open(pipe.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # it was killed here
                    break
                with self._heard:
                    self._take(json.loads(line))
                    self._heard.notify_all()
        with self._heard:
            self.silent = True
            self._heard.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "try" in message:
            item, writer = message["try"], message["writer"]
            told = {"item": item, "repeatable": message["repeatable"], "answer": None, "writer": writer}
            self.tries.setdefault(writer, []).append({**item, **told, "at": message["at"], "told": None})
        elif "done" in message:
            self.tries[message["writer"]][-1].update(answer=message["done"], told=message["at"])
            self.answers[message["writer"]] += 1
        elif "error" in message:
            self.errors[message["writer"]] += 1
            self.last_error = message["error"]
            if message["writer"] is not None:  # it is tried again now
                self.tries[message["writer"]][-1]["at"] = message["at"]
        elif "struck" in message:
            self.struck += message["struck"]
        elif "fatal" in message:
            self.fatal.append(message["fatal"])


class Crew:
    """All processes of an experiment.

    Args:
        spec: what they write to.
        processes: how many.
        writers: threads or tasks in each; every second process is async, where the backend is.
        vanishes: whether what stands may vanish under them.
    """

    def __init__(self, spec: StoreSpec, processes: int, writers: int, *, vanishes: bool = False) -> None:
        self._heard = threading.Condition()
        modes = [mode for mode in ("sync", "async") if spec.has(mode)]
        self.processes = [
            Process(
                spec,
                modes[number % len(modes)],
                f"p{number}",
                [f"p{number}w{writer}" for writer in range(writers)],
                self._heard,
                vanishes=vanishes,
            )
            for number in range(processes)
        ]

    def start(self) -> None:
        """Start everybody."""
        for process in self.processes:
            process.start()

    def wait_for_answers(self) -> None:
        """Wait until the store has acknowledged something more to every writer: nobody is stuck."""
        self._wait(lambda process: [process.answers[name] for name in process.names], "has written nothing")

    def wait_for_errors(self, *, every_writer: bool = False, seconds: float = PATIENCE) -> None:
        """Wait until every process, or every writer, was told one error more."""

        def count(process: Process) -> list[int]:
            each = [process.errors[name] for name in process.names]
            return each if every_writer else [sum(each) + process.errors[None]]

        self._wait(count, "was told no error", seconds=seconds)

    def wait_for_news(self, processes: list[Process] | None = None) -> None:
        """Wait until every writer, of all processes or of some, was told that something is done, or an error."""

        def count(process: Process) -> list[int]:
            return [process.answers[name] + process.errors[name] for name in process.names]

        self._wait(count, "was told nothing", processes=processes)

    def order(self, name: str) -> int:
        """Have every process do something to itself, and wait until it is done; return how often it was."""
        before = sum(process.struck for process in self.processes)

        def order() -> None:
            for process in self.processes:
                process.order(name)

        self._wait(lambda process: [process.struck], f"has not ended {name!r}", first=order)
        return sum(process.struck for process in self.processes) - before

    def _wait(
        self,
        count: Callable[[Process], list[int]],
        complaint: str,
        *,
        processes: list[Process] | None = None,
        seconds: float = PATIENCE,
        first: Callable[[], None] | None = None,
    ) -> None:
        """Wait until each count of each process has risen."""
        processes = self.processes if processes is None else processes
        with self._heard:
            marks = [count(process) for process in processes]
            if first is not None:
                first()

            def late() -> list[Process]:
                return [
                    process
                    for process, mark in zip(processes, marks, strict=True)
                    if any(now <= before for now, before in zip(count(process), mark, strict=True))
                ]

            def settled() -> bool:
                return not late() or any(process.fatal or process.silent for process in self.processes)

            if not self._heard.wait_for(settled, seconds):
                slow = late()[0]
                who = ", ".join(slow.names)
                slow.tell_where()
                told = sum(slow.errors.values())
                raise AssertionError(
                    f"one of {who} {complaint} in {seconds:.0f} seconds; they were told {told} errors, "
                    f"the last: {slow.last_error}"
                )
        for process in self.processes:
            if process.silent:
                process.bury()
        self.check()

    def check(self) -> None:
        """Fail if a writer met something that it must not meet."""
        for process in self.processes:
            assert not process.fatal, process.fatal[0]

    def kill(self, chosen: list[Process] | None = None) -> None:
        """Kill processes, all at the same moment, and hear the rest of what they told."""
        chosen = self.processes if chosen is None else chosen
        for process in chosen:
            process.kill()
        for process in chosen:
            process.bury()

    @property
    def tries(self) -> list[Tried]:
        """All that was told, each writer's in its order."""
        return [tried for process in self.processes for tries in process.tries.values() for tried in tries]

    @property
    def errors(self) -> int:
        """How many typed errors writers were told."""
        return sum(sum(process.errors.values()) for process in self.processes)


@dataclass
class Lab:
    """What faults can get hold of.

    Attributes:
        crew: the writers.
        spec: of a store that looks, with the usual deadlines.
        folder: where an embedded store keeps its files; on a small file system of its own for faults of the disk.
        engine: the server, with ``kill``, ``start`` and ``restart``, or None.
        proxy: between the writers and the server, or None.
        forgets: whether a server that is killed has nothing left.
        backed_up: when a backup was made, in seconds of ``time.monotonic``; 0 where there is none.
        gone_since: when what stood began to go.
        stands_since: from when on all that is acknowledged has to be there at the end.
    """

    crew: Crew
    spec: StoreSpec
    folder: Path | None = None
    engine: Any = None
    proxy: Any = None
    forgets: bool = False
    backed_up: float = 0.0
    gone_since: float = 0.0
    stands_since: float = 0.0

    def settle(self) -> None:
        """Open the store and close it again, so that everything is where it stays."""
        with self.spec.open_sync() as store:
            store.connect()

    def stands(self, tried: Tried) -> bool | None:
        """Whether what was acknowledged has to be there (True), must not be (False), or may be (None)."""
        told = tried["told"]
        if tried["at"] >= self.stands_since or (told is not None and told <= self.backed_up):
            return True
        return False if told is not None and told < self.gone_since and tried["at"] > self.backed_up else None


# -------------------------------------------------------------------------------------------------------------- faults


class Fault(ABC):
    """Something that goes wrong, and is put right again."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What has to be there: ``process``, ``engine``, ``proxy``, ``path`` or ``disk``."""
    impatient: ClassVar[bool] = False
    """Whether the stores get short deadlines."""
    decides_what_stands: ClassVar[bool] = False
    """Whether it takes away what stands: then what was told is compared with what is there after each strike."""

    def decides(self, forgets: bool) -> bool:
        """See ``decides_what_stands``; so does one that strikes a server which ``forgets``."""
        return self.decides_what_stands or (forgets and self.needs == "engine")

    def prepare(self, lab: Lab) -> None:
        """Do what has to be done once, when everybody writes and nothing has happened yet."""
        return

    @abstractmethod
    def strike(self, lab: Lab) -> int:
        """Let it happen and put it right; return how many trials that was."""


# --------------------------------------------------------------------------------------------------------- experiments


def experiment(lab: Lab, fault: Fault, trials: int, folder: Path) -> Outcome:
    """Let a fault strike until there were ``trials`` of it, then compare what was told with what is there.

    Between two faults every process has its writes acknowledged again: by the same store object where the process
    lived on.

    Args:
        lab: with a crew that is not started.
        fault: what strikes.
        trials: how often, at least.
        folder: for the journal.

    Raises:
        AssertionError: writers did not go on after a fault, or met an error that is not of the taxonomy.
    """
    outcome = Outcome()
    began = time.monotonic()
    crew = lab.crew
    try:
        crew.start()
        fault.prepare(lab)
        while outcome.trials < trials:
            crew.wait_for_answers()
            time.sleep(random.uniform(0.0, PAUSE))  # the moment is to be any
            outcome.trials += fault.strike(lab)
            _progress(fault.name, outcome.trials, trials)
        if fault.decides(lab.forgets):  # a store may also refuse for good
            for _ in range(3):
                crew.wait_for_news()
        else:
            crew.wait_for_answers()
    finally:
        crew.kill()
    crew.check()
    tries = [{**tried, "stands": lab.stands(tried)} for tried in crew.tries]
    journal = folder / "journal.json"
    journal.write_text(json.dumps(tries), encoding="utf-8")
    job = {"spec": lab.spec.to_json(), "journal": str(journal)}
    checked = subprocess.run(
        [sys.executable, str(WRITER), json.dumps(job)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr[-3000:]
    outcome.counts.update(json.loads(checked.stdout))
    outcome.counts["tried"] = len(tries)
    outcome.counts["acknowledged"] = sum(tried["answer"] is not None for tried in tries)
    outcome.counts["unsure"] = len(tries) - outcome.counts["acknowledged"]
    outcome.counts["errors"] = crew.errors
    outcome.seconds = time.monotonic() - began
    return outcome


def _progress(name: str, count: int, trials: int) -> None:
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        end = "\n" if count >= trials else ""
        print(f"\r{name}: {count} of {trials}", end=end, file=sys.__stderr__, flush=True)
