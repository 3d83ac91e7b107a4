"""The laboratory: processes that write, faults that strike them, and what was told beside what is there."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO, Any, ClassVar

import writer
from work import FINDINGS, Tried

from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["FAULTS", "Crew", "Fault", "Lab", "Outcome", "experiment"]

WRITER = Path(writer.__file__)
PATIENCE = 180.0
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

    @property
    def clean(self) -> bool:
        """Whether nothing was lost, doubled or torn."""
        return not any(self.counts[name] for name in FINDINGS)


class Process:
    """One process with a few writers, who live on when it is killed and started anew."""

    def __init__(self, spec: StoreSpec, mode: str, names: list[str], heard: threading.Condition) -> None:
        self.spec = spec
        self.mode = mode
        self.names = names
        self.tries: dict[str, list[Tried]] = {name: [] for name in names}
        self.errors = 0
        self.answers = 0
        self.last_error = "none"
        self.fatal: list[str] = []
        self.silent = False
        self._heard = heard
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        """Begin the next life, with what the last one left undone."""
        seats = []
        for name, tries in self.tries.items():
            left = None
            if tries and tries[-1]["answer"] is None and tries[-1]["repeatable"]:
                left = tries[-1]["item"]
            seats.append({"writer": name, "next": len(tries), "left": left})
        job = {"spec": self.spec.to_json(), "mode": self.mode, "seats": seats}
        self.silent = False
        pipe, theirs = _children.Pipe(duplex=False)
        self._process = _children.Process(target=writer.work, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._thread = threading.Thread(target=self._listen, args=(pipe,), daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._process is not None:
            self._process.kill()

    def bury(self) -> None:
        """Hear the rest of what the killed process told."""
        if self._process is None:
            return
        self._process.join()
        self._thread.join()
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
            self.tries[writer].append({**item, **told})
        elif "done" in message:
            self.tries[message["writer"]][-1]["answer"] = message["done"]
            self.answers += 1
        elif "error" in message:
            self.errors += 1
            self.last_error = message["error"]
        elif "fatal" in message:
            self.fatal.append(message["fatal"])


class Crew:
    """All processes of an experiment.

    Args:
        spec: what they write to.
        processes: how many.
        writers: threads or tasks in each; every second process is async, where the backend is.
    """

    def __init__(self, spec: StoreSpec, processes: int, writers: int) -> None:
        self._heard = threading.Condition()
        modes = [mode for mode in ("sync", "async") if spec.has(mode)]
        self.processes = [
            Process(
                spec,
                modes[number % len(modes)],
                [f"p{number}w{writer}" for writer in range(writers)],
                self._heard,
            )
            for number in range(processes)
        ]

    def start(self) -> None:
        """Start everybody."""
        for process in self.processes:
            process.start()

    def wait_for_answers(self) -> None:
        """Wait until the store has acknowledged something more to every process."""
        self._wait(lambda process: process.answers, "has written nothing")

    def wait_for_errors(self) -> None:
        """Wait until every process was told one error more."""
        self._wait(lambda process: process.errors, "was told no error")

    def _wait(self, count: Callable[[Process], int], complaint: str) -> None:
        with self._heard:
            marks = [count(process) for process in self.processes]

            def late() -> list[Process]:
                return [process for process, mark in zip(self.processes, marks, strict=True) if count(process) <= mark]

            def settled() -> bool:
                return not late() or any(process.fatal or process.silent for process in self.processes)

            if not self._heard.wait_for(settled, PATIENCE):
                first = late()[0]
                who = ", ".join(first.names)
                raise AssertionError(
                    f"the process of {who} {complaint} in {PATIENCE:.0f} seconds; it was told {first.errors} errors, "
                    f"the last: {first.last_error}"
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
        return sum(process.errors for process in self.processes)


@dataclass
class Lab:
    """What faults can get hold of.

    Attributes:
        crew: the writers.
        folder: where an embedded store keeps its files; on a small file system of its own for faults of the disk.
        engine: the server, with ``kill``, ``start`` and ``restart``, or None.
        proxy: between the writers and the server, or None.
    """

    crew: Crew
    folder: Path | None = None
    engine: Any = None
    proxy: Any = None


# -------------------------------------------------------------------------------------------------------------- faults


class Fault(ABC):
    """Something that goes wrong, and is put right again."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What has to be there: ``process``, ``engine``, ``proxy`` or ``disk``."""

    @abstractmethod
    def strike(self, lab: Lab) -> int:
        """Let it happen and put it right; return how many trials that was."""


