"""Opening and closing clients on threads of their own.

An exception from outside reaches the thread of a caller, and never one of these threads. So opening and
closing are never cut short, whatever happens to the caller, and the next caller waits for them instead of starting
again. Nobody waits for ever for a hook that never returns.
"""

from __future__ import annotations

import _thread
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background", "acting_for", "in_background"]

_LOOK = 0.5  # seconds between two looks, which matter only after a wait that was interrupted
_threads: set[int] = set()
_acting: dict[int, int] = {}


def acting_for() -> int:
    """Return the number of the thread whose call this thread does: its own, or that of the caller who waits for it."""
    ident = threading.get_ident()
    return _acting.get(ident, ident)


def in_background() -> bool:
    """Whether this thread is opening or closing a client."""
    return acting_for() in _threads


class Background:
    """A call that runs once, on a daemon thread.

    Args:
        call: what to run.
        late: called with an answer that comes when nobody waits any more.
        acts_for: the number of the thread whose call it is a part of, for calls that open or close no client.
    """

    def __init__(
        self, call: Callable[[], Any], late: Callable[[Any], None] | None = None, *, acts_for: int | None = None
    ) -> None:
        self._call = [call]  # taken out by the thread that does it, so that two starts are one
        self._late = late
        self._acts_for = acts_for
        self._given_up = False
        self._ended = False
        self._under_way = threading.Lock()
        self._under_way.acquire()
        self._finishing = threading.Lock()
        self.answer: Any = None
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start. Harmless when repeated."""
        if not self._call:
            return
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # the interpreter is shutting down
            self._run()

    def _run(self) -> None:
        try:
            call = self._call.pop()
        except IndexError:
            return
        ident = threading.get_ident()
        if self._acts_for is None:
            _threads.add(ident)
        elif ident != self._acts_for:
            _acting[ident] = self._acts_for
        try:
            try:
                self.answer = call()
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                self.error = error
            with self._finishing:
                self._ended = True
                late = self._given_up and self.error is None
            self._under_way.release()
            if late and self._late is not None:
                self._late(self.answer)
        finally:
            _threads.discard(ident)
            _acting.pop(ident, None)

    def withdraw(self) -> bool:
        """Return whether it has not begun; then it never will."""
        try:
            self._call.pop()
        except IndexError:
            return False
        return True

    def wait(self, seconds: float | None) -> bool:
        """Wait for at most so many seconds (None: no limit); return whether the call has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        while not self._ended:
            left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
            if left <= 0:
                return False
            if self._under_way.acquire(timeout=left):
                self._under_way.release()
        return True

    def give_up(self) -> bool:
        """Stop waiting: a later answer goes to ``late``. Return False if the call has ended already."""
        with self._finishing:
            self._given_up = not self._ended
            return self._given_up
