"""Runs the same work on this project, on the bare driver and on other products, in turns in one run.

    python benchmarks/compare.py [--engine sqlite|files|postgres] [--only NAME] [--rounds N] [--quick] [WORKLOAD ...]

Each contestant (a file in ``contestants/``) gets an environment with what it names and nothing else, and a process. In
every round each does its piece of work, in an order that changes; figures are medians of the rounds, ratios are of the
same round. Nothing in the tables is typed in: versions, durability settings and figures come from the run. The results
go to ``results/`` as Markdown, JSON and plots.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import selectors
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measuring import machine

ROOT = Path(__file__).resolve().parent.parent
CONTESTANTS = Path(__file__).resolve().parent / "contestants"
OURS = ("core", "packages/sql", "packages/sqlite", "packages/json", "packages/postgres")
"""What a contestant of this project gets beside its requirements."""
PATIENCE = 300.0
"""Seconds that any one order may take."""
LIMIT = 20.0
"""Seconds after which a contestant's piece of appending is cut off; its rate is that of what it did."""
FILLING = 60.0
"""Seconds that a contestant has to make the data of a workload; who needs more is left out of it."""
RESUME = 50
NEWEST = 20


class Failed(Exception):
    """A contestant could not do it; the text stands in the table."""


@dataclass
class Contestant:
    """A contestant and what was measured of it.

    Attributes:
        name: of its file.
        title: in the tables.
        engine: what it stores in.
        role: ``ours``, ``bare`` or ``peer``.
        requirements: of its environment.
        module: what its users import.
        figures: of each workload: one for each round.
        notes: of each workload.
        facts: versions and durability.
    """

    name: str
    title: str
    engine: str
    role: str
    requirements: tuple[str, ...]
    module: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    python: str = ""
    place: str = ""
    process: subprocess.Popen[str] | None = None

    def note(self, workload: str, text: str) -> None:
        """Add a remark to the cell of a workload, once."""
        notes = self.notes.setdefault(workload, [])
        if text and text not in notes:
            notes.append(text)

    # ------------------------------------------------------------------------------------------------ its process

    def start(self) -> None:
        """Start its process."""
        self.process = subprocess.Popen(
            [self.python, str(CONTESTANTS / "worker.py"), self.name, self.place],
            cwd=Path(self.python).parent.parent,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, patience: float = PATIENCE, **arguments: Any) -> Any:
        """Give an order and return its answer.

        Raises:
            Failed: an error, or no answer in time.
        """
        if self.process is None or self.process.poll() is not None:
            raise Failed("its process has ended")
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise Failed("its process has no pipes")
        try:
            stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise Failed("its process has ended") from None
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if waiting.select(patience) else ""
        if not line:
            self.stop()
            raise Failed(f"no answer in {patience:.0f} s")
        answer = json.loads(line)
        if "absent" in answer:
            raise Failed("")
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["answer"]

    def stop(self) -> None:
        """End its process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self.process = None


def declared(path: Path) -> Contestant | None:
    """Read what a file in ``contestants/`` declares, without importing it: its imports are elsewhere."""
    facts: dict[str, Any] = {"requirements": (), "role": "peer"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                    with contextlib.suppress(ValueError):
                        facts[line.targets[0].id] = ast.literal_eval(line.value)
    if "name" not in facts:
        return None
    return Contestant(
        path.stem, facts["name"], facts["engine"], facts["role"], tuple(facts["requirements"]), facts["module"]
    )


def environment(contestant: Contestant, folder: Path) -> str:
    """Make (or find) the environment of a contestant; return its interpreter."""
    place = folder / contestant.name
    python = place / "bin" / "python"
    wanted = json.dumps([sys.version, contestant.requirements])
    stamp = place / "stamp"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"environment of {contestant.title}")
        shutil.rmtree(place, ignore_errors=True)
        folders = [part for name in OURS for part in ("-e", str(ROOT / name))] if contestant.role == "ours" else []
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
        if folders or contestant.requirements:
            command = [uv, "pip", "install", "-q", "--python", str(python), *folders, *contestant.requirements]
            subprocess.run(command, check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"compare: {text}", file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------------------------------- workloads


@dataclass(frozen=True)
class Run:
    """One run on one engine."""

    contestants: list[Contestant]
    rounds: int
    quick: bool

    def able(self, workload: str) -> list[Contestant]:
        """Who has not failed in this workload, and still runs."""
        return [one for one in self.contestants if one.process is not None and one.figures.get(workload) != []]

    def rounds_of(self, workload: str, piece: Callable[[Contestant, int], float]) -> None:
        """Measure in rounds; whoever fails is out of the workload."""
        order = self.able(workload)
        for number in range(self.rounds):
            for one in [*order]:
                try:
                    one.figures.setdefault(workload, []).append(piece(one, number))
                except Failed as failure:
                    one.figures[workload] = []
                    one.note(workload, str(failure))
                    order.remove(one)
            order = order[1:] + order[:1]


def append(run: Run) -> None:
    """Messages one at a time, to a new session: messages a second."""
    for count in (200, 1000) if run.quick else (200, 1000, 5000):
        workload = f"append {count:,}"
        say(workload)

        def piece(one: Contestant, number: int, count: int = count, workload: str = workload) -> float:
            session = f"append-{count}-{number}"
            one.ask("create", session=session)
            found = one.ask("append", session=session, count=count, limit=LIMIT)
            if found["done"] < count:
                one.note(workload, f"cut off at {found['done']:,} after {LIMIT:.0f} s")
            return float(found["done"] / found["seconds"])

        run.rounds_of(workload, piece)


def resume(run: Run) -> None:
    """The latest 50 messages of sessions of many lengths: milliseconds."""
    for length in (100, 1000, 10_000) if run.quick else (100, 1000, 10_000, 100_000):
        workload = f"resume {RESUME} of {length:,}"
        say(workload)
        session = f"resume-{length}"
        for one in run.able(workload):
            try:
                one.ask("create", session=session)
                filled = one.ask("fill", session=session, count=length, limit=FILLING, patience=FILLING + PATIENCE)
                if filled < length:
                    raise Failed(f"has {filled:,} after {FILLING:.0f} s of writing")
            except Failed as failure:
                one.figures[workload] = []
                one.note(workload, str(failure))

        def piece(
            one: Contestant, _number: int, session: str = session, length: int = length, workload: str = workload
        ) -> float:
            found = one.ask("resume", session=session, length=length, count=RESUME, times=10)
            if not found["right"]:
                one.note(workload, "not the latest messages in order")
            return float(found["seconds"] * 1000)

        run.rounds_of(workload, piece)


def listing(run: Run) -> None:
    """The newest 20 of a user's sessions: milliseconds."""
    total = 1000 if run.quick else 10_000
    workload = f"list {NEWEST} of {total:,}"
    say(workload)
    for one in run.able(workload):
        try:
            made = one.ask("sessions", user="lister", count=total, limit=3 * FILLING, patience=4 * FILLING)
            if made < total:
                raise Failed(f"has {made:,} after {3 * FILLING:.0f} s of writing")
        except Failed as failure:
            one.figures[workload] = []
            one.note(workload, str(failure))

    def piece(one: Contestant, _number: int) -> float:
        found = one.ask("listing", user="lister", total=total, count=NEWEST, times=10)
        if not found["right"]:
            one.note(workload, "not the last used first")
        return float(found["seconds"] * 1000)

    run.rounds_of(workload, piece)


