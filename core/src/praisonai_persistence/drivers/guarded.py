"""Calls of an embedded engine that may never return once its files are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from praisonai_persistence.drivers.background import Background, acting_for
from praisonai_persistence.drivers.shared import identity
from praisonai_persistence.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PATIENCE", "while_there"]

_LOOK = 0.5  # seconds between two looks at the place
PATIENCE = 5.0
"""Seconds that a call may go on after its place was found to be removed or replaced."""


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
    working = Background(call, acts_for=acting_for())
    try:
        working.start()
        ended = _ends(working, path, opened)
    except BaseException:
        if not working.withdraw():
            _ends(working, path, opened)
        raise
    if not ended:
        raise ConnectionFailedError(
            f"{where} was removed or replaced during a call, which has not ended within {PATIENCE:g} seconds; close "
            f"the stores there before you do that"
        )
    error = working.error
    if error is None:
        return working.answer
    try:
        raise error
    finally:
        del error, working


def _ends(working: Background, path: str, opened: tuple[int, int] | None) -> bool:
    """Wait; return whether it has ended."""
    while not working.wait(_LOOK):
        if identity(path) != opened:
            return working.wait(PATIENCE)
    return True
