"""Faults of a server, and of the network before it."""

from __future__ import annotations

import random
import time

from backends import TIMEOUT
from lab import Fault, Lab

__all__ = ["Delay", "Drop", "KillServer", "LoseAnswer", "Reset", "RestartServer", "Silence"]

GRACE = 5.0
"""Seconds that a writer may be told late that a server is silent, on a busy machine."""


class KillServer(Fault):
    """SIGKILL of the server, which is started again."""

    name = "SIGKILL of the server"
    needs = "engine"

    def strike(self, lab: Lab) -> int:
        if lab.forgets:
            lab.gone_since = time.monotonic()
        lab.engine.kill()
        if lab.forgets:
            lab.stands_since = time.monotonic()
        lab.engine.start()
        return 1


class RestartServer(Fault):
    """An orderly restart of the server."""

    name = "restart of the server"
    needs = "engine"

    def strike(self, lab: Lab) -> int:
        lab.engine.restart()
        return 1


class Drop(Fault):
    """Every connection is closed."""

    name = "connections closed"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.drop()
        return 1


class Reset(Fault):
    """Every connection is reset."""

    name = "connections reset"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.reset()
        return 1


class Delay(Fault):
    """The network stands still for a moment."""

    name = "network stands still"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        lab.proxy.hold()
        time.sleep(random.uniform(0.02, 0.2))
        lab.proxy.release()
        return 1


class LoseAnswer(Fault):
    """The server did it, and its answer never arrives."""

    name = "answer lost after the commit"
    needs = "proxy"

    def strike(self, lab: Lab) -> int:
        return int(lab.proxy.lose_answer(10.0))


class Silence(Fault):
    """What goes in either direction is swallowed until every writer was told so; the connections never work again."""

    name = "server falls silent"
    needs = "proxy"
    impatient = True

    def strike(self, lab: Lab) -> int:
        lab.proxy.swallow()
        try:
            lab.crew.wait_for_errors(every_writer=True, seconds=2 * TIMEOUT + GRACE)
        finally:
            lab.proxy.hear()
        return 1
