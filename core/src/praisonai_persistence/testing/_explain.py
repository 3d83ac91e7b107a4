"""What a failed test of the kit says at its end: the clauses that it is about, and where they are explained."""

from __future__ import annotations

from typing import Any

__all__ = ["add_place", "places"]

_PLACES = {"session": "docs/sessions.md"}


def places(kind: str, clauses: list[str]) -> list[str]:
    """Return a line for each clause: id, title, place in the documentation."""
    from praisonai_persistence.testing.clauses import CLAUSES, MODEL, MODEL_TITLE

    titles = {MODEL: MODEL_TITLE}
    for of_kind in CLAUSES.values():
        titles.update(of_kind)
    lines = [
        f'{clause} "{titles[clause]}" - docs/contract.md#{clause.lower()}' for clause in clauses if clause in titles
    ]
    return lines or [f"{kind} stores - {_PLACES.get(kind, 'docs/contract.md')}"]


def add_place(report: Any, lines: list[str]) -> None:
    """Put these lines at the end of what a failed test prints."""
    text = "\n".join(lines)
    if hasattr(report.longrepr, "addsection"):
        report.longrepr.addsection("what the contract says", text, "-")
    else:
        report.longrepr = f"{report.longrepr}\n{text}"
