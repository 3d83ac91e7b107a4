"""Faults of the processes that write."""

from __future__ import annotations

import random
import time

from backends import TIMEOUT
from lab import Fault, Lab

__all__ = ["Descriptors", "Fork", "Interrupt", "Kill", "Stop"]


class Kill(Fault):
    """SIGKILL of a process, now and then of all of them."""

    name = "SIGKILL of the writers"
    needs = "process"

    def strike(self, lab: Lab) -> int:
        processes = lab.crew.processes
        chosen = processes if random.random() < 0.1 else [random.choice(processes)]
        lab.crew.kill(chosen)
        lab.crew.check()
        for process in chosen:
            process.start()
        return len(chosen)


class Stop(Fault):
    """SIGSTOP of a process; the writers of the others are told something meanwhile; then SIGCONT."""

    name = "SIGSTOP of a writer"
    needs = "process"
    impatient = True

    def strike(self, lab: Lab) -> int:
        stopped = random.choice(lab.crew.processes)
        stopped.pause()
        try:
            lab.crew.wait_for_news([process for process in lab.crew.processes if process is not stopped])
            # Now and then for longer than its own calls may take.
            time.sleep(1.5 * TIMEOUT if random.random() < 0.2 else random.uniform(0.0, 0.2))
        finally:
            stopped.resume()
        return 1


class Interrupt(Fault):
    """In each process a call is interrupted: an exception at any place of a sync one, cancellation of an async one."""

    name = "interrupt of a call"
    needs = "process"

    def strike(self, lab: Lab) -> int:
        return lab.crew.order("interrupt")


class Fork(Fault):
    """Each process forks while its writers are in the middle of calls, and the child writes to the store, too."""

    name = "fork in the middle"
    needs = "process"

    def strike(self, lab: Lab) -> int:
        return lab.crew.order("fork")


class Descriptors(Fault):
    """In each process no file can be opened for a while, nor a connection; a store is used there for the first time."""

    name = "descriptors used up"
    needs = "process"

    def strike(self, lab: Lab) -> int:
        return lab.crew.order("descriptors")
