"""The part of the lifecycle suite that needs a network between store and server: deadlines, cancellation, cuts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import pytest

from praisonai_persistence.errors import BackendError, ConnectionFailedError, StoreClosedError
from praisonai_persistence.testing._facade import SyncFacade, awaitable, drive
from praisonai_persistence.testing._lifecycle_work import Work, work_on
from praisonai_persistence.testing._places import HangError, Worker
from praisonai_persistence.testing._tiers import one_mode_at_a_time
from praisonai_persistence.testing.harness import ByTier, StoreSuite, needs_fixture, only
from praisonai_persistence.testing.proxy import Proxy
from praisonai_persistence.testing.spec import Endpoint, StoreSpec

__all__ = ["Network", "NetworkTests", "within"]

TIMEOUT = 1
"""What the tests set ``connect_timeout`` and ``timeout`` to, in seconds."""
SLACK = 1.5
"""Seconds that a busy machine may add to a deadline."""
IN_TIME = 2 * TIMEOUT + SLACK
GIVEN_UP = 20.0
"""Seconds after which a call counts as one that never ends."""
CUTS = (0, 1, 40, 160, 1_000_000)
"""After how many bytes an answer is cut off: before anything, within a status line, within headers, within the end."""


class Network(NamedTuple):
    """A proxy before the server, and stores that go through it.

    Attributes:
        proxy: stands between them.
        open: opens a store through it, with short deadlines or with options of the test's; closed by the fixture.
    """

    proxy: Proxy
    open: Callable[..., Any]


async def within(store: Any, call: Callable[[], Any], seconds: float) -> Any:
    """Await a call of a store, but no longer than so many seconds, also when it blocks.

    Raises:
        HangError: it has not ended by then.
    """
    if isinstance(store, SyncFacade):
        return Worker().do(lambda: drive(call()), seconds)
    task = asyncio.ensure_future(call())
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        raise HangError(f"no end after {seconds:.0f} seconds")
    return task.result()


async def _at_once(store: Any, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Await calls of stores of this one's mode, all at the same time; return what they return.

    Raises:
        HangError: one has not ended after ``GIVEN_UP`` seconds.
    """
    if isinstance(store, SyncFacade):
        running = [Worker().start(lambda call=call: drive(call())) for call in calls]  # type: ignore[misc]
        return [one.wait(GIVEN_UP) for one in running]
    tasks = [asyncio.ensure_future(call()) for call in calls]
    _, waiting = await asyncio.wait(tasks, timeout=GIVEN_UP)
    if waiting:
        raise HangError(f"no end after {GIVEN_UP:.0f} seconds")
    return [task.result() for task in tasks]


