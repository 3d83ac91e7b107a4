"""Waiting while a service is too busy."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

from praisonai_persistence.errors import ConnectionFailedError
from praisonai_persistence.steps import Pause

if TYPE_CHECKING:
    from collections.abc import Mapping

    from praisonai_persistence.steps import Steps

__all__ = ["Pauses", "ThrottledError", "retry_after"]

_FIRST = 0.05
_LONGEST = 8.0


class ThrottledError(ConnectionFailedError):
    """The service has had too many requests for now, and has done nothing; or nothing more than the message says.

    Args:
        message: what happened.
        retry_after: seconds that the service asks to wait, which the message then says, too; None: it does not ask.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        asks = "" if retry_after is None else f"; the service asks to wait {retry_after:g} seconds"
        super().__init__(message + asks)
        self.retry_after = retry_after


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds the headers of an answer ask to wait; None: they do not ask, or not in a known form.

    ``Retry-After`` has seconds, or a date, which is compared with that of the answer, where it has one: the clock of
    this machine may be wrong. Azure has milliseconds in a header of its own.
    """
    found = {str(name).lower(): str(value) for name, value in headers.items()}
    milliseconds, said = _number(found.get("x-ms-retry-after-ms")), found.get("retry-after")
    seconds = _number(said) if milliseconds is None else milliseconds / 1000
    if seconds is None and (then := _date(said)) is not None:
        now = _date(found.get("date"))
        seconds = then - (time.time() if now is None else now)
    return None if seconds is None else max(0.0, seconds)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str | None) -> float | None:
    from datetime import timezone
    from email.utils import parsedate_to_datetime

    try:
        found = parsedate_to_datetime(text or "")
        # One without a zone is in UTC, as all dates of HTTP are.
        return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()
    except (OverflowError, TypeError, ValueError):
        return None


class Pauses:
    """Random waits before the next attempt, each up to twice as long as the one before (full jitter).

    Where the service asks to wait, that comes before each of them, so that its clients do not return at once together.

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
        """Wait; raise ``busy`` at once if the time is over by then."""
        left, asked = self._end - time.monotonic(), busy.retry_after
        wait = random.uniform(0, self._longest)
        self._longest = min(_LONGEST, self._longest * 2)
        if asked is not None:
            wait = asked + min(wait, max(0.0, left - asked))
        if wait > left:
            raise busy
        yield Pause(wait)
