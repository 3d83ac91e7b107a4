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
from itertools import chain, starmap
from threading import get_ident
from typing import TYPE_CHECKING, Any

from praisonai_persistence._forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Background", "acting_for", "end_threads", "in_background"]

_LOOK = 0.5  # seconds between two looks, which matter only after a wait that was interrupted
_LEFT_ALONE = 0.5  # seconds that the end of the process waits for calls that nobody waits for


class _Threads:
    """The threads that work for calls of other threads.

    Attributes:
        acting: the number of the caller's thread, by the number of the thread that works for it.
        opening: the numbers of those that open or close a client.
        left: the numbers of those whose callers have given up.
        starting: what stands for each that was started and has not begun.
        ended: whether none is started any more.
    """

    def __init__(self) -> None:
        self._renew()
        renew_in_child(self)  # which may give the numbers of the parent's threads to its own

    def _renew(self) -> None:
        self.acting: dict[int, int] = {}
        self.opening: set[int] = set()
        self.left: set[int] = set()
        self.starting: dict[object, None] = {}
        self.ended = False

    def start(self, call: Callable[[], None], caller: int, opens: bool) -> None:
        """Start a thread that works for the one with the number ``caller``.

        The new thread is noted before its first function begins, where a ``__del__`` might come in between: C code goes
        through these iterators, and makes nothing that the garbage collector counts.

        Raises:
            RuntimeError: the process is about to end.
        """
        this = object()
        self.starting[this] = None
        if self.ended:
            self.starting.pop(this, None)
            raise RuntimeError("no thread is started any more: the process is about to end")
        begun = self.starting.pop
        first: list[Iterator[object]] = [
            starmap(begun, [(this, None)]),
            map(self.acting.setdefault, starmap(get_ident, [()]), [caller]),
        ]
        if opens:
            first.append(map(self.opening.add, starmap(get_ident, [()])))
        first.append(starmap(self._work, [(call,)]))
        answers: list[object] = []
        try:
            _thread.start_new_thread(answers.extend, (chain.from_iterable(first),))
        except BaseException:
            begun(this, None)
            raise

    def end(self, until: float) -> None:
        """Start no thread any more, and wait for those that are at work, or have not begun.

        A thread that begins while the interpreter takes itself apart may use what is not there any more, and end the
        process with a signal. One that comes back then from an engine's own code is ended by Python within that code,
        and engines in C++ end the process.

        Args:
            until: the latest, by ``time.monotonic()``. Half a second from now, if nobody waits for them any more.
        """
        self.ended = True
        soon = time.monotonic() + _LEFT_ALONE
        while self.starting or self.acting:
            now = time.monotonic()
            if now > until or (now > soon and not self.starting and self.left.issuperset(tuple(self.acting))):
                return
            time.sleep(0.001)

    def _work(self, call: Callable[[], None]) -> None:
        try:
            call()
        finally:
            ident = get_ident()
            self.opening.discard(ident)
            self.left.discard(ident)
            self.acting.pop(ident, None)


_threads = _Threads()


def end_threads(until: float) -> None:
    """Have all further calls done by the threads that start them; see ``_Threads.end``."""
    _threads.end(until)


def acting_for() -> int:
    """Return the number of the thread whose call this thread does: its own, or that of the caller who waits for it."""
    ident = get_ident()
    return _threads.acting.get(ident, ident)


def in_background() -> bool:
    """Whether this thread is opening or closing a client, or does a part of that."""
    return bool(_threads.opening) and get_ident() in _threads.opening


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
        self._thread = 0
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
            _threads.start(self._run, acting_for(), self._opens or in_background())
        except RuntimeError:  # the process is about to end
            self._run()

    def _run(self) -> None:
        self._thread = get_ident()
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
            if self._given_up:
                _threads.left.add(self._thread)
            return self._given_up
