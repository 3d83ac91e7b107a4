"""How a process of the laboratory talks to it: lines of JSON, from any thread and from children of forks."""

from __future__ import annotations

import json
import os
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["talk_to", "tell"]

_telling = threading.Lock()
_pipe: Connection


def talk_to(pipe: Connection) -> None:
    """Say where the laboratory listens."""
    global _pipe
    _pipe = pipe
    # In the child of a fork nobody else is in the middle of a line.
    os.register_at_fork(before=_telling.acquire, after_in_parent=_telling.release, after_in_child=_telling.release)


def tell(message: dict[str, Any]) -> None:
    """Send a line to the laboratory, at once and in one piece, with the time: the one of all processes."""
    data = json.dumps({**message, "at": time.monotonic()}).encode("ascii") + b"\n"
    with _telling:
        while data:
            data = data[os.write(_pipe.fileno(), data) :]
