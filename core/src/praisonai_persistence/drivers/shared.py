"""Clients that are open in this process, and the calls that are under way on them.

Everything here has to survive an exception at any place: CPython raises what a signal handler raises behind a call, at
the entry of a function, and at a backward jump. So locks are taken by ``with`` on the lock itself, which nothing can
interrupt half-way, and nobody counts: a call makes a lock of its own, registers it, and works while it holds it.
Whoever ends a client says so first (``ended``), and then takes each registered lock once: that waits for the calls
under way, and a call that was registered but has not begun finds that the client has ended.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.drivers.background import Background, acting_for, end_threads
from praisonai_persistence.drivers.driver import Deadline, from_outside, is_loaded, load, ours
from praisonai_persistence.errors import (
    BackendError,
    ConnectionFailedError,
    PersistenceError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from praisonai_persistence.drivers.driver import Driver
    from praisonai_persistence.drivers.folders import Entries

__all__ = ["Held", "Slot", "identity", "inherited", "let_go", "slot_of"]

inherited: list[Any] = []
"""Clients of the parent in a forked child. Kept: to finalise one could say goodbye on the parent's connection."""


class Held:
    """An open client.

    Attributes:
        client: the driver's.
        identity: of the file or folder when it was opened; see [identity][].
        calls: a lock for each call that is registered, and its thread and its runner.
        entries: what the engine makes in its folder; None: nothing whose rights have to be looked after.
        ended: nobody may begin a call any more.
        broken: an exception came from outside during a call, so the client's state is not known.
        seen: when the file or folder was last seen to be the same, by ``time.monotonic()``.
        turn: held by those who take turns.
        unclosed: holds the client until somebody closes it.
        closed: the client has been closed.
    """

    __slots__ = (
        "_closing",
        "broken",
        "calls",
        "client",
        "closed",
        "ended",
        "entries",
        "identity",
        "seen",
        "turn",
        "unclosed",
    )

    def __init__(self, client: Any, identity: tuple[int, int] | None, entries: Entries | None = None) -> None:
        self.client = client
        self.identity = identity
        self.entries = entries
        self.calls: dict[Any, tuple[int, object]] = {}
        self.ended = self.broken = self.closed = False
        self.seen = 0.0
        self.turn = threading.Lock()
        self._closing: dict[str, Background] = {}  # one at the most: of two that begin at once, both wait for the same
        self.unclosed = [client]  # whoever takes it out closes the client, so that it is closed once

    def in_call(self) -> bool:
        """Whether this thread is in a call."""
        me = acting_for()
        return any(ident == me and lock.locked() for lock, (ident, _) in list(self.calls.items()))

    def close_if_idle(self, driver: Driver, *, wait: bool = True) -> None:
        """Close the client, if it has ended and no call is under way on it. Harmless when repeated.

        Args:
            driver: that opened it.
            wait: until it is closed.
        """
        if not self.ended or any(lock.locked() for lock in list(self.calls)):
            return
        closing = self._closing.setdefault("", Background(lambda: self._close(driver)))
        closing.start()
        if wait:
            closing.wait(None if driver.place is not None else driver.connect_timeout)

    def close_until(self, driver: Driver, until: float) -> None:
        """Close the client once the calls under way have ended; ``closed`` says whether that was in time.

        Args:
            driver: that opened it.
            until: the latest, by ``time.monotonic()``.
        """
        self.ended = True
        while self.wait(until=until) and time.monotonic() < until:
            self.close_if_idle(driver, wait=False)
            for closing in self._closing.values():  # none if a call has just begun, to see that the client has ended
                closing.wait(max(0.0, until - time.monotonic()))
                return

    def _close(self, driver: Driver) -> None:
        try:
            client = self.unclosed.pop()
        except IndexError:
            return
        if driver.given is None:
            # A client in an unknown state may not be able to close in peace; but an embedded engine has to let go of
            # its files, else nobody can open them again.
            let_go(driver, client, abandon=self.broken and driver.place is None)
            if self.entries is not None:
                self.entries.make_private()
        self.closed = True

    def wait(self, runner: object = None, until: float | None = None) -> bool:
        """Wait for the calls that are under way, except for those of this thread.

        Args:
            runner: wait for its calls only; None: for all.
            until: the latest, by ``time.monotonic()``; None: no limit.

        Returns:
            Whether they have ended.
        """
        me = acting_for()
        for lock, (ident, owner) in list(self.calls.items()):
            if ident == me or runner not in (None, owner):
                continue
            if until is None:
                with lock:
                    pass
            elif lock.acquire(timeout=max(0.0, until - time.monotonic())):
                lock.release()
            else:
                return False
        return True


