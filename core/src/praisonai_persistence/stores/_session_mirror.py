"""Copies of stored messages for a mirror, which is slow, far away, or down.

The session store is what counts: a message goes to the mirror after it is stored, on a thread of its own, and nothing
that the mirror does delays or fails the call that stored it.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from praisonai_persistence import payload
from praisonai_persistence._forks import renew_in_child
from praisonai_persistence._latch import Latch
from praisonai_persistence.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from praisonai_persistence.stores._session_documents import Message

__all__ = ["MirroredSessions"]

_log = logging.getLogger("praisonai_persistence")

MOST = 1000
"""Calls whose messages may wait for the mirror; those of further ones are left out and logged."""
TRIES = 3
"""How often a mirror is given the same messages."""
PAUSE = 0.05
"""Seconds before the second try; twice as long before each further one."""
END = 5.0
"""Seconds that closing, and the end of the process, wait for the mirror at the most."""
_LOOK = 0.1
"""Seconds between two looks whether the thread is still there."""


class MirroredSessions:
    """What a session store has for mirrors."""

    _mirror: MirrorWriter | None = None

    def _mirror_to(self, mirror: Any) -> None:
        """Have every message that is stored from now on appended to a mirror, too; None: to none.

        Raises:
            ConfigurationError: the mirror has no method ``append``.
        """
        if mirror is not None:
            self._mirror = MirrorWriter(mirror)

    def _mirrored(self, session_id: str, messages: Sequence[Message]) -> None:
        if self._mirror is not None:
            self._mirror.put(session_id, messages)

    def flush_mirror(self, timeout: float | None = None) -> bool:
        """Wait until the mirror has what was stored so far, or has refused it three times.

        Args:
            timeout: seconds to wait at the most; None: without a limit.

        Returns:
            Whether nothing waits any more; True without a mirror.
        """
        return self._mirror is None or self._mirror.flush(timeout)

    def close_mirror(self) -> None:
        """Wait for the mirror, for 5 seconds at the most; what is stored later does not reach it."""
        if self._mirror is not None:
            self._mirror.close()


class MirrorWriter:
    """Appends copies of messages to a mirror, in the order in which they were stored, on a daemon thread.

    A forked child has a thread and a queue of its own; what waited is the parent's to write.

    Args:
        mirror: an object with ``append(session_id, records)``. It may raise, block, and get the same records twice.

    Raises:
        ConfigurationError: it has no such method.
    """

    def __init__(self, mirror: Any) -> None:
        if not callable(getattr(mirror, "append", None)):
            raise ConfigurationError(
                f"mirror: an object with append(session_id, records) is needed, not {type(mirror).__name__}"
            )
        self._mirror = mirror
        self._closed = False
        self._renew()
        renew_in_child(self)
        _writers.add(self)

    def _renew(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._starting = threading.RLock()
        self._turn = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, session_id: str, messages: Sequence[Message]) -> None:
        """Have copies of stored messages appended to the mirror. Never waits, never raises.

        A record is the message with ``session_id`` and ``id``, which is the same when the same message is given again.
        """
        if not messages:
            return
        if self._closed or self._queue.qsize() >= MOST:
            why = "is closed" if self._closed else "is too slow"
            _log.warning("the mirror %s: %d messages of a session are not in it", why, len(messages))
            return
        with self._starting:
            if self._thread is None:
                # A signal handler that comes in between starts one, too: they take turns.
                self._thread = _started(self._queue, self._turn, self._mirror)
                weakref.finalize(self, self._queue.put, None).atexit = False
        self._queue.put((session_id, _records(session_id, messages)))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was put before is in the mirror, or given up.

        Args:
            timeout: seconds to wait at the most; None: without a limit.

        Returns:
            Whether it is.
        """
        thread = self._thread
        if thread is None:
            return True
        done = Latch()
        self._queue.put(done)
        end = None if timeout is None else time.monotonic() + timeout
        while thread.is_alive():  # it ends when this is closed
            left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
            if done.wait(max(0.0, left)) or left <= 0:
                break
        return done.is_set() or not thread.is_alive()

    def close(self) -> None:
        """Wait for the mirror, for 5 seconds at the most, and end the thread."""
        self._closed = True
        self.flush(END)
        self._queue.put(None)


def _records(session_id: str, messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return copies of messages with ids made of the session and the time; equal times are counted."""
    seen: dict[str, int] = {}
    records = []
    for message in messages:
        record = payload.copy(message)
        at = f"{session_id}:{message.get('timestamp')}"
        count = seen[at] = seen.get(at, 0) + 1
        records.append({"id": at if count == 1 else f"{at}:{count}", **record, "session_id": session_id})
    return records


def _started(queue: SimpleQueue[Any], turn: threading.Lock, mirror: Any) -> threading.Thread:
    thread = threading.Thread(target=_work, args=(queue, turn, mirror), name="praisonai-session-mirror", daemon=True)
    thread.start()
    return thread


def _work(queue: SimpleQueue[Any], turn: threading.Lock, mirror: Any) -> None:
    while True:
        with turn:
            item = queue.get()
            if item is None:
                queue.put(None)  # for another thread on this queue
                return
            if isinstance(item, Latch):
                item.set()
            else:
                _append(mirror, *item)


def _append(mirror: Any, session_id: str, records: list[dict[str, Any]]) -> None:
    pause = PAUSE
    for left in reversed(range(TRIES)):
        try:
            mirror.append(session_id, payload.copy(records))  # a mirror may change what it is given
            return
        except Exception as error:  # noqa: BLE001 - whatever the mirror does, the session store goes on
            if not left:
                what = type(error).__name__  # its text may hold messages
                _log.error("the mirror failed %d times: %s; %d messages are not in it", TRIES, what, len(records))
                return
        time.sleep(pause)
        pause *= 2


_writers: weakref.WeakSet[MirrorWriter] = weakref.WeakSet()


@atexit.register
def _at_exit() -> None:
    """Wait for all mirrors, for 5 seconds together."""
    end = time.monotonic() + END
    for writer in list(_writers):
        writer.flush(max(0.0, end - time.monotonic()))
