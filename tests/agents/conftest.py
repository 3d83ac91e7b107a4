"""Agents in processes of their own, and what they talk to: a model server, and databases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "integration"):  # tests are imported by their files, so no folder is on the path
    sys.path.insert(0, str(folder))

import engines  # noqa: E402
from model import ModelServer  # noqa: E402

LIMIT = 240.0
"""Seconds for one agent's process; only one that hangs takes as long."""


class Program:
    """A Python program that runs agents, with a home of its own and nothing of PraisonAI's telemetry."""

    def __init__(self, arguments: list[str], folder: Path, url: str, **environment: str) -> None:
        home = folder / "home"
        home.mkdir(exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env={
                **inherited,
                "HOME": str(home),
                "PRAISONAI_HOME": str(home / "praisonai"),
                "OPENAI_API_KEY": "none",
                "OPENAI_BASE_URL": url,
                "PRAISONAI_TELEMETRY_DISABLED": "true",
                "PRAISONAI_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def wait(self) -> list[Any]:
        """What it printed, as JSON by lines, once it has ended well."""
        out, err = self.process.communicate(timeout=LIMIT)
        assert self.process.returncode == 0, f"{out}\n{err}"
        return [json.loads(line) for line in out.splitlines() if line.startswith(("[", "{", '"', "null", "true"))]

    def wait_for_line(self, line: str) -> None:
        """Wait until it prints a line."""
        assert self.process.stdout is not None
        for printed in self.process.stdout:
            if printed.strip() == line:
                return
        raise AssertionError(self.process.communicate()[1])

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """A model server with scripted answers."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def start(tmp_path: Path, model: ModelServer) -> Iterator[Callable[..., Program]]:
    """Start a Python program in the folder of the test; what is left of it at the end is killed."""
    started: list[Program] = []

    def start(*arguments: str, **environment: str) -> Program:
        started.append(Program(list(arguments), tmp_path, model.url, **environment))
        return started[-1]

    yield start
    for program in started:
        if program.process.poll() is None:
            program.kill()


@pytest.fixture(scope="session")
def _engines() -> Iterator[None]:
    yield
    engines.shut_down()


@pytest.fixture(params=["sqlite", "postgres"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The arguments of ``db(...)`` for a database that is the test's alone."""
    if request.param == "sqlite":
        yield {"database_url": f"sqlite:///{tmp_path / 'agent.db'}"}
        return
    request.getfixturevalue("_engines")
    server = engines.engine("postgres")
    with server.prefix() as prefix:
        yield {"database_url": server.url, "table_prefix": prefix}
