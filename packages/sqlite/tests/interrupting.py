"""Interrupts a call, or calls something in it, at every place where CPython may run a signal handler.

Those are: behind a call, at the entry of a function, at a backward jump.
"""

from __future__ import annotations

import dis
import functools
import inspect
import os
import sys
import threading

import praisonai_persistence
import praisonai_persistence_sql
import praisonai_persistence_sqlite

PACKAGES = tuple(
    os.path.dirname(package.__file__)
    for package in (praisonai_persistence, praisonai_persistence_sql, praisonai_persistence_sqlite)
)
_CHECKED = {
    number
    for name, number in dis.opmap.items()
    if name.startswith("CALL") or name in ("JUMP_BACKWARD", "JUMP_ABSOLUTE")
}
_RESUME = dis.opmap.get("RESUME", -1)
_code = functools.lru_cache(maxsize=None)(lambda code: code.co_code)


class Interrupt(KeyboardInterrupt):
    """What the call is interrupted with."""


def enter(call, place, handler):
    """Run a call, and ``handler`` at a place of it; return where that was, or None if it has fewer places."""
    passed, where, last, before = 0, None, None, {}

    def reached(frame):
        nonlocal passed, where
        passed += 1
        if passed == place:
            where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"
            sys.settrace(None)
            handler()

    def local(frame, event, _):
        nonlocal last
        if event == "opcode":
            operation = _code(frame.f_code)[frame.f_lasti]
            was = before.get(frame)
            if was == "resumed" and operation != _RESUME:
                fires = False
            else:
                fires = was == "resumed" or (last is frame and was in _CHECKED and operation != _RESUME)
                before[frame] = operation
            last = frame
            if fires:
                reached(frame)
        elif event in ("return", "exception"):
            last = None
            if event == "return":
                before.pop(frame, None)
        return local

    def entered(frame, _event, _):
        nonlocal last
        last = None
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last = frame
        if frame.f_code.co_flags & inspect.CO_GENERATOR and frame.f_lasti > 0:
            before[frame] = "resumed"  # a place only if it goes on; not if it is closed, or something is thrown into it
        else:
            reached(frame)
        return local

    previous = sys.gettrace()
    sys.settrace(entered)
    try:
        call()
    except BaseException as raised:
        raised.add_note(f"entered at {where}") if hasattr(raised, "add_note") else None
        raise
    finally:
        sys.settrace(previous)
    return where


def interrupt(call, place, error=Interrupt):
    """Run a call and raise at a place of it; return where that was, or None if it has fewer places."""
    where = []

    def raise_it():
        where.append(sys._getframe(2))
        where[0] = f"{where[0].f_code.co_filename}:{where[0].f_lineno} {where[0].f_code.co_name}"
        raise error

    try:
        enter(call, place, raise_it)
    except error:
        if not where:
            raise
    except BaseException as raised:
        raise AssertionError(f"interrupted at {where}, but it raised {raised!r}") from raised
    else:
        assert not where, f"the interrupt at {where} did not reach the caller"
    return where[0] if where else None


def at_every_place(prepare, call, check, error=Interrupt):
    """Interrupt ``call(item)`` at one place after the other, each on a new ``prepare(number)``; return how many.

    ``check(item, where)`` looks at what is left. It has 20 seconds.
    """
    place = 0
    while True:
        place += 1
        item = prepare(place)
        where = interrupt(lambda item=item: call(item), place, error)
        within(20, lambda item=item, where=where: check(item, where), where)
        if where is None:
            return place - 1


def within(seconds, function, what=""):
    """Run a function in a thread; fail if it does not end in time, or raise what it raises."""
    outcome = []

    def run():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, f"hangs: {what}"
    if outcome[0][1] is not None:
        raise AssertionError(f"after an interrupt at {what}: {outcome[0][1]!r}") from outcome[0][1]
    return outcome[0][0]
