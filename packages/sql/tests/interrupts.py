"""Raises at every place of a call where CPython may deliver a signal, one place at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from praisonai_persistence.testing._places import Watched, visit

_watched = Watched(None)  # this project's frames


class Interrupt(KeyboardInterrupt):
    """What the handler raises."""


def interrupted(call: Callable[[], Any], number: int, kind: type[BaseException] = Interrupt) -> BaseException | None:
    """Run a call, and raise at the place of that number, counted from 1, in this project's packages.

    Returns:
        What came out of the call; None: it has ended well, or has fewer places.
    """

    def raise_it() -> None:
        raise kind

    gc.collect()  # no finalizer of an earlier turn runs in this one, where nobody would hear of the error
    gc.disable()
    try:
        return visit(call, _watched, number, raise_it).error
    finally:
        gc.enable()
