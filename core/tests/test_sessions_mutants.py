"""The session suite catches every mistake that a mutant makes, by the test that is about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mutants import running, sessions

sys.path.pop(0)

CONFTEST = """
import json
import os

import pytest

outcomes = {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    kept = [item for item in items if item.cls.caught_by in ("", item.originalname)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed or report.when == "call":
        mine = outcomes.setdefault(item.cls.__name__, {"passed": [], "failed": [], "broken": [], "printed": []})
        mine["passed" if report.passed else "failed" if report.when == "call" else "broken"].append(item.name)
        if report.failed:
            mine["printed"].append(report.longreprtext)
    return report


def pytest_sessionfinish():
    with open(os.environ["MUTANTS_REPORT"], "w", encoding="utf-8") as file:
        json.dump(outcomes, file)
"""

TESTS = """
import uuid

import pytest

from mutants import sessions
from praisonai_persistence.testing import SessionStoreSuite, StoreSpec


def suite_of(mutant):
    class Suite(SessionStoreSuite):
        caught_by = mutant.caught_by
        crash_trials = 1

        @pytest.fixture
        def spec(self):
            return StoreSpec("session", sync=f"mutants.sessions:{mutant.__name__}", options={"name": str(uuid.uuid4())})

    Suite.__name__ = Suite.__qualname__ = f"Test{mutant.__name__}"
    return Suite


for one in sessions.RIGHT + sessions.ALL:
    globals()[f"Test{one.__name__}"] = suite_of(one)
"""


def run_mutants(folder: Path):
    """Run the suite on all mutants; name of the class, then ``passed``, ``failed``, ``broken``, ``printed``."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_mutants.py").write_text(TESTS, encoding="utf-8")
    (folder / "pytest.ini").write_text(running.INI, encoding="utf-8")
    report = folder / "report.json"
    path = os.pathsep.join([str(Path(__file__).parent), *running.PATH])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *running.PLUGINS, *running.OPTIONS, "."],
        cwd=folder,
        env={**os.environ, **running.NO_OTHERS, "MUTANTS_REPORT": str(report), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=570,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return json.loads(report.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return run_mutants(tmp_path_factory.mktemp("mutants"))


@pytest.mark.parametrize("mutant", sessions.ALL, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_caught(mutant, outcomes):
    ran = outcomes[f"Test{mutant.__name__}"]
    assert ran["broken"] == []
    assert ran["failed"], f"{mutant.__name__} passes {mutant.caught_by}"
    assert ran["passed"] == []


@pytest.mark.parametrize("right", sessions.RIGHT, ids=lambda right: right.__name__)
def test_a_store_without_a_mistake_passes_everything(right, outcomes):
    ran = outcomes[f"Test{right.__name__}"]
    assert ran["failed"] == ran["broken"] == []
    assert len(ran["passed"]) > 30
