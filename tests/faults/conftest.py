"""Options of the laboratory, and its table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# Tests are imported by their files, so neither this folder nor that of the engines is on the path.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

import engines
from backends import BACKENDS
from engines.dynamodb import LOGIN
from strikes import FAULTS
from work import FINDINGS

for _name, _value in LOGIN.items():
    # Here, because the writers' processes have the environment of the moment at which the first of them was started.
    os.environ.setdefault(_name, _value)

ORDER = {name: place for place, name in enumerate([*BACKENDS, *FAULTS])}


def pytest_addoption(parser):
    parser.addoption("--trials", type=int, default=200, help="how often each fault strikes (default 200)")
    parser.addoption(
        "--fault-report", type=Path, default=None, metavar="FOLDER", help="write faults.md and faults.json"
    )


@pytest.fixture(scope="session", autouse=True)
def _engines():
    yield
    engines.shut_down()


@pytest.fixture(scope="session")
def report(request):
    """Take a row of the table, and write the table at once: the whole takes hours, and may be done in pieces."""
    folder = request.config.getoption("--fault-report")
    describe = ["git", "describe", "--always", "--dirty"]  # of which code a row speaks
    commit = subprocess.run(
        describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()

    def take(row):
        if folder is None:
            return
        row = {**row, "commit": commit}
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "faults.json"
        rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else []
        rows = [*(old for old in rows if (old["backend"], old["fault"]) != (row["backend"], row["fault"])), row]
        rows.sort(key=lambda one: (ORDER[one["backend"]], ORDER[one["fault"]]))
        kept.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (folder / "faults.md").write_text(table(rows), encoding="utf-8")

    return take


def table(rows):
    names = ("trials", "tried", "acknowledged", "found", "errors", *FINDINGS)
    lines = [
        "| backend | fault | " + " | ".join(names) + " | commit |",
        "| --- | --- |" + " --: |" * len(names) + " --- |",
    ]
    for row in rows:
        cells = [f"{row[name]:,}" for name in names]
        lines.append(f"| {row['backend']} | {row['fault']} | " + " | ".join(cells) + f" | {row['commit']} |")
    spared = [(backend.name, *each) for backend in BACKENDS.values() for each in backend.spared.items()]
    if spared:
        lines += ["", "Left out, because it is known to fail:", "", "| backend | fault | how |", "| --- | --- | --- |"]
        lines += [f"| {' | '.join(each)} |" for each in spared]
    return "\n".join(lines) + "\n"