def concurrent(run: Run) -> None:
    """Eight threads and 64 tasks, each to its own session and all to one: messages a second."""
    for how, writers, count in (("threads", 8, 50), ("tasks", 64, 10)):
        for shape in ("own", "one"):
            workload = f"{writers} {how}, {'own sessions' if shape == 'own' else 'one session'}"
            say(workload)

            def piece(
                one: Contestant,
                number: int,
                how: str = how,
                writers: int = writers,
                count: int = count,
                shape: str = shape,
                workload: str = workload,
            ) -> float:
                name = f"{how}-{shape}-{number}"
                sessions = [f"{name}-{writer}" if shape == "own" else name for writer in range(writers)]
                found = one.ask("at_once", how=how, sessions=sessions, count=count)
                for what in ("lost", "doubled", "misordered", "errors"):
                    if found[what]:
                        kinds = one.facts.setdefault(f"{workload}: {what}", "0 of 0")
                        bad, of = (int(part) for part in kinds.split(" of "))
                        one.facts[f"{workload}: {what}"] = f"{bad + found[what]} of {of + found['tried']}"
                if not found["written"]:
                    raise Failed(found["error"])
                return float(found["written"] / found["seconds"])

            run.rounds_of(workload, piece)
            for one in run.contestants:
                for what in ("lost", "doubled", "misordered", "errors"):
                    if (counted := one.facts.pop(f"{workload}: {what}", "")) and one.figures.get(workload):
                        one.note(workload, f"{what}: {counted}")


