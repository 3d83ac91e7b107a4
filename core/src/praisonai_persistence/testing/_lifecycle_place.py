"""The part of the lifecycle suite that is about the file or the folder of an embedded engine."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from praisonai_persistence.errors import PersistenceError
from praisonai_persistence.testing._facade import awaitable
from praisonai_persistence.testing._lifecycle_checks import back_up, files_of, put_in_place, readable, remove
from praisonai_persistence.testing._lifecycle_network import NetworkTests, within
from praisonai_persistence.testing._lifecycle_work import Work
from praisonai_persistence.testing._tiers import one_mode_at_a_time
from praisonai_persistence.testing.harness import OpenStore, Spawn, declares, needs_fixture
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["PlaceTests"]

needs_posix = pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
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

    # ----------------------------------------------------------------------------------------- L10: rights and links

    @needs_posix
    @needs_fixture("place")
    async def test_l10_files_are_their_owners_alone(self, spec: StoreSpec, mode: str, work: Work, place: Path) -> None:
        """Nobody else can read what a store made, whatever the umask."""
        open_to_others = await _rights_of_others(spec, mode, work, place)
        assert not open_to_others, f"others may read or write: {sorted(open_to_others)[:5]}"

    @needs_posix
    @needs_fixture("place")
    async def test_l10_files_in_a_folder_that_was_there_are_their_owners_alone(
        self, spec: StoreSpec, mode: str, work: Work, place: Path
    ) -> None:
        """The folder keeps its rights, and what others have in it; what the store makes in it is its owner's."""
        async with awaitable(spec.open(mode)) as store:
            await work.prepare(store)
            await work.write(store, "before")
        folder = place if place.is_dir() else place.parent
        remove(place)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        theirs = folder / "theirs.txt"
        theirs.write_text("not the store's")
        theirs.chmod(0o644)
        open_to_others = await _rights_of_others(spec, mode, work, place)
        open_to_others -= {f"{place.name} (755)", "theirs.txt (644)"}
        assert not open_to_others, f"others may read or write: {sorted(open_to_others)[:5]}"
        for path, rights in ((folder, 0o755), (theirs, 0o644)):
            mode_of = stat.S_IMODE(path.stat().st_mode)
            assert mode_of == rights, f"the store has changed the rights of {path.name} to {mode_of:o}"

    @needs_posix
    @needs_fixture("place")
    async def test_l10_no_file_is_made_through_a_link(
        self, spec: StoreSpec, mode: str, work: Work, place: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """Others who may write to the folder place links where the store makes its files: it works, or refuses."""

        async def use() -> list[Path]:
            store = awaitable(spec.open(mode))
            try:
                await work.prepare(store)
                await work.write(store, "one")
                return list(files_of(place))
            finally:
                await store.close()

        is_folder, elsewhere = False, tmp_path_factory.mktemp("elsewhere") / "made"
        for path in await use():
            is_folder = is_folder or place.is_dir()
            remove(place)
            if is_folder:
                place.mkdir()
                place.chmod(0o777)
            path.symlink_to(elsewhere)
            with contextlib.suppress(PersistenceError):
                await use()
            assert not elsewhere.exists(), f"written through a link in the place of {path.name}"
            path.unlink(missing_ok=True)


async def _rights_of_others(spec: StoreSpec, mode: str, work: Work, place: Path) -> set[str]:
    """Return what others have rights to of what a store makes, where the umask takes none from them."""
    before = os.umask(0)
    try:
        store = awaitable(spec.open(mode))
        await work.prepare(store)
        await work.write(store, "one")
        await work.batch(store, "more")
        found = set(readable(place))
        await store.close()
        return found | set(readable(place))
    finally:
        os.umask(before)
