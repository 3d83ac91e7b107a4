"""The suite of the lifecycle: clauses L01 to L12, the same for stores of all three kinds.

It runs first, because what fails here makes other tests fail in ways that are hard to read. The suites of the three
kinds contain it; alone it is used like them, and takes the kind from the spec::

    class TestMyDBLifecycle(LifecycleSuite):
        @pytest.fixture
        def spec(self, tmp_path): ...

        @pytest.fixture
        def place(self, tmp_path):              # embedded engines: the file or folder that the store makes
            return tmp_path / "x.db"

        @pytest.fixture
        def spec_through(self, server):         # servers: how to reach them through a proxy
            return Endpoint(server.host, server.port, lambda host, port: spec_of(f"mydb://{host}:{port}"))

A backend gives ``place`` or ``spec_through``; tests that need the other one are "not applicable" in the matrix. A store
with a pool names in ``smallest_pool`` the options that make it as small as it can be, so that a place of the pool that
is lost shows at once. ``sweep_seconds`` bounds each walk through the places of a call.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import logging
import pickle
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import anyio.to_thread
import pytest

from praisonai_persistence.errors import PersistenceError, StoreClosedError
from praisonai_persistence.testing._ends import ENDS, USUAL, found_at_the_ends
from praisonai_persistence.testing._facade import awaitable
from praisonai_persistence.testing._forks import Start
from praisonai_persistence.testing._lifecycle_bodies import BIG
from praisonai_persistence.testing._lifecycle_checks import (
    TAILS,
    check,
    descriptors,
    malformed,
    parts_of,
    pickled,
    run_loops,
    secrets_in,
    short,
    shown_by,
    slowness,
    thread_count,
    uncollected,
    wrong_arguments,
)
from praisonai_persistence.testing._lifecycle_existing import ExistingTests
from praisonai_persistence.testing._lifecycle_forks import ForkTests
from praisonai_persistence.testing._lifecycle_network import within
from praisonai_persistence.testing._lifecycle_place import PlaceTests
from praisonai_persistence.testing._lifecycle_starved import StarvedTests
from praisonai_persistence.testing._lifecycle_work import Work
from praisonai_persistence.testing._tiers import CUT_SHORT, one_mode_at_a_time, walks_all
from praisonai_persistence.testing._watch import Watch
from praisonai_persistence.testing.harness import (
    ByTier,
    OpenStore,
    Race,
    Spawn,
    declares,
    full_only,
    only,
    raw,
    split,
)
from praisonai_persistence.testing.spec import StoreSpec

__all__ = ["LifecycleSuite"]

BODIES = "praisonai_persistence.testing._lifecycle_bodies"
SWEEPS = "praisonai_persistence.testing._interrupts"
QUICK_SWEEP = 1.0  # seconds
Walk = Callable[..., Awaitable[None]]


class LifecycleSuite(ExistingTests, ForkTests, PlaceTests, StarvedTests, suite=True):
    """From the constructor to the end of the process; see the module."""

    kind: ClassVar[str] = ""
    sweep_seconds: ClassVar[float | None] = None
    """Seconds that a walk through the places of the store's calls may take; 0: all places. None: 1 in the tier quick,
    0 in full. A walk of all places is cut short after 45 seconds; the summary says so."""
    smallest_pool: ClassVar[Mapping[str, Any]] = {}
    """Options of a store with one connection only, where it has a pool."""

    @pytest.fixture
    def walk(self, request: pytest.FixtureRequest, spawn: Spawn) -> Walk:
        """Let a child walk through the places of the store's calls, and fail with what it finds."""
        by_tier = 0 if walks_all(request.config) else QUICK_SWEEP
        seconds = by_tier if self.sweep_seconds is None else self.sweep_seconds

        async def walk(body: str, times: float = 1, **arguments: Any) -> None:
            child = await spawn(f"{SWEEPS}:{body}", seconds=times * seconds, **arguments)
            child.go()
            found = await child.result()
            check(found)
            if not seconds and found["visited"] < found["places"]:
                request.node.user_properties.append((CUT_SHORT, f"{found['visited']} of {found['places']}"))

        return walk

    @pytest.fixture(autouse=True)
    def _kind_of_the_spec(self, request: pytest.FixtureRequest, spec: StoreSpec) -> None:
        if not self.kind:
            properties = request.node.user_properties
            cell = next(str(value) for name, value in properties if name == "conformance")
            properties.append(("conformance", f"{spec.kind}{cell}"))

    # ------------------------------------------------------------------------------------------------ L01: constructing

    async def test_l01_a_constructor_opens_nothing(self, spec: StoreSpec, mode: str) -> None:
        """No file, no socket, no thread, no event loop; what the store declares can be read all the same."""
        with uncollected():  # what another test has dropped is closed when it is collected, on threads
            with Watch(everything=True) as watch:
                one = spec.open(mode)
                assert isinstance(one.capabilities, frozenset)
                assert isinstance(one.backend, str)
                assert one.kind == spec.kind
            assert watch.events == [], f"the constructor did: {watch.events}"
            before = descriptors(), thread_count()
            kept = [spec.open(mode) for _ in range(5)]
            after = descriptors(), thread_count()
        # There may be fewer: what was closed before may be ending only now.
        assert after[0] <= before[0], f"constructing left descriptors behind: {before[0]} before, {after[0]} after"
        assert after[1] <= before[1], f"constructing left threads behind: {before[1]} before, {after[1]} after"
        for store in (one, *kept):
            await awaitable(store).close()

    async def test_l01_a_store_that_was_never_used_can_be_dropped(self, spec: StoreSpec, mode: str) -> None:
        """There is nothing to close, and nobody warns."""
        spec.open(mode)
        gc.collect()

    # ----------------------------------------------------------------------------------------------------- L02: closing

    async def test_l02_close_while_others_work(
        self, open_store: OpenStore, race: Race, store: Any, work: Work, by_tier: ByTier
    ) -> None:
        """Each call returns, or says that the store is closed; what was acknowledged is there."""
        await work.prepare(store)
        acknowledged: list[str] = []
        for turn in range(by_tier(quick=3, full=5)):
            one = open_store()
            await work.known(one)

            async def body(worker: int, one: Any = one, turn: int = turn) -> None:
                with contextlib.suppress(StoreClosedError):
                    for number in range(4 * turn if worker == 0 else 200):
                        await work.write(one, f"{turn}-{worker}-{number}")
                        acknowledged.append(f"{turn}-{worker}-{number}")
                    if worker == 0:
                        await one.close()

            split(await race(body, workers=6))
            with pytest.raises(StoreClosedError):
                await work.known(one)
        lost = set(acknowledged) - await work.written(store)
        assert not lost, f"acknowledged by a store that was being closed, and not there: {sorted(lost)[:5]}"

    async def test_l02_the_first_call_races_with_close(
        self, open_store: OpenStore, race: Race, store: Any, work: Work
    ) -> None:
        """It may win or lose; the store is closed afterwards, also when several close it."""
        await work.prepare(store)
        for turn in range(12):
            one = open_store()

            async def body(worker: int, one: Any = one, turn: int = turn) -> None:
                if worker % 2:
                    await one.close()
                else:
                    await work.write(one, f"{turn}-{worker}")

            split(await race(body, workers=6), StoreClosedError)
            for _ in range(2):
                with pytest.raises(StoreClosedError):
                    await work.known(one)

    @pytest.mark.parametrize("used", [True, False], ids=["used", "never used"])
    async def test_l02_no_call_opens_a_closed_store(self, open_store: OpenStore, work: Work, *, used: bool) -> None:
        """Every method says that the store is closed, however often it is asked; closing again is harmless."""
        one = open_store()
        if used:
            await work.prepare(one)
        await one.close()
        for turn in range(2):
            for name, arguments in (("connect", ()), *work.calls):
                with pytest.raises(StoreClosedError):
                    await getattr(one, name)(*arguments)
                    pytest.fail(f"{name} worked on a closed store, call {turn + 1}")
            await one.close()

    @one_mode_at_a_time
    async def test_l02_a_closed_store_leaves_its_place_to_others(
        self, open_store: OpenStore, race: Race, spawn: Spawn, work: Work, spec: StoreSpec
    ) -> None:
        """Another process can open it, whatever the last calls were."""
        one, two = open_store(), open_store()
        await work.prepare(one)

        async def body(worker: int) -> None:
            await (two.close() if worker % 2 else work.write(two, f"{worker}"))

        split(await race(body, workers=4), StoreClosedError)
        await one.close()
        child = await spawn(f"{BODIES}:write", kind=spec.kind, name="child")
        child.go()
        await child.result()

    @one_mode_at_a_time
    async def test_l02_a_process_that_ends_with_the_store_open_prints_nothing(
        self, spec: StoreSpec, unreachable_spec: StoreSpec | None, mode: str, start_child: Start
    ) -> None:
        """No warning, no exception that was never retrieved, no error at the exit; and the process does end."""
        found = await anyio.to_thread.run_sync(found_at_the_ends, start_child, spec, unreachable_spec, mode, USUAL)
        assert not found, "\n".join(found)

    @full_only
    async def test_l02_other_ends_of_a_process_print_nothing(
        self, spec: StoreSpec, unreachable_spec: StoreSpec | None, mode: str, start_child: Start
    ) -> None:
        """With calls under way, behind the bridge, and when no connection was made."""
        others = [end for end in ENDS[mode] if end not in USUAL]
        found = await anyio.to_thread.run_sync(found_at_the_ends, start_child, spec, unreachable_spec, mode, others)
        assert not found, "\n".join(found)

    @only("sync")
    async def test_l02_close_at_every_place_of_a_call(self, walk: Walk, spec: StoreSpec) -> None:
        """From another thread: the call ends with its result or says that the store is closed."""
        await walk("closed_at_every_place", opens=spec.to_json())

    # -------------------------------------------------------------------------------------------------- L03: interrupts

    @only("sync")
    async def test_l03_an_exception_from_outside_at_every_place_of_a_call(
        self, walk: Walk, spec: StoreSpec, store: Any
    ) -> None:
        """It reaches the caller unchanged; then the store works for all threads, and gives right answers."""
        atomic = spec.kind != "knowledge" or declares(store, "atomic_batch")
        opens = spec.with_options(**self.smallest_pool).to_json()
        await walk("interrupted", times=2, opens=opens, atomic=atomic)

    @only("async")
    async def test_l03_an_event_loop_that_is_interrupted(self, spawn: Spawn, spec: StoreSpec) -> None:
        """Ctrl-C ends ``asyncio.run``, the store is closed, and what was acknowledged is there."""
        child = await spawn(f"{SWEEPS}:interrupted_loops", opens=spec.to_json(), rounds=8)
        child.go()
        check(await child.result())

    # ------------------------------------------------------------------------------------------------ L04: cancellation

    @only("async")
    async def test_l04_a_cancelled_call_is_never_still_under_way(self, store: Any, work: Work) -> None:
        """Cancelled at each step of the loop: what is there when the caller hears of it is what stays."""
        await work.prepare(store)
        looks: dict[str, bool] = {}
        for steps in range(30):
            for operation in ("write", "batch"):
                name = f"{operation}-{steps}"
                task = asyncio.ensure_future(getattr(work, operation)(store, name))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait({task}, timeout=15)
                assert task.done(), "a cancelled call has not ended after 15 seconds"
                if operation == "write":
                    looks[name] = await work.holds(store, name)
                else:
                    looks[name] = bool(await work.parts(store, name))
                if not task.cancelled():
                    task.result()
                    assert looks[name], f"{name} returned, and is not there"
        end = time.monotonic() + 0.5
        while time.monotonic() < end:  # other calls get their own answers meanwhile
            await work.known(store)
        found = await work.written(store)
        late = [name for name, seen in looks.items() if seen != (name in found or f"{name}.0" in found)]
        assert not late, f"changed after their callers had heard of the cancellation: {late}"

    # --------------------------------------------------------------------------------------------------- L05: deadlines

    async def test_l05_what_goes_over_a_network_is_tried_on_a_silent_one(
        self, request: pytest.FixtureRequest, store: Any, work: Work, spec_through: Any
    ) -> None:
        """A store without ``spec_through`` makes no connections: the tests of deadlines would be missing."""
        with Watch(everything=True) as watch:
            await work.prepare(store)
            await work.known(store)
        connected = [event for event in watch.events if event.startswith("socket.connect")]
        if spec_through is None:
            assert connected == [], (
                f"this store uses the network, so its suite needs the fixture 'spec_through': {connected}"
            )
            request.node.user_properties.append(("not applicable", "spec_through"))

    # ------------------------------------------------------------------------------------------------- L07: event loops

    @only("async")
    async def test_l07_one_event_loop_after_the_other(self, spec: StoreSpec, work: Work) -> None:
        """The store works on each, and those that have ended leave nothing open."""
        one = spec.open("async")
        sizes: list[int] = []

        async def use(number: int) -> None:
            await work.prepare(one)
            await work.write(one, f"{number}")
            assert await work.holds(one, f"{number}")
            await work.known(one)

        for number in range(6):
            await run_loops([lambda number=number: use(number)])
            gc.collect()
            sizes.append(descriptors())
        assert sizes[-1] <= sizes[1], f"descriptors after each of six event loops: {sizes}"
        await run_loops([one.close])
        with pytest.raises(StoreClosedError):
            await work.known(one)

    @only("async")
    async def test_l07_several_event_loops_at_once(self, spec: StoreSpec, work: Work) -> None:
        """In threads, with one store; then it is closed on one of them."""
        one = spec.open("async")
        await run_loops([lambda: work.prepare(one)])
        names: list[str] = []

        async def use(loop: int) -> None:
            for number in range(10):
                await asyncio.gather(work.write(one, f"{loop}-{number}"), work.known(one))
                names.append(f"{loop}-{number}")

        await run_loops([lambda loop=loop: use(loop) for loop in range(4)])

        async def last() -> None:
            assert set(names) <= await work.written(one)
            await one.close()

        await run_loops([last])

    # ------------------------------------------------------------------------------------------------- L08: re-entry

    @only("sync")
    async def test_l08_a_call_at_every_place_of_another_call(self, walk: Walk, spec: StoreSpec) -> None:
        """Both work, or are refused; neither waits for the other."""
        await walk("reentered", opens=spec.to_json())

    @only("sync")
    async def test_l08_calls_from_finalizers_and_signal_handlers(self, spawn: Spawn, spec: StoreSpec) -> None:
        """From ``__del__`` and weakref callbacks, also on the store's threads; from a handler in the main thread."""
        child = await spawn(f"{SWEEPS}:reentered_from_outside", kind=spec.kind, times=60)
        child.go()
        check(await child.result())

    # -------------------------------------------------------------------------------------------- L10: secrets, rights

    async def test_l10_a_store_is_not_copied(self, store: Any, work: Work) -> None:
        """Pickling, copying and deep-copying are typed errors, before the first call and after it."""
        for _ in range(2):
            for make in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(PersistenceError):
                    make(raw(store))
            await work.prepare(store)

    async def test_l10_no_part_of_a_store_takes_a_secret_into_a_pickle(
        self, spec: StoreSpec, unreachable_spec: StoreSpec | None, mode: str
    ) -> None:
        """Its options, driver, runner and pool are refused like the store itself, or hold no secret."""
        for one in [spec, *([unreachable_spec] if unreachable_spec is not None else [])]:
            store = one.open(mode)
            secrets = [secret.encode() for secret in secrets_in(one.options) if secret]
            told = [type(part).__name__ for part in parts_of(store) if any(s in pickled(part) for s in secrets)]
            await awaitable(store).close()
            assert not told, f"pickles of these hold a secret: {told}"

    async def test_l10_no_secret_is_shown(
        self, spec: StoreSpec, unreachable_spec: StoreSpec | None, mode: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not by the store, its errors, their causes or the log; also when the URL is malformed."""
        caplog.set_level(logging.DEBUG)
        specs = [spec, *([unreachable_spec] if unreachable_spec is not None else [])]
        secrets = {secret for one in specs for secret in secrets_in(one.options)}
        shown: list[str] = []
        for one in [*specs, *malformed(specs[-1])]:
            try:
                store = awaitable(one.open(mode))
            except PersistenceError as error:
                shown += shown_by(error)
                continue
            shown += [repr(raw(store)), str(raw(store))]
            if one is not spec:
                try:
                    await within(store, store.connect, 30)
                except PersistenceError as error:
                    shown += shown_by(error)
            await store.close()
        shown += [record.getMessage() for record in caplog.records]
        shown += [str(record.exc_info) for record in caplog.records if record.exc_info]
        told = [text for text in shown for secret in (*secrets, *TAILS) if secret in text]
        assert not told, f"a secret is shown: {told[:3]}"

    # ------------------------------------------------------------------------------------------------------ L11: errors

    async def test_l11_wrong_arguments_raise_our_errors(self, store: Any, work: Work, by_tier: ByTier) -> None:
        """Or TypeError; and the store works as before."""
        await work.prepare(store)
        strangers: list[str] = []
        values, step, turn = list(wrong_arguments()), by_tier(quick=3, full=1), 0
        for name, arguments in work.calls:
            for place in range(len(arguments)):
                turn += 1  # in the tier quick each argument gets a third of the values: other ones than the one before
                for wrong in values[turn % step :: step]:
                    given = [*arguments[:place], wrong, *arguments[place + 1 :]]
                    try:
                        await getattr(store, name)(*given)
                    except (PersistenceError, TypeError):
                        pass
                    except Exception as error:
                        said = f"{type(error).__name__}: {error}"[:100]
                        strangers.append(f"{name}, argument {place + 1} = {short(wrong)}: {said}")
        assert not strangers, f"{len(strangers)} errors are not ours:\n" + "\n".join(strangers[:40])
        await work.reset(store)
        await work.prepare(store)
        await work.known(store)

    # ------------------------------------------------------------------------------------------------ L12: big input

    @one_mode_at_a_time
    async def test_l12_big_input_takes_bounded_time(self, spawn: Spawn, spec: StoreSpec, by_tier: ByTier) -> None:
        """An answer or a typed refusal; four times as much takes about four times as long."""
        size = by_tier(quick=20_000, full=25_000)  # items, characters, levels
        child = await spawn(f"{BODIES}:bounded", kind=spec.kind, size=size)
        child.go()
        slow = [await slowness(child, size) for _ in BIG[spec.kind]]
        await child.result()
        assert not any(slow), "\n".join(filter(None, slow))
