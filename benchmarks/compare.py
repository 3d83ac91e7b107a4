"""Runs the same work on this project, on the bare driver and on other products, in turns in one run.

    python benchmarks/compare.py [--engine NAME] [--only NAME] [--rounds N] [--quick] [--check] [WORKLOAD ...]

Each contestant (a class in a file of ``contestants/``) gets an environment with what it names and nothing else, and a
process. In every round each does its piece of work, in an order that changes; figures are medians of the rounds, ratios
are of the same round. Nothing in the tables is typed in: versions, durability settings and figures come from the run.
The results go to ``results/``, for each engine as Markdown, JSON and a picture.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import importlib
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparison import Found, markdown, plot, verdict
from measuring import machine

ROOT = Path(__file__).resolve().parent.parent
CONTESTANTS = Path(__file__).resolve().parent / "contestants"
PATIENCE = 120.0
"""Seconds that any one order may take, beyond what it was given to do its work."""
LIMIT = 3.0
"""Seconds after which a contestant's piece of appending is cut off; its rate is that of what it did."""
AT_ONCE = 1.5
"""Seconds after which writers that write at once begin nothing more."""
FILLING = 20.0
"""Seconds that a contestant has to make the data of a workload; who needs more is left out of it."""
SERVERS = ("postgres", "redis")
"""Engines of the tables that are servers."""
RESUME = 50
NEWEST = 20
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Of contestants' processes: what they import is compiled once, and not with every start."""


class FailedError(Exception):
    """A contestant could not do it; the text stands in the table."""


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    append: tuple[int, ...] = (200, 1000, 5000)
    resume: tuple[int, ...] = (100, 1000, 10_000, 100_000)
    listing: int = 10_000
    threads: int = 50
    """Messages of each."""
    tasks: int = 10
    state: int = 1000
    vectors: int = 2000
    times: int = 50
    """Reads, whose median is the figure of a round; fewer of slow ones."""
    searches: int = 10
    """Searches by vector, whose median is the figure of a round."""


QUICK = Sizes((200, 1000), (100, 1000, 10_000), 1000, vectors=500)
TINY = Sizes((20, 60), (20, 60), 30, threads=5, tasks=2, state=20, vectors=40, times=2, searches=2)
"""To see that everything runs; the figures mean nothing."""


@dataclass
class Contestant(Found):
    """A contestant, its environment and its process.

    Attributes:
        requirements: of its environment.
        packages: of this repository, likewise.
        imports: the statement with which its users import it.
        on_demand: whether it runs only where a peer is no more durable.
        server: the engine of the integration tests that it needs, or the empty text.
        python: the interpreter of its environment.
        place: where it stores.
        process: that serves it.
    """

    requirements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    imports: str = ""
    on_demand: bool = False
    server: str = ""
    python: str = ""
    place: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start its process."""
        self.process = subprocess.Popen(
            [self.python, str(CONTESTANTS / "worker.py"), self.name, self.place],
            cwd=Path(self.python).parent.parent,
            env={**ENVIRON, "PYTHONWARNINGS": "ignore", "LANGSMITH_TRACING": "false", "AGNO_TELEMETRY": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, *, patience: float = 0.0, **arguments: Any) -> Any:
        """Give an order and return its answer.

        Raises:
            FailedError: an error, or no answer in time; its process is gone then. Without text: it has no such thing.
        """
        if self.process is None or self.process.poll() is not None:
            raise FailedError("its process has ended")
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise FailedError("its process has no pipes")
        try:
            stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise FailedError("its process has ended") from None
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            ready = waiting.select(patience + PATIENCE)
        line = stdout.readline() if ready else ""
        if not line:
            self.stop()
            raise FailedError("its process has ended" if ready else f"no answer in {patience + PATIENCE:.0f} s")
        answer = json.loads(line)
        if "absent" in answer:
            raise FailedError("")
        if "error" in answer:
            raise FailedError(answer["error"])
        return answer["answer"]

    def fail(self, workload: str, failure: FailedError) -> None:
        """Leave it out of a workload."""
        self.figures[workload] = []
        text = str(failure).partition("\n")[0].replace(self.place, "PLACE")
        self.note(workload, text)
        if text:
            say(f"{self.title}: {workload}: {text}")

    def stop(self) -> None:
        """End its process: it may close, but need not."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process = None


