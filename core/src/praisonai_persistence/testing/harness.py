"""What the suites of all three kinds are made of.

An author of a backend overrides one fixture::

    class TestMyDB(ConversationStoreSuite):
        @pytest.fixture
        def spec(self, tmp_path):
            return StoreSpec(
                "conversation",
                sync="my_db:MyDBStore",
                async_="my_db:AsyncMyDBStore",
                options={"path": str(tmp_path / "x.db")},
            )

``spec`` gives fresh data for every test, and removes it afterwards if need be (``yield``). What the store can beyond
the required it declares itself, in its class (``capabilities``). Where there is no sync, or no async store, the
subclass says so: ``modes = ("async",)``. An engine that can be out of reach also overrides ``unreachable_spec``, one
that can be restarted ``server``. A test that a backend cannot pass is overridden with
``@pytest.mark.xfail(reason=...)`` and stands as failing in the matrix; nothing else makes a suite smaller.

An author of a suite writes each body once, async; it runs on the sync store and on the async store::

    class StateStoreSuite(StoreSuite, suite=True):
        kind = "state"

        async def test_s01_values_come_back(self, store):            # named by its clause, S01
            for value in HOSTILE_JSON:
                await store.set("key", value)
                assert identical(await store.get("key"), value)

        async def test_s01_another_store_object_sees_it(self, store, open_store):
            other = open_store()                     # a second object on the same data; closed by the harness
            await store.set("key", 1)
            assert await other.get("key") == 1

        async def test_s08_one_of_many_wins(self, store, race):
            async def body(worker):                  # may await store calls only: on a sync store it runs in a thread
                return await store.set_if_absent("key", worker)
            won, _ = split(await race(body, workers=8))
            assert won.count(True) == 1

        async def test_s12_two_processes(self, store, spawn, unsupported):
            if declares(store, "shared"):
                ...
            else:                                    # assert that it does not work, and say so
                unsupported("shared")
            child = await spawn("praisonai_persistence.testing._state_bodies:count_up", key="n", times=100)
            child.go()                               # the store of the child is open; now its body starts
            await child.report()                     # what the body passed to parent.report(...)
            assert await child.result() == 100       # what the body returned

        async def test_s12_kill(self, spawn, moments, open_store):
            for reports, delay in moments:           # self.crash_trials random moments, the same in every run
                child = await spawn("...:write_forever")
                child.go()
                acknowledged = await child.kill_after(reports, delay)     # SIGKILL; every report that got out
                store = open_store()
                ...
                await store.close()

``store`` is the async store itself, or the sync one behind a facade that makes its calls awaitable; ``scan_prefix`` is
an async iterator on both. ``raw(store)`` is the object that was constructed. A test that is not ``async`` (a random
walk of Hypothesis) gets no ``store`` and no ``open_store``; it opens its own with ``_facade.Portal(spec, mode)``.
``@needs_fixture("server")`` marks a test that only subclasses with that fixture run, ``@only("async")`` one for one
mode, ``@full_only`` one that takes long and is left out of the tier ``quick``. The fixture ``by_tier`` chooses how many
repetitions a test makes.

A clause of which a store lacks a part that it need not have is never skipped: the test asserts that the undeclared
operation is refused (or does not work), then calls ``unsupported(part)``, and the matrix says so.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any, ClassVar, TypeVar

import anyio.to_thread
import pytest

from praisonai_persistence.testing._children import TIME_LIMIT, Child
from praisonai_persistence.testing._facade import SyncFacade, awaitable, drive
from praisonai_persistence.testing._forks import Start, start
from praisonai_persistence.testing._tiers import FORKS, TIERS, full_only, full_tests
from praisonai_persistence.testing.spec import StoreSpec

__all__ = [
    "ByTier",
    "Child",
    "Moments",
    "OpenStore",
    "Race",
    "Spawn",
    "StoreSuite",
    "Unsupported",
    "check_shared",
    "declares",
    "full_only",
    "needs_fixture",
    "only",
    "raw",
    "settled",
    "split",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

OpenStore = Callable[..., Any]
"""``open_store(spec=None, **options)``: another store object; on the data of the test unless told otherwise."""
Race = Callable[..., Coroutine[Any, Any, list[Any]]]
"""``await race(body, workers=8)``: run ``body(0)`` to ``body(workers - 1)`` at once; what each returned or raised."""
Spawn = Callable[..., Coroutine[Any, Any, "Child"]]
"""``await spawn("module:body", *, spec=None, **arguments)``: another interpreter with a store of the test's mode."""
Moments = list[tuple[int, float]]
"""Moments to kill a child at: so many reports, then so many seconds."""
Unsupported = Callable[[str], None]
"""``unsupported("search")``: this store does not declare the part, and its refusal was asserted."""
ByTier = Callable[..., int]
"""``by_tier(quick=4, full=8)``: the number for the tier that the test runs in."""


