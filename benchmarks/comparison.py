"""What a comparison found: figures of contestants, and the table, the verdict and the picture made of them."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Claim", "Found", "is_rate", "markdown", "plot", "verdict"]

APPEND, RESUME, LISTING = 0.8, 1.5, 5.0
"""Beside the bare driver: at least of its rate, at most of its time, at most of its time."""
FLAT = 0.85
"""At least, of the rate at the smallest size, at the largest."""
_INFORMATION = ("import", "first write")
"""Workloads that the verdict says nothing about."""
_HEAD = """Medians of {rounds} rounds. In brackets: how many times better this project is than that contestant in this
workload (below 1: worse), the median of the ratios of single rounds. Rates are per second. A dash: it has no such
operation, or could not do it, for the reason below the table."""
_RATES = ("append", "8 threads", "64 tasks", "set", "get", "upsert")


@dataclass
class Found:
    """A contestant and what was found out about it.

    Attributes:
        name: its file and class, ``file:Class``.
        title: in the tables.
        engine: what it stores in.
        role: ``ours``, ``bare`` or ``peer``.
        beside: the class of this project that it is compared with, or that it stands in for; empty: the engine's first.
        figures: of each workload, one for each round; none where it could not do it.
        notes: of each workload.
        flaws: workloads in which it did less than was asked: lost, misordered, refused.
        facts: versions and durability.
    """

    name: str
    title: str
    engine: str
    role: str
    beside: str = ""
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    flaws: set[str] = field(default_factory=set)
    facts: dict[str, str] = field(default_factory=dict)

    def note(self, workload: str, text: str, *, flaw: bool = False) -> None:
        """Add a remark to the cell of a workload, once."""
        notes = self.notes.setdefault(workload, [])
        if text and text not in notes:
            notes.append(text)
        if flaw:
            self.flaws.add(workload)

    @property
    def durable(self) -> int:
        """How much of durability it has, as its running connection says: 0 nothing, 1 less than 2, a sync a write."""
        text = self.facts.get("durability", "")
        if "OFF" in text or "=off" in text or text.startswith("0 syncs"):
            return 0
        return 1 if "NORMAL" in text else 2

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "title": self.title,
            "role": self.role,
            "engine": self.engine,
            **self.facts,
            "figures": self.figures,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Claim:
    """A sentence of the verdict; ``met`` is None where there is nothing to judge."""

    text: str
    met: bool | None


def is_rate(workload: str) -> bool:
    """Whether more is better."""
    return workload.startswith(_RATES)


def ratio(one: Found, ours: Found | None, workload: str) -> float | None:
    """How many times better ours is: the median of the rounds' ratios."""
    mine, theirs = ours.figures.get(workload) if ours else None, one.figures.get(workload)
    if not mine or not theirs:
        return None
    ratios = [a / b if is_rate(workload) else b / a for a, b in zip(mine, theirs, strict=False)]
    return statistics.median(ratios)


def rival(one: Found, everyone: Sequence[Found]) -> Found | None:
    """The row of this project that a contestant is compared with: the same way to store, and no less durable."""
    ours = [other for other in everyone if other.role == "ours" and other.engine == one.engine]
    if one.beside:
        ours = [other for other in ours if other.name.endswith(f":{one.beside}") or other.beside == one.beside]
    enough = [other for other in ours if other.durable >= one.durable]
    return min(enough or ours, key=lambda other: other.durable, default=None)  # the first of the least durable


def _size(workload: str) -> int:
    return int(workload.split()[-1].replace(",", ""))


def verdict(everyone: Sequence[Found]) -> list[Claim]:
    """Judge this project: beside every peer at equal durability, beside the bare driver, and by its own growth."""
    claims = [_beside_peers(everyone)]
    claims += [
        Claim(f"{one.title} did not run: {one.facts['failure']}", False) for one in everyone if "failure" in one.facts
    ]
    for bare in (one for one in everyone if one.role == "bare"):
        claims += _beside_bare(bare, rival(bare, everyone))
    for ours in (one for one in everyone if one.role == "ours"):
        sizes = sorted((name for name in ours.figures if name.startswith("append ") and ours.figures[name]), key=_size)
        if len(sizes) > 1 and ours.engine != "files":
            small, large = ours.figures[sizes[0]], ours.figures[sizes[-1]]
            share = statistics.median(b / a for a, b in zip(small, large, strict=True))
            what = f"rate at {_size(sizes[-1]):,} messages is {share:.2f} of that at {_size(sizes[0]):,}"
            claims.append(Claim(f"{ours.title}: its {what} (at least {FLAT})", share >= FLAT))
    return claims


def _beside_peers(everyone: Sequence[Found]) -> Claim:
    compared, behind, excused = 0, [], []
    for one in everyone:
        ours = rival(one, everyone) if one.role == "peer" else None
        for workload in one.figures:
            better = ratio(one, ours, workload)
            if ours is None or better is None or workload.startswith(_INFORMATION):
                continue
            compared += 1
            if better < 1:
                text = f"{workload}: {better:.2f} times {one.title}"
                if workload in one.flaws:
                    excused.append(f"{text} (which did less: {'; '.join(one.notes[workload])})")
                elif ours.durable > one.durable and is_rate(workload):  # reads do not sync
                    excused.append(f"{text} (which is less durable: {one.facts.get('durability', '')})")
                else:
                    behind.append(text)
    if not compared:
        return Claim("no peer was measured", None)
    text = f"ahead of the peer at equal durability in {compared - len(behind) - len(excused)} of {compared} comparisons"
    if behind:
        text += f"; behind in {'; '.join(behind)}"
    if excused:
        text += f"; not comparable, and slower than: {'; '.join(excused)}"
    return Claim(text, not behind)