def declared(path: Path) -> Iterator[Contestant]:
    """Read what the classes of a file declare, without importing it: what it imports is elsewhere."""
    classes: dict[str, dict[str, Any]] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        facts: dict[str, Any] = {}
        for base in node.bases:
            facts |= classes.get(ast.unparse(base), {})
        for line in node.body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                with contextlib.suppress(ValueError):
                    facts[line.targets[0].id] = ast.literal_eval(line.value)
        classes[node.name] = facts
        if "name" in facts and "engine" in facts:
            yield Contestant(
                f"{path.stem}:{node.name}",
                facts["name"],
                facts["engine"],
                facts.get("role", "peer"),
                facts.get("beside", ""),
                requirements=tuple(facts.get("requirements", ())),
                packages=tuple(facts.get("packages", ())),
                imports=facts["imports"],
                on_demand=facts.get("on_demand", False),
                server=facts.get("server", facts["engine"] if facts["engine"] in SERVERS else ""),
            )


def environment(contestant: Contestant, folder: Path) -> str:
    """Make (or find) the environment of all contestants with the same requirements; return its interpreter."""
    repo: Any = _module("tools", "repo")
    everything = repo.dists()
    named = [dist for dist in everything if dist.short in contestant.packages]
    if len(named) < len(contestant.packages):
        raise FailedError(f"there is no package {' or '.join(contestant.packages)}")
    wanted = [part for dist in repo.closure(named, everything) for part in ("-e", str(dist.path))]
    wanted += contestant.requirements
    stamped = json.dumps([sys.version, wanted])
    name = hashlib.sha256(stamped.encode()).hexdigest()[:10]
    place = folder / f"{contestant.name.partition(':')[0]}-{name}"
    python, stamp = place / "bin" / "python", place / "stamp"
    if not stamp.exists():
        say(f"environment of {contestant.title}")
        shutil.rmtree(place, ignore_errors=True)
        uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
        if wanted:
            subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *wanted], check=True)
        stamp.write_text(stamped, encoding="utf-8")
    return str(python)


def _module(folder: str, name: str) -> Any:
    """Import a module of another folder of the repository."""
    place = str(ROOT / folder)
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module(name)


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"compare: {text}", file=sys.stderr, flush=True)


# ----------------------------------------------------------------------------------------------------------- workloads

Piece = Callable[[Contestant, int], float]
"""A piece of work of a contestant, with a number of its own; returns the figure."""


@dataclass(frozen=True)
class Run:
    """One run on one engine."""

    contestants: Sequence[Contestant]
    rounds: int
    sizes: Sizes

    def able(self, workload: str) -> list[Contestant]:
        """Who has not failed in this workload, and still runs."""
        return [one for one in self.contestants if one.process is not None and one.figures.get(workload) != []]

    def prepare(self, workload: str, work: Callable[[Contestant], None]) -> None:
        """Let everybody make the data of a workload, two at a time; nothing is measured meanwhile."""
        say(workload)

        def one_of(one: Contestant) -> None:
            try:
                work(one)
            except FailedError as failure:
                one.fail(workload, failure)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(one_of, self.able(workload)))

    def measure(self, workload: str, piece: Piece) -> None:
        """[measure_together][] for one workload."""
        self.measure_together({workload: piece})

    def measure_together(self, pieces: Mapping[str, Piece]) -> None:
        """Measure in rounds, in each of which everybody does all of these, one after the other.

        So figures of one contestant are neighbours in time, and can be compared with each other too. Whoever fails in
        one of them is out of that.

        Args:
            pieces: the workloads by their names; each does a piece of work, with a number of its own, and returns the
                figure.
        """
        order = [*self.contestants]
        for number in range(self.rounds):
            for one in order:
                for workload, piece in pieces.items():
                    if one not in self.able(workload):
                        continue
                    try:
                        one.figures.setdefault(workload, []).append(piece(one, number))
                    except FailedError as failure:
                        one.fail(workload, failure)
            order.reverse()  # so neighbours stay neighbours: this project, and the bare driver


