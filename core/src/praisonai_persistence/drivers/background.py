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

__all__ = ["Background", "in_background"]

_LOOK = 0.5  # seconds between two looks, which matter only after a wait that was interrupted
_threads: set[int] = set()


def in_background() -> bool:
    """Whether this thread is opening or closing a client."""
    return threading.get_ident() in _threads


class Background:
    """A call that runs once, on a daemon thread.

    Args:
        call: what to run.
        late: called with an answer that comes when nobody waits any more.
    """

    def __init__(self, call: Callable[[], Any], late: Callable[[Any], None] | None = None) -> None:
        self._call = [call]  # taken out by the thread that does it, so that two starts are one
        self._late = late
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
        _threads.add(threading.get_ident())
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
            _threads.discard(threading.get_ident())

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