def start(run: Run) -> None:
    """An import, and a process that writes its first message: milliseconds."""
    say("start")

    def importing(one: Contestant, _number: int) -> float:
        def process(code: str) -> float:
            began = time.perf_counter()
            done = subprocess.run([one.python, "-c", code], check=False, capture_output=True, text=True)
            if done.returncode:
                raise Failed(done.stderr.strip().splitlines()[-1][:200])
            return time.perf_counter() - began

        return (process(f"import {one.module}") - process("pass")) * 1000

    run.rounds_of("import", importing)

    def first(one: Contestant, number: int) -> float:
        place = one.place if "://" in one.place else f"{one.place}-first-{number}"
        began = time.perf_counter()
        other = Contestant(one.name, one.title, one.engine, one.role, one.requirements, one.module)
        other.python, other.place = one.python, place
        other.start()
        try:
            other.ask("open")
            return (time.perf_counter() - began) * 1000
        finally:
            other.stop()

    run.rounds_of("first write of a process", first)


WORKLOADS: dict[str, Callable[[Run], None]] = {
    "start": start,
    "append": append,
    "resume": resume,
    "listing": listing,
    "concurrent": concurrent,
}
HIGHER = ("append", "8 threads", "64 tasks")
"""Workloads whose figures are rates; those of the others are times."""


# -------------------------------------------------------------------------------------------------------------- report


def ratio(one: Contestant, ours: Contestant, workload: str) -> float | None:
    """How many times better ours is: the median of the rounds' ratios."""
    mine, theirs = ours.figures.get(workload), one.figures.get(workload)
    if not mine or not theirs:
        return None
    ratios = [a / b if workload.startswith(HIGHER) else b / a for a, b in zip(mine, theirs, strict=True)]
    return statistics.median(ratios)


def number(value: float) -> str:
    """A figure with three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(engine: str, run: Run, facts: dict[str, Any]) -> str:
    """The table of one engine."""
    ours = next(one for one in run.contestants if one.role == "ours")
    workloads = list(dict.fromkeys(name for one in run.contestants for name in one.figures))
    lines = [
        f"## {engine}",
        "",
        "| contestant | versions | durability, as the running connection says |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {one.title} | {one.facts.get('versions', '')} | {one.facts.get('durability', '')} |"
        for one in run.contestants
    ]
    lines += [
        "",
        "Medians; in brackets how many times better this project is than the contestant (below 1: worse), as the median "
        "of the ratios of single rounds. Rates are messages a second, times milliseconds.",
        "",
        "| workload | " + " | ".join(one.title for one in run.contestants) + " |",
        "| --- |" + " --- |" * len(run.contestants),
    ]
    for workload in workloads:
        cells = []
        for one in run.contestants:
            found = one.figures.get(workload)
            notes = "; ".join(one.notes.get(workload, []))
            better = ratio(one, ours, workload)
            unit = "/s" if workload.startswith(HIGHER) else " ms"
            text = f"{number(statistics.median(found))}{unit}" if found else "—"
            if better is not None and one is not ours:
                text += f" ({better:.2f})"
            cells.append(f"{text}<br>{notes}" if notes else text)
        lines.append(
            f"| {workload} | " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
        )
    lines += ["", *(f"* {name}: {value}" for name, value in facts.items()), ""]
    return "\n".join(lines)


def plot(engine: str, run: Run, path: Path) -> None:
    """Two curves: appending, and resuming, by the length of the session."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(13, 5))
    for axis, kind, label in ((axes[0], "append", "messages a second"), (axes[1], "resume", "milliseconds")):
        for one in run.contestants:
            points = [
                (int(name.split()[-1].replace(",", "")), statistics.median(found))
                for name, found in one.figures.items()
                if name.startswith(kind) and found
            ]
            if points:
                width = 3 if one.role == "ours" else 1.5
                style = {"ours": "-", "bare": "--"}.get(one.role, "-")
                axis.plot(*zip(*sorted(points), strict=True), style, marker="o", linewidth=width, label=one.title)
        axis.set(xscale="log", yscale="log", xlabel="messages in the session", ylabel=label)
        axis.set_title(f"{engine}: {'append one at a time' if kind == 'append' else f'resume the last {RESUME}'}")
        axis.grid(visible=True, which="both", alpha=0.3)
    axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


