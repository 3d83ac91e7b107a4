"""A bar on stderr while something takes long, when stderr is a terminal."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["bar"]


@contextmanager
def bar(what: str, unit: str, total: int | None = None, *, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """Hand out a function that is told of progress; it may be called by any thread.

    Args:
        what: is being done.
        unit: of what the function is told, in the plural.
        total: how many there will be; None: nobody knows.
        hidden: whether to show none.
    """
    if hidden or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[so_far]}")]
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, so_far="")
        lock = threading.Lock()
        done = 0

        def advance(number: int) -> None:
            nonlocal done
            with lock:
                done += number
                so_far = f"{done:,} {unit}" if total is None else f"{done:,} of {total:,} {unit}"
            progress.update(task, completed=done, so_far=so_far)

        yield advance
