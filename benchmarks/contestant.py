"""Contestants of ``compare.py``: what their files declare, their environments and their processes."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import json
import os
import selectors
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparison import Found

__all__ = ["CONTESTANTS", "ENVIRON", "ROOT", "Contestant", "FailedError", "declared", "environment", "module", "say"]

ROOT = Path(__file__).resolve().parent.parent
CONTESTANTS = Path(__file__).resolve().parent / "contestants"
PATIENCE = 120.0
"""Seconds that any one order may take, beyond what it was given to do its work."""
SERVERS = ("postgres", "redis")
"""Engines of the tables that are servers."""
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Of contestants' processes: what they import is compiled once, and not with every start."""


class FailedError(Exception):
    """A contestant could not do it; the text stands in the table."""


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
    repo: Any = module("tools", "repo")
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


def module(folder: str, name: str) -> Any:
    """Import a module of another folder of the repository."""
    place = str(ROOT / folder)
    if place not in sys.path:
        sys.path.insert(0, place)
    return importlib.import_module(name)


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"compare: {text}", file=sys.stderr, flush=True)