def append(run: Run) -> None:
    """Messages one at a time, to a new session: messages a second."""
    say("append")
    pieces: dict[str, Piece] = {}
    for count in run.sizes.append:

        def piece(one: Contestant, number: int, count: int = count) -> float:
            rates: list[float] = []
            end = time.monotonic() + LIMIT
            while not rates or (len(rates) < 5 and time.monotonic() < end):  # short ones are done up to five times
                session = f"append-{count}-{number}-{len(rates)}"
                found = one.ask("append", session=session, count=count, limit=LIMIT, patience=LIMIT)
                if found["done"] < count:
                    one.note(f"append {count:,}", f"cut off after {LIMIT:.0f} s")
                rates.append(found["done"] / found["seconds"])
            return statistics.median(rates)

        pieces[f"append {count:,}"] = piece
    run.measure_together(pieces)


def resume(run: Run) -> None:
    """The latest 50 messages of sessions of many lengths: milliseconds."""
    for length in run.sizes.resume:
        workload = f"resume {RESUME} of {length:,}"
        session = f"resume-{length}"

        def fill(one: Contestant, session: str = session, length: int = length) -> None:
            filled = one.ask("fill", session=session, count=length, limit=FILLING, patience=FILLING)
            if filled < length:
                raise FailedError(f"could not write as many in {FILLING:.0f} s")

        def piece(
            one: Contestant, _number: int, session: str = session, length: int = length, workload: str = workload
        ) -> float:
            found = one.ask("resume", session=session, length=length, count=RESUME, times=run.sizes.times)
            if not found["right"]:
                one.note(workload, "returned others than the latest messages in order", flaw=True)
            return float(found["seconds"] * 1000)

        run.prepare(workload, fill)
        run.measure(workload, piece)


def listing(run: Run) -> None:
    """The newest 20 of a user's sessions: milliseconds."""
    total = run.sizes.listing
    workload = f"list {NEWEST} of {total:,}"
    made: dict[str, int] = {}

    def fill(one: Contestant) -> None:
        made[one.name] = one.ask("sessions", user="lister", count=total, limit=2 * FILLING, patience=2 * FILLING)
        if made[one.name] < total:
            one.note(workload, f"of the {made[one.name]:,} that it made in {2 * FILLING:.0f} s")

    def piece(one: Contestant, _number: int) -> float:
        times = run.sizes.times
        found = one.ask("listing", user="lister", total=made[one.name], count=NEWEST, times=times)
        if not found["right"]:
            one.note(workload, "returned others than the last used first", flaw=True)
        return float(found["seconds"] * 1000)

    run.prepare(workload, fill)
    run.measure(workload, piece)


def concurrent(run: Run) -> None:
    """Eight threads and 64 tasks, each to its own session and all to one: messages a second."""
    for how, writers, count in (("threads", 8, run.sizes.threads), ("tasks", 64, run.sizes.tasks)):
        for shape in ("own", "one"):
            workload = f"{writers} {how}, {'own sessions' if shape == 'own' else 'one session'}"
            say(workload)
            counted: dict[str, dict[str, int]] = {}

            def piece(
                one: Contestant,
                number: int,
                how: str = how,
                writers: int = writers,
                count: int = count,
                shape: str = shape,
                counted: dict[str, dict[str, int]] = counted,
            ) -> float:
                name = f"{how}-{shape}-{number}"
                sessions = [f"{name}-{writer}" if shape == "own" else name for writer in range(writers)]
                found = one.ask("at_once", how=how, sessions=sessions, count=count, limit=AT_ONCE, patience=AT_ONCE)
                sums = counted.setdefault(one.name, {})
                for what in ("tried", "errors", "lost", "doubled", "misordered"):
                    sums[what] = sums.get(what, 0) + found[what]
                if not found["written"]:
                    raise FailedError(found["error"])
                if found["error"]:
                    say(f"{one.title}: {found['error']}")
                return float(found["written"] / found["seconds"])

            run.measure(workload, piece)
            for one in run.contestants:
                sums = counted.get(one.name, {})
                for what, text in (
                    ("errors", "refused"),
                    ("lost", "lost"),
                    ("doubled", "doubled"),
                    ("misordered", "misordered"),
                ):
                    if one.figures.get(workload) and sums.get(what):
                        one.note(workload, f"{text} {sums[what]:,} of {sums['tried']:,}", flaw=True)


