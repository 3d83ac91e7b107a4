"""Runs the same work on this project, on the bare driver and on other products, in turns in one run.

    python benchmarks/compare.py [--engine NAME] [--only NAME] [--rounds N] [--quick] [--check] [WORKLOAD ...]

Each contestant (a class in a file of ``contestants/``) gets an environment with what it names and nothing else, and a
process. In every round each does its piece of work, in an order that changes; figures are medians of the rounds, ratios
are of the same round. Nothing in the tables is typed in: versions, durability settings and figures come from the run.
The results go to ``results/``, for each engine as Markdown, JSON and a picture.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from comparison import markdown, plot, verdict
from contestant import CONTESTANTS, ROOT, Contestant, FailedError, declared, environment, module, say
from measuring import machine
from workloads import QUICK, TINY, WORKLOADS, Run, Sizes


@contextlib.contextmanager
def places(contestants: Sequence[Contestant], folder: Path, urls: dict[str, str]) -> Iterator[None]:
    """Give each contestant a place of its own: a path, a server, or a database of the server; ``urls``: of servers."""
    with contextlib.ExitStack() as stack:
        for one in contestants:
            if not one.server:
                one.place = str(folder / f"{one.name.replace(':', '-')}{'.db' * (one.engine == 'sqlite')}")
                continue
            if one.server not in urls:
                engines = module("tests/integration", "engines")
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
