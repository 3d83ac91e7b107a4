"""How far something is that takes long, on stderr: a bar on a terminal, else lines, if they are asked for."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "progress_option", "showing"]

_EVERY = 5.0  # seconds between two lines


def progress_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--progress``."""
    return click.option(
        "--progress/--no-progress",
        "progress",
        default=None,
        help="Show on stderr how far it is; without a terminal, a line every few seconds. [default: on a terminal]",
    )(function)


class Progress:
    """Counts, and shows nothing. Any thread may call it.

    Args:
        what: is being done.
        units: what is done one by one, in the plural.
        items: what is in them, in the plural; the same where nothing is.
    """

    shown = False
    """Whether it is worth finding out how much there is."""

    def __init__(self, what: str = "", units: str = "", items: str = "") -> None:
        self._what, self._names = what, (units, items)
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._units = self._items = 0
        self._of: tuple[int | None, int | None] = (None, None)
        self._place: Callable[[], float] | None = None

    def expect(self, *, units: int | None = None, items: int | None = None) -> None:
        """Say how many there are; the time that is left is estimated from ``items``, or else from ``units``."""
        self._of = (units, items)

    def measure(self, place: Callable[[], float]) -> None:
        """Give a function that says which part is done, from 0 to 1."""
        self._place = place

    def add(self, *, units: int = 0, items: int = 0) -> None:
        """Count what is done."""
        with self._lock:
            self._units += units
            self._items += items
        self._show()

    def _show(self) -> None:
        return

    def _part(self) -> float | None:
        for done, of in ((self._items, self._of[1]), (self._units, self._of[0])):
            if of:
                return min(1.0, done / of)
        return None if self._place is None else min(1.0, self._place())

    def text(self) -> str:
        """Say how far it is: numbers, the part that is done, the rate and the time that is left."""
        seconds = time.monotonic() - self._begun
        units, items = self._names
        parts = [_count(self._units, self._of[0], units)] if units != items else []
        parts.append(_count(self._items, self._of[1] if units != items else self._of[1] or self._of[0], items))
        part = self._part()
        if part is not None:
            parts.append(f"{100 * part:.0f} %")
        if seconds > 0:
            parts.append(f"{self._items / seconds:,.0f}/s")
        if part:
            parts.append(f"{_clock(seconds * (1 - part) / part)} left")
        return ", ".join(parts)


def _count(done: int, of: int | None, name: str) -> str:
    return f"{done:,} {name}" if of is None else f"{done:,} of {of:,} {name}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _Lines(Progress):
    shown = True

    def __init__(self, what: str, units: str, items: str) -> None:
        super().__init__(what, units, items)
        self._next = self._begun + _EVERY

    def _show(self) -> None:
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _EVERY
        self.say()

    def say(self) -> None:
        """Print how far it is."""
        click.echo(f"{self._what}: {self.text()}", err=True)


class _Bar(Progress):
    shown = True

    def __init__(self, what: str, units: str, items: str, shown: Any) -> None:
        super().__init__(what, units, items)
        self._shown = shown
        self._task = shown.add_task(f"{what}:", total=None, so_far="")

    def _show(self) -> None:
        part = self._part()
        more = {} if part is None else {"total": 1.0, "completed": part}
        self._shown.update(self._task, so_far=self.text(), **more)


@contextmanager
def showing(
    what: str, units: str, items: str, wanted: bool | None = None, *, hidden: bool = False
) -> Iterator[Progress]:
    """Hand out what is told of the progress.

    Args:
        what: is being done.
        units: see [Progress][].
        items: likewise.
        wanted: what ``--progress`` says; None: on a terminal.
        hidden: whether to show none in any case.
    """
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if hidden or not (terminal if wanted is None else wanted):
        yield Progress(what, units, items)
        return
    if not terminal:
        lines = _Lines(what, units, items)
        yield lines
        lines.say()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Shown

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[so_far]}")]
    with Shown(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as shown:
        yield _Bar(what, units, items, shown)
