"""Requests on threads of their own: away from exceptions from outside, or from an engine that may never return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers.background import Background
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "on_own_thread", "while_there"]

_LOOK = 0.5  # seconds between two looks at the place
PATIENCE = 5.0
"""Seconds that a call may go on after its place was found to be removed or replaced."""


def on_own_thread(call: Callable[[], Any]) -> Any:
    """Do a request on a thread of its own, and return its answer. An exception from outside waits for its end.

    The thread counts as inside of the caller's call: a ``__del__`` that runs on it and calls the store is refused,
    where on a thread of the driver's own pool it might wait for the caller for ever (L08).
    """
    return _answer(call, lambda working: working.wait(None))


def while_there(call: Callable[[], Any], path: str, opened: tuple[int, int] | None, where: str) -> Any:
    """Do a call on a thread of its own, and return its answer.

    It takes as long as it takes while the file or folder is what it was. When that was removed or replaced, the call
    has [PATIENCE][] seconds more. Then it is left alone, and the client has to be replaced (``Driver.spoiled``). An
    exception from outside waits for the end of the call, too.

    Args:
        call: what to do.
        path: the file or folder of the engine.
        opened: its ``identity`` when the client was opened.
        where: what errors call it.

    Raises:
        ConnectionFailedError: the call has not ended.
    """

    def ends(working: Background) -> bool:
        while not working.wait(_LOOK):
            if identity(path) != opened:
                return working.wait(PATIENCE)
        return True

    try:
        return _answer(call, ends)
    except _NotEndedError:
        raise ConnectionFailedError(
            f"{where} was removed or replaced during a call, which has not ended within {PATIENCE:g} seconds; close "
            f"the stores there before you do that"
        ) from None


class _NotEndedError(Exception):
    """A call has not ended."""


def _answer(call: Callable[[], Any], ends: Callable[[Background], bool]) -> Any:
    """Do a call on a thread of its own.

    Args:
        call: what to do.
        ends: waits for its end, and returns whether it has come.
    """
    working = Background(call, opens=False)
    try:
        working.start()
        ended = ends(working)
    except BaseException:
        if not working.withdraw():
            ends(working)
        raise
    if not ended and working.give_up():
        raise _NotEndedError
    error = working.error
    if error is None:
        return working.answer
    try:
        raise error
    finally:
        del error, working