def identity(path: str | None) -> tuple[int, int] | None:
    """Return the device and inode, which tell a file or folder from another one in its place; None: there is none."""
    if path is None:
        return None
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Slot:
    """Where the runners of one place find their client; at most one is open at a time.

    Attributes:
        held: the open client, or None.
        forked: whether the parent of this process had an open client.
        attempts: how often somebody has tried to open it.
        failure: the number of the last attempt, and its error, if it failed.
    """

    def __init__(self, driver: Driver) -> None:
        self._place = driver.place
        self.held: Held | None = None
        self._driver = driver  # that opened it, or is about to
        self._retired: list[Held] = []  # broken clients of servers, on which others still have calls under way
        self._users: dict[int, weakref.ref[Any]] = {}
        self.forked = False
        self.attempts = 0
        self.failure: tuple[int, PersistenceError] | None = None
        self._opening: Background | None = None
        self.lock = threading.RLock()
        ident = id(self)
        _slots_in_use[ident] = weakref.ref(self, lambda _: _slots_in_use.pop(ident, None))
        renew_in_child(self)

    def _renew(self) -> None:
        self.lock = threading.RLock()
        opening, held = self._opening, self.held
        for each in (*self._retired, *([] if held is None else [held])):
            inherited.append((each, each.unclosed.copy()))
            each.unclosed.clear()  # also if a call that goes on in the child is the last on it
            each.ended = True
        if opening is not None:
            inherited.append(opening)
            opened = opening.answer
            self.forked = self.forked or not (opening.error is not None or (opened is not None and opened.closed))
        self.forked = self.forked or (held is not None and not held.closed)
        self._retired, self._opening, self.held = [], None, None

    def join(self, runner: object) -> None:
        """Make a runner a user of the client, until it leaves or is dropped."""
        ident = id(runner)
        _slots_with_users.add(self)
        if ident not in self._users:
            self._users[ident] = weakref.ref(runner, lambda _: self._dropped(ident))

    def _dropped(self, ident: int) -> None:
        """Have the client closed without waiting: the garbage collector calls this, in the middle of anything."""
        self._users.pop(ident, None)
        if not self._users:
            _slots_with_users.discard(self)
        lock: Any = self.lock
        if self.busy():
            return  # this thread opens or closes it
        try:
            if lock.acquire(False):  # else another thread does
                with lock:
                    lock.release()  # from here on `with` alone has it
                    held = self.held
                    if held is not None and not self.in_use():
                        held.ended = True  # and who opens it again waits until it is closed
                        held.close_if_idle(self._driver, wait=False)
        except BaseException:
            if lock._is_owned():  # interrupted just behind `acquire`
                lock.release()
            raise

    def end(self, until: float) -> None:
        """Close the client at the end of the process, once the calls under way have ended. Not if that takes too long.

        Args:
            until: the latest, by ``time.monotonic()``.
        """
        if self.busy() or not self.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            return
        self.lock.release()  # who was opening a client has it by now
        held = self.held
        if held is not None and not held.in_call():
            held.close_until(self._driver, until)

    def close_for_fork(self, until: float) -> None:
        """Close the client, if its driver wants that; one that is open nevertheless is refused by the child.

        Args:
            until: the latest, by ``time.monotonic()``.
        """
        if self._driver.forks != "close" or self._driver.given is not None:
            return
        opening = self._opening  # before `held`, which gets what it has opened
        if opening is not None:
            opening.wait(max(0.0, until - time.monotonic()))
        for held in (self.held, None if opening is None else opening.answer):
            if held is not None and not held.in_call():
                held.close_until(self._driver, until)

    def in_use(self) -> bool:
        """Whether there is a runner that has joined, not left, and not been dropped."""
        return any(user() is not None for user in list(self._users.values()))

    def busy(self) -> bool:
        """Whether this thread is in the middle of opening or closing the client."""
        return bool(self.lock._is_owned())  # type: ignore[attr-defined]

    def open(self, driver: Driver, ready: Held | None, probe: Callable[[Held], None]) -> Held:
        """Return the open client, opening it if need be. The caller has the lock.

        Args:
            driver: says how.
            ready: the client that the caller has probed.
            probe: has a look at another one.

        Raises:
            ConnectionFailedError: it cannot be opened.
            UnsupportedOperationError: it was open before a fork, and its engine does not survive that.
        """
        held = self.held
        if held is not None and (held.ended or held.broken or self._moved(driver, held)):
            self._replace(driver, held)
            held = None
        if held is None:
            if _ending and threading.current_thread() is not threading.main_thread():
                raise UnsupportedOperationError(f"{driver.where} is not opened any more: the process is about to end")
            if self.forked and driver.forks != "reopen":
                raise UnsupportedOperationError(
                    f"{driver.where} does not survive a fork: start processes with 'spawn', or open the store in the "
                    f"child only"
                )
            held = self._opened(driver, probe)
            held.identity = identity(driver.path)
            self.held, self._driver = held, driver
            self._opening = None
            if driver.place is None:
                return held  # probed already
        if ready is not held:
            try:
                probe(held)
            finally:
                if held.ended:  # it was interrupted
                    held.close_if_idle(driver)
        return held

    def _opened(self, driver: Driver, probe: Callable[[Held], None]) -> Held:
        if self._opening is None and not is_loaded(driver):  # else somebody was interrupted who waited for it
            loading = Background(lambda: load(driver))
            loading.start()
            loading.wait(None)
            if loading.error is not None:
                raise loading.error
        with _no_fork:
            opening = self._opening
            if opening is None:
                deadline = Deadline(driver.connect_timeout, driver.where)
                opening = self._opening = Background(
                    lambda: _open(driver, deadline, probe), lambda held: let_go(driver, held.client, abandon=True)
                )
            opening.start()
        # An embedded engine may have to recover first, which takes as long as it takes.
        limit = driver.connect_timeout * 1.5 if driver.place is None else None
        if not opening.wait(limit) and opening.give_up():
            self._opening = None
            raise ConnectionFailedError(
                f"{driver.where} cannot be reached: open() or probe() of {type(driver).__name__} did not return within "
                f"{limit:g} seconds"
            )
        if opening.error is not None:
            self._opening = None
            raise opening.error
        return opening.answer  # type: ignore[no-any-return]

    @staticmethod
    def _moved(driver: Driver, held: Held) -> bool:
        return driver.path is not None and held.identity is not None and identity(driver.path) != held.identity

    def leave(self, driver: Driver, runner: object) -> None:
        """Remove a runner from the users of the client; the last one closes it. Harmless when repeated.

        Must not be called in the middle of a call of the same thread.
        """
        with self.lock:
            held = self.held
            for each in (*self._retired, *([] if held is None else [held])):
                each.wait(runner)
            self._users.pop(id(runner), None)
            if not self._users:
                _slots_with_users.discard(self)
            if not self.in_use():
                if held is not None:
                    self._end(driver, held)
                _forget(driver, self._place, self)

    def _replace(self, driver: Driver, held: Held) -> None:
        """End a client that cannot be used any more, so that another one is opened."""
        if driver.place is None and held.broken:
            # Others may wait for a server still: the last of them lets go of the client.
            self._retired.append(held)
            held.ended = True
            self.held = None
            held.close_if_idle(driver)
            self._retired = [each for each in self._retired if each.unclosed]
        else:
            self._end(driver, held)

    def _end(self, driver: Driver, held: Held) -> None:
        """Wait for the calls under way, then close the client."""
        held.ended = True
        held.wait()
        held.close_if_idle(driver)
        self.held = None


