"""Options of the laboratory, and its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

# Tests are imported by their files, so neither this folder nor that of the engines is on the path.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

import engines
from work import FINDINGS


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
def rows(request):
    """Rows of the table; written at the end, also when experiments failed."""
    found = []
    yield found
    folder = request.config.getoption("--fault-report")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (folder / "faults.md").write_text(table(found), encoding="utf-8")


def table(rows):
    names = ("trials", "tried", "acknowledged", "found", "errors", *FINDINGS)
    lines = ["| backend | fault | " + " | ".join(names) + " |", "| --- | --- |" + " --: |" * len(names)]
    for row in rows:
        cells = [f"{row[name]:,}" for name in names]
        lines.append(f"| {row['backend']} | {row['fault']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