def declares(store: Any, capability: str) -> bool:
    """Whether the store says that it can."""
    return capability in store.capabilities


def check_shared(store: Any, shared: bool) -> None:
    """Fail when what was tried with two processes is not what the store declares."""
    declared = declares(store, "shared")
    assert shared or not declared, (
        "'shared' is declared, and does not work: another process cannot open the data, or the two do not see at once "
        "what the other wrote"
    )
    assert declared or not shared, "two processes can use the same data, so the store has to declare 'shared'"


def raw(store: Any) -> Any:
    """Return the store that was constructed, without the facade."""
    return store.raw if isinstance(store, SyncFacade) else store


async def settled(read: Callable[[], Awaitable[T]]) -> T:
    """Return what ``read`` finds, once two reads agree.

    A server may still be doing what a process had sent it that is dead by now, between the reads of one look.
    """
    with anyio.fail_after(TIME_LIMIT):
        found = await read()
        while (again := await read()) != found:
            found = again
    return found


def split(results: list[Any], *expected: type[BaseException]) -> tuple[list[Any], list[BaseException]]:
    """Split what a race gave into returned values and exceptions; one that was not expected is raised."""
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, expected):
            raise result
    errors = [result for result in results if isinstance(result, BaseException)]
    return [result for result in results if not isinstance(result, BaseException)], errors


def needs_fixture(name: str) -> Callable[[F], F]:
    """Deselect a test, and say "not applicable" in the matrix, where the subclass does not override that fixture."""

    def mark(function: F) -> F:
        function._needs_fixture = name  # type: ignore[attr-defined]
        return function

    return mark


def only(mode: str) -> Callable[[F], F]:
    """Run a test on one mode alone, where the other has nothing of the kind (cancelling a task)."""

    def mark(function: F) -> F:
        function._only_mode = mode  # type: ignore[attr-defined]
        return function

    return mark


# --------------------------------------------------------------------------------------------------------------- races


async def _race_threads(body: Callable[[int], Coroutine[Any, Any, Any]], workers: int) -> list[Any]:
    barrier = threading.Barrier(workers)
    results: list[Any] = [None] * workers

    def work(worker: int) -> None:
        try:
            barrier.wait(TIME_LIMIT)
            results[worker] = drive(body(worker))
        except BaseException as error:  # every result of a race is a result
            results[worker] = error

    # Daemons, so that a deadlock ends with a failed test and not with a hanging interpreter.
    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(workers)]

    def join() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIME_LIMIT)

    await anyio.to_thread.run_sync(join)
    if any(thread.is_alive() for thread in threads):
        pytest.fail(f"threads that share a store did not end within {TIME_LIMIT:.0f} seconds: a deadlock?")
    return results


async def _race_tasks(body: Callable[[int], Coroutine[Any, Any, Any]], workers: int) -> list[Any]:
    start = asyncio.Event()

    async def work(worker: int) -> Any:
        await start.wait()
        return await body(worker)

    tasks = [asyncio.create_task(work(worker)) for worker in range(workers)]
    start.set()
    _, waiting = await asyncio.wait(tasks, timeout=TIME_LIMIT)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting, timeout=5)
        pytest.fail(f"tasks that share a store did not end within {TIME_LIMIT:.0f} seconds: a deadlock?")
    return await asyncio.gather(*tasks, return_exceptions=True)


# --------------------------------------------------------------------------------------------------------------- suite