def _open(driver: Driver, deadline: Deadline, probe: Callable[[Held], None]) -> Held:
    """Open a client, and probe it if it is not shared."""
    entries: Entries | None = None
    try:
        if driver.path is not None and driver.makes:
            from praisonai_persistence.drivers.folders import Entries

            entries = Entries(driver.path, driver.makes)
        client = driver.open(deadline) if driver.given is None else driver.given
    except PersistenceError:
        raise
    except Exception as error:
        raise ours(driver, error, "open()") from error
    if client is None:
        raise BackendError(f"open() of {type(driver).__name__} returned None instead of a client")
    held = Held(client, None, entries)
    if entries is not None:
        entries.make_private()
    if driver.place is None:
        try:
            probe(held)
        except BaseException:
            let_go(driver, client, abandon=False)
            raise
    return held


def let_go(driver: Driver, client: Any, *, abandon: bool) -> None:
    """Close or abandon a client that was not handed in; what fails is ignored, unless it came from outside."""
    if driver.given is not None:
        return
    try:
        (driver.abandon if abandon else driver.close)(client)
    except Exception as error:
        if from_outside(driver, error):
            raise


_LAST_WAIT = 5.0
"""Seconds that the end of the process waits for calls under way, and for the clients to close."""
_ending = False


def _end_all() -> None:
    """Close what is open at the end of the process, before Python takes apart what the clients need for that.

    A daemon thread in the middle of a call would be stopped within the engine's own code, which some do not survive.
    """
    global _ending  # noqa: PLW0603 - once in the life of a process
    _ending = True
    until = time.monotonic() + _LAST_WAIT
    for slot in _living_slots():
        slot.end(until)
    end_threads(until)