def _beside_bare(bare: Found, ours: Found | None) -> Iterable[Claim]:
    for workload in bare.figures:
        better = ratio(bare, ours, workload)
        if better is None or ours is None:
            continue
        if workload.startswith("append "):
            yield Claim(f"{workload}: {better:.2f} of the bare driver's rate (at least {APPEND})", better >= APPEND)
        elif workload.startswith(("resume", "list")):
            limit = RESUME if workload.startswith("resume") else LISTING
            text = f"{workload}: {1 / better:.2f} times the bare driver's time (at most {limit:g})"
            yield Claim(text, 1 / better <= limit)


# -------------------------------------------------------------------------------------------------------------- output


def number(value: float) -> str:
    """A figure with three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")


def markdown(engine: str, everyone: Sequence[Found], facts: Mapping[str, Any], rounds: int) -> str:
    """The table of one engine, a line for each contestant, and the verdict."""
    workloads = list(dict.fromkeys(name for one in everyone for name in one.figures))
    workloads = [name for name in workloads if any(one.figures.get(name) or one.notes.get(name) for one in everyone)]
    lines = [
        f"# {engine}",
        "",
        _HEAD.format(rounds=rounds),
        "",
        "| contestant | durability, as the running connection says | "
        + " | ".join(f"{name} ({'/s' if is_rate(name) else 'ms'})" for name in workloads)
        + " |",
        "| --- | --- |" + " ---: |" * len(workloads),
    ]
    remarks: dict[str, int] = {}
    for one in everyone:
        cells = [f"**{one.title}**" if one.role == "ours" else one.title, _cell(one.facts.get("durability", "—"))]
        for workload in workloads:
            found = one.figures.get(workload)
            better = None if one.role == "ours" else ratio(one, rival(one, everyone), workload)
            text = number(statistics.median(found)) if found else "—"
            if better is not None:
                text += f" ({number(better)})"
            for note in one.notes.get(workload, []):
                text += f" [{remarks.setdefault(note, len(remarks) + 1)}]"
            cells.append(text)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"* [{place}] {_cell(note)}" for note, place in remarks.items())]
    lines += ["", "## Verdict", ""]
    marks = {True: "met", False: "MISSED", None: "not measured"}
    lines += [f"* {marks[claim.met]}: {_cell(claim.text)}" for claim in verdict(everyone)]
    lines += ["", "## What ran", ""]
    lines += [f"* {one.title}: {one.facts['versions']}" for one in everyone if one.facts.get("versions")]
    lines += [f"* {name}: {value}" for name, value in facts.items()]
    return "\n".join(lines) + "\n"


def plot(engine: str, everyone: Sequence[Found], facts: Mapping[str, Any], path: Path) -> None:
    """Draw rates and times: as curves by the length of the session where there are lengths, else as bars."""
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    if any(name.startswith(("append", "resume")) for one in everyone for name in one.figures):
        figure, axes = pyplot.subplots(1, 2, figsize=(15, 5.5))
        _curves(axes[0], everyone, "append", "messages a second", f"{engine}: append one at a time")
        _curves(axes[1], everyone, "resume", "milliseconds", f"{engine}: resume with the latest messages")
        axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        workloads = list(dict.fromkeys(name for one in everyone for name in one.figures if one.figures[name]))
        figure, axes = pyplot.subplots(1, len(workloads), figsize=(4 * len(workloads), 4.5), squeeze=False)
        for axis, workload in zip(axes[0], workloads, strict=True):
            for place, one in enumerate(everyone):
                if found := one.figures.get(workload):
                    axis.bar(place, statistics.median(found), label=one.title)
            axis.set_title(f"{workload} ({'/s' if is_rate(workload) else 'ms'})", fontsize=9)
            axis.set_xticks([])
        axes[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    versions = "; ".join(one.facts["versions"] for one in everyone if one.facts.get("versions"))
    machine = "; ".join(str(facts[name]) for name in ("processor", "system", "python") if name in facts)
    figure.text(0.01, 0.005, f"{machine}\n{'; '.join(dict.fromkeys(versions.split('; ')))}", fontsize=5, wrap=True)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _curves(axis: Any, everyone: Sequence[Found], kind: str, label: str, title: str) -> None:
    for one in everyone:
        points = [
            (_size(name), statistics.median(found))
            for name, found in one.figures.items()
            if name.startswith(kind) and found
        ]
        if points:
            style = "--" if one.role == "bare" else "-"
            width = 3 if one.role == "ours" else 1.5
            axis.plot(*zip(*sorted(points), strict=True), style, marker="o", linewidth=width, label=one.title)
    axis.set(xscale="log", yscale="log", xlabel="messages in the session", ylabel=label, title=title)
    axis.grid(visible=True, which="both", alpha=0.3)