def start(run: Run) -> None:
    """An import, and a process that writes its first message (tables of servers are there already): milliseconds."""
    say("start")

    def importing(one: Contestant, _number: int) -> float:
        def process(code: str) -> float:
            began = time.perf_counter()
            command = [one.python, "-W", "ignore", "-c", code]
            done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRON)
            if done.returncode:
                raise FailedError(done.stderr.strip().splitlines()[-1][:200])
            return time.perf_counter() - began

        return (process(one.imports) - process("pass")) * 1000

    run.measure("import", importing)

    def first(one: Contestant, number: int) -> float:
        place = one.place if "://" in one.place else f"{one.place}-first-{number}"
        other = Contestant(one.name, one.title, one.engine, one.role, python=one.python, place=place)
        began = time.perf_counter()
        other.start()
        try:
            other.ask("open", name=f"first-{number}")
            return (time.perf_counter() - began) * 1000
        finally:
            other.stop()

    run.measure("first write of a process", first)


def state(run: Run) -> None:
    """One value at a time, and 64 tasks at once: calls a second."""
    for what in ("set", "get"):
        say(what)
        run.measure(what, lambda one, _number, what=what: float(one.ask("state", what=what, count=run.sizes.state)))  # type: ignore[misc]
    for what in ("set", "get"):
        workload = f"{what}, 64 tasks"
        say(workload)
        count = max(1, run.sizes.state // 20)
        run.measure(
            workload,
            lambda one, _number, what=what, count=count: float(  # type: ignore[misc]
                one.ask("state_at_once", what=what, tasks=64, count=count)
            ),
        )
    for one in run.able("state"):
        with contextlib.suppress(FailedError):
            one.ask("state_end")


def vectors(run: Run) -> None:
    """Upsert in batches of 100: documents a second; the ten nearest of all and of a group: milliseconds."""
    count, dimension = run.sizes.vectors, 384
    say("vectors")
    run.measure(
        f"upsert {count:,}",
        lambda one, _number: float(one.ask("upsert", count=count, dimension=dimension, batch=100)),
    )
    for what, group in (("search", None), ("filtered search", 3)):
        workload = f"{what} in {count:,}"

        def piece(one: Contestant, _number: int, group: int | None = group, workload: str = workload) -> float:
            found = one.ask("search", count=count, dimension=dimension, group=group, times=run.sizes.searches)
            if found["right"] < found["wanted"]:
                one.note(workload, f"found {found['right']} of the {found['wanted']} nearest", flaw=True)
            return float(found["seconds"] * 1000)

        run.measure(workload, piece)


CONVERSATIONS: dict[str, Callable[[Run], None]] = {
    "start": start,
    "append": append,
    "resume": resume,
    "listing": listing,
    "concurrent": concurrent,
}
WORKLOADS: dict[str, dict[str, Callable[[Run], None]]] = {
    "sqlite": CONVERSATIONS,
    "files": CONVERSATIONS,
    "postgres": CONVERSATIONS,
    "redis": {"start": start, "state": state},
    "vectors": {"start": start, "vectors": vectors},
}
"""Of each engine."""


# ---------------------------------------------------------------------------------------------------------------- main


@contextlib.contextmanager
def places(contestants: Sequence[Contestant], folder: Path, urls: dict[str, str]) -> Iterator[None]:
    """Give each contestant a place of its own: a path, a server, or a database of the server; ``urls``: of servers."""
    with contextlib.ExitStack() as stack:
        for one in contestants:
            if not one.server:
                one.place = str(folder / f"{one.name.replace(':', '-')}{'.db' * (one.engine == 'sqlite')}")
                continue
            if one.server not in urls:
                engines = _module("tests/integration", "engines")
                stack.callback(engines.shut_down)
                try:
                    urls[one.server] = engines.engine(one.server).url
                except (RuntimeError, engines.pytest.skip.Exception) as error:
                    one.facts["failure"] = f"there is no {one.server} server: {error}"
                    continue
            one.place = urls[one.server]
            if one.server != "redis":
                psycopg = importlib.import_module("psycopg")
                connection = stack.enter_context(psycopg.connect(one.place, autocommit=True))
                database = f"bench_{uuid.uuid4().hex[:10]}"
                connection.execute(f'CREATE DATABASE "{database}"')
                stack.callback(connection.execute, f'DROP DATABASE "{database}" WITH (FORCE)')
                one.place = f"{one.place.rpartition('/')[0]}/{database}"
        yield


def opened(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Start everybody; return those who take part."""
    for one in contestants:
        if "failure" in one.facts:
            say(f"{one.title}: {one.facts['failure']}")
            continue
        one.start()
        try:
            one.facts["versions"] = one.ask("open")
            one.facts["durability"] = one.ask("durability")
        except FailedError as failure:
            if "versions" not in one.facts:
                one.facts["failure"] = str(failure).partition("\n")[0].replace(one.place, "PLACE")
                say(f"{one.title}: {failure}")
                one.stop()
    least = min((one.durable for one in contestants if one.role == "peer"), default=2)
    for one in contestants:
        if one.on_demand and one.durable < least:
            one.stop()
    return [one for one in contestants if one.process is not None or not one.on_demand]


def measure(engine: str, contestants: list[Contestant], arguments: argparse.Namespace, sizes: Sizes) -> Run:
    """Run the workloads of one engine."""
    folder = Path(tempfile.mkdtemp(prefix=f"compare-{engine}-", dir=arguments.folder))
    urls = {"postgres": arguments.url, "pgvector": arguments.url, "redis": arguments.redis_url}
    urls = {name: url for name, url in urls.items() if url}
    try:
        with places(contestants, folder, urls):
            try:
                run = Run(opened(contestants), arguments.rounds, sizes)
                for name, workload in WORKLOADS[engine].items():
                    if not arguments.workloads or name in arguments.workloads:
                        workload(run)
            finally:
                for one in contestants:
                    one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def options() -> argparse.Namespace:
    """Read the command line."""
    names = list(dict.fromkeys(name for those in WORKLOADS.values() for name in those))
    parser = argparse.ArgumentParser(description="Compares this project with the bare driver and with other products.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(names)}; all by default")
    parser.add_argument("--engine", action="append", choices=WORKLOADS, help="may be repeated; all by default")
    parser.add_argument("--only", action="append", help="a file of contestants/; may be repeated; ours and bare always")
    parser.add_argument("--rounds", type=int, default=5, help="how often, 5 or more (default 5)")
    parser.add_argument("--quick", action="store_true", help="leave out the largest sizes")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the verdict has a miss")
    parser.add_argument("--url", help="of a PostgreSQL server, with pgvector, whose user may create databases")
    parser.add_argument("--redis-url", help="of a Redis server; keys that it gets are removed")
    parser.add_argument("--folder", type=Path, default=ROOT / "build", help="where files go; on a disk")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="where results go")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.workloads if name not in names]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(names)}")
    if arguments.rounds < 5 and not arguments.tiny:
        parser.error("medians are of 5 rounds or more")
    return arguments


def main() -> int:
    """Measure what was asked for, and write the results."""
    arguments = options()
    sizes = TINY if arguments.tiny else QUICK if arguments.quick else Sizes()
    found = [one for path in sorted(CONTESTANTS.glob("*.py")) for one in declared(path)]
    if arguments.only:
        known = {one.name.partition(":")[0] for one in found}
        if unknown := set(arguments.only) - known:
            raise SystemExit(f"no contestant {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        found = [one for one in found if one.role != "peer" or one.name.partition(":")[0] in arguments.only]
    found.sort(key=lambda one: ("ours", "bare", "peer").index(one.role))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    status = 0
    for engine in arguments.engine or WORKLOADS:
        contestants = [one for one in found if one.engine == engine]
        if not contestants:
            continue
        for one in contestants:
            one.python = environment(one, arguments.folder / "contestants")
        facts = machine(arguments.folder)
        began = time.monotonic()
        run = measure(engine, contestants, arguments, sizes)
        facts["the run took"] = f"{(time.monotonic() - began) / 60:.1f} minutes"
        table = markdown(engine, run.contestants, facts, run.rounds)
        print(table)
        (arguments.results / f"{engine}.md").write_text(table, encoding="utf-8")
        claims = verdict(run.contestants)
        if arguments.check and any(claim.met is False for claim in claims):
            status = 1
        document = {
            "engine": engine,
            "machine": facts,
            "rounds": run.rounds,
            "contestants": [one.document() for one in run.contestants],
            "verdict": [{"text": claim.text, "met": claim.met} for claim in claims],
        }
        (arguments.results / f"{engine}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        plot(engine, run.contestants, facts, arguments.results / f"{engine}.png")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
