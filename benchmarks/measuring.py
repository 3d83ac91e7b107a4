"""What every benchmark here needs: interleaved rounds, medians, the table, and facts about the running machine."""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "Options",
    "Report",
    "clock",
    "connections_to",
    "interleaved",
    "machine",
    "median",
    "pragmas",
    "servers",
    "times_as_fast",
]

clock = time.perf_counter


def servers() -> Any:
    """Return the servers of the integration tests: ``engine(name)`` finds or starts one, ``shut_down()`` ends all."""
    folder = str(Path(__file__).resolve().parent.parent / "tests" / "integration")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module("engines")


median = statistics.median


@dataclass(frozen=True)
class Options:
    """What a workload is given.

    Attributes:
        folder: an empty directory of its own, removed afterwards.
        rounds: how often everything is measured, five or more.
        quick: do less in each round.
    """

    folder: Path
    rounds: int
    quick: bool


def interleaved(
    rounds: int,
    programs: Mapping[str, Callable[[], float]],
    blocks: int = 1,
    figure: Callable[[Sequence[float]], float] = median,
) -> dict[str, list[float]]:
    """Run programs in turns, so that whatever else the machine does meets all of them alike.

    Args:
        rounds: how many figures each program gets.
        programs: each does one block of its work and returns the seconds it took.
        blocks: how many blocks make a round.
        figure: makes the figure of a round of those of its blocks.

    Returns:
        Seconds a block, one figure for each round.
    """
    figures: dict[str, list[float]] = {name: [] for name in programs}
    names = list(programs)
    for _ in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(blocks):
            for name in names:
                taken[name].append(programs[name]())
            names.append(names.pop(0))  # nobody always comes first, or always after the same other
        for name, seconds in taken.items():
            figures[name].append(figure(seconds))
    return figures


