"""What goes wrong in the laboratory; by what it strikes."""

from __future__ import annotations

from lab import Fault

from .files import DiskFull, ReadOnly, Removed, Replaced, small_disk
from .network import Delay, Drop, KillServer, LoseAnswer, Reset, RestartServer, Silence
from .processes import Descriptors, Fork, Interrupt, Kill, Stop

__all__ = ["FAULTS", "small_disk"]

_PROCESSES: list[type[Fault]] = [Kill, Stop, Interrupt, Fork, Descriptors]
_NETWORK: list[type[Fault]] = [KillServer, RestartServer, Drop, Reset, Delay, LoseAnswer, Silence]
_FILES: list[type[Fault]] = [DiskFull, ReadOnly, Removed, Replaced]

FAULTS = {fault.name: fault for fault in (*_PROCESSES, *_NETWORK, *_FILES)}
