"""What ended an operation: the driver, a server that stays silent, or somebody outside.

A signal handler (a soft time limit, Ctrl-C, an alarm of the caller's own) may raise anything in the middle of a call,
``TimeoutError`` and ``ValueError`` too, and drivers put some of that into errors of their own. What was raised from
outside must reach the caller as it is, so errors are told apart by where they were raised, not by class alone.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

__all__ = ["PATIENCE", "SilentError", "Watch", "from_outside"]

PATIENCE = 4 * 3600.0
"""Seconds to wait for an answer where it may legitimately take long: migrations, adoption, building an index."""


class SilentError(Exception):
    """The server did not answer in time, and its connection was dropped.

    Args:
        message: for the caller, without secrets.
        sent: whether a request was under way, so that it may have been done all the same.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def from_outside(error: BaseException, insiders: Collection[str]) -> BaseException | None:
    """Return the error that was raised into the driver from outside: this one, or one that it hides.

    Args:
        error: what arrived.
        insiders: the top-level modules of the driver.

    Returns:
        None: it is the driver's own.
    """
    found: BaseException | None = error
    hidden = False
    while found is not None:
        trace = found.__traceback__
        if trace is not None and (not hidden or _is_inside(trace, insiders)):
            while trace.tb_next is not None:
                trace = trace.tb_next
            if not _is_inside(trace, insiders):
                return found
        elif hidden:  # what the caller was handling when it called us
            return None
        found, hidden = found.__cause__ or found.__context__, True
    return None


def _is_inside(trace: TracebackType, insiders: Collection[str]) -> bool:
    name = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    return name in insiders or name.startswith("praisonai_persistence") or name in sys.stdlib_module_names


class Watch:
    """Cuts a connection in an event loop when an answer does not come in time.

    One timer serves all requests of a connection: a request costs a look at the clock, no timer of its own.

    Args:
        seconds: to wait for an answer.
        cut: ends the connection at once; whoever waits for it hears of it.

    Attributes:
        seconds: for the next request; at least what was given at first.
        silent: whether the connection was cut.
    """

    __slots__ = ("_base", "_cut", "_due", "_loop", "_now", "_timer", "seconds", "silent")

    def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
        self.seconds = self._base = seconds
        self.silent = False
        self._cut = cut
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time

    def start(self) -> None:
        """A request is about to be sent."""
        self._due = self._now() + self.seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._base, self._look)

    @property
    def running(self) -> bool:
        """Whether an answer is outstanding."""
        return self._due is not None

    def stop(self) -> None:
        """There is an answer."""
        self._due = None

    def hurry(self, seconds: float) -> None:
        """Wait for the answer that is outstanding no longer than this."""
        if self._due is not None:
            self._due = min(self._due, self._now() + seconds)
            self.end()
            self._timer = self._loop.call_later(max(0.0, self._due - self._now()), self._look)

    def end(self) -> None:
        """The connection is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        left = self._due - self._now()
        if left > 0:
            self._timer = self._loop.call_later(min(left, self._base), self._look)
        else:
            self.silent = True
            self._cut()
