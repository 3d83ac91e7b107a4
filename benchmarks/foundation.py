"""Measures the embedded backends beside hand-written programs that do the same work, in one run, as ratios.

    python benchmarks/foundation.py [--rounds N] [--quick] [--check] [--json FILE] [WORKLOAD ...]

Everything is interleaved, so that whatever else the machine does meets both sides alike; figures are medians of the
rounds. README.md in this folder says how to read the table.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import conversations
import files
import kinds
import processes
import startup
from measuring import Options, Report, machine

WORKLOADS: dict[str, tuple[Callable[[Report, Options], str], str]] = {
    "start": (startup.startup, "importing, and listing every installed backend"),
    "append": (conversations.appends, "SQLite: messages one at a time, durably"),
    "threads": (conversations.threads, "SQLite: eight threads that append"),
    "processes": (processes.processes, "SQLite: eight processes that append to one file"),
    "resume": (conversations.resume, "SQLite: the last 50 messages of short and long sessions"),
    "listing": (conversations.listing, "SQLite: the newest sessions of a user with many"),
    "json": (files.files, "JSON files: messages one at a time, durably"),
    "state": (kinds.state, "SQLite: get and set"),
    "knowledge": (kinds.knowledge, "SQLite: search with and without a filter"),
}
LEAST_ROUNDS = 5


def main() -> int:
    """Run what was asked for."""
    listed = "\n".join(f"  {name:<10} {about}" for name, (_, about) in WORKLOADS.items())
    parser = argparse.ArgumentParser(
        description="Measures the embedded backends beside hand-written programs.",
        epilog=f"workloads (all by default):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="what to measure")
    parser.add_argument("--rounds", type=int, default=9, help=f"how often, {LEAST_ROUNDS} or more (default 9)")
    parser.add_argument("--quick", action="store_true", help="5 rounds, and less in each")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target was missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(__file__).resolve().parent.parent / "build",
        help="where to put the files; on a disk, not in memory (default: build/ of this repository)",
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.workloads if name not in WORKLOADS]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if arguments.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be {LEAST_ROUNDS} or more: the figures are medians")
    rounds = LEAST_ROUNDS if arguments.quick else arguments.rounds

    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="benchmark-", dir=arguments.folder))
    report = Report()
    began = time.monotonic()
    try:
        facts = {"began": time.strftime("%Y-%m-%d %H:%M:%S %z"), **machine(folder), "rounds": rounds}
        for name, value in facts.items():
            print(f"{name:<18} {value}")
        for name in arguments.workloads or WORKLOADS:
            own = folder / name
            own.mkdir()
            report.show(WORKLOADS[name][0](report, Options(own, rounds, arguments.quick)))
            shutil.rmtree(own)
        after = machine(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    facts["seconds"] = round(time.monotonic() - began)
    for name in ("sync of 4 KiB", "load average"):
        if name in after:
            facts[f"{name}, after"] = after[name]
    missed = report.missed
    judged = sum(line.met is not None for line in report.lines)
    print(
        f"\n{facts['seconds']} seconds; at the end: sync of 4 KiB {after['sync of 4 KiB']}, "
        f"load average {after.get('load average', 'unknown')}"
    )
    print(f"{judged - len(missed)} of {judged} targets met")
    for line in missed:
        value = line.ours if line.ratio is None else line.ratio
        print(f"  missed: {line.workload}, {line.what}: {value:.2f}, target {line.target}")
    if arguments.json:
        report.write(arguments.json, facts)
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