_FORK_WAIT = 5.0
"""Seconds that a fork waits for calls under way on clients that have to be closed."""
_no_fork = threading.RLock()
"""Held by who forks, so that nobody begins to open a client meanwhile. Nothing else is waited for while it is held."""


def _before_fork() -> None:
    until = time.monotonic() + _FORK_WAIT
    for slot in _living_slots():
        slot.close_for_fork(until)


if hasattr(os, "register_at_fork"):
    # The lock is taken and given back by the interpreter itself, between whose steps no exception can come.
    os.register_at_fork(before=_before_fork)
    os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release)

_slots_in_use: dict[int, weakref.ref[Slot]] = {}
"""By identity. No ``WeakSet``: other threads add to it while somebody looks through it."""


def _living_slots() -> list[Slot]:
    return [slot for reference in list(_slots_in_use.values()) if (slot := reference()) is not None]


_slots_with_users: set[Slot] = set()
"""Kept until their runners have left, or were dropped. A slot that became garbage together with its runner, as part of
one cycle, would not be told: Python does not call back what is garbage itself, and the client would not be closed."""
atexit.register(_end_all)
_slots: dict[tuple[type, Hashable], Slot] = {}
_finding = threading.RLock()


def slot_of(driver: Driver) -> Slot:
    """Return the slot of a driver's place, which all runners there share."""
    if driver.place is None:
        return Slot(driver)
    key = (type(driver), driver.place)
    with _finding:
        slot = _slots.get(key)
        if slot is None:
            slot = _slots[key] = Slot(driver)
        return slot


def _forget(driver: Driver, place: Hashable | None, slot: Slot) -> None:
    with _finding:
        if place is not None and _slots.get((type(driver), place)) is slot and not slot.in_use():
            del _slots[type(driver), place]


class _Finding:
    def _renew(self) -> None:
        global _finding  # noqa: PLW0603 - a lock that another thread held at the moment of the fork
        _finding = threading.RLock()


_renewed = _Finding()
renew_in_child(_renewed)
