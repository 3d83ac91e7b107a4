"""Writes README.md beside it: what the kit prints of each mutant.

    python core/tests/mutants/table.py

Read it after a change of the kit: an author of a backend has nothing but these lines.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LINES = 8
"""Lines of a failed assertion that the table shows."""
CHANGING = {
    r"0x[0-9a-f]{6,}": "0x…",
    r"/tmp/[\w./-]+": "/tmp/…",
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": "<uuid>",
    r"\b20\d\d-\d\d-\d\dT[\d:.]+\+00:00": "<now>",
    r"\b1(?!700000)[789]\d{8}\.\d{3,}": "…",
    r"(?<= \.\.\. )\d+\.\d+(?=, )": "…",  # the end of such a number, where the text before it is left out
    r"\bThread-\d+": "Thread-…",
    r"\b(limit|deadline) = \d+\.\d{6,}": r"\1 = …",
}
"""Of what a failure prints, what differs from run to run, and what stands for it in the table."""
HEAD = """\
# What the kit prints of each mutant

A mutant is a store with one mistake, and the suite of its kind must catch it. This is what pytest prints then: the
assertion, without the traceback and the lines `+ where`, and the end. Of the sync store, where sync and async ones are
caught. Written by `table.py`.
"""


def lines_of(printed: str) -> list[str]:
    """The lines of a failure that say what is wrong: those of the exception, the first of them, and of the contract."""
    body, _, place = printed.partition(" what the contract says ")
    error = [line.removeprefix("E").strip() for line in body.splitlines() if line.startswith("E ")]
    code = [line.strip() for line in body.partition("\nE ")[0].splitlines() if line.strip(" ^~")][-1:]
    # Where the values of an assertion came from is left out; and of a random walk, the steps.
    error = [*code, *[line for line in error if line and not line.startswith(("+ ", "and "))][:LINES]]
    return [*error, *(line for line in place.splitlines() if line.strip(" -"))]


def stable(text: str) -> str:
    """The text without most of what differs from run to run: addresses, temporary folders, random ids, the clock."""
    text = text.replace(f"{HERE.parents[2]}/", "")
    for changing, shown in CHANGING.items():
        text = re.sub(changing, shown, text)
    return text


def rows(kind: str) -> list[tuple[str, str, str, list[str]]]:
    """Name, mistake, test and lines of every mutant of a kind."""
    module = import_module(f"mutants.{kind}")
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sessions":
            found: Any = import_module("test_sessions_mutants").run_mutants(Path(folder))
            outcomes = {name.removeprefix("Test"): {"sync": ran} for name, ran in found.items()}
            names = [mutant.__name__ for mutant in module.ALL]
        else:
            outcomes = import_module("mutants.running").run(kind, Path(folder))
            names = [mutant.name for mutant in module.ALL]
    said = {}
    if kind == "conversation":
        rows_of = import_module("test_kit_mutants_conversation")
        said = {row.name: f"{row.mistake}." for row in rows_of.TABLE + rows_of.MODEL}
    table = []
    for name in names:
        ran = next(ran for ran in outcomes[name].values() if ran["failed"])
        mistake = (said.get(name) or getattr(module, name).__doc__).strip().splitlines()
        test = re.split(r"[\[:]", ran["failed"][0])[0]
        table.append((name, mistake[0], test, lines_of(stable(ran["printed"][0]))))
    return table


def main() -> None:
    """Writes the file."""
    sys.path.insert(0, str(HERE.parent))
    parts = [HEAD]
    for kind in ("conversation", "state", "knowledge", "sessions"):
        parts.append(f"## {kind.capitalize()}\n")
        for name, mistake, test, lines in rows(kind):
            text = "\n".join(line[:400] for line in lines)
            parts.append(f"**{name}**: {mistake} Caught by `{test}`.\n\n````text\n{text}\n````\n")
    (HERE / "README.md").write_text("\n".join(parts), encoding="utf-8", errors="backslashreplace")


if __name__ == "__main__":
    main()
