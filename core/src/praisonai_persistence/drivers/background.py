"""Opening and closing clients, and parts of calls, on threads of their own.

An exception from outside reaches the thread of a caller, and never one of these threads. So opening and
closing are never cut short, whatever happens to the caller, and the next caller waits for them instead of starting
again. Nobody waits for ever for a hook that never returns.

The garbage collector may run a ``__del__`` on any thread, and so on these. A thread that works for a call therefore
counts as inside of that call ([acting_for][]): a store that is called there would wait for the caller, who waits for
the thread (L08).
"""

from __future__ import annotations

import _thread
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence._forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background", "acting_for", "for_caller", "in_background"]

P = ParamSpec("P")
T = TypeVar("T")

_LOOK = 0.5  # seconds between two looks, which matter only after a wait that was interrupted


class _Threads:
    """The threads that work for calls of other threads.

    Attributes:
        acting: the number of the caller's thread, by the number of the thread that works for it.
        opening: the numbers of those that open or close a client.
    """

    def __init__(self) -> None:
        self._renew()
        renew_in_child(self)  # which may give the numbers of the parent's threads to its own

    def _renew(self) -> None:
        self.acting: dict[int, int] = {}
        self.opening: set[int] = set()

    def work(self, caller: int, opens: bool, call: Callable[[], T]) -> T:
        """Do a call for the thread with the number ``caller``."""
        ident = threading.get_ident()
        before, was_opening = self.acting.get(ident), ident in self.opening
        if ident != caller:
            self.acting[ident] = caller
        if opens:
            self.opening.add(ident)
        try:
            return call()
        finally:
            if not was_opening:
                self.opening.discard(ident)
            if before is None:
                self.acting.pop(ident, None)
            else:
                self.acting[ident] = before


_threads = _Threads()


def acting_for() -> int:
    """Return the number of the thread whose call this thread does: its own, or that of the caller who waits for it."""
    ident = threading.get_ident()
    return _threads.acting.get(ident, ident)


def in_background() -> bool:
    """Whether this thread is opening or closing a client, or does a part of that."""
    return threading.get_ident() in _threads.opening


def for_caller(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function to be called on another thread, for the call that this thread is in the middle of.

    A driver needs it for the requests that it does on threads of its own::

        def perform(self, on, request):
            return self._threads.submit(for_caller(request), on).result()

    A call of a store that is made on that thread meanwhile, by a ``__del__``, is then refused if it would be refused on
    this one.
    """
    caller, opens = acting_for(), in_background()

    def work(*args: P.args, **kwargs: P.kwargs) -> T:
        return _threads.work(caller, opens, lambda: function(*args, **kwargs))

    return work


class Background:
    """A call that runs once, on a daemon thread, for the thread that starts it.

    Args:
        call: what to run.
        late: called with an answer that comes when nobody waits any more.
        opens: whether it opens or closes a client. Then no store is called meanwhile on the thread.
    """

    def __init__(
        self, call: Callable[[], Any], late: Callable[[Any], None] | None = None, *, opens: bool = True
    ) -> None:
        self._call = [call]  # taken out by the thread that does it, so that two starts are one
        self._late = late
        self._opens = opens
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
        run = partial(_threads.work, acting_for(), self._opens or in_background(), self._run)
        try:
            _thread.start_new_thread(run, ())
        except RuntimeError:  # the interpreter is shutting down
            run()

    def _run(self) -> None:
        try:
            call = self._call.pop()
        except IndexError:
            return
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
