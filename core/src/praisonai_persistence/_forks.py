"""Locks and forks: a lock that another thread held at the moment of a fork would stay locked in the child for ever."""

from __future__ import annotations

import os
from _weakrefset import WeakSet  # where weakref has it from, which takes longer to import

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class _Renewable(Protocol):
        def _renew(self) -> None:
            """Make locks, and what else belongs to the parent's threads, anew."""


__all__ = ["renew_in_child"]


_objects: WeakSet[_Renewable] = WeakSet()


def renew_in_child(item: _Renewable) -> None:
    """Have ``item._renew()`` called in every child that is forked while ``item`` lives."""
    _objects.add(item)


def _after_fork() -> None:
    for item in list(_objects):
        item._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
