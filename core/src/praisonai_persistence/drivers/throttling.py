"""Waiting while a service is too busy."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.steps import Pause

if TYPE_CHECKING:
    from praisonai_persistence.steps import Steps

__all__ = ["Pauses", "ThrottledError"]

_FIRST = 0.05
_LONGEST = 8.0


class ThrottledError(ConnectionFailedError):
    """The service has had too many requests for now, and has done nothing; or nothing more than the message says."""


class Pauses:
    """Random waits before the next attempt, each up to twice as long as the one before (full jitter).

    Args:
        seconds: for how long at the most, from now on.
        first: seconds that the first one takes at the most.
    """

    def __init__(self, seconds: float, first: float = _FIRST) -> None:
        self._end = time.monotonic() + seconds
        self._longest = first

    def ask(self, request: Any) -> Steps[Any]:
        """Make a request, and return its answer; again after a wait, as long as the service is too busy."""
        while True:
            try:
                return (yield request)
            except ThrottledError as error:
                busy = error
            yield from self.wait(busy)

    def wait(self, busy: ThrottledError) -> Steps[None]:
        """Wait; raise ``busy`` if the time is over by then."""
        wait = random.uniform(0, self._longest)
        self._longest = min(_LONGEST, self._longest * 2)
        if time.monotonic() + wait > self._end:
            raise busy
        yield Pause(wait)