# -------------------------------------------------------------------------------------------------------------- report


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        workload: the section.
        what: what was measured.
        unit: of ``ours`` and ``bare``.
        ours: this project; the median of the rounds.
        bare: what it is compared with; None where there is nothing.
        ratio: ours / bare, the median of the rounds' ratios.
        low: the smallest ratio of a round.
        high: the largest.
        target: what ``judged`` has to be, or the empty text: for information.
        met: whether it is; None for information.
    """

    workload: str
    what: str
    unit: str
    ours: float | None = None
    bare: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str = ""
    met: bool | None = None


@dataclass
class Report:
    """Collects lines, and prints each section when it is complete."""

    lines: list[Line] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def compare(
        self,
        workload: str,
        what: str,
        unit: str,
        ours: Sequence[float],
        bare: Sequence[float],
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a comparison of figures that were measured in the same rounds; a target is one of the ratio."""
        ratios = [a / b for a, b in zip(ours, bare, strict=True)]
        ratio = median(ratios)
        target, met = _judge(ratio, at_least, at_most)
        self.lines.append(
            Line(workload, what, unit, median(ours), median(bare), ratio, min(ratios), max(ratios), target, met)
        )

    def state(
        self,
        workload: str,
        what: str,
        unit: str,
        ours: float,
        *,
        bare: float | None = None,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Add a figure; a target is one of the figure itself."""
        target, met = _judge(ours, at_least, at_most)
        self.lines.append(Line(workload, what, unit, ours, bare, target=target, met=met))

    def note(self, workload: str, text: str) -> None:
        """Add a sentence below the section's table, once."""
        notes = self.notes.setdefault(workload, [])
        if text not in notes:
            notes.append(text)

    @property
    def missed(self) -> list[Line]:
        """Lines whose target was missed."""
        return [line for line in self.lines if line.met is False]

    def show(self, workload: str) -> None:
        """Print a section."""
        head = ("", "unit", "ours", "bare", "ratio", "of rounds", "target", "")
        rows = [head]
        for line in self.lines:
            if line.workload != workload:
                continue
            ranged = "" if line.low is None or line.high is None else f"{line.low:.2f}-{line.high:.2f}"
            result = {None: "", True: "ok", False: "MISS"}[line.met]
            ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
            rows.append(
                (line.what, line.unit, _number(line.ours), _number(line.bare), ratio, ranged, line.target, result)
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        print(f"\n{workload}")
        for row in rows:
            cells = [
                text.ljust(width) if column in {0, 1, 6} else text.rjust(width)
                for column, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            print(f"  {'  '.join(cells)}".rstrip())
        for text in self.notes.get(workload, []):
            print(f"  * {text}")
        sys.stdout.flush()

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write everything as JSON."""
        lines = [asdict(line) for line in self.lines]
        path.write_text(
            json.dumps({"run": facts, "lines": lines, "notes": self.notes}, indent=2) + "\n", encoding="utf-8"
        )


def times_as_fast(name: str, taken: Mapping[str, Sequence[float]], unit: float) -> float:
    """Print what ``interleaved`` found of two programs; return how many times the first is as fast, by the median.

    Args:
        name: what they do.
        taken: of each, seconds of the rounds.
        unit: what makes the printed milliseconds of them.
    """
    for who, seconds in taken.items():
        middle, least, most = (figure(seconds) * unit for figure in (median, min, max))
        print(f"{name:34} {who:24} {middle:9.3f} ms  ({least:.3f} to {most:.3f})")
    first, second = taken.values()
    ratio = median(theirs / own for own, theirs in zip(first, second, strict=True))
    print(f"{name:34} {'':24} {ratio:9.2f} times as fast")
    return ratio


def _judge(value: float, at_least: float | None, at_most: float | None) -> tuple[str, bool | None]:
    if at_least is not None:
        return f">= {at_least:g}", value >= at_least
    if at_most is not None:
        return f"<= {at_most:g}", value <= at_most
    return "", None


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


# ------------------------------------------------------------------------------------------------------------- machine


def machine(folder: Path) -> dict[str, Any]:
    """Return what the running machine, interpreter and libraries say about themselves."""
    facts: dict[str, Any] = {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "sqlite extensions": hasattr(sqlite3.Connection, "enable_load_extension"),
        "file system": _file_system(folder),
        "sync of 4 KiB": f"{_sync(folder) * 1000:.2f} ms (median of 50)",
    }
    if hasattr(os, "getloadavg"):
        facts["load average"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Return the type of the file system: where a sync costs nothing, no ratio of durable writes means anything."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    path = folder.resolve()
    found = [(len(mount[1]), mount[2]) for mount in mounts if path.is_relative_to(mount[1])]
    return max(found, default=(0, "unknown"))[1]


def _sync(folder: Path) -> float:
    path = folder / "sync"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    taken = []
    try:
        for _ in range(50):
            start = clock()
            os.write(descriptor, b"x" * 4096)
            os.fsync(descriptor)
            taken.append(clock() - start)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(taken)


def connections_to(path: Path) -> list[sqlite3.Connection]:
    """Return the open connections of this process to a file, whoever opened them."""
    found = []
    for thing in gc.get_objects():
        if isinstance(thing, sqlite3.Connection):
            try:
                files = [row[2] for row in thing.execute("PRAGMA database_list")]
            except sqlite3.Error:  # closed, or of a thread that keeps it to itself
                continue
            if files and files[0] and os.path.samefile(files[0], path):
                found.append(thing)
    return found


def pragmas(connections: Sequence[sqlite3.Connection]) -> str:
    """Return what decides about durability, read back from running connections."""
    names = ("journal_mode", "synchronous", "wal_autocheckpoint", "page_size")
    found = {
        " ".join(f"{name}={connection.execute(f'PRAGMA {name}').fetchone()[0]}" for name in names)
        for connection in connections
    }
    return f"{len(connections)} connection{'s' * (len(connections) != 1)}, {' / '.join(sorted(found)) or 'none'}"