class StoreSuite:
    """Fixtures and declarations of every suite; see the module."""

    kind: ClassVar[str]
    """``conversation``, ``knowledge`` or ``state``; empty where that is taken from the spec."""
    backend: ClassVar[str] = ""
    """The name in the matrix; by default the name of the class: ``TestMyDB`` is ``mydb``."""
    modes: ClassVar[tuple[str, ...]] = ("sync", "async")
    """Which stores the spec names."""
    crash_trials: ClassVar[int] = 5
    """How many children each crash test kills."""

    pytestmark = pytest.mark.anyio

    def __init_subclass__(cls, suite: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # The plugin compares what a subclass has with what the classes that are marked so define.
        cls._is_suite = suite
        if suite:  # noted now: marking a test later, from outside, moves it to no other tier
            cls._full_tests = full_tests(cls)

    _is_suite: ClassVar[bool] = False
    _full_tests: ClassVar[frozenset[str]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run every test on each mode."""
        if "mode" in metafunc.fixturenames:
            wanted = getattr(metafunc.function, "_only_mode", None)
            metafunc.parametrize("mode", [name for name in self.modes if wanted in {None, name}], scope="function")

    @pytest.fixture
    def anyio_backend(self) -> str:
        """One event loop: asyncio."""
        return "asyncio"

    @pytest.fixture
    def spec(self) -> StoreSpec:
        """The one fixture that a subclass overrides: a store with no data yet."""
        raise NotImplementedError(f"{type(self).__name__} must override the fixture 'spec'")

    @pytest.fixture
    def unreachable_spec(self) -> StoreSpec | None:
        """Overridden for engines that can be out of reach: a store at an address where nothing answers.

        A closed local port serves, or a file in a folder that is none; with a short connect timeout.
        """
        return None

    @pytest.fixture
    def server(self) -> Any:
        """Overridden where the engine is a server that can be restarted: has ``stop()`` and ``start()``.

        After ``start()`` the server answers again, with the data that it had.
        """
        return None

    @pytest.fixture(autouse=True)
    def _spec_and_modes_agree(self, spec: StoreSpec, mode: str) -> None:
        named = tuple(name for name in ("sync", "async") if spec.has(name))
        if set(named) != set(self.modes):
            pytest.fail(f"the spec names {named} stores, so this class needs 'modes = {named!r}'")
        if self.kind and spec.kind != self.kind:
            pytest.fail(f"the spec is one of a {spec.kind} store; this suite tests {self.kind} stores")

    @pytest.fixture
    async def open_store(self, spec: StoreSpec, mode: str) -> AsyncIterator[OpenStore]:
        """Open stores; see [OpenStore][]."""
        opened: list[Any] = []

        def open_store(other: StoreSpec | None = None, **options: Any) -> Any:
            target = (other or spec).with_options(**options)
            store = awaitable(target.open(mode))
            opened.append(store)
            return store

        yield open_store
        for store in reversed(opened):
            await store.close()

    @pytest.fixture
    async def store(self, open_store: OpenStore) -> Any:
        """The store under test."""
        return open_store()

    @pytest.fixture
    def race(self, mode: str) -> Race:
        """Run bodies at once, in threads on a sync store, in tasks on an async one; see [Race][]."""

        async def race(body: Callable[[int], Coroutine[Any, Any, Any]], workers: int = 8) -> list[Any]:
            return await (_race_threads if mode == "sync" else _race_tasks)(body, workers)

        return race

    @pytest.fixture
    def start_child(self, request: pytest.FixtureRequest, spec: StoreSpec) -> Start:
        """Start a process that runs a module: in the quick tier a fork of one that has loaded the driver."""
        if request.config.stash[TIERS].tier_of(request.node) == "full":
            return start
        return partial(request.config.stash[FORKS].start, f"{spec.kind} {spec.sync} {spec.async_}")

    @pytest.fixture
    def spawn(self, spec: StoreSpec, mode: str, start_child: Start) -> Iterator[Spawn]:
        """Start child processes; see [Spawn][]. They are ready when the call returns, and wait for ``go()``."""
        children: list[Child] = []
        default = spec

        async def spawn(body: str, *, spec: StoreSpec | None = None, **arguments: Any) -> Child:
            child = Child(spec or default, mode, body, arguments, start_child)
            children.append(child)
            await child.ready()
            return child

        yield spawn
        for child in children:
            child.end()

    @pytest.fixture
    def moments(self, request: pytest.FixtureRequest) -> Moments:
        """``crash_trials`` random moments to kill a child at, the same in every run of the same test."""
        if self.crash_trials < 1:
            pytest.fail("'crash_trials' must be 1 or more: a crash test without a crash proves nothing")
        chance = random.Random(request.node.name)
        return [(chance.randint(1, 40), chance.uniform(0, 0.005)) for _ in range(self.crash_trials)]

    @pytest.fixture
    def by_tier(self, request: pytest.FixtureRequest) -> ByTier:
        """Choose how often a test repeats what it does; see [ByTier][]. Once has to show what the test is about."""
        tier = request.config.stash[TIERS].tier_of(request.node)

        def by_tier(*, quick: int, full: int) -> int:
            return quick if tier == "quick" else full

        return by_tier

    @pytest.fixture
    def unsupported(self, request: pytest.FixtureRequest) -> Unsupported:
        """Record what a store does not declare; see [Unsupported][]."""

        def unsupported(part: str) -> None:
            request.node.user_properties.append(("unsupported", part))

        return unsupported