class NetworkTests(StoreSuite, suite=True):
    """Silence, delays and cuts; only where the fixture ``spec_through`` says how to put a proxy in between."""

    connections_per_caller: ClassVar[int] = 1
    """How many connections the client keeps for each call under way: one, or one for each protocol that it speaks."""

    @pytest.fixture
    def spec_through(self) -> Endpoint | None:
        """Overridden for engines that are reached over a network: an [Endpoint][].

        Its stores must accept the options ``connect_timeout`` and ``timeout``, in seconds, as L05 asks of all.
        """
        return None

    @pytest.fixture
    def work(self, spec: StoreSpec) -> Work:
        """Do a tiny piece of work on a store of this kind."""
        return work_on(spec.kind)

    @pytest.fixture
    async def network(self, spec_through: Endpoint, mode: str) -> AsyncIterator[Network]:
        """Put a proxy between the store and its server."""
        host, port, spec_at = spec_through
        opened: list[Any] = []
        with Proxy(host, port) as proxy:
            spec = spec_at("127.0.0.1", proxy.port).with_options(connect_timeout=TIMEOUT, timeout=TIMEOUT)

            def open_store(**options: Any) -> Any:
                opened.append(awaitable(spec.with_options(**options).open(mode)))
                return opened[-1]

            yield Network(proxy, open_store)
            proxy.delay(0)
            proxy.reset()
            proxy.release()
            for store in opened:
                await within(store, store.close, GIVEN_UP)

    # ------------------------------------------------------------------------------------------------- L02: closing

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l02_close_waits_for_a_call_that_is_under_way(
        self, network: Network, store: Any, work: Work, mode: str
    ) -> None:
        """The answer is on its way when close() is called: the call returns it, or says that the store is closed."""
        await work.prepare(store)
        one = network.open()
        await work.known(one)
        network.proxy.delay(0.2)
        if mode == "sync":
            calling = Worker().start(lambda: drive(work.write(one, "late")))
            calling.ended.wait(0.1)
            await within(one, one.close, GIVEN_UP)
            finish: Callable[[], Any] = lambda: calling.wait(GIVEN_UP)  # noqa: E731
        else:
            task = asyncio.ensure_future(work.write(one, "late"))
            await asyncio.wait({task}, timeout=0.1)
            await within(one, one.close, GIVEN_UP)
            assert (await asyncio.wait({task}, timeout=GIVEN_UP))[0], "the call that was under way never ended"
            finish = task.result
        try:
            finish()
        except StoreClosedError:
            return
        assert await work.holds(store, "late"), "acknowledged while the store was being closed, and not there"

    # --------------------------------------------------------------------------------------------- L04: cancellation

    @only("async")
    @needs_fixture("spec_through")
    async def test_l04_a_call_cancelled_on_a_slow_network_has_no_late_effect(
        self, network: Network, store: Any, work: Work
    ) -> None:
        """What the caller sees when it hears of the cancellation is what stays."""
        await work.prepare(store)
        one = network.open()
        await work.known(one)
        network.proxy.delay(0.1)
        looks: dict[str, bool] = {}
        for number in range(6):
            name = f"cancelled-{number}"
            task = asyncio.ensure_future(work.write(one, name))
            await asyncio.wait({task}, timeout=0.03 * number)
            task.cancel()
            await asyncio.wait({task}, timeout=GIVEN_UP)
            assert task.done(), f"a cancelled call has not ended after {GIVEN_UP:.0f} seconds"
            looks[name] = await work.holds(store, name)
            assert looks[name] or task.cancelled() or task.exception() is not None, f"{name} returned, and is not there"
        network.proxy.delay(0)
        await work.known(one)
        found = await work.written(store)
        late = [name for name, seen in looks.items() if seen != (name in found)]
        assert not late, f"changed after their callers had heard of the cancellation: {late}"

    @only("async")
    @needs_fixture("spec_through")
    async def test_l04_a_cancelled_call_ends_in_time_on_a_silent_server(
        self, network: Network, store: Any, work: Work
    ) -> None:
        """Its connection is given up, and the store goes on."""
        await work.prepare(store)
        one = network.open()
        await work.known(one)
        network.proxy.hold()
        task = asyncio.ensure_future(work.write(one, "cancelled"))
        await asyncio.wait({task}, timeout=0.2)
        begin = time.monotonic()
        task.cancel()
        await asyncio.wait({task}, timeout=GIVEN_UP)
        took = time.monotonic() - begin
        assert took < TIMEOUT + SLACK, f"the caller heard of the cancellation after {took:.1f} seconds"
        network.proxy.reset()
        network.proxy.release()
        await within(one, lambda: work.known(one), GIVEN_UP)

    # -------------------------------------------------------------------------------------------------- L05: deadlines

    async def _fails_in_time(self, store: Any, call: Callable[[], Awaitable[Any]], name: str) -> None:
        await self._fail_in_time(store, {name: call})

    async def _fail_in_time(self, store: Any, calls: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
        """Make calls on a silent server, all at once: waiting is what they take, and they can do it together."""

        async def failing(call: Callable[[], Awaitable[Any]]) -> float | None:
            begin = time.monotonic()
            try:
                await call()
            except ConnectionFailedError:
                return time.monotonic() - begin
            return None

        try:
            ended = await _at_once(store, [lambda call=call: failing(call) for call in calls.values()])  # type: ignore[misc]
        except HangError:
            pytest.fail(f"{' or '.join(calls)} on a silent server has not ended after {GIVEN_UP:.0f} seconds")
        for name, took in zip(calls, ended, strict=True):
            assert took is not None, f"{name} worked on a silent server"
            assert took <= IN_TIME, (
                f"{name} failed after {took:.1f} seconds, with connect_timeout and timeout set to {TIMEOUT}"
            )

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l05_a_server_that_is_silent_from_the_start(self, network: Network, store: Any, work: Work) -> None:
        """It accepts, and says nothing: every call fails in time, closing ends, and later the store works."""
        await work.prepare(store)
        one, other = network.open(), network.open()
        network.proxy.hold()
        await self._fail_in_time(one, {"connect()": one.connect, "the first read": lambda: work.known(other)})
        await self._fail_in_time(one, {"a write": lambda: work.write(one, "x"), "a read": lambda: work.known(other)})
        await within(other, other.close, IN_TIME)
        network.proxy.reset()
        network.proxy.release()
        await within(one, lambda: work.known(one), GIVEN_UP)

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l05_a_server_that_falls_silent(self, network: Network, store: Any, work: Work) -> None:
        """Calls on connections that worked fail in time, then the same stores work again."""
        await work.prepare(store)
        reading, writing, batching = stores = [network.open() for _ in range(3)]
        for one in stores:
            await within(one, lambda one=one: work.known(one), GIVEN_UP)  # type: ignore[misc]
        network.proxy.hold()
        await self._fail_in_time(
            reading,
            {
                "a read": lambda: work.known(reading),
                "a write": lambda: work.write(writing, "silent"),
                "a batch": lambda: work.batch(batching, "silent"),
            },
        )
        network.proxy.reset()
        network.proxy.release()
        for number, one in enumerate(stores):
            await within(one, lambda one=one: work.known(one), GIVEN_UP)  # type: ignore[misc]
            await within(one, lambda one=one, name=f"again-{number}": work.write(one, name), GIVEN_UP)  # type: ignore[misc]
            assert await work.holds(store, f"again-{number}")
        network.proxy.hold()
        for one in stores:
            await within(one, one.close, IN_TIME)

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l05_a_server_that_is_gone_is_not_waited_for_as_long_as_for_an_answer(
        self, network: Network, store: Any, work: Work
    ) -> None:
        """Nothing listens any more: what it takes to connect bounds calls on a store that worked."""
        await work.prepare(store)
        one, other = network.open(timeout=GIVEN_UP), network.open(timeout=GIVEN_UP)
        for each in (one, other):
            await within(each, lambda each=each: work.known(each), GIVEN_UP)  # type: ignore[misc]
        network.proxy.close()
        for _ in range(2):
            await self._fail_in_time(
                one, {"a write": lambda: work.write(one, "x"), "a read": lambda: work.known(other)}
            )
        for each in (one, other):
            await within(each, each.close, IN_TIME)

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l05_connections_that_are_dead_without_a_sign(self, network: Network, store: Any, work: Work) -> None:
        """Their packets are swallowed for good: a call on each may fail, in time, and then the same store works."""
        await work.prepare(store)
        one = network.open()
        callers = 3
        await _at_once(one, [lambda: work.known(one)] * callers)  # in as many threads: each may have a connection
        network.proxy.swallow()
        await self._fails_in_time(one, lambda: work.write(one, "swallowed"), "a write")
        network.proxy.hear()
        failed = 0
        while True:
            begin = time.monotonic()
            try:
                await within(one, lambda: work.write(one, "heard"), GIVEN_UP)
                break
            except ConnectionFailedError:
                failed += 1
            took = time.monotonic() - begin
            assert took <= IN_TIME, f"a write on a dead connection failed after {took:.1f} seconds"
            dead = callers * self.connections_per_caller
            assert failed <= dead, f"{failed} writes failed after the server could be heard again"
        assert await work.holds(store, "heard")

    @one_mode_at_a_time
    @needs_fixture("spec_through")
    async def test_l05_callers_do_not_wait_in_a_queue_for_a_silent_server(
        self, network: Network, store: Any, work: Work
    ) -> None:
        """Each of several callers has its deadline, not the sum of those of the others before it."""
        await work.prepare(store)
        one = network.open()
        await work.known(one)
        network.proxy.hold()
        await self._fail_in_time(one, {f"caller {number}": lambda: work.known(one) for number in range(4)})

    @needs_fixture("spec_through")
    async def test_l11_an_answer_that_is_cut_off_is_no_answer(self, network: Network, store: Any, work: Work) -> None:
        """A part of an answer never counts as one that says less: a read asks again, or is one of our errors."""
        await work.prepare(store)
        await work.write(store, "whole")
        one = network.open()
        for kept in CUTS:
            await within(one, lambda: work.known(one), GIVEN_UP)
            network.proxy.cut_next_answer(kept)
            try:
                found = await within(one, lambda: work.holds(one, "whole"), GIVEN_UP)
            except (BackendError, ConnectionFailedError):
                continue
            assert found, f"an answer that was cut off after {kept} bytes was taken for one that says: not there"

    @needs_fixture("spec_through")
    async def test_l11_connections_that_are_cut_under_way(
        self, network: Network, store: Any, work: Work, by_tier: ByTier
    ) -> None:
        """A call on them works on another connection, or is one of our errors; a write is there once or not at all."""
        await work.prepare(store)
        one = network.open()
        for number in range(by_tier(quick=4, full=8)):
            await within(one, lambda: work.known(one), GIVEN_UP)
            if number % 2:
                network.proxy.reset()
            else:
                network.proxy.lose_next_answer()
            try:
                await within(one, lambda name=f"cut-{number}": work.write(one, name), GIVEN_UP)  # type: ignore[misc]
            except ConnectionFailedError:
                continue
            assert await work.holds(store, f"cut-{number}"), "acknowledged, and not there"
        await within(one, lambda: work.known(one), GIVEN_UP)