class Kill(Fault):
    """SIGKILL of a process, now and then of all of them."""

    name = "SIGKILL of the writers"
    needs = "process"

    def strike(self, lab: Lab) -> int:
        processes = lab.crew.processes
        chosen = processes if random.random() < 0.1 else [random.choice(processes)]
        lab.crew.kill(chosen)
        lab.crew.check()
        for process in chosen:
            process.start()
        return len(chosen)


class KillServer(Fault):
    """SIGKILL of the server, which is started again."""

    name = "SIGKILL of the server"
    needs = "engine"

    def strike(self, lab: Lab) -> int:
        lab.engine.kill()
        lab.engine.start()
        return 1


class RestartServer(Fault):
    """An orderly restart of the server."""

    name = "restart of the server"
    needs = "engine"

    def strike(self, lab: Lab) -> int:
        lab.engine.restart()
        return 1


class Drop(Fault):
    """Every connection is closed."""

    name = "connections closed"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.drop()
        return 1


class Reset(Fault):
    """Every connection is reset."""

    name = "connections reset"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.reset()
        return 1


class Delay(Fault):
    """The network stands still for a moment."""

    name = "network stands still"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.hold()
        time.sleep(random.uniform(0.02, 0.2))
        lab.proxy.release()
        return 1


class LoseAnswer(Fault):
    """The server did it, and its answer never arrives."""

    name = "answer lost after the commit"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        return int(lab.proxy.lose_answer(10.0))


class DiskFull(Fault):
    """No space is left, for as long as it takes every process to be told."""

    name = "disk full"
    needs = "disk"

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        _make_room(lab.folder.parent)
        ballast = lab.folder.parent / "ballast"
        with ballast.open("wb") as file:
            self._fill(file, lab.folder)
            try:
                lab.crew.wait_for_errors()
            finally:
                ballast.unlink()
        return 1

    @staticmethod
    def _fill(file: IO[bytes], folder: Path) -> None:
        """Take all that is free, in pieces, because the writers take some of it meanwhile."""
        size, piece = 0, 1 << 24
        while True:
            state = os.statvfs(folder)
            piece = min(piece, state.f_bavail * state.f_frsize)
            if not piece:
                return
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError:  # somebody else was faster
                piece = max(piece // 2, state.f_frsize)


class ReadOnly(Fault):
    """The file system may not be written when the processes start, until every one was told so."""

    name = "files read-only"
    needs = "disk"

    def strike(self, lab: Lab) -> int:
        assert lab.folder is not None
        _make_room(lab.folder.parent)
        lab.crew.kill()
        lab.crew.check()
        _remount(lab.folder.parent, "ro")
        try:
            for process in lab.crew.processes:
                process.start()
            lab.crew.wait_for_errors()
        finally:
            _remount(lab.folder.parent, "rw")
        return 1


def _make_room(place: Path) -> None:
    """Let a small file system grow that the data alone have half filled: it is to be full when the fault strikes."""
    state = os.statvfs(place)
    used = state.f_blocks - state.f_bfree
    if used > state.f_blocks // 2:
        _remount(place, f"size={(used + state.f_blocks) * state.f_frsize}")


def _remount(place: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(place)], check=True, capture_output=True)


FAULTS: dict[str, type[Fault]] = {
    fault.name: fault for fault in (Kill, KillServer, RestartServer, Drop, Reset, Delay, LoseAnswer, DiskFull, ReadOnly)
}


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[None]:
    """Mount a small file system at a folder; needs the rights of root, and raises ``OSError`` without them."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise OSError(f"no file system can be mounted here: {getattr(error, 'stderr', error)}") from error
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


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
        while outcome.trials < trials:
            crew.wait_for_answers()
            time.sleep(random.uniform(0.0, PAUSE))  # the moment is to be any
            outcome.trials += fault.strike(lab)
            _progress(fault.name, outcome.trials, trials)
        crew.wait_for_answers()
    finally:
        crew.kill()
    crew.check()
    tries = crew.tries
    journal = folder / "journal.json"
    journal.write_text(json.dumps(tries), encoding="utf-8")
    job = {"spec": crew.processes[0].spec.to_json(), "journal": str(journal)}
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
