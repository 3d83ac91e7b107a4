"""The runner of drivers with a sync client."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from praisonai_persistence.drivers.background import Background, acting_for, in_background
from praisonai_persistence.drivers.driver import (
    Driver,
    check_attributes,
    check_exists,
    from_outside,
    ours,
    raised_outside,
)
from praisonai_persistence.drivers.shared import identity, slot_of
from praisonai_persistence.errors import (
    ConnectionFailedError,
    PersistenceError,
    StoreClosedError,
    UnsupportedOperationError,
)
from praisonai_persistence.locks import LockTimeoutError, holding_file
from praisonai_persistence.steps import Pause, is_write, run
from praisonai_persistence.stores.runners import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from praisonai_persistence.drivers.shared import Held, Slot
    from praisonai_persistence.steps import Steps

__all__ = ["DriverRunner"]

P = ParamSpec("P")
T = TypeVar("T")


class Outside(BaseException):
    """Carries an exception that came from outside past the steps, which must not handle it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class DriverRunner(Runner):
    """Runs operations on the client of a [Driver][], for sync callers. Safe to share between threads.

    It connects with the first operation, and implements L01 to L03, L06, L08, L09 and L11. The deadlines (L05) are kept
    by the driver's client.

    Args:
        driver: says how to open the client, and what its errors mean.
    """

    def __init__(self, driver: Driver) -> None:
        check_attributes(driver)
        self._driver = driver
        self._slot: Slot | None = None
        self._ready: Held | None = None  # the client that was probed
        self._closed = False
        # What every call asks for.
        self._perform = driver.perform
        self._lock_file = driver.lock_file
        self._turns = "writes" if driver.lock_file is not None and driver.turns == "none" else driver.turns
        self._path = driver.path
        self._reopens = driver.interrupts == "reopen"
        own = type(driver).is_own_thread is not Driver.is_own_thread
        self._is_own_thread = driver.is_own_thread if own else None

    @property
    def driver(self) -> Driver:
        """What the runner was made with."""
        return self._driver

    def expect_existing(self) -> None:
        """See [Runner.expect_existing][]."""
        self._driver.must_exist = True

    def connect(self) -> None:
        """See [Runner.connect][]."""
        self._held()

    def refuse_if_closed(self) -> None:
        """Raise an error after ``close``.

        Raises:
            StoreClosedError: it was called.
        """
        if self._closed:
            raise StoreClosedError("this store is closed")

    def run(self, operation: Callable[P, Steps[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See [Runner.run][]."""
        write = is_write(operation)
        outside: BaseException
        repeated = False
        while True:
            held = self._held(write)
            call = threading.Lock()
            held.calls[call] = acting_for(), self
            try:
                with call:
                    if held.ended:  # meanwhile
                        continue
                    if self._turns == "none" or (self._turns == "writes" and not write):
                        return self._operate(held, write, operation, *args, **kwargs)
                    with held.turn:
                        if held.broken:  # by the call before
                            continue
                        if self._lock_file is None or not write:
                            return self._operate(held, write, operation, *args, **kwargs)
                        return self._locked(partial(self._operate, held, write, operation, *args, **kwargs))
            except Outside as error:
                outside = error.error
                break
            except PersistenceError as error:
                if repeated or not self._repeats(error, write):
                    raise
                repeated = True
            finally:
                held.calls.pop(call, None)
                if held.ended or self._closed:
                    self._leave(held)
        try:
            raise outside
        finally:
            del outside

    def _locked(self, work: Callable[[], T]) -> T:
        """Do something while no other process writes."""
        driver, path, caller = self._driver, self._lock_file or "", acting_for()
        inner = _holders.get(path) == caller
        if inner and caller != threading.get_ident():
            raise self._reentered()  # a call of another runner holds it, and waits for this thread

        def locked() -> T:
            try:
                _holders[path] = caller
                return work()
            finally:
                _holders.pop(path, None)

        try:
            return holding_file(path, driver.lock_timeout, work if inner else locked)
        except LockTimeoutError as error:
            raise ConnectionFailedError(
                f"{driver.where}: another program held the lock for writers for longer than lock_timeout"
            ) from error
        except OSError as error:
            if isinstance(error, PersistenceError) or from_outside(driver, error):
                raise
            raise ours(driver, error) from error

    def _repeats(self, error: PersistenceError, write: bool) -> bool:
        try:
            return bool(self._driver.repeats(error, write=write))
        except Exception as failed:
            if from_outside(self._driver, failed):
                raise
            raise ours(self._driver, failed, "repeats()") from failed

    def _operate(self, held: Held, write: bool, operation: Callable[..., Steps[T]], *args: Any, **kwargs: Any) -> T:
        driver, hook = self._driver, "begin()"
        try:
            with driver.begin(held.client, write=write) as on:  # type: ignore[union-attr]
                perform, hook = self._perform, ""

                def ask(request: Any) -> Any:
                    if type(request) is Pause:
                        return time.sleep(request.seconds)
                    try:
                        return perform(on, request)
                    except PersistenceError:
                        raise
                    except BaseException as error:
                        raised = raised_outside(driver, error)
                        if raised is not None:
                            raise Outside(raised) from None
                        raise ours(driver, error) from error  # type: ignore[arg-type]

                answer = run(operation(*args, **kwargs), ask)
            if write and held.entries is not None:
                held.entries.make_private()
            return answer
        except PersistenceError as error:
            self._look_at(held, error)
            raise
        except Outside:
            self._interrupted(held)
            raise
        except BaseException as error:
            raised = raised_outside(driver, error)
            if raised is not None:
                self._interrupted(held)
                raise Outside(raised) from None
            failure = ours(driver, error, hook)  # type: ignore[arg-type]
            self._look_at(held, failure)
            raise failure from error

    def _interrupted(self, held: Held) -> None:
        held.broken = self._reopens
        if self._reopens and self._driver.place is not None:
            # An embedded engine may hold locks of its files, for which other processes wait: it is closed by the last
            # call that is under way, and not only before the next one.
            held.ended = True

    def _look_at(self, held: Held, failure: PersistenceError) -> None:
        """See whether the client can go on after a failure."""
        driver = self._driver
        try:
            lost = driver.lost == "reopen" and isinstance(failure, ConnectionFailedError)
            lost = lost and not getattr(failure, "connected", False)  # a driver's own error may say so
            held.broken = held.broken or lost or driver.spoiled(held.client)
        except Exception as failed:
            if from_outside(self._driver, failed):
                raise
            raise ours(self._driver, failed, "spoiled()") from failed

    # ------------------------------------------------------------------------------------------------------ connecting

    def _held(self, write: bool = True) -> Held:
        held = self._ready
        if held is None or held.ended or held.broken or self._closed:
            return self._open()
        if self._path is not None:
            now = time.monotonic()
            if write or now - held.seen > _GLANCE:
                if identity(self._path) != held.identity:
                    return self._open()
                held.seen = now
        if (held.calls and not self._driver.reentrant and held.in_call()) or self._works_here():
            raise self._reentered()
        return held

    def _works_here(self) -> bool:
        """Whether this thread is one that calls wait for."""
        if in_background():
            return True
        if self._is_own_thread is None:
            return False
        try:
            return bool(self._is_own_thread())
        except Exception as error:
            if from_outside(self._driver, error):
                raise
            raise ours(self._driver, error, "is_own_thread()") from error

    def _reentered(self) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"{self._driver.where}: a call was made in the middle of another call of the same thread, or on a thread "
            f"that works for one (from a __del__, a weak reference's callback, or a signal handler), which is not "
            f"supported; make it from another thread"
        )

    def _open(self) -> Held:
        self.refuse_if_closed()
        slot = self._slot or self._found()
        if slot.busy() or (slot.held is not None and slot.held.in_call()) or self._works_here():
            raise self._reentered()
        outside: BaseException
        try:
            return self._open_in(slot)
        except Outside as error:
            outside = error.error
        raise outside

    def _open_in(self, slot: Slot) -> Held:
        arrived = slot.attempts
        with slot.lock:
            self.refuse_if_closed()  # meanwhile
            failure = slot.failure
            if failure is not None and failure[0] > arrived:
                # Somebody has tried since, in vain: the next in the queue does not wait for as long again.
                raise type(failure[1])(*failure[1].args) from failure[1].__cause__
            slot.attempts = attempt = slot.attempts + 1
            slot.join(self)
            try:
                check_exists(self._driver)
                held = self._ready = slot.open(self._driver, self._ready, self._probe)
            except PersistenceError as error:
                slot.failure = attempt, error
                raise
            slot.failure = None
        self._check_open()  # a call in the middle of this one may have closed the store
        return held

    def _check_open(self) -> None:
        if self._closed:
            self.close()
            raise StoreClosedError("this store is closed")

    def _found(self) -> Slot:
        with _first:
            if self._slot is None:
                self._slot = slot_of(self._driver)
            return self._slot

    def _probe(self, held: Held) -> None:
        try:
            probe = self._driver.probe()
            if probe is None:
                return
            iter(probe)
        except Exception as error:
            if from_outside(self._driver, error):
                raise
            raise ours(self._driver, error, "probe()") from error
        call = threading.Lock()
        held.calls[call] = acting_for(), self
        try:
            with call:
                if not held.ended:  # meanwhile, for a fork: who asked for it finds that, too
                    self._operate(held, True, lambda: probe)
        finally:
            held.calls.pop(call, None)

    # --------------------------------------------------------------------------------------------------------- closing

    def close(self) -> None:
        """See [Runner.close][]."""
        self._closed = True
        slot = self._slot
        if slot is None:
            return
        held = slot.held
        if slot.busy() or (held is not None and held.in_call()):
            return  # the call that this thread is in the middle of does it when it ends
        if self._works_here():  # for a call that might be waited for
            Background(partial(slot.leave, self._driver, self)).start()
        else:
            slot.leave(self._driver, self)

    def _leave(self, held: Held) -> None:
        held.close_if_idle(self._driver)
        slot = self._slot
        if self._closed and slot is not None and slot.held is held and not held.in_call():
            me = acting_for()
            if any(owner is self and thread != me for thread, owner in list(held.calls.values())):
                return  # the others end by themselves, the last of them does this
            slot.leave(self._driver, self)


_GLANCE = 0.001
"""Seconds for which reads do not look again whether the file or folder is still the same. Writes always do."""
_first = threading.RLock()
_holders: dict[str, int] = {}
"""The number of the thread whose call holds a lock for writers, by its path."""
