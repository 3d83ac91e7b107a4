"""Interrupts a call, or calls something in it, at every place where CPython may run a signal handler.

Those are: behind a call, at the entry of a function, at a backward jump.
"""

from __future__ import annotations

import threading

from praisonai_persistence.testing._places import Watched, visit

_watched = Watched(None)  # this project's frames


class Interrupt(KeyboardInterrupt):
    """What the call is interrupted with."""


def enter(call, place, handler):
    """Run a call, and ``handler`` at a place of it; return where that was, or None if it has fewer places."""
    found = visit(call, _watched, place, handler)
    try:
        if found.error is not None:
            if hasattr(found.error, "add_note"):
                found.error.add_note(f"entered at {found.where}")
            raise found.error
        return found.where
    finally:
        del found  # a cycle with the traceback


def interrupt(call, place, error=Interrupt):
    """Run a call and raise at a place of it; return where that was, or None if it has fewer places."""

    def raise_it():
        raise error

    found = visit(call, _watched, place, raise_it)
    if found.where is None:
        if found.error is not None:
            raise found.error
    elif not isinstance(found.error, error):
        told = "did not reach the caller" if found.error is None else f"became {found.error!r}"
        raise AssertionError(f"the interrupt at {found.where} {told}") from found.error
    return found.where


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
