"""The part of the lifecycle suite that is about the file or the folder of an embedded engine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.testing._lifecycle_checks import back_up, put_in_place, remove
from praisonai_persistence.testing._lifecycle_network import NetworkTests, within
from praisonai_persistence.testing._lifecycle_work import Work
from praisonai_persistence.testing._tiers import one_mode_at_a_time
from praisonai_persistence.testing.harness import OpenStore, Spawn, declares, needs_fixture
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["PlaceTests"]

BODIES = "praisonai_persistence.testing._lifecycle_bodies"


class PlaceTests(NetworkTests, suite=True):
    """The place is removed or replaced; only where the fixture ``place`` says what the store makes."""

    @pytest.fixture
    def place(self) -> Path | None:
        """Overridden for embedded engines: the file, or the folder, that the store makes. Nothing is there yet."""
        return None

    # ------------------------------------------------------------------------------------------------- L09: the place

    @one_mode_at_a_time
    @pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
    @needs_fixture("place")
    async def test_l09_the_place_goes_away_under_an_open_store(
        self,
        store: Any,
        open_store: OpenStore,
        spawn: Spawn,
        work: Work,
        spec: StoreSpec,
        place: Path,
        *,
        replaced: bool,
    ) -> None:
        """What is acknowledged afterwards is found by a new process; the rest is a typed error."""
        await work.prepare(store)
        await work.write(store, "before")
        remove(place)
        if replaced:
            child = await spawn(f"{BODIES}:write", kind=spec.kind, name="theirs")
            child.go()
            await child.result()
        acknowledged = ["theirs"] if replaced else []
        new = open_store()
        for name, one in (("old", store), ("new", new), ("old again", store)):
            with contextlib.suppress(PersistenceError):
                await within(one, lambda one=one: work.prepare(one), 30)  # type: ignore[misc]
            with contextlib.suppress(PersistenceError):
                await within(one, lambda one=one, name=name: work.write(one, name), 30)  # type: ignore[misc]
                acknowledged.append(name)
        if not declares(store, "shared"):
            await store.close()
            await new.close()
        child = await spawn(f"{BODIES}:look", kind=spec.kind)
        child.go()
        found = await child.result()
        lost = [name for name in acknowledged if name not in found]
        assert not lost, f"acknowledged after the place was gone, and not found by a new process: {lost}"

    @one_mode_at_a_time
    @pytest.mark.parametrize("linked", [False, True], ids=["put in place", "linked"])
    @needs_fixture("place")
    async def test_l09_a_backup_is_put_in_the_place_under_an_open_store(
        self, store: Any, open_store: OpenStore, spawn: Spawn, work: Work, spec: StoreSpec, place: Path, *, linked: bool
    ) -> None:
        """It is what was backed up, nothing of what stood there before, and what is acknowledged afterwards."""
        child = await spawn(f"{BODIES}:write", kind=spec.kind, name="theirs")
        child.go()
        await child.result()
        backup = back_up(place)
        await work.prepare(store)
        await work.write(store, "before")
        put_in_place(backup, place, linked=linked)
        acknowledged = ["theirs"]
        new = open_store()
        for name, one in (("old", store), ("new", new), ("old again", store)):
            with contextlib.suppress(PersistenceError):
                await within(one, lambda one=one, name=name: work.write(one, name), 30)  # type: ignore[misc]
                acknowledged.append(name)
        await store.close()
        await new.close()
        child = await spawn(f"{BODIES}:look", kind=spec.kind)
        child.go()
        found = await child.result()
        lost = [name for name in acknowledged if name not in found]
        assert not lost, f"acknowledged after a backup was put in place, and not found by a new process: {lost}"
        assert "before" not in found, "what was written before the backup was put in place is mixed into it"
