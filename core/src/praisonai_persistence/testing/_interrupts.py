"""Children of the lifecycle suite that stop one call at each of its places; see ``_places`` and ``_child``."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
import traceback
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import PersistenceError, StoreClosedError
from praisonai_persistence.testing._facade import awaitable, drive
from praisonai_persistence.testing._lifecycle_work import OPERATIONS, PARTS, Work, work_on
from praisonai_persistence.testing._places import HangError, NewThreads, Visit, Watched, Worker, visit
from praisonai_persistence.testing.spec import StoreSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from praisonai_persistence.testing._child import Parent

__all__ = ["closed_at_every_place", "interrupted", "interrupted_loops", "reentered", "reentered_from_outside"]

LIMIT = 5.0
"""Seconds that a call may take after another one was interrupted, or was called in the middle of."""
HEAD_START = 0.02
"""Seconds that a close in another thread gets, to end or to wait for the call that it came into the middle of."""
LONGEST = 45.0
"""Seconds after which a walk is cut short, though all places were asked for."""
ENOUGH = 8
"""Findings after which a child stops: the others say the same."""
_PER_CALL = 3
"""Calls that are made on threads of a store during one call of it."""
_HANG = f"{HangError.__name__}:"
"""In a finding after which a child stops at once: what hangs may hold locks that the next store needs."""


class SoftLimitError(Exception):
    """What a framework raises into a call that takes too long."""


class Stop(BaseException):
    """What ends a program."""


class _Sweep:
    """Visits the places of a call, in an order that is the same in every run, until the time is up.

    Args:
        parent: is told of each place, so that it knows that the child is alive.
        seconds: for all of the calls together; 0 visits all places, unless it takes ``LONGEST``.
        calls: how many calls there are.
    """

    def __init__(self, parent: Parent, seconds: float, calls: int) -> None:
        self._parent = parent
        self._share = seconds / calls
        self._left = calls
        self._end = time.monotonic() + LONGEST
        self._spoke = 0.0
        self.findings: list[str] = []
        self.visited = self._places = 0

    def places(self, count: int, name: str) -> Iterator[int]:
        """Give the numbers of places to visit, the first one always."""
        self._places += count
        numbers = list(range(1, count + 1))
        random.Random(name).shuffle(numbers)
        now = time.monotonic()
        # What is left of the whole is shared by the calls that are left, so that each gets its part.
        end = now + (self._share or (self._end - now) / self._left)
        self._left -= 1
        for number in numbers:
            if len(self.findings) >= ENOUGH:
                return
            self.visited += 1
            yield number
            now = time.monotonic()
            if now - self._spoke > 5:
                self._spoke = now
                self._parent.report("alive")
            if now > end:
                return

    def result(self) -> dict[str, Any]:
        """Return what the test looks at."""
        return {"findings": self.findings, "visited": self.visited, "places": self._places}


def _said(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"


def _call(work: Work, operation: str, store: Any, name: str) -> Callable[[], Any]:
    return lambda: drive(getattr(work, operation)(store, name))


class _Pair:
    """A store with two threads that use it: a lock that a thread left behind stops the other one alone."""

    def __init__(self, spec: StoreSpec, work: Work) -> None:
        self.one, self.other = Worker(), Worker()
        self.store = awaitable(self.one.do(lambda: spec.open("sync"), LIMIT))
        self._work = work

    def do(self, operation: str, name: str = "", *, other: bool = False) -> Any:
        """Do a piece of work in one of the threads."""
        worker = self.other if other else self.one
        return worker.do(_call(self._work, operation, self.store, name), LIMIT)

    def visit(self, call: Callable[[], Any], watched: Watched, number: int | None, act: Callable[[], None]) -> Visit:
        """Visit a place of a call in the first thread."""
        return self.one.do(lambda: visit(call, watched, number, act), 2 * LIMIT)

    def close(self) -> None:
        """Close the store in the second thread."""
        self.other.do(lambda: drive(self.store.close()), LIMIT)


# ----------------------------------------------------------------------------------------------------- L03: interrupts


async def interrupted(store: Any, parent: Parent, opens: str, seconds: float, atomic: bool) -> dict[str, Any]:
    """Raise at each place of each operation; afterwards the store must work, for both threads, and answer rightly."""
    spec = StoreSpec.from_json(opens)
    work = work_on(spec.kind)
    await work.prepare(store)
    # In frames of drivers an ``except Exception`` is the driver's own affair: there only what ends a program is raised.
    rounds = [
        (kind, operation, drivers)
        for kind, drivers in ((SoftLimitError, False), (Stop, False), (Stop, True))
        for operation in OPERATIONS
    ]
    sweep = _Sweep(parent, seconds, len(rounds))
    lost: list[BaseException] = []
    sys.unraisablehook = lambda unraisable: lost.append(unraisable.exc_value) if unraisable.exc_value else None
    pair = _Pair(spec, work)
    for kind, operation, drivers in rounds:
        pair.do("known")
        watched = Watched(pair.store.raw, drivers=drivers)
        # Twice: the first call of its sort may load modules or make a schema, and has places of its own.
        counts = [
            pair.visit(
                _call(work, operation, pair.store, f"{operation}{turn}{kind.__name__}{drivers}"),
                watched,
                None,
                _nothing,
            )
            for turn in range(2)
        ]
        for number in sweep.places(counts[-1].places, f"{operation} {kind.__name__} {drivers}"):
            name = f"{operation}-{kind.__name__}-{drivers}-{number}"
            trouble = _interrupt(pair, work, operation, name, watched, number, kind(name), lost, atomic)
            if trouble:
                sweep.findings.append(trouble)
                if _HANG in trouble:
                    return sweep.result()
                pair = _Pair(spec, work)  # the other one may be in any state now
    try:
        pair.close()
    except (HangError, PersistenceError) as error:
        sweep.findings.append(f"close after interrupts: {_said(error)}")
    return sweep.result()


def _nothing() -> None:
    pass


def _interrupt(
    pair: _Pair,
    work: Work,
    operation: str,
    name: str,
    watched: Watched,
    number: int,
    exception: BaseException,
    lost: list[BaseException],
    atomic: bool,
) -> str:
    """Interrupt one call at one place; return what is wrong afterwards."""

    def act() -> None:
        raise exception

    where = f"{operation} interrupted by {type(exception).__name__}"
    try:
        found = pair.visit(_call(work, operation, pair.store, name), watched, number, act)
        if found.where is None:
            return "" if found.error is None else f"{operation} without an interrupt: {_said(found.error)}"
        where = f"{where} at {found.where}"
        if found.error is not exception and exception not in lost:
            became = _said(found.error) if found.error is not None else "a result"
            return f"{where}: the exception did not reach the caller; {became} did"
        for other in (True, False):
            thread = "the other thread" if other else "the same thread"
            where = f"{where.partition(';')[0]}; then, in {thread},"
            pair.do("known", other=other)
            pair.do("write", f"{name}-then-{other}", other=other)
            if not pair.do("holds", f"{name}-then-{other}", other=other):
                return f"{where} an acknowledged write is not there"
        if operation == "batch" and atomic and (parts := pair.do("parts", name)) not in (0, PARTS):
            return f"{where} {parts} of {PARTS} parts of the interrupted batch are there"
    except BaseException as error:  # each is a finding, also the same exception once more
        return f"{where} {_said(error)}"
    return ""


async def interrupted_loops(store: Any, parent: Parent, opens: str, rounds: int) -> dict[str, Any]:
    """Press Ctrl-C at random moments of ``asyncio.run`` with an async store: it ends, and so does closing the store."""
    spec = StoreSpec.from_json(opens)
    work = work_on(spec.kind)
    await work.prepare(store)
    acknowledged: list[str] = []
    chance = random.Random(spec.kind)
    findings: list[str] = []

    async def main(number: int) -> None:
        if sys.version_info < (3, 11):
            # There asyncio.run lets an interrupt in at any place, also where the loop itself loses what it was about to
            # do, and then waits for it for ever. Later ones cancel the task, as is done here.
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
        async with spec.open("async") as own:
            strike.start()
            for turn in itertools.count():
                await work.write(own, f"{number}-{turn}")
                acknowledged.append(f"{number}-{turn}")
                await asyncio.sleep(0)

    # Ctrl-C is for the main thread, where this body runs on a loop already; it stands still meanwhile.
    outer = asyncio.get_running_loop()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    events._set_running_loop(None)
    try:
        for number in range(rounds):
            strike = threading.Timer(chance.uniform(0.001, 0.03), os.kill, (os.getpid(), signal.SIGINT))
            faulthandler.dump_traceback_later(15, exit=True)
            if trouble := _run_until(strike, main(number)):
                findings.append(f"round {number}: {trouble}")
            faulthandler.cancel_dump_traceback_later()
    finally:
        events._set_running_loop(outer)
        signal.signal(signal.SIGINT, handler)
    written = await work.written(store)
    lost = [name for name in acknowledged if name not in written]
    if lost:
        findings.append(f"acknowledged, and not there: {lost[:ENOUGH]}")
    return {"findings": findings, "visited": rounds}


def _run_until(strike: threading.Timer, main: Coroutine[Any, Any, None]) -> str:
    """Run a loop that ends when it is interrupted; return what ended it instead, if anything did."""
    trouble = ""
    try:
        try:
            asyncio.run(main)
        except (KeyboardInterrupt, asyncio.CancelledError):
            pass
        except BaseException:  # each is a finding
            trouble = traceback.format_exc()
        if strike.ident is not None:  # after an error it may come only now, and must not hit what is behind this
            strike.join()
    except KeyboardInterrupt:
        pass
    return trouble


# --------------------------------------------------------------------------------------------------------- L02: closing


async def closed_at_every_place(store: Any, parent: Parent, opens: str, seconds: float) -> dict[str, Any]:
    """Close a store from another thread at each place of a call: the call ends well, and nothing is open afterwards."""
    spec = StoreSpec.from_json(opens)
    work = work_on(spec.kind)
    await work.prepare(store)
    await work.known(store)
    rounds = [(operation, used) for operation in OPERATIONS for used in (True, False)]
    sweep = _Sweep(parent, seconds, len(rounds))
    for operation, used in rounds:
        pair = _Pair(spec, work)
        if used:
            pair.do("known")
        watched = Watched(pair.store.raw)
        name = f"{operation}-{used}"
        count = pair.visit(_call(work, operation, pair.store, name), watched, None, _nothing).places
        pair.close()
        for number in sweep.places(count, name):
            trouble, acknowledged = _close_inside(spec, work, operation, f"{name}-{number}", number, used=used)
            if (
                not trouble
                and acknowledged
                and operation == "write"
                and not await work.holds(store, f"{name}-{number}")
            ):
                trouble = f"a write was acknowledged while close() waited, and is not there (place {number})"
            if trouble:
                sweep.findings.append(trouble)
                if _HANG in trouble:
                    return sweep.result()
    return sweep.result()


def _close_inside(
    spec: StoreSpec, work: Work, operation: str, name: str, number: int, *, used: bool
) -> tuple[str, bool]:
    pair = _Pair(spec, work)
    watched = Watched(pair.store.raw)
    closing: list[Any] = []

    def act() -> None:
        closing.append(pair.other.start(lambda: drive(pair.store.close())))
        closing[0].ended.wait(HEAD_START)

    where = f"close() during {'a' if used else 'the first'} {operation}"
    try:
        if used:
            pair.do("known")
        found = pair.visit(_call(work, operation, pair.store, name), watched, number, act)
        where = f"{where}, at {found.where}"
        if not closing:
            pair.close()
        else:
            closing[0].wait(LIMIT)
        if found.error is not None and not isinstance(found.error, StoreClosedError):
            return f"{where}: the call got {_said(found.error)}", False
        for other in (False, True):
            try:
                pair.do("known", other=other)
            except StoreClosedError:
                continue
            return f"{where}: a call after it was answered", False
    except Exception as error:
        return f"{where}: {_said(error)}", False
    return "", found.error is None


# ------------------------------------------------------------------------------------------------------ L08: re-entry


async def reentered(store: Any, parent: Parent, opens: str, seconds: float) -> dict[str, Any]:
    """Call the store again at each place of a call, from the trace function: both work, or are refused."""
    spec = StoreSpec.from_json(opens)
    work = work_on(spec.kind)
    await work.prepare(store)
    rounds = [(outer, inner) for outer in OPERATIONS for inner in ("write", "known")]
    sweep = _Sweep(parent, seconds, len(rounds))
    pair = _Pair(spec, work)
    for outer, inner in rounds:
        pair.do("known")
        watched = Watched(pair.store.raw)
        name = f"{outer}-{inner}"
        count = pair.visit(_call(work, outer, pair.store, name), watched, None, _nothing).places
        for number in sweep.places(count, name):
            trouble = _reenter(pair, work, outer, inner, f"{name}-{number}", number, watched)
            if trouble:
                sweep.findings.append(trouble)
                if _HANG in trouble:
                    return sweep.result()
                pair = _Pair(spec, work)
                watched = Watched(pair.store.raw)
    with contextlib.suppress(HangError):
        pair.close()
    return sweep.result()


def _reenter(pair: _Pair, work: Work, outer: str, inner: str, name: str, number: int, watched: Watched) -> str:
    inside: list[BaseException | None] = []

    def act() -> None:
        try:
            _call(work, inner, pair.store, f"{name}-inner")()
            inside.append(None)
        except BaseException as error:  # it is looked at outside
            inside.append(error)

    where = f"a {inner} inside of a {outer}"
    try:
        found = pair.visit(_call(work, outer, pair.store, name), watched, number, act)
        where = f"{where}, at {found.where}"
        for which, error in (("inner", inside[0] if inside else None), ("outer", found.error)):
            if error is not None and not isinstance(error, PersistenceError):
                return f"{where}: the {which} call got {_said(error)}"
        if inside == [None] and inner == "write" and not pair.do("holds", f"{name}-inner", other=True):
            return f"{where}: the inner write was acknowledged and is not there"
        if found.error is None and outer == "write" and not pair.do("holds", name, other=True):
            return f"{where}: the outer write was acknowledged and is not there"
        if found.error is None and outer == "batch" and pair.do("parts", name, other=True) != PARTS:
            return f"{where}: the outer batch was acknowledged and is not there as a whole"
        pair.do("known", other=True)
    except Exception as error:
        return f"{where}: {_said(error)}"
    return ""


async def reentered_from_outside(store: Any, parent: Parent, kind: str, times: int) -> dict[str, Any]:
    """Call the store from ``__del__`` and weakref callbacks of the collector, on its threads, from a signal handler."""
    work = work_on(kind)
    threads = NewThreads(Watched(store.raw), _PER_CALL)  # before the store starts any
    await work.prepare(store)
    findings: list[str] = []
    acknowledged: list[str] = []
    count = itertools.count()

    def again(origin: str) -> None:
        name = f"{origin}-{next(count)}"
        try:
            drive(work.write(store, name))
            acknowledged.append(name)
        except PersistenceError:
            pass  # refused: that is allowed, hanging is not
        except BaseException as error:  # each is a finding
            findings.append(f"a call from {origin}: {_said(error)}")

    class Agent:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            again("__del__")

    class Watching:
        def __init__(self) -> None:
            self.me = self

    watchers: list[Any] = []
    before = gc.get_threshold()
    gc.set_threshold(40, 1, 1)
    for number in range(times):
        # A call that waits for itself waits for ever: the child says where, and ends.
        faulthandler.dump_traceback_later(15, exit=True)
        Agent()
        watchers.append(weakref.ref(Watching(), lambda _: again("a weakref callback")))
        await _outer(work, store, f"gc-{number}", acknowledged, findings)
    gc.set_threshold(*before)
    inside = len(acknowledged)
    for number in range(times // 3):
        faulthandler.dump_traceback_later(15, exit=True)
        with threads.doing(lambda: again("a thread that works for a call")):
            await _outer(work, store, f"thread-{number}", acknowledged, findings)

    def handle(number: int, frame: Any) -> None:
        again("a signal handler")
        signal.setitimer(signal.ITIMER_REAL, 0.002)

    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        for number in range(times):
            faulthandler.dump_traceback_later(15, exit=True)
            await _outer(work, store, f"signal-{number}", acknowledged, findings)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
    faulthandler.dump_traceback_later(30, exit=True)
    gc.collect()  # whose finalizers write as well
    threads.end()
    before_looking = list(acknowledged)
    written = await work.written(store)
    lost = [name for name in before_looking if name not in written]
    if lost:
        findings.append(f"acknowledged, and not there: {lost[:ENOUGH]}")
    faulthandler.cancel_dump_traceback_later()
    told = {"acknowledged": inside, "on_threads": threads.places, "process": os.getpid()}
    return {"findings": findings[:ENOUGH], "visited": next(count), **told}


async def _outer(work: Work, store: Any, name: str, acknowledged: list[str], findings: list[str]) -> None:
    try:
        await work.write(store, name)
        acknowledged.append(name)
    except PersistenceError:
        pass  # refused: that is allowed
    except Exception as error:
        findings.append(f"a call with another one inside: {_said(error)}")
