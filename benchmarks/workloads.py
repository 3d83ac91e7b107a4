"""The work that ``compare.py`` has done, in rounds."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contestant import ENVIRON, Contestant, FailedError, say

__all__ = ["QUICK", "TINY", "WORKLOADS", "Run", "Sizes"]

LIMIT = 3.0
"""Seconds after which a contestant's piece of appending is cut off; its rate is that of what it did."""
AT_ONCE = 1.5
"""Seconds after which writers that write at once begin nothing more."""
FILLING = 20.0
"""Seconds that a contestant has to make the data of a workload; who needs more is left out of it."""
RESUME = 50
NEWEST = 20


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
