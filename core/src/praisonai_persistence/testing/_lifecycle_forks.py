"""The part of the lifecycle suite about stores in processes that fork: L06."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from praisonai_persistence.testing._lifecycle_bodies import REFUSED, WORKED
from praisonai_persistence.testing._lifecycle_work import work_on
from praisonai_persistence.testing._tiers import one_mode_at_a_time
from praisonai_persistence.testing.harness import StoreSuite, declares

if TYPE_CHECKING:
    from praisonai_persistence.testing.harness import OpenStore, Spawn, Unsupported
    from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["ForkTests"]

BODIES = "praisonai_persistence.testing._lifecycle_bodies"
FORK_HINT = 'each works, or refuses (an engine that does not survive a fork: forks = "refuse" in its driver)'
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def _forks(children: list[str]) -> str:
    """Return how the children of a fork ended, with what they said."""
    return "\n".join([f"children of a fork: {FORK_HINT}", *children])


class ForkTests(StoreSuite, suite=True):
    """A store that was opened before the fork."""

    @one_mode_at_a_time
    @needs_fork
    async def test_l06_a_store_that_was_used_before_a_fork(
        self, spawn: Spawn, store: Any, spec: StoreSpec, unsupported: Unsupported
    ) -> None:
        """Works in the children and in the parent at the same time, or refuses in the children."""
        child = await spawn(f"{BODIES}:forked", kind=spec.kind, children=2)
        child.go()
        found = await child.result()
        if found["children"] == [REFUSED] * 2:
            unsupported("fork of the process")
            return
        assert found["children"] == [WORKED] * 2, _forks(found["children"])
        if declares(store, "shared"):
            missing = {"child-0", "child-1", "parent-2", "after"} - set(found["written"])
            assert not missing, f"acknowledged in a parent or a child of a fork, and not there: {missing}"

    @one_mode_at_a_time
    @needs_fork
    async def test_l06_a_child_that_outlives_the_store_of_its_parent(
        self, spawn: Spawn, store: Any, open_store: OpenStore, spec: StoreSpec, unsupported: Unsupported
    ) -> None:
        """What it writes then is there for others, also when one has opened and closed the store meanwhile."""
        written = work_on(spec.kind).written
        child = await spawn(f"{BODIES}:outlived", kind=spec.kind)
        child.go()
        await child.report()
        if declares(store, "shared"):
            other = open_store()
            await written(other)
            await other.close()
        child.send("go on")
        end = (await child.result())["child"]
        if end == REFUSED:
            unsupported("fork of the process")
            return
        assert end == WORKED, _forks([end])
        if declares(store, "shared"):
            missing = {"beside", "alone", "last"} - set(await written(store))
            assert not missing, f"acknowledged in a child whose parent had closed the store, and not there: {missing}"

    @one_mode_at_a_time
    @needs_fork
    async def test_l06_a_fork_in_the_middle_of_calls(
        self, spawn: Spawn, spec: StoreSpec, unsupported: Unsupported
    ) -> None:
        """Whatever locks and connections other threads had at that moment."""
        child = await spawn(f"{BODIES}:forked_under_load", kind=spec.kind, children=4)
        child.go()
        found = await child.result()
        assert found["failures"] == []
        if found["children"] == [REFUSED] * 4:
            unsupported("fork of the process")
            return
        assert found["children"] == [WORKED] * 4, _forks(found["children"])
