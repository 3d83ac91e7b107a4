"""Runs a suite on mutants, in one other pytest process, and tells what failed where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TESTS_FOLDER = Path(__file__).parent.parent
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=short", "--no-header")
# What the suites need. There may be a dozen other plugins, and to import them takes longer than most of these runs.
PLUGINS = ("-p", "anyio", "-p", "hypothesispytest", "-p", "praisonai_persistence")
NO_OTHERS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
INI = """[pytest]
filterwarnings =
    error
"""
PATH = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []

CONFTEST = """
import json
import os

import pytest
from hypothesis import Phase, settings
from praisonai_persistence.testing import _lifecycle_network

# A mutant has to be caught, not explained: without shrinking that is quick. The same examples in every run.
settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None)
settings.load_profile("mutants")

# A mutant that never answers is waited for no longer than that; the others answer within a deadline of a second.
_lifecycle_network.GIVEN_UP = 8.0

failed = set()
outcomes = {}


def clauses(item):
    cell = next(value for name, value in item.user_properties if name == "conformance")
    return cell.split("/")[3].split(",")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, name, obj):
    # What another clause is about is left out at once: collecting all of it would take longer than running the rest.
    clause = getattr(getattr(collector, "cls", None), "clause", "")
    if clause and name.startswith("test_") and not name.startswith(f"test_{clause.lower()}_"):
        marks = getattr(obj, "pytestmark", [])
        if not any(mark.name == "clause" and clause in mark.args for mark in marks):
            return []


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config, items):
    yield  # the plugin of the kit notes the clauses
    kept = [item for item in items if item.cls.clause in ("", *clauses(item)) and "size_limit" not in item.name]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def place(item):
    return item.cls.__name__, item.callspec.params["mode"]


def pytest_runtest_setup(item):
    if place(item) in failed:
        pytest.skip("this mutant is caught")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed or (report.when == "call" and report.passed):
        name, mode = place(item)
        mine = outcomes.setdefault(name.removeprefix("Test"), {}).setdefault(
            mode, {"passed": [], "failed": [], "broken": [], "printed": []}
        )
        if report.passed:
            mine["passed"].append(item.name)
        else:  # a test that could not be set up, or torn down, says nothing about a mutant
            outcome = "failed" if report.when == "call" else "broken"
            mine[outcome].append(f"{item.name}: {call.excinfo.exconly()}")
            mine["printed"].append(report.longreprtext)
        if report.failed and item.cls.clause:
            failed.add(place(item))
    return report


def pytest_sessionfinish():
    with open(os.environ["MUTANTS_REPORT"], "w", encoding="utf-8") as file:
        json.dump(outcomes, file)
"""

TESTS = """
import uuid

import pytest

from mutants import {module} as module

from praisonai_persistence.testing import {suite}, StoreSpec


def suite_of(name, clause, sync, async_):
    class Suite({suite}):
        sweep_seconds = 1  # a mistake shows at one of the first places
        modes = tuple(mode for mode, store in (("sync", sync), ("async", async_)) if store)

        @pytest.fixture
        def spec(self):
            return StoreSpec(
                "{kind}",
                sync=f"mutants.{module}:{{sync}}" if sync else None,
                async_=f"mutants.{module}:{{async_}}" if async_ else None,
                options={{"name": str(uuid.uuid4())}},
            )

    if hasattr(module, "complete"):  # with other fixtures
        module.complete(Suite, name)
    Suite.clause = clause
    Suite.__name__ = Suite.__qualname__ = f"Test{{name}}"
    return Suite


for one in module.RIGHT + module.ALL:
    globals()[f"Test{{one.name}}"] = suite_of(one.name, one.clause, one.sync, one.async_)
"""


@dataclass(frozen=True)
class Mutant:
    """A mutant as the runner needs it.

    Attributes:
        name: of the mutant; the class is ``Test<name>``.
        clause: whose tests run; all of them with an empty text, which is for stores that are right.
        sync: the sync class, or empty.
        async_: the async class, or empty.
    """

    name: str
    clause: str
    sync: str = ""
    async_: str = ""

    @property
    def modes(self) -> list[str]:
        """Where it has to be caught."""
        return [mode for mode, store in (("sync", self.sync), ("async", self.async_)) if store]


def pause() -> None:
    """Let another thread run: what a round trip to a server does between a read and a write."""
    time.sleep(0.001)


Outcomes = dict[str, dict[str, dict[str, list[str]]]]
"""Name of a mutant, mode, ``passed``, ``failed`` or ``broken``: names of tests, with what they said.

``printed`` is what pytest prints of those that failed.
"""


def run(kind: str, folder: Path, *, module: str = "", suite: str = "", tier: str = "full") -> Outcomes:
    """Run a suite, by default that of the kind, on all mutants of a module, each until its first failure."""
    suite = suite or f"{kind.capitalize()}StoreSuite"
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    tests = TESTS.format(suite=suite, kind=kind, module=module or kind)
    (folder / "test_mutants.py").write_text(tests, encoding="utf-8")
    (folder / "pytest.ini").write_text(INI, encoding="utf-8")
    report = folder / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, *OPTIONS, f"--conformance-tier={tier}", "."],
        cwd=folder,
        # The path reaches the children of the tests too, which import the mutants by name.
        env={
            **os.environ,
            **NO_OTHERS,
            "MUTANTS_REPORT": str(report),
            "PYTHONPATH": os.pathsep.join([str(TESTS_FOLDER), *PATH]),
        },
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    outcomes: Outcomes = json.loads(report.read_text(encoding="utf-8"))
    return outcomes
