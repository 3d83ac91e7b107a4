"""What a failed test of the kit says at its end: the clauses that it is about, and where they are explained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

__all__ = ["add_place", "places", "situation"]

_SESSIONS = "What all of them promise"
"""The part of ``docs/sessions.md`` about what session stores promise, which have no numbered clauses."""
_FORKS = "Forks, snapshots, shares"
"""That about what some of them have beyond."""
_FOLDER = str(Path(__file__).parent)
_SHOWN = 8
_PLAIN = (str, bytes, int, float, type(None), list, tuple, dict)


def places(kind: str, clauses: list[str], module: str = "") -> list[str]:
    """Return a line for each clause: id, title, place in the documentation.

    Args:
        kind: of the stores.
        clauses: what the test is about.
        module: that the test is written in.
    """
    from praisonai_persistence.testing.clauses import CLAUSES, MODEL, MODEL_TITLE

    titles = {MODEL: MODEL_TITLE}
    for of_kind in CLAUSES.values():
        titles.update(of_kind)
    lines = [f'{clause} "{titles[clause]}" - {_place(clause, MODEL)}' for clause in clauses if clause in titles]
    if lines:
        return lines
    if kind != "session":
        return [f"{kind} stores - docs/contract.md"]
    title = _FORKS if module.endswith("_hierarchy") else _SESSIONS
    return [f'session stores "{title}" - docs/sessions.md#{title.lower().replace(",", "").replace(" ", "-")}']


def _place(clause: str, model: str) -> str:
    return "docs/testing.md#random-walks" if clause == model else f"docs/contract.md#{clause.lower()}"


def situation(item: pytest.Function, error: BaseException) -> list[str]:
    """Return what was tested, in words, and the plain variables of the test where it failed."""
    from praisonai_persistence.testing._compare import shorten

    words = item.originalname.removeprefix("test_").split("_")
    if len(words[0]) == 3 and words[0][1:].isdigit():
        del words[0]
    lines = [f"tested: {' '.join(words)}"]
    frame, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.startswith(_FOLDER) and "self" in traceback.tb_frame.f_locals:
            frame = traceback.tb_frame
        traceback = traceback.tb_next
    if frame is not None and frame.f_code.co_name.startswith("test_"):
        found = {
            name: value
            for name, value in frame.f_locals.items()
            if isinstance(value, _PLAIN) and not name.startswith(("_", "@")) and name != "mode"
        }
        lines += [f"  {name} = {shorten(value, 120)}" for name, value in list(found.items())[-_SHOWN:]]
    return lines


def add_place(report: Any, lines: list[str]) -> None:
    """Put these lines at the end of what a failed test prints."""
    text = "\n".join(lines)
    if hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection("what the contract says", text, "-")
    else:
        report.longrepr = f"{report.longrepr}\n{text}"
