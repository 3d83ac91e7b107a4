"""Keeping connections open, for drivers that come without a pool, or with one that does not say why it failed.

Connections are made by the caller who needs one, so an error of the driver reaches it at once and as it is. Callers
beyond the largest number wait for a time, first come first served. A connection that broke while it lay idle is
noticed before it is lent, without a round trip, if the driver can tell.

**Interrupts.** A signal handler may raise at any place of a sync call, and what only a local variable knew is lost
then. So a place in the pool is never counted: it belongs to a [Loan][], which is a lock, held by a ``with`` statement
whose end is C code and cannot be interrupted. A place whose loan is no longer held is free, however it came to that,
and its connection is closed unless it was given back with [Loan.end][].
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from praisonai_persistence._closing import Single
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import ConnectionFailedError, StoreClosedError, UnsupportedOperationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLOSE_TIMEOUT", "Lender", "Loan", "abandoned", "full", "shut"]

C = TypeVar("C")

abandoned: list[object] = []
"""The parent's connections in a forked child: closing them would end the parent's session."""
_POLL = 0.05
"""Seconds after which a caller that waits looks for places whose loans were interrupted: those wake nobody."""
CLOSE_TIMEOUT = 60.0
"""Seconds that closing waits for the operations that are under way."""

if TYPE_CHECKING:

    class _RLock:
        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
        def release(self) -> None: ...
        def _is_owned(self) -> bool: ...
        def __exit__(self, *error: object) -> None: ...

else:
    _RLock = type(threading.RLock())


def full(size: int, timeout: float) -> ConnectionFailedError:
    """Return the error for a caller that waited for one of ``size`` connections for ``timeout`` seconds."""
    return ConnectionFailedError(
        f"all {size} connections of the pool were in use for {timeout:g} seconds: raise max_size, or pool_timeout, or "
        f"look for calls that take long"
    )


def shut() -> StoreClosedError:
    """Return the error for a caller that comes after ``close``."""
    return StoreClosedError("this store is closed")


class Loan(_RLock, Generic[C]):
    """A connection for one operation, used once, by one thread: ``with loan as connection: ...; loan.end()``.

    The loan is a lock, and the end of the ``with`` statement is the lock's own, so that no interrupt can prevent it.
    Who leaves it without ``end`` leaves a connection in an unknown state, which is closed and never lent again.

    Args:
        acquire: gets the connection for a loan, usually ``Lender.acquire``.
        settle: takes it back, and whether it is broken: ``Lender.release``, or calls that.
    """

    __slots__ = ("_acquire", "_settle", "place")

    def __init__(self, acquire: Callable[[Loan[C]], C], settle: Callable[[Loan[C], bool], None]) -> None:
        self._acquire = acquire
        self._settle = settle
        self.place: _Place[C] | None = None

    def __enter__(self) -> C:
        try:
            self.acquire()
            return self._acquire(self)
        except BaseException:
            if self._is_owned():
                self.release()
            raise

    @property
    def connection(self) -> C | None:
        """What was lent."""
        return None if self.place is None else self.place.connection

    def end(self, *, broken: bool = False) -> None:
        """Give the connection back, or say that it is broken; the last thing to do in the ``with`` statement."""
        self._settle(self, broken)


class _Place(Generic[C]):
    """Room for one connection.

    Attributes:
        connection: there is none before the first use, and after it broke.
        clean: whether the connection was given back, so that it can be lent.
        since: when.
    """

    __slots__ = ("clean", "connection", "since")

    def __init__(self) -> None:
        self.connection: C | None = None
        self.clean = False
        self.since = 0.0


class Lender(Single, Generic[C]):
    """Lends connections to threads, each as a [Loan][].

    Args:
        connect: makes one.
        alive: whether an idle one can still be used.
        close: closes one; must not fail.
        max_size: how many there may be at a time.
        timeout: seconds to wait for one.
        max_idle: seconds after which an idle one is closed, when another is given back.
        disown: called in a forked child with each connection of the parent: it must not say good-bye to the server
            there, not even when the interpreter ends.
        close_timeout: seconds that ``close`` waits for the operations that are under way.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        alive: Callable[[C], bool],
        close: Callable[[C], None],
        *,
        max_size: int,
        timeout: float,
        max_idle: float = 300.0,
        disown: Callable[[C], None] | None = None,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self._connect = connect
        self._alive = alive
        self._close = close
        self._max_size = max_size
        self._timeout = timeout
        self._max_idle = max_idle
        self._disown = disown
        self._close_timeout = close_timeout
        self._closed = False
        self._fresh()
        renew_in_child(self)

    def _fresh(self) -> None:
        self._places: tuple[_Place[C], ...] = tuple(_Place() for _ in range(self._max_size))
        self._owners: dict[_Place[C], Loan[C]] = {}  # of a place in use, or left by an interrupt
        self._at_end = weakref.finalize(self, _close_idle, self._places, self._owners, self._close)
        self._idle: deque[_Place[C]] = deque()  # a hint where to find a connection; the one used last at the right end
        self._waiting: dict[Loan[C], threading.Lock] = {}  # in the order in which they came

    def _renew(self) -> None:
        self._at_end.detach()
        abandoned.append((self._places, self._owners))
        for place in self._places:
            if place.connection is not None and self._disown is not None:
                self._disown(place.connection)
        self._fresh()

    def acquire(self, loan: Loan[C]) -> C:
        """Return a connection that is the loan's; for ``Loan`` alone.

        Raises:
            ConnectionFailedError: all were in use for too long.
            StoreClosedError: after ``close``.
            UnsupportedOperationError: all are in use by operations of this thread, in the middle of which it calls.
        """
        place: _Place[C] | None = None
        if not self._waiting:
            try:  # noqa: SIM105 - suppress takes as long as the rest of this method
                place = self._idle.pop()
            except IndexError:
                pass
        if place is None or self._owners.setdefault(place, loan) is not loan:
            place = self._find(loan)
        loan.place = place
        try:
            if self._closed:
                raise shut()
            connection = place.connection
            if connection is not None:
                if place.clean and self._alive(connection):
                    place.clean = False
                    return connection
                place.connection = None
                self._close(connection)
            place.clean = False
            place.connection = connection = self._connect()
            if self._is_closed():  # meanwhile
                raise shut()
            return connection
        except BaseException:
            self.release(loan, True)
            raise

    def _find(self, loan: Loan[C]) -> _Place[C]:
        """Wait for a place, and take it for the loan."""
        owners = self._owners
        end = time.monotonic() + self._timeout
        first = not self._waiting
        alarm = threading.Lock()
        alarm.acquire()
        try:
            self._waiting[loan] = alarm
            while not self._closed:
                if first:
                    for place in self._places:
                        owner = owners.setdefault(place, loan)
                        if owner is loan or self._take_over(place, owner, loan):
                            return place
                    busy = list(owners.values())
                    if len(busy) == self._max_size and all(owner._is_owned() for owner in busy):
                        raise UnsupportedOperationError(
                            f"a call in the middle of another one of the same thread needs a connection of its own, "
                            f"and max_size is {self._max_size}"
                        )
                first = True
                left = end - time.monotonic()
                if left <= 0:
                    raise full(self._max_size, self._timeout)
                alarm.acquire(timeout=min(left, _POLL))
            raise shut()
        finally:
            self._waiting.pop(loan, None)
            if self._idle:  # who gave that back may have met an alarm that had gone off already
                self._wake()

    def _wake(self) -> None:
        """Have the first of those that wait look for a place."""
        try:  # noqa: SIM105 - takes less time
            next(iter(self._waiting.values())).release()
        except (StopIteration, RuntimeError):  # nobody waits, or somebody went, or was woken before
            pass

    def _take_over(self, place: _Place[C], owner: Loan[C], loan: Loan[C]) -> bool:
        """Take a place from a loan that is no longer held, because it was interrupted; return whether it was.

        Of several threads that try, one gets the old loan's lock, and the others see that the place has a new owner.
        """
        if owner._is_owned():  # by a call further up in this thread
            return False
        try:
            if owner.acquire(False) and self._owners.get(place) is owner:
                self._owners[place] = loan
                return True
            return False
        finally:
            try:  # noqa: SIM105 - the first call here must be of C code: no interrupt comes before it
                owner.release()
            except RuntimeError:  # it is at work
                pass

    def release(self, loan: Loan[C], broken: bool = False) -> None:
        """Take the connection of a loan back; a broken one is closed."""
        place = loan.place
        if place is None or self._owners.get(place) is not loan:  # a forked child's parent has it
            return
        if broken or self._closed:
            connection, place.connection = place.connection, None
            if connection is not None:
                self._close(connection)
            self._owners.pop(place, None)
        else:
            place.since = now = time.monotonic()
            place.clean = True
            self._owners.pop(place, None)
            self._idle.append(place)
            if self._idle[0].since < now - self._max_idle:
                self._expire(loan)
            if self._is_closed():  # meanwhile
                self._close_idle(loan)
        if self._waiting:
            self._wake()

    def _expire(self, loan: Loan[C]) -> None:
        with suppress(IndexError):
            place = self._idle.popleft()
            if self._owners.setdefault(place, loan) is loan:
                self._clear(place)

    def _clear(self, place: _Place[C]) -> None:
        connection, place.connection = place.connection, None
        if connection is not None:
            self._close(connection)
        self._owners.pop(place, None)

    def fill(self, number: int) -> None:
        """Open connections until there are so many that lie idle, as far as there are places."""
        own: Loan[Any] = Loan(lambda _: None, lambda *_: None)
        with own:
            for place in self._places[:number]:
                if self._owners.setdefault(place, own) is own:
                    if place.connection is None:
                        place.connection = self._connect()
                    place.since, place.clean = time.monotonic(), True
                    self._owners.pop(place, None)
                    self._idle.append(place)

    def close(self) -> None:
        """Let nobody in any more, wait for the operations that are under way, and close all connections.

        An operation that calls this itself, by way of a finalizer or a signal handler, closes its connection when it
        ends. So does one that has not ended within ``close_timeout``.
        """
        self._closed = True
        for alarm in list(self._waiting.values()):
            with suppress(RuntimeError):
                alarm.release()
        end = time.monotonic() + self._close_timeout
        for loan in list(self._owners.values()):
            if loan._is_owned():
                continue
            try:
                loan.acquire(timeout=max(0.0, end - time.monotonic()))
            finally:
                try:  # noqa: SIM105 - as above
                    loan.release()
                except RuntimeError:  # it is still at work
                    pass
        own: Loan[Any] = Loan(lambda _: None, lambda *_: None)
        with own:
            self._close_idle(own)

    def _is_closed(self) -> bool:
        return self._closed

    def _close_idle(self, loan: Loan[C]) -> None:
        """Close the connections that are in nobody's use."""
        for place in self._places:
            owner = self._owners.setdefault(place, loan)
            if owner is loan or self._take_over(place, owner, loan):
                self._clear(place)


def _close_idle(places: tuple[_Place[C], ...], owners: dict[_Place[C], Loan[C]], close: Callable[[C], None]) -> None:
    """Close what a lender has left that was dropped, or is still there at the end of the process."""
    own: Loan[Any] = Loan(lambda _: None, lambda *_: None)
    for place in places:
        if owners.setdefault(place, own) is own:
            connection, place.connection = place.connection, None
            if connection is not None:
                close(connection)
            owners.pop(place, None)
