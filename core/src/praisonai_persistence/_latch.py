"""Waiting for another thread, so that a signal handler may wait for it as well."""

from __future__ import annotations

import threading

__all__ = ["Latch"]


class Latch:
    """Set once, by one thread; waited for by one thread.

    ``threading.Event`` and ``concurrent.futures.Future`` wait with a lock that setting them takes too. A signal handler
    that runs while its thread is about to wait, and holds that lock, stops the thread that wants to set it; and if the
    handler waits for the same thread, nothing goes on. Here the thread that sets it takes no lock.
    """

    __slots__ = ("_set", "_unset")

    def __init__(self) -> None:
        self._set = False
        self._unset = threading.Lock()
        self._unset.acquire()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Let the waiting thread go on. Called once."""
        self._set = True
        self._unset.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait; return whether it is set.

        Args:
            timeout: seconds to wait at the most; None: without a limit.
        """
        seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        if not self._set and self._unset.acquire(timeout=seconds):
            self._unset.release()
        return self._set