# ---------------------------------------------------------------------------------------------------------------- main


@contextlib.contextmanager
def places(engine: str, contestants: Sequence[Contestant], folder: Path, url: str | None) -> Iterator[None]:
    """Give each contestant a place of its own: a path, or a database of the server."""
    if engine != "postgres":
        for one in contestants:
            one.place = str(folder / f"{one.name}{'.db' if engine == 'sqlite' else ''}")
        yield
        return
    import psycopg

    with contextlib.ExitStack() as stack:
        if url is None:
            sys.path.insert(0, str(ROOT / "tests" / "integration"))
            import engines

            stack.callback(engines.shut_down)
            url = engines.engine("postgres").url
        base = url.rpartition("/")[0]
        with psycopg.connect(url, autocommit=True) as connection:
            for one in contestants:
                database = f"bench_{uuid.uuid4().hex[:10]}"
                connection.execute(f'CREATE DATABASE "{database}"'.encode())
                one.place = f"{base}/{database}"
            try:
                yield
            finally:
                for one in contestants:
                    name = one.place.rpartition("/")[2]
                    connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def measure(engine: str, contestants: list[Contestant], arguments: argparse.Namespace) -> Run:
    """Run the workloads of one engine."""
    run = Run(contestants, arguments.rounds, arguments.quick)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"compare-{engine}-", dir=arguments.folder))
    try:
        with places(engine, contestants, folder, arguments.url):
            try:
                for one in contestants:
                    one.start()
                    try:
                        one.facts["versions"] = one.ask("open")["versions"]
                        one.facts["durability"] = one.ask("durability")
                    except Failed as failure:
                        say(f"{one.title}: {failure}")
                        one.facts.setdefault("versions", str(failure))
                for name in arguments.workloads or WORKLOADS:
                    WORKLOADS[name](run)
            finally:
                for one in contestants:
                    one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def main() -> int:
    """Measure what was asked for, and write the results."""
    parser = argparse.ArgumentParser(description="Compares this project with the bare driver and with other products.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)}; all by default")
    parser.add_argument("--engine", action="append", help="sqlite, files or postgres; may be repeated; all by default")
    parser.add_argument(
        "--only", action="append", help="a contestant's file; may be repeated; ours and bare run always"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often, 5 or more (default 5)")
    parser.add_argument("--quick", action="store_true", help="leave out the largest sizes")
    parser.add_argument("--url", help="of a PostgreSQL server whose user may create databases")
    parser.add_argument("--folder", type=Path, default=ROOT / "build", help="where files go; on a disk")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="where results go")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.workloads if name not in WORKLOADS]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    if arguments.rounds < 5:
        parser.error("medians are of 5 rounds or more")
    found = [one for path in sorted(CONTESTANTS.glob("*.py")) if (one := declared(path)) is not None]
    if arguments.only:
        found = [one for one in found if one.role != "peer" or one.name in arguments.only]
    found.sort(key=lambda one: ("ours", "bare", "peer").index(one.role))
    arguments.results.mkdir(parents=True, exist_ok=True)
    for engine in arguments.engine or ["sqlite", "postgres"]:
        contestants = [one for one in found if one.engine == engine or (engine == "sqlite" and one.engine == "files")]
        for one in contestants:
            one.python = environment(one, arguments.folder / "contestants")
        facts = machine(arguments.folder)
        run = measure(engine, contestants, arguments)
        table = markdown(engine, run, facts)
        print(table)
        (arguments.results / f"{engine}.md").write_text(table, encoding="utf-8")
        document = {
            "engine": engine,
            "machine": facts,
            "rounds": run.rounds,
            "contestants": [
                {
                    "title": one.title,
                    "role": one.role,
                    "engine": one.engine,
                    **one.facts,
                    "figures": one.figures,
                    "notes": one.notes,
                }
                for one in contestants
            ],
        }
        (arguments.results / f"{engine}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        plot(engine, run, arguments.results / f"{engine}.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
