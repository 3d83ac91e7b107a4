"""Locks and forks: a lock that another thread held at the moment of a fork would stay locked in the child for ever."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_in_child"]


class _Renewable(Protocol):
    def _renew(self) -> None:
        """Make locks, and what else belongs to the parent's threads, anew."""


_objects: weakref.WeakSet[_Renewable] = weakref.WeakSet()


def renew_in_child(item: _Renewable) -> None:
    """Have ``item._renew()`` called in every child that is forked while ``item`` lives."""
    _objects.add(item)


def _after_fork() -> None:
    for item in list(_objects):
        item._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
