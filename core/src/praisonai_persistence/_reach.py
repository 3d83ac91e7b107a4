"""Whether a server can be reached: when it is tried again after it could not."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from praisonai_persistence._forks import renew_in_child
from praisonai_persistence.errors import ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Reach"]

_QUICK = 5.0
"""Seconds within which a call fails that has not waited for a deadline."""


class Reach:
    """What a caller knows of one server, shared by all its threads and tasks.

    A server that answered before and does not now is tried again at once, a few times, for a restart takes a moment.
    One that stays away is left alone for a while, which doubles with each failure; meanwhile calls are refused without
    waiting for it. When the while is over, one caller tries it, and the others are refused until its outcome is known.

    Args:
        what: its name, for the error.
        first: seconds of the first wait.
        most: seconds of the longest.
        retries: how often a call is repeated at once.
        clock: seconds, never going back.
        spread: two bounds to a number between them; keeps the waits of many processes apart.
    """

    def __init__(
        self,
        what: str,
        first: float = 0.5,
        most: float = 30.0,
        retries: int = 2,
        *,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._what = what
        self._first = first
        self._most = most
        self._retries = retries
        self._clock = clock
        self._spread = spread
        self._reached = False
        self._failures = 0
        self._until = 0.0
        self._reason = ""
        self._renew()
        renew_in_child(self)

    def _renew(self) -> None:
        self._lock = threading.RLock()  # a finalizer may call the same server in the middle of this thread's call

    def begin(self) -> int:
        """Return a number for [failed][Reach.failed]; called before each try.

        Raises:
            ConnectionFailedError: it is to be left alone for now.
        """
        if not self._failures:
            return 0
        with self._lock:
            if self._failures:
                now = self._clock()
                if now < self._until:
                    raise ConnectionFailedError(
                        f"{self._what} could not be reached, and is tried again in {self._until - now:.1f} seconds: "
                        f"{self._reason}"
                    )
                self._until = now + self._wait()
            return self._failures

    def succeeded(self) -> None:
        """It answered."""
        if self._failures or not self._reached:
            with self._lock:
                self._reached = True
                self._failures = 0

    def failed(self, number: int, attempt: int, error: ConnectionFailedError, seconds: float = 0.0) -> float | None:
        """Return after how many seconds the call is to be repeated, or None when it has failed.

        Args:
            number: what ``begin`` returned.
            attempt: how often the call was repeated already.
            error: what was raised.
            seconds: how long the call has taken so far. One that has waited for a deadline is repeated once, for its
                connection alone may have been dead: nobody waits for more than two of them.
        """
        with self._lock:
            retries = self._retries if seconds < _QUICK else min(self._retries, 1)
            if self._reached and not number and attempt < retries:
                return self._spread(0.05, 0.15) * 2.0**attempt
            if number == self._failures:  # else another caller has counted the same outage
                self._failures += 1
                self._reason = str(error)
                self._until = self._clock() + self._wait()
            return None

    def _wait(self) -> float:
        longest = min(self._most, self._first * 2.0 ** min(self._failures - 1, 30))
        return self._spread(longest / 2, longest)
